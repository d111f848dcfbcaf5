r"""Encodes a large collection of audio files in a GKE cluster, as an Indexed Job.

    python -m launch.gke_encode --name=encode --num_shards=64 --image=IMAGE --bucket=BUCKET \
        --audio=/bucket/audio --output=/bucket/tokens --codec=demo [--dry_run] -- --batch_size=8

Pod i runs `python -m tokenizer_bridge.encode --shard=i/64`; the last to finish writes dataset.json.
A pod whose node is taken away starts again elsewhere and goes on where it stopped; an error of the
user's fails its shard at once, a crash after 5 tries. What follows `--` are arguments of encode.
The same command, once more, makes up for shards that failed (delete the old Job first).
"""

from collections.abc import Sequence

from launch.targets import gke
from launch.targets.gke import Manifest, Target
from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.command import Parser, integer, run_command

CONTAINER = "encode"


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--num_shards",
        required=True,
        type=integer(1),
        metavar="N",
        help="Into how many parts the work is cut.",
    )
    parser.add_argument("--parallelism", type=integer(1), help="Pods at a time; all by default.")
    parser.add_argument(
        "--audio",
        required=True,
        type=gke.mounted,
        metavar="MUSIC",
        help=f"Folder of audio files, below {gke.MOUNT}.",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=gke.mounted,
        metavar="TOKENS",
        help=f"Directory of the token dataset, below {gke.MOUNT}.",
    )
    parser.add_argument("--codec", required=True, help="demo, or a published codec.")
    parser.add_argument("--cpus", type=integer(1), default=4, help="Cores a pod.")
    parser.add_argument("--memory_gib", type=integer(1), default=8, help="Memory a pod.")
    parser.add_argument("--gpu", help="GKE's name of a GPU, e.g. nvidia-l4: one a pod.")
    gke.add_arguments(parser)
    return parser


def encode_job(
    target: Target,
    command: Sequence[str],
    *,
    num_shards: int,
    parallelism: int | None = None,
    cpus: int = 4,
    memory_gib: int = 8,
    gpu: str | None = None,
) -> Manifest:
    """The Job that runs `command --shard=i/num_shards` in pod i."""
    amounts = {"cpu": str(cpus), "memory": f"{memory_gib}Gi"}
    selector = {}
    if gpu:
        amounts["nvidia.com/gpu"] = "1"
        selector["cloud.google.com/gke-accelerator"] = gpu
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    container = {
        "name": CONTAINER,
        "image": target.image,
        "command": [
            *(gke.literal(word) for word in command),
            f"--shard=$(SHARD)/{num_shards}",
        ],
        "env": [
            {"name": "SHARD", "valueFrom": {"fieldRef": {"fieldPath": index}}},
            {"name": "OMP_NUM_THREADS", "value": str(cpus)},
            {"name": "PYTHONUNBUFFERED", "value": "1"},
        ],
        "resources": {"requests": dict(amounts), "limits": dict(amounts)},
    }
    errors = {"containerName": CONTAINER, "operator": "In", "values": gke.EXIT_CODES_OF_ERRORS}
    rules = [
        {"action": "Ignore", "onPodConditions": gke.DISRUPTED},
        {"action": "FailIndex", "onExitCodes": errors},
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": gke.metadata(target),
        "spec": {
            "completionMode": "Indexed",
            "completions": num_shards,
            "parallelism": min(parallelism or num_shards, num_shards),
            "backoffLimitPerIndex": 5,
            "podFailurePolicy": {"rules": rules},
            "template": gke.pod_template(target, container, selector),
        },
    }


def encode_command(
    audio: str, output: str, codec: str, *, gpu: str | None = None, more: Sequence[str] = ()
) -> list[str]:
    """The command of every pod but for its shard; more: arguments of encode. Raises UserError."""
    for word in more:
        if not word.startswith("--") or word.startswith("--shard"):
            raise UserError(f"unexpected argument {word!r}: arguments of encode, but for --shard")
    return [
        *("python", "-m", "tokenizer_bridge.encode"),
        f"--audio={audio}",
        f"--output={output}",
        f"--codec={codec}",
        f"--device={'cuda' if gpu else 'cpu'}",
        *more,
    ]


def main(argv: Sequence[str] | None = None) -> int:
    own, more = gke.split_at_dashes(argv)
    arguments = make_parser().parse_args(own)
    target = gke.target(arguments)
    manifest = encode_job(
        target,
        encode_command(
            arguments.audio, arguments.output, arguments.codec, gpu=arguments.gpu, more=more
        ),
        num_shards=arguments.num_shards,
        parallelism=arguments.parallelism,
        cpus=arguments.cpus,
        memory_gib=arguments.memory_gib,
        gpu=arguments.gpu,
    )
    job = f"kubectl --namespace={target.namespace}"
    return gke.submit(
        manifest,
        [f"progress: {job} get job/{target.name}", f"log: {job} logs --follow job/{target.name}"],
        dry_run=arguments.dry_run,
    )


if __name__ == "__main__":
    run_command(main)
