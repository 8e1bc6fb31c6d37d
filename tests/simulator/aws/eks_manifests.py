# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes objects of EKS's add-ons: what EKS applies for a version and its configuration values.

Names, namespaces, labels and images are those of the real ones ("View Amazon container image registries for Amazon EKS
add-ons" of the User Guide; the manifests that EKS installs); what the world has no use for is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.kubernetes.controllers.timings import STARTS_AFTER, STOPS_AFTER

Manifest = dict[str, Any]

REGISTRY = "602401143452.dkr.ecr.{region}.amazonaws.com"
NAMESPACE = "kube-system"
COMPUTE_TYPE = "eks.amazonaws.com/compute-type"
# Nothing of a DaemonSet runs on Fargate ("Simplify compute management with AWS Fargate").
NOT_ON_FARGATE: Manifest = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": COMPUTE_TYPE, "operator": "NotIn", "values": ["fargate"]}]}
            ]
        }
    }
}
CNI_ENVIRONMENT = {"AWS_VPC_K8S_CNI_LOGLEVEL": "DEBUG", "ENABLE_PREFIX_DELEGATION": "false", "WARM_ENI_TARGET": "1"}


def image_of(addon: str, version: str, region: str) -> str:
    """The image of an add-on's first container in that version."""
    repositories = {"vpc-cni": "amazon-k8s-cni", "eks-pod-identity-agent": "eks/eks-pod-identity-agent"}
    repository = repositories.get(addon, f"eks/{addon}")
    tag = version
    if addon == "kube-proxy":
        tag = version.replace("-eksbuild", "-minimal-eksbuild")
    elif addon == "aws-ebs-csi-driver":
        tag = version.partition("-")[0]
    return f"{REGISTRY.format(region=region)}/{repository}:{tag}"


def addon_objects(addon: str, version: str, region: str, values: Mapping[str, Any] | None = None) -> list[Manifest]:
    """Everything that EKS applies for that version of the add-on."""
    return RENDERERS[addon](image_of(addon, version, region), region, dict(values or {}))


def _vpc_cni(image: str, region: str, values: dict[str, Any]) -> list[Manifest]:
    environment = {**CNI_ENVIRONMENT, **{name: str(value) for name, value in (values.get("env") or {}).items()}}
    agent = f"{REGISTRY.format(region=region)}/amazon/aws-network-policy-agent:v1.2.7-eksbuild.1"
    node = _container("aws-node", image, "25m", values.get("resources"))
    node["env"] = [{"name": name, "value": value} for name, value in sorted(environment.items())]
    pod = {"containers": [node, _container("aws-eks-nodeagent", agent, "25m")], "hostNetwork": True}
    return [_daemon_set("aws-node", {"k8s-app": "aws-node"}, pod)]


def _kube_proxy(image: str, region: str, values: dict[str, Any]) -> list[Manifest]:
    container = _container("kube-proxy", image, "50m", values.get("resources"))
    container["command"] = ["kube-proxy", "--v=2", "--config=/var/lib/kube-proxy-config/config"]
    return [_daemon_set("kube-proxy", {"k8s-app": "kube-proxy"}, {"containers": [container], "hostNetwork": True})]


def _coredns(image: str, region: str, values: dict[str, Any]) -> list[Manifest]:
    labels = {"eks.amazonaws.com/component": "coredns", "k8s-app": "kube-dns"}
    pod = {
        "containers": [_container("coredns", image, "100m", values.get("resources"))],
        "nodeSelector": dict(values.get("nodeSelector") or {}),
    }
    replicas = int(values.get("replicaCount", 2))
    return [_deployment("coredns", labels, pod, replicas), _budget("coredns", labels)]


def _ebs_csi_driver(image: str, region: str, values: dict[str, Any]) -> list[Manifest]:
    driver, node = {"app": "ebs-csi-controller"}, {"app": "ebs-csi-node"}
    side = f"{REGISTRY.format(region=region)}/eks"
    registrar = _container("node-driver-registrar", f"{side}/csi-node-driver-registrar:v2.15.0", "10m")
    provisioner = _container("csi-provisioner", f"{side}/csi-provisioner:v5.3.0", "10m")
    controller = values.get("controller") or {}
    replicas = int(controller.get("replicaCount", 2))
    main = _container("ebs-plugin", image, "10m", controller.get("resources"))
    return [
        _daemon_set("ebs-csi-node", node, {"containers": [_container("ebs-plugin", image, "10m"), registrar]}),
        _deployment("ebs-csi-controller", driver, {"containers": [main, provisioner]}, replicas),
        _budget("ebs-csi-controller", driver),
    ]


def _pod_identity_agent(image: str, region: str, values: dict[str, Any]) -> list[Manifest]:
    labels = {"app.kubernetes.io/name": "eks-pod-identity-agent"}
    container = _container("eks-pod-identity-agent", image, "10m", values.get("resources"))
    return [_daemon_set("eks-pod-identity-agent", labels, {"containers": [container], "hostNetwork": True})]


RENDERERS = {
    "vpc-cni": _vpc_cni,
    "kube-proxy": _kube_proxy,
    "coredns": _coredns,
    "aws-ebs-csi-driver": _ebs_csi_driver,
    "eks-pod-identity-agent": _pod_identity_agent,
}


def _container(name: str, image: str, cpu: str, resources: Manifest | None = None) -> Manifest:
    return {"name": name, "image": image, "resources": resources or {"requests": {"cpu": cpu, "memory": "32Mi"}}}


def _daemon_set(name: str, labels: dict[str, str], pod: Manifest) -> Manifest:
    spec = {
        "selector": {"matchLabels": labels},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "template": _template(
            labels,
            {
                **pod,
                "affinity": NOT_ON_FARGATE,
                "priorityClassName": "system-node-critical",
                "tolerations": [{"operator": "Exists"}],
            },
        ),
    }
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": _metadata(name, labels), "spec": spec}


def _deployment(name: str, labels: dict[str, str], pod: Manifest, replicas: int) -> Manifest:
    critical = {"key": "CriticalAddonsOnly", "operator": "Exists"}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": "25%"}},
        "template": _template(
            labels, {**pod, "priorityClassName": "system-cluster-critical", "tolerations": [critical]}
        ),
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(name, labels), "spec": spec}


def _budget(name: str, labels: dict[str, str]) -> Manifest:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    head = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    return {**head, "metadata": _metadata(name, labels), "spec": spec}


def _template(labels: dict[str, str], spec: Manifest) -> Manifest:
    return {"metadata": {"labels": labels, "annotations": {STARTS_AFTER: "1", STOPS_AFTER: "1"}}, "spec": spec}


def _metadata(name: str, labels: dict[str, str]) -> Manifest:
    return {"name": name, "namespace": NAMESPACE, "labels": dict(labels)}
