"""Models that are uploaded to the Hugging Face hub, and fetched back, at a stand-in of it."""

import socket

import pytest

from sedd_jax import Model
from sedd_jax.errors import UserError
from sedd_jax.weights import export, exported, exporting, hub
from tests.sedd_jax.toy import write_dataset
from tests.sedd_jax.toy_run import write_run
from tests.sedd_jax.weights import toy_hub


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The stand-in, where the library looks for the hub: it reads HF_ENDPOINT when imported."""
    with toy_hub.serving() as server:
        constants = "huggingface_hub.constants"
        monkeypatch.setattr(f"{constants}.ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(f"{constants}.HF_TOKEN_PATH", str(tmp_path / "no_token"))
        for kind in ("ETAG", "DOWNLOAD"):
            monkeypatch.setattr(f"{constants}.HF_HUB_{kind}_TIMEOUT", 600)  # seconds, not 10
        monkeypatch.setenv("HF_TOKEN", toy_hub.TOKEN)
        yield server


@pytest.fixture
def folder(tmp_path):
    """A folder to upload; the hub does not look into it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/config.json").write_text("{}")
    return tmp_path / "out"


def test_what_is_pushed_comes_back(served, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", write_dataset(tmp_path / "tokens"))
    export.main(["--workdir=run", "--output=out", "--push_to_hub=user/tunes"])
    assert f"user/tunes: {served.url}/user/tunes\n" in capsys.readouterr().out
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert served.models == {"user/tunes": files} and exported.CARD in files
    assert Model.load("user/tunes").step == 0
    fetched = hub.fetch("user/tunes", exported.FILES)
    assert (fetched / exported.WEIGHTS).read_bytes() == files[exported.WEIGHTS]


def test_a_second_push_renews_the_model(served, folder):
    hub.push(folder, "user/tunes")
    (folder / "config.json").write_text('{"new": 1}')
    hub.push(folder, "user/tunes")
    assert served.models == {"user/tunes": {"config.json": b'{"new": 1}'}}


def test_a_token_that_is_missing_or_refused(served, folder, monkeypatch):
    with pytest.raises(UserError, match="may not write other/tunes.*it says: You don't have"):
        hub.push(folder, "other/tunes")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="does not know the token"):
        hub.push(folder, "user/tunes")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="set HF_TOKEN, or log in"):
        hub.push(folder, "user/tunes")
    assert not served.models


def test_without_a_network_the_folder_stays_and_the_line_says_how_to_go_on(
    served, folder, monkeypatch
):
    with socket.socket() as taken:  # and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        with pytest.raises(UserError) as error:
            exporting.push(f"{folder}", "user/tunes")
    line = str(error.value)
    assert line.startswith(f"{folder} is written, but is not on the hub: ") and "\n" not in line
    assert "was not reached, is there a network? (ConnectError: " in line
    assert line.endswith(f"When that is mended: hf upload user/tunes {folder} .")
    assert (folder / "config.json").exists()


@pytest.mark.parametrize("name", ("tunes", "a/b/c", "user/a b", "user/a--b", "user/a..b"))
def test_names_that_the_hub_does_not_take_are_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(UserError, match="--push_to_hub: .* is no name"):
        export.main(["--workdir=run", f"--output={tmp_path / 'out'}", f"--push_to_hub={name}"])
    assert not (tmp_path / "out").exists()
