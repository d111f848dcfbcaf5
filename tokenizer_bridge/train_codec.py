"""Trains a WavTokenizer on music.

    python -m tokenizer_bridge.train_codec --audio=MUSIC --output=RUN
    python -m tokenizer_bridge.train_codec --audio=MUSIC --output=RUN --device=cuda --minutes=60

--init_from=demo, or the folder of a codec, goes on from trained weights with their sizes. With
--minutes the learning rate falls with the time spent in steps, so that settings can be compared at
equal cost. The exported weights are the running average of the trained ones.

Rerunning the same command continues from the last saved state. RUN then holds `config.yaml` and
`model.safetensors` (the codec, for `--codec_dir=RUN`), `state.pt` (to continue), `log.jsonl` and
`tracks.json` (which tracks were held out).
"""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from tokenizer_bridge.audio.decoder_notes import without_decoder_notes
from tokenizer_bridge.codec_training.corpus import hold_out, load_int16
from tokenizer_bridge.codec_training.training import CodecTrainer, CodecTrainingConfig, export
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.source_arguments import add_source_arguments, load_tracks
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, number, run_command
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file, write_json_atomically
from tokenizer_bridge.wavtokenizer import registry
from tokenizer_bridge.wavtokenizer.checkpoints import load_codec_files
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

DEMO_CONFIG = Path(__file__).parent / "assets" / "demo_codec" / "config.yaml"


def make_parser() -> Parser:
    parser, default = Parser(__doc__), CodecTrainingConfig
    add = parser.add_argument
    add(
        "--output",
        type=local_path,
        required=True,
        metavar="RUN",
        help="Folder for the codec and the state.",
    )
    add(
        "--config",
        type=local_path,
        metavar="YAML",
        help="The codec's sizes; the demo codec's by default.",
    )
    add(
        "--init_from",
        type=local_path,
        metavar="CODEC",
        help="Codec to go on from: its name, or its folder.",
    )
    add("--steps", type=integer(1), default=default.steps, help="Updates in all.")
    add("--minutes", type=number(0), help="Minutes of steps, instead of --steps.")
    add("--batch_size", type=integer(1), default=default.batch_size, help="Crops a step.")
    add("--crop_s", type=number(0.2), default=default.crop_s, help="Seconds of a crop.")
    add("--learning_rate", type=number(0), default=default.learning_rate, help="Its peak.")
    add(
        "--continuous_steps",
        type=integer(1),
        default=default.continuous_steps,
        help="Steps before codes are used.",
    )
    add(
        "--steadiness",
        type=number(0),
        default=default.steadiness,
        help="Weight of steady codes for steady sound.",
    )
    add("--held_out", type=number(0, 0.9), default=0.12, help="Share of tracks to validate on.")
    add("--validate_every", type=integer(1), default=500, help="Steps between validations, saves.")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="Where to train.")
    add("--threads", type=integer(0), default=0, help="PyTorch threads; all cores with 0.")
    add_source_arguments(parser)
    return parser


@without_decoder_notes()
def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    keep_freed_memory()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.minutes == 0:
        raise UserError("--minutes=0: train for longer than nothing")
    initial, sizes = None, Path(arguments.config or DEMO_CONFIG)
    if arguments.init_from:
        initial, sizes = _initial_codec(arguments.init_from)
        asked = arguments.config
        if asked is not None and WavTokenizerConfig.from_yaml(asked) != initial.config:
            raise UserError(f"--init_from={arguments.init_from} has other sizes than --config")
    settings = (
        "steps", "minutes", "batch_size", "crop_s", "learning_rate", "continuous_steps",
        "steadiness", "seed",
    )  # fmt: skip
    train_codec(
        load_tracks(arguments),
        Path(arguments.output),
        CodecTrainingConfig(**{name: getattr(arguments, name) for name in settings}),
        sizes=sizes,
        initial=initial,
        held_out=arguments.held_out,
        validate_every=arguments.validate_every,
        device=_device(arguments.device),
    )


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
    output.mkdir(parents=True, exist_ok=True)
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
            load_int16(track, network.sample_rate, min_seconds=2 * config.crop_s) for track in bar
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


def _initial_codec(name: str) -> tuple[WavTokenizer, Path]:
    """A codec and its YAML, by the name of a known one or by its folder."""
    folder = Path(name) if Path(name).is_dir() else None
    yaml_path, weights_path, _ = registry.locate(name, folder)
    return load_codec_files(yaml_path, weights_path)[0], yaml_path


def _device(name: str) -> str:
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


if __name__ == "__main__":
    run_command(main)
