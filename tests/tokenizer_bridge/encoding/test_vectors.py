"""The files of vectors: which one is a track's, what is refused before the audio is read."""

import numpy as np
import pytest

from tests.tokenizer_bridge.encoding.test_job import make_job, run_shard
from tokenizer_bridge.encoding.vectors import VectorFiles, find_vectors
from tokenizer_bridge.sources import Track, folder
from tokenizer_bridge.token_dataset.errors import UserError


def vector(seed: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(width).astype(np.float32)


@pytest.fixture
def vectors(songs, tmp_path):
    """A folder with a vector for each of the songs, under its path without the suffix."""
    for index in range(9):
        path = tmp_path / f"vectors/artist{index % 3}/song{index}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, vector(index))
    return tmp_path / "vectors"


def test_a_file_is_named_by_id_or_by_the_path_of_the_audio(songs, tmp_path):
    audio = songs / "artist0/song0.wav"
    tracks = [
        Track("track_0000948", audio, file="48/948.mp3"),
        Track("track.1", audio),
        Track("a/song.flac", audio),
    ]
    for name in ("48/948.npy", "track.1.npy", "track.npy", "a/song.npy", "a/song.flac.npy"):
        (tmp_path / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "v" / name, vector(0))
    files = find_vectors(tracks, {"clip": tmp_path / "v"}).files["clip"]
    names = {id: str(file.path.relative_to(tmp_path / "v")) for id, file in files.items()}
    assert names == {
        "track_0000948": "48/948.npy",
        "track.1": "track.1.npy",
        "a/song.flac": "a/song.flac.npy",  # before a/song.npy
    }
    (tmp_path / "v/track.1.npy").unlink()  # and track.npy is another track's
    with pytest.raises(UserError, match=r"1 of 3 tracks have no .* track.1: there is no track.1.n"):
        find_vectors(tracks, {"clip": tmp_path / "v"})


def test_what_cannot_be_used_is_named_at_once(songs, vectors):
    tracks = [*folder.tracks(songs), Track("gone.wav", songs / "gone.wav")]
    assert find_vectors(tracks, {"clip": vectors}).widths == {"clip": 4}
    with pytest.raises(UserError, match="'cl/ip' names no kind"):
        find_vectors(tracks, {"cl/ip": vectors})
    with pytest.raises(UserError, match="nowhere: no such folder"):
        find_vectors(tracks, {"clip": vectors / "nowhere"})
    np.save(vectors / "artist1/song4.npy", vector(4, 5))
    with pytest.raises(UserError, match=r"artist1/song4.npy has 5 numbers, .*artist0/song0.npy 4$"):
        find_vectors(tracks, {"clip": vectors})
    (vectors / "artist1/song4.npy").unlink()
    fault = r"1 of 9 tracks .* artist1/song4.wav: there is no artist1/song4.wav.npy nor artist1/so"
    with pytest.raises(UserError, match=fault):
        find_vectors(tracks, {"clip": vectors})


def test_records_hold_the_vectors_of_their_tracks(codec, songs, vectors, tmp_path):
    plain = make_job(songs, tmp_path / "plain")
    found = find_vectors(plain.tracks, {"clip": vectors, "again": vectors})
    job = make_job(songs, tmp_path / "tokens", vectors=found)
    dataset = run_shard(job, codec, 0, 1)
    assert dataset.vectors == {"again": 4, "clip": 4}
    for split in dataset.splits:
        for record in dataset.records(split):
            index = int(record.id.removesuffix(".wav")[-1])
            np.testing.assert_array_equal(record.vectors["clip"], vector(index))
    assert "vectors" not in plain.settings
    with pytest.raises(UserError, match="was made with another vectors"):
        prepared = make_job(songs, tmp_path / "tokens", vectors=VectorFiles())
        run_shard(prepared, codec, 0, 1)


def test_a_file_that_changes_in_the_meantime_is_named(codec, songs, vectors, tmp_path):
    tracks = folder.tracks(songs)
    job = make_job(songs, tmp_path / "out", vectors=find_vectors(tracks, {"clip": vectors}))
    np.save(vectors / "artist0/song3.npy", vector(0))
    with pytest.raises(UserError, match="artist0/song3.npy was changed while"):
        run_shard(job, codec, 0, 1)
    assert find_vectors(tracks, {"clip": vectors}).settings() != job.vectors.settings()
