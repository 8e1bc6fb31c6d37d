# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many IP addresses the extra instances of a rollout take, against what their subnets have free. An estimate.

A node takes an address for itself, and the network plugin takes addresses for its pods ahead of need, as its settings
say (https://github.com/aws/amazon-vpc-cni-k8s/blob/master/docs/eni-and-ip-target.md, .../prefix-and-ip-target.md).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Iterable, Mapping, Optional, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient

DAEMON_SETS = "/apis/apps/v1/namespaces/kube-system/daemonsets"
VPC_CNI = "aws-node"
PREFIX = 16  # addresses of a prefix (/28)


@dataclass(frozen=True)
class PerNode:
    """Addresses that a new node is expected to take, and by which assumption."""

    addresses: int
    assumption: str


@dataclass(frozen=True)
class ZoneNeed:
    """One zone: instances at the same time beyond those of now, the addresses they take, and those that are free.

    `free` and `enough` are None where nobody lets us see the subnets.
    """

    zone: str
    extra_instances: int
    addresses_needed: int
    addresses_free: Optional[int]
    enough: Optional[bool]


def per_node(settings: Optional[Mapping[str, str]], pods: int, places: int) -> PerNode:
    """What one new node takes that runs `pods` pods and has `places` for them (0 = unknown).

    `settings` are the environment of the DaemonSet aws-node; empty where it has none, None where there is no such
    DaemonSet or nobody lets us see it.
    """
    if settings is None:
        return PerNode(1, "one a node: no DaemonSet kube-system/aws-node was found, pods are taken to have others")
    if _on(settings, "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"):
        return PerNode(
            1, "one a node: custom networking gives pods addresses of other subnets, which are not looked at"
        )
    if _on(settings, "ENABLE_IPv6"):
        return PerNode(1, "one a node: pods have IPv6 addresses")
    busiest = f"the busiest node's {pods} pods"
    warm, least = _number(settings, "WARM_IP_TARGET"), _number(settings, "MINIMUM_IP_TARGET")
    held = max(pods + (warm or 0), least or 0)
    by_targets = f"WARM_IP_TARGET {warm or 0}, MINIMUM_IP_TARGET {least or 0}"
    if _on(settings, "ENABLE_PREFIX_DELEGATION"):
        spare = _number(settings, "WARM_PREFIX_TARGET")
        if warm or least:
            prefixes, why = ceil(held / PREFIX), by_targets
        else:
            spare = 1 if spare is None else spare
            prefixes, why = ceil(pods / PREFIX) + spare, f"WARM_PREFIX_TARGET {spare}"
        return PerNode(1 + PREFIX * prefixes, f"{1 + PREFIX * prefixes} a node: prefixes of 16, {busiest}, {why}")
    if warm or least:
        return PerNode(1 + held, f"{1 + held} a node: {busiest}, {by_targets}")
    if places:
        return PerNode(
            1 + places, f"{1 + places} a node at most: a node has places for {places} pods, and the CNI keeps spares"
        )
    return PerNode(1 + pods, f"{1 + pods} a node: {busiest}, no spares counted")


def needs(extra: Mapping[str, int], addresses: int, free: Optional[Mapping[str, int]]) -> list[ZoneNeed]:
    """The needs of each zone, by name; `free` are the addresses of its subnets together."""
    found = []
    for zone in sorted(extra):
        needed = extra[zone] * addresses
        there = None if free is None else free.get(zone, 0)
        found.append(ZoneNeed(zone, extra[zone], needed, there, None if there is None else needed <= there))
    return found


def free_addresses(aws: Aws, subnets: Sequence[str]) -> Optional[dict[str, int]]:
    """Free addresses of these subnets by zone, in one call; None where they cannot be seen. Raises nothing of AWS's."""
    if not subnets:
        return None
    try:
        with aws_errors("ec2:DescribeSubnets", f"subnets {', '.join(subnets[:3])}"):
            answer = aws.client("ec2").describe_subnets(SubnetIds=list(subnets))
    except EvergreenError:
        return None
    free: Counter[str] = Counter()
    for subnet in answer["Subnets"]:
        free[subnet["AvailabilityZone"]] += subnet["AvailableIpAddressCount"]
    return dict(free)


def cni_settings(client: KubernetesClient) -> Optional[dict[str, str]]:
    """The environment of the VPC CNI's container; None where it is not there or cannot be seen. Raises nothing."""
    try:
        found, _version = client.list(DAEMON_SETS, field_selector=f"metadata.name={VPC_CNI}")
    except EvergreenError:
        return None
    return _environment(found[0]) if found else None


def record(node: PerNode, zones: Iterable[ZoneNeed], subnets: Sequence[str]) -> dict[str, Any]:
    """All of it as data."""
    listed = list(zones)
    answers = [zone.enough for zone in listed]
    return {
        "per_node": node.addresses,
        "assumption": node.assumption,
        "subnets": list(subnets),
        "zones": [asdict(zone) for zone in listed],
        "enough": None if None in answers else all(answers),
    }


def _environment(manifest: Mapping[str, Any]) -> dict[str, str]:
    containers = manifest["spec"]["template"]["spec"].get("containers") or []
    return {
        entry["name"]: entry.get("value") or ""
        for container in containers
        if container.get("name") == VPC_CNI
        for entry in container.get("env") or []
    }


def _on(settings: Mapping[str, str], name: str) -> bool:
    return settings.get(name, "").strip().lower() == "true"


def _number(settings: Mapping[str, str], name: str) -> Optional[int]:
    """The number that is set, None where there is none."""
    text = settings.get(name, "").strip()
    return int(text) if text.isdigit() else None
