"""Tokens to audio files: cross-fades, batches, names, and everything that is refused."""

import json
import threading

import numpy as np
import pytest
import soundfile

from tokenizer_bridge import decode, decoding
from tokenizer_bridge.audio.windows import Windowing, join_audio
from tokenizer_bridge.decoding import decode_batch, decode_pieces
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import safe_file_stems
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter
from tokenizer_bridge.wavtokenizer.registry import load_codec

HOP = 8  # of the toy codec
DECODE = "tokenizer_bridge.decode"


def random_codes(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 16, length).astype(np.uint16)


@pytest.fixture
def tokens(tmp_path, codec_dir):
    """A dataset of the toy codec, as `sample` writes it."""
    _, info = load_codec("toy", codec_dir=codec_dir)
    with TokenDatasetWriter(tmp_path / "tokens", vars(info)) as writer:
        for index, length in enumerate((3000, 3000, 7001)):
            writer.write("generated", Record(f"seed0/{index}", random_codes(length, index), 1.0))
    return tmp_path / "tokens"


def flags(source, output, codec_dir, *more):
    return (
        f"--tokens={source}", f"--output={output}", f"--codec_dir={codec_dir}", "--window_s=1",
        "--overlap_s=0.2", *more,
    )  # fmt: skip


def assert_one_line_error(outcome, text: str) -> None:
    assert outcome.code == 1
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and text in errors[0]
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("overlap", [0, 1, 5, 10])
def test_windows_of_one_signal_join_to_it(overlap):
    windowing = Windowing(20, overlap)
    for total in (1, 19, 20, 21, 25, 33, 40, 95):
        signal = np.random.default_rng(total).standard_normal(total * HOP).astype(np.float32)
        pieces = [
            (start, signal[start * HOP : (start + 20) * HOP]) for start in windowing.starts(total)
        ]
        joined = join_audio(pieces[::-1], overlap, HOP)
        np.testing.assert_allclose(joined, signal, atol=1e-6)


def test_cross_fades_have_no_jumps_and_leave_out_the_ends():
    windowing = Windowing(20, 8)
    ramp = np.linspace(0, 1, 2 * HOP)  # what a window lacks context for is marked by its level
    level = np.ones(20 * HOP)
    level[: 2 * HOP], level[-2 * HOP :] = ramp, ramp[::-1]
    for total in (40, 47, 100):
        pieces = [
            (start, (level * (1 + index % 2)).astype(np.float32))
            for index, start in enumerate(windowing.starts(total))
        ]
        joined = join_audio(pieces, 8, HOP)
        inner = joined[2 * HOP : -2 * HOP]
        assert len(joined) == total * HOP
        assert inner.min() >= 1 - 1e-6 and inner.max() <= 2 + 1e-6
        assert np.abs(np.diff(inner)).max() < 0.06  # a fade over 32 samples, no step of 1


def test_pieces_come_out_as_if_alone(codec):
    windowing = Windowing(600, 60)
    pieces = {key: random_codes(length, key) for key, length in enumerate((600, 200, 600, 2345))}
    for batch_size in (1, 3):
        results = list(decode_pieces(codec, pieces.items(), windowing, batch_size))
        assert sorted(key for key, _ in results) == sorted(pieces)
        decoded = dict(results)
        for key, codes in pieces.items():
            assert decoded[key].dtype == np.float32 and len(decoded[key]) == len(codes) * HOP
            if len(codes) <= 600:
                alone = decode_batch(codec, codes[None].astype(np.int64))[0]
                np.testing.assert_allclose(decoded[key], alone, atol=1e-4)
    codes = pieces[3].astype(np.int64)
    first = decode_batch(codec, codes[None, :600])[0]
    np.testing.assert_allclose(decoded[3][: 540 * HOP], first[: 540 * HOP], atol=1e-4)


def test_two_codes_can_be_decoded(codec):
    ((_, audio),) = decode_pieces(codec, [("x", random_codes(2))], Windowing(600, 60), 4)
    assert audio.shape == (2 * HOP,) and np.isfinite(audio).all()


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_command_takes_as_many_cores_as_it_is_told(
    tokens, tmp_path, codec_dir, monkeypatch, num_threads
):
    threads = set()

    def note_thread(codec, codes_BxL, starts_B):
        threads.add(threading.get_ident())
        return decode_batch(codec, codes_BxL, starts_B)

    monkeypatch.setattr(decoding, "decode_batch", note_thread)
    more = ("--batch_size=1", f"--num_threads={num_threads}")
    decode.main(flags(tokens, tmp_path / "wavs", codec_dir, *more))
    assert (threads == {threading.get_ident()}) == (num_threads == 1)
    assert len(threads) <= num_threads


def test_file_names_are_safe_and_unique():
    names = ["a/b", "a b", "A/B", "", "../../etc/passwd", "ünï", "x" * 400, "same", "same", "plain"]
    stems = safe_file_stems(names)
    assert len({stem.lower() for stem in stems}) == len(names)
    for stem in stems:
        assert stem and len(stem) < 200 and not stem.startswith((".", "-"))
        assert all(c.isalnum() or c in "._-" for c in stem)
    assert stems[-1] == "plain" and stems[0].startswith("a_b-")
    assert safe_file_stems(names) == stems


def test_the_command(tokens, codec_dir, tmp_path, run_command):
    output = tmp_path / "wavs"
    arguments = flags(tokens, output, codec_dir)
    outcome = run_command(DECODE, *arguments)
    assert outcome.code == 0, outcome.err
    assert "3 files written" in outcome.out and "3/3" in outcome.err
    assert sorted(path.name for path in output.iterdir()) == [
        "seed0_0.wav", "seed0_1.wav", "seed0_2.wav"
    ]  # fmt: skip
    info = soundfile.info(output / "seed0_2.wav")
    assert (info.frames, info.samplerate, info.channels) == (7001 * HOP, 24000, 1)
    assert (info.format, info.subtype) == ("WAV", "PCM_16")
    codec, _ = load_codec("toy", codec_dir=codec_dir)
    audio, _ = soundfile.read(output / "seed0_0.wav")
    exact = decode_batch(codec, random_codes(3000, 0)[None].astype(np.int64))[0]
    np.testing.assert_allclose(audio, exact.clip(-1, 1), atol=1e-3)
    assert ("beyond full scale" in outcome.out) == (np.abs(exact).max() > 1)

    (output / "seed0_0.wav").unlink()
    written = (output / "seed0_1.wav").stat().st_mtime_ns
    outcome = run_command(DECODE, *arguments)
    assert outcome.code == 0 and "1 file written" in outcome.out
    assert "2 files existed and were kept" in outcome.out
    assert (output / "seed0_1.wav").stat().st_mtime_ns == written

    outcome = run_command(DECODE, *flags(tokens, tmp_path / "flacs", codec_dir, "--format=flac"))
    assert outcome.code == 0 and "3 files written" in outcome.out
    assert soundfile.info(tmp_path / "flacs/seed0_0.flac").format == "FLAC"


def test_files_of_something_else_are_not_taken_for_done(tokens, codec_dir, tmp_path, run_command):
    output = tmp_path / "wavs"
    arguments = flags(tokens, output, codec_dir)
    assert run_command(DECODE, *arguments).code == 0
    assert_one_line_error(run_command(DECODE, *arguments, "--overlap_s=0.1"), "these windows")
    np.save(tmp_path / "seed0_1.npy", random_codes(3000, 7))
    other = flags(tmp_path / "seed0_1.npy", output, codec_dir, "--codec=toy")
    assert_one_line_error(
        run_command(DECODE, *other), "seed0_1.wav exists and was not decoded from"
    )
    (output / "seed0_1.wav").write_bytes(b"mine")
    assert_one_line_error(run_command(DECODE, *arguments), "seed0_1.wav exists and was not decoded")
    assert (output / "seed0_1.wav").read_bytes() == b"mine"
    assert run_command(DECODE, *arguments, "--overwrite").code == 0
    assert soundfile.info(output / "seed0_1.wav").frames == 3000 * HOP


def test_files_go_to_an_object_store_one_by_one(tokens, codec_dir, tmp_path, run_command):
    source, bucket = f"file://{tokens}", tmp_path / "bucket"
    arguments = flags(source, f"file://{bucket}", codec_dir)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    outcome = run_command(DECODE, *arguments, environment=cache)
    assert outcome.code == 0 and f"file://{bucket}: 3 files written" in outcome.out, outcome.err
    assert run_command(DECODE, *flags(tokens, tmp_path / "here", codec_dir)).code == 0
    for path in (tmp_path / "here").iterdir():
        assert (bucket / path.name).read_bytes() == path.read_bytes()
    (bucket / "seed0_1.wav").unlink()  # as when it was killed
    outcome = run_command(DECODE, *arguments, environment=cache)
    assert "1 file written" in outcome.out and "2 files existed and were kept" in outcome.out
    soundfile.write(bucket / "seed0_1.wav", np.zeros(100), 24000)
    outcome = run_command(DECODE, *arguments, environment=cache)
    assert_one_line_error(outcome, f"file://{bucket}/seed0_1.wav exists and was not decoded from")
    outcome = run_command(DECODE, *flags("s3://b/x.npy", tmp_path / "x", codec_dir, "--codec=toy"))
    assert_one_line_error(outcome, "s3://b/x.npy: a .npy file is read from this machine")


def test_npy(codec_dir, tmp_path, run_command):
    np.save(tmp_path / "two.npy", np.stack([random_codes(500, 0), random_codes(500, 1)]))
    np.save(tmp_path / "one.npy", random_codes(500, 0).astype(np.int64))
    for name, files in (("two", ["two-00000.wav", "two-00001.wav"]), ("one", ["one.wav"])):
        arguments = flags(tmp_path / f"{name}.npy", tmp_path / name, codec_dir, "--codec=toy")
        outcome = run_command(DECODE, *arguments)
        assert outcome.code == 0, outcome.err
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == files
    one, _ = soundfile.read(tmp_path / "one/one.wav")
    two, _ = soundfile.read(tmp_path / "two/two-00000.wav")
    assert len(one) == 500 * HOP and np.abs(one).max() > 0
    np.testing.assert_allclose(one, two, atol=1e-3)


def test_npy_that_cannot_be_decoded(codec_dir, tmp_path, run_command):
    path = tmp_path / "x.npy"

    def refused(text, *more):
        outcome = run_command(DECODE, *flags(path, tmp_path / "out", codec_dir, *more))
        assert_one_line_error(outcome, text)
        assert "x.npy" in outcome.err

    refused("give --codec")
    refused("no such file", "--codec=toy")
    path.write_bytes(b"\x93NUMPY not really")
    refused("not a .npy file", "--codec=toy")
    np.save(path, np.array([{"code": "runs"}]), allow_pickle=True)
    refused("not a .npy file", "--codec=toy")
    np.save(path, np.array([[3, 4], [5, 16]]))
    refused("row x-00001: token 16 is outside the codec's 16 codes", "--codec=toy")
    np.save(path, np.array([3, -1]))
    refused("token -1", "--codec=toy")
    np.save(path, np.array([0.5]))
    refused("whole numbers", "--codec=toy")
    with open(path, "wb") as file:
        np.savez(file, codes=np.array([3, 4]))
    refused("an archive of arrays", "--codec=toy")
    np.save(path, np.zeros((2, 0), int))
    refused("are needed, not (2, 0)", "--codec=toy")
    np.save(path, np.zeros((3, 1), int))
    refused("(3, 1) would be 3 pieces of one code each", "--codec=toy")


def test_datasets_that_cannot_be_decoded(tokens, codec_dir, tmp_path, run_command):
    output = tmp_path / "wavs"
    outcome = run_command(DECODE, *flags(tokens, output, codec_dir, "--split=train"))
    assert_one_line_error(outcome, "no split 'train', only generated")
    outcome = run_command(DECODE, *flags(tmp_path / "nowhere", output, codec_dir))
    assert_one_line_error(outcome, "is not a directory")

    meta = json.loads((tokens / "dataset.json").read_text())
    narrow = meta | {"codec": meta["codec"] | {"weights_sha256": "ab" * 32}}
    (tokens / "dataset.json").write_text(json.dumps(narrow))
    outcome = run_command(DECODE, *flags(tokens, output, codec_dir))
    assert_one_line_error(outcome, "do not match codec 'toy' (weights_sha256")
    (tokens / "dataset.json").write_text(json.dumps(meta))

    shard = next(tokens.glob("*.array_record"))
    whole = shard.read_bytes()
    for position in range(64, len(whole), 64):  # the first bit that a record needs
        flipped = bytes([whole[position] ^ 1])
        shard.write_bytes(whole[:position] + flipped + whole[position + 1 :])
        try:
            list(TokenDataset(tokens).records("generated"))
        except UserError:
            break
    outcome = run_command(DECODE, *flags(tokens, output, codec_dir))
    assert_one_line_error(outcome, f"{shard.name}: record ")
    shard.write_bytes(whole[:-100])
    outcome = run_command(DECODE, *flags(tokens, output, codec_dir))
    assert_one_line_error(outcome, "was cut short or changed")
    assert list(output.glob("*.wav")) == []


def test_a_disk_that_fills(tokens, codec_dir, tmp_path, run_command):
    """Room for the short pieces (48 kB each), none for the long one (112 kB)."""
    output = tmp_path / "wavs"
    arguments = flags(tokens, output, codec_dir)
    outcome = run_command(DECODE, *arguments, max_file_bytes=60_000)
    assert_one_line_error(outcome, "nothing more can be written")
    assert sorted(path.name for path in output.iterdir()) == ["seed0_0.wav", "seed0_1.wav"]
    assert run_command(DECODE, *arguments).code == 0
    assert soundfile.info(output / "seed0_2.wav").frames == 7001 * HOP
