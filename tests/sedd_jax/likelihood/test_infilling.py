import numpy as np
import pytest

from sedd_jax import Model
from sedd_jax.errors import UserError
from sedd_jax.likelihood.infilling import infill_nats
from tests.sedd_jax.toy import NUM_CODES
from tests.sedd_jax.toy_run import make_run

NUM, LENGTH = 6, 16


@pytest.fixture(scope="module")
def one_device():
    return make_run(1)


def sequences():
    rng = np.random.default_rng(0)
    tokens_NxL = rng.integers(0, NUM_CODES, (NUM, LENGTH)).astype(np.uint16)
    is_charged_NxL = np.zeros((NUM, LENGTH), bool)
    is_charged_NxL[:, 4:9] = True
    return tokens_NxL, is_charged_NxL


def measure(run_and_params, tokens_NxL, is_charged_NxL, is_known_NxL, batch_size=4):
    return infill_nats(
        *run_and_params, tokens_NxL, is_charged_NxL, is_known_NxL,
        num_levels=3, batch_size=batch_size,
    )  # fmt: skip


def test_a_cost_depends_on_neither_batch_nor_mesh(one_device):
    tokens_NxL, is_charged_NxL = sequences()
    whole = measure(one_device, tokens_NxL, is_charged_NxL, ~is_charged_NxL, batch_size=6)
    assert np.isfinite(whole).all() and (whole > 0).all()
    batches = measure(one_device, tokens_NxL, is_charged_NxL, ~is_charged_NxL)
    np.testing.assert_allclose(batches, whole, rtol=1e-5)
    sharded = measure(make_run(8), tokens_NxL, is_charged_NxL, ~is_charged_NxL)
    np.testing.assert_allclose(sharded, whole, rtol=1e-4)


def test_what_is_absent_and_what_the_model_lacks_are_not_seen():
    run = make_run(1, graph__num_codes=NUM_CODES - 2)
    tokens_NxL, is_charged_NxL = sequences()
    tokens_NxL %= NUM_CODES - 2
    nothing = np.zeros_like(is_charged_NxL)
    alone = measure(run, tokens_NxL, is_charged_NxL, nothing)
    others = np.where(is_charged_NxL, tokens_NxL, 7)
    np.testing.assert_array_equal(measure(run, others, is_charged_NxL, nothing), alone)
    lacking = np.where(is_charged_NxL, tokens_NxL, NUM_CODES - 1)
    np.testing.assert_array_equal(measure(run, lacking, is_charged_NxL, ~is_charged_NxL), alone)
    assert (measure(run, tokens_NxL, is_charged_NxL, ~is_charged_NxL) != alone).all()


def test_the_object_measures_the_tokens_that_are_not_known(one_device):
    tokens_NxL, is_charged_NxL = sequences()
    model = Model(*one_device, 0)
    estimate = model.bits_per_token(tokens_NxL, is_known=~is_charged_NxL, num_levels=3)
    nats_N = measure(one_device, tokens_NxL, is_charged_NxL, ~is_charged_NxL)
    assert estimate.mean == pytest.approx(nats_N.sum() / np.log(2) / is_charged_NxL.sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("is_known", "text"),
    [
        (np.ones((NUM, LENGTH), bool), "nothing to be measured"),
        (np.ones((NUM, LENGTH)), "is_known must be bool"),
        (np.zeros(LENGTH, bool), "of the tokens' shape"),
    ],
)
def test_what_does_not_fit_is_refused(one_device, is_known, text):
    with pytest.raises(UserError, match=text):
        Model(*one_device, 0).bits_per_token(sequences()[0], is_known=is_known)


def test_a_uniform_graph_hides_nothing():
    tokens_NxL, is_charged_NxL = sequences()
    with pytest.raises(UserError, match="no mask"):
        measure(make_run(1, graph__type="uniform"), tokens_NxL, is_charged_NxL, ~is_charged_NxL)
    with pytest.raises(UserError, match="some are both"):
        measure(make_run(1), tokens_NxL, is_charged_NxL, is_charged_NxL)
