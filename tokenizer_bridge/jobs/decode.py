"""Decoding: tokens become audio files, with a progress bar."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tokenizer_bridge.audio.choices import DECODING
from tokenizer_bridge.audio.kinds import FOR_FFMPEG, READABLE
from tokenizer_bridge.audio.windows import Windowing
from tokenizer_bridge.audio.write import read_comment, write_audio
from tokenizer_bridge.decoding import decode_pieces, stamp_of
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import safe_file_stems
from tokenizer_bridge.token_dataset.mirrors import folder_at
from tokenizer_bridge.token_dataset.paths import is_url
from tokenizer_bridge.token_dataset.records import TokenDataset, check_tokens
from tokenizer_bridge.token_dataset.wording import counted
from tokenizer_bridge.wavtokenizer.registry import load_codec


def decode(
    tokens: str,
    output: str,
    *,
    split: str | None = None,
    codec: str | None = None,
    codec_dir: str | None = None,
    format: str = "wav",
    overwrite: bool = False,
    window_s: float = DECODING[0],
    overlap_s: float = DECODING[1],
    batch_size: int = 16,
    device: str = "cpu",
    num_threads: int | None = None,
) -> None:
    """Decodes a token dataset or a .npy file into audio files, one of FORMATS, in a directory.

    codec: the dataset's own by default. window_s and overlap_s in seconds. num_threads: on a CPU,
    as many as there are cores and memory for by default. Shows progress and prints what was
    written. Raises UserError.
    """
    pieces: Iterable[tuple[str, np.ndarray]]
    if tokens.lower().endswith(".npy"):
        if is_url(tokens):
            raise UserError(f"{tokens}: a .npy file is read from this machine: copy it here")
        if codec is None:
            raise UserError(f"{tokens}: a .npy file does not name its codec: give --codec")
        if split is not None:
            raise UserError(f"{tokens}: a .npy file has no splits: leave --split out")
        network, info = load_codec(codec, codec_dir=codec_dir, device=device)
        pieces = read_npy(Path(tokens), info.codebook_size)
    else:
        dataset = TokenDataset(tokens)
        name = codec or dataset.codec["name"]
        network, info = load_codec(name, codec_dir=codec_dir, device=device)
        dataset.require_codec(vars(info))
        pieces = Pieces(dataset, [split] if split else dataset.splits)
    codes_per_s = info.sample_rate / info.hop_length
    windowing = Windowing.from_seconds(window_s, overlap_s, codes_per_s)

    folder = folder_at(output)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.check_writable()
    stems = safe_file_stems([strip_audio_suffix(name) for name, _ in pieces])
    paths = [folder.path / f"{stem}.{format}" for stem in stems]
    stored = {folder.path / name for name in folder.names()}  # in an object store
    there = {path for path in paths if path in stored or path.exists()}
    if not overwrite:
        for path, (_, codes) in zip(paths, pieces, strict=True):
            if path not in there:
                continue
            if path in stored:
                folder.fetch([path.name])
            if read_comment(path) != stamp_of(codes, info, windowing):
                raise UserError(
                    f"{folder.named(str(path))} exists and was not decoded from {tokens} with this "
                    "codec and these windows: choose another --output, or replace it with "
                    "--overwrite"
                )
            if path in stored:
                path.unlink()
    wanted = {path for path in paths if overwrite or path not in there}
    todo = (
        ((path, stamp_of(codes, info, windowing)), codes)
        for path, (_, codes) in zip(paths, pieces, strict=True)
        if path in wanted
    )
    seconds, num_clipped, started = 0.0, 0, time.monotonic()
    with tqdm(total=len(wanted), unit="file", desc="decode") as bar:
        decoded = decode_pieces(network, todo, windowing, batch_size, num_threads)
        for (path, stamp), audio_T in decoded:
            num_clipped += bool(np.abs(audio_T).max() > 1)
            write_audio(path, audio_T, info.sample_rate, comment=stamp)
            folder.hand_over(path)
            seconds += len(audio_T) / info.sample_rate
            bar.set_postfix_str(f"{seconds / (time.monotonic() - started):.0f}x real time")
            bar.update()

    written = counted(len(wanted), "file", "files")
    print(f"{folder.place}: {written} written, {seconds / 60:.1f} min of audio")
    if kept := len(paths) - len(wanted):
        print(f"{kept} files existed and were kept (--overwrite replaces them)")
    if num_clipped:
        print(f"{num_clipped} files had peaks beyond full scale, which were clipped")


class Pieces:
    """(id, tokens) of every record of some splits; every iteration reads them anew."""

    def __init__(self, dataset: TokenDataset, splits: Sequence[str]):
        self._dataset, self._splits = dataset, splits

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        for split in self._splits:
            for record in self._dataset.records(split):
                yield record.id, record.tokens


def read_npy(path: Path, codebook_size: int) -> list[tuple[str, np.ndarray]]:
    """(id, codes) of the rows of a .npy file, (L,) or (N, L). Raises UserError."""
    try:
        codes = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a .npy file of numbers ({error})") from error
    if not isinstance(codes, np.ndarray):
        raise UserError(f"{path}: an archive of arrays (.npz): save one array with np.save")
    if codes.ndim not in (1, 2) or codes.size == 0:
        raise UserError(f"{path}: codes of shape (L,) or (N, L) are needed, not {codes.shape}")
    if codes.ndim == 2 and codes.shape[1] == 1:
        raise UserError(
            f"{path}: codes of shape {codes.shape} would be {len(codes)} pieces of one code each: "
            "transpose them for one piece"
        )
    ids = [path.stem] if codes.ndim == 1 else [f"{path.stem}-{i:05d}" for i in range(len(codes))]
    rows = list(zip(ids, np.atleast_2d(codes), strict=True))
    for name, row in rows:
        try:
            check_tokens(row, codebook_size)
        except ValueError as error:
            raise UserError(f"{path}: row {name}: {error}") from error
    return rows


def strip_audio_suffix(name: str) -> str:
    """A track's id without the suffix of the file that it was encoded from."""
    stem, _, suffix = name.rpartition(".")
    return stem if suffix.lower() in READABLE | FOR_FFMPEG else name
