r"""Compiles a config's train step for a TPU slice or GPU hosts that are not there: does it fit, and
how fast could it be?

    python -m launch.compile_check --config=configs/music_medium.py \
        --topology=v5e:8x8 --num_slices=2
    python -m launch.compile_check --config=configs/music_large.py --topology=h100:2x8 --search

Topologies: v5e:AxB, v6e:AxB, v5p:AxBxC (chips along each dimension of a slice), h100:HOSTSxGPUS.
TPUs need launch/requirements-tpu.txt, GPUs launch/requirements-cuda.txt; neither the hardware.
It is the very program that sedd_jax.train runs. Exit code 1 when it does not fit.
launch/aot/roofline.py says how times are bounded, launch/aot/chips.py where the chips' figures are
from.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from launch.aot import compiled, search, show
from launch.aot.topology import describe
from sedd_jax.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import write_json_atomically

CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, as of sedd_jax.train.")
TOPOLOGY = flags.DEFINE_string("topology", None, "e.g. v5e:8x8, v5p:4x4x4, h100:2x8.")
NUM_SLICES = flags.DEFINE_integer("num_slices", 1, "TPU slices.", lower_bound=1)
CODEBOOK_SIZE = flags.DEFINE_integer("codebook_size", 4096, "Codes, without the mask.", 2)
SAMPLE = flags.DEFINE_bool("sample", False, "The sampler instead of the train step.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the figures.")
SEARCH = flags.DEFINE_bool("search", False, "Try meshes, remat and accumulation; rank what fits.")
REMAT = flags.DEFINE_list("remat", ["none", "dots", "block"], "Policies to search.")
ACCUMULATION = flags.DEFINE_list("accumulation", ["1", "2", "4", "8"], "Microbatches to search.")
FSDP = flags.DEFINE_list("fsdp", [], "Sizes to search, inside a slice; all by default.")
TENSOR = flags.DEFINE_list("tensor", ["1", "2", "4", "8"], "Sizes to search, inside a slice.")


def integers(flag: flags.FlagHolder) -> list[int]:
    try:
        return [int(value) for value in flag.value]
    except ValueError:
        raise UserError(f"--{flag.name}={','.join(flag.value)}: numbers are needed") from None


def main(argv: list[str]) -> int:
    del argv
    if CONFIG.value is None or TOPOLOGY.value is None:
        raise UserError("--config=configs/….py and --topology=v5e:8x8 (or h100:2x8) are needed")
    topology = describe(TOPOLOGY.value, NUM_SLICES.value)
    name = Path(flags.FLAGS["config"].config_filename).stem
    if SEARCH.value:
        space = search.Space(REMAT.value, integers(ACCUMULATION), integers(FSDP), integers(TENSOR))
        reports = search.search(
            CONFIG.value,
            topology,
            CODEBOOK_SIZE.value,
            space,
            sample=SAMPLE.value,
            on_report=lambda report: print(show.ranking_line(report), flush=True),
        )
        ranked = search.rank(reports)
        print(
            f"\n{name} on {topology.description}: {len(ranked)} of {len(reports)} fit, best first"
        )
        print("\n".join([show.RANKING_HEAD, *map(show.ranking_line, ranked)]))
        values, fits = [report.to_dict() for report in ranked], bool(ranked)
    else:
        run = compiled.make_run(CONFIG.value, topology, CODEBOOK_SIZE.value)
        report = compiled.report(run, topology, sample=SAMPLE.value)
        print(show.full(name, report))
        values, fits = report.to_dict(), report.fits
    if OUTPUT.value:
        write_json_atomically(Path(OUTPUT.value), values)
    return 0 if fits else 1


if __name__ == "__main__":
    run_door(main)
