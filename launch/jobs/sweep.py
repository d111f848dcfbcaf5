"""A sweep: its runs are listed, done here, written as jobs of a cluster, or reported."""

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
from sedd_jax import config_arguments
from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file


def make_command(sweep: SweepFile, chosen: config_arguments.Chosen) -> Command:
    if sweep.command == "train":
        return Training(chosen.source, chosen.overrides)
    if sweep.command == "sample":
        return Sampling()
    raise UserError(f"the sweep's COMMAND is {sweep.command!r}; it can be train, sample")


def sweep(
    chosen: config_arguments.Chosen,
    workdir: str,
    *,
    jobs: int | None = None,
    dry_run: bool = False,
    slurm_file: str | None = None,
    gke_file: str | None = None,
    only_report: bool = False,
    metric: str | None = None,
    pick: str = "last",
    cluster_options: Sequence[str] = (),
) -> int:
    """Does the runs of a sweep that are left, unless asked for something else.

    chosen: the sweep's file and what is overridden of it; workdir: of all runs; jobs: runs at a
    time; slurm_file, gke_file: where to write them as jobs of a cluster instead, with options of
    it; metric, pick: what is compared in the report. Returns the exit code. Raises UserError.
    """
    # This process only looks at files; accelerators are for the runs.
    jax.config.update("jax_platforms", "cpu")
    file = read_sweep(chosen.source)
    command = make_command(file, chosen)
    directory = Path(workdir).absolute()
    runs = plan(chosen.config, chosen.overrides, file, command, directory)
    metric = metric or command.default_metric
    if only_report:
        show_results(runs, command, directory, metric, pick)
        return 0
    left = [run for run in runs if not command.progress(run).is_finished]
    if dry_run:
        print(listing(runs, left, command))
        return 0
    if (slurm_file or gke_file) and not left:
        raise UserError("all runs are finished: there is nothing to write")
    if slurm_file:
        path = Path(slurm_file)
        write_slurm(path, file, left, command, limit=jobs, options=cluster_options)
        return 0
    if gke_file:
        write_gke(Path(gke_file), file, left, command, cluster_options)
        return 0
    command.check_inputs(left)
    print(f"{len(left)} of {len(runs)} runs of {command.module} to do in {directory}", flush=True)
    outcomes, signal_number = run_all(left, command, jobs or 1)
    show_results(runs, command, directory, metric, pick)
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
    # Drawn by the clock alone, since what a run says changes between its beginning and its end.
    bar = tqdm(
        total=len(runs), unit="run", dynamic_ncols=True, mininterval=seldom, miniters=0,
        smoothing=0, disable=not runs,
    )  # fmt: skip
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
    report.write_json(workdir / "results.json", rows)
    print(workdir / "results.csv")
    print(workdir / "results.json")
    plot = workdir / f"{metric.replace('/', '_')}.png"
    if write_plot(plot, rows, metric):
        print(plot)
    else:
        print(f"no plot: no run has recorded {metric}; recorded are {report.known_metrics(rows)}")
