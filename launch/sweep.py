r"""Runs of a model that differ in a few settings: lists them, runs them, and shows what came out.

    python -m launch.sweep --config=configs/sweeps/learning_rate.py \
        --tokens=TOKENS --workdir=DIR [--jobs=2]

The config file has a sweep() beside its get_config(), which yields the overrides of each run;
`--config.…` holds for all runs. Every run has a folder in DIR, named by its overrides. A file with
`COMMAND = "sample"` sweeps over samplings of a trained run: see configs/sweeps/sampler_steps.py.

    --dry_run       lists the runs and their commands
    --slurm=FILE    writes a SLURM array script for the runs that are not finished;
                    what follows -- are options of sbatch
    --gke=FILE      writes a JobSet for each of them; what follows -- are launch.gke_jobset's own
    --report        makes table and plot from what there is, of --metric=NAME

The same command goes on where an earlier one was: finished runs are not repeated, the others
resume. Ctrl-C or SIGTERM lets the runs under way save first. DIR gets results.csv, results.json
and METRIC.png.
Exit codes: 0 all runs finished; 1 some did not, or a mistake; 128 + n stopped by signal n.
"""

from collections.abc import Sequence

from launch.sweeping.choices import PICKS
from launch.targets.gke import split_at_dashes
from sedd_jax import config_arguments
from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, run_command


def make_parser() -> Parser:
    parser = Parser(__doc__)
    config_arguments.add_arguments(parser)
    parser.add_argument(
        "--tokens",
        type=local_path,
        metavar="TOKENS",
        help="Token dataset that all runs are trained on.",
    )
    parser.add_argument(
        "--workdir", type=local_path, required=True, metavar="DIR", help="Directory of the runs."
    )
    parser.add_argument("--jobs", type=integer(1), help="Runs at a time; here 1 by default.")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry_run", action="store_true", help="List the runs, start nothing.")
    instead.add_argument(
        "--slurm", type=local_path, metavar="FILE", help="Write a SLURM array script instead."
    )
    instead.add_argument(
        "--gke",
        type=local_path,
        metavar="FILE",
        help="Write JobSets for Google Kubernetes Engine instead.",
    )
    instead.add_argument(
        "--report", action="store_true", help="Only make table and plot from what there is."
    )
    parser.add_argument(
        "--metric", help="What to compare; by default what the sweep's command names."
    )
    parser.add_argument(
        "--pick",
        choices=PICKS,
        default="last",
        help="Which value of the metric's history.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    own, cluster_options = split_at_dashes(argv)
    arguments, chosen = config_arguments.parse(
        make_parser(), own, short_forms={"tokens": "data.path"}
    )
    if cluster_options and not (arguments.slurm or arguments.gke):
        raise UserError(
            f"unexpected {cluster_options[0]}: after -- stand options for --slurm or --gke"
        )

    from launch.jobs.sweep import sweep

    return sweep(
        chosen,
        arguments.workdir,
        jobs=arguments.jobs,
        dry_run=arguments.dry_run,
        slurm_file=arguments.slurm,
        gke_file=arguments.gke,
        only_report=arguments.report,
        metric=arguments.metric,
        pick=arguments.pick,
        cluster_options=cluster_options,
    )


if __name__ == "__main__":
    run_command(main)
