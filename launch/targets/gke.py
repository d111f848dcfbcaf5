"""What the launchers for GKE share: flags, the directory that all pods see, submission."""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from absl import flags

from sedd_jax.errors import UserError, run_door

Manifest = dict[str, Any]

MOUNT = "/bucket"
# Exit codes that a restart would only repeat: the program's "error: …", a shell's misuse, a command
# that cannot be run or found. Everything else, 143 (preempted, saved) among it, is restarted.
EXIT_CODES_OF_ERRORS = [1, 2, 126, 127]
_NAME = r"[a-z]([-a-z0-9]*[a-z0-9])?"

FLAGS = flags.FLAGS
flags.DEFINE_string("name", None, "Name of the job in the cluster.")
flags.DEFINE_string("namespace", "default", "Namespace.")
flags.DEFINE_string("image", None, "Image built from launch/Dockerfile.")
flags.DEFINE_string("queue", None, "Kueue's LocalQueue; without it the job does not queue.")
flags.DEFINE_string("bucket", None, f"Cloud Storage bucket, mounted as {MOUNT} by gcsfuse.")
flags.DEFINE_string("pvc", None, f"PersistentVolumeClaim (ReadWriteMany), mounted as {MOUNT}.")
flags.DEFINE_string(
    "service_account", "default", "Kubernetes service account; the bucket's must be allowed in."
)
flags.DEFINE_bool("spot", False, "Run on spot nodes.")
flags.DEFINE_bool("dry_run", False, "Print the command and the manifest; submit nothing.")


def run_launcher(main: Callable[[list[str]], int]) -> None:
    """run_door for a launcher: main gets what follows `--`, the flags of another program."""
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    more = sys.argv[at + 1 :]
    del sys.argv[at:]
    run_door(lambda argv: main(more))


def require(name: str, what: str) -> str:
    """The value of --name. Raises UserError where it was not given."""
    if not FLAGS[name].value:
        raise UserError(f"--{name}=… is needed: {what}")
    return FLAGS[name].value


def check_common() -> None:
    """Raises UserError where a flag of this file is missing or not a name that Kubernetes takes."""
    require("image", "an image built from launch/Dockerfile")
    if not re.fullmatch(_NAME, require("name", "the job's name")) or len(FLAGS.name) > 40:
        raise UserError(
            f"--name={FLAGS.name}: must be at most 40 small letters, digits and dashes, the first "
            "a letter"
        )
    for name in ("namespace", "queue", "pvc", "service_account"):
        if FLAGS[name].value and not re.fullmatch(_NAME, FLAGS[name].value):
            raise UserError(f"--{name}={FLAGS[name].value}: must be small letters, digits, dashes")
    if bool(FLAGS.bucket) == bool(FLAGS.pvc):
        raise UserError(f"--bucket=… or --pvc=… is needed, one of them: it is mounted as {MOUNT}")
    if FLAGS.bucket and not re.fullmatch(r"[a-z0-9][-_.a-z0-9]+[a-z0-9]", FLAGS.bucket):
        raise UserError(f"--bucket={FLAGS.bucket}: must be a bucket's name, without gs://")


def require_mounted(name: str, what: str) -> str:
    """The value of --name, a path below the mount. Raises UserError."""
    path = require(name, what)
    if not path.startswith(f"{MOUNT}/") or ".." in Path(path).parts:
        raise UserError(f"--{name}={path}: must lie below {MOUNT}, where the bucket or PVC is")
    return path


def literal(argument: str) -> str:
    """The argument as it must be written where Kubernetes replaces $(NAME) by a variable."""
    return argument.replace("$(", "$$(")


def metadata(annotations: Mapping[str, str] | None = None) -> Manifest:
    """Of the job: its name, and Kueue's label."""
    found: Manifest = {"name": FLAGS.name, "namespace": FLAGS.namespace}
    if FLAGS.queue:
        found["labels"] = {"kueue.x-k8s.io/queue-name": FLAGS.queue}
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def pod_template(container: Manifest, node_selector: Mapping[str, str]) -> Manifest:
    """A pod of one container with the shared directory, never restarted in place."""
    template: Manifest = {}
    if FLAGS.bucket:
        template["metadata"] = {"annotations": {"gke-gcsfuse/volumes": "true"}}
        # Checkpoints are finished by renaming a directory.
        options = "implicit-dirs,rename-dir-limit=100000"
        attributes = {"bucketName": FLAGS.bucket, "mountOptions": options}
        csi = {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}
        source: Manifest = {"csi": csi}
    else:
        source = {"persistentVolumeClaim": {"claimName": FLAGS.pvc}}
    selector = dict(node_selector)
    tolerations = []
    if FLAGS.spot:
        selector["cloud.google.com/gke-spot"] = "true"
        toleration = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true"}
        tolerations = [{**toleration, "effect": "NoSchedule"}]
    template["spec"] = {
        "restartPolicy": "Never",  # podFailurePolicy demands it
        "serviceAccountName": FLAGS.service_account,
        "terminationGracePeriodSeconds": 300,  # time for a last checkpoint
        "nodeSelector": selector,
        "tolerations": tolerations,
        "containers": [{**container, "volumeMounts": [{"name": "shared", "mountPath": MOUNT}]}],
        "volumes": [{"name": "shared", **source}],
    }
    return template


def submit(manifest: Manifest, hints: Sequence[str]) -> int:
    """kubectl apply, or under --dry_run a printout of it; returns the exit code."""
    command = ["kubectl", "apply", "--filename=-"]
    text = yaml.safe_dump(manifest, sort_keys=False, width=100)
    if FLAGS.dry_run:
        print(f"# {' '.join(command)}")
        print(text, end="")
        return 0
    try:
        code = subprocess.run(command, input=text, text=True).returncode
    except FileNotFoundError as error:
        raise UserError("kubectl is not installed") from error
    if code == 0:
        print(*hints, sep="\n", file=sys.stderr)
    return code
