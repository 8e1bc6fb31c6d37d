# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What EKS is at work on: the updates of a control plane, an add-on or a managed node group.

An update goes on in EKS, whoever asked for it and whether or not he is still there: it is read, joined and awaited by
its id, and never asked for twice. Sources: Update, UpdateType and ErrorDetail in botocore's model of EKS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.eks.api import ask, ask_all
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, WaitTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.moments import timestamp_of
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

IN_PROGRESS, SUCCESSFUL = "InProgress", "Successful"
VERSION_UPDATE, VERSION_ROLLBACK = "VersionUpdate", "VersionRollback"
# What an add-on was configured with may hold what nobody else should read: it goes into no result.
UNTOLD = ("ConfigurationValues",)
# EKS is at work on this very thing, or was a moment ago: it says so for a while after an update, too.
BUSY = "ResourceInUseException"
# What helps, by the error code of an update; the others say it themselves.
REMEDIES = {
    "AccessDenied": "Give the role that EKS uses there its rights back",
    "AdmissionRequestDenied": "Let the admission webhook that its message names admit the change",
    "ClusterUnreachable": "See to it that the control plane reaches the network that its message names",
    "ConfigurationConflict": "Choose who keeps the fields in conflict: resolve_conflicts PRESERVE or OVERWRITE",
    "EniLimitReached": "Raise the account's limit of network interfaces, or delete unused ones",
    "InsufficientFreeAddresses": "Free addresses in the cluster's subnets, or give the cluster other subnets",
    "InsufficientNumberOfReplicas": "Look why its pods do not get Ready",
    "IpNotAvailable": "Free addresses in the cluster's subnets, or give the cluster other subnets",
    "NodeCreationFailure": "Look why its new nodes do not join the cluster",
    "PodEvictionFailure": "Look which PodDisruptionBudget keeps its pods",
    "SecurityGroupNotFound": "Create the security group again, or give the cluster another one",
    "SubnetNotFound": "Create the subnet again, or give the cluster other subnets",
}


@dataclass(frozen=True)
class UpdateError:
    """Why an update failed, in EKS's words; ``resources`` are the ids that it names."""

    code: str
    message: str
    resources: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" [{', '.join(self.resources)}]" if self.resources else ""
        return f"{self.code}: {self.message.strip()}{where}"


@dataclass(frozen=True)
class Update:
    """One update. ``kind`` is its type ("VersionUpdate"), ``params`` what it was asked for ("Version": "1.33"),
    ``created`` when it began, UTC."""

    id: str
    kind: str
    status: str
    errors: tuple[UpdateError, ...] = ()
    created: str = ""
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.status == IN_PROGRESS

    @property
    def successful(self) -> bool:
        return self.status == SUCCESSFUL

    @property
    def version(self) -> str:
        """The Kubernetes version that it brings a control plane to, up or back; "" for an update of another kind."""
        return self.params.get("Version", "") if self.kind in (VERSION_UPDATE, VERSION_ROLLBACK) else ""

    @property
    def record(self) -> dict[str, Any]:
        """As a module answers it."""
        return {
            "id": self.id,
            "type": self.kind,
            "status": self.status,
            "created": self.created,
            "params": {name: value for name, value in self.params.items() if name not in UNTOLD},
            "errors": [vars(error) | {"resources": list(error.resources)} for error in self.errors],
        }


class UpdateFailed(EvergreenError):
    """EKS has ended the update without success: Failed, or Cancelled."""

    default_reason = "update_failed"


class UpdateTimeout(WaitTimeout):
    """The update goes on in EKS, but not within the time that was given for the wait."""

    default_reason = "update_timeout"


def update_from(answer: Mapping[str, Any]) -> Update:
    """The record of an Update as EKS answers it."""
    created = answer.get("createdAt")
    return Update(
        id=answer["id"],
        kind=answer.get("type", ""),
        status=answer.get("status", ""),
        errors=tuple(
            UpdateError(
                error.get("errorCode", "Unknown"), error.get("errorMessage", ""), tuple(error.get("resourceIds") or ())
            )
            for error in answer.get("errors") or ()
        ),
        created=timestamp_of(created) if created else "",
        params={param["type"]: param.get("value", "") for param in answer.get("params") or ()},
    )


# --- reading ----------------------------------------------------------------------------------------------------------


def read_update(aws: Aws, cluster: str, update_id: str, *, addon: str = "", nodegroup: str = "") -> Update:
    """One update by its id; that of an add-on or a node group is found only under its name."""
    subject = f"update {update_id} of {_subject(cluster, addon, nodegroup)}"
    return update_from(
        ask(aws, "DescribeUpdate", subject, updateId=update_id, **_names(cluster, addon, nodegroup))["update"]
    )


def updates_of(aws: Aws, cluster: str, *, addon: str = "", nodegroup: str = "") -> Iterator[Update]:
    """The updates that EKS still knows, each read when it is asked for, the likeliest to be the latest first."""
    subject = _subject(cluster, addon, nodegroup)
    ids = ask_all(aws, "ListUpdates", subject, "updateIds", **_names(cluster, addon, nodegroup))
    for update_id in from_both_ends(ids):
        yield read_update(aws, cluster, update_id, addon=addon, nodegroup=nodegroup)


def running_update(aws: Aws, cluster: str, *, addon: str = "", nodegroup: str = "") -> Update | None:
    """The update that is under way there, whoever asked for it; EKS never has two of one thing."""
    return next((one for one in updates_of(aws, cluster, addon=addon, nodegroup=nodegroup) if one.running), None)


def from_both_ends(ids: Sequence[str]) -> list[str]:
    """Last, first, last but one, second, ...: the latest is at one of the ends, and EKS does not say at which."""
    ahead, behind = list(ids[: len(ids) // 2]), list(reversed(ids[len(ids) // 2 :]))
    turns = [one for pair in zip(behind, ahead) for one in pair]
    return turns + behind[len(ahead) :]


# --- beginning, and waiting -------------------------------------------------------------------------------------------


def begin_update(aws: Aws, call: Call, operation: str, subject: str, **request: Any) -> Update:
    """Ask for an update ("UpdateClusterVersion") once; the intent is in the journal before.

    ``request`` should carry a ``clientRequestToken`` that is the same for each attempt at the same update. Raises
    AwsError: where C(may_have_begun) says so, the update may be under way all the same, and the caller looks first.
    """
    call.journal.write_new("intent", verb=operation, subject=subject, text=f"{subject}: {operation}")
    return update_from(ask(aws, operation, subject, once=True, **request)["update"])


def say_joined(call: Call, subject: str, update: Update) -> None:
    """Write that an update is under way there already, and is waited for."""
    text = f"{subject}: {update.kind} is under way since {update.created} and is waited for"
    call.journal.write("update_joined", subject=subject, update=update.id, text=text)


def may_have_begun(error: AwsError) -> bool:
    """Whether to look what became of the request, and to ask again where nothing did: the answer was lost, AWS is out
    of order for a moment, or EKS is at work there already."""
    return error.transient or error.code == BUSY


def await_update(
    aws: Aws,
    call: Call,
    cluster: str,
    update_id: str,
    *,
    subject: str,
    timeout: float,
    poll_seconds: float,
    addon: str = "",
    nodegroup: str = "",
) -> Update:
    """Wait until the update has succeeded; ``timeout`` in seconds, 0 for ever. One DescribeUpdate a poll.

    Throttling and outages are waited out. Raises UpdateFailed with the errors named, and UpdateTimeout.
    """
    began = call.clock.now()

    def waiting_for(update: Update) -> str:
        return f"{subject}: EKS is at work, {update.kind} is {update.status} for {_span(call.clock.now() - began)}"

    try:
        update = wait_patiently(
            lambda: read_update(aws, cluster, update_id, addon=addon, nodegroup=nodegroup),
            lambda seen: not seen.running,
            call=call,
            deadline=Deadline(call.clock, timeout),
            interval=poll_seconds,
            heartbeat=Heartbeat(call),
            describe=waiting_for,
        )
    except WaitTimeout as late:
        raise UpdateTimeout(
            f"{subject}: update {update_id} has not ended in {timeout:g} s",
            last=late.last,
            remedy="EKS goes on with it; run again to wait on, it is not asked for twice",
            update=late.last.record,
        ) from None
    seconds = round(call.clock.now() - began)
    call.journal.write(
        "update_ended",
        subject=subject,
        update=update.id,
        status=update.status,
        errors=[str(error) for error in update.errors],
        seconds=seconds,
        text=f"{subject}: {update.status} after {_span(seconds)}",
    )
    if not update.successful:
        raise update_failed(subject, update)
    return update


def update_failed(subject: str, update: Update) -> UpdateFailed:
    """The failure of an update that has ended without success, with what helps."""
    causes = "; ".join(str(error) for error in update.errors) or "EKS names no cause"
    helps = dict.fromkeys(REMEDIES[error.code] for error in update.errors if error.code in REMEDIES)
    return UpdateFailed(
        f"{subject}: EKS has ended update {update.id} as {update.status}: {causes}",
        remedy="; ".join([*helps, "then run again" if helps else "Run again once that is mended"]),
        update=update.record,
    )


def _names(cluster: str, addon: str, nodegroup: str) -> dict[str, str]:
    names = {"name": cluster, "addonName": addon, "nodegroupName": nodegroup}
    return {key: value for key, value in names.items() if value}


def _subject(cluster: str, addon: str, nodegroup: str) -> str:
    part = f"add-on {addon} of " if addon else f"node group {nodegroup} of " if nodegroup else ""
    return f"{part}EKS cluster {cluster}"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
