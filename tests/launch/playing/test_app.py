"""The command that serves the page: what it says without Gradio, and what it leaves behind."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from launch import app
from launch.playing.studio import load
from tests.programs import ROOT
from tests.test_package import required
from tokenizer_bridge.token_dataset.errors import UserError

needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the extra app is not installed"
)


def test_without_gradio_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'sedd-music\[app\]'"):
        app.main(["--workdir=demo"])
    assert required("launch/requirements-app.txt") == {"gradio"}


def test_the_step_may_be_the_best_where_one_was_measured(toy_workdir, tmp_path):
    parse = app.make_parser().parse_args
    assert parse(["--workdir=RUN", "--step=3"]).step == 3
    with pytest.raises(UserError, match="no checkpoint whose validation was measured"):
        load(str(toy_workdir), tmp_path, step=parse(["--workdir=RUN", "--step=best"]).step)


@needs_gradio
def test_it_writes_in_its_temporary_folder_alone_and_removes_it(toy_workdir, codec_dir, tmp_path):
    home, temporary, elsewhere = (tmp_path / name for name in ("home", "tmp", "cwd"))
    for folder in (home, temporary, elsewhere):
        folder.mkdir()
    places = {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "launch.app", f"--workdir={toy_workdir}"]
    process = subprocess.Popen(
        [*command, f"--codec_dir={codec_dir}"], cwd=elsewhere, env=os.environ | places,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        address = re.fullmatch(
            r"the page is at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line
        )
        with urllib.request.urlopen(address[1]) as answer:
            assert b"gradio_config" in answer.read()
        assert any(temporary.iterdir())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    assert process.returncode == 130
    left = [path for folder in (home, temporary, elsewhere) for path in folder.rglob("*")]
    assert left == []


@needs_gradio
def test_it_starts_on_a_machine_too_busy_to_answer_at_once(studio, monkeypatch):
    from gradio import networking

    from launch.playing.page import Page, launch

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(networking, "url_ok", lambda url: False)  # which waits for 3 s
    page = Page(studio)
    try:
        assert launch(page, "127.0.0.1", None, 1).startswith("http://127.0.0.1:")
    finally:
        page.close()
