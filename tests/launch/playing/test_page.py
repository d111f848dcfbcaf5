"""The page in headless Chromium: pieces are made, played, found again, and given up."""

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.launch.playing.chromium import Chromium, find_chromium
from tests.programs import ROOT

pytestmark = [
    pytest.mark.skipif(not importlib.util.find_spec("gradio"), reason="needs the extra app"),
    pytest.mark.skipif(not find_chromium(), reason="needs Chromium"),
]
FOUR = "document.querySelectorAll('.piece').length === 4"
READY = "document.querySelector('#make')?.offsetParent && !document.querySelector('.bar')"


@pytest.fixture(scope="module")
def address(toy_workdir, codec_dir, tmp_path_factory):
    """The address at which the command serves the page of the toy run."""
    home = tmp_path_factory.mktemp("home")
    places = {"HOME": str(home), "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, "-m", "launch.app", f"--workdir={toy_workdir}"]
    with subprocess.Popen(
        [*command, f"--codec_dir={codec_dir}", "--max_upload_mb=1"],
        env=os.environ | places, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
        process.terminate()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture
def page(browser, address):
    """The page, opened anew."""
    browser.requests.clear()
    browser.size(1280, 900)
    browser.open(address)
    browser.wait(READY)
    yield browser
    assert browser.errors == []
    elsewhere = [u for u in browser.requests if not u.startswith((address, "data:", "blob:"))]
    assert elsewhere == []  # nothing is fetched from other machines


def text(page, selector: str) -> str:
    return page.evaluate(f"document.querySelector({selector!r}).innerText")


def done(page, button: str) -> None:
    """Presses a button and waits for the four pieces that come of it."""
    before = page.evaluate("document.querySelectorAll('#history li').length")
    page.click(button)
    page.wait(f"document.querySelectorAll('#history li').length > {before} && {FOUR} && {READY}")


def make(page) -> None:
    done(page, "#make")


def make_for_long(page) -> None:
    """Begins what is not done before it is stopped."""
    page.click("#length label:last-child")
    page.click("#more > button")
    page.click("#steps label:last-child")
    page.click("#make")
    page.wait("document.querySelector('#stop')?.offsetParent && document.querySelector('.bar')")


def stop(page) -> None:
    page.click("#stop")
    page.wait(f"document.querySelector('.status').innerText === 'Stopped.' && {READY}")


def test_pieces_are_made_played_and_found_again(page):
    make(page)
    assert text(page, ".board h2") == "New pieces" and "seed" in text(page, ".facts")
    page.click(".play")
    page.wait("document.querySelector('audio').currentTime > 0")
    links = page.evaluate(
        "Promise.all([...document.querySelectorAll('.piece footer a')].slice(0, 2).map("
        "async (link) => { const got = await fetch(link.href);"
        "return [got.ok, link.download, (await got.text()).slice(0, 4)]; }))"
    )
    assert links == [[True, "piece-1-1.wav", "RIFF"], [True, "piece-1-1.sh", "#!/u"]]
    first = text(page, ".facts")
    make(page)
    assert text(page, ".facts") != first  # the dice were rolled
    page.click("#history li:last-child button")
    page.wait("document.querySelector('#history li:last-child [aria-current]')")
    assert text(page, ".facts") == first


def test_a_stretch_is_chosen_on_the_pictures(page):
    make(page)
    seconds = page.evaluate("Number(document.querySelector('.piece').dataset.seconds)")
    page.drag(".piece .score", 0.25, 0.75)
    chosen = page.evaluate(
        "['.from', '.to'].map((name) => Number(document.querySelector(name).value))"
    )
    assert chosen == pytest.approx([0.25 * seconds, 0.75 * seconds], abs=0.02 * seconds)
    left, width = page.evaluate(
        "['left', 'width'].map((name) => document.querySelector('.stretch').style[name])"
    )
    assert (float(left[:-1]), float(width[:-1])) == pytest.approx((25, 50), abs=3)
    page.click(".piece .clear")
    assert page.evaluate("document.querySelector('[data-mode=replace]').disabled")
    assert page.evaluate("document.querySelector('.piece .from').value") == ""


def test_a_piece_goes_on_and_a_stretch_is_replaced(page):
    make(page)
    seconds = float(text(page, ".clock").split("/")[1].removesuffix("s"))
    done(page, ".piece:nth-child(2) [data-mode=continue_s]")
    assert text(page, ".board h2") == "Going on with piece 2"
    longer = float(text(page, ".clock").split("/")[1].removesuffix("s"))
    assert longer == pytest.approx(2 * seconds, abs=0.11)  # one place after the point is shown
    assert page.evaluate("document.querySelector('.new').style.left") == "50%"
    page.drag(".piece .score", 0.25, 0.5)
    done(page, ".piece [data-mode=replace]")
    assert text(page, ".board h2").endswith("s of piece 1 anew")
    assert page.evaluate("document.querySelector('.piece .from').value") == ""
    left = page.evaluate("document.querySelector('.new').style.left")
    assert float(left[:-1]) == pytest.approx(25, abs=5)
    script = page.evaluate(
        "fetch(document.querySelector('[download$=sh]').href).then((got) => got.text())"
    )
    assert script.count("python -m launch.edit") == 2 and "--replace=" in script
    done(page, ".piece [data-mode=vary]")
    assert text(page, ".board h2") == "More like piece 1"


def test_what_is_stopped_leaves_the_board_as_it_was(page):
    make(page)
    before = text(page, ".facts")
    make_for_long(page)
    stop(page)
    assert text(page, ".facts") == before
    assert page.evaluate("document.querySelectorAll('#history li').length") == 1


def test_two_at_once_are_served_in_turn(page, address, tmp_path):
    second = Chromium(tmp_path)
    try:
        second.open(address)
        second.wait(READY)
        make_for_long(page)
        second.click("#make")
        second.wait("document.querySelector('.status').innerText === 'Waiting: 1 is before you'")
        stop(page)
        second.wait(f"{FOUR} && {READY}")
        assert "seed" in text(second, ".facts")
    finally:
        second.close()


def test_one_s_own_audio_and_what_is_none(page, tmp_path):
    (tmp_path / "diary.mp3").write_text("Dear diary, " * 100)
    page.choose_file("input[type=file]", tmp_path / "diary.mp3")
    page.wait("document.querySelector('.problem')")
    assert text(page, ".problem").startswith("diary.mp3: ")
    (tmp_path / "large.wav").write_bytes(bytes(2_000_000))
    page.choose_file("input[type=file]", tmp_path / "large.wav")
    page.wait("/exceed/i.test(document.body.innerText)")
    soundfile.write(tmp_path / "song.wav", 0.1 * np.sin(np.arange(4800) / 9), 24_000)
    page.choose_file("input[type=file]", tmp_path / "song.wav")
    page.wait("document.querySelector('.board h2')?.innerText === 'song.wav'")
    done(page, "[data-mode=continue_s]")
    assert text(page, ".board h2") == "Going on with song.wav"


def test_it_fits_narrow_and_dark_screens(page):
    make(page)
    page.size(390, 844, dark=True)
    page.wait("document.body.classList.contains('dark')")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    page.wait(f"{overflow} <= 0")
    light = (
        "((where, what) => getComputedStyle(document.querySelector(where))[what]"
        ".match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0))"
    )
    page.wait(f"{light}('.piece h3', 'color') - {light}('.piece', 'backgroundColor') > 400")
