# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done about the add-ons of a cluster: who is meant, in which order, by which versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_plan import (
    Terms,
    Wish,
    in_order,
    kubernetes_versions,
    plan_managed,
    plan_self_managed,
    read_wishes,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_versions import Offer, Offers
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_work import Outcome, warnings_of
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addons import Addon
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import Issue
from ansible_collections.evergreen.eks.plugins.module_utils.eks.self_managed import KINDS, SelfManaged, from_manifest
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput

TERMS = Terms("default", "PRESERVE", "report", ("1.33",))
PROXY = Offers("kube-proxy", "1.33", (Offer("v1.33.0-eksbuild.2", default=True), Offer("v1.33.3-eksbuild.8")))
OLD_PROXY = Offers("kube-proxy", "1.32", (Offer("v1.32.0-eksbuild.2", default=True),))
DNS = Offers("coredns", "1.33", (Offer("v1.11.4-eksbuild.2"), Offer("v1.12.1-eksbuild.2", default=True)))


def wish(name: str, version: str = "default") -> Wish:
    return Wish(name, version, "PRESERVE")


def kube_proxy(image: str) -> SelfManaged:
    spec = {"template": {"spec": {"containers": [{"name": "kube-proxy", "image": image}]}}}
    return from_manifest(KINDS["kube-proxy"], {"metadata": {"name": "kube-proxy"}, "spec": spec})


@pytest.mark.parametrize("value", ["all", " all ", "", ["all"]])
def test_all_of_them(value: Any) -> None:
    assert read_wishes(value, TERMS) is None


@pytest.mark.parametrize(
    "value",
    [
        "coredns,vpc-cni",
        ["coredns", {"name": "vpc-cni"}],
        '["coredns", {"name": "vpc-cni", "version": ""}]',
        [{"name": "coredns", "version": "default"}, {"name": "vpc-cni", "resolve_conflicts": "preserve"}],
    ],
)
def test_a_list_in_its_order_and_with_the_terms_of_all(value: Any) -> None:
    assert read_wishes(value, TERMS) == [wish("coredns"), wish("vpc-cni")]


def test_an_entry_beats_the_terms_of_all() -> None:
    entry = {"name": "vpc-cni", "version": "latest", "resolve_conflicts": "OVERWRITE"}
    assert read_wishes(entry, TERMS) == [Wish("vpc-cni", "latest", "OVERWRITE")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "addons is no list of add-ons"),
        ("[vpc-cni", "addons is no list of add-ons"),
        ([{"version": "latest"}], "an entry without a name"),
        ([["vpc-cni"]], "an entry without a name"),
        ([{"name": "vpc-cni", "force": True}], "the unknown force"),
        ([{"name": "vpc-cni", "resolve_conflicts": "FORCE"}], "resolve_conflicts of vpc-cni is FORCE"),
        (["vpc-cni", {"name": "vpc-cni"}], "names vpc-cni more than once"),
    ],
)
def test_a_list_that_cannot_be_meant(value: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_wishes(value, TERMS)


def test_the_network_comes_first() -> None:
    names = {"coredns", "aws-ebs-csi-driver", "kube-proxy", "vpc-cni", "adot"}
    assert in_order(names) == ["vpc-cni", "kube-proxy", "coredns", "adot", "aws-ebs-csi-driver"]


@pytest.mark.parametrize(
    ("asked", "foresee", "versions"),
    [
        (None, False, ("1.32",)),
        (None, True, ("1.32",)),
        (Version(1, 32), False, ("1.32",)),
        (Version(1, 33), False, ("1.33", "1.32")),
        (Version(1, 33), True, ("1.33",)),
    ],
)
def test_what_versions_have_to_go_with(asked: Version | None, foresee: bool, versions: tuple[str, ...]) -> None:
    assert kubernetes_versions(asked, Version(1, 32), foresee=foresee) == versions


def test_a_managed_addon_and_its_step() -> None:
    item = plan_managed(wish("coredns"), Addon("coredns", "v1.11.3-eksbuild.1", "DEGRADED"), [DNS])
    assert (item.version, item.choice.version, item.steps) == (
        *("v1.11.3-eksbuild.1", "v1.12.1-eksbuild.2"),
        ("v1.12.1-eksbuild.2",),
    )


def test_a_version_that_the_cluster_is_too_old_for() -> None:
    addon = Addon("kube-proxy", "v1.31.2-eksbuild.2", "ACTIVE")
    with pytest.raises(EvergreenError, match="is for Kubernetes 1.33, but the cluster is at 1.32. Upgrade the control"):
        plan_managed(wish("kube-proxy"), addon, [PROXY, OLD_PROXY])


@pytest.mark.parametrize("status", ["DELETING", "DELETE_FAILED"])
def test_an_addon_that_goes_is_left_alone(status: str) -> None:
    addon = Addon("coredns", "v1.11.3-eksbuild.1", status, (Issue("AccessDenied", "no"),))
    with pytest.raises(EvergreenError, match=f"Add-on coredns is {status}: AccessDenied: no") as caught:
        plan_managed(wish("coredns"), addon, [DNS])
    assert caught.value.reason == "addon_deleting"


def test_an_image_that_is_set_to_the_version_of_the_addon() -> None:
    workload = kube_proxy("registry.invalid/eks/kube-proxy:v1.31.2-minimal-eksbuild.2")
    item = plan_self_managed(wish("kube-proxy", "latest"), workload, [PROXY], TERMS, named=False)
    assert (item.version, item.steps, item.note) == ("v1.31.2-eksbuild.2", ("v1.33.3-eksbuild.8",), "")
    there = kube_proxy("registry.invalid/eks/kube-proxy:v1.33.3-minimal-eksbuild.8")
    assert plan_self_managed(wish("kube-proxy", "latest"), there, [PROXY], TERMS, named=False).steps == ()


def test_an_image_of_somebody_else_stays_and_is_an_error_only_where_it_was_named_to_be_set() -> None:
    workload = kube_proxy("registry.k8s.io/kube-proxy:v1.31.2")
    setting = replace(TERMS, self_managed="set")
    for terms, named in ((TERMS, True), (setting, False)):
        item = plan_self_managed(wish("kube-proxy"), workload, [PROXY], terms, named=named)
        assert (item.steps, item.note) == ((), "its image registry.k8s.io/kube-proxy:v1.31.2 is none of EKS's")
    with pytest.raises(EvergreenError, match="DaemonSet kube-proxy is self-managed, and its image") as caught:
        plan_self_managed(wish("kube-proxy"), workload, [PROXY], setting, named=True)
    assert caught.value.reason == "image_foreign"


CNI = Offers("vpc-cni", "1.33", (Offer("v1.19.6-eksbuild.1"), Offer("v1.20.4-eksbuild.2", default=True)))


def aws_node(version: str) -> SelfManaged:
    spec = {
        "template": {"spec": {"containers": [{"name": "aws-node", "image": f"r.example/amazon-k8s-cni:{version}"}]}}
    }
    return from_manifest(KINDS["vpc-cni"], {"metadata": {"name": "aws-node"}, "spec": spec})


@pytest.mark.parametrize(
    ("version", "reason", "words"),
    [("v1.12.6", "version_unreachable", "offers nothing"), ("v1.21.0", "unknown_version", "newer than")],
)
def test_one_that_is_only_reported_never_fails_for_its_version(version: str, reason: str, words: str) -> None:
    """A cluster that is years old, or whose operator is ahead of EKS, is upgraded all the same."""
    item = plan_self_managed(wish("vpc-cni"), aws_node(version), [CNI], TERMS, named=True)
    outcome = Outcome(item, item.version, image=item.workload.found, wanted_image="w")
    assert (item.choice.version, item.steps) == ("v1.20.4-eksbuild.2", ())
    assert words in item.note
    assert warnings_of([outcome], TERMS) == [f"vpc-cni is self-managed and is left as it is: {item.note}"]
    for terms, asked in ((replace(TERMS, self_managed="set"), "default"), (TERMS, "v1.99.0-eksbuild.1")):
        with pytest.raises(EvergreenError) as caught:
            plan_self_managed(wish("vpc-cni", asked), aws_node(version), [CNI], terms, named=False)
        assert caught.value.reason == (reason if asked == "default" else "unknown_version")
