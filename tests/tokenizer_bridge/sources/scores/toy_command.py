"""The command, with the scores beside --output and sines instead of music21 and FluidSynth."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

from tests.tokenizer_bridge.sources.scores.toy_scores import Sines, tune
from tokenizer_bridge.sources.scores import corpus, reading, synthesizer

output = next(a.partition("=")[2] for a in sys.argv if a.startswith("--output="))
package = SimpleNamespace(__file__=str(Path(output).parent / "__init__.py"))
reading.music21_package = lambda: package
reading.read_score = lambda path, name: tune(int(path.stem), length=24)
corpus.version = lambda name: "1"
synthesizer.Synthesizer = Sines
runpy.run_module("tokenizer_bridge.render_scores", run_name="__main__")
