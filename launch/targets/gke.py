"""Common ground of the launchers for GKE: flags, the directory that all pods see, submission."""

import argparse
import dataclasses
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.command import Parser

Manifest = dict[str, Any]

MOUNT = "/bucket"
# Exit codes that a restart would only repeat: the program's "error: …", a shell's misuse, a command
# that cannot be run or found. Everything else, 143 (preempted, saved) among it, is restarted.
EXIT_CODES_OF_ERRORS = [1, 2, 126, 127]
# The rule for a pod whose node is taken away stands first: whatever its exit code, an error that it
# makes meanwhile, as in saving to a bucket that has gone, is not the user's.
DISRUPTED: list[Manifest] = [{"type": "DisruptionTarget", "status": "True"}]
_NAME = r"[a-z]([-a-z0-9]*[a-z0-9])?"


@dataclasses.dataclass(frozen=True)
class Target:
    """The name of a job and the place where it runs.

    name: of the job in the cluster; image: built from launch/Dockerfile; queue: Kueue's LocalQueue,
    or none; bucket or pvc: what is mounted for all pods; service_account: Kubernetes'; spot: on
    spot nodes.
    """

    name: str
    image: str
    namespace: str = "default"
    queue: str | None = None
    bucket: str | None = None
    pvc: str | None = None
    service_account: str = "default"
    spot: bool = False


def add_arguments(parser: Parser) -> None:
    """Adds the arguments that `target` reads, and --dry_run."""
    parser.add_argument("--name", required=True, help="Name of the job in the cluster.")
    parser.add_argument("--image", required=True, help="Image built from launch/Dockerfile.")
    parser.add_argument("--namespace", default="default", help="Namespace.")
    parser.add_argument("--queue", help="Kueue's LocalQueue; without it the job does not queue.")
    parser.add_argument("--bucket", help=f"Cloud Storage bucket, mounted as {MOUNT} by gcsfuse.")
    parser.add_argument("--pvc", help=f"PersistentVolumeClaim (ReadWriteMany), mounted as {MOUNT}.")
    parser.add_argument(
        "--service_account",
        default="default",
        help="Kubernetes service account; the bucket's must be allowed in.",
    )
    parser.add_argument("--spot", action="store_true", help="Run on spot nodes.")
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="Print the command and the manifest; submit nothing.",
    )


def target(arguments: argparse.Namespace) -> Target:
    """Reads the flags of `add_arguments`. Raises UserError for a name that Kubernetes refuses."""
    if not re.fullmatch(_NAME, arguments.name) or len(arguments.name) > 40:
        raise UserError(
            f"--name={arguments.name}: must be at most 40 small letters, digits and dashes, the "
            "first a letter"
        )
    for name in ("namespace", "queue", "pvc", "service_account"):
        value = getattr(arguments, name)
        if value and not re.fullmatch(_NAME, value):
            raise UserError(f"--{name}={value}: must be small letters, digits, dashes")
    if bool(arguments.bucket) == bool(arguments.pvc):
        raise UserError(f"--bucket=… or --pvc=… is needed, one of them: it is mounted as {MOUNT}")
    if arguments.bucket and not re.fullmatch(r"[a-z0-9][-_.a-z0-9]+[a-z0-9]", arguments.bucket):
        raise UserError(f"--bucket={arguments.bucket}: must be a bucket's name, without gs://")
    fields = [field.name for field in dataclasses.fields(Target)]
    return Target(**{name: getattr(arguments, name) for name in fields})


def split_at_dashes(argv: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """(words before `--`, words after it, which are arguments of another program)."""
    words = list(sys.argv[1:] if argv is None else argv)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def mounted(text: str) -> str:
    """The type of an argument that is a path below the mount."""
    if not text.startswith(f"{MOUNT}/") or ".." in Path(text).parts:
        raise argparse.ArgumentTypeError(
            f"{text} must lie below {MOUNT}, where the bucket or PVC is"
        )
    return text


def literal(argument: str) -> str:
    """The argument as it must be written where Kubernetes replaces $(NAME) by a variable."""
    return argument.replace("$(", "$$(")


def metadata(target: Target, annotations: Mapping[str, str] | None = None) -> Manifest:
    """The job's metadata: its name, and Kueue's label."""
    found: Manifest = {"name": target.name, "namespace": target.namespace}
    if target.queue:
        found["labels"] = {"kueue.x-k8s.io/queue-name": target.queue}
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def pod_template(target: Target, container: Manifest, node_selector: Mapping[str, str]) -> Manifest:
    """A pod of one container with the shared directory, never restarted in place."""
    template: Manifest = {}
    if target.bucket:
        template["metadata"] = {"annotations": {"gke-gcsfuse/volumes": "true"}}
        # Checkpoints are finished by renaming a directory.
        options = "implicit-dirs,rename-dir-limit=100000"
        attributes = {"bucketName": target.bucket, "mountOptions": options}
        csi = {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}
        source: Manifest = {"csi": csi}
    else:
        source = {"persistentVolumeClaim": {"claimName": target.pvc}}
    selector = dict(node_selector)
    tolerations = []
    if target.spot:
        selector["cloud.google.com/gke-spot"] = "true"
        toleration = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true"}
        tolerations = [{**toleration, "effect": "NoSchedule"}]
    template["spec"] = {
        "restartPolicy": "Never",  # podFailurePolicy demands it
        "serviceAccountName": target.service_account,
        "terminationGracePeriodSeconds": 300,  # time for a last checkpoint
        "nodeSelector": selector,
        "tolerations": tolerations,
        "containers": [{**container, "volumeMounts": [{"name": "shared", "mountPath": MOUNT}]}],
        "volumes": [{"name": "shared", **source}],
    }
    return template


def submit(manifest: Manifest, hints: Sequence[str], *, dry_run: bool) -> int:
    """kubectl apply, or as a dry run a printout of it; returns the exit code.

    A job that has ended is no other to kubectl, which leaves it as it is: says how to run it again.
    """
    command = ["kubectl", "apply", "--filename=-"]
    text = yaml.safe_dump(manifest, sort_keys=False, width=100)
    if dry_run:
        print(f"# {' '.join(command)}")
        print(text, end="")
        return 0
    try:
        code = subprocess.run(command, input=text, text=True).returncode
    except FileNotFoundError as error:
        raise UserError("kubectl is not installed") from error
    if code == 0:
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        delete = f"kubectl --namespace={namespace} delete {manifest['kind'].lower()}/{name}"
        print(*hints, f"once it has ended, to run it again: {delete}", sep="\n", file=sys.stderr)
    return code
