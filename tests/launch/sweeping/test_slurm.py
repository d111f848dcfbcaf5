"""The array script, run by stand-ins for SLURM's commands."""

import os
import shutil
import subprocess
import sys

import pytest

from configs.sweeps.grid import product
from launch.sweeping.runs import SweepFile, plan
from launch.sweeping.slurm import slurm_script
from tests.launch.sweeping.toy import DOOR, toy_runs
from tests.sedd_jax.toy import toy_config

# Prints the command that it would run on the nodes, and ends as it would.
SRUN = '#!/bin/bash\necho "srun: $*"\nexit "${CODE:-0}"\n'
SCONTROL = '#!/bin/bash\necho "scontrol: $*"\nkill $PPID\n'


@pytest.fixture
def task(tmp_path):
    """Runs a task of a script; returns (exit code, log)."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("sleep", "#!/bin/bash\n")):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)

    def run_task(script: str, log, index: int, **variables: str) -> tuple[int, str]:
        ours = {"PATH": f"{commands}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(index)}
        done = subprocess.run(
            ["bash", "-c", script], env=os.environ | ours | {"SLURM_JOB_ID": "77"} | variables
        )
        return done.returncode, log.read_text() if log.exists() else ""

    return run_task


def script_of(runs, **kwargs) -> str:
    return slurm_script("sweep.sh", "toy_sweep", runs, DOOR, **kwargs)


def test_a_task_runs_its_command_and_logs_into_its_folder(tmp_path, task):
    runs = toy_runs(tmp_path / "the runs", product({"seed": [0, 1]}))
    script = script_of(runs, limit=4, options=["--time=9:00"])
    assert "#SBATCH --array=0-1%4\n" in script and "#SBATCH --time=9:00\n" in script
    code, log = task(script, runs[1].log, 1)
    assert code == 0 and not runs[0].log.exists()
    assert log.startswith("srun: ")
    assert log.endswith(f"/launch/xla_flags.sh cpu {' '.join(DOOR.command(runs[1]))}\n")
    code, log = task(script, runs[0].log, 0, SLURM_NTASKS="16", SLURM_GPUS_ON_NODE="8")
    assert "/launch/xla_flags.sh gpu " in log and log.endswith("--distributed\n")
    assert task(script, runs[0].log, 2)[0] == 1


def test_a_preempted_task_goes_back_into_the_queue_and_a_mistake_ends_it(tmp_path, task):
    [run] = runs = toy_runs(tmp_path, [{"seed": 0}])
    script = script_of(runs)
    assert "scontrol: requeue 77" in task(script, run.log, 0, CODE="143")[1]
    run.log.unlink()
    code, log = task(script, run.log, 0, CODE="1")
    assert code == 1 and "scontrol" not in log
    run.log.unlink()
    code, log = task(script, run.log, 0, CODE="143", SLURM_RESTART_COUNT="100")
    assert code == 143 and "scontrol" not in log


def test_an_override_is_one_word_whatever_it_holds(tmp_path, task):
    path = "/data/it's $HOME `x`"
    sweep = SweepFile("toy_sweep.py", "train", [{"data.path": path}])
    runs = plan(toy_config(), {}, sweep, DOOR, tmp_path)
    _, log = task(script_of(runs), runs[0].log, 0)
    assert f"--config.data.path={path} " in log


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(tmp_path):
    script = script_of(toy_runs(tmp_path, product({"seed": [0, 1]})))
    done = subprocess.run(["shellcheck", "-"], input=script, text=True, stdout=sys.stderr)
    assert done.returncode == 0
