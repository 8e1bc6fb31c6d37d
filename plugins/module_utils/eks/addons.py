# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-ons that EKS manages: how one is, and the request that brings it to another version.

Sources: Addon, AddonStatus, AddonIssue and UpdateAddon in botocore's model of EKS.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.eks.api import ask, ask_all
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import Issue

ACTIVE, CREATING, UPDATING, DELETING = "ACTIVE", "CREATING", "UPDATING", "DELETING"
# What was asked for last did not come to be; it can be asked for again.
FAILED = ("CREATE_FAILED", "UPDATE_FAILED")
# What helps, by the code of a health issue; the others say it themselves.
REMEDIES = {
    "AccessDenied": "give the add-on's role the rights that its message names",
    "AdmissionRequestDenied": "let the admission webhook that its message names admit the change",
    "AddonPermissionFailure": "give the add-on's role the rights that its message names",
    "AddonSubscriptionNeeded": "subscribe to it in AWS Marketplace",
    "ClusterUnreachable": "see to it that EKS reaches the Kubernetes API",
    "ConfigurationConflict": "choose who keeps the fields in conflict: resolve_conflicts PRESERVE or OVERWRITE",
    "InsufficientNumberOfReplicas": "look why its pods do not get Ready",
    "K8sResourceNotFound": "let EKS put back what was deleted: resolve_conflicts OVERWRITE",
    "UnsupportedAddonModification": "take back what was changed by hand: resolve_conflicts OVERWRITE",
}


@dataclass(frozen=True)
class Addon:
    """An add-on as it is installed.

    `role` is the ARN of its service account's role, `values` its configuration values as they were given; both "" for
    none. `namespace` is "" for the add-on's usual one.
    """

    name: str
    version: str
    status: str
    issues: tuple[Issue, ...] = ()
    role: str = ""
    values: str = ""
    namespace: str = ""
    arn: str = ""

    @property
    def busy(self) -> bool:
        """EKS is at work on it."""
        return self.status in (CREATING, UPDATING, DELETING)

    @property
    def failed(self) -> bool:
        """What was asked for last has not come to be."""
        return self.status in FAILED

    @property
    def healthy(self) -> bool:
        return self.status == ACTIVE and not self.issues


def addon_from(answer: Mapping[str, Any]) -> Addon:
    """The record of an Addon as EKS answers it."""
    issues = (answer.get("health") or {}).get("issues") or ()
    return Addon(
        name=answer["addonName"],
        version=answer.get("addonVersion", ""),
        status=answer.get("status", ""),
        issues=tuple(
            Issue(issue.get("code", ""), issue.get("message", ""), tuple(issue.get("resourceIds") or ()))
            for issue in issues
        ),
        role=answer.get("serviceAccountRoleArn") or "",
        values=answer.get("configurationValues") or "",
        namespace=(answer.get("namespaceConfig") or {}).get("namespace") or "",
        arn=answer.get("addonArn", ""),
    )


def list_addons(aws: Aws, cluster: str) -> list[str]:
    """The names of all that EKS manages there."""
    return ask_all(aws, "ListAddons", f"the EKS cluster {cluster}", "addons", clusterName=cluster)


def read_addon(aws: Aws, cluster: str, name: str) -> Optional[Addon]:
    """One of them; None where EKS does not manage it."""
    try:
        answer = ask(aws, "DescribeAddon", subject(cluster, name), clusterName=cluster, addonName=name)
    except AwsError as error:
        if error.reason == "not_found":
            return None
        raise
    return addon_from(answer["addon"])


def subject(cluster: str, name: str) -> str:
    """How it is called in messages."""
    return f"add-on {name} of EKS cluster {cluster}"


def update_request(cluster: str, addon: Addon, version: str, conflicts: str, history: Iterable[str]) -> dict[str, Any]:
    """The parameters of UpdateAddon.

    Role and configuration values are sent again: without a role EKS takes the role away. Pod identities stay where none
    are named. ``history`` holds the ids of the updates that EKS knows of it, for the token.
    """
    kept = {"serviceAccountRoleArn": addon.role, "configurationValues": addon.values}
    request = {
        "clusterName": cluster,
        "addonName": addon.name,
        "addonVersion": version,
        "resolveConflicts": conflicts,
        **{name: value for name, value in kept.items() if value},
    }
    return {**request, "clientRequestToken": token(addon.arn, request, history)}


def token(arn: str, request: Mapping[str, Any], history: Iterable[str]) -> str:
    """By which EKS knows a request that it has got already.

    It is the same for a request that is repeated because nobody knows whether it arrived, also by another process after
    a kill, and another one once an update has begun since, such as one that failed.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([arn, dict(request), sorted(history)], sort_keys=True)))


def remedy_for(issues: Iterable[Issue]) -> str:
    """What helps against these, in words."""
    helps = list(dict.fromkeys(REMEDIES[issue.code] for issue in issues if issue.code in REMEDIES))
    text = "; ".join([*helps, "then run again"]) if helps else "mend what EKS names, then run again"
    return text[:1].upper() + text[1:]
