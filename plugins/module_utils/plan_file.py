# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a file: written by a plan, followed by a rollout that refuses where it would do something else.

One file holds the plans of all node groups of a cluster, C(groups) by name; each is what C(rollout_result) was. A group
that is planned again replaces its own plan and leaves the others.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import cleaned
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_timestamp
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Host
from ansible_collections.evergreen.eks.plugins.module_utils.private_file import disk_is_full, replace_privately

SCHEMA = 1
KIND = "evergreen.eks/plan"
NAMED = 4
#: the settings by which a plan decides; another value of one of them would make another plan
DECISIVE = ("select", "max_surge", "max_unavailable", "canary")
ANEW = "Make a new plan (evergreen.eks.plan with the same variables), or leave eks_plan_file out"


class PlanDrift(EvergreenError):
    """The rollout would not be the one that was planned; nothing has been changed."""

    default_reason = "plan_drift"


class PlanUnusable(EvergreenError):
    """The file is no plan that can be followed or written; C(reason) is plan_missing, plan_unreadable, plan_foreign
    or plan_unwritable."""


@dataclass(frozen=True)
class Planned:
    """What a rollout compares of a plan. `made` is when, `target` the fingerprint of what was to be launched."""

    place: str
    made: str
    target: str
    target_text: str
    selected: tuple[str, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Followed:
    """Whom a run that follows its plan replaces, each with the reason, and what an operator should know about it."""

    selected: Mapping[str, str]
    notes: tuple[str, ...] = ()


def write_plan(path: Path, cluster: Mapping[str, str], name: str, plan: Mapping[str, Any]) -> None:
    """Put the plan of this group into the file, mode 0600, in one step. Raises PlanUnusable.

    A file of another cluster, or one that is no plan, is not overwritten. Several groups may be planned side by side.
    """
    try:
        with _alone(path):
            known = _read(path)
            if known is not None and _identity(known["cluster"]) != _identity(cluster):
                raise _foreign(path, known["cluster"], cluster)
            groups = {**(known["groups"] if known else {}), name: cleaned(plan)}
            document = {"kind": KIND, "schema": SCHEMA, "cluster": dict(cluster), "groups": groups}
            replace_privately(path, (json.dumps(document, indent=2) + "\n").encode())
    except OSError as error:
        raise PlanUnusable(
            f"the plan file {path} cannot be written: {error.strerror or error}",
            reason="plan_unwritable",
            remedy=(
                "Free the disk"
                if disk_is_full(error)
                else "Name a file in a folder that exists and that you may write to"
            ),
        ) from error


def read_planned(path: Path, cluster: Mapping[str, str], name: str) -> Planned:
    """What the file says of this group. Raises PlanUnusable."""
    try:
        known = _read(path)
    except OSError as error:
        raise _unreadable(path, str(error.strerror or error)) from error
    if known is None:
        raise PlanUnusable(
            f"there is no plan file {path}",
            reason="plan_missing",
            remedy="Make it with evergreen.eks.plan and the same variables, or leave eks_plan_file out",
        )
    if _identity(known["cluster"]) != _identity(cluster):
        raise _foreign(path, known["cluster"], cluster)
    if name not in known["groups"]:
        others = ", ".join(sorted(known["groups"])) or "none"
        raise PlanUnusable(
            f"plan file {path} has no plan of node group {name}, only of {others}",
            reason="plan_missing",
            remedy=ANEW,
        )
    return _planned(path, known["groups"][name])


def still_there(planned: Planned, hosts: Sequence[Host]) -> list[str]:
    """Who was planned to be replaced, and is a member still."""
    members = {host.instance_id for host in hosts if host.counts}
    return [name for name in planned.selected if name in members]


def follow(
    planned: Planned,
    asked: Mapping[str, Any],
    target: tuple[str, str],
    chosen: Mapping[str, str],
    hosts: Sequence[Host],
) -> Followed:
    """The planned selection, as far as it is still there. Raises PlanDrift, which names what is not as it was planned.

    `target` is what would be launched now (fingerprint, in words), `chosen` who would be selected now, `hosts` the
    members. Members that came after the plan was made are new and stay; planned ones that have left are finished. So an
    autoscaler, or a spot loss, is no drift; neither is another desired capacity.
    """
    members = {host.instance_id: host for host in hosts if host.counts}
    later = {name for name in chosen if name not in planned.selected and _came_after(members[name], planned.made)}
    added = sorted(set(chosen) - set(planned.selected) - later)
    dropped = sorted(name for name in planned.selected if name in members and name not in chosen)
    findings = [
        *_other_settings(planned, asked),
        *([f"it would launch {target[1]}, planned was {planned.target_text}"] if target[0] != planned.target else []),
        *([f"{_some(added)} would be replaced, and was not planned to be"] if added else []),
        *([f"{_some(dropped)} was planned to be replaced, and would not be"] if dropped else []),
    ]
    if findings:
        raise PlanDrift(
            f"this is not the rollout that was planned at {planned.made} ({planned.place}): {'; '.join(findings)}",
            remedy=ANEW,
            added=added,
            dropped=dropped,
            planned=list(planned.selected),
            was=planned.target_text,
            now=target[1],
        )
    gone = sorted(name for name in planned.selected if name not in members)
    return Followed(
        {name: reason for name, reason in chosen.items() if name not in later},
        (
            f"follows the plan of {planned.made} ({planned.place})",
            *([f"planned to be replaced, and gone already: {_some(gone)}"] if gone else []),
            *([f"launched after the plan was made, and kept: {_some(sorted(later))}"] if later else []),
        ),
    )


# --- the parts -----------------------------------------------------------------------------------------------------


def _came_after(host: Host, made: str) -> bool:
    """Launched after that moment, from what the group launches now: who is outdated all the same is no newcomer."""
    moment = parse_timestamp(made)
    return bool(moment and host.launched and host.launched > moment and not host.outdated)


def _other_settings(planned: Planned, asked: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} is {asked[name]}, planned was {planned.settings[name]}"
        for name in DECISIVE
        if name in planned.settings and planned.settings[name] != asked.get(name)
    ]


def _planned(path: Path, plan: Mapping[str, Any]) -> Planned:
    try:
        return Planned(
            place=str(path),
            made=plan["made"],
            target=plan["fingerprint"],
            target_text=plan["target"],
            selected=tuple(plan["remaining"]),
            settings=dict(plan["settings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, f"{type(error).__name__} {error}") from error


def _read(path: Path) -> Optional[dict[str, Any]]:
    """The document, None where there is no such file. Raises PlanUnusable, and OSError."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _unreadable(path, str(error)) from error
    ours = isinstance(document, dict) and document.get("kind") == KIND
    if not ours or not isinstance(document.get("groups"), dict) or not isinstance(document.get("cluster"), dict):
        raise _unreadable(path, "it is not a plan")
    if document.get("schema") != SCHEMA:
        raise _unreadable(path, f"it has schema {document.get('schema')}, and this release knows {SCHEMA}")
    return document


def _identity(cluster: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(cluster.get(key) for key in ("uid", "account", "region"))


def _unreadable(path: Path, why: str) -> PlanUnusable:
    return PlanUnusable(
        f"{path} is not a plan file that can be used: {why}",
        reason="plan_unreadable",
        remedy="Name another file with eks_plan_file, or move this one away and plan again",
    )


def _foreign(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> PlanUnusable:
    def where(cluster: Mapping[str, Any]) -> str:
        return f"{cluster.get('name')} ({cluster.get('account')}, {cluster.get('region')})"

    return PlanUnusable(
        f"plan file {path} is of cluster {where(theirs)}, not of {where(ours)} as you are connected to it",
        reason="plan_foreign",
        remedy="Name another file with eks_plan_file",
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else writes a file of this folder meanwhile; the operating system gives the lock back at our end."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def check_place(path: Path) -> None:
    """Raise InvalidInput for a place where no file can be, before anything is asked of anybody."""
    if path.is_dir():
        raise InvalidInput(f"the plan file {path} is a folder", remedy="Name a file with eks_plan_file")
