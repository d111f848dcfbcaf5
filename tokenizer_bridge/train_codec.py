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

from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge.audio.decoder_notes import without_decoder_notes
from tokenizer_bridge.codec_training.config import CodecTrainingConfig
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.source_arguments import add_source_arguments, load_tracks
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, number, run_command
from tokenizer_bridge.token_dataset.errors import UserError


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
    if arguments.minutes == 0:
        raise UserError("--minutes=0: train for longer than nothing")

    from tokenizer_bridge.jobs import train_codec as job
    from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig

    keep_freed_memory()
    job.use_threads(arguments.threads)
    initial, sizes = None, Path(arguments.config or job.DEMO_CONFIG)
    if arguments.init_from:
        initial, sizes = job.initial_codec(arguments.init_from)
        asked = arguments.config
        if asked is not None and WavTokenizerConfig.from_yaml(asked) != initial.config:
            raise UserError(f"--init_from={arguments.init_from} has other sizes than --config")
    settings = (
        "steps", "minutes", "batch_size", "crop_s", "learning_rate", "continuous_steps",
        "steadiness", "seed",
    )  # fmt: skip
    job.train_codec(
        load_tracks(arguments),
        Path(arguments.output),
        CodecTrainingConfig(**{name: getattr(arguments, name) for name in settings}),
        sizes=sizes,
        initial=initial,
        held_out=arguments.held_out,
        validate_every=arguments.validate_every,
        device=job.find_device(arguments.device),
    )


if __name__ == "__main__":
    run_command(main)
