"""Scripts that stand for tokenizer_bridge.decode, for samples drawn while training."""

import sys

PARSE = "import sys, time, wave, pathlib\nto = dict(a.split('=', 1) for a in sys.argv[1:])\n"
# A WAV file for each sample, whose name it takes from its picture, in no time.
DECODES = f"""{PARSE}
folder = pathlib.Path(to["--output"])
folder.mkdir(exist_ok=True)
for i, picture in enumerate((pathlib.Path(to["--tokens"]).parent / "pictures").iterdir()):
    with wave.open(str(folder / f"{{picture.stem}}.wav"), "wb") as file:
        file.setparams((1, 2, 24000, 0, "NONE", ""))
        file.writeframes(bytes(range(100)) * (i + 1))
"""
FAILS = "import sys\nprint('a warning\\nerror: no such codec', file=sys.stderr)\nsys.exit(1)\n"
ENDLESS = f"{PARSE}pathlib.Path(to['--output']).mkdir()\ntime.sleep(600)\n"


def put(monkeypatch, script: str = DECODES) -> None:
    """Puts a script in the place of the program that decodes."""
    # Without site-packages, which take it longer than its work.
    monkeypatch.setattr("sedd_jax.training.decoder.PROGRAM", (sys.executable, "-Sc", script))
