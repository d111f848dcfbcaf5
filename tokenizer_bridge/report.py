r"""Measures how far generated music is from real music: the paper's table, with its error bars.

    python -m tokenizer_bridge.report --generated=WAVS --reference jamendo=JAMENDO \
        --reference nlakh=NLAKH --codec=demo --output=REPORT

writes report.md, report.json and report.html (complete in itself) into REPORT. A reference is a
folder of music, MTG-Jamendo or Nlakh; which is told by its layout, or said as NAME=SOURCE:DIR.

Each file gives --clips_per_file clips of --clip_s seconds, evenly spread: one of 10 s, for Nlakh
(whose pieces are of 5 s) 4.9 s. The two flags, and
--num_reference, hold for all sets, or for one as NAME=VALUE, where the generated music is called
generated. It is cut to the length of each reference's clips. For every reference and embedding
there are FAD, FAD∞ and KAD, beside those of controls made from the reference itself
(tokenizer_bridge/fad/controls.py); they need the codec that the music was decoded with.

A file that cannot be used, or is shorter than its clips, is refused; --skip_unusable leaves such
files out and lists them. Vectors and controls are kept in --cache_dir, so that the same command
goes on where an interrupted one stopped.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from absl import flags
from tqdm import tqdm

from tokenizer_bridge.cleaning import check_target
from tokenizer_bridge.fad.embeddings import EMBEDDINGS, load_embedding, parts_of
from tokenizer_bridge.fad.weights import cache_folder, parse_weights, require_weights
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.reporting.arguments import parse_paths, parse_per_name, parse_references
from tokenizer_bridge.reporting.compare import EmbedOptions
from tokenizer_bridge.reporting.markdown import as_markdown
from tokenizer_bridge.reporting.page import as_page
from tokenizer_bridge.reporting.plots import GENERATED
from tokenizer_bridge.reporting.run import Plan, make_report
from tokenizer_bridge.reporting.table import measurement_table, paper_table, text, title
from tokenizer_bridge.reporting.verdict import verdict
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import atomic_file, make_writable, write_json_atomically
from tokenizer_bridge.wavtokenizer.registry import load_codec

_GENERATED = flags.DEFINE_string("generated", None, "Folder of generated audio.", required=True)
_REFERENCE = flags.DEFINE_multi_string(
    "reference", None, "NAME=DIR or NAME=SOURCE:DIR of real music; may be repeated.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Directory of the report.", required=True)
_EMBEDDINGS = flags.DEFINE_list(
    "embeddings", ["musicnn"], f"Comma-separated, of {', '.join(EMBEDDINGS)}."
)
_WEIGHTS = flags.DEFINE_multi_string(
    "weights", [], "NAME=FILE with an embedding's weights, if they are not in a cache."
)
_CLIP_S = flags.DEFINE_multi_string(
    "clip_s", [], "Seconds of a clip, or NAME=seconds; 10, for Nlakh 4.9."
)
_CLIPS_PER_FILE = flags.DEFINE_multi_string("clips_per_file", [], "Clips, or NAME=clips; 1.")
_NUM_REFERENCE = flags.DEFINE_multi_string(
    "num_reference", [], "Take so many of a reference's tracks, or NAME=tracks; 0, all."
)
_METADATA = flags.DEFINE_multi_string(
    "metadata", [], "NAME=TSV of an MTG-Jamendo reference that has several."
)
_LOUDNESS = flags.DEFINE_float("loudness", None, "LUFS to bring clips to, as far as peaks allow.")
_SEED = flags.DEFINE_integer("seed", 0, "Of tracks, halves, subsets and noise.", lower_bound=0)
_CODEC = flags.DEFINE_string("codec", "demo", "Name of the codec that decoded the music.")
_CODEC_DIR = flags.DEFINE_string("codec_dir", None, "Folder with a codec's weights and YAML.")
_CONTROLS = flags.DEFINE_bool("controls", True, "Measure the controls too; they need the codec.")
_SKIP = flags.DEFINE_bool("skip_unusable", False, "Leave out files that cannot be used.")
_CACHE_DIR = flags.DEFINE_string("cache_dir", None, "Where vectors are kept; a user's cache.")
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", None, "Threads that read and embed; as many as cores without.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Clips in a batch.", lower_bound=1)
_DEVICE = flags.DEFINE_string("device", "cpu", "PyTorch device, such as cpu or cuda:0.")


def main(argv: list[str]) -> None:
    del argv
    keep_freed_memory()
    output = Path(_OUTPUT.value)
    make_writable(output)
    report, shown = make_report(plan(), embeddings(), bar)
    html = as_page(report, shown)
    with atomic_file(output / "report.html") as partial:
        partial.write_text(html, encoding="utf-8")
    with atomic_file(output / "report.md") as partial:
        partial.write_text(as_markdown(report), encoding="utf-8")
    write_json_atomically(output / "report.json", report)
    print(f"{text(paper_table(report))}\n")
    for m in report["measurements"]:
        print(f"{title(m)}\n{text(measurement_table(m))}")
        print(f"{verdict(m) or ''}\n")
    for line in report["warnings"]:
        print(f"mind: {line}")
    print(f"report written to {output / 'report.html'}")


def plan() -> Plan:
    """What the flags ask for. Raises UserError."""
    references = parse_references(_REFERENCE.value)
    names = [reference.name for reference in references]
    check_target("loudness", _LOUDNESS.value)
    codec = None
    if _CONTROLS.value:
        codec = load_codec(_CODEC.value, codec_dir=_CODEC_DIR.value, device=_DEVICE.value)
    return Plan(
        generated=_GENERATED.value,
        references=references,
        clip_s=parse_per_name("clip_s", _CLIP_S.value, {r.name: r.clip_s for r in references}, 0.1),
        clips_per_file=parse_per_name(
            "clips_per_file", _CLIPS_PER_FILE.value, dict.fromkeys([GENERATED, *names], 1), 1
        ),
        num_tracks=parse_per_name(
            "num_reference", _NUM_REFERENCE.value, dict.fromkeys(names, 0), 0
        ),
        metadata=parse_paths("metadata", _METADATA.value, names),
        codec=codec,
        options=EmbedOptions(
            cache_dir=Path(_CACHE_DIR.value or cache_folder() / "vectors"),
            num_workers=_NUM_WORKERS.value,
            batch_size=_BATCH_SIZE.value,
            loudness=_LOUDNESS.value,
        ),
        seed=_SEED.value,
        skip_unusable=_SKIP.value,
    )


def embeddings() -> list:
    """The embeddings that the flags name. Raises UserError."""
    names = list(dict.fromkeys(_EMBEDDINGS.value))
    if not names:
        raise UserError("--embeddings is empty")
    weights = parse_weights(_WEIGHTS.value)
    needed = parts_of(names)
    if unused := sorted(weights.keys() - set(needed)):
        raise UserError(f"--weights={unused[0]}=…: no embedding in --embeddings needs them")
    require_weights(needed, weights)
    return [load_embedding(name, weights, _DEVICE.value) for name in names]


@contextlib.contextmanager
def bar(title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
    with tqdm(total=total, unit=unit, desc=title) as progress:
        yield progress.update


if __name__ == "__main__":
    run_door(main)
