r"""Trains on one or several TPU slices of a GKE cluster, as a JobSet.

    python -m launch.gke_jobset --name=small --topology=v5e:4x4 --num_slices=2 --image=IMAGE \
        --bucket=BUCKET --queue=LOCAL_QUEUE --config=configs/music_small.py \
        --data=/bucket/tokens --workdir=/bucket/runs/small [--dry_run] -- --config.seed=1

One Job a slice, one pod a host, all of them restarted together when one fails: after a preemption
(exit code 143, or the node gone) and after a crash, up to --max_restarts times. Exit codes of
mistakes end the JobSet at once: the Job's podFailurePolicy turns them into the failure reason
PodFailurePolicy, which the JobSet's failure policy answers with FailJobSet.

What follows `--` are flags of sedd_jax.train. The cluster needs the JobSet controller and, with
--queue, Kueue; with --bucket, the gcsfuse CSI driver.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from launch.targets import gke, tpu_topology
from launch.targets.gke import FLAGS, Manifest
from sedd_jax.errors import UserError

flags.adopt_module_key_flags(gke)
flags.DEFINE_string("topology", None, "TPU version and shape of a slice, e.g. v5e:4x4.")
flags.DEFINE_integer("num_slices", 1, "Slices of that shape.", lower_bound=1)
flags.DEFINE_integer("chips_per_host", None, "Of the node pool's machines; usually known.")
flags.DEFINE_string("config", None, "Config file in the image, e.g. configs/music_small.py.")
flags.DEFINE_string("data", None, "Token dataset, below /bucket.")
flags.DEFINE_string("workdir", None, "Directory of the run, below /bucket.")
flags.DEFINE_integer("max_restarts", 100, "Of the whole JobSet.", lower_bound=0)

PROJECT = Path(__file__).resolve().parent.parent
JAX_COORDINATOR_PORT = 8482  # where jax.distributed meets on TPU hosts
CONTAINER = "train"


def job_set(tpu: tpu_topology.Slice, chips_per_host: int, command: Sequence[str]) -> Manifest:
    """The JobSet that runs `command` once on every host of --num_slices slices."""
    hosts = tpu.chips // chips_per_host
    chips = {"google.com/tpu": str(chips_per_host)}
    container = {
        "name": CONTAINER,
        "image": FLAGS.image,
        "command": [gke.literal(word) for word in command],
        "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}],
        "ports": [{"containerPort": JAX_COORDINATOR_PORT}],
        "resources": {"requests": dict(chips), "limits": dict(chips)},
        # libtpu pins host memory beyond an unprivileged container's limit.
        "securityContext": {"capabilities": {"add": ["SYS_RESOURCE"]}},
    }
    selector = {
        "cloud.google.com/gke-tpu-accelerator": tpu.generation.gke_accelerator,
        "cloud.google.com/gke-tpu-topology": tpu.topology,
    }
    errors = {"containerName": CONTAINER, "operator": "In", "values": gke.EXIT_CODES_OF_ERRORS}
    job = {
        "completionMode": "Indexed",
        "completions": hosts,
        "parallelism": hosts,
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": errors}]},
        "template": gke.pod_template(container, selector),
    }
    user_error = {
        "name": "userError",
        "action": "FailJobSet",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": gke.metadata(
            # One Job a node pool, which is a slice.
            {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
        ),
        "spec": {
            "failurePolicy": {"maxRestarts": FLAGS.max_restarts, "rules": [user_error]},
            "replicatedJobs": [
                {"name": "slice", "replicas": FLAGS.num_slices, "template": {"spec": job}}
            ],
        },
    }


def train_command(more: Sequence[str]) -> list[str]:
    """The command of every host. Raises UserError on flags that are missing or make no sense."""
    config = gke.require("config", "a config file, e.g. configs/music_small.py")
    file = config.partition(":")[0]  # what follows is an argument of its get_config()
    if Path(file).is_absolute() or not (PROJECT / file).is_file():
        raise UserError(f"--config={config}: no such file in {PROJECT}")
    for word in more:
        if not word.startswith("--"):
            raise UserError(f"unexpected argument {word!r}: flags are written --name=value")
    return [
        *("bash", "launch/xla_flags.sh", "tpu", "python", "-m", "sedd_jax.train", "--distributed"),
        f"--config={config}",
        f"--config.data.path={gke.require_mounted('data', 'a token dataset')}",
        f"--workdir={gke.require_mounted('workdir', 'the directory of the run')}",
        *more,
    ]


def chosen_slice() -> tuple[tpu_topology.Slice, int]:
    """The slice of --topology and the chips a host. Raises UserError."""
    try:
        tpu = tpu_topology.parse(gke.require("topology", "e.g. v5e:4x4"))
    except ValueError as error:
        raise UserError(str(error)) from error
    chips = FLAGS.chips_per_host or tpu.chips_per_host
    if chips not in (1, 4, 8) or tpu.chips % chips:
        raise UserError(
            f"--chips_per_host={chips} does not fit --topology={FLAGS.topology} of {tpu.chips} "
            "chips: hosts have 1, 4 or 8"
        )
    return tpu, chips


def main(more: list[str]) -> int:
    gke.check_common()
    tpu, chips_per_host = chosen_slice()
    manifest = job_set(tpu, chips_per_host, train_command(more))
    selector = f"jobset.sigs.k8s.io/jobset-name={FLAGS.name}"
    logs = f"kubectl --namespace={FLAGS.namespace} logs --follow --selector={selector}"
    return gke.submit(
        manifest,
        [f"log: {logs},jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0"],
    )


if __name__ == "__main__":
    gke.run_launcher(main)
