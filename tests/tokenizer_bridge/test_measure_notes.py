"""The command that measures notes: a model that copies beside one that does not."""

import json

import numpy as np
import pytest

from tests.tokenizer_bridge.notes.tones import RATE, melody, sound
from tokenizer_bridge import measure_notes
from tokenizer_bridge.audio.write import write_audio
from tokenizer_bridge.codec import Codec
from tokenizer_bridge.notes.measures import MEASURES
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter

SCALE = (0, 2, 4, 5, 7, 9, 11, 12)


def tune(seed):
    """12 notes of a major key."""
    rng = np.random.default_rng(seed)
    return melody(60 + seed % 12 + rng.choice(SCALE, 12), each_s=0.25)


@pytest.fixture(scope="module")
def music(tmp_path_factory, codec_dir):
    """Three held-out tunes; two generated ones, of which `copy` is a training tune, a fifth higher;
    the tokens of both, and the notes of the others."""
    folder = tmp_path_factory.mktemp("music")
    codec = Codec.load("toy", directory=codec_dir)
    held_out = {f"held{seed}.wav": tune(seed) for seed in range(3)}
    trained = {f"train{seed}.wav": tune(10 + seed) for seed in range(2)}
    copy = trained["train1.wav"]
    copy = melody(copy.pitch_N + 7, each_s=0.3)
    generated = {"copy.wav": copy, "new.wav": tune(20)}
    for name, notes in held_out.items():
        write_audio(_made(folder / "held_out") / name, sound(notes), RATE)
    for name, notes in generated.items():
        write_audio(_made(folder / "generated") / name, sound(notes), RATE)
    codes = {
        name: codec.encode(sound(notes), RATE) for name, notes in (generated | trained).items()
    }
    with TokenDatasetWriter(folder / "tokens", vars(codec.info)) as writer:
        for name in trained:
            writer.write("train", Record(name, codes[name], 3.0))
        writer.write("train", Record("of copy", codes["copy.wav"][::-1], 3.0))
        writer.write("validation", Record("unseen", codes["new.wav"], 3.0))
    with TokenDatasetWriter(folder / "new", vars(codec.info)) as writer:
        copied = np.concatenate(
            [codes["train0.wav"][4000:7000], np.random.default_rng(0).integers(16, size=500)]
        )
        writer.write("generated", Record("copied", copied, 3.0))
        writer.write("generated", Record("new", codes["new.wav"], 3.0))
    with open(folder / "notes.jsonl", "w") as file:
        for name, notes in (held_out | trained).items():
            rows = zip(notes.start_N, notes.end_N, notes.pitch_N.tolist(), strict=True)
            file.write(json.dumps({"path": name, "notes": list(rows)}) + "\n")
    return folder


def _made(folder):
    folder.mkdir(exist_ok=True)
    return folder


def run(music, codec_dir, *flags):
    output = music / "figures" / "notes.json"
    measure_notes.main([
        f"--audio={music / 'generated'}", f"--reference={music / 'held_out'}",
        f"--codec_dir={codec_dir}", f"--output={output}", *flags,
    ])  # fmt: skip
    return json.loads(output.read_text())


@pytest.fixture(scope="module")
def report(music, codec_dir):
    return run(
        music, codec_dir, f"--tokens={music / 'tokens'}", f"--generated_tokens={music / 'new'}",
        f"--notes={music / 'notes.jsonl'}", "--clip_s=4", "--num_workers=1",
    )  # fmt: skip


def test_every_set_is_measured(report):
    assert list(report["sets"]) == ["real", "codec", "generated", "shuffled"]
    assert [of_set["pieces"] for of_set in report["sets"].values()] == [3, 3, 2, 3]
    assert report["ranges"].keys() <= MEASURES.keys() and "interval" in report["ranges"]
    real = report["sets"]["real"]
    assert [row["id"] for row in real["rows"]] == ["held0.wav", "held1.wav", "held2.wav"]
    assert all(row["mode"] for row in real["rows"])
    assert real["medians"]["notes_per_s"] == pytest.approx(12 / 3.4, rel=0.1)


def test_notes_agree_with_the_score_and_less_so_through_a_toy_codec(report):
    agreement = report["agreement"]
    assert agreement["real"]["f1"] > 0.9 and agreement["real"]["pieces"] == 3
    assert agreement["codec"]["f1"] < 0.7


def test_a_copied_tune_is_found_though_it_is_transposed_and_slower(report):
    notes = report["copies"]["notes"]
    assert notes["generated"]["longest"] >= 11 > 6 >= notes["real"]["longest"]
    (first, *_) = notes["generated"]["examples"]
    assert (first["id"], first["training"]) == ("copy.wav", "train1.wav")


def test_copied_tokens_are_found_in_the_training_split_alone(report):
    tokens = report["copies"]["tokens"]
    assert tokens["generated"]["longest"] == 3000
    (first, *_) = tokens["generated"]["examples"]
    assert (first["id"], first["training"]) == ("copied", "train0.wav")
    assert (first["start"], first["training_start"]) == (0, 4000)
    assert tokens["training"]["median"] > 8000 > 3000 > tokens["real"]["longest"]
    assert report["copies"]["changes"]["generated"]["longest"] > 100


def test_audio_alone_is_enough(music, capsys):
    output = music / "bare.json"
    measure_notes.main([
        f"--audio={music / 'generated'}", f"--reference={music / 'held_out'}", "--num_reference=2",
        f"--output={output}",
    ])  # fmt: skip
    report = json.loads(output.read_text())
    assert list(report["sets"]) == ["real", "generated"] and not report["copies"]
    table = capsys.readouterr().out
    assert "key_clarity" in table and "2 real, 2 generated" in table and "shuffled" not in table


@pytest.mark.parametrize(("flags", "message"), [
    (["--audio={}/none"], "--audio: .*none: no such folder"),
    (["--reference={}"], "--reference: .*: no audio files"),
    (["--generated_tokens={}/new"], "are looked up in --tokens"),
    (["--tokens={}/new", "--codec=demo"], "do not match codec"),
    (["--notes={}/generated/new.wav"], "--notes: .*"),
    (["--clip_s=0"], "clip_s"),
])  # fmt: skip
def test_mistakes_are_one_line(music, tmp_path, codec_dir, flags, message):
    (tmp_path / "empty").mkdir()
    flags = [
        flag.format(tmp_path / "empty" if flag == "--reference={}" else music) for flag in flags
    ]
    if "--codec=demo" not in flags:
        flags.append(f"--codec_dir={codec_dir}")
    with pytest.raises(UserError, match=message):
        measure_notes.main([
            f"--audio={music / 'generated'}", f"--reference={music / 'held_out'}",
            f"--output={tmp_path / 'x.json'}", *flags,
        ])  # fmt: skip


def test_a_file_that_cannot_be_used_is_named(music, tmp_path):
    for folder in ("generated", "held_out"):
        _made(tmp_path / folder)
        write_audio(tmp_path / folder / "short.wav", np.full(100, 0.1, np.float32), RATE)
    with pytest.raises(UserError, match=r"held_out/short\.wav: 0\.00 s long; 1 s are needed"):
        run(tmp_path, tmp_path, "--num_workers=2")
    write_audio(tmp_path / "held_out" / "short.wav", np.zeros(2 * RATE, np.float32), RATE)
    write_audio(tmp_path / "generated" / "short.wav", np.zeros(2 * RATE, np.float32), RATE)
    with pytest.raises(UserError, match="no notes were heard in the reference"):
        run(tmp_path, tmp_path)
