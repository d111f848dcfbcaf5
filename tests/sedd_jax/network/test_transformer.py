import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.graph import make_graph
from sedd_jax.diffusion.parametrisation import ScoreEntropy
from sedd_jax.network.transformer import REMAT, NetworkConfig, init_params, output
from sedd_jax.weights.published_config import GRAPHS
from sedd_jax.weights.torch_weights import to_params
from tests.sedd_jax.network.small import (
    CONFIG,
    inputs,
    network_config,
    noisy_params,
    reference,
)

jit_output = jax.jit(output, static_argnums=0)


@pytest.mark.parametrize("attention", ["xla", "loop"])
@pytest.mark.parametrize("name", ["sedd_absorb_loglinear.npz", "sedd_uniform_geometric.npz"])
def test_equals_published_network(name, attention):
    figures, published, weights = reference(name)
    config = dataclasses.replace(network_config(published, weights), attention=attention)
    inputs = figures["forward/x"], figures["forward/sigma"]
    graph = make_graph(GRAPHS[published["graph"]["type"]], published["tokens"])
    parametrisation = ScoreEntropy(graph, scale_by_sigma=published["model"]["scale_by_sigma"])
    ours = parametrisation.log_score(jit_output(config, to_params(weights), *inputs), *inputs)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, figures["forward/log_score"], atol=1e-5)


def test_bf16_is_near_fp32_and_gives_fp32():
    params, (x_BxL, sigma_B) = noisy_params(CONFIG), inputs(CONFIG)
    exact = jit_output(CONFIG, params, x_BxL, sigma_B)
    half = dataclasses.replace(CONFIG, compute_dtype="bfloat16")
    for attention in ("xla", "loop"):
        rounded = jit_output(dataclasses.replace(half, attention=attention), params, x_BxL, sigma_B)
        assert rounded.dtype == jnp.float32
        error = np.abs(rounded - exact)
        assert 1e-5 < error.max() < 0.1 * np.abs(exact).max()


def test_a_bf16_residual_stream_is_near_fp32_and_the_output_fp32():
    params, given = noisy_params(CONFIG), inputs(CONFIG)
    exact = jit_output(CONFIG, params, *given)
    rounded = jit_output(dataclasses.replace(CONFIG, residual_dtype="bfloat16"), params, *given)
    assert rounded.dtype == jnp.float32
    assert 1e-5 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


def test_logits_under_bf16_have_more_digits_than_bf16():
    """Rounded to bf16, a logit between 8 and 16 would be a multiple of 0.06."""
    config = dataclasses.replace(CONFIG, compute_dtype="bfloat16")
    logits = jit_output(config, noisy_params(config), *inputs(config))
    rounded = logits.astype(jnp.bfloat16).astype(jnp.float32)
    assert (logits == rounded).mean() < 0.2  # chance


def test_a_loop_over_blocks_equals_one_by_one():
    params, (x_BxL, sigma_B) = noisy_params(CONFIG), inputs(CONFIG)
    looped = jit_output(CONFIG, params, x_BxL, sigma_B)
    unrolled = jit_output(dataclasses.replace(CONFIG, unroll=True), params, x_BxL, sigma_B)
    np.testing.assert_allclose(looped, unrolled, atol=1e-5)


@functools.cache
def gradients_and_memory(remat: str, unroll: bool):
    """(gradient of a sum of scores with dropout on, bytes of temporaries)."""
    config = dataclasses.replace(
        CONFIG, remat=remat, unroll=unroll, dropout=0.3, length=64, attention="loop"
    )
    x_BxL, sigma_B = inputs(config)
    keys_B = jax.random.split(jax.random.key(3), len(x_BxL))
    weight_BxLxV = np.random.default_rng(1).normal(size=(*x_BxL.shape, config.vocab_size))

    def loss(params):
        scores = output(config, params, x_BxL, sigma_B, dropout_key_B=keys_B)
        return (scores * weight_BxLxV.astype(np.float32)).sum()

    compiled = jax.jit(jax.grad(loss)).lower(noisy_params(config)).compile()
    return compiled(noisy_params(config)), compiled.memory_analysis().temp_size_in_bytes


def assert_near(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(a).max())


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("remat", [name for name in REMAT if name != "none"])
def test_remat_saves_memory_and_keeps_gradients(remat, unroll):
    kept, kept_bytes = gradients_and_memory("none", unroll)
    remade, remade_bytes = gradients_and_memory(remat, unroll)
    assert remade_bytes < kept_bytes
    assert_near(kept, remade)
    assert_near(kept, gradients_and_memory("none", False)[0])


def test_tags_add_their_rows_to_the_embedding_of_sigma():
    config = dataclasses.replace(CONFIG, num_tags=3)
    params, (x_BxL, sigma_B) = noisy_params(config), inputs(config)
    plain_params = {name: tree for name, tree in params.items() if name != "condition"}
    plain = jit_output(CONFIG, plain_params, x_BxL, sigma_B)

    def scores(tags_BxN, params=params):
        return jit_output(config, params, x_BxL, sigma_B, condition={"tags": tags_BxN})

    none = np.full((len(x_BxL), 2), 3, np.int32)  # 3: no tag
    np.testing.assert_array_equal(scores(none), plain)
    tags_BxN = none.copy()
    tags_BxN[1] = 2, 0
    changed = scores(tags_BxN)
    np.testing.assert_array_equal(changed[0], plain[0])
    assert np.abs(changed[1] - plain[1]).max() > 0.001
    np.testing.assert_array_equal(scores(tags_BxN[:, ::-1]), changed)

    table_TxC = params["condition"]["tags"]["embedding"]
    bias = plain_params["sigma_map"]["out"]["bias"] + table_TxC[0] + table_TxC[2]
    moved = plain_params["sigma_map"] | {"out": plain_params["sigma_map"]["out"] | {"bias": bias}}
    same = jit_output(CONFIG, plain_params | {"sigma_map": moved}, x_BxL, sigma_B)
    np.testing.assert_allclose(changed[1], same[1], atol=1e-5)


def test_vectors_are_mapped_onto_the_embedding_of_sigma():
    config = dataclasses.replace(CONFIG, num_tags=3, vectors=(("clip", 4), ("speaker", 2)))
    params, (x_BxL, sigma_B) = noisy_params(config), inputs(config)
    plain_params = {name: tree for name, tree in params.items() if name != "condition"}
    plain = jit_output(CONFIG, plain_params, x_BxL, sigma_B)
    rng, num_rows = np.random.default_rng(0), len(x_BxL)
    none = {"clip": np.zeros((num_rows, 5)), "speaker": np.zeros((num_rows, 3))}
    vectors = jax.tree.map(np.copy, none)
    vectors["clip"][1] = [*rng.standard_normal(4), 1]

    def scores(vectors):
        condition = {"tags": np.full((num_rows, 1), 3, np.int32), "vectors": vectors}
        return jit_output(config, params, x_BxL, sigma_B, condition=condition)

    np.testing.assert_array_equal(scores(none), plain)
    changed = scores(vectors)
    np.testing.assert_array_equal(changed[0], plain[0])
    assert np.abs(changed[1] - plain[1]).max() > 0.001
    kernel_W1xC = params["condition"]["vectors"]["clip"]["kernel"]
    assert kernel_W1xC.shape == (5, config.cond_dim)
    bias = plain_params["sigma_map"]["out"]["bias"] + vectors["clip"][1] @ kernel_W1xC
    moved = plain_params["sigma_map"] | {"out": plain_params["sigma_map"]["out"] | {"bias": bias}}
    same = jit_output(CONFIG, plain_params | {"sigma_map": moved}, x_BxL, sigma_B)
    np.testing.assert_allclose(changed[1], same[1], atol=1e-5)


def test_a_fresh_conditional_network_is_the_unconditional_one():
    config = dataclasses.replace(CONFIG, num_tags=3, vectors=(("clip", 4),))
    params, plain = (init_params(c, jax.random.key(0)) for c in (config, CONFIG))
    shapes = jax.tree.map(np.shape, params["condition"])
    assert shapes["vectors"] == {"clip": {"kernel": (5, config.cond_dim)}}
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(params.pop("condition")))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), params, plain))


def test_a_network_that_is_not_told_sigma_has_a_constant_to_which_tags_are_added():
    told = dataclasses.replace(CONFIG, num_tags=3)
    config = dataclasses.replace(told, is_told_sigma=False)
    shapes = jax.eval_shape(lambda: init_params(config, jax.random.key(0)))
    assert "sigma_map" not in shapes and shapes["constant"]["value"].shape == (config.cond_dim,)
    params, (x_BxL, sigma_B) = noisy_params(config), inputs(config)
    tags_BxN = np.array([[3], [0], [2]], np.int32)  # 3: no tag

    def same(sigma_B, tags_BxN=tags_BxN):
        return jit_output(config, params, x_BxL, sigma_B, condition={"tags": tags_BxN})

    found = same(sigma_B)
    np.testing.assert_array_equal(found, same(2 * sigma_B))
    without = same(sigma_B, np.full((3, 1), 3, np.int32))
    np.testing.assert_array_equal(found[0], without[0])
    assert all(np.abs(found[row] - without[row]).max() > 0.001 for row in (1, 2))


def test_dropout_is_keyed_by_row_alone():
    config = dataclasses.replace(CONFIG, dropout=0.2)
    params, (x_BxL, sigma_B) = noisy_params(config), inputs(config)
    keys_B = jax.random.split(jax.random.key(5), len(x_BxL))
    together = jit_output(config, params, x_BxL, sigma_B, dropout_key_B=keys_B)
    alone = jit_output(config, params, x_BxL[1:2], sigma_B[1:2], dropout_key_B=keys_B[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)
    off = jit_output(config, params, x_BxL, sigma_B)
    assert np.abs(together - off).max() > 0.01
    np.testing.assert_array_equal(off, jit_output(CONFIG, params, x_BxL, sigma_B))


def test_initialisation_is_the_published_one():
    config = NetworkConfig(
        vocab_size=500, length=8, width=64, num_blocks=2, num_heads=2, cond_dim=48
    )
    params = init_params(config, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype(np.float32)}
    fan_ins = {"attn_qkv": 64, "attn_out": 64, "mlp_in": 64, "mlp_out": 256}
    for name, fan_in in fan_ins.items():
        for leaf in params["blocks"][name].values():  # kernel, and bias of the MLP
            bound = fan_in**-0.5
            assert 0.9 * bound < np.abs(leaf).max() <= bound
            assert np.std(leaf) == pytest.approx(bound / 3**0.5, rel=0.1)
            assert np.abs(leaf[0] - leaf[1]).max() > 0.1 * bound  # blocks differ
    assert np.std(params["vocab_embed"]["embedding"]) == pytest.approx((3 * 64) ** -0.5, rel=0.02)
    head = params["output_layer"]
    zero = [params["blocks"]["adaLN"], head["adaLN"], head["linear"]]
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(zero))
    assert (params["blocks"]["norm1"]["scale"] == 1).all()


def test_impossible_sizes_are_refused():
    for change in ({"num_heads": 3}, {"num_heads": 16}, {"remat": "some"}):
        with pytest.raises(ValueError, match=next(iter(change))):
            dataclasses.replace(CONFIG, **change)
