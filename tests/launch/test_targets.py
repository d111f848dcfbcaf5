"""The launchers' files and what they print: lint, dry runs, manifests, refusals."""

import copy
import os
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.launch import manifests

PROJECT = Path(__file__).resolve().parents[2]
LINTERS = Path(sys.executable).parent
AWKWARD = '/bucket/it\'s "my" $(touch x) ${HOME} `id`; *'
TRAIN = {
    "config": "configs/music_small.py",
    "tokens": "/bucket/tokens",
    "workdir": "/bucket/runs/first",
}
ENCODE = {"num_shards": "64", "audio": "/bucket/audio", "output": "/bucket/tokens", "codec": "demo"}
CLUSTER = {"name": "mine", "image": "registry/sedd:1", "bucket": "some-bucket"}
TARGETS = {
    "tpu_vm": (
        ["bash", "launch/tpu_vm.sh"],
        {"name": "mine", "zone": "us-west4-a", "topology": "v5e:4x4", **TRAIN},
    ),
    "gke_jobset": (
        [sys.executable, "-m", "launch.gke_jobset"],
        {"topology": "v5e:4x4", "num_slices": "2", "queue": "team", **CLUSTER, **TRAIN},
    ),
    "gke_encode": ([sys.executable, "-m", "launch.gke_encode"], {**CLUSTER, **ENCODE}),
    "slurm_train": (
        ["bash", "launch/slurm_train.sh"],
        {"nodes": "2", "gpus_per_node": "4", "time": "1:00:00", **TRAIN},
    ),
    "slurm_encode": (["bash", "launch/slurm_encode.sh"], {"parallel": "8", **ENCODE}),
}


def launch(target: str, *more: str, **changed: str | None) -> subprocess.CompletedProcess:
    """A dry run of the target's example with some flags changed, or left out (None)."""
    program, flags = TARGETS[target]
    words = [f"--{k}={v}" for k, v in {**flags, **changed}.items() if v is not None]
    return subprocess.run(
        [*program, *words, "--dry_run", *more],
        cwd=PROJECT,
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
    )


def commands(target: str, *more: str, **changed: str | None) -> list[list[str]]:
    """The commands that a dry run prints, as a shell reads them."""
    done = launch(target, *more, **changed)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines() if not line.startswith("#")]


def manifest(target: str, *more: str, **changed: str | None) -> dict:
    done = launch(target, *more, **changed)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def started_on_workers(printed: list[list[str]]) -> list[str]:
    """The training command, as the shell of a TPU worker reads it."""
    remote = [word[10:] for line in printed for word in line if word.startswith("--command=")]
    [start] = [words for words in map(shlex.split, remote) if words[2:3] == ["start"]]
    return start[4:]


def test_shell_scripts_are_clean():
    scripts = [*sorted(PROJECT.glob("launch/*.sh")), PROJECT / ".ci" / "run"]
    command = [LINTERS / "shellcheck", "--external-sources", *scripts]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_dockerfile_is_clean():
    command = [LINTERS / "hadolint", PROJECT / "launch" / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_tpu_vm_makes_syncs_installs_starts_and_follows():
    printed = commands("tpu_vm", "--create", "--spot", bucket="some-bucket")
    create = printed[0]
    assert create[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "create", "mine"]
    assert {"--accelerator-type=v5litepod-16", "--version=v2-alpha-tpuv5-lite", "--spot"} < {
        *create
    }
    steps = ["create", "describe", "scp", "ssh"]
    order = [next(i for i, line in enumerate(printed) if step in line) for step in steps]
    assert order == sorted(order)
    # A machine that has gone does not keep the launcher waiting.
    for line in printed:
        if line[4] in ("scp", "ssh"):
            assert f"--{line[4]}-flag=-oServerAliveInterval=15" in line
    assert started_on_workers(printed) == [
        *("bash", "launch/xla_flags.sh", "tpu", ".venv/bin/python", "-m", "sedd_jax.train"),
        *("--distributed", "--config=configs/music_small.py"),
        *("--tokens=/bucket/tokens", "--workdir=/bucket/runs/first"),
    ]


def test_tpu_vm_passes_over_a_python_that_is_too_old(tmp_path, monkeypatch):
    names = ("python3", "python3.11", "python")
    for name in names:
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("PYTHON", raising=False)
    done = launch("tpu_vm")
    assert done.returncode == 1
    assert done.stderr.startswith("error: Python 3.8 or newer is needed; name it with PYTHON=")
    (tmp_path / "python3.11").unlink()
    (tmp_path / "python3.11").symlink_to(sys.executable)
    assert commands("tpu_vm")
    (tmp_path / "python3.11").unlink()
    (tmp_path / "python3.11").touch()  # found, but no program
    monkeypatch.setenv("PYTHON", sys.executable)
    assert commands("tpu_vm")


def test_tpu_vm_reaches_all_workers_of_all_slices():
    printed = commands("tpu_vm", "--create", "--queued", topology="v5p:4x4x4", num_slices="2")
    create = printed[0]
    assert create[3:5] == ["queued-resources", "create"]
    assert {"--accelerator-type=v5p-128", "--node-count=2", "--node-prefix=mine"} < {*create}
    starts = [line for line in printed if any(" start " in word for word in line)]
    assert [line[5] for line in starts] == ["mine-0", "mine-1"]
    assert all("--worker=all" in line for line in starts)


def test_slurm_train_starts_a_process_a_gpu():
    make_directory, sbatch, srun = commands("slurm_train")
    assert make_directory == ["mkdir", "-p", "/bucket/runs/first/logs"]
    assert {"--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--signal=B:TERM@120"} < {
        *sbatch
    }
    assert "--requeue" in sbatch and "--dry_run" not in sbatch
    assert sbatch[sbatch.index("job") - 1] == str(PROJECT / "launch" / "slurm_train.sh")
    assert srun[0] == "srun" and srun[srun.index("bash") :][:3] == [
        "bash",
        "launch/xla_flags.sh",
        "gpu",
    ]


def test_slurm_train_with_a_process_a_node_shows_it_all_gpus():
    *_, srun = commands("slurm_train", processes_per_node="1")
    assert srun[:2] == ["env", "JAX_LOCAL_DEVICE_IDS=0,1,2,3"]


def test_slurm_takes_a_tilde_for_the_users_home(monkeypatch):
    monkeypatch.setenv("HOME", "/shared/my home")
    make_directory, _, srun = commands("slurm_train", workdir="~/run", tokens="~")
    assert make_directory[-1] == "/shared/my home/run/logs"
    assert {"--tokens=/shared/my home", "--workdir=/shared/my home/run"} < {*srun}
    *_, encode = commands("slurm_encode", audio="~/a", output="~/t", python="~/py")
    assert {"--audio=/shared/my home/a", "--output=/shared/my home/t"} < {*encode}
    assert "/shared/my home/py" in encode


def test_slurm_encode_is_an_array_over_shards():
    _, sbatch, encode = commands("slurm_encode", "--gpu")
    assert {"--array=0-63%8", "--gpus=1"} < {*sbatch}
    assert encode[-1] == "--shard=i/64" and "--device=cuda" in encode
    assert encode[:2] == ["srun", "env"]
    _, sbatch, encode = commands("slurm_encode", cpus_per_task="8")
    assert "--cpus-per-task=8" in sbatch and encode[:2] == ["srun", "--cpus-per-task=8"]


def test_job_set_is_valid_and_has_a_job_a_slice():
    found = manifest("gke_jobset", "--spot", topology="v5p:4x4x4", num_slices="3")
    manifests.check(found)
    assert found["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}
    [replicated] = found["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    assert replicated["replicas"] == 3
    assert job["completions"] == job["parallelism"] == 16
    assert job["completionMode"] == "Indexed"
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
        "cloud.google.com/gke-tpu-topology": "4x4x4",
        "cloud.google.com/gke-spot": "true",
    }
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": "4"}


def test_job_set_restarts_all_but_errors_of_the_user():
    spec = manifest("gke_jobset", max_restarts="7")["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    [disrupted, rule] = job["podFailurePolicy"]["rules"]
    assert disrupted["action"] == "Count" and "onPodConditions" in disrupted
    assert rule["action"] == "FailJob" and job["backoffLimit"] == 0
    assert 1 in rule["onExitCodes"]["values"] and 143 not in rule["onExitCodes"]["values"]
    assert spec["failurePolicy"]["maxRestarts"] == 7
    [answer] = spec["failurePolicy"]["rules"]
    assert answer["action"] == "FailJobSet"
    assert answer["onJobFailureReasons"] == ["PodFailurePolicy"]


@pytest.mark.parametrize("options", [{}, {"gpu": "nvidia-l4"}, {"bucket": None, "pvc": "claim"}])
def test_encode_job_is_valid_and_gives_each_pod_its_shard(options):
    found = manifest("gke_encode", parallelism="8", **options)
    manifests.check(found)
    spec = found["spec"]
    assert (spec["completions"], spec["parallelism"]) == (64, 8)
    container = spec["template"]["spec"]["containers"][0]
    assert container["command"][-1] == "--shard=$(SHARD)/64"
    assert container["env"][0]["name"] == "SHARD"
    shared = spec["template"]["spec"]["volumes"][0]
    assert ("csi" in shared) == ("bucket" not in options)


def test_a_shard_whose_node_is_taken_away_is_not_given_up_whatever_its_exit_code():
    rules = manifest("gke_encode")["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailIndex"]


@pytest.mark.parametrize(("target", "kind"), [("gke_jobset", "jobset"), ("gke_encode", "job")])
def test_how_a_job_that_has_ended_is_run_again_is_told(target, kind, tmp_path, monkeypatch):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho unchanged\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program, flags = TARGETS[target]
    command = [*program, *(f"--{key}={value}" for key, value in flags.items())]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "unchanged\n")
    again = f"to run it again: kubectl --namespace=default delete {kind}/mine\n"
    assert done.stderr.endswith(again)


def broken(found: dict, path: str, value: object) -> dict:
    """A manifest with the value at a dotted path replaced."""
    found = copy.deepcopy(found)
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    place = found
    for key in parents:
        place = place[key]
    place[last] = value
    return found


JOB = "spec.replicatedJobs.0.template.spec"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.failurePolicy.rules.0.action", "Fail"),
        ("spec.failurePolicy.maxRestart", 3),
        (f"{JOB}.completionModes", "Indexed"),
        (f"{JOB}.template.spec.containers.0.resources.limits", ["google.com/tpu"]),
        (f"{JOB}.podFailurePolicy.rules.1.onExitCodes.values", ["1"]),
    ],
)
def test_the_manifest_check_finds_mistakes(path, value):
    good = manifest("gke_jobset")
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        manifests.check(broken(good, path, value))


def test_awkward_values_arrive_whole():
    wanted = f"--tokens={AWKWARD}"
    assert wanted in started_on_workers(commands("tpu_vm", tokens=AWKWARD))
    *_, sbatch, srun = commands("slurm_train", tokens=AWKWARD)
    assert wanted in sbatch and wanted in srun
    assert f"--audio={AWKWARD}" in commands("slurm_encode", audio=AWKWARD)[-1]
    # Kubernetes replaces $(NAME) and reads $$ as $.
    for target, flag, name in [
        ("gke_jobset", "tokens", "tokens"),
        ("gke_encode", "audio", "audio"),
    ]:
        found = manifest(target, **{flag: AWKWARD})
        spec = found["spec"]
        if target == "gke_jobset":
            spec = spec["replicatedJobs"][0]["template"]["spec"]
        command = spec["template"]["spec"]["containers"][0]["command"]
        assert f"--{name}={AWKWARD.replace('$(', '$$(')}" in command


def test_flags_after_two_dashes_go_to_the_program():
    more = ["--", "--config.training.batch_size=256"]
    assert more[1] in started_on_workers(commands("tpu_vm", *more))
    assert more[1] in commands("slurm_train", *more)[-1]
    job = manifest("gke_jobset", *more)["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert more[1] in job["template"]["spec"]["containers"][0]["command"]


REFUSALS = [
    *((target, {"config": None}, "--config") for target in ("tpu_vm", "gke_jobset", "slurm_train")),
    *(
        (target, {"config": "configs/none.py"}, "no such file")
        for target in ("tpu_vm", "gke_jobset", "slurm_train")
    ),
    *((t, {"topology": "v5e:3x5"}, "v5e slices come as") for t in ("tpu_vm", "gke_jobset")),
    *((t, {"topology": "v9:4x4"}, "v5e:4x4") for t in ("tpu_vm", "gke_jobset")),
    *((t, {"name": "My TPU"}, "small letters") for t in ("tpu_vm", "gke_jobset", "gke_encode")),
    *((target, {"nonsense": "1"}, "nonsense") for target in TARGETS),
    ("tpu_vm", {"zone": None}, "--zone"),
    ("tpu_vm", {"zone": "x;reboot"}, "--zone"),
    ("tpu_vm", {"num_slices": "2"}, "--queued"),
    ("tpu_vm", {"workdir": "runs/a"}, "absolute"),
    ("tpu_vm", {"bucket": "gs://b"}, "without gs://"),
    ("gke_jobset", {"chips_per_host": "8", "topology": "v5e:2x2"}, "--chips_per_host=8"),
    ("gke_jobset", {"num_slices": "0"}, "num_slices"),
    ("gke_jobset", {"image": None}, "--image"),
    ("gke_jobset", {"bucket": None}, "--pvc"),
    ("gke_jobset", {"tokens": "/data/tokens"}, "below /bucket"),
    ("gke_jobset", {"tokens": "/bucket/../etc"}, "below /bucket"),
    ("gke_encode", {"num_shards": None}, "--num_shards"),
    ("slurm_train", {"processes_per_node": "3"}, "4 or 1"),
    ("slurm_train", {"nodes": "two"}, "--nodes"),
    ("slurm_train", {"workdir": "/runs/50%"}, "--workdir"),
    ("slurm_train", {"time": "soon"}, "--time"),
    ("slurm_encode", {"num_shards": "0"}, "--num_shards"),
    ("slurm_encode", {"output": "tokens"}, "absolute"),
]


@pytest.mark.parametrize(("target", "changed", "said"), REFUSALS)
def test_refusals_are_one_line(target, changed, said):
    done = launch(target, **changed)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_words_that_are_no_flags_are_refused(target):
    for more in (["word"], ["--", "word"]):
        done = launch(target, *more)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "word" in done.stderr
