"""A PATH without ffmpeg."""

import pytest


@pytest.fixture
def without_ffmpeg(monkeypatch, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
