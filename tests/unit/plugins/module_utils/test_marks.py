# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from unit.manifests import a_node

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.marks import (
    Wish,
    decide_marked,
    decide_taken_in_hand,
    decide_unmarked,
    settle,
)
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import MARKS, node_from

INSTANCE = "i-00000000000000001"
NOON, LATER = "2026-11-21T12:00:00Z", "2026-11-21T15:00:00Z"
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"


class NodeStore:
    """One Node behind the calls of a client: merge patches with the server's check of the resourceVersion."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.manifest: dict[str, Any] | None = manifest
        self.patches: list[dict[str, Any]] = []
        self.meanwhile: list[Any] = []  # what others do right before the next patches arrive

    def get(self, path: str, **_query: Any) -> dict[str, Any]:
        if self.manifest is None:
            raise KubernetesError(f"{path} not found", status=404)
        return copy.deepcopy(self.manifest)

    def patch(self, path: str, body: dict[str, Any], **_options: Any) -> dict[str, Any]:
        if self.meanwhile:
            self.meanwhile.pop(0)(self)
        if self.manifest is None:
            raise KubernetesError(f"{path} not found", status=404)
        if body["metadata"]["resourceVersion"] != self.manifest["metadata"]["resourceVersion"]:
            raise KubernetesError(f"{path}: the object has been modified", status=409)
        self.patches.append(body)
        self.change(body)
        return copy.deepcopy(self.manifest)

    def change(self, body: dict[str, Any]) -> None:
        merge(self.manifest, body)
        metadata = self.manifest["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)

    @property
    def marks(self) -> dict[str, Any]:
        return json.loads(self.manifest["metadata"]["annotations"][MARKS])

    def settle(self, decide: Any) -> Any:
        return settle(self, node_from(self.get("node")), decide, check_mode=False)

    def put_on(self, wish: Wish, run: str = "run-1", now: str = NOON) -> Any:
        return self.settle(lambda node: decide_marked(node, wish, run, now))

    def take_off(self) -> Any:
        return self.settle(decide_unmarked)


def merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


EVERYTHING = Wish(
    cordon=True,
    labels={EXCLUDE: "true"},
    annotations={"example.com/why": "rollout"},
    taints={"example.com/leaving:NoSchedule": "soon"},
)


def test_what_is_put_on_comes_off_again_and_leaves_the_node_as_it_was() -> None:
    manifest = a_node("n", INSTANCE, labels={"a": "1"}, annotations={"b": "2"}, taints=["dedicated"])
    store = NodeStore(copy.deepcopy(manifest))

    assert store.put_on(EVERYTHING).changed
    assert store.manifest["spec"]["unschedulable"] is True
    assert [taint["key"] for taint in store.manifest["spec"]["taints"]] == ["dedicated", "example.com/leaving"]
    assert store.manifest["metadata"]["labels"] == {"a": "1", EXCLUDE: "true"}
    assert store.marks["run"] == "run-1"
    assert len(store.patches) == 1, "the marks are written in the same request as the change"

    assert store.take_off().changed
    store.manifest["metadata"]["resourceVersion"] = "1"
    assert store.manifest == manifest


def test_a_second_time_nothing_is_sent() -> None:
    store = NodeStore(a_node("n", INSTANCE))
    store.put_on(EVERYTHING)
    again = store.put_on(EVERYTHING)
    assert (again.changed, again.reason, len(store.patches)) == (False, "unchanged", 1)
    store.take_off()
    again = store.take_off()
    assert (again.changed, again.reason, len(store.patches)) == (False, "unchanged", 2)


def test_since_when_a_node_is_cordoned_stays_known_until_somebody_uncordons_it() -> None:
    store = NodeStore(a_node("n", INSTANCE))
    store.put_on(Wish(annotations={"example.com/why": "because"}))
    assert "since" not in store.marks
    store.put_on(Wish(cordon=True))
    assert not store.put_on(Wish(cordon=True), now=LATER).changed
    assert store.put_on(EVERYTHING, "run-2", now=LATER).changed and store.marks["since"] == NOON
    store.change({"spec": {"unschedulable": None}})
    store.put_on(EVERYTHING, now=LATER)
    assert store.marks["since"] == LATER


def test_since_when_a_node_is_drained_is_noted_once_among_our_marks_and_goes_with_them() -> None:
    store = NodeStore(a_node("n", INSTANCE))
    assert not store.settle(lambda node: decide_taken_in_hand(node, NOON)).changed  # no marks of ours
    store.put_on(Wish(cordon=True))
    assert store.settle(lambda node: decide_taken_in_hand(node, NOON)).changed
    assert not store.settle(lambda node: decide_taken_in_hand(node, LATER)).changed
    store.put_on(EVERYTHING, now=LATER)
    assert store.marks["drained_since"] == NOON
    store.change({"spec": {"unschedulable": None}})
    store.put_on(EVERYTHING, now=LATER)
    assert "drained_since" not in store.marks
    store.take_off()
    assert MARKS not in store.manifest["metadata"]["annotations"]


def test_a_node_that_somebody_else_cordoned_stays_cordoned() -> None:
    store = NodeStore(a_node("n", INSTANCE, unschedulable=True))
    assert store.put_on(Wish(cordon=True)).reason == "foreign_cordon"
    assert store.patches == []
    store.put_on(EVERYTHING)
    assert "cordoned" not in store.marks and store.marks["since"] == NOON
    assert store.take_off().reason == "foreign_cordon"
    assert store.manifest["spec"]["unschedulable"] is True
    assert MARKS not in store.manifest["metadata"]["annotations"]


def test_what_was_there_before_is_not_ours_and_stays() -> None:
    store = NodeStore(a_node("n", INSTANCE, labels={EXCLUDE: "true"}))
    store.put_on(EVERYTHING)
    store.take_off()
    assert store.manifest["metadata"]["labels"] == {EXCLUDE: "true"}


def test_another_value_from_before_is_put_back() -> None:
    store = NodeStore(a_node("n", INSTANCE, annotations={"example.com/why": "because"}))
    store.put_on(EVERYTHING)
    assert store.manifest["metadata"]["annotations"]["example.com/why"] == "rollout"
    store.take_off()
    assert store.manifest["metadata"]["annotations"] == {"example.com/why": "because"}


def test_what_somebody_changed_after_us_is_kept_and_named() -> None:
    store = NodeStore(a_node("n", INSTANCE))
    store.put_on(EVERYTHING)
    store.change({"metadata": {"annotations": {"example.com/why": "their business"}}})
    change = store.take_off()
    assert (change.reason, change.kept) == ("kept", ("annotation example.com/why",))
    assert store.manifest["metadata"]["annotations"] == {"example.com/why": "their business"}


def test_marks_of_an_earlier_run_are_taken_over_with_what_was_before_it() -> None:
    store = NodeStore(a_node("n", INSTANCE, annotations={"example.com/why": "because"}))
    store.put_on(Wish(annotations={"example.com/why": "rollout"}), run="run-1")
    store.put_on(Wish(cordon=True, annotations={"example.com/why": "again"}), run="run-2")
    assert store.marks["run"] == "run-2"
    assert store.marks["annotations"]["example.com/why"] == {"was": "because", "set_to": "again"}
    store.take_off()
    assert store.manifest["metadata"]["annotations"] == {"example.com/why": "because"}
    assert "unschedulable" not in store.manifest["spec"]


def test_a_taint_that_another_controller_adds_at_the_same_moment_is_not_lost() -> None:
    store = NodeStore(a_node("n", INSTANCE))
    theirs = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": "2026-11-21T01:02:03Z"}
    store.meanwhile = [lambda node: node.change({"spec": {"taints": [theirs]}})]
    assert store.put_on(EVERYTHING).changed
    assert store.manifest["spec"]["taints"][0] == theirs
    assert store.manifest["spec"]["taints"][1]["key"] == "example.com/leaving"


def test_a_patch_whose_answer_was_lost_is_recognised_as_ours() -> None:
    store = NodeStore(a_node("n", INSTANCE))
    sent = decide_marked(node_from(store.get("node")), EVERYTHING, "run-1").patch
    store.meanwhile = [lambda node: node.change(sent)]
    change = store.put_on(EVERYTHING)
    assert (change.changed, change.reason) == (True, "changed")
    assert (change.before["unschedulable"], change.after["unschedulable"]) == (False, True)


def test_a_cordon_by_somebody_else_at_the_same_moment_is_not_claimed() -> None:
    store = NodeStore(a_node("n", INSTANCE))
    store.meanwhile = [lambda node: node.change({"spec": {"unschedulable": True}})]
    change = store.put_on(Wish(cordon=True))
    assert (change.changed, change.reason) == (False, "foreign_cordon")


def test_a_node_that_came_back_under_the_same_name_is_another_machine() -> None:
    store = NodeStore(a_node("n", INSTANCE))
    store.meanwhile = [lambda node: node.change({"metadata": {"uid": "another"}})]
    assert store.put_on(Wish(cordon=True)).reason == "gone"
    assert "unschedulable" not in store.manifest["spec"]


def test_a_node_that_vanishes_meanwhile_is_gone() -> None:
    store = NodeStore(a_node("n", INSTANCE))

    def vanish(node: NodeStore) -> None:
        node.manifest = None

    store.meanwhile = [vanish]
    assert store.put_on(Wish(cordon=True)).reason == "gone"


def test_a_fight_over_a_node_ends_with_a_sentence() -> None:
    store = NodeStore(a_node("n", INSTANCE))
    store.meanwhile = [lambda node: node.change({"metadata": {"labels": {"beat": "x"}}})] * 20
    with pytest.raises(EvergreenError, match="Node n was changed by somebody else") as caught:
        store.put_on(Wish(cordon=True))
    assert caught.value.reason == "kubernetes_conflict"


@pytest.mark.parametrize("text", ["[", "[]", '{"labels": {"a": "b"}}', '{"taints": []}'])
def test_marks_that_somebody_mangled_are_an_error_that_names_the_node(text: str) -> None:
    node = node_from(a_node("n", INSTANCE, annotations={MARKS: text}))
    with pytest.raises(EvergreenError, match="of node n cannot be read") as caught:
        decide_unmarked(node)
    assert caught.value.reason == "marks_unreadable"
