"""Training of a codec: reads the music, takes the steps, validates and saves."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from tokenizer_bridge.codec_training.config import CodecTrainingConfig
from tokenizer_bridge.codec_training.corpus import hold_out, load_int16
from tokenizer_bridge.codec_training.training import CodecTrainer, export
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file, write_json_atomically
from tokenizer_bridge.token_dataset.locks import alone_in
from tokenizer_bridge.wavtokenizer import registry
from tokenizer_bridge.wavtokenizer.checkpoints import load_codec_files
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

DEMO_CONFIG = Path(__file__).parents[1] / "assets" / "demo_codec" / "config.yaml"


def train_codec(
    tracks: Sequence[Track],
    output: Path,
    config: CodecTrainingConfig,
    *,
    sizes: Path = DEMO_CONFIG,
    initial: WavTokenizer | None = None,
    held_out: float = 0.12,
    validate_every: int = 500,
    device: str | torch.device = "cpu",
) -> None:
    """Trains a codec on tracks, or goes on where `output` left off; shows progress.

    sizes: YAML with the network's. initial: a codec of these sizes to go on from. held_out: share
    of the tracks to validate on. validate_every: steps between two validations, and saves. Raises
    UserError.
    """
    network = WavTokenizerConfig.from_yaml(sizes)
    said = f"{output}: another process is training there; stop it or choose another --output"
    with alone_in(output, said):
        train_tracks, held_tracks = hold_out(tracks, held_out)
        listing = {
            "train": [track.id for track in train_tracks],
            "held_out": [track.id for track in held_tracks],
        }
        state = output / "state.pt"
        if state.exists() and _read_listing(output / "tracks.json") != listing:
            raise UserError(
                f"{output} was trained on other tracks (its tracks.json): use the same music or "
                "another --output"
            )
        with tqdm([*train_tracks, *held_tracks], desc="reading", unit="track") as bar:
            loaded = [
                load_int16(track, network.sample_rate, min_seconds=2 * config.crop_s)
                for track in bar
            ]
        training, held = loaded[: len(train_tracks)], loaded[len(train_tracks) :]

        trainer = CodecTrainer(network, config, training, torch.device(device))
        if state.exists():
            trainer.restore(state)
        elif initial is not None:
            trainer.start_from(initial)
        # Only now is it known that what lies here may be gone on with.
        write_json_atomically(output / "tracks.json", listing)
        with atomic_file(output / "config.yaml") as partial:
            shutil.copyfile(sizes, partial)
        _train(trainer, held, output, validate_every)
    print(f"codec written to {output}; use it with --codec_dir={output}")


def _train(
    trainer: CodecTrainer, held: list[np.ndarray], output: Path, validate_every: int
) -> None:
    total = trainer.config.steps if trainer.config.minutes is None else None
    _drop_log_after(output / "log.jsonl", trainer.step)
    with (
        open(output / "log.jsonl", "a") as log,
        tqdm(total=total, initial=trainer.step, unit="step", mininterval=2) as progress,
    ):
        sums: dict[str, torch.Tensor] = {}
        since, start = trainer.step, time.monotonic()
        while trainer.done < 1:
            try:
                terms = trainer.train_step()
            except FloatingPointError as error:
                raise UserError(f"{error}: try a lower --learning_rate") from error
            for key, value in terms.items():
                sums[key] = sums.get(key, 0.0) + value
            progress.update()
            if trainer.step % validate_every and trainer.done < 1:
                continue
            count = trainer.step - since
            row = {"step": trainer.step, "seconds": round(time.monotonic() - start, 1)}
            row |= {key: value.item() / count for key, value in sums.items()}
            row |= {f"held_out_{k}": v for k, v in trainer.validate(held).items()}
            sums, since, start = {}, trainer.step, time.monotonic()
            trainer.save(output / "state.pt")
            export(trainer.average, output / "model.safetensors")
            log.write(json.dumps(row) + "\n")
            log.flush()
            progress.set_postfix(
                log_mel=f"{row['held_out_log_mel']:.3f}",
                perplexity=f"{row['held_out_perplexity']:.0f}",
            )


def initial_codec(name: str) -> tuple[WavTokenizer, Path]:
    """A codec and its YAML, by the name of a known one or by its folder."""
    folder = Path(name) if Path(name).is_dir() else None
    yaml_path, weights_path, _ = registry.locate(name, folder)
    return load_codec_files(yaml_path, weights_path)[0], yaml_path


def use_threads(num: int) -> None:
    """Lets PyTorch use so many threads; 0 leaves it as it is."""
    if num:
        torch.set_num_threads(num)


def find_device(name: str) -> str:
    """The device that "auto", "cpu" or "cuda" asks for. Raises UserError."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device=cuda: PyTorch finds no GPU here")
    if name == "cpu" or not torch.cuda.is_available():
        return "cpu"
    torch.set_float32_matmul_precision("high")  # TF32: spectra and oscillators need no more
    return "cuda"


def _read_listing(path: Path) -> dict | None:
    """tracks.json, or None where it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _drop_log_after(path: Path, step: int) -> None:
    """Rows beyond the restored state will be written again; one that a kill cut short, too."""
    if not path.exists():
        return
    lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
    rows = [line for line in lines if json.loads(line)["step"] <= step]
    with atomic_file(path) as partial:
        partial.write_text("".join(row + "\n" for row in rows))
