# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from unit.manifests import a_node

from ansible_collections.evergreen.eks.plugins.module_utils.cordon import allowed, choose, describe, outcome, wish_of
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, Member
from ansible_collections.evergreen.eks.plugins.module_utils.marks import Change, Wish, decide_marked
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import FloorView, Node, floor_view, node_from

IDS = {name: f"i-0000000000000000{number}" for number, name in enumerate("abcd")}


def nodes(**changes: dict[str, Any]) -> list[Node]:
    """The nodes a, b, c and d, all Ready but for the changes named."""
    return [node_from(a_node(name, instance_id, **changes.get(name, {}))) for name, instance_id in IDS.items()]


def view_of(these: list[Node], min_ready: int) -> FloorView:
    members = tuple(Member(node.instance_id, "eu-central-1a", "InService") for node in these)
    return floor_view(Group("shared", "arn", 0, 9, len(these), members=members), these, min_ready)


def cordons(these: list[Node], min_ready: int, names: str) -> list[str]:
    """Whom of these names one look allows to be cordoned."""
    decisions = [decide_marked(node, Wish(cordon=True)) for node in these if node.name in names]
    return [change.node.name for change in allowed(view_of(these, min_ready), decisions)]


def test_one_look_allows_one_cordon_that_takes_a_ready_member_away() -> None:
    assert cordons(nodes(), 2, "ab") == ["a"]
    assert cordons(nodes(), 3, "ab") == ["a"]
    assert cordons(nodes(), 4, "ab") == []


def test_where_many_are_to_spare_one_look_allows_half_of_them() -> None:
    assert cordons(nodes(), 0, "abcd") == ["a", "b"]
    assert cordons(nodes(), 1, "abcd") == ["a"]


def test_those_that_take_nothing_away_come_first_and_together() -> None:
    these = nodes(c={"ready": "False"}, d={"ready": "Unknown"})
    assert cordons(these, 1, "acd") == ["c", "d"]
    assert cordons(these, 2, "acd") == ["c", "d"], "the floor holds, and they do not lower it"
    assert cordons(these, 3, "acd") == [], "the floor is broken: nothing more is taken away"


def test_what_cordons_nothing_needs_no_floor() -> None:
    these = nodes()
    marks = [decide_marked(node, Wish(labels={"a": "1"})) for node in these]
    assert allowed(view_of(these, 9), marks) == marks


def options(**own: Any) -> dict[str, Any]:
    return {
        "state": "cordoned",
        "labels": None,
        "annotations": None,
        "taints": None,
        "exclude_from_load_balancers": False,
        "scale_down_disabled": False,
        **own,
    }


def test_values_from_yaml_become_the_text_that_kubernetes_wants() -> None:
    wish = wish_of(
        options(labels={"wave": 1, "old": True}, taints=[{"key": "k", "value": None, "effect": "NoSchedule"}])
    )
    assert wish.labels == {"wave": "1", "old": "true"}
    assert wish.taints == {"k:NoSchedule": ""}


def test_our_own_record_cannot_be_asked_for() -> None:
    with pytest.raises(InvalidInput):
        wish_of(options(annotations={"evergreen.eks/marks": "{}"}))


def test_an_unknown_name_is_an_error_unless_the_node_is_to_be_released() -> None:
    with pytest.raises(EvergreenError, match="There is no node x") as caught:
        choose(nodes(), ["a", "x"], None, gone_is_fine=False)
    assert caught.value.reason == "node_not_found"
    chosen = choose(nodes(), ["a", "x", "a"], None, gone_is_fine=True)
    assert ([node.name for node in chosen.nodes], chosen.without_node) == (["a"], ("x",))


def test_an_instance_without_a_node_is_warned_of() -> None:
    chosen = choose(nodes(), None, [IDS["b"], "i-0123456789abcdef0"], gone_is_fine=False)
    assert [node.name for node in chosen.nodes] == ["b"]
    assert "i-0123456789abcdef0" in outcome({}, chosen.without_node)["warnings"][0]


def test_the_journal_says_in_words_what_was_done_to_a_node() -> None:
    node = nodes()[0]
    change = decide_marked(node, Wish(cordon=True, labels={"x": "1"}, taints={"leaving:NoSchedule": ""}), "run-7")
    assert describe(change) == "cordoned, x=1, taint leaving=:NoSchedule"
    assert describe(Change(node, "changed", {}, change.before, change.before)) == "marks updated"
