# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads as Kubernetes objects: pure functions from a scenario's data to what `kubectl apply` would send."""

from __future__ import annotations

from typing import Any

from simulator.aws.eks_manifests import NOT_ON_FARGATE, addon_objects
from simulator.kubernetes.controllers.timings import FINISHES_AFTER, STARTS_AFTER, STOPS_AFTER
from simulator.scenarios.model import (
    GROUP_LABEL,
    Budget,
    DaemonSet,
    Deployment,
    Job,
    Pod,
    Scenario,
    StatefulSet,
    Workload,
)

Manifest = dict[str, Any]

SYSTEM_DAEMONSETS = (DaemonSet("aws-node"), DaemonSet("kube-proxy"))
BROUGHT_BY_ADDONS = {"vpc-cni": "aws-node", "kube-proxy": "kube-proxy"}


def manifests(scenario: Scenario) -> list[Manifest]:
    """Everything that a scenario wants to exist, in the order in which it can be created."""
    workloads = [*system_workloads(scenario), *scenario.workloads]
    namespaces = {"default", "kube-system", "kube-node-lease", *(workload.namespace for workload in workloads)}
    objects: list[Manifest] = [_named("v1", "Namespace", name) for name in sorted(namespaces)]
    for workload in workloads:
        objects += workload_objects(workload, scenario)
    return objects


def system_workloads(scenario: Scenario) -> list[DaemonSet]:
    """The DaemonSets of the system that no add-on brings."""
    brought = {BROUGHT_BY_ADDONS.get(addon.name) for addon in scenario.addons}
    return [one for one in SYSTEM_DAEMONSETS if scenario.system and one.name not in brought]


def movable_pods(scenario: Scenario) -> int:
    """How many pods there are that no DaemonSet keeps."""
    own = sum(one.replicas for one in scenario.workloads if not isinstance(one, DaemonSet))
    objects = [item for one in scenario.addons for item in addon_objects(one.name, one.version, "", one.configuration)]
    return own + sum(item["spec"]["replicas"] for item in objects if item["kind"] == "Deployment")


def workload_objects(workload: Workload, scenario: Scenario) -> list[Manifest]:
    """The objects of one workload: its volumes, itself, its budget."""
    objects: list[Manifest] = []
    if isinstance(workload, StatefulSet) and workload.zonal_volume:
        objects += _zonal_volumes(workload, scenario)
    objects.append(_controller(workload))
    if workload.budget:
        objects.append(_budget(workload, workload.budget))
    return objects


def _controller(workload: Workload) -> Manifest:
    template = {"metadata": _template_metadata(workload), "spec": pod_spec(workload)}
    selector = {"matchLabels": {"app": workload.name}}
    spec: Manifest
    if isinstance(workload, Deployment):
        kind, spec = "Deployment", {"replicas": workload.replicas, "selector": selector, "template": template}
    elif isinstance(workload, StatefulSet):
        kind, spec = "StatefulSet", {
            "replicas": workload.replicas,
            "serviceName": workload.name,
            "selector": selector,
            "podManagementPolicy": "Parallel" if workload.parallel else "OrderedReady",
            "template": template,
        }
        if workload.zonal_volume:
            spec["volumeClaimTemplates"] = [
                {
                    "metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
                }
            ]
    elif isinstance(workload, DaemonSet):
        kind, spec = "DaemonSet", {"selector": selector, "template": template}
    elif isinstance(workload, Job):
        kind, spec = "Job", {
            "completions": workload.replicas,
            "parallelism": workload.replicas,
            "backoffLimit": 6,
            "template": template,
        }
    elif isinstance(workload, Pod):
        return {"apiVersion": "v1", "kind": "Pod", **_pod(workload, template)}
    else:
        raise TypeError(f"a workload must be a Deployment, StatefulSet, DaemonSet, Job or Pod, not {workload!r}")
    group = "batch/v1" if kind == "Job" else "apps/v1"
    return {**_named(group, kind, workload.name, workload.namespace), "spec": spec}


def _pod(workload: Pod, template: Manifest) -> Manifest:
    named = {"name": workload.name, "namespace": workload.namespace}
    return {"metadata": {**template["metadata"], **named}, "spec": template["spec"]}


def _template_metadata(workload: Workload) -> Manifest:
    timing = {STARTS_AFTER: f"{workload.start:g}", STOPS_AFTER: f"{workload.stop:g}"}
    if isinstance(workload, Job):
        timing[FINISHES_AFTER] = f"{workload.runs_for:g}"
    return {"labels": {"app": workload.name, **workload.labels}, "annotations": {**timing, **workload.annotations}}


def pod_spec(workload: Workload) -> Manifest:
    """The pod of a workload: one container with requests, and where it may run."""
    spec: Manifest = {
        "containers": [
            {
                "name": "main",
                "image": f"registry.invalid/{workload.name}:1",
                "resources": {"requests": {"cpu": workload.cpu, "memory": workload.memory}},
            }
        ],
        "terminationGracePeriodSeconds": workload.grace,
    }
    if isinstance(workload, Job):
        spec["restartPolicy"] = "Never"
    if workload.group:
        spec["nodeSelector"] = {GROUP_LABEL: workload.group}
    if workload.priority_class:
        spec["priorityClassName"] = workload.priority_class
    if workload.emptydir:
        spec["volumes"] = [{"name": "scratch", "emptyDir": {}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "scratch", "mountPath": "/scratch"}]
    if isinstance(workload, DaemonSet):
        spec["tolerations"] = [{"operator": "Exists"}]
        spec["affinity"] = NOT_ON_FARGATE
    elif workload.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in workload.tolerations]
    if workload.spread and not isinstance(workload, (DaemonSet, Pod)):
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": workload.name}},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
    return spec


def _budget(workload: Workload, budget: Budget) -> Manifest:
    spec: Manifest = {"selector": {"matchLabels": {"app": workload.name}}}
    if budget.min_available is not None:
        spec["minAvailable"] = budget.min_available
    if budget.max_unavailable is not None:
        spec["maxUnavailable"] = budget.max_unavailable
    if budget.unhealthy_pods:
        spec["unhealthyPodEvictionPolicy"] = budget.unhealthy_pods
    return {**_named("policy/v1", "PodDisruptionBudget", workload.name, workload.namespace), "spec": spec}


def _zonal_volumes(workload: StatefulSet, scenario: Scenario) -> list[Manifest]:
    """For each replica a claim that is already bound to a volume, the volumes dealt out to the zones in turn."""
    objects: list[Manifest] = []
    for number in range(workload.replicas):
        zone = scenario.zones[number % len(scenario.zones)]
        claim = f"data-{workload.name}-{number}"
        volume = f"pv-{workload.namespace}-{claim}"
        capacity = {"storage": "10Gi"}
        objects.append(
            {
                **_named("v1", "PersistentVolume", volume),
                "spec": {
                    "capacity": capacity,
                    "accessModes": ["ReadWriteOnce"],
                    "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": f"vol-{workload.name}-{number}"},
                    "claimRef": {"namespace": workload.namespace, "name": claim},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [_in_zone(zone)]}},
                },
                "status": {"phase": "Bound"},
            }
        )
        objects.append(
            {
                **_named("v1", "PersistentVolumeClaim", claim, workload.namespace),
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "volumeName": volume,
                    "resources": {"requests": capacity},
                },
                "status": {"phase": "Bound", "capacity": capacity},
            }
        )
    return objects


def _in_zone(zone: str) -> Manifest:
    return {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}]}


def _named(version: str, kind: str, name: str, namespace: str | None = None) -> Manifest:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
