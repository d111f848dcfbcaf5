r"""Compiles a train step for TPUs or GPUs that are not there: does it fit, how fast could it be?

    python -m launch.compile_check --config=configs/music_medium.py \
        --topology=v5e:8x8 --num_slices=2
    python -m launch.compile_check --config=configs/music_large.py --topology=h100:2x8 --search

Topologies: v5e:AxB, v6e:AxB, v5p:AxBxC (chips along each dimension of a slice), h100:HOSTSxGPUS.
TPUs need launch/requirements-tpu.txt, GPUs launch/requirements-cuda.txt; neither the hardware.
It is the very program that sedd_jax.train runs. Exit code 1 when it does not fit.
launch/aot/roofline.py says how times are bounded, launch/aot/chips.py where the chips' figures are
from.
"""

from collections.abc import Sequence
from pathlib import Path

from sedd_jax import config_arguments
from tokenizer_bridge.token_dataset.command import (
    Parser,
    comma_list,
    integer,
    list_of,
    local_path,
    run_command,
)
from tokenizer_bridge.token_dataset.files import write_json_atomically


def make_parser() -> Parser:
    parser = Parser(__doc__)
    config_arguments.add_arguments(parser)
    parser.add_argument("--topology", required=True, help="e.g. v5e:8x8, v5p:4x4x4, h100:2x8.")
    parser.add_argument("--num_slices", type=integer(1), default=1, help="TPU slices.")
    parser.add_argument(
        "--codebook_size", type=integer(2), default=4096, help="Codes, without the mask."
    )
    parser.add_argument(
        "--sample", action="store_true", help="The sampler instead of the train step."
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="Instructions by time and bytes, too, under the lines of code that they come from.",
    )
    parser.add_argument(
        "--output", type=local_path, metavar="FILE", help="JSON file for the figures."
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="Try meshes, remat and accumulation; rank what fits.",
    )
    parser.add_argument(
        "--remat",
        type=comma_list,
        default="none,dots,block",
        help="Policies to search.",
    )
    parser.add_argument(
        "--accumulation",
        type=list_of(integer(1)),
        default="1,2,4,8",
        help="Microbatches to search.",
    )
    parser.add_argument(
        "--fsdp",
        type=list_of(integer(1)),
        default=(),
        metavar="SIZES",
        help="Sizes to search, inside a slice; all by default.",
    )
    parser.add_argument(
        "--tensor",
        type=list_of(integer(1)),
        default="1,2,4,8",
        metavar="SIZES",
        help="Sizes to search, inside a slice.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments, chosen = config_arguments.parse(make_parser(), argv)

    from launch.aot import compiled, search, show
    from launch.aot.topology import describe

    topology = describe(arguments.topology, arguments.num_slices)
    name = Path(chosen.source.partition(":")[0]).stem
    if arguments.search:
        space = search.Space(
            arguments.remat, arguments.accumulation, list(arguments.fsdp), arguments.tensor
        )
        reports = search.search(
            chosen.config,
            topology,
            arguments.codebook_size,
            space,
            sample=arguments.sample,
            on_report=lambda report: print(show.ranking_line(report), flush=True),
        )
        ranked = search.rank(reports)
        print(
            f"\n{name} on {topology.description}: {len(ranked)} of {len(reports)} fit, best first"
        )
        print("\n".join([show.RANKING_HEAD, *map(show.ranking_line, ranked)]))
        values, fits = [report.to_dict() for report in ranked], bool(ranked)
    else:
        run = compiled.make_run(chosen.config, topology, arguments.codebook_size)
        report = compiled.report(run, topology, sample=arguments.sample, by_line=arguments.explain)
        print(show.full(name, report))
        values, fits = report.to_dict(), report.fits
    if arguments.output:
        write_json_atomically(Path(arguments.output), values)
    return 0 if fits else 1


if __name__ == "__main__":
    run_command(main)
