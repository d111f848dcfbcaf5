r"""Encodes a large collection of audio files in a GKE cluster, as an Indexed Job.

    python -m launch.gke_encode --name=encode --num_shards=64 --image=IMAGE --bucket=BUCKET \
        --input=/bucket/audio --output=/bucket/tokens --codec=demo [--dry_run] -- --batch_size=8

Pod i runs `python -m tokenizer_bridge.encode --shard=i/64`; the last to finish writes dataset.json.
A pod whose node is taken away starts again elsewhere and goes on where it stopped; an error of the
user's fails its shard at once, a crash after 5 tries. What follows `--` are flags of encode.
The same command, once more, makes up for shards that failed (delete the old Job first).
"""

from collections.abc import Sequence

from absl import flags

from launch.targets import gke
from launch.targets.gke import FLAGS, Manifest
from sedd_jax.errors import UserError

flags.adopt_module_key_flags(gke)
flags.DEFINE_integer("num_shards", None, "Into how many parts the work is cut.", lower_bound=1)
flags.DEFINE_integer("parallelism", None, "Pods at a time; all of them by default.", lower_bound=1)
flags.DEFINE_string("input", None, "Folder of audio files, below /bucket.")
flags.DEFINE_string("output", None, "Directory of the token dataset, below /bucket.")
flags.DEFINE_string("codec", None, "Name of the codec.")
flags.DEFINE_integer("cpus", 4, "Cores a pod.", lower_bound=1)
flags.DEFINE_integer("memory_gib", 8, "Memory a pod.", lower_bound=1)
flags.DEFINE_string("gpu", None, "GKE's name of a GPU, e.g. nvidia-l4: one a pod.")

CONTAINER = "encode"


def encode_job(command: Sequence[str]) -> Manifest:
    """The Job that runs `command --shard=i/n` in pod i of n."""
    amounts = {"cpu": str(FLAGS.cpus), "memory": f"{FLAGS.memory_gib}Gi"}
    selector = {}
    if FLAGS.gpu:
        amounts["nvidia.com/gpu"] = "1"
        selector["cloud.google.com/gke-accelerator"] = FLAGS.gpu
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    container = {
        "name": CONTAINER,
        "image": FLAGS.image,
        "command": [
            *(gke.literal(word) for word in command),
            f"--shard=$(SHARD)/{FLAGS.num_shards}",
        ],
        "env": [
            {"name": "SHARD", "valueFrom": {"fieldRef": {"fieldPath": index}}},
            {"name": "OMP_NUM_THREADS", "value": str(FLAGS.cpus)},
            {"name": "PYTHONUNBUFFERED", "value": "1"},
        ],
        "resources": {"requests": dict(amounts), "limits": dict(amounts)},
    }
    errors = {"containerName": CONTAINER, "operator": "In", "values": gke.EXIT_CODES_OF_ERRORS}
    rules = [
        {"action": "FailIndex", "onExitCodes": errors},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": gke.metadata(),
        "spec": {
            "completionMode": "Indexed",
            "completions": FLAGS.num_shards,
            "parallelism": min(FLAGS.parallelism or FLAGS.num_shards, FLAGS.num_shards),
            "backoffLimitPerIndex": 5,
            "podFailurePolicy": {"rules": rules},
            "template": gke.pod_template(container, selector),
        },
    }


def encode_command(more: Sequence[str]) -> list[str]:
    """The command of every pod but for its shard. Raises UserError."""
    for word in more:
        if not word.startswith("--") or word.startswith("--shard"):
            raise UserError(f"unexpected argument {word!r}: flags of encode, but for --shard")
    return [
        *("python", "-m", "tokenizer_bridge.encode"),
        f"--input={gke.require_mounted('input', 'a folder of audio files')}",
        f"--output={gke.require_mounted('output', 'the token dataset')}",
        f"--codec={gke.require('codec', 'demo, or a published codec')}",
        f"--device={'cuda' if FLAGS.gpu else 'cpu'}",
        *more,
    ]


def main(more: list[str]) -> int:
    gke.check_common()
    gke.require("num_shards", "into how many parts the work is cut")
    manifest = encode_job(encode_command(more))
    job = f"kubectl --namespace={FLAGS.namespace}"
    return gke.submit(
        manifest,
        [f"progress: {job} get job/{FLAGS.name}", f"log: {job} logs --follow job/{FLAGS.name}"],
    )


if __name__ == "__main__":
    gke.run_launcher(main)
