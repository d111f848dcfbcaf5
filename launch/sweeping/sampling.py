"""Sweeps over sampling: python -m sedd_jax.sample, then launch.measure_samples, per run.

With config.reference, a folder of real music, each run's samples are decoded too and compared with
it by tokenizer_bridge.report, without controls: its page is in the run's folder. With config.judge,
an autoregressive run, that tells what they cost it (sedd_jax.evaluate --judge).
"""

import functools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict, config_dict

from launch.sweeping.runs import Progress, SweepRun
from sedd_jax.checkpoints.manager import Checkpoints, Meta
from sedd_jax.diffusion.choices import SAMPLERS, STEP_SCHEDULES, TRAITS
from sedd_jax.errors import UserError
from sedd_jax.model import checkpoint_dir
from sedd_jax.sampling.settings import read_costs
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.records import TokenDataset

SAMPLES = "samples"  # the run's token dataset
MEASURES_FILE = "measures.json"
WAVS, REPORT = "wavs", "report"  # where there is a reference
REPORT_FILE = f"{REPORT}/report.json"
JUDGED = "judged"  # where there is a judge
# What the report would refuse after sampling: MIN_FILES of tokenizer_bridge.fad.measured_set and a
# window of musicnn, which are not imported because PyTorch would be.
MIN_SAMPLES, MIN_CLIP_S = 16, 3.0
_OF_AUDIO = ("reference", "clip_s")
_NOT_OF_SAMPLE = ("run", "evaluations", "real", "judge", *_OF_AUDIO)  # no flags of sedd_jax.sample


def default_config() -> ConfigDict:
    """The config of a sampling run: flags of sedd_jax.sample, None for their defaults.

    Sampler and steps are the paper's.
    """
    config = ConfigDict()
    config.run = ""  # a trained run, an exported model, or demo
    config.step = config_dict.placeholder(int)  # its checkpoint; the newest
    config.num_samples = 32
    config.sampler = "euler"
    config.schedule = config_dict.placeholder(str)  # the sampler's own
    config.strength = config_dict.placeholder(float)  # likewise
    config.steps = 128
    config.evaluations = config_dict.placeholder(int)  # of the network at most, instead of steps
    config.seed = 0
    config.length = config_dict.placeholder(int)
    config.temperature = 1.0
    config.top_k = config_dict.placeholder(int)
    config.top_p = 1.0
    config.batch_size = config_dict.placeholder(int)
    config.tags_from = config_dict.placeholder(str)  # tokens whose tags the samples are told
    config.real = config_dict.placeholder(str)  # tokens to compare with; those of the training
    config.judge = config_dict.placeholder(str)  # autoregressive run; no judge
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
        if config.evaluations is not None:
            traits = TRAITS[config.sampler]
            config.steps = (config.evaluations - traits.denoises) // traits.evaluations
            if config.steps < 1:
                raise UserError(
                    f"config.evaluations is {config.evaluations}: {config.sampler} needs "
                    f"{traits.evaluations + traits.denoises} at least"
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
        if config.schedule not in (None, *STEP_SCHEDULES):
            try:
                read_costs(config.schedule)
            except UserError as error:
                raise UserError(
                    f"config.schedule is neither {' nor '.join(STEP_SCHEDULES)} nor the file of "
                    f"an evaluation: {error}"
                ) from error
            config.schedule = str(Path(config.schedule).absolute())
        for key in ("tags_from", "real", "judge"):
            if config[key] is not None and not Path(config[key]).is_dir():
                raise UserError(f"config.{key}={config[key]}: no such folder")
        model = read_model(config.run, config.step)
        for key in ("run", "tags_from", "real", "judge"):
            if config[key] is not None and not (key == "run" and exported.is_name(config.run)):
                config[key] = str(Path(config[key]).absolute())
        config.step = model.step  # a run that trains on would mix checkpoints
        config.length = config.length or model.config["model"]["length"]
        if config.reference is not None:
            seconds = config.length * model.codec["hop_length"] / model.codec["sample_rate"]
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
            if key not in _NOT_OF_SAMPLE and value is not None
        ]
        line = [sys.executable, "-m", self.module, f"--workdir={run.config.run}"]
        return [*line, *flags, f"--output={run.directory / SAMPLES}"]

    def after(self, run: SweepRun) -> list[list[str]]:
        samples = run.directory / SAMPLES
        measure = ["launch.measure_samples", f"--workdir={run.config.run}", f"--tokens={samples}"]
        if run.config.real is not None:
            measure.append(f"--real={run.config.real}")
        commands = [[*measure, f"--output={run.directory / MEASURES_FILE}"]]
        if run.config.judge is not None:
            judge = ["sedd_jax.evaluate", f"--workdir={run.config.judge}", "--judge"]
            judge += [f"--tokens={samples}", f"--output={run.directory / JUDGED}"]
            commands.append(judge)
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
        if run.config.judge is not None and not _judgement(run):
            return Progress(False, "")
        origin = TokenDataset(run.directory / SAMPLES).origin
        wanted = {key: value for key, value in run.config.items() if key in origin}
        wanted |= {"run": run.config.run, "step": run.config.step}
        found = origin | {"run": measures["workdir"], "step": origin["checkpoint_step"]}
        traits = TRAITS[run.config.sampler]
        usual = {"temperature": 1.0, "top_p": 1.0}  # what changes nothing, samples do not say
        usual |= {"schedule": traits.schedule, "strength": traits.strength}
        for key, value in usual.items():
            told, own = origin.get(key), run.config[key]
            wanted[key] = value if own is None else own
            found[key] = value if told is None else told
        if wanted["schedule"] not in (None, *STEP_SCHEDULES):
            wanted["schedule"] = list(read_costs(wanted["schedule"]))
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
                measures[f"fad_{name}"] = compared["fad"]
                for measure in ("kad", "fad_infinity"):
                    if compared[measure]:
                        measures |= _with_interval(f"{measure}_{name}", compared[measure])
        judgement = _judgement(run).get("pieces" if of == "measures" else "real")
        if judgement:
            bits = judgement["bits_per_token"]
            measures |= {
                "judge_bits_per_token": bits["mean"],
                "judge_piece_entropy_bits": judgement["piece_entropy_bits"],
            }
            if interval := bits["interval_95_by_artist"]:
                measures |= {
                    "judge_bits_per_token_low": interval[0],
                    "judge_bits_per_token_high": interval[1],
                }
        return measures


def _judgement(run: SweepRun) -> dict[str, Any]:
    """The judge's figures of a run's samples; empty when there are none yet."""
    if run.config.judge is None:
        return {}
    return next(map(read_measures, sorted((run.directory / JUDGED).glob("judgement_*.json"))), {})


def _with_interval(name: str, estimate: dict[str, float]) -> dict[str, float]:
    ends = {f"{name}_{end}": estimate[end] for end in ("low", "high")}
    return {name: estimate["value"], **ends}


class TrainedModel(NamedTuple):
    """The facts about a model that a sweep asks for before it samples."""

    step: int
    config: Mapping[str, Any]
    codec: Mapping[str, Any]


@functools.cache
def read_model(workdir: str, step: int | None) -> TrainedModel:
    """The description of a trained run, an exported model or `demo`. Raises UserError."""
    folder = exported.locate(workdir, step)
    if (folder / exported.WEIGHTS).exists():
        model = exported.read(folder)
        return TrainedModel(model.step, model.config.to_dict(), model.codec)
    meta = read_meta(workdir, step)
    return TrainedModel(meta.step, meta.config, meta.codec)


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
