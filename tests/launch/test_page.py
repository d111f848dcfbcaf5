"""The page of a run: whole in itself, of this run and no other, with a verdict first."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from launch.listening import findings
from launch.listening.captions import caption, tag_label
from launch.listening.outlook import outlook
from launch.listening.pictures import pick
from launch.listening.verdict import verdict
from sedd_jax.checkpoints.meta import Meta, checksums
from sedd_jax.data import fingerprint
from sedd_jax.errors import UserError
from sedd_jax.sampling import generate
from tokenizer_bridge import Codec
from tokenizer_bridge.audio.write import write_audio
from tokenizer_bridge.decoding import stamp_of_tokens
from tokenizer_bridge.token_dataset.intervals import Estimate
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter
from tokenizer_bridge.wavtokenizer.registry import load_codec

SOURCE = {"sampler": "euler", "steps": 128, "seed": 7, "sample_index": 1, "checkpoint_step": 4}


def evaluation(dataset: TokenDataset, split="validation", step=4, bigram=0.3, unigram=1.2, **more):
    def estimate(mean):
        return Estimate(mean, 0.22, 11).as_json()

    splits = {"train", split} & set(dataset.splits)
    return {
        "split": split, "step": step, "num_tokens": 3000, "num_tracks": 11,
        "data_fingerprint": {name: fingerprint(dataset, name) for name in splits},
        "bits_per_token": {name: estimate(value) for name, value in
                           {"model": 1.234, "bigram": 1.5, "unigram": 2.4, "uniform": 4}.items()},
        "above_model": {"bigram": estimate(bigram), "unigram": estimate(unigram)},
    } | more  # fmt: skip


@pytest.fixture
def finished_run(tmp_path, codec_dir):
    """Two tracks, two new pieces, a curve and an evaluation, at their usual places."""
    rng = np.random.default_rng(0)
    _, info = load_codec("toy", codec_dir=codec_dir)
    (tmp_path / "music").mkdir()
    with TokenDatasetWriter(tmp_path / "tokens", vars(info)) as writer:
        for split in ("train", "validation"):
            soundfile.write(tmp_path / f"music/{split}.wav", rng.normal(0, 0.1, 24_000), 24_000)
            tokens = rng.integers(16, size=24_000 // info.hop_length).astype(np.uint16)
            writer.write(split, Record(id=f"{split}.wav", tokens=tokens, duration_s=1.0))
    with TokenDatasetWriter(tmp_path / "new", vars(info)) as writer:
        for name in ("sample_0", "sample_1"):
            tokens = rng.integers(16, size=300).astype(np.uint16)
            write_audio(
                _made(tmp_path / "wavs") / f"{name}.wav", rng.normal(0, 0.1, 2_400), 24_000,
                f"{stamp_of_tokens(tokens, info)} windows",
            )  # fmt: skip
            tags = ("instrument---flute",)
            writer.write("generated", Record(name, tokens, 0.1, tags=tags, source=SOURCE))
    run = tmp_path / "run"
    run.mkdir()
    lines = [{"step": i, "nats_per_token": 8.0 / i} for i in range(1, 5)]
    lines += [{"step": 4, "validation_bits_per_token": 3.0}, {"step": 5, "nats_per_token": None}]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (run / "config.json").write_text(json.dumps({"data": {"path": str(tmp_path / "tokens")}}))
    report = evaluation(TokenDataset(tmp_path / "tokens"))
    (run / "evaluation_validation_4.json").write_text(json.dumps(report))
    return tmp_path


def _made(folder):
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def page(finished_run, codec_dir, run_command):
    """Runs the command on the finished run; its page and what it printed."""

    def run(*flags):
        outcome = run_command(
            "launch.page", f"--workdir={finished_run / 'run'}", f"--codec_dir={codec_dir}",
            "--real_s=1", *flags,
        )  # fmt: skip
        html = finished_run / "run/index.html"
        return outcome, html.read_text() if html.exists() else ""

    return run


def test_one_flag_suffices_and_the_page_holds_everything_itself(page):
    outcome, html = page()
    assert outcome.code == 0, outcome.err
    assert len(re.findall(r"<audio[^>]+src=\"data:audio/flac;base64,", html)) == 3  # 2 new, 1 codec
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", html)
    assert "1.234" in html and "sample_1" in html and "validation.wav" in html
    assert html.count('aria-label="Notes heard in ') == 3
    assert "train.wav" not in html  # held-out music is shown, where there is some
    assert "instrument: flute" in html and "drawn in 128 steps of the Euler sampler" in html
    assert html.index("Better than a bigram by 0.30 ± 0.22") < html.index("sample_0")
    assert outcome.out.rstrip().splitlines()[-1].startswith("Better than a bigram")


def test_every_player_has_a_label_and_every_table_header_cells(page):
    _, html = page()
    for player in re.findall(r"<audio[^>]+>", html):
        assert re.search(r'aria-label="[^"]+"', player) and re.search(r'data-file="\S+"', player)
    for row in re.findall(r"<tr>.*?</tr>", html, re.S):
        assert "<th scope=" in row
    assert "<img" not in html  # pictures take the page's colours


def test_recordings_are_shown_where_the_music_is_named(page, finished_run):
    outcome, html = page(f"--music={finished_run / 'music'}")
    assert outcome.code == 0, outcome.err
    assert html.count("<audio") == 4 and "Recording of validation.wav" in html
    outcome, _ = page(f"--music={finished_run / 'wavs'}")
    assert outcome.code == 1 and "wavs is what was encoded?" not in outcome.out
    assert "validation.wav: missing" in outcome.err and "what was encoded?" in outcome.err


def test_without_validation_music_the_trained_on_is_shown(page, finished_run, codec_dir):
    shutil.rmtree(finished_run / "tokens")
    _, info = load_codec("toy", codec_dir=codec_dir)
    with TokenDatasetWriter(finished_run / "tokens", vars(info)) as writer:
        tokens = np.arange(3000, dtype=np.uint16) % 16
        writer.write("train", Record(id="train.wav", tokens=tokens, duration_s=1.0))
    outcome, html = page()
    assert outcome.code == 0, outcome.err
    assert "train.wav" in html and "was trained on" in html
    # The evaluation was of other data: neither its verdict nor its figures are shown.
    assert "evaluation_validation_4.json was measured on other data" in outcome.out
    assert "1.234" not in html and "Better" not in html


def test_all_of_it_may_be_in_an_object_store(finished_run, codec_dir, run_command):
    here, there = finished_run, f"file://{finished_run}"
    shutil.move(here / "new", here / "run/new")
    shutil.move(here / "wavs", here / "run/wavs")
    outcome = run_command(
        "launch.page", f"--workdir={there}/run", f"--music_tokens={there}/tokens", "--real_s=1",
        f"--codec_dir={codec_dir}", environment={"XDG_CACHE_HOME": str(here / "cache")},
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    html = (here / "run/index.html").read_text()
    assert f"page written to {there}/run/index.html" in outcome.out
    assert len(re.findall(r"<audio", html)) == 3 and "sample_1" in html


def test_pieces_alone_need_no_run(finished_run, codec_dir, run_command):
    output = finished_run / "pieces.html"
    flags = (f"--tokens={finished_run / 'new'}", f"--codec_dir={codec_dir}")
    outcome = run_command("launch.page", *flags, f"--output={output}")
    assert outcome.code == 0, outcome.err
    html = output.read_text()
    assert html.count("<audio") == 2 and "instrument: flute" in html
    assert not any(f"<h2>{title}" in html for title in ("Training", "Measured", "Real"))
    outcome = run_command("launch.page", *flags)
    assert outcome.code == 1 and outcome.err.startswith("error: --workdir is required, or")


def test_pieces_of_another_model_come_first_and_apart(page, finished_run):
    shutil.copytree(finished_run / "new", finished_run / "demo")
    outcome, html = page(f"--other_tokens={finished_run / 'demo'}")
    assert outcome.code == 0, outcome.err
    assert html.count("<audio") == 5
    assert html.index("another model: demo") < html.index("New pieces of this run")


def test_pieces_of_another_model_may_be_of_another_codec(page, finished_run, tmp_path):
    codec = Codec.load("demo-scores")
    with TokenDatasetWriter(tmp_path / "tunes", vars(codec.info)) as writer:
        writer.write("generated", Record("a", np.arange(40, dtype=np.uint16), 1.0))
    outcome, html = page(f"--other_tokens={tmp_path / 'tunes'}")
    assert outcome.code == 0, outcome.err
    assert "another model: tunes (codec demo-scores)" in html and html.count("<audio") == 4


def test_audio_of_other_tokens_is_refused_where_named_and_passed_over_where_found(
    page, finished_run
):
    path = finished_run / "wavs/sample_1.wav"
    shutil.copy(finished_run / "wavs/sample_0.wav", path)
    outcome, _ = page(f"--audio={path.parent}")
    assert outcome.code == 1 and "sample_1.wav was not decoded from the tokens of" in outcome.err
    outcome, html = page()  # decoded anew
    assert outcome.code == 0 and html.count("<audio") == 3
    path.unlink()
    outcome, _ = page(f"--audio={path.parent}")
    assert outcome.code == 1 and "no sample_1.wav" in outcome.err


def samples_of(tmp_path, name, **origin):
    codec = {"name": "toy", "weights_sha256": "00", "sample_rate": 8, "hop_length": 2}
    with TokenDatasetWriter(tmp_path / name, codec | {"codebook_size": 16}, origin) as writer:
        writer.write("generated", Record("a", np.zeros(4, np.uint16), 1.0))
    return TokenDataset(tmp_path / name)


def test_samples_of_another_run_are_refused(tmp_path, monkeypatch):
    params = {"b": np.ones(3, np.float32), "a": {"kernel": np.arange(4, dtype=np.float32)}}
    sums = checksums({"train": {"params": params}, "ema_params": params})

    def read_meta(workdir, step):
        if step != 20:
            raise UserError("no such checkpoint")
        return Meta(20, {}, {}, "data", sums)

    monkeypatch.setattr(findings, "read_meta", read_meta)
    ours = generate.fingerprint(params)  # as `sample` notes it
    drawn = {"checkpoint_step": 20, "checkpoint_fingerprint": ours}
    assert findings.require_own_samples(tmp_path, samples_of(tmp_path, "own", **drawn)) is None
    other = samples_of(tmp_path, "other", **drawn | {"checkpoint_fingerprint": "deadbeef"})
    with pytest.raises(UserError, match="other: samples of another run: .*, theirs had deadbeef"):
        findings.require_own_samples(tmp_path, other)
    gone = samples_of(tmp_path, "gone", **drawn | {"checkpoint_step": 10})
    assert "Checkpoint 10" in findings.require_own_samples(tmp_path, gone)
    assert "does not say" in findings.require_own_samples(tmp_path, samples_of(tmp_path, "bare"))


def test_the_evaluation_is_of_this_data_and_of_the_checkpoint_of_the_samples(finished_run):
    run, dataset = finished_run / "run", TokenDataset(finished_run / "tokens")
    for name, report in {
        "evaluation_train_8.json": evaluation(dataset, "train", step=8),
        "evaluation_train_4.json": evaluation(dataset, "train"),
        "evaluation_test_9.json": evaluation(
            dataset, "test", step=9, data_fingerprint={"train": "00" * 32}
        ),
    }.items():
        (run / name).write_text(json.dumps(report))

    def chosen(step):
        found = findings.evaluations(run, dataset, step)
        assert found.others == ("evaluation_test_9.json",)
        return found.report["split"], found.report["step"]

    assert chosen(4) == ("validation", 4)
    assert chosen(None) == ("validation", 4)  # held out, though older


@pytest.mark.parametrize(("bigram", "unigram", "said"), [
    (0.3, 1.2, "Better than a bigram by 0.30 ± 0.22 bits per token, and than unigrams by 1.20 ± "),
    (0.2, 1.2, "Better than unigrams by 1.20 ± 0.22 bits per token, but not than a bigram: 0.20 ±"),
    (-0.5, 0.1, "Not better than unigrams: 0.10 ± 0.22 bits per token below them, and 0.50 ± 0.22 "
     "above a bigram (at most 1.23 bits; a bigram 1.50, unigrams 2.40; 11 tracks of held-out "),
])  # fmt: skip
def test_the_verdict_says_better_where_the_whole_interval_is(finished_run, bigram, unigram, said):
    report = evaluation(TokenDataset(finished_run / "tokens"), bigram=bigram, unigram=unigram)
    assert verdict(report).startswith(said)


def test_an_autoregressive_model_s_figures_are_called_exact(finished_run):
    dataset = TokenDataset(finished_run / "tokens")
    report = evaluation(dataset, model_type="autoregressive")
    assert "(1.23 bits; a bigram" in verdict(report)
    names = [name for name, _ in findings.figures(dataset, None, report)]
    assert "Autoregressive model, bits per token (exact)" in names
    assert not any("bound" in name for name in names)
    curve = [{"step": step, "validation_bits_per_token": 5.0} for step in (4, 8)]
    config = {"training": {"batch_size": 8}, "model": {"length": 16}}
    assert ", its cost no longer falls" in outlook(curve, report, config, dataset)


def test_the_verdict_on_one_track_has_no_interval(finished_run):
    report = evaluation(TokenDataset(finished_run / "tokens"), "train", num_tracks=1)
    for name in ("bigram", "unigram"):
        report["above_model"][name]["interval_95_by_artist"] = None
    report["bits_per_token"]["model"] = Estimate(1.234, None, 1).as_json()
    assert verdict(report).startswith("Better than a bigram by 0.30 bits per token, and")
    assert "1 track of music that it was trained on; no 95% interval, by artist (G = 1)" in verdict(
        report
    )


def test_captions_are_sentences():
    assert caption(SOURCE | {"guidance": 2.0, "checkpoint_fingerprint": "ab"}) == (
        "Piece 1 of seed 7, drawn in 128 steps of the Euler sampler from checkpoint 4. "
        "Guidance 2.0."
    )
    assert caption({"sampler": "new one"}) == "Drawn by the new one sampler."
    assert caption({"seed": 3}) == "Seed 3."
    assert caption({}) == ""
    assert [tag_label(tag) for tag in ("genre---jig", "slow")] == ["genre: jig", "slow"]


def test_picked_records_are_spread():
    assert pick(list(range(10)), 4) == [0, 3, 6, 9]
    assert pick([1, 2], 4) == [1, 2]


@pytest.mark.parametrize(
    ("bits", "bigram", "unigram", "said"),
    [
        # 1.234 bits now; 0.2 fewer in the last 10 steps.
        ([3.0, 1.8, 1.6], 1.5, 2.4, "half a bit less would take at least 26 steps more."),
        ([3.0, 1.8, 1.6], 1.1, 2.4, "the bigram's figure would take at least 7 steps more."),
        ([3.0, 1.8, 1.6], 1.0, 1.1, "the unigram's figure would take at least 7 steps more."),
        ([3.0, 1.6, 1.6], 1.0, 1.1, "more music, not more steps."),
        ([3.0, 1.5, 1.6], 1.5, 2.4, "more music, not more steps."),
    ],
)
def test_the_outlook_is_more_steps_only_where_the_bound_still_falls(
    finished_run, bits, bigram, unigram, said
):
    music = TokenDataset(finished_run / "tokens")
    report = evaluation(music)
    for name, value in (("bigram", bigram), ("unigram", unigram)):
        report["bits_per_token"][name]["mean"] = value
    curve = [{"step": 10 * i, "validation_bits_per_token": x} for i, x in enumerate(bits, 1)]
    config = {"training": {"batch_size": 2}, "model": {"length": 4}}
    sentence = outlook(curve, report, config, music)
    tokens = int(music.lengths("train")[0])  # of a second
    assert sentence.startswith(f"After 30 steps, {240 / tokens:.1f} times through 0.0 min of music")
    assert sentence.endswith(said)
    assert outlook(curve[:1], report, config, music) is None
