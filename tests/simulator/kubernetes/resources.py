# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of object that the server knows."""

from __future__ import annotations

from dataclasses import dataclass

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind and how the server treats it.

    ``status_at_creation`` : who creates the object may set its status; elsewhere that is dropped.
    ``answers_object`` : DELETE answers with the object that is gone; for the other kinds with a plain Status.
    ``needs_version`` : a PUT must name the resourceVersion that it replaces.
    ``creates_on_put`` : a PUT of an object that does not exist creates it.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ("status",)
    short: tuple[str, ...] = ()
    status_at_creation: bool = False
    answers_object: bool = False
    needs_version: bool = False
    creates_on_put: bool = False
    fields: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """What stands in ``apiVersion``: ``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The name that messages use: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        """Whether the status is written through a subresource of its own only."""
        return "status" in self.subresources

    def __hash__(self) -> int:
        return hash((self.group, self.plural))


POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)

PODS = Resource(
    "",
    "v1",
    "pods",
    "Pod",
    subresources=("status", "eviction", "binding"),
    short=("po",),
    answers_object=True,
    fields=POD_FIELDS,
)
NODES = Resource(
    "", "v1", "nodes", "Node", False, short=("no",), status_at_creation=True, fields=("spec.unschedulable",)
)
NAMESPACES = Resource(
    "",
    "v1",
    "namespaces",
    "Namespace",
    False,
    subresources=("status", "finalize"),
    short=("ns",),
    fields=("status.phase",),
)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", subresources=(), short=("cm",))
EVENTS = Resource("", "v1", "events", "Event", subresources=(), short=("ev",), creates_on_put=True, fields=EVENT_FIELDS)
SERVICES = Resource("", "v1", "services", "Service", short=("svc",), answers_object=True)
PERSISTENT_VOLUMES = Resource(
    "", "v1", "persistentvolumes", "PersistentVolume", False, short=("pv",), answers_object=True
)
PERSISTENT_VOLUME_CLAIMS = Resource(
    "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",), answers_object=True
)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", subresources=("status", "scale"), short=("deploy",))
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet", subresources=("status", "scale"), short=("rs",))
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet", subresources=("status", "scale"), short=("sts",))
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet", short=("ds",))
JOBS = Resource("batch", "v1", "jobs", "Job", fields=("status.successful",))
POD_DISRUPTION_BUDGETS = Resource(
    "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", short=("pdb",), needs_version=True
)
LEASES = Resource(
    "coordination.k8s.io", "v1", "leases", "Lease", subresources=(), needs_version=True, creates_on_put=True
)
VOLUME_ATTACHMENTS = Resource("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", False)
CSI_NODES = Resource("storage.k8s.io", "v1", "csinodes", "CSINode", False, subresources=())
STORAGE_CLASSES = Resource(
    "storage.k8s.io", "v1", "storageclasses", "StorageClass", False, subresources=(), short=("sc",)
)
PRIORITY_CLASSES = Resource(
    "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, subresources=(), short=("pc",)
)

RESOURCES = (
    NODES,
    PODS,
    NAMESPACES,
    CONFIG_MAPS,
    EVENTS,
    SERVICES,
    PERSISTENT_VOLUMES,
    PERSISTENT_VOLUME_CLAIMS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    JOBS,
    POD_DISRUPTION_BUDGETS,
    LEASES,
    VOLUME_ATTACHMENTS,
    CSI_NODES,
    STORAGE_CLASSES,
    PRIORITY_CLASSES,
)
BY_PATH = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}
BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}
