"""Train a WavTokenizer on music.

    python -m tokenizer_bridge.train_codec --input=MUSIC --output=RUN
    python -m tokenizer_bridge.train_codec --input=MUSIC --output=RUN --device=cuda --minutes=60

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
from pathlib import Path

import numpy as np
import torch
from absl import flags
from tqdm import tqdm

from tokenizer_bridge import source_flags
from tokenizer_bridge.codec_training.corpus import hold_out, load_int16
from tokenizer_bridge.codec_training.training import CodecTrainer, CodecTrainingConfig, export
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import atomic_file, write_json_atomically
from tokenizer_bridge.wavtokenizer import registry
from tokenizer_bridge.wavtokenizer.checkpoints import load_codec_files
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

FLAGS = flags.FLAGS
DEMO_CONFIG = Path(__file__).parent / "assets" / "demo_codec" / "config.yaml"

flags.adopt_module_key_flags(source_flags)
flags.DEFINE_string("output", None, "Folder for the codec and the state.", required=True)
flags.DEFINE_string("config", str(DEMO_CONFIG), "YAML with the codec's sizes.")
flags.DEFINE_string("init_from", None, "Codec to go on from: its name, or its folder.")
flags.DEFINE_integer("steps", CodecTrainingConfig.steps, "Updates in all.", lower_bound=1)
flags.DEFINE_float("minutes", None, "Minutes of steps, instead of --steps.", lower_bound=0.0)
flags.DEFINE_integer("batch_size", CodecTrainingConfig.batch_size, "Crops a step.", lower_bound=1)
flags.DEFINE_float("crop_s", CodecTrainingConfig.crop_s, "Length of a crop.", lower_bound=0.2)
flags.DEFINE_float("learning_rate", CodecTrainingConfig.learning_rate, "Peak.", lower_bound=0.0)
flags.DEFINE_integer(
    "continuous_steps", CodecTrainingConfig.continuous_steps, "Before codes are used.", 1
)
flags.DEFINE_float(
    "steadiness", CodecTrainingConfig.steadiness, "Weight of steady codes for steady sound.", 0.0
)
flags.DEFINE_float("held_out", 0.12, "Share of the tracks kept for validation.", 0.0, 0.9)
flags.DEFINE_integer("validate_every", 500, "Steps between validations and saves.", lower_bound=1)
flags.DEFINE_enum("device", "auto", ["auto", "cpu", "cuda"], "Where to train.")
flags.DEFINE_integer("threads", 0, "PyTorch threads; 0 for all cores.", lower_bound=0)


def main(argv: list[str]) -> None:
    del argv
    keep_freed_memory()
    if FLAGS.threads:
        torch.set_num_threads(FLAGS.threads)
    if FLAGS.minutes == 0:
        raise UserError("--minutes=0: train for longer than nothing")
    initial, config_path = None, Path(FLAGS.config)
    if FLAGS.init_from:
        initial, config_path = _initial_codec(FLAGS.init_from)
        if FLAGS["config"].present and WavTokenizerConfig.from_yaml(FLAGS.config) != initial.config:
            raise UserError(f"--init_from={FLAGS.init_from} has other sizes than --config")
    network = WavTokenizerConfig.from_yaml(config_path)
    config = CodecTrainingConfig(
        steps=FLAGS.steps,
        minutes=FLAGS.minutes,
        continuous_steps=FLAGS.continuous_steps,
        steadiness=FLAGS.steadiness,
        batch_size=FLAGS.batch_size,
        crop_s=FLAGS.crop_s,
        learning_rate=FLAGS.learning_rate,
        seed=FLAGS.seed,
    )
    output = Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)

    train_tracks, held_tracks = hold_out(source_flags.load_tracks(), FLAGS.held_out)
    listing = {
        "train": [track.id for track in train_tracks],
        "held_out": [track.id for track in held_tracks],
    }
    state = output / "state.pt"
    if state.exists() and _read_listing(output / "tracks.json") != listing:
        raise UserError(
            f"{output} was trained on other tracks than {FLAGS.input} holds (its tracks.json): "
            "use the same music or another --output"
        )
    with tqdm([*train_tracks, *held_tracks], desc="reading", unit="track") as bar:
        loaded = [
            load_int16(track, network.sample_rate, min_seconds=2 * config.crop_s) for track in bar
        ]
    tracks, held = loaded[: len(train_tracks)], loaded[len(train_tracks) :]

    trainer = CodecTrainer(network, config, tracks, _device())
    if state.exists():
        trainer.restore(state)
    elif initial is not None:
        trainer.start_from(initial)
    # Only now is it known that what lies here may be gone on with.
    write_json_atomically(output / "tracks.json", listing)
    with atomic_file(output / "config.yaml") as partial:
        shutil.copyfile(config_path, partial)
    _train(trainer, held, output)
    print(f"codec written to {output}; use it with --codec_dir={output}")


def _train(trainer: CodecTrainer, held: list[np.ndarray], output: Path) -> None:
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
            if trainer.step % FLAGS.validate_every and trainer.done < 1:
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


def _device() -> torch.device:
    if FLAGS.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if FLAGS.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device=cuda: PyTorch finds no GPU here")
    return torch.device(FLAGS.device)


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
    run_door(main)
