"""Decodes tokens into audio files: 16-bit PCM, mono, at the codec's rate.

    python -m tokenizer_bridge.decode --input=NEW --output=WAVS

--input is a token dataset, whose codec is loaded by the name it records, or a .npy file of codes,
(L,) or (N, L), for which --codec must be given. A dataset of another codec is refused.

Audio longer than --window_s is decoded in windows that are faded into each other. They are as long
as the crops that WavTokenizer was trained on, since its decoder normalises and attends over all of
its input: log-mel distance of the demo codec on 2 min of music 1.02 in windows of 3 s, 1.06 in
windows of 12 s, 1.11 in one piece.

A file is called after its record's id, with everything but letters, digits, `.`, `-` and `_`
replaced. A file that holds the very piece already is kept, so that an interrupted run goes on where
it stopped; any other file of that name is refused. --overwrite replaces both. Peaks beyond full
scale are clipped and counted.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from tokenizer_bridge.audio.read import READABLE
from tokenizer_bridge.audio.windows import DECODING, Windowing
from tokenizer_bridge.audio.write import read_comment, write_audio
from tokenizer_bridge.decoding import decode_pieces, stamp_of
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import safe_file_stems
from tokenizer_bridge.token_dataset.records import TokenDataset, check_tokens
from tokenizer_bridge.wavtokenizer.registry import load_codec

_INPUT = flags.DEFINE_string("input", None, "Token dataset, or .npy of codes.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Directory of the audio files.", required=True)
_SPLIT = flags.DEFINE_string("split", None, "Split of the dataset; all of them if not given.")
_CODEC = flags.DEFINE_string("codec", None, "Name of the codec, if not the dataset's own.")
_CODEC_DIR = flags.DEFINE_string("codec_dir", None, "Folder with a codec's weights and YAML.")
_FORMAT = flags.DEFINE_enum("format", "wav", ["wav", "flac"], "Format of the audio files.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace files that exist.")
_WINDOW_S = flags.DEFINE_float("window_s", DECODING[0], "Seconds that are decoded at once.")
_OVERLAP_S = flags.DEFINE_float("overlap_s", DECODING[1], "Seconds that two windows share.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Windows in a batch.", lower_bound=1)
_DEVICE = flags.DEFINE_string("device", "cpu", "PyTorch device, such as cpu or cuda:0.")


def main(argv: list[str]) -> None:
    del argv
    keep_freed_memory()
    source = Path(_INPUT.value)
    if source.suffix.lower() == ".npy":
        if _CODEC.value is None:
            raise UserError(f"{source}: a .npy file does not name its codec: give --codec")
        codec, info = load_codec(_CODEC.value, codec_dir=_CODEC_DIR.value, device=_DEVICE.value)
        pieces = read_npy(source, info.codebook_size)
    else:
        dataset = TokenDataset(source)
        name = _CODEC.value or dataset.codec["name"]
        codec, info = load_codec(name, codec_dir=_CODEC_DIR.value, device=_DEVICE.value)
        dataset.require_codec(vars(info))
        pieces = Pieces(dataset, [_SPLIT.value] if _SPLIT.value else dataset.splits)
    codes_per_s = info.sample_rate / info.hop_length
    windowing = Windowing.from_seconds(_WINDOW_S.value, _OVERLAP_S.value, codes_per_s)

    output = Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    stems = safe_file_stems([strip_audio_suffix(name) for name, _ in pieces])
    paths = [output / f"{stem}.{_FORMAT.value}" for stem in stems]
    if not _OVERWRITE.value:
        for path, (_, codes) in zip(paths, pieces, strict=True):
            stamp = stamp_of(codes, info, windowing)
            if path.exists() and read_comment(path) != stamp:
                raise UserError(
                    f"{path} exists and was not decoded from {source} with this codec and these "
                    "windows: choose another --output, or replace it with --overwrite"
                )
    wanted = {path for path in paths if _OVERWRITE.value or not path.exists()}
    todo = (
        ((path, stamp_of(codes, info, windowing)), codes)
        for path, (_, codes) in zip(paths, pieces, strict=True)
        if path in wanted
    )
    seconds, num_clipped, started = 0.0, 0, time.monotonic()
    with tqdm(total=len(wanted), unit="file", desc="decode") as bar:
        decoded = decode_pieces(codec, todo, windowing, _BATCH_SIZE.value)
        for (path, stamp), audio_T in decoded:
            num_clipped += bool(np.abs(audio_T).max() > 1)
            write_audio(path, audio_T, info.sample_rate, comment=stamp)
            seconds += len(audio_T) / info.sample_rate
            bar.set_postfix_str(f"{seconds / (time.monotonic() - started):.0f}x real time")
            bar.update()

    print(f"{output}: {len(wanted)} files written, {seconds / 60:.1f} min of audio")
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
    return stem if suffix.lower() in READABLE else name


if __name__ == "__main__":
    run_door(main)
