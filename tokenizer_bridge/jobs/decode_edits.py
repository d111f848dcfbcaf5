"""Decoding of edits: tokens and the recording that they were made of become audio files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tokenizer_bridge.audio.errors import AudioError
from tokenizer_bridge.audio.read import Preparation, PreparedFile, read_audio
from tokenizer_bridge.audio.write import read_comment, subtype_for, write_recording
from tokenizer_bridge.decoding import stamp_of_tokens
from tokenizer_bridge.edits import edited_audio, num_tokens
from tokenizer_bridge.encoding.tracks import DIGEST_BYTES
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import safe_file_stems
from tokenizer_bridge.token_dataset.records import TokenDataset
from tokenizer_bridge.token_dataset.wording import counted
from tokenizer_bridge.wavtokenizer.registry import load_codec


def decode_edits(
    tokens: str,
    audio: str,
    output: str,
    *,
    codec_dir: str | None = None,
    overwrite: bool = False,
    device: str = "cpu",
) -> None:
    """Decodes a token dataset of edits of a recording into WAV files in a directory.

    Shows progress and prints what was written. Raises UserError.
    """
    dataset, song = TokenDataset(tokens), Path(audio)
    if not {"song", "edit"} <= dataset.origin.keys():
        raise UserError(f"{tokens} holds no edits of a recording: tokenizer_bridge.decode reads it")
    network, info = load_codec(dataset.codec["name"], codec_dir=codec_dir, device=device)
    dataset.require_codec(vars(info))
    original_CxT, sample_rate = read_song(song, info.sample_rate, dataset.origin["song"])
    found = num_tokens(original_CxT.shape[1], sample_rate, info)
    if abs(found - dataset.origin["song"]["num_tokens"]) > 1:
        raise UserError(f"{tokens} was made of a part of {song}: times would not fit")
    stretches = [(start, stop) for start, stop in dataset.origin["edit"]["stretches"]]
    subtype = subtype_for(song)

    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    records = [record for split in dataset.splits for record in dataset.records(split)]
    stems = safe_file_stems([record.id for record in records])
    todo = []
    for stem, record in zip(stems, records, strict=True):
        path = folder / f"{stem}.wav"
        stamp = f"{stamp_of_tokens(record.tokens, info)} in {dataset.origin['song']['audio']}"
        if not overwrite and path.exists():
            if read_comment(path) != stamp:
                raise UserError(
                    f"{path} exists and is not this edit of {song}: choose another --output, or "
                    "replace it with --overwrite"
                )
        else:
            todo.append((path, stamp, record.tokens))
    num_clipped = 0
    for path, stamp, tokens_L in tqdm(todo, unit="file", desc="decode"):
        edited_CxT = edited_audio(network, info, original_CxT, sample_rate, tokens_L, stretches)
        num_clipped += subtype != "FLOAT" and bool(np.abs(edited_CxT).max() > 1)
        write_recording(path, edited_CxT, sample_rate, subtype, comment=stamp)
    print(f"{folder}: {counted(len(todo), 'file', 'files')} written")
    if kept := len(records) - len(todo):
        print(f"{kept} files existed and were kept (--overwrite replaces them)")
    if num_clipped:
        print(f"{num_clipped} files had peaks beyond full scale, which were clipped")


def read_song(path: Path, codec_rate: int, song: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    """The recording (C, T) and its sample rate, which must be the one that was edited.

    codec_rate: of the codec; song: what the edits say of the recording. Raises UserError.
    """
    prepared = PreparedFile(path, codec_rate, Preparation(**song["preparation"]))
    try:
        digest = hashlib.blake2b(prepared.read().tobytes(), digest_size=DIGEST_BYTES).hexdigest()
        if digest != song["audio"]:
            raise UserError(f"{path} is not the recording that was edited, {song['id']}")
        return read_audio(path)
    except AudioError as error:
        raise UserError(f"{path}: {error}") from error
