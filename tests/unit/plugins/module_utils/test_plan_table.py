# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as lines: at most 100 characters, ASCII, nothing cut that matters, and not without end."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.plan_outlook import why
from ansible_collections.evergreen.eks.plugins.module_utils.plan_table import age, duration, grid, table

DOMAIN = "eu-central-1.compute.internal"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89.6, "2 min"),
        (45, "45 s"),
        (119, "2 min"),
        (3600, "60 min"),
        (5400, "1 h 30 min"),
        (7200, "2 h"),
        (200000, "2 d 7 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (59, "0m"), (600, "10m"), (7200, "2h"), (100000, "27h"), (3600000, "41d")]
)
def test_ages(seconds, text):
    assert age(seconds) == text


def test_columns_are_as_wide_as_they_need():
    assert grid(["a", "size"], [["long one", "5"], ["b", "12"]], right=(1,)) == [
        "a         size",
        "long one     5",
        "b           12",
    ]
    assert grid(["a"], []) == []


WAS = {
    "launch_template_id": "lt-1",
    "launch_version": "1",
    "launch_configuration": "old",
    "image_id": "ami-0123456789abcdef0",
    "instance_type": "m5.large",
}
NOW = {"launch_version": "2", "image_id": "ami-0fedcba9876543210", "launch_configuration": "new"}


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("template_version", "version 1 -> 2"),
        ("image", "image ..cdef0 -> ..43210"),
        ("template", "another launch template"),
        ("configuration", "old -> new"),
        ("instance_type", "type m5.large"),
        ("all", "all are selected"),
        ("surplus", "one too many"),
        ("something_new", "something_new"),
    ],
)
def test_why_an_instance_goes(reason, text):
    assert why(reason, WAS, NOW) == text


def test_of_one_that_has_left_only_the_reason_is_known():
    assert why("template_version", dict.fromkeys(WAS, ""), NOW) == "template_version"


def test_an_instance_from_no_template_says_so():
    assert why("template", {**WAS, "launch_template_id": ""}, NOW) == "no launch template"


def a_plan(nodes: int = 4, waves: int = 2, **changes: Any) -> dict[str, Any]:
    """A rehearsed plan of so many nodes in so many waves."""
    names = [f"i-{number:017x}" for number in range(nodes)]
    step = -(-nodes // waves)
    groups = [names[start : start + step] for start in range(0, nodes, step)]
    plan = {
        "asg_name": "shared",
        "remaining": names,
        "in_hand": [1],
        "held": 0,
        "own_size": nodes,
        "max_size_after": nodes,
        "sizes": {"min_size": 0, "max_size": nodes, "desired_capacity": nodes},
        "selected": [
            {
                "instance_id": name,
                "node": f"ip-10-20-{number // 256}-{number % 256}.{DOMAIN}",
                "zone": "eu-central-1a",
                "finished": False,
                "expected_wave": 1 + number // step,
                "age_seconds": 3600000,
                "moves": ["shop/web-1", "shop/web-2"],
                "why": "version 1 -> 2",
            }
            for number, name in enumerate(names)
        ],
        "waves": [
            {
                "number": number,
                "finished": False,
                "expected": group,
                "desired_capacity": nodes + 1,
                "max_size": nodes + 1,
                "extra": 1,
                "floor": nodes,
                "seconds": 300,
            }
            for number, group in enumerate(groups, 1)
        ],
        "addresses": {
            "assumption": "59 a node",
            "enough": False,
            "subnets": ["subnet-1"],
            "zones": [
                {
                    "zone": "eu-central-1a",
                    "extra_instances": 2,
                    "addresses_needed": 118,
                    "addresses_free": 100,
                    "enough": False,
                }
            ],
        },
        "rehearsed": True,
        "blocked": [],
        "expected_seconds": 600,
        "pace": {"text": "assumed"},
    }
    return {**plan, **changes}


def blocked(pod: str, cause: str, remedy: str) -> dict[str, str]:
    return {"pod": pod, "cause": cause, "remedy": remedy, "message": ""}


def test_a_table_says_who_goes_when_at_which_sizes_and_what_it_takes():
    lines = table(a_plan())
    text = "\n".join(lines)
    assert "1  ip-10-20-0-0  eu-central-1a  41d     2  i-00000000000000000  version 1 -> 2" in text
    assert "wave 1 of 2, in hand" in text
    assert [line.split() for line in lines if line.startswith("   eu-central")] == [
        ["eu-central-1a", "2", "118", "100", "TOO", "FEW"]
    ]
    assert "8 pods would move, and nothing would block them now" in text
    assert "Expected to take about 10 min (assumed)." in text


def test_who_is_blocked_by_the_same_is_one_entry_with_the_remedy():
    entries = [blocked(f"shop/web-{n}", "budget shop/web keeps all its 3 pods", "scale it") for n in range(3)]
    local = [blocked(f"shop/disk-{n}", "it has emptyDir volumes", f"or delete pod shop/disk-{n}") for n in range(2)]
    lines = table(a_plan(blocked=[*entries, *local, blocked("shop/alone", "no controller " * 20, "delete it")]))
    text = "\n".join(lines)
    assert "8 pods would move; as things are now 6 would be blocked:" in text
    assert "shop/disk-0 and 1 more: it has emptyDir volumes\n       to do: or delete the pod" in text
    assert "shop/web-0 and 2 more: budget shop/web keeps all its 3 pods" in text
    assert text.count("to do: scale it") == 1 and "to do: delete it" in text


@pytest.mark.parametrize(
    "plan",
    [
        a_plan(),
        a_plan(1000, 5),
        a_plan(300, 300),
        a_plan(
            blocked=[blocked("shop/" + "x" * 200, "it says\u2026 " + "y" * 300, "do " + "z" * 300) for _n in range(20)]
        ),
        a_plan(selected=[{**entry, "why": "w" * 200, "node": "n" * 63} for entry in a_plan()["selected"]]),
    ],
    ids=["small", "thousand", "waves", "long words", "long names"],
)
def test_lines_fit_into_100_columns_of_ascii_and_are_not_without_end(plan):
    lines = table(plan)
    assert all(len(line) <= 100 and line.isascii() and line == line.rstrip() for line in lines)
    assert len(lines) < 300
    hidden = len(plan["remaining"]) > 200
    assert any("more: the variable rollout_result has them all" in line for line in lines) is hidden


def test_what_is_not_known_is_not_made_up():
    """A rollout that was not rehearsed: nobody has counted pods, or asked for addresses."""
    entries = [{**entry, "moves": None, "node": "", "age_seconds": None} for entry in a_plan()["selected"]]
    text = "\n".join(table(a_plan(selected=entries, rehearsed=False, addresses={})))
    assert "(no node)" in text and "pods" not in text and "addresses" not in text
    unknown = {
        "assumption": "59 a node",
        "enough": None,
        "subnets": ["subnet-1"],
        "zones": a_plan()["addresses"]["zones"],
    }
    unknown["zones"][0].update(addresses_free=None, enough=None)
    assert "allow ec2:DescribeSubnets" in "\n".join(table(a_plan(addresses=unknown)))


def test_no_word_of_others_is_obeyed_by_a_terminal():
    plan = a_plan(blocked=[blocked("shop/web-1", "it says \x1b[2J\x9b2J\x07 n\u00f6", "ask \x1b]0;them")])
    plan["selected"][0] |= {"node": "ip-1\x1b[31m", "why": "named \u2192 \x1b[0m"}
    lines = table(plan)
    assert all(" " <= character <= "~" for line in lines for character in line)
    assert any("ip-1?[31m" in line and "named ? ?[0m" in line for line in lines)
    assert any("it says ?[2J?2J? n?" in line for line in lines)


@pytest.mark.parametrize(
    ("subnets", "enough", "says"),
    [
        (["subnet-1"], None, "allow ec2:DescribeSubnets"),
        ([], None, "the group names no subnets"),
        (["subnet-1"], True, ""),
    ],
)
def test_why_free_addresses_are_unknown(subnets, enough, says):
    addresses = {**a_plan()["addresses"], "subnets": subnets, "enough": enough}
    unknown = [line for line in table(a_plan(addresses=addresses)) if "are unknown" in line]
    assert [says in line for line in unknown] == ([True] if says else [])


def test_a_plan_for_nobody_has_no_table():
    assert table({"remaining": []}) == []
