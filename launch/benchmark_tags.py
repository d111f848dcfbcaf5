"""The cost of tags and guidance: the part "tags" of launch.benchmark.

Two programs at a time, called in turn, the order changing from pair to pair: of each pair the ratio
is taken, and of the ratios the median, so that a machine which others use disturbs both alike. CPU
time is that of all threads; it is steadier than wall time, but means nothing where an accelerator
works. FLOPs are those of the programs before they are optimised, which no neighbour disturbs.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np
from ml_collections import ConfigDict

from sedd_jax.conditions import Vocabulary
from sedd_jax.model import ModelDef, build
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.sampling.generate import make_programs, sample_keys
from sedd_jax.sampling.settings import settle
from sedd_jax.sampling.tags import make_guide
from sedd_jax.training.step import jit_train_step

NUM_TAGS, TAGS_OF_A_TRACK = 48, 6
GUIDANCE = 2.0


@dataclass(frozen=True)
class Step:
    """A compiled step: a call that waits for its end, and its FLOPs."""

    run: Callable[[], None]
    flops: float


def tags(config: ConfigDict, codec: Mapping, repeats: int) -> dict[str, float]:
    """Ratios of steps with tags to steps without, and of guided steps to unguided ones."""
    names = [f"category---{i:02d}" for i in range(NUM_TAGS)]
    vocabulary = Vocabulary(dict.fromkeys(names, 1), TAGS_OF_A_TRACK)
    plain, told = build(config, codec), build(config, codec, vocabulary=vocabulary)
    figures = {}
    for what, first, second in (
        ("training step with tags ÷ without", _training_step(told), _training_step(plain)),
        ("guided sampler step ÷ unguided", _sampler_step(told, GUIDANCE), _sampler_step(told, 1)),
    ):
        wall, cpu = ratios(first.run, second.run, repeats)
        figures |= {what: wall, f"{what}, CPU time": cpu}
        figures[f"{what}, FLOPs"] = first.flops / second.flops
    return figures


def ratios(
    first: Callable[[], object], second: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Medians of first ÷ second, of wall time and of CPU time, each called once before."""
    first(), second()
    pairs = []
    for i in range(repeats):
        if i % 2:
            b, a = _times(second), _times(first)
        else:
            a, b = _times(first), _times(second)
        pairs.append(a / b)
    wall, cpu = np.array(pairs).T
    return statistics.median(wall), statistics.median(cpu)


def _times(run: Callable[[], object]) -> np.ndarray:
    """Seconds of wall time and of CPU time of a call, (2,)."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def _training_step(run: ModelDef) -> Step:
    rng, training = np.random.default_rng(0), run.config.training
    shape = (training.batch_size, run.config.model.length)
    batch = [rng.integers(run.graph.num_codes, size=shape, dtype=np.int32)]
    if run.vocabulary:
        ids = rng.integers(NUM_TAGS, size=(shape[0], TAGS_OF_A_TRACK), dtype=np.int32)
        batch.append({"tags": ids})
    batch = jax.device_put(batch, mesh_lib.batch_sharding(run.mesh))
    step, state = jit_train_step(run), run.fresh_state()
    flops = step.lower(state, *batch).cost_analysis()["flops"]

    def one_step():
        nonlocal state
        state, metrics = step(state, *batch)
        jax.block_until_ready(metrics)

    return Step(one_step, flops)


def _sampler_step(run: ModelDef, weight: float) -> Step:
    sampling = settle(run, seed=0)
    batch_size = mesh_lib.divisible(run.mesh, run.config.sampling.batch_size)
    params = run.fresh_state().ema_params
    programs = make_programs(run, sampling.sampler, sampling.steps, sampling.length)
    index_B = np.arange(batch_size)
    key_B = sample_keys(run, 0, index_B)
    x_BxL = programs.start(key_B)
    told = list(run.vocabulary.tracks)[:TAGS_OF_A_TRACK]
    sharding = mesh_lib.batch_sharding(run.mesh)
    guide = make_guide(run.vocabulary, [told] * batch_size, weight=weight).rows(
        index_B, lambda values_B: jax.device_put(values_B, sharding)
    )

    arguments = (np.int32(0), 1, guide)
    flops = programs.advance.lower(params, key_B, x_BxL, *arguments).cost_analysis()["flops"]

    def one_step():
        nonlocal x_BxL
        x_BxL, _ = programs.advance(params, key_B, x_BxL, *arguments)
        x_BxL.block_until_ready()

    return Step(one_step, flops)
