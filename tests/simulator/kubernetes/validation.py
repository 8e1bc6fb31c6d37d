# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server fills in and what it refuses when an object is written.

Only the rules that somebody who drains nodes can run into: names, labels, taints, budgets, the size of a ConfigMap, the
immutable fields. Sources: pkg/apis/*/validation and pkg/apis/*/*/defaults.go of Kubernetes 1.36.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from simulator.kubernetes.errors import bad_request, invalid
from simulator.kubernetes.resources import (
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Resource,
)
from simulator.kubernetes.selectors import dig, selects

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
CONFIG_MAP_LIMIT = 1_048_576
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
# The tolerations that admission gives to every pod: five minutes on a node that is not well.
NOT_WELL = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
NOT_WELL_SECONDS = 300

Cause = dict[str, str]


def cause(field: str, value: Any, text: str) -> Cause:
    """FieldValueInvalid, as it stands in a Status' causes."""
    shown = f'"{value}"' if isinstance(value, str) else value
    return {"reason": "FieldValueInvalid", "message": f"Invalid value: {shown}: {text}", "field": field}


def required(field: str, text: str = "") -> Cause:
    """FieldValueRequired."""
    return {"reason": "FieldValueRequired", "message": f"Required value{': ' if text else ''}{text}", "field": field}


def fits(resource: Resource, namespace: str, body: Any) -> dict[str, Any]:
    """The body is an object of this kind for this namespace; ApiError 400 otherwise."""
    if not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized (must be of type object)")
    kind, version = body.get("kind", resource.kind), body.get("apiVersion", resource.api_version)
    if (version, kind) != (resource.api_version, resource.kind):
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {resource.kind}: '
            f"converting ({version}.{kind}) to ({resource.api_version}.{resource.kind}): unknown conversion"
        )
    if not isinstance(body.get("metadata", {}), dict):
        raise bad_request("metadata must be an object")
    within = (body.get("metadata") or {}).get("namespace")
    if resource.namespaced and within and within != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    return body


def fill_in(resource: Resource, item: dict[str, Any]) -> None:
    """Set the defaults of a new object in place."""
    spec = item.setdefault("spec", {}) if resource in (NODES, NAMESPACES) else item.get("spec")
    if not isinstance(spec, dict):
        return
    if resource is PODS:
        _fill_in_pod(spec)
    elif resource is NAMESPACES:
        spec.setdefault("finalizers", ["kubernetes"])
        item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]
    elif resource in (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS):
        spec.setdefault("replicas", 1)
    elif resource is JOBS:
        _fill_in_job(item, spec)
    if resource is DEPLOYMENTS:
        spec.setdefault("strategy", {"type": "RollingUpdate"})
        if spec["strategy"].get("type") == "RollingUpdate":
            spec["strategy"].setdefault("rollingUpdate", {"maxUnavailable": "25%", "maxSurge": "25%"})
    elif resource is STATEFUL_SETS:
        spec.setdefault("podManagementPolicy", "OrderedReady")
        spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    elif resource is DAEMON_SETS:
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        spec.setdefault("updateStrategy", rolling)


def _fill_in_pod(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("priority", SYSTEM_PRIORITIES.get(spec.get("priorityClassName", ""), 0))
    tolerations = spec.setdefault("tolerations", [])
    for key in NOT_WELL:
        if not any(_tolerates_no_execute(toleration, key) for toleration in tolerations):
            toleration = {"key": key, "operator": "Exists", "effect": "NoExecute"}
            tolerations.append({**toleration, "tolerationSeconds": NOT_WELL_SECONDS})


def _tolerates_no_execute(toleration: dict[str, Any], key: str) -> bool:
    return toleration.get("key", key) == key and toleration.get("effect", "NoExecute") == "NoExecute"


def _fill_in_job(item: dict[str, Any], spec: dict[str, Any]) -> None:
    """Parallelism, completions, and the selector on the job's own uid that every job gets."""
    spec.setdefault("parallelism", 1)
    spec.setdefault("completions", spec["parallelism"])
    spec.setdefault("backoffLimit", 6)
    if not spec.get("manualSelector"):
        own = {"batch.kubernetes.io/controller-uid": item["metadata"]["uid"]}
        spec.setdefault("selector", {"matchLabels": own})
        labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
        labels.update(own, **{"batch.kubernetes.io/job-name": item["metadata"]["name"]})


def check(resource: Resource, item: dict[str, Any], before: dict[str, Any] | None = None) -> None:
    """Refuse with ApiError 422 what breaks the rules, as a new object or as the successor of ``before``."""
    causes = _metadata_causes(item["metadata"])
    causes += _CHECKS.get(resource, _nothing)(item)
    if before is not None:
        causes += _immutable_causes(resource, item, before)
    if causes:
        raise invalid(resource, item["metadata"].get("name", ""), causes)


def _nothing(_unused: dict[str, Any]) -> list[Cause]:
    return []


def _metadata_causes(metadata: dict[str, Any]) -> list[Cause]:
    causes = []
    name = metadata.get("name", "")
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    if not SUBDOMAIN.fullmatch(name) or len(name) > 253:
        causes.append(cause("metadata.name", name, SUBDOMAIN_RULE))
    for key, value in (metadata.get("labels") or {}).items():
        if not LABEL_KEY.fullmatch(key):
            causes.append(cause("metadata.labels", key, "name part must consist of alphanumeric characters"))
        if not isinstance(value, str) or not LABEL_VALUE.fullmatch(value) or len(value) > 63:
            causes.append(cause("metadata.labels", value, "a valid label must be an empty string or consist of "))
    for key, value in (metadata.get("annotations") or {}).items():
        if not LABEL_KEY.fullmatch(key.lower()):
            causes.append(cause("metadata.annotations", key, "name part must consist of alphanumeric characters"))
        if not isinstance(value, str):
            raise bad_request(f"annotations must be strings: {key}")
    return causes


def _pod_causes(pod: dict[str, Any]) -> list[Cause]:
    if not dig(pod, "spec.containers"):
        return [required("spec.containers")]
    nameless = [number for number, container in enumerate(pod["spec"]["containers"]) if not container.get("name")]
    return [required(f"spec.containers[{number}].name") for number in nameless]


def _node_causes(node: dict[str, Any]) -> list[Cause]:
    causes, seen = [], set()
    for number, taint in enumerate(dig(node, "spec.taints") or []):
        field = f"spec.taints[{number}]"
        identity = (taint.get("key"), taint.get("effect"))
        if not taint.get("key"):
            causes.append(required(f"{field}.key"))
        if taint.get("effect") not in EFFECTS:
            listed = ", ".join(f'"{effect}"' for effect in EFFECTS)
            text = f'Unsupported value: "{taint.get("effect", "")}": supported values: {listed}'
            causes.append({"reason": "FieldValueNotSupported", "message": text, "field": f"{field}.effect"})
        if identity in seen:
            text = "taints must be unique by key and effect pair"
            causes.append({"reason": "FieldValueDuplicate", "message": f"Duplicate value: {text}", "field": field})
        seen.add(identity)
    return causes


def _budget_causes(budget: dict[str, Any]) -> list[Cause]:
    spec, causes = budget.get("spec") or {}, []
    if "minAvailable" in spec and "maxUnavailable" in spec:
        causes.append(cause("spec", "", "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        value = spec.get(name)
        if isinstance(value, str) and not re.fullmatch(r"[0-9]+%", value):
            causes.append(cause(f"spec.{name}", value, "a valid percent string must be a numeric string followed by %"))
        if isinstance(value, int) and value < 0:
            causes.append(cause(f"spec.{name}", value, "must be greater than or equal to 0"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy not in (None, "IfHealthyBudget", "AlwaysAllow"):
        text = f'Unsupported value: "{policy}": supported values: "AlwaysAllow", "IfHealthyBudget"'
        field = "spec.unhealthyPodEvictionPolicy"
        causes.append({"reason": "FieldValueNotSupported", "message": text, "field": field})
    return causes


def _config_map_causes(config_map: dict[str, Any]) -> list[Cause]:
    plain, packed = (list((config_map.get(kind) or {}).values()) for kind in ("data", "binaryData"))
    if any(not isinstance(value, str) for value in [*plain, *packed]):
        raise bad_request('ConfigMap in version "v1" cannot be handled as a ConfigMap: data must be strings')
    # Binary data counts as the bytes that it stands for.
    size = sum(len(value.encode()) for value in plain) + sum(len(base64.b64decode(value)) for value in packed)
    if size <= CONFIG_MAP_LIMIT:
        return []
    text = f"Too long: may not be more than {CONFIG_MAP_LIMIT} bytes"
    return [{"reason": "FieldValueTooLong", "message": text, "field": "[]"}]


def _lease_causes(lease: dict[str, Any]) -> list[Cause]:
    seconds = dig(lease, "spec.leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        return [cause("spec.leaseDurationSeconds", seconds, "must be greater than 0")]
    return []


def _template_causes(workload: dict[str, Any]) -> list[Cause]:
    selector, template = dig(workload, "spec.selector"), dig(workload, "spec.template") or {}
    if not selector:
        return [required("spec.selector")]
    labels = {"metadata": {"labels": dig(template, "metadata.labels") or {}}}
    if not selects(selector, labels):
        shown = labels["metadata"]["labels"]
        return [cause("spec.template.metadata.labels", shown, "`selector` does not match template `labels`")]
    if not dig(template, "spec.containers"):
        return [required("spec.template.spec.containers")]
    return []


_CHECKS = {
    PODS: _pod_causes,
    NODES: _node_causes,
    POD_DISRUPTION_BUDGETS: _budget_causes,
    CONFIG_MAPS: _config_map_causes,
    LEASES: _lease_causes,
    DEPLOYMENTS: _template_causes,
    REPLICA_SETS: _template_causes,
    STATEFUL_SETS: _template_causes,
    DAEMON_SETS: _template_causes,
    JOBS: _template_causes,
}


def _immutable_causes(resource: Resource, item: dict[str, Any], before: dict[str, Any]) -> list[Cause]:
    fields = {
        PODS: ("spec.nodeName",),
        DEPLOYMENTS: ("spec.selector",),
        REPLICA_SETS: ("spec.selector",),
        DAEMON_SETS: ("spec.selector",),
        STATEFUL_SETS: ("spec.selector", "spec.serviceName"),
        JOBS: ("spec.selector",),
    }.get(resource, ())
    causes = [
        cause(field, dig(item, field), "field is immutable")
        for field in fields
        if dig(item, field) != dig(before, field)
    ]
    provider = dig(before, "spec.providerID")
    if resource is NODES and provider and dig(item, "spec.providerID") != provider:
        text = 'Forbidden: node updates may not change providerID except from "" to valid'
        causes.append({"reason": "FieldValueForbidden", "message": text, "field": "spec.providerID"})
    return causes
