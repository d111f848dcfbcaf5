r"""Runs of a model that differ in a few settings: lists them, runs them, and shows what came out.

    python -m launch.sweep --config=configs/sweeps/learning_rate.py \
        --config.data.path=TOKENS --workdir=DIR [--jobs=2]

The config file has a sweep() beside its get_config(), which yields the overrides of each run;
`--config.…` flags hold for all runs. Every run has a folder in DIR, named by its overrides.

    --dry_run       lists the runs and their commands
    --slurm=FILE    writes a SLURM array script for the runs that are not finished;
                    what follows -- are options of sbatch
    --gke=FILE      writes a JobSet for each of them; what follows -- are flags of launch.gke_jobset
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
from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from launch.sweeping import gke, report, slurm
from launch.sweeping.jobs import Outcome, last_line, run_here
from launch.sweeping.plot import write_plot
from launch.sweeping.runs import Door, SweepFile, SweepRun, plan, read_sweep
from launch.sweeping.sampling import Sampling
from launch.sweeping.training import Training
from sedd_jax.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import atomic_file

CONFIG = config_flags.DEFINE_config_file("config", None, "File with get_config() and sweep().")
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the runs.", required=True)
JOBS = flags.DEFINE_integer("jobs", None, "Runs at a time; here 1 by default.", lower_bound=1)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the runs, start nothing.")
SLURM = flags.DEFINE_string("slurm", None, "Write a SLURM array script instead.")
GKE = flags.DEFINE_string("gke", None, "Write JobSets for Google Kubernetes Engine instead.")
REPORT = flags.DEFINE_bool("report", False, "Only make table and plot from what there is.")
METRIC = flags.DEFINE_string("metric", None, "What to compare; by default what the door names.")
PICK = flags.DEFINE_enum("pick", "last", report.PICKS, "Which value of the metric's history.")


def make_door(name: str) -> Door:
    if name == "train":
        holder = flags.FLAGS["config"]
        return Training(holder.config_filename, holder.override_values)
    if name == "sample":
        return Sampling()
    raise UserError(f"the sweep's DOOR is {name!r}; it can be train, sample")


def main(cluster_options: list[str]) -> int:
    if CONFIG.value is None:
        raise UserError("--config=configs/sweeps/….py is needed")
    if sum(map(bool, (DRY_RUN.value, SLURM.value, GKE.value, REPORT.value))) > 1:
        raise UserError("give one of --dry_run, --slurm, --gke and --report")
    if cluster_options and not (SLURM.value or GKE.value):
        raise UserError(
            f"unexpected {cluster_options[0]}: after -- stand flags of --slurm or --gke"
        )
    # This process only looks at files; accelerators are for the runs.
    jax.config.update("jax_platforms", "cpu")
    holder = flags.FLAGS["config"]
    sweep = read_sweep(holder.config_filename)
    door = make_door(sweep.door)
    workdir = Path(WORKDIR.value).absolute()
    runs = plan(CONFIG.value, holder.override_values, sweep, door, workdir)
    if REPORT.value:
        show_results(runs, door, workdir)
        return 0
    left = [run for run in runs if not door.progress(run).is_finished]
    if DRY_RUN.value:
        print(listing(runs, left, door))
        return 0
    if SLURM.value or GKE.value:
        write_for_cluster(sweep, left, door, cluster_options)
        return 0
    door.check_inputs(left)
    print(f"{len(left)} of {len(runs)} runs of {door.module} to do in {workdir}", flush=True)
    outcomes, signal_number = run_all(left, door, JOBS.value or 1)
    show_results(runs, door, workdir)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        print(f"{outcome.run.name}: {outcome.error}\n    {outcome.run.log}")
    if signal_number:
        print("stopped; the same command goes on")
        return 128 + signal_number
    return 1 if failed else 0


def write_for_cluster(
    sweep: SweepFile, runs: Sequence[SweepRun], door: Door, options: Sequence[str]
) -> None:
    if not runs:
        raise UserError("all runs are finished: there is nothing to write")
    path = Path(SLURM.value or GKE.value)
    if SLURM.value:
        text = slurm.slurm_script(
            path.name, sweep.name, runs, door, limit=JOBS.value, options=options
        )
        what = f"an array of {len(runs)} tasks: sbatch {path}"
    elif isinstance(door, Training):
        text = gke.job_sets(sweep.name, runs, door, options)
        what = f"{len(runs)} JobSets: kubectl apply --filename={path}"
    else:
        raise UserError("--gke is for sweeps over training: run samplers here or with --slurm")
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(what)


def listing(runs: Sequence[SweepRun], left: Sequence[SweepRun], door: Door) -> str:
    lines = [f"{len(left)} of {len(runs)} runs of {door.module} to do"]
    for run in runs:
        state = door.progress(run).text or "not started"
        lines += ["", f"{run.name}: {state}"]
        if run in left:
            commands = [door.command(run), *door.after(run)]
            lines += [f"    {shlex.join(command)}" for command in commands]
    return "\n".join(lines)


def run_all(
    runs: Sequence[SweepRun], door: Door, num_jobs: int
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

        return run_here(runs, door, num_jobs, on_poll, on_end)


def show_results(runs: Sequence[SweepRun], door: Door, workdir: Path) -> None:
    """Prints the table, and writes it and the plot, of whatever runs there are."""
    metric = METRIC.value or door.default_metric
    rows = report.make_rows(runs, door, PICK.value)
    print(report.table(rows, metric, PICK.value))
    workdir.mkdir(parents=True, exist_ok=True)
    report.write_csv(workdir / "results.csv", rows)
    print(workdir / "results.csv")
    plot = workdir / f"{metric.replace('/', '_')}.png"
    if write_plot(plot, rows, metric):
        print(plot)
    else:
        print(f"no plot: no run has recorded {metric}; recorded are {report.known_metrics(rows)}")


if __name__ == "__main__":
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    after_dashes = sys.argv[at + 1 :]
    del sys.argv[at:]
    run_door(lambda argv: main(after_dashes))
