"""The page of new music: what is shown of a run or of pieces alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch.listening import findings
from launch.listening.outlook import outlook
from launch.listening.pictures import pick, training_curve
from launch.listening.pieces import Listener, PieceSet
from launch.listening.verdict import is_exact, verdict
from tokenizer_bridge.codec import Codec
from tokenizer_bridge.pages.template import render
from tokenizer_bridge.token_dataset.description import codec_difference
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file
from tokenizer_bridge.token_dataset.mirrors import file_at, folder_at
from tokenizer_bridge.token_dataset.records import TokenDataset

TEMPLATE = Path(__file__).parents[1] / "listening" / "page.html.j2"


def page_of_pieces(
    tokens: str | None = None,
    *,
    audio: str | None = None,
    other_tokens: Sequence[str] = (),
    codec_dir: str | None = None,
) -> dict[str, Any]:
    """The template's values for pieces alone: `tokens`, `other_tokens`, or both."""
    sets = [TokenDataset(path) for path in [*other_tokens, tokens] if path]
    codec = Codec.load(sets[0].codec, directory=codec_dir)
    listener = Listener(codec)
    shown = other_sets(codec, other_tokens)
    if tokens:
        folder = audio_folder(listener, sets[-1], audio)
        shown.append(listener.piece_set("New pieces", sets[-1], folder))
    return {
        "title": "New music", "verdict": None, "codec": codec.info, "sets": shown, "clips": [],
        "curve": None, "figures": [], "config": None,
    }  # fmt: skip


def page_of_run(
    workdir: Path,
    *,
    tokens: str | None = None,
    audio: str | None = None,
    other_tokens: Sequence[str] = (),
    music: str | None = None,
    music_tokens: str | None = None,
    codec_dir: str | None = None,
    num_real: int = 4,
    real_s: float = 8.0,
) -> dict[str, Any]:
    """The template's values for a run; prints what people should know.

    tokens, audio: its new pieces and where they lie decoded, found by default. music, music_tokens:
    folder and token dataset of what it was trained on. num_real, real_s: real clips and the seconds
    of each. Raises UserError.
    """
    config = findings.read_config(workdir)
    if not (music_tokens := music_tokens or config["data"]["path"]):
        raise UserError(
            f"{workdir} does not say where its data lies: name it with --music_tokens, or give "
            "--tokens and --output for a page of pieces alone"
        )
    encoded = TokenDataset(music_tokens)
    codec = Codec.load(encoded.codec, directory=codec_dir)
    listener = Listener(codec)
    shown, samples = other_sets(codec, other_tokens), find_samples(workdir, tokens)
    if samples:
        concern = findings.require_own_samples(workdir, samples)
        folder = audio_folder(listener, samples, audio)
        shown.append(
            listener.piece_set(
                "New pieces of this run", samples, folder, [concern] if concern else []
            )
        )
    step = samples.origin.get("checkpoint_step") if samples else None
    measured = findings.evaluations(workdir, encoded, step)
    report = measured.report
    curve = findings.read_curve(workdir)
    said = [verdict(report), outlook(curve, report, config, encoded)] if report else []
    notes = [findings.BASELINES[is_exact(report)]] if report else []
    notes += [f"{name} was measured on other data and is left out." for name in measured.others]
    for line in notes[bool(report) :]:
        print(f"mind: {line}")
    split = "validation" if "validation" in encoded.splits else "train"
    recordings = Path(music) if music else None
    clips = [
        listener.clip(encoded.read(split, i), recordings, real_s)
        for i in pick(range(encoded.num_records(split)), num_real)
    ]
    return {
        "title": f"New music from {recordings.resolve().name}" if recordings else "New music",
        "verdict": " ".join(filter(None, said)) or None,
        "codec": codec.info,
        "sets": shown,
        "clips": clips,
        "clips_note": findings.HEARD[split == "train"],
        "curve": training_curve(curve, report),
        "figures": findings.figures(encoded, samples, report),
        "figure_notes": notes,
        "config": json.dumps(config, indent=1),
    }


def find_samples(workdir: Path, tokens: str | None) -> TokenDataset | None:
    """The run's new pieces, where they are said to lie or usually do."""
    path = tokens or findings.find_dataset(workdir, "new")
    if path is None:
        print("no new pieces are shown: sedd_jax.sample draws some, --tokens names them")
        return None
    return TokenDataset(path)


def audio_folder(listener: Listener, samples: TokenDataset, audio: str | None) -> Path | None:
    """The folder of the decoded pieces: `audio` if given, or else `wavs` beside their tokens."""
    if audio:
        return Path(audio)
    usual = samples.path.absolute().parent / "wavs"
    return usual if listener.has_decoded(samples, usual) else None


def other_sets(codec: Codec, other_tokens: Sequence[str]) -> list[PieceSet]:
    """Pieces of other models, decoded by the codec of each, which may be another than `codec`."""
    sets = []
    for samples in map(TokenDataset, other_tokens):
        title, own = f"Pieces of another model: {samples.path.name}", codec
        if codec_difference(samples.codec, vars(codec.info)):
            own = Codec.load(samples.codec)
            title += f" (codec {own.info.name})"
        sets.append(Listener(own).piece_set(title, samples, None))
    return sets


def run_at(place: str) -> Path:
    """The directory of a run; of one at a URL, a copy of what a page shows."""
    folder = folder_at(place)
    unseen = ("checkpoints", "samples", "tensorboard", "profile")
    folder.fetch(name for name in folder.names() if name.partition("/")[0] not in unseen)
    return folder.path


def write_page(output: str, values: Mapping[str, Any]) -> None:
    """Writes the page of the template's values; prints where it is and what it finds.

    output: a path or a URL.
    """
    html = render(TEMPLATE, **values)
    with file_at(output) as path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            partial.write_text(html, encoding="utf-8")
    print(f"page written to {output} ({len(html.encode()) / 2**20:.1f} MiB)")
    if values["verdict"]:
        print(values["verdict"])
