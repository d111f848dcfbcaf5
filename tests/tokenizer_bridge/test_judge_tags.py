"""The command: what it makes of samples that are, and are not, what they were told; mistakes."""

import json

import numpy as np
import pytest

from tests.tokenizer_bridge.judging.toy_tokens import write_dataset
from tokenizer_bridge.jobs.judge_tags import judge_tags
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import Record

LENGTH = 120  # 3 s, one window of musicnn
# A sound is a run of four codes of its own, over and over.
SOUNDS = {"high": (3, 700, 41, 12), "low": (900, 5, 77, 300), "odd": (512, 513, 1000, 8)}


def record(i, name, rng, artist=None, told=None):
    tokens = np.resize(SOUNDS[name], LENGTH)
    changed = rng.random(LENGTH) < 0.2
    tokens[changed] = rng.integers(1024, size=changed.sum())
    tags = (f"sound---{told or name}",) if told != "" else ()
    return Record(f"{i}", tokens.astype(np.uint16), 3.0, artist, (*tags, f"number---{i}"))


def real(path):
    rng, names = np.random.default_rng(0), list(SOUNDS)
    splits = {
        split: [record(i, names[i % 3], rng, f"{split}{i // 4}") for i in range(count)]
        for split, count in (("train", 48), ("validation", 18))
    }
    return write_dataset(path, splits)


def samples(path, sounds, told, guidance=None, **origin):
    rng = np.random.default_rng(1)
    records = [record(i, s, rng, told=t) for i, (s, t) in enumerate(zip(sounds, told, strict=True))]
    condition = guidance and {"guidance": guidance, "guidance_schedule": "constant"}
    origin = {
        "checkpoint_fingerprint": "aa", "checkpoint_step": 7, "length": LENGTH,
        "condition": condition, **origin,
    }  # fmt: skip
    return write_dataset(path, {"generated": records}, origin)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Real music, samples that obey, that obey half of the time, and that were told nothing."""
    folder, names = tmp_path_factory.mktemp("judged"), list(SOUNDS) * 6
    real(folder / "tokens")
    samples(folder / "two", names, names, 2.0)
    half = [name if i < 9 else "high" for i, name in enumerate(names)]
    samples(folder / "one", half, names, 1.0)
    samples(folder / "none", ["odd"] * 18, [""] * 18)
    return folder


def test_what_was_told_is_heard_as_far_as_it_was_obeyed(folder, run_command):
    outcome = run_command(
        "tokenizer_bridge.judge_tags", f"--tokens={folder / 'tokens'}",
        *(f"--samples={folder / name}" for name in ("two", "none", "one")),
        f"--output={folder / 'out'}",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    report = json.loads((folder / "out/judged.json").read_text())
    assert [one["guidance"] for one in report["sets"]] == [0, 1, 2]
    # Tags of which each has one piece cannot be learnt.
    assert list(report["categories"]) == ["sound"] and "category number" in outcome.out
    facts, sets = report["categories"]["sound"], report["sets"]
    assert facts["ceiling"]["value"] == 1.0
    assert facts["floor"]["value"] == pytest.approx(1 / 3)
    assert [one["right"]["sound"] for one in sets][0] is None
    # Nine obey, and three of the others were told "high".
    assert sets[1]["right"]["sound"]["value"] == pytest.approx(12 / 18)
    assert sets[2]["right"]["sound"]["value"] == 1.0
    kads = [one["kad"]["value"] for one in sets]
    assert kads[2] < kads[1] < kads[0]  # three sounds, mostly one, only one
    text = (folder / "out/judged.md").read_text()
    assert "| guidance 1 | 67% (" in text and "told nothing: the floor | 33% (33 to 33)" in text
    assert (folder / "out/judged.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("names", "options", "message"), [
    (("two", "twice"), {}, "have the same guidance"),
    (("two", "other"), {}, "of one model"),
    (("tokens",), {}, "no samples of a model"),
    (("two",), {"categories": ["tempo"]}, "there are number, sound"),
    (("two",), {"categories": ["number"]}, "fewer than two of its names"),
    (("two",), {"splits": ["test"]}, "no split 'test'"),
    (("short",), {}, "too short to be judged"),
])  # fmt: skip
def test_mistakes(folder, tmp_path, names, options, message):
    sounds = list(SOUNDS)
    samples(tmp_path / "twice", sounds, sounds, 2.0)
    samples(tmp_path / "other", sounds, sounds, 1.0, checkpoint_fingerprint="bb")
    samples(tmp_path / "short", sounds, sounds, 1.0, length=80)
    paths = [folder / n if (folder / n).exists() else tmp_path / n for n in names]
    with pytest.raises(UserError, match=message):
        judge_tags(folder / "tokens", paths, folder / "out/heard", **options)
