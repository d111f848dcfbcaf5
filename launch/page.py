"""One HTML page of new music, complete in itself: sounds and pictures are inside the file.

    python -m launch.page --workdir=RUN [--music=MUSIC]
    python -m launch.page --tokens=NEW --output=PAGE.html

The first shows a run: what its bound is worth against a bigram and unigrams, its new pieces, real
music and what the codec leaves of it, the training curve and the measured figures. The music's
tokens are those that RUN/config.json names; the pieces lie in RUN/new, or in `new` beside RUN, and
their audio in `wavs` there, unless flags say otherwise. Pieces without audio are decoded here;
pieces of another run are refused. With --music, the folder that was encoded, each real clip is
shown beside its recording. The second shows pieces alone.
"""

import json
from pathlib import Path

from absl import flags

from launch.listening import findings
from launch.listening.pictures import pick, training_curve
from launch.listening.pieces import Clip, Listener, PieceSet
from launch.listening.verdict import verdict
from tokenizer_bridge.codec import Codec
from tokenizer_bridge.pages.template import render
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import atomic_file
from tokenizer_bridge.token_dataset.records import TokenDataset

WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the trained run.")
TOKENS = flags.DEFINE_string("tokens", None, "Token dataset of the new pieces.")
AUDIO = flags.DEFINE_string("audio", None, "Folder of their decoded audio.")
OTHER_TOKENS = flags.DEFINE_multi_string(
    "other_tokens", [], "Pieces of another model, shown first and apart; may be repeated."
)
MUSIC = flags.DEFINE_string("music", None, "Folder of the music that was encoded.")
MUSIC_TOKENS = flags.DEFINE_string(
    "music_tokens", None, "Token dataset of that music; the run's own by default."
)
OUTPUT = flags.DEFINE_string("output", None, "The page; RUN/index.html by default.")
CODEC_DIR = flags.DEFINE_string("codec_dir", None, "Folder with the codec, if it is no known one.")
NUM_REAL = flags.DEFINE_integer("num_real", 4, "Real clips to show.", lower_bound=0)
REAL_S = flags.DEFINE_float("real_s", 8.0, "Seconds of a real clip.", lower_bound=1.0)


def main(argv: list[str]) -> None:
    del argv
    if WORKDIR.value:
        workdir = Path(WORKDIR.value)
        values, output = page_of_run(workdir), Path(OUTPUT.value or workdir / "index.html")
    elif (TOKENS.value or OTHER_TOKENS.value) and OUTPUT.value:
        values, output = page_of_pieces(), Path(OUTPUT.value)
    else:
        raise UserError(
            "--workdir is required, or --tokens and --output for a page of pieces alone"
        )
    html = render(Path(__file__).parent / "listening" / "page.html.j2", **values)
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(output) as partial:
        partial.write_text(html, encoding="utf-8")
    print(f"page written to {output} ({output.stat().st_size / 2**20:.1f} MiB)")
    if values["verdict"]:
        print(values["verdict"])


def page_of_pieces() -> dict:
    """What the template shows of pieces alone."""
    sets = [TokenDataset(path) for path in [*OTHER_TOKENS.value, TOKENS.value] if path]
    codec = load_codec(sets[0])
    listener = Listener(codec)
    shown = other_sets(listener)
    if TOKENS.value:
        shown.append(listener.piece_set("New pieces", sets[-1], audio_folder(listener, sets[-1])))
    return {
        "title": "New music", "verdict": None, "codec": codec.info, "sets": shown, "clips": [],
        "curve": None, "figures": [], "config": None,
    }  # fmt: skip


def page_of_run(workdir: Path) -> dict:
    """What the template shows of a run."""
    config = findings.read_config(workdir)
    music = TokenDataset(MUSIC_TOKENS.value or config["data"]["path"])
    codec = load_codec(music)
    listener = Listener(codec)
    shown, samples = other_sets(listener), find_samples(workdir)
    if samples:
        concern = findings.require_own_samples(workdir, samples)
        folder = audio_folder(listener, samples)
        shown.append(
            listener.piece_set(
                "New pieces of this run", samples, folder, [concern] if concern else []
            )
        )
    step = samples.origin.get("checkpoint_step") if samples else None
    measured = findings.evaluations(workdir, music, step)
    report = measured.report
    notes = [findings.BASELINES] if report else []
    notes += [f"{name} was measured on other data and is left out." for name in measured.others]
    for line in notes[bool(report) :]:
        print(f"mind: {line}")
    clips, split = real_clips(listener, music)
    return {
        "title": f"New music from {Path(MUSIC.value).resolve().name}"
        if MUSIC.value
        else "New music",
        "verdict": verdict(report) if report else None,
        "codec": codec.info,
        "sets": shown,
        "clips": clips,
        "clips_note": findings.HEARD[split == "train"],
        "curve": training_curve(findings.read_curve(workdir), report),
        "figures": findings.figures(music, samples, report),
        "figure_notes": notes,
        "config": json.dumps(config, indent=1),
    }


def load_codec(dataset: TokenDataset) -> Codec:
    return Codec.load(dataset.codec, directory=CODEC_DIR.value)


def find_samples(workdir: Path) -> TokenDataset | None:
    """The run's new pieces, where a flag says or they usually lie."""
    path = TOKENS.value or findings.find_dataset(workdir, "new")
    if path is None:
        print("no new pieces are shown: sedd_jax.sample draws some, --tokens names them")
        return None
    return TokenDataset(path)


def audio_folder(listener: Listener, samples: TokenDataset) -> Path | None:
    """Where the pieces lie decoded: where a flag says, or in `wavs` beside them."""
    if AUDIO.value:
        return Path(AUDIO.value)
    usual = samples.path.absolute().parent / "wavs"
    return usual if listener.has_decoded(samples, usual) else None


def other_sets(listener: Listener) -> list[PieceSet]:
    sets = [TokenDataset(path) for path in OTHER_TOKENS.value]
    return [
        listener.piece_set(f"Pieces of another model: {samples.path.name}", samples, None)
        for samples in sets
    ]


def real_clips(listener: Listener, music: TokenDataset) -> tuple[list[Clip], str]:
    """Clips of held-out music, where there is some, and their split."""
    split = "validation" if "validation" in music.splits else "train"
    picked = pick(range(music.num_records(split)), NUM_REAL.value)
    folder = Path(MUSIC.value) if MUSIC.value else None
    clips = [listener.clip(music.read(split, i), folder, REAL_S.value) for i in picked]
    return clips, split


if __name__ == "__main__":
    run_door(main)
