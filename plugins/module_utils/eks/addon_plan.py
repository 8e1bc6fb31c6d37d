# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done about the add-ons of a cluster: who is meant, in which order, and by which versions.

All of it is known before anything is changed, so that a bad wish changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_versions import (
    DEFAULT,
    LATEST,
    AddonVersionError,
    Choice,
    Offers,
    choose,
    read_offers,
    steps,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addons import (
    DELETING,
    Addon,
    list_addons,
    read_addon,
    remedy_for,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.self_managed import (
    KINDS,
    SelfManaged,
    read_self_managed,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient

ALL = "all"
REPORT, SET, IGNORE = "report", "set", "ignore"
PRESERVE, OVERWRITE, NONE = "PRESERVE", "OVERWRITE", "NONE"
CONFLICTS = (PRESERVE, OVERWRITE, NONE)
# Pods have addresses before services are reached, and names are resolved over both.
ORDER = ("vpc-cni", "kube-proxy", "coredns")
KEYS = ("name", "version", "resolve_conflicts")


@dataclass(frozen=True)
class Wish:
    """What is asked for of one add-on; `version` is default, latest or a version."""

    name: str
    version: str
    conflicts: str


@dataclass(frozen=True)
class Item:
    """One add-on that is worked on: as EKS manages it (`addon`), or as it is without EKS (`workload`).

    `choice` and `steps` are those of the moment when it was planned; `note` says why it is left as it is.
    """

    wish: Wish
    offers: Offers
    choice: Choice
    steps: tuple[str, ...]
    addon: Optional[Addon] = None
    workload: Optional[SelfManaged] = None
    note: str = ""

    @property
    def name(self) -> str:
        return self.wish.name

    @property
    def version(self) -> str:
        """The one it has."""
        return self.addon.version if self.addon else self.workload.version if self.workload else ""

    @property
    def namespace(self) -> str:
        """Where its pods are."""
        return (self.addon.namespace if self.addon else "") or self.offers.namespace


@dataclass(frozen=True)
class Terms:
    """What holds for all add-ons: defaults of wishes, what becomes of self-managed ones, and the Kubernetes versions
    that a version has to go with: the first is that for which it is looked up."""

    version: str
    conflicts: str
    self_managed: str
    kubernetes: tuple[str, ...] = ()


def read_wishes(value: Any, terms: Terms) -> Optional[list[Wish]]:
    """The option `addons`: None for all; a list of names or dicts, also as JSON or C(a,b). Raises InvalidInput."""
    entries = _listed(value)
    if entries is None:
        return None
    wishes = [_wish(entry, terms) for entry in entries]
    names = [wish.name for wish in wishes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"addons names {', '.join(twice)} more than once", remedy="Name each add-on once")
    return wishes


def _listed(value: Any) -> Optional[list[Any]]:
    if isinstance(value, str):
        text = value.strip()
        if text in ("", ALL):
            return None
        try:
            value = json.loads(text) if text[:1] in "[{" else [item.strip() for item in text.split(",") if item.strip()]
        except ValueError:
            value = None
    entries = [value] if isinstance(value, Mapping) else value
    if not isinstance(entries, Sequence):
        raise InvalidInput(
            "addons is no list of add-ons", remedy="Give all, names (vpc-cni,coredns), or a list of names and dicts"
        )
    return None if list(entries) == [ALL] else list(entries)


def _wish(entry: Any, terms: Terms) -> Wish:
    given = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(given, Mapping) or not given.get("name"):
        raise InvalidInput(f"addons has an entry without a name: {entry!r}", remedy=f"An entry has {', '.join(KEYS)}")
    unknown = sorted(set(given) - set(KEYS))
    if unknown:
        raise InvalidInput(
            f"The entry of addons for {given['name']} has the unknown {', '.join(unknown)}",
            remedy=f"An entry has {', '.join(KEYS)}",
        )
    conflicts = str(given.get("resolve_conflicts") or terms.conflicts).upper()
    if conflicts not in CONFLICTS:
        raise InvalidInput(
            f"resolve_conflicts of {given['name']} is {conflicts}", remedy=f"Give one of {', '.join(CONFLICTS)}"
        )
    return Wish(str(given["name"]).strip(), str(given.get("version") or terms.version).strip(), conflicts)


def in_order(names: Iterable[str]) -> list[str]:
    """The network first, then the others by name."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def kubernetes_versions(asked: Optional[Version], own: Version, *, foresee: bool) -> tuple[str, ...]:
    """What an add-on has to go with: the version asked for, and, unless that is only foreseen, the cluster's own."""
    wanted = [asked or own] if foresee else [asked or own, own]
    return tuple(dict.fromkeys(map(str, wanted)))


def make_plan(
    aws: Aws, client: KubernetesClient, cluster: str, wishes: Optional[list[Wish]], terms: Terms
) -> list[Item]:
    """What is to be done, in its order. Reads only. Raises EvergreenError (addon_missing, addon_deleting and those of
    AddonVersionError)."""
    managed = list_addons(aws, cluster)
    names = in_order({*managed, *KINDS}) if wishes is None else [wish.name for wish in wishes]
    asked = {name: Wish(name, terms.version, terms.conflicts) for name in names}
    asked |= {wish.name: wish for wish in wishes or ()}
    addons = {name: addon for name in names if name in managed and (addon := read_addon(aws, cluster, name))}
    alone = [name for name in names if name in KINDS and name not in addons and terms.self_managed != IGNORE]
    workloads = {name: workload for name in alone if (workload := read_self_managed(client, name))}
    found = [name for name in names if name in addons or name in workloads]
    if wishes is not None and len(found) < len(names):
        raise missing(cluster, [name for name in names if name not in found], managed, terms)
    return [
        (
            plan_managed(asked[name], addons[name], _offers(aws, name, terms))
            if name in addons
            else plan_self_managed(
                asked[name], workloads[name], _offers(aws, name, terms), terms, named=wishes is not None
            )
        )
        for name in found
    ]


def _offers(aws: Aws, name: str, terms: Terms) -> list[Offers]:
    return [read_offers(aws, name, version) for version in terms.kubernetes]


def missing(cluster: str, names: Sequence[str], managed: Sequence[str], terms: Terms) -> EvergreenError:
    """The one error for all add-ons that are not there."""
    ignored = terms.self_managed == IGNORE and any(name in KINDS for name in names)
    there = ", ".join(in_order(managed)) or "none"
    return EvergreenError(
        f"EKS cluster {cluster} has no add-on {', '.join(names)}; EKS manages there: {there}",
        reason="addon_missing",
        remedy="Check the names, or create what is missing first"
        + ("; what is self-managed is passed over with self_managed=ignore" if ignored else ""),
        missing=list(names),
    )


def plan_managed(wish: Wish, addon: Addon, offers: Sequence[Offers]) -> Item:
    """The plan for one that EKS manages."""
    if addon.status in (DELETING, "DELETE_FAILED"):
        causes = "; ".join(map(str, addon.issues))
        raise EvergreenError(
            f"Add-on {addon.name} is {addon.status}{f': {causes}' if causes else ''}",
            reason="addon_deleting",
            remedy=f"Leave it out, or wait until it is gone. {remedy_for(addon.issues) if addon.issues else ''}",
            addon=addon.name,
        )
    choice = chosen(wish, addon.version, offers)
    return Item(wish, offers[0], choice, tuple(steps(offers[0], addon.version, choice.version)), addon=addon)


def plan_self_managed(
    wish: Wish, workload: SelfManaged, offers: Sequence[Offers], terms: Terms, *, named: bool
) -> Item:
    """The plan for one that EKS does not manage. An image that is none of EKS's stays as it is; to set one that was
    asked for by name is an error (image_foreign). That no way leads from its version to the usual one is an error only
    where it is to be set; else it is told in the note."""
    if not workload.version:
        note = f"its image {workload.found} is none of EKS's"
        if named and terms.self_managed == SET:
            raise EvergreenError(
                f"{workload.kind.kind} {workload.kind.name} is self-managed, and {note}",
                reason="image_foreign",
                remedy="Bring it up to date as it was installed, and leave it out here",
                addon=wish.name,
            )
        return Item(wish, offers[0], Choice(_usual(wish, offers[0])), (), workload=workload, note=note)
    try:
        choice = chosen(wish, workload.version, offers)
        if workload.image_at(choice.version) == workload.found:
            return Item(wish, offers[0], choice, (), workload=workload)
        path = tuple(steps(offers[0], workload.version, choice.version))
    except AddonVersionError as error:
        # What is only reported may be as it is: kube-proxy of a cluster that is years old, or a newer aws-node.
        if terms.self_managed == SET or wish.version not in (DEFAULT, LATEST):
            raise
        return Item(wish, offers[0], Choice(_usual(wish, offers[0])), (), workload=workload, note=error.message)
    return Item(wish, offers[0], choice, path, workload=workload, note=choice.why)


def _usual(wish: Wish, offers: Offers) -> str:
    """The version that is wanted of an add-on whatever it is at."""
    return offers.default if wish.version == DEFAULT else offers.latest


def chosen(wish: Wish, installed: str, offers: Sequence[Offers]) -> Choice:
    """Its version; one that goes with all the Kubernetes versions."""
    first, *others = offers
    choice = choose(first, wish.version, installed)
    for other in others:
        if not other.has(choice.version):
            raise AddonVersionError(
                f"Version {choice.version} of the add-on {wish.name} is for Kubernetes {first.kubernetes}, "
                f"but the cluster is at {other.kubernetes}",
                reason="unknown_version",
                remedy=f"Upgrade the control plane first, or name one of {other.shown()}",
                addon=wish.name,
            )
    return choice
