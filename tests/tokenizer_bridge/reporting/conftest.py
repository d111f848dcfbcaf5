"""A report made of toy music."""

import contextlib

import pytest

from tests.tokenizer_bridge.reporting.toy_report import FILES, bands, write_music
from tokenizer_bridge.fad.embed import EmbedOptions
from tokenizer_bridge.reporting.arguments import Reference
from tokenizer_bridge.reporting.run import Plan, make_report
from tokenizer_bridge.wavtokenizer.registry import load_codec


@pytest.fixture
def make(tmp_path, codec_dir):
    """Makes a report of tmp_path/new against tmp_path/real: `make(**changes of the plan)`."""
    bars, of_files = [], []

    @contextlib.contextmanager
    def bar(title, total, unit):
        steps = []
        yield lambda: steps.append(1)
        {"clip": bars, "file": of_files}[unit].append((title, total, len(steps)))

    def run(embeddings=None, **changes):
        plan = {
            "generated": str(tmp_path / "new"),
            "references": [Reference("real", "folder", str(tmp_path / "real"))],
            "clip_s": {"real": 0.5},
            "clips_per_file": {"generated": 1, "real": 2},
            "num_tracks": {"real": 0},
            "metadata": {},
            "codec": load_codec("toy", codec_dir=codec_dir),
            "options": EmbedOptions(tmp_path / "cache", 1, 8, None),
            "seed": 0,
            "skip_unusable": False,
        }
        bars.clear()
        of_files.clear()
        return make_report(Plan(**plan | changes), embeddings or [bands()], bar)

    run.bars, run.bars_of_files = bars, of_files
    write_music(tmp_path / "real", FILES)
    write_music(tmp_path / "new", 20, low_pass=2, seed=1)
    return run
