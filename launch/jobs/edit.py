"""The work of `launch.edit`: a song becomes tokens, some are drawn anew, and all audio again."""

import contextlib
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launch.changes import BY_MODE, Change, Continue
from sedd_jax.compilation_cache import use_compilation_cache
from sedd_jax.jobs.sample import read_schedule, sample_run
from sedd_jax.sampling import editing
from sedd_jax.sampling.settings import settle
from sedd_jax.sampling.tags import Steering
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.command import naming
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import as_text
from tokenizer_bridge.token_dataset.locks import alone_in
from tokenizer_bridge.token_dataset.records import DATASET_FILE, Record, TokenDataset
from tokenizer_bridge.token_dataset.wording import counted

SONG, TOKENS = "song", "tokens"  # folders of the output: the song's tokens, those of the edits


def edit(
    change: Change,
    *,
    workdir: str,
    audio: str | None,
    tokens: str | None,
    track: str | None,
    output: Path,
    variations: int,
    keep_audio: bool,
    overwrite: bool,
    codec_dir: str | None,
    step: int | str | None,
    seed: int,
    batch_size: int | None,
    schedule: str | None,
    steering: Steering,
    command: str,
    **options: Any,
) -> int:
    """Makes the variations; an exit code. The arguments are the command's.

    options: as `settle` takes them. schedule: as `read_schedule`.

    Raises UserError, and SystemExit: with 128 + n when it is stopped by signal n, or with the code
    of an encoder that failed and has said why. What is refused leaves nothing in the output.
    """
    require_own(output, audio, change)
    steps_schedule = read_schedule(schedule)
    use_compilation_cache()
    run, params, step = exported.load(workdir, step)
    if run.is_autoregressive and change.mode != Continue.mode:
        raise UserError(
            f"{change.argument} needs a diffusion model, and {workdir} is autoregressive: it can "
            "go on from a song alone, with --continue_s"
        )
    said = f"{output}: another process is editing there; stop it or choose another --output"
    with alone_in(output, said), withdrawn_when_refused(output):
        if audio is not None:
            encode(audio, run.codec["name"], codec_dir, output / SONG)
        dataset = TokenDataset(tokens or output / SONG)
        dataset.require_codec(run.codec)
        record = find_track(dataset, track)
        with naming(f"--{change.mode}"):
            planned = change.edit(record.tokens, editing.token_rate(run.codec), variations, seed)
        total = len(planned.tokens_T)
        # Kept tokens here and there leave no stretch of the recording.
        stretches = [(0, total)] if change.is_scattered else planned.stretches
        about = {
            "song": about_song(record, dataset),
            "edit": {
                "mode": change.mode,
                "value": change.value,
                "stretches": [list(stretch) for stretch in stretches],
            },
        }
        store = sample_run(
            run,
            params,
            step,
            settle(run, seed=seed, length=total, schedule=steps_schedule, **options),
            output / TOKENS,
            variations,
            batch_size=batch_size,
            steering=steering,
            known=planned.known(variations, run.codec["codebook_size"]),
            name=f"{Path(record.id).stem}-{change.mode}",
            about=about,
            notes={"command": command},
        )
    assert store is not None  # this is the only process
    print(f"{counted(store.num_samples, 'edit', 'edits')} of {record.id} in {store.path}")
    if audio is None:
        return 0
    keeps = keep_audio and not change.is_scattered
    return decode(store.path, audio if keeps else None, codec_dir, output, overwrite)


def require_own(output: Path, audio: str | None, change: Change) -> None:
    """Raises UserError where the output holds anything but this song, changed like this."""
    nearest = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UserError(f"{nearest} is a file: choose another --output")
    if output.exists() and any(output.iterdir()):
        if not any((output / name).is_dir() for name in (SONG, TOKENS)):
            raise UserError(f"{output} is not empty: choose another --output")
    if audio is not None and (output / SONG / DATASET_FILE).exists():
        record = find_track(TokenDataset(output / SONG), None)
        if record.id != as_text(Path(audio).name):
            raise UserError(f"{output} holds edits of {record.id}: choose another --output")
    if (output / TOKENS / DATASET_FILE).exists():
        edit = TokenDataset(output / TOKENS).origin.get("edit", {})
        if edit and (edit["mode"], edit["value"]) != (change.mode, change.value):
            made_by = BY_MODE[edit["mode"]](edit["value"]).argument
            raise UserError(f"{output} holds edits by {made_by}: choose another --output")


@contextlib.contextmanager
def withdrawn_when_refused(output: Path) -> Iterator[None]:
    """Removes the song's tokens where they are new and no edit comes of them, since another song or
    stretch is then asked for. What a signal has stopped stays: the same command goes on with it.
    """
    has_song = (output / SONG).exists()
    try:
        yield
    except (Exception, SystemExit) as error:
        is_stopped = isinstance(error, SystemExit) and error.code not in range(128)
        if not (is_stopped or has_song or (output / TOKENS).exists()):
            shutil.rmtree(output / SONG, ignore_errors=True)
        raise


def find_track(dataset: TokenDataset, track: str | None) -> Record:
    """The only record of a dataset, or the one of an id. Raises UserError."""
    total = sum(map(dataset.num_records, dataset.splits))
    if track is None and total > 1:
        raise UserError(f"{dataset.path} has {total} tracks: name one with --track")
    for split in dataset.splits:
        for record in dataset.records(split):
            if track in (None, record.id):
                return record
    raise UserError(f"{dataset.path} has no track {track}")


def about_song(record: Record, dataset: TokenDataset) -> dict[str, Any]:
    """The song's entry in the settings: enough to know its tokens and its recording again."""
    return {
        "id": record.id,
        "num_tokens": len(record.tokens),
        "tokens_crc32": f"{zlib.crc32(record.tokens.astype('<u2').tobytes()):08x}",
        "audio": record.source.get("audio", ""),
        "preparation": dataset.origin.get("preparation", {}),
    }


def encode(audio: str, codec: str, codec_dir: str | None, output: Path) -> None:
    """Encodes a song in a process of its own, which has PyTorch. Raises SystemExit if it fails."""
    code = run_bridge(
        "encode", f"--audio={audio}", f"--codec={codec}", f"--output={output}", "--splits=none",
        *codec_arguments(codec_dir),
    )  # fmt: skip
    if code:
        sys.exit(code)


def decode(
    tokens: Path, song: str | None, codec_dir: str | None, output: Path, overwrite: bool
) -> int:
    """Decodes edits likewise, into the song where one is given; the exit code."""
    name = "decode" if song is None else "decode_edits"
    into = [] if song is None else [f"--audio={song}"]
    return run_bridge(
        name, f"--tokens={tokens}", f"--output={output}", *into, *codec_arguments(codec_dir),
        *(["--overwrite"] if overwrite else []),
    )  # fmt: skip


def codec_arguments(codec_dir: str | None) -> list[str]:
    return [f"--codec_dir={codec_dir}"] if codec_dir else []


def run_bridge(command: str, *arguments: str) -> int:
    """Runs a command of the bridge; its exit code."""
    words = [sys.executable, "-m", f"tokenizer_bridge.{command}", *arguments]
    return subprocess.run(words, check=False).returncode
