"""Tab completion of sedd-music: what it answers when a shell asks, with slow imports blocked."""

import os
import subprocess
import sys

import pytest

from sedd_jax.diffusion.choices import SAMPLERS
from tests.programs import ROOT
from tests.test_commands import SLOW


@pytest.mark.parametrize(("line", "expected"), [
    ("sedd-music tr", {"train", "train-codec"}),
    ("sedd-music train --work", {"--workdir "}),
    ("sedd-music sample --workdir=a --sampler=", set(SAMPLERS)),
    ("sedd-music encode --channels l", {"left", "loudest"}),
    ("sedd-music train --config.model.comp", {"--config.model.compute_dtype "}),
    ("sedd-music train --config.model.remat=", {"none", "dots", "block"}),
    ("sedd-music sample --config.mod", set()),
])  # fmt: skip
def test_a_word_goes_on(line, expected, tmp_path):
    start = f"import sys; sys.modules.update(dict.fromkeys({SLOW}))\n"
    start += "from launch.console import main; main()"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><=;|&(:",  # as bash has them
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": f"{tmp_path / 'answer'}",
        "COMP_LINE": line,
        "COMP_POINT": f"{len(line)}",
    }
    done = subprocess.run([sys.executable, "-c", start], cwd=ROOT, env=os.environ | asked)
    assert done.returncode == 0
    assert {*filter(None, (tmp_path / "answer").read_text().split("\n"))} == expected
