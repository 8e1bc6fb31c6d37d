# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked about a cluster, what was seen of it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import Cluster
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, Instance
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.lease import Lease
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node
from ansible_collections.evergreen.eks.plugins.module_utils.picture import Picture

ERROR, WARNING = "error", "warning"
SEVERITIES = (ERROR, WARNING)
# On the Auto Scaling group of an EKS managed node group, with its name.
MANAGED_TAG = "eks:nodegroup-name"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    `passes`: it may well pass by itself, and is waited for; anything else is as it is until somebody does something.
    """

    check: str
    severity: str
    object: str
    message: str
    remedy: str
    passes: bool = False

    @property
    def key(self) -> str:
        """By what it is known from one look to the next."""
        return f"{self.check}:{self.object}"

    def as_data(self) -> dict[str, Any]:
        """For the result."""
        return {name: getattr(self, name) for name in ("check", "severity", "object", "message", "remedy")}


@dataclass(frozen=True)
class Sidecar:
    """A container that pods with this annotation, or label, get from an injector."""

    annotation: str
    value: str
    container: str

    def is_asked_for(self, pod: Mapping[str, Any]) -> bool:
        """By the pod's own annotations; Istio takes a label, too. Of a YAML boolean Ansible makes the text True."""
        metadata, value = pod["metadata"], self.value.casefold()
        carried = [(metadata.get(kind) or {}).get(self.annotation) or "" for kind in ("annotations", "labels")]
        return any(one.casefold() == value for one in carried)


@dataclass(frozen=True)
class Wanted:
    """How the cluster should be. Without `node_groups` all are meant; `here` is the run that asks."""

    version: Version
    node_groups: frozenset[str] = frozenset()
    sidecars: tuple[Sidecar, ...] = ()
    here: Holder | None = None

    def means(self, *names: str) -> bool:
        """Whether a node group of one of these names is to have the version that is wanted."""
        return not self.node_groups or bool(self.node_groups.intersection(names))


READY, NOT_READY, MISSING = "ready", "not_ready", "missing"


@dataclass(frozen=True)
class Injection:
    """A pod that asks for a sidecar, and what has become of that: READY, NOT_READY or MISSING."""

    object: str  # its workload, or itself
    pod: str
    sidecar: Sidecar
    state: str


@dataclass(frozen=True)
class Attachment:
    """A VolumeAttachment: a CSI driver is to bring a volume to a node, or to take it away (`leaving`)."""

    name: str
    driver: str
    node: str
    attached: bool
    leaving: bool
    since: str
    error: str = ""


@dataclass(frozen=True)
class NodeGroup:
    """An Auto Scaling group of the cluster.

    `image` is the name of the image that it would launch now and `version` the Kubernetes version that this name says,
    where it does; `problem` is why that cannot be told.
    """

    group: Group
    image: str = ""
    version: Version | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        return self.group.name

    @property
    def managed(self) -> str:
        """The name of the EKS managed node group that it belongs to, "" for none."""
        return self.group.tags.get(MANAGED_TAG, "")

    @property
    def title(self) -> str:
        """As messages call it."""
        return f"EKS node group {self.managed}" if self.managed else f"Auto Scaling group {self.name}"


@dataclass(frozen=True)
class ManagedGroup:
    """An EKS managed node group as DescribeNodegroup shows it."""

    name: str
    version: Version | None
    status: str
    issues: tuple[str, ...] = ()


@dataclass(frozen=True)
class CloudFacts:
    """What AWS says. `marked` are instances with a tag of ours, of groups of the cluster."""

    cluster: Cluster
    groups: tuple[NodeGroup, ...] = ()
    managed: tuple[ManagedGroup, ...] = ()
    marked: tuple[Instance, ...] = ()


@dataclass(frozen=True)
class Scene:
    """All that one look saw. `nodes`: by name, with what the picture leaves out; `lease_hidden`: we may not see it."""

    picture: Picture
    cloud: CloudFacts
    nodes: Mapping[str, Node] = field(default_factory=dict)
    injections: tuple[Injection, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    lease: Lease | None = None
    lease_hidden: bool = False

    @property
    def group_by_instance(self) -> dict[str, NodeGroup]:
        """The group that each member is in."""
        return {member.instance_id: one for one in self.cloud.groups for member in one.group.members}

    def nodes_of(self, group: Group) -> list[Node]:
        """The nodes of its members."""
        members = {member.instance_id for member in group.members}
        return sorted((one for one in self.nodes.values() if one.instance_id in members), key=lambda one: one.name)
