"""Exact bits of pieces, and how much they vary."""

import math

import jax
import numpy as np
import pytest

from sedd_jax.errors import UserError
from sedd_jax.likelihood.exact import token_nats
from sedd_jax.likelihood.judging import judge, num_rows, variety
from sedd_jax.model import build
from sedd_jax.parallel import mesh as mesh_lib
from tests.sedd_jax.toy import CODEC, NUM_CODES, toy_config
from tests.sedd_jax.toy_run import make_run

LENGTH = 16


@pytest.fixture(scope="module")
def judging():
    return make_run(model__type="autoregressive", sampling__batch_size=4)


def pieces(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, NUM_CODES, length).astype(np.uint16) for length in lengths]


def test_a_piece_costs_what_its_windows_cost(judging):
    """A short one by itself, a long one window by window, the last of which ends with it."""
    short, long = pieces(5, 40)
    judgement = judge(*judging, [short, long])
    run, params = judging

    def nats(tokens_L):
        return token_nats(run, params, tokens_L[None], batch_size=1)[0]

    wanted = nats(np.resize(short, LENGTH))[:5].sum()
    wanted += nats(long[:16]).sum() + nats(long[16:32]).sum() + nats(long[24:])[-8:].sum()
    assert judgement.num_tokens == 45 and num_rows([short, long], LENGTH) == 4
    assert judgement.bits_per_token.mean == pytest.approx(wanted / math.log(2) / 45, rel=1e-6)
    assert judgement.bits_per_token.num_artists == 2
    assert judgement.as_json()["bits_per_token"]["mean"] == judgement.bits_per_token.mean


def test_neither_the_batch_nor_the_mesh_changes_a_cost(judging):
    tokens_NxL = np.stack(pieces(*[LENGTH] * 5))
    single = token_nats(*judging, tokens_NxL, batch_size=2)
    np.testing.assert_allclose(token_nats(*judging, tokens_NxL, batch_size=5), single, rtol=1e-5)
    mesh = mesh_lib.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    config = toy_config(model__type="autoregressive")
    sharded = build(config, CODEC, mesh)
    shardings = sharded.state_shapes().ema_params
    params = jax.tree.map(
        lambda p, s: jax.device_put(np.asarray(p), s.sharding), judging[1], shardings
    )
    found = token_nats(sharded, params, tokens_NxL, batch_size=3)
    np.testing.assert_allclose(found, single, rtol=1e-4, atol=1e-5)


def test_variety_tells_repeats_from_chance():
    same = variety([np.tile([1, 2], 50).astype(np.uint16)] * 2)
    assert same.entropy_bits == same.piece_entropy_bits == 1 and same.distinct_codes == 2
    assert same.distinct_2 == 2 / 198 and same.distinct_4 == 2 / 194
    two = variety([np.full(8, 3), np.full(8, 65_535)])  # all alike in each, not together
    assert (two.entropy_bits, two.piece_entropy_bits) == (1, 0)
    assert two.distinct_4 == 2 / 10
    assert variety(pieces(3, 3)).distinct_4 == 1.0  # there are none
    varied = variety(pieces(4_000))
    assert varied.entropy_bits > 4.9 and varied.distinct_4 > 0.99


def test_what_cannot_be_judged_is_refused(judging):
    with pytest.raises(UserError, match="token 32, and the judge's are below 32"):
        judge(*judging, [np.array([1, NUM_CODES])])
    for nothing in ([], [np.zeros(0, int)]):
        with pytest.raises(UserError, match="no piece, or an empty one"):
            judge(*judging, nothing)
    with pytest.raises(UserError, match="an autoregressive model is needed"):
        judge(*make_run(), pieces(LENGTH))
