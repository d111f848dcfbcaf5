"""Small copies of the data sets' layouts, byte for byte as published where bytes matter."""

import hashlib
from pathlib import Path

import soundfile

from tests.tokenizer_bridge.toy_songs import music

HEADER = b"TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\r\n"
# Rows of the published files; the metadata is CC BY-NC-SA 4.0, by the Music Technology Group.
ROWS = [
    b"track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\tgenre---punkrock\r\n",
    b"track_0000215\tartist_000014\talbum_000031\t15/215.mp3\t151.4\tgenre---metal\r\n",
    b"track_0000948\tartist_000087\talbum_000149\t48/948.mp3\t212.7\tmood/theme---background\r\n",
    b"track_1009600\tartist_431065\talbum_118866\t00/1009600.mp3\t93.7\tgenre---classical\t"
    b"genre---soundtrack\tmood/theme---romantic\r\n",
    b"track_1127764\tartist_443923\talbum_135054\t64/1127764.mp3\t264.1\tgenre---hiphop\t"
    b"instrument---acousticbassguitar\tinstrument---acousticguitar\tinstrument---bass\r\n",
    b"track_1421614\tartist_421137\talbum_165801\t14/1421614.mp3\t206.4\tgenre---electronic\t"
    b"genre---house\tgenre---techno\r\n",
]


def row_path(row: bytes) -> str:
    """The PATH of a row."""
    return row.split(b"\t")[3].decode()


def write_tsv(path: Path, rows: list[bytes]) -> Path:
    path.write_bytes(HEADER + b"".join(rows))
    return path


def make_jamendo(root: Path, low: bool = False) -> Path:
    """The audio of ROWS, 0.5 s each, full or low-bitrate."""
    for seed, row in enumerate(ROWS):
        path = root / row_path(row)
        path = path.with_suffix(".low.mp3") if low else path
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, music(0.5, seed), 24000, format="MP3")
    return root


def write_checksums(path: Path, audio: Path) -> Path:
    """A list as published: SHA-256, a space, the path; LF."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.relative_to(audio).as_posix()}\n"
        for file in sorted(audio.rglob("*.mp3"))
    ]
    path.write_bytes("".join(lines).encode())
    return path


def make_nlakh(root: Path) -> Path:
    """Nlakh-single and Nlakh-multi, two clips of 0.5 s in each split."""
    names = [
        f"Nlakh-single/{split}/{n:03}/0001.wav" for split in ("train", "valid") for n in (1, 2)
    ]
    for split in ("train", "valid"):
        for folder in ("000001", "000002"):
            names += [f"Nlakh-multi/{split}/{folder}/{stem}.wav" for stem in ("124", "7", "mix")]
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, music(0.5, seed), 24000)
    return root
