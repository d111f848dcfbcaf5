"""The array script, run by stand-ins for SLURM's commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.sweeps.grid import product
from launch.sweeping.runs import SweepFile, plan
from launch.sweeping.slurm import slurm_script
from launch.sweeping.training import Training
from tests.launch.sweeping.toy import TRAINING, toy_runs
from tests.sedd_jax.toy import toy_config

# Prints the command that it would run on the nodes, and ends as it would.
SRUN = """#!/bin/bash
echo "srun: $*"
case "$*" in *"${AT:-}"*) exit "${CODE:-0}" ;; esac
"""
SCONTROL = '#!/bin/bash\necho "scontrol: $*"\nkill $PPID\n'
# With LATE the warning before the time limit comes while it is asked.
SQUEUE = '#!/bin/bash\n[ -z "${LATE:-}" ] || kill -TERM $PPID\necho "${STATE:-RUNNING}"\n'
LINTERS = Path(sys.executable).parent


@pytest.fixture
def task(tmp_path):
    """Runs a task of a script; returns (exit code, log)."""
    commands = tmp_path / "bin"
    commands.mkdir()
    stand_ins = {"srun": SRUN, "scontrol": SCONTROL, "squeue": SQUEUE, "sleep": "#!/bin/bash\n"}
    for name, text in stand_ins.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)

    def run_task(script: str, log, index: int, **variables: str) -> tuple[int, str]:
        ours = {"PATH": f"{commands}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(index)}
        ours |= {"SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "70"}
        done = subprocess.run(["bash", "-c", script], env=os.environ | ours | variables)
        return done.returncode, log.read_text() if log.exists() else ""

    return run_task


def script_of(runs, **kwargs) -> str:
    return slurm_script("sweep.sh", "toy_sweep", runs, TRAINING, **kwargs)


def test_a_task_runs_its_command_and_logs_into_its_folder(tmp_path, task):
    runs = toy_runs(tmp_path / "the runs", product({"seed": [0, 1]}))
    script = script_of(runs, limit=4, options=["--time=9:00"])
    assert "#SBATCH --array=0-1%4\n" in script and "#SBATCH --time=9:00\n" in script
    code, log = task(script, runs[1].log, 1)
    assert code == 0 and not runs[0].log.exists()
    assert log.startswith("srun: ")
    assert log.endswith(f"/launch/xla_flags.sh cpu {' '.join(TRAINING.line(runs[1]))}\n")
    whole = {"SLURM_NTASKS": "16", "SLURM_GPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "4"}
    code, log = task(script, runs[0].log, 0, **whole)
    assert log.startswith("srun: --cpus-per-task=4 --gpu-bind=none")
    assert "/launch/xla_flags.sh gpu " in log and log.endswith("--distributed\n")
    assert task(script, runs[0].log, 2)[0] == 1


@pytest.mark.parametrize("code, late", [("143", ""), ("137", ""), ("75", ""), ("143", "yes")])
def test_a_task_that_was_preempted_or_lost_goes_back_into_the_queue(tmp_path, task, code, late):
    [run] = runs = toy_runs(tmp_path, [{"seed": 0}])
    log = task(script_of(runs), run.log, 0, CODE=code, LATE=late)[1]
    assert "scontrol: requeue 70_0" in log


def test_a_task_that_was_preempted_in_what_follows_its_run_goes_back_too(tmp_path, task):
    class Measured(Training):
        def after(self, run):
            return [["measure", "it"]]

    [run] = runs = toy_runs(tmp_path, [{"seed": 0}])
    script = slurm_script("sweep.sh", "toy", runs, Measured(TRAINING.config_file, TRAINING.shared))
    log = task(script, run.log, 0, AT="measure it", CODE="143")[1]
    assert "measure it" in log and "scontrol: requeue 70_0" in log


@pytest.mark.parametrize(
    "variables, ends_with",
    [
        ({"CODE": "1"}, 1),
        ({"CODE": "143", "STATE": "COMPLETING"}, 143),  # cancelled
        ({"CODE": "143", "SLURM_RESTART_COUNT": "100"}, 1),
    ],
)
def test_a_task_that_is_mistaken_cancelled_or_tired_ends(tmp_path, task, variables, ends_with):
    [run] = runs = toy_runs(tmp_path, [{"seed": 0}])
    code, log = task(script_of(runs), run.log, 0, **variables)
    assert code == ends_with and "scontrol" not in log


def test_an_override_is_one_word_whatever_it_holds(tmp_path, task):
    path = "/data/it's $HOME `x`"
    sweep = SweepFile("toy_sweep.py", "train", [{"data.path": path}])
    runs = plan(toy_config(), {}, sweep, TRAINING, tmp_path)
    _, log = task(script_of(runs), runs[0].log, 0)
    assert f"--config.data.path={path} " in log


def test_shellcheck_finds_nothing(tmp_path):
    script = script_of(toy_runs(tmp_path, product({"seed": [0, 1]})))
    done = subprocess.run([LINTERS / "shellcheck", "-"], input=script, text=True, stdout=sys.stderr)
    assert done.returncode == 0
