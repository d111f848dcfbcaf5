"""Sweeps over sampling: python -m sedd_jax.sample, then launch.measure_samples, per run.

With config.reference, a folder of real music, each run's samples are decoded too and compared with
it by tokenizer_bridge.report, without controls: its page is in the run's folder.
"""

import functools
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, config_dict

from launch.sweeping.runs import Progress, SweepRun
from sedd_jax.checkpoints.manager import Checkpoints, Meta
from sedd_jax.diffusion.choices import SAMPLERS
from sedd_jax.errors import UserError
from sedd_jax.model import checkpoint_dir
from tokenizer_bridge.token_dataset.records import TokenDataset

SAMPLES = "samples"  # the run's token dataset
MEASURES_FILE = "measures.json"
WAVS, REPORT = "wavs", "report"  # where there is a reference
REPORT_FILE = f"{REPORT}/report.json"
# What the report would refuse after sampling: MIN_FILES of tokenizer_bridge.fad.measured_set and a
# window of musicnn, which are not imported because PyTorch would be.
MIN_SAMPLES, MIN_CLIP_S = 16, 3.0
_OF_AUDIO = ("reference", "clip_s")  # keys that are none of sedd_jax.sample's


def default_config() -> ConfigDict:
    """The config of a sampling run: the flags of sedd_jax.sample, None for their defaults."""
    config = ConfigDict()
    config.run = ""  # folder of the trained run
    config.step = config_dict.placeholder(int)  # its checkpoint; the newest
    config.num_samples = 32
    config.sampler = "euler"
    config.steps = 128
    config.seed = 0
    config.length = config_dict.placeholder(int)
    config.temperature = 1.0
    config.top_k = config_dict.placeholder(int)
    config.top_p = 1.0
    config.batch_size = config_dict.placeholder(int)
    config.reference = config_dict.placeholder(str)  # folder of real music; no audio is made
    config.clip_s = 6.0  # seconds of each sample and of each real file that are compared
    return config


class Sampling:
    """Every run samples one checkpoint; only the samples differ."""

    module = "sedd_jax.sample"
    default_metric = "bigram_bits_per_token"

    def complete(self, config: ConfigDict) -> None:
        if not config.run:
            raise UserError("config.run is empty: the folder of a trained run is needed")
        if config.sampler not in SAMPLERS:
            raise UserError(
                f"config.sampler is {config.sampler!r}; it can be {', '.join(SAMPLERS)}"
            )
        for key in ("num_samples", "steps", "length", "top_k", "batch_size"):
            if config[key] is not None and config[key] < 1:
                raise UserError(f"config.{key} is {config[key]}; it must be at least 1")
        if not 0 < config.temperature < math.inf:
            raise UserError(f"config.temperature is {config.temperature}; it must be above 0")
        if not 0 < config.top_p <= 1:
            raise UserError(f"config.top_p is {config.top_p}; it must be above 0, 1 at most")
        if not 0 <= config.seed < 2**32:
            raise UserError(f"config.seed is {config.seed}; it must be from 0 to 2**32 - 1")
        if config.reference is not None:
            if not Path(config.reference).is_dir():
                raise UserError(f"config.reference={config.reference}: no such folder")
            config.reference = str(Path(config.reference).absolute())
            if config.num_samples < MIN_SAMPLES:
                raise UserError(
                    f"config.num_samples is {config.num_samples}; {MIN_SAMPLES} are the least that "
                    "can be compared with config.reference"
                )
        meta = read_meta(config.run, config.step)
        config.run = str(Path(config.run).absolute())
        config.step = meta.step  # a run that trains on would mix checkpoints
        config.length = config.length or meta.config["model"]["length"]
        if config.reference is not None:
            seconds = config.length * meta.codec["hop_length"] / meta.codec["sample_rate"]
            if not MIN_CLIP_S <= config.clip_s <= seconds:
                raise UserError(
                    f"config.clip_s is {config.clip_s:g}; it must be at least {MIN_CLIP_S:g} and, "
                    f"with config.length={config.length}, at most {seconds:.4g}"
                )

    def check_inputs(self, runs: Sequence[SweepRun]) -> None:
        """`complete` has looked at the checkpoints already; nothing else is read."""

    def line(self, run: SweepRun) -> list[str]:
        flags = [
            f"--{key}={value}"
            for key, value in run.config.items()
            if key not in ("run", *_OF_AUDIO) and value is not None
        ]
        line = [sys.executable, "-m", self.module, f"--workdir={run.config.run}"]
        return [*line, *flags, f"--output={run.directory / SAMPLES}"]

    def after(self, run: SweepRun) -> list[list[str]]:
        samples = run.directory / SAMPLES
        measure = ["launch.measure_samples", f"--workdir={run.config.run}", f"--tokens={samples}"]
        commands = [[*measure, f"--output={run.directory / MEASURES_FILE}"]]
        if run.config.reference is not None:
            wavs = run.directory / WAVS
            compare = ["tokenizer_bridge.report", f"--audio={wavs}", "--no_controls"]
            compare += [f"--reference=music={run.config.reference}"]
            compare += [f"--clip_s={run.config.clip_s}", f"--output={run.directory / REPORT}"]
            decode = ["tokenizer_bridge.decode", f"--tokens={samples}", f"--output={wavs}"]
            commands += [decode, compare]
        return [[sys.executable, "-m", *command] for command in commands]

    def progress(self, run: SweepRun) -> Progress:
        measures = read_measures(run.directory / MEASURES_FILE)
        report = read_measures(run.directory / REPORT_FILE)
        if not measures or (run.config.reference is not None and not report):
            return Progress(False, "")
        origin = TokenDataset(run.directory / SAMPLES).origin
        wanted = {key: value for key, value in run.config.items() if key in origin}
        wanted |= {"run": run.config.run, "step": run.config.step}
        found = origin | {"run": measures["workdir"], "step": origin["checkpoint_step"]}
        for key in ("temperature", "top_p"):  # where they change nothing, samples do not say so
            wanted[key], found[key] = run.config[key], origin.get(key) or 1.0
        if run.config.reference is not None:
            compared = report["measurements"][0]
            wanted |= {key: run.config[key] for key in _OF_AUDIO}
            found |= {
                "reference": compared["reference"]["directory"], "clip_s": compared["clip_s"],
            }  # fmt: skip
        for key, value in wanted.items():
            if found[key] != value:
                raise UserError(
                    f"{run.directory} holds samples of config.{key}={found[key]}, not {value}: "
                    "set it back or sweep in another directory"
                )
        return Progress(True, f"{origin['num_samples']:,} samples")

    def history(self, run: SweepRun) -> list[dict[str, float | None]]:
        measures = self._measures(run, "measures")
        return [measures] if measures else []

    def reference(self, run: SweepRun) -> dict[str, float]:
        return self._measures(run, "real")

    def _measures(self, run: SweepRun, of: str) -> dict[str, float | None]:
        measures = dict(read_measures(run.directory / MEASURES_FILE).get(of, {}))
        if of == "measures" and run.config.reference is not None:
            report = read_measures(run.directory / REPORT_FILE)
            for compared in report.get("measurements", ()):
                name = compared["embedding"]["name"]
                measures |= {
                    f"fad_{name}": compared["fad"],
                    f"kad_{name}": compared["kad"]["value"],
                }
                if compared["fad_infinity"]:
                    measures[f"fad_infinity_{name}"] = compared["fad_infinity"]["value"]
        return measures


@functools.cache
def read_meta(workdir: str, step: int | None) -> Meta:
    """The metadata of a trained run's checkpoint, by default the newest."""
    directory = checkpoint_dir(workdir)
    if not directory.is_dir():
        raise UserError(f"{workdir} holds no trained run: there is no {directory}")
    with Checkpoints(directory, read_only=True) as checkpoints:
        read = checkpoints.read_meta
        return checkpoints.newest(read) if step is None else checkpoints.at(step, read)


def read_measures(path: Path) -> dict[str, Any]:
    """Empty when there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
