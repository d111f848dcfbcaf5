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
resume. Ctrl-C or SIGTERM lets the runs under way save first. DIR gets results.csv and METRIC.png.
Exit codes: 0 all runs finished; 1 some did not, or a mistake; 128 + n stopped by signal n.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from tqdm import tqdm

from launch.sweeping import gke, report, slurm
from launch.sweeping.jobs import Outcome, last_line, run_here
from launch.sweeping.plot import write_plot
from launch.sweeping.runs import Command, SweepFile, SweepRun, plan, read_sweep
from launch.sweeping.sampling import Sampling
from launch.sweeping.training import Training
from launch.targets.gke import split_at_dashes
from sedd_jax import config_arguments
from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, run_command
from tokenizer_bridge.token_dataset.files import atomic_file


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
        choices=report.PICKS,
        default="last",
        help="Which value of the metric's history.",
    )
    return parser


def make_command(sweep: SweepFile, chosen: config_arguments.Chosen) -> Command:
    if sweep.command == "train":
        return Training(chosen.source, chosen.overrides)
    if sweep.command == "sample":
        return Sampling()
    raise UserError(f"the sweep's COMMAND is {sweep.command!r}; it can be train, sample")


def main(argv: Sequence[str] | None = None) -> int:
    own, cluster_options = split_at_dashes(argv)
    arguments, chosen = config_arguments.parse(
        make_parser(), own, short_forms={"tokens": "data.path"}
    )
    if cluster_options and not (arguments.slurm or arguments.gke):
        raise UserError(
            f"unexpected {cluster_options[0]}: after -- stand options for --slurm or --gke"
        )
    # This process only looks at files; accelerators are for the runs.
    jax.config.update("jax_platforms", "cpu")
    sweep = read_sweep(chosen.source)
    command = make_command(sweep, chosen)
    workdir = Path(arguments.workdir).absolute()
    runs = plan(chosen.config, chosen.overrides, sweep, command, workdir)
    metric = arguments.metric or command.default_metric
    if arguments.report:
        show_results(runs, command, workdir, metric, arguments.pick)
        return 0
    left = [run for run in runs if not command.progress(run).is_finished]
    if arguments.dry_run:
        print(listing(runs, left, command))
        return 0
    if arguments.slurm or arguments.gke:
        if not left:
            raise UserError("all runs are finished: there is nothing to write")
        if arguments.slurm:
            path = Path(arguments.slurm)
            write_slurm(path, sweep, left, command, limit=arguments.jobs, options=cluster_options)
        else:
            write_gke(Path(arguments.gke), sweep, left, command, cluster_options)
        return 0
    command.check_inputs(left)
    print(f"{len(left)} of {len(runs)} runs of {command.module} to do in {workdir}", flush=True)
    outcomes, signal_number = run_all(left, command, arguments.jobs or 1)
    show_results(runs, command, workdir, metric, arguments.pick)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        print(f"{outcome.run.name}: {outcome.error}\n    {outcome.run.log}")
    if signal_number:
        print("stopped; the same command goes on")
        return 128 + signal_number
    return 1 if failed else 0


def write_slurm(
    path: Path,
    sweep: SweepFile,
    runs: Sequence[SweepRun],
    command: Command,
    *,
    limit: int | None,
    options: Sequence[str],
) -> None:
    """Writes an array script, and prints how it is submitted. limit: of tasks at a time."""
    text = slurm.slurm_script(path.name, sweep.name, runs, command, limit=limit, options=options)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"an array of {len(runs)} tasks: sbatch {path}")


def write_gke(
    path: Path, sweep: SweepFile, runs: Sequence[SweepRun], command: Command, options: Sequence[str]
) -> None:
    """Writes JobSets, and prints how they are submitted. Raises UserError."""
    if not isinstance(command, Training):
        raise UserError("JobSets are for sweeps over training: run samplers here or with SLURM")
    text = gke.job_sets(sweep.name, runs, command, options)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{len(runs)} JobSets: kubectl apply --filename={path}")


def listing(runs: Sequence[SweepRun], left: Sequence[SweepRun], command: Command) -> str:
    lines = [f"{len(left)} of {len(runs)} runs of {command.module} to do"]
    for run in runs:
        state = command.progress(run).text or "not started"
        lines += ["", f"{run.name}: {state}"]
        if run in left:
            command_lines = [command.line(run), *command.after(run)]
            lines += [f"    {shlex.join(line)}" for line in command_lines]
    return "\n".join(lines)


def run_all(
    runs: Sequence[SweepRun], command: Command, num_jobs: int
) -> tuple[list[Outcome], int | None]:
    seldom = 0.1 if sys.stderr.isatty() else 10.0
    bar = tqdm(
        total=len(runs), unit="run", dynamic_ncols=True, mininterval=seldom, disable=not runs
    )
    with bar:

        def on_poll(running: Sequence[SweepRun]) -> None:
            if running:
                latest = last_line(running[0].log)[-60:]
                bar.set_postfix_str(f"{len(running)} under way: {latest}", refresh=False)
                bar.update(0)

        def on_end(outcome: Outcome) -> None:
            bar.write(f"{outcome.run.name}: {outcome.error or 'done'} ({outcome.seconds:.0f} s)")
            bar.update()

        return run_here(runs, command, num_jobs, on_poll, on_end)


def show_results(
    runs: Sequence[SweepRun], command: Command, workdir: Path, metric: str, pick: str
) -> None:
    """Prints the table, and writes it and the plot, of whatever runs there are."""
    rows = report.make_rows(runs, command, pick)
    print(report.table(rows, metric, pick))
    workdir.mkdir(parents=True, exist_ok=True)
    report.write_csv(workdir / "results.csv", rows)
    print(workdir / "results.csv")
    plot = workdir / f"{metric.replace('/', '_')}.png"
    if write_plot(plot, rows, metric):
        print(plot)
    else:
        print(f"no plot: no run has recorded {metric}; recorded are {report.known_metrics(rows)}")


if __name__ == "__main__":
    run_command(main)
