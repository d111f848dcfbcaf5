"""Checks of what the GKE launchers print: batch/v1 in full, JobSet by a subset of its schema."""

import jsonschema
import kubernetes_validate

KUBERNETES = "1.33"

# Of jobset.x-k8s.io/v1alpha2, the fields that the launcher writes, with the CRD's types, choices
# and name patterns. A Job's own spec inside it is checked as a batch/v1 Job.
_NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["action", "name"],
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
        "action": {"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
        "onJobFailureReasons": {
            "type": "array",
            "items": {
                "enum": [
                    "BackoffLimitExceeded",
                    "DeadlineExceeded",
                    "FailedIndexes",
                    "MaxFailedIndexesExceeded",
                    "PodFailurePolicy",
                ]
            },
        },
        "targetReplicatedJobs": {"type": "array", "items": _NAME},
    },
}
_REPLICATED_JOB = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "template"],
    "properties": {
        "name": _NAME,
        "replicas": {"type": "integer", "minimum": 1},
        "template": {
            "type": "object",
            "additionalProperties": False,
            "required": ["spec"],
            "properties": {"metadata": {"type": "object"}, "spec": {"type": "object"}},
        },
    },
}
JOB_SET = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "jobset.x-k8s.io/v1alpha2"},
        "kind": {"const": "JobSet"},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {
                "name": _NAME,
                "namespace": _NAME,
                "labels": _STRINGS,
                "annotations": _STRINGS,
            },
        },
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["replicatedJobs"],
            "properties": {
                "failurePolicy": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "maxRestarts": {"type": "integer", "minimum": 0},
                        "rules": {"type": "array", "items": _RULE},
                    },
                },
                "replicatedJobs": {"type": "array", "minItems": 1, "items": _REPLICATED_JOB},
            },
        },
    },
}


def check(manifest: dict) -> None:
    """Raises what the validators raise where a field is unknown, missing or of a wrong type."""
    if manifest["kind"] != "JobSet":
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    jsonschema.validate(manifest, JOB_SET)
    for replicated in manifest["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": manifest["metadata"]}
        job["spec"] = replicated["template"]["spec"]
        kubernetes_validate.validate(job, KUBERNETES, strict=True)
