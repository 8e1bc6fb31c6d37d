# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see of the journal's events."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.journal import KINDS
from ansible_collections.evergreen.eks.plugins.plugin_utils.progress_lines import COLOURS, LONGEST, Lines, words

DOMAIN = ".eu-central-1.compute.internal"


def event(kind: str = "resettled", text: Any = "", **fields: Any) -> dict[str, Any]:
    return {"time": "2026-11-21T01:02:03Z", "schema": 2, "kind": kind, "group": "shared", "text": text, **fields}


def stage(to: str, number: int, text: str, **fields: Any) -> dict[str, Any]:
    """One of the nodes of wave 2 of 5 has come to a stage."""
    return event("node_stage", text, to=to, node=f"ip-10-20-0-{number}{DOMAIN}", wave=2, waves=5, **fields)


def shown(*events: dict[str, Any], quiet: bool = False) -> list[str]:
    """The lines for events that come at the same time."""
    lines = Lines("play host", quiet=quiet)
    for one in events:
        lines.take(one, now=0.0)
    return [line.text for line in lines.due(0.0, last=True)]


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (event(text="sizes changed"), "   01:02:03Z [shared] sizes changed"),
        (event(text="sizes changed", group=""), "   01:02:03Z [play host] sizes changed"),
        (event(text="begins", wave=2, waves=5), "   01:02:03Z [shared] wave 2/5  begins"),
        (event(text="begins", wave=2), "   01:02:03Z [shared] begins"),
        (event("node_marked", "marked", node="a.example.org"), "   01:02:03Z [shared]  a.example.org  marked"),
        (stage("cordoned", 4, "cordoned"), "   01:02:03Z [shared] wave 2/5  ip-10-20-0-4  cordoned"),
        (
            stage("drained", 4, "drained, 5 pods in 1 s", nodes_done=7, nodes=12, pods_done=96, pods_total=140),
            "   01:02:03Z [shared] wave 2/5  ip-10-20-0-4  drained, 5 pods in 1 s (7/12 nodes, 96/140 pods)",
        ),
        (
            stage("drained", 4, "drained, 5 pods in 1 s", nodes_done=1, nodes=1),
            "   01:02:03Z [shared] wave 2/5  ip-10-20-0-4  drained, 5 pods in 1 s",
        ),
        (
            event("node_stage", "launched", to="launched", instance="i-0123456789abcdef0"),
            "   01:02:03Z [shared]  i-0123456789abcdef0  launched",
        ),
        (event(text="two\nlines\x1b[31m"), "   01:02:03Z [shared] two lines [31m"),
        (event("of_the_future", "text"), "   01:02:03Z [shared] text"),
        ({"text": "of another author"}, "   [play host] of another author"),
    ],
)
def test_one_event_is_one_line(one: dict[str, Any], line: str) -> None:
    assert shown(one) == [line]


@pytest.mark.parametrize("text", ["", "  ", None])
def test_an_event_without_text_is_for_machines(text: Any) -> None:
    assert shown(event(text=text)) == []


def test_many_that_are_alike_are_one_line() -> None:
    cordoned = [stage("cordoned", number, "cordoned") for number in range(10)]

    (line,) = shown(*cordoned)
    names = "ip-10-20-0-0, ip-10-20-0-1, ip-10-20-0-2, ip-10-20-0-3 and 6 more"
    assert line == f"   01:02:03Z [shared] wave 2/5  10 nodes cordoned: {names}"


def test_what_differs_between_them_is_left_out_and_how_far_it_is_comes_last() -> None:
    drained = [
        stage("drained", number, f"drained, {number} pods in 1 s", nodes_done=number, nodes=12) for number in (5, 6)
    ]
    launched = [event("node_stage", "launched", to="launched", instance=f"i-{number}") for number in range(2)]

    assert shown(*drained, *launched) == [
        "   01:02:03Z [shared] wave 2/5  2 nodes drained: ip-10-20-0-5, ip-10-20-0-6 (6/12 nodes)",
        "   01:02:03Z [shared]  2 instances launched: i-0, i-1",
    ]


def test_what_is_not_alike_keeps_its_order() -> None:
    events = [
        stage("cordoned", 1, "cordoned"),
        event(text="something else"),
        stage("cordoned", 2, "cordoned"),
        {**stage("cordoned", 3, "cordoned"), "wave": 3},
    ]

    assert [line.split("]")[1] for line in shown(*events)] == [
        " wave 2/5  2 nodes cordoned: ip-10-20-0-1, ip-10-20-0-2",
        " something else",
        " wave 3/5  ip-10-20-0-3  cordoned",
    ]


def test_of_heartbeats_only_the_last_one_counts() -> None:
    events = [event("progress", f"{number} of 3 are Ready", wave=1, waves=2) for number in range(3)]

    assert shown(*events, event(text="more")) == [
        "   01:02:03Z [shared] wave 1/2  2 of 3 are Ready",
        "   01:02:03Z [shared] more",
    ]


def test_lines_wait_half_a_second_for_their_like() -> None:
    lines = Lines("shared")
    lines.take(stage("cordoned", 1, "cordoned"), now=10.0)
    assert lines.due(10.25) == []
    lines.take(stage("cordoned", 2, "cordoned"), now=10.4)
    assert [line.text[-42:] for line in lines.due(10.5)] == ["2 nodes cordoned: ip-10-20-0-1, ip-10-20-0-2"[-42:]]
    assert lines.due(20.0, last=True) == [], "nothing is shown twice"


def test_where_people_want_it_quiet_warnings_and_ends_are_left() -> None:
    events = [
        stage("cordoned", 1, "cordoned"),
        event("progress", "waits"),
        stage("not_drained", 2, "not drained"),
        event("pods_blocked", "blocked"),
        event("run_ended", "finished", outcome="finished"),
    ]

    assert [line.split()[-1] for line in shown(*events, quiet=True)] == ["drained", "blocked", "finished"]


@pytest.mark.parametrize(
    ("one", "colour"),
    [
        (event("run_ended", "x", outcome="finished"), "COLOR_OK"),
        (event("run_ended", "x", outcome="failed"), "COLOR_ERROR"),
        (event("pods_blocked", "x"), "COLOR_WARN"),
        (event("floor", "x", holds=True), "COLOR_OK"),
        (event("floor", "x", holds=False), "COLOR_WARN"),
        (stage("not_drained", 1, "x"), "COLOR_WARN"),
        (stage("drained", 1, "x"), ""),
    ],
)
def test_colours(one: dict[str, Any], colour: str) -> None:
    lines = Lines("shared")
    lines.take(one, now=0.0)
    assert [line.colour for line in lines.due(0.0, last=True)] == [colour]


def test_every_kind_that_has_a_colour_exists() -> None:
    assert set(COLOURS) - set(KINDS) == set()


def test_names_in_the_middle_of_a_text_are_short_and_long_texts_are_cut() -> None:
    assert words(f"i-1 (ip-10-20-0-4{DOMAIN}): not Ready") == "i-1 (ip-10-20-0-4): not Ready"
    (line,) = shown(event(text="so much " * 100))
    assert len(line) <= LONGEST and line.endswith("...")
