"""libmpg123's notes, which are kept out of the progress bar; everything else passes."""

import subprocess
import sys

import numpy as np
import soundfile

from tokenizer_bridge.audio.decoder_notes import without_decoder_notes

PROGRAM = """
import os, subprocess, sys
from tokenizer_bridge.audio.decoder_notes import without_decoder_notes

@without_decoder_notes()
def main():
    print("python", file=sys.stderr)
    os.write(2, b"Note: Trying to resync...\\nlibrary\\n[src/libmpg123/parse.c:1] error: junk\\n")
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'Note: child\\\\nchild\\\\n')"])
    sys.stderr.write("bar 1/2\\r")
    sys.stderr.flush()
    raise KeyError("the end")

try:
    main()
except KeyError as error:
    print("after", error, file=sys.stderr)
os.write(2, b"Note: of others, later\\n")
"""


def test_notes_are_dropped_and_other_lines_pass():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True)
    assert done.returncode == 0
    lines = done.stderr.decode().replace("\r", "\n").splitlines()
    assert sorted(lines) == sorted(
        ["python", "library", "child", "bar 1/2", "after 'the end'", "Note: of others, later"]
    )


def test_a_damaged_mp3_leaves_no_note(tmp_path, capfd):
    path = tmp_path / "x.mp3"
    tone_T = 0.1 * np.sin(np.arange(44_100 * 5))
    soundfile.write(path, tone_T, 44_100)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(data)
    soundfile.read(path)
    assert "Note: " in capfd.readouterr().err  # else nothing is shown here
    with without_decoder_notes():
        soundfile.read(path)
    assert capfd.readouterr().err == ""
