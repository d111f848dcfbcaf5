r"""Trains on one or several TPU slices of a GKE cluster, as a JobSet.

    python -m launch.gke_jobset --name=small --topology=v5e:4x4 --num_slices=2 --image=IMAGE \
        --bucket=BUCKET --queue=LOCAL_QUEUE --config=configs/music_small.py \
        --tokens=/bucket/tokens --workdir=/bucket/runs/small [--dry_run] -- --config.seed=1

One Job a slice, one pod a host, all of them restarted together when one fails: after a preemption
(exit code 143, or the node gone) and after a crash, up to --max_restarts times. Exit codes of
mistakes end the JobSet at once: the Job's podFailurePolicy turns them into the failure reason
PodFailurePolicy, which the JobSet's failure policy answers with FailJobSet.

What follows `--` are arguments of sedd_jax.train. The cluster needs the JobSet controller and, with
--queue, Kueue; with --bucket, the gcsfuse CSI driver.
"""

from collections.abc import Sequence
from pathlib import Path

from launch.targets import gke, tpu_topology
from launch.targets.gke import Manifest, Target
from sedd_jax import config_arguments
from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.command import Parser, integer, run_command

PROJECT = Path(__file__).resolve().parent.parent
JAX_COORDINATOR_PORT = 8482  # where jax.distributed meets on TPU hosts
CONTAINER = "train"


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--topology", required=True, help="TPU version and shape of a slice, e.g. v5e:4x4."
    )
    parser.add_argument("--num_slices", type=integer(1), default=1, help="Slices of that shape.")
    parser.add_argument(
        "--chips_per_host", type=integer(1), help="Of the node pool's machines; usually known."
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="CONFIG",
        help="Config file in the image, e.g. configs/music_small.py, or its name.",
    )
    parser.add_argument(
        "--tokens",
        required=True,
        type=gke.mounted,
        metavar="TOKENS",
        help=f"Token dataset, below {gke.MOUNT}.",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        type=gke.mounted,
        metavar="RUN",
        help=f"Directory of the run, below {gke.MOUNT}.",
    )
    parser.add_argument(
        "--max_restarts", type=integer(0), default=100, help="Restarts of the whole JobSet."
    )
    gke.add_arguments(parser)
    return parser


def job_set(
    target: Target,
    tpu: tpu_topology.Slice,
    chips_per_host: int,
    command: Sequence[str],
    *,
    num_slices: int = 1,
    max_restarts: int = 100,
) -> Manifest:
    """The JobSet that runs `command` once on every host of the slices."""
    hosts = tpu.chips // chips_per_host
    chips = {"google.com/tpu": str(chips_per_host)}
    container = {
        "name": CONTAINER,
        "image": target.image,
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
    rules = [
        {"action": "Count", "onPodConditions": gke.DISRUPTED},
        {"action": "FailJob", "onExitCodes": errors},
    ]
    job = {
        "completionMode": "Indexed",
        "completions": hosts,
        "parallelism": hosts,
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": rules},
        "template": gke.pod_template(target, container, selector),
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
            target,
            # One Job a node pool, which is a slice.
            {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"},
        ),
        "spec": {
            "failurePolicy": {"maxRestarts": max_restarts, "rules": [user_error]},
            "replicatedJobs": [
                {"name": "slice", "replicas": num_slices, "template": {"spec": job}}
            ],
        },
    }


def train_command(config: str, tokens: str, workdir: str, more: Sequence[str] = ()) -> list[str]:
    """The command of every host; more: arguments of train.

    Raises UserError when the config is not one of the project's, which the image holds.
    """
    file, _ = config_arguments.find(config)
    if Path(config.partition(":")[0]).is_absolute() or not file.resolve().is_relative_to(PROJECT):
        raise UserError(f"--config={config}: no such file in {PROJECT}")
    for word in more:
        if not word.startswith("--"):
            raise UserError(f"unexpected argument {word!r}: arguments are written --name=value")
    return [
        *("bash", "launch/xla_flags.sh", "tpu", "python", "-m", "sedd_jax.train", "--distributed"),
        f"--config={config}",
        f"--tokens={tokens}",
        f"--workdir={workdir}",
        *more,
    ]


def chosen_slice(topology: str, chips_per_host: int | None) -> tuple[tpu_topology.Slice, int]:
    """The slice of a topology and its chips a host. Raises UserError."""
    try:
        tpu = tpu_topology.parse(topology)
    except ValueError as error:
        raise UserError(str(error)) from error
    chips = chips_per_host or tpu.chips_per_host
    if chips not in (1, 4, 8) or tpu.chips % chips:
        raise UserError(
            f"--chips_per_host={chips} does not fit --topology={topology} of {tpu.chips} chips: "
            "hosts have 1, 4 or 8"
        )
    return tpu, chips


def main(argv: Sequence[str] | None = None) -> int:
    own, more = gke.split_at_dashes(argv)
    arguments = make_parser().parse_args(own)
    target = gke.target(arguments)
    tpu, chips_per_host = chosen_slice(arguments.topology, arguments.chips_per_host)
    manifest = job_set(
        target,
        tpu,
        chips_per_host,
        train_command(arguments.config, arguments.tokens, arguments.workdir, more),
        num_slices=arguments.num_slices,
        max_restarts=arguments.max_restarts,
    )
    selector = f"jobset.sigs.k8s.io/jobset-name={target.name}"
    logs = f"kubectl --namespace={target.namespace} logs --follow --selector={selector}"
    return gke.submit(
        manifest,
        [f"log: {logs},jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0"],
        dry_run=arguments.dry_run,
    )


if __name__ == "__main__":
    run_command(main)
