"""Soaking: two runs are killed again and again, and compared with undisturbed ones."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from launch.soaking.lives import CHANGING, STEADY, Life, SoakError, SoakRun, Topology, Unprovoked
from sedd_jax import config as config_lib
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.errors import UserError
from sedd_jax.model import build, checkpoint_dir
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.state import TrainState
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter

BOUND = 1e-4  # relative L2; topologies differ by rounding, which training carries on
TAIL = 10  # steps of the last life, after the last kill
CODEC = {
    "name": "soak", "weights_sha256": "0" * 64, "sample_rate": 24_000, "hop_length": 320,
    "codebook_size": 64,
}  # fmt: skip


def write_tokens(path: Path) -> Path:
    """A token dataset of random walks over the codes."""
    rng = np.random.default_rng(0)
    with TokenDatasetWriter(path, CODEC) as writer:
        for i, length in enumerate(rng.integers(40, 120, 32)):
            tokens_L = np.cumsum(rng.integers(0, 3, length)) % CODEC["codebook_size"]
            writer.write("train", Record(f"walk-{i}", tokens_L.astype(np.uint16), length / 75))
    return path


def empty(workdir: Path) -> None:
    """Makes the directory, or clears what an earlier soak left there."""
    marker = workdir / "soak"
    if workdir.exists() and any(workdir.iterdir()) and not marker.exists():
        raise UserError(f"{workdir} holds something else: choose another directory")
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir(parents=True)
    marker.touch()


def restore_all(run: SoakRun) -> TrainState:
    """The last state, after every checkpoint has been read back. Raises SoakError."""
    with Checkpoints(checkpoint_dir(run.workdir), read_only=True) as checkpoints:

        def read(step: int) -> TrainState:
            meta = checkpoints.read_meta(step)
            config = config_lib.from_dict(meta.config)
            one = mesh_lib.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
            shapes = build(config, meta.codec, one).state_shapes()
            return jax.device_get(checkpoints.restore(meta, shapes))

        try:
            return [checkpoints.at(step, read) for step in checkpoints.steps][-1]
        except UserError as error:
            raise SoakError(f"a checkpoint cannot be restored: {error}") from error


def relative_error(state, expected) -> float:
    """L2 of the difference over L2 of what is expected, over all arrays together."""
    pairs = list(zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True))
    error = sum(np.square(np.float64(a) - np.float64(b)).sum() for a, b in pairs)
    return float(np.sqrt(error / sum(np.square(np.float64(b)).sum() for _, b in pairs)))


def is_bit_equal(state, expected) -> bool:
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def show(number: int, life: Life) -> None:
    """A line of the table."""
    start = "–" if life.from_step is None else f"{life.from_step}"
    codes = " ".join(map(str, life.codes))
    print(
        f"{number:>4}  {str(life.topology):<14} {life.signal:<8} {life.victims:<10} {start:>6} "
        f"{life.reached:>8} {life.saved:>6} {life.seconds_to_end:>7.1f}   {codes}",
        flush=True,
    )


def number_reached(kills: int) -> Callable[[int], bool]:
    """Tells of a number of kills whether it is enough."""
    return lambda done: done >= kills


def time_over(end_s: float) -> Callable[[int], bool]:
    """Tells whether the monotonic clock has passed `end_s` and something was killed."""
    return lambda done: done > 0 and time.monotonic() >= end_s


def soak(
    name: str, topologies: tuple[Topology, ...], is_enough: Callable[[int], bool], common: dict
) -> dict:
    """Kills a run until that many kills are enough, and compares it with an undisturbed one.

    Raises SoakError.
    """
    workdir, tokens, rng = common["workdir"], common["tokens"], common["rng"]
    run = SoakRun(workdir / name / "run", tokens, workdir / "compiled")
    print(f"\n{name}")
    print("life  topology       signal   victims      from  reached  saved  to end   exit codes")
    lives: list[Life] = []
    unprovoked = 0
    while not is_enough(len(lives)):
        try:
            lives.append(run.live(rng.choice(topologies), rng))
        except Unprovoked:
            unprovoked += 1
            continue
        show(len(lives), lives[-1])
    num_steps = run.newest() + TAIL
    run.finish(topologies[0], num_steps)
    calm = SoakRun(workdir / f"{name}-undisturbed" / "run", tokens, workdir / "compiled")
    calm.finish(topologies[0], num_steps)
    state, expected = restore_all(run), restore_all(calm)
    return {
        "kills": len(lives),
        "steps": num_steps,
        "started again without a kill": unprovoked,
        "steps computed twice": sum(life.reached - life.saved for life in lives),
        "longest from kill to end of all [s]": max(life.seconds_to_end for life in lives),
        "state bit-equal": is_bit_equal(state, expected),
        "parameters, relative error": relative_error(state.params, expected.params),
    }


def soak_both(
    workdir: Path,
    *,
    kills: int,
    hours: float | None = None,
    seed: int,
    tokens: str | Path | None = None,
) -> int:
    """Soaks both runs and prints how they came out; returns the exit code. Raises SoakError.

    kills: over both runs; hours: until they are over, instead.
    """
    empty(workdir)
    tokens = TokenDataset(tokens).path if tokens else write_tokens(workdir / "tokens")
    common = {"workdir": workdir, "tokens": tokens.absolute(), "rng": random.Random(seed)}
    if hours is None:
        first, second = number_reached(kills // 3), number_reached(kills - kills // 3)
    else:
        start_s, length_s = time.monotonic(), 3600 * hours
        first, second = time_over(start_s + length_s / 3), time_over(start_s + length_s)
    steady = soak("steady", (STEADY,), first, common)
    changing = soak("changing", CHANGING, second, common)
    print(f"\n{'':<38}{'steady':>12}{'changing':>12}")
    for key in steady:
        print(f"{key:<38}{_cell(steady[key]):>12}{_cell(changing[key]):>12}")
    print("steps lost beyond the last checkpoint: 0; checkpoints that cannot be restored: 0")
    good = steady["state bit-equal"] and changing["parameters, relative error"] <= BOUND
    print("passed" if good else f"FAILED: bit-equal and below {BOUND} were wanted")
    return 0 if good else 1


def _cell(value) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
