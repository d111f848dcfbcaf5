"""Exporting: a run's model becomes a folder with a model card, and goes to the hub."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sedd_jax.conditions import category
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef, checkpoint_dir
from sedd_jax.network.choices import AUTOREGRESSIVE
from sedd_jax.remote_run import CHECKPOINTS, local_run
from sedd_jax.weights import exported, hub
from tokenizer_bridge.token_dataset.mirrors import new_folder
from tokenizer_bridge.token_dataset.paths import is_url

SAID_OF = {
    "score_entropy": "A score-entropy discrete diffusion model (Lou, Meng & Ermon 2024, "
    "arXiv:2310.16834)",
    "conditional": "A discrete diffusion model of time-free conditionals (Ou et al. 2024, "
    "arXiv:2406.03736)",
    "mean": "A uniform discrete diffusion model of code means (Schiff et al. 2024, "
    "arXiv:2412.10193)",
    "masked": "A masked discrete diffusion model (Shi et al. 2024, arXiv:2406.04329; Sahoo et al. "
    "2024, arXiv:2406.07524)",
}
AUTOREGRESSIVE_IS = "An autoregressive model, which predicts each token from those before it,"


def push(folder: str, name: str) -> str:
    """Uploads an exported folder to the hub; its address there. Raises UserError: how to go on."""
    try:
        return hub.push(folder, name)
    except UserError as error:
        later = f"hf upload {name} {shlex.quote(folder)} ."
        raise UserError(
            f"{folder} is written, but is not on the hub: {error}. When that is mended: {later}"
        ) from error


def export(
    workdir: str,
    output: str,
    *,
    step: int | str | None = None,
    dtype: str = "float32",
    data: str | None = None,
    license: str | None = None,
) -> int:
    """Exports a run's EMA weights into the folder `output`; returns their step.

    Raises UserError when there is no such checkpoint, or the folder is not empty or lies where the
    run's checkpoints do.
    """
    folder = local_run(workdir, step)
    among = f"{str(workdir).rstrip('/')}/{CHECKPOINTS}/"
    if (
        output.startswith(among)
        if is_url(output)
        else checkpoint_dir(folder).resolve() in Path(output).resolve().parents
    ):
        raise UserError(f"{output} lies among the checkpoints of {workdir}: choose another folder")
    for text in (data, license):
        if text and not text.isprintable():
            raise UserError(
                f"{text!r} has line breaks or control characters: the card wants a line"
            )
    definition, params, step = exported.load(workdir, step)
    params = jax.tree.map(np.asarray, params)
    config = definition.config.copy_and_resolve_references()
    config.unlock()
    config.data.path = ""  # of this machine alone
    model = exported.Exported(config, definition.codec, definition.vocabulary, params, step)
    measured = newest_evaluation(folder, step)
    training = trained_for(folder, step)
    card = model_card(definition, params, training, measured, data, license)
    with new_folder(output, exported.WEIGHTS) as place:
        exported.write(place, model, dtype, card)
    return step


def trained_for(workdir: Path, step: int) -> str:
    """The words of a model card on how long a run has trained, and from where.

    Raises UserError when the run's record of its origin cannot be read.
    """
    text, path = f"trained for {step:,} steps", workdir / "origin.json"
    if not path.exists():
        return text
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["step"]
        return f"{text}, starting from the weights of another run's step {before:,}"
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no record of the model that a run started from") from error


def newest_evaluation(workdir: Path, step: int) -> Mapping[str, Any] | None:
    """The report of `evaluate` on this step, of the split test before validation, or None.

    Raises UserError for a file that is none.
    """
    for split in ("test", "validation"):
        path = workdir / f"evaluation_{split}_{step}.json"
        if path.exists():
            try:
                report = json.loads(path.read_text(encoding="utf-8"))
                measured_figures(report)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(
                    f"{path} is no report of evaluate: measure again, or remove it"
                ) from error
            return report
    return None


def model_card(
    definition: ModelDef,
    params: Any,
    training: str,
    measured: Mapping[str, Any] | None,
    data: str | None,
    license: str | None,
) -> str:
    """The README.md of an exported folder: Markdown with the header that model hubs read.

    training: how long it was trained; measured: a report of `evaluate`; data, license: as the
    card shall name them.
    """
    config, codec = definition.config, definition.codec
    count = sum(array.size for array in jax.tree.leaves(params))
    seconds = config.model.length * codec["hop_length"] / codec["sample_rate"]
    header = [
        "---",
        *([f"license: {license.lower()}"] if license else []),
        "library_name: sedd-music",
        "tags: [music, discrete-diffusion, sedd]",
        "---",
    ]
    kind = f"{config.graph.type} graph, {config.noise.type} noise, "
    if definition.is_autoregressive:
        kind = ""
    lines = [
        "",
        "# A SEDD-Music model",
        "",
        f"{AUTOREGRESSIVE_IS if definition.is_autoregressive else SAID_OF[config.loss.type]} of "
        f"tokens of the codec `{codec['name']}`: {kind}{count:,} parameters, windows of "
        f"{config.model.length} tokens ({seconds:.1f} s), {training}.",
        "",
        f"- Training data: {data or 'not said'}",
        f"- Licence of the weights: {license or 'not said'}",
    ]
    if measured:
        lines.append(measured_figures(measured))
    if definition.vocabulary.tracks:
        lines += ["", "## Tags", ""]
        names: dict[str, list[str]] = {}
        for tag in definition.vocabulary.tracks:
            names.setdefault(category(tag), []).append(tag.partition("---")[2])
        lines += [f"- `{group}`: {', '.join(members)}" for group, members in names.items()]
    if definition.vocabulary.vectors:
        lines += ["", "## Vectors", ""]
        kinds = definition.vocabulary.vectors.items()
        lines += [f"- `{kind}`: {known.width} numbers" for kind, known in kinds]
    lines += [
        "",
        "## Use",
        "",
        "    python -m sedd_jax.sample --workdir=THIS_FOLDER --num_samples=8 --output=NEW",
        "    python -m tokenizer_bridge.decode --tokens=NEW --output=WAVS",
        "",
    ]
    return "\n".join([*header, *lines])


def measured_figures(report: Mapping[str, Any]) -> str:
    """The line of a card on a report of `evaluate`."""
    bits = {name.replace("_", " "): value for name, value in report["bits_per_token"].items()}
    figures = ", ".join(f"{name} {_figure(estimate)}" for name, estimate in bits.items())
    kind = "exact" if report.get("model_type") == AUTOREGRESSIVE else "an upper bound"
    return (
        f"- Bits per token on {report['num_tracks']} {report['split']} tracks, the model's {kind}: "
        f"{figures}"
    )


def _figure(estimate: Mapping[str, Any]) -> str:
    interval = estimate.get("interval_95_by_artist")
    text = f"{estimate['mean']:.3f}"
    return text if not interval else f"{text} ({interval[0]:.3f} to {interval[1]:.3f})"
