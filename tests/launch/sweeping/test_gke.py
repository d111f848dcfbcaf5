"""JobSets of a sweep, written by the launcher itself."""

from pathlib import Path

import pytest
import yaml

from configs.sweeps.grid import product
from launch.sweeping.gke import MAX_NAME, job_name, job_sets
from launch.sweeping.runs import SweepFile, plan
from launch.sweeping.training import Training
from sedd_jax.errors import UserError
from tests.launch.manifests import check
from tests.sedd_jax.toy import toy_config

CLUSTER = ["--topology=v5e:4x4", "--image=eu.gcr.io/p/sedd:1", "--bucket=music", "--queue=tpus"]
FILE = "configs/sweeps/learning_rate.py:quickstart"


def manifests(workdir, options=CLUSTER) -> list[dict]:
    training = Training(FILE, {"data.path": "/bucket/tokens", "training.num_steps": 7})
    sweep = SweepFile(FILE, "train", list(product({"optim.learning_rate": [1e-3, 1e-2]})))
    runs = plan(toy_config(data__path="/bucket/tokens"), (), sweep, training, workdir)
    return list(yaml.safe_load_all(job_sets(sweep.name, runs, training, options)))


def test_every_run_is_a_valid_job_set_of_its_own():
    found = manifests(Path("/bucket/sweep"))
    for manifest, rate in zip(found, ("0.001", "0.01"), strict=True):
        check(manifest)
        assert manifest["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "tpus"}
        [job] = manifest["spec"]["replicatedJobs"]
        command = job["template"]["spec"]["template"]["spec"]["containers"][0]["command"]
        at = command.index("sedd_jax.train")
        assert command[at:] == [
            "sedd_jax.train",
            "--distributed",
            f"--config={FILE}",
            "--tokens=/bucket/tokens",
            f"--workdir=/bucket/sweep/optim.learning_rate={rate}",
            "--config.training.num_steps=7",
            f"--config.optim.learning_rate={rate}",
        ]
    assert found[0]["metadata"]["name"] != found[1]["metadata"]["name"]


def test_what_the_launcher_refuses_is_refused(tmp_path):
    with pytest.raises(UserError, match="must lie below /bucket"):
        manifests(tmp_path)


def test_names_in_the_cluster_are_short_and_belong_to_a_run():
    name = job_name("Learning_Rate" * 9, "seed=1")
    assert len(name) <= MAX_NAME and name.startswith("sweep-learning-rate")
    assert name == job_name("Learning_Rate" * 9, "seed=1") != job_name("", "seed=2")
