"""Runs of a sweep as tasks of a SLURM array."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from launch.sweeping.runs import Command, SweepRun

LAUNCH = Path(__file__).resolve().parents[1]

_SCRIPT = """\
#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}{limit}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
{options}#
# One task a run; what a run prints is in {log} of its folder. What else your cluster needs:
#     sbatch --gpus-per-node=8 --time=24:00:00 {file}
# With several processes (--nodes, --ntasks-per-node) the run is distributed over them.
# Before the time limit, and when it is preempted, a run saves and ends with 143 = 128 + SIGTERM;
# the task then goes back into the queue, as after a crash or the loss of a process (75). Other exit
# codes end it.
set -euo pipefail
# shellcheck source=/dev/null
source {slurm_lib}
cd {directory}

platform=cpu
if [ -n "${{SLURM_GPUS_ON_NODE:-}}" ]; then platform=gpu; fi
distributed=()
if [ "${{SLURM_NTASKS:-1}}" -gt 1 ]; then distributed=(--distributed); fi

# The command of a run, on all processes of the task, each of which sees all GPUs of its node.
on_all() {{
  step --gpu-bind=none --wait=300 bash {xla_flags} "$platform" "$@" "${{distributed[@]}}"
}}

# What follows it, on one.
on_one() {{
  step --nodes=1 --ntasks=1 "$@"
}}

step() {{
  local code=0
  # srun does not take over sbatch's number of CPUs (from SLURM 22.05 on).
  srun ${{SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"}} "$@" || code=$?
  if [ "$code" -ne 0 ]; then end_job "$code"; fi
}}

case $SLURM_ARRAY_TASK_ID in
{cases}
  *)
    echo "error: the sweep has no run $SLURM_ARRAY_TASK_ID" >&2
    exit 1
    ;;
esac
"""


def slurm_script(
    file: str,
    name: str,
    runs: Sequence[SweepRun],
    command: Command,
    *,
    limit: int | None = None,
    options: Sequence[str] = (),
) -> str:
    """The text of an array script with a task for each run.

    file: what it will be called; limit: of tasks at a time; options: more of sbatch's.
    """
    return _SCRIPT.format(
        name=name,
        last=len(runs) - 1,
        limit=f"%{limit}" if limit else "",
        options="".join(f"#SBATCH {option}\n" for option in options),
        log=runs[0].log.name,
        file=file,
        directory=shlex.quote(str(Path.cwd())),  # relative paths are given from here
        slurm_lib=shlex.quote(str(LAUNCH / "slurm_lib.sh")),
        xla_flags=shlex.quote(str(LAUNCH / "xla_flags.sh")),
        cases="\n".join(_case(index, run, command) for index, run in enumerate(runs)),
    )


def _case(index: int, run: SweepRun, command: Command) -> str:
    lines = [
        f"  {index})",
        f"    mkdir -p {shlex.quote(str(run.directory))}",
        f"    exec >> {shlex.quote(str(run.log))} 2>&1",
        f"    on_all {shlex.join(command.line(run))}",
        *(f"    on_one {shlex.join(line)}" for line in command.after(run)),
        "    ;;",
    ]
    return "\n".join(lines)
