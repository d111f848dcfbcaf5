"""Commands in folders, and on files, whose names programs like to misread."""

import soundfile

from tests.tokenizer_bridge.toy_songs import ENCODE, flags, music
from tokenizer_bridge.token_dataset.records import TokenDataset

NAME = "a [b] 'c' ü x\\y: \"50%\" 🎵*?"
SONGS = ["曲一", "[x] 'y' *?", "Ünïcode", "back\\slash", "-dash"]


def test_encode_grow_inspect_and_decode(codec_dir, tmp_path, run_command):
    place = tmp_path / NAME
    (place / "music").mkdir(parents=True)
    tokens = place / "tokens"
    for count in (3, len(SONGS)):  # the second time it grows
        for seed, name in enumerate(SONGS[:count]):
            soundfile.write(place / f"music/{name}.wav", music(0.5, seed), 24000)
        outcome = run_command(ENCODE, *flags(place / "music", tokens, codec_dir))
        assert outcome.code == 0, outcome.err
        records = TokenDataset(tokens).records("train")
        assert sorted(record.id for record in records) == sorted(f"{n}.wav" for n in SONGS[:count])
    outcome = run_command(
        "tokenizer_bridge.inspect", f"--tokens={tokens}", f"--output={place / 'page'}"
    )
    assert outcome.code == 0 and (place / "page/inspect.html").exists(), outcome.err
    outcome = run_command(
        "tokenizer_bridge.decode", f"--tokens={tokens}", f"--output={place / 'wavs'}",
        f"--codec_dir={codec_dir}",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    heard = [path.name for path in (place / "wavs").iterdir()]
    assert len(heard) == 2 * len(SONGS)  # beginnings, and the ends that are held out
    assert any(name.startswith("曲一") for name in heard)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
