"""render_scores where music21 or FluidSynth are missing: toy tunes, played by sines."""

import runpy
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

from tests.tokenizer_bridge.sources.scores.toy_scores import Sines, tune
from tokenizer_bridge.sources.scores import corpus, reading, synthesizer

with TemporaryDirectory() as package:
    for number in range(48):
        file = Path(package, f"corpus/ryansMammoth/{number}.abc")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(number))
    reading.music21_package = lambda: SimpleNamespace(__file__=f"{package}/__init__.py")
    reading.read_score = lambda path, name: tune(int(path.stem), length=128)
    corpus.version = lambda name: "1"
    synthesizer.Synthesizer = Sines
    runpy.run_module("tokenizer_bridge.render_scores", run_name="__main__")
