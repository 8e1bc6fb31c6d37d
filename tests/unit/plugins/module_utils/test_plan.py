# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of a rollout, each as a table of examples."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils import plan
from ansible_collections.evergreen.eks.plugins.module_utils import zones as evenness
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Activity
from ansible_collections.evergreen.eks.plugins.module_utils.plan import CapacityChange, Departure, Host, Ledger, Wave

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def host(name: str, zone: str = "a", days: int = 0, **rest) -> Host:
    values = {
        "lifecycle_state": "InService",
        "counts": True,
        "ready": True,
        "schedulable": True,
        "node": f"node-{name}",
    }
    record = {"instance_id": name, "zone": zone}
    return Host(name, zone, launched=NOON - timedelta(days=days), record=record, **{**values, **rest})


@pytest.mark.parametrize(
    ("raw", "own_size", "surge", "unavailable"),
    [
        ("25%", 6, 2, 1),  # 1.5: up for surge, down for unavailable
        ("25%", 3, 1, 0),
        ("100%", 4, 4, 4),
        (2, 6, 2, 2),
        ("2", 1, 2, 1),  # nobody can be missing who is not there
        ("0", 6, 0, 0),
    ],
)
def test_amounts_become_instances(raw, own_size, surge, unavailable):
    assert plan.surge_count(raw, own_size) == surge
    assert plan.unavailable_count(raw, own_size) == unavailable


@pytest.mark.parametrize("raw", ["-1", "101%", "many", "", "1.5", "%", None])
def test_what_is_no_amount(raw):
    with pytest.raises(InvalidInput, match="max_surge cannot be"):
        plan.surge_count(raw, 6)


def test_a_rollout_that_could_replace_nobody_is_refused():
    with pytest.raises(InvalidInput, match="are both 0 for a group of 3"):
        plan.limits("0", "25%", 3)  # 25% of 3 is 0, rounded down


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        "newest",
        {"older_than": "soon"},
        {"instances": []},
        {"instances": ["i-0000000a", "i-mistyped"]},
        {"a": 1, "b": 2},
        {"expression": " "},
        3,
    ],
)
def test_what_is_no_selection(raw):
    with pytest.raises(InvalidInput):
        plan.parse_selection(raw)


ONE, TWO, THREE, FOUR, FIVE = (f"i-{number:08}" for number in range(1, 6))
HOSTS = [
    host(ONE, "a", days=10, outdated="template_version"),
    host(TWO, "b", days=3),
    host(THREE, "c", days=8, outdated="image", lifecycle_state="Standby", counts=False),
    host(FOUR, "a", days=1),
]


@pytest.mark.parametrize(
    ("raw", "chosen"),
    [
        ("outdated", {ONE: "template_version"}),
        ("all", {ONE: "template_version", TWO: "all", FOUR: "all"}),
        ({"older_than": "2d"}, {ONE: "older_than", TWO: "older_than"}),
        ({"instances": [FOUR, TWO]}, {TWO: "instances", FOUR: "instances"}),
        ({"expression": "[?zone=='a']"}, {ONE: "expression", FOUR: "expression"}),
        ({"expression": "[?zone=='a'].instance_id"}, {ONE: "expression", FOUR: "expression"}),
        ({"expression": "[?zone=='x']"}, {}),
    ],
)
def test_who_is_selected(raw, chosen):
    assert plan.select(HOSTS, plan.parse_selection(raw), NOON) == chosen


def test_who_is_named_and_gone_already_is_no_mistake():
    selection = plan.parse_selection({"instances": [FIVE, ONE]})
    assert plan.select(HOSTS, selection, gone=[FIVE]) == {ONE: "instances"}


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"instances": [FIVE, ONE]}, f"select names {FIVE}, not in service in this group"),
        ({"instances": [THREE]}, f"select names {THREE}"),  # in Standby
        ({"expression": "[?"}, "is not JMESPath"),
        ({"expression": "[].zone"}, "answers"),
        ({"expression": "length(@)"}, "answers"),
    ],
)
def test_a_selection_that_names_nobody_of_the_group(raw, complaint):
    with pytest.raises(InvalidInput) as caught:
        plan.select(HOSTS, plan.parse_selection(raw), NOON)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("remaining", "surge", "unavailable", "canary", "sizes"),
    [
        (6, 2, 0, 1, [1, 2, 1, 2]),
        (6, 2, 1, 0, [3, 3]),
        (3, 5, 0, 1, [1, 2]),
        (2, 1, 0, 3, [1, 1]),  # a canary is no larger than a wave may be
        (0, 2, 0, 1, []),
    ],
)
def test_the_sizes_of_the_waves(remaining, surge, unavailable, canary, sizes):
    assert plan.wave_sizes(remaining, surge, unavailable, canary) == sizes


def test_a_rerun_keeps_finished_waves_and_ends_the_interrupted_one_first():
    known = [Wave(1, 1, ("i-1",), finished=True), Wave(2, 2, ("i-2", "i-3")), Wave(3, 2)]
    waves = plan.plan_waves(known, ["i-3", "i-4", "i-5", "i-6"], surge=2, unavailable=0, canary=1)
    assert waves == [Wave(1, 1, ("i-1",), finished=True), Wave(2, 1, ("i-3",)), Wave(3, 1), Wave(4, 2)]


def test_a_new_wave_never_takes_the_number_of_one_that_was():
    known = [Wave(1, 1, ("i-1",), finished=True), Wave(2, 2, ("i-2", "i-3"), finished=True), Wave(3, 2)]
    assert [wave.number for wave in plan.plan_waves(known, ["i-4"], 2, 0, 1)] == [1, 2, 3]


SIX_OLD = [host(f"i-{n}") for n in range(1, 7)]


@pytest.mark.parametrize(
    ("hosts", "size", "ledger", "desired", "unavailable", "expected"),
    [
        # own, surge, desired, max, wait for, floor
        (SIX_OLD, 2, Ledger(), 6, 0, (6, 2, 8, 8, 8, 6)),
        (SIX_OLD, 1, Ledger(), 6, 0, (6, 2, 8, 8, 7, 6)),  # the canary: all the surge comes, one is waited for
        (SIX_OLD, 3, Ledger(), 6, 1, (6, 2, 8, 8, 8, 5)),
        (SIX_OLD, 2, Ledger(held=2), 8, 0, (6, 2, 8, 8, 8, 6)),  # an interrupted run had launched them
        (SIX_OLD, 2, Ledger(held=2), 9, 0, (7, 2, 9, 9, 9, 7)),  # and an autoscaler has added one
        ([*SIX_OLD[:5], host("i-6", schedulable=False)], 2, Ledger(), 6, 0, (6, 2, 8, 8, 7, 6)),  # a sick one costs 0
        ([host("i-6")], 2, Ledger(held=2), 8, 0, (6, 2, 8, 8, 7, 6)),  # one left, two held
    ],
)
def test_what_a_wave_needs(hosts, size, ledger, desired, unavailable, expected):
    selected = [host.instance_id for host in hosts]
    sizes = plan.wave_needs(hosts, Wave(1, size), selected, ledger, desired, 7, surge=2, unavailable=unavailable)
    own, surge, to, most, min_ready, floor = expected
    assert (sizes.own, sizes.surge, sizes.desired_capacity) == (own, surge, to)
    assert (sizes.max_size, sizes.min_ready, sizes.floor) == (max(7, most), min_ready, floor)


def test_victims_are_chosen_where_new_nodes_are_ready_and_the_cordoned_and_the_sick_go_first():
    old = [
        host("i-1", "a", days=9),
        host("i-2", "b", days=8),
        host("i-3", "c", days=7),
        host("i-4", "c", days=6, schedulable=False),
        host("i-5", "a", days=5, schedulable=False, ours=True),
    ]
    new = [host("i-8", "b"), host("i-9", "c", schedulable=False)]
    everybody = plan.choose(old + new, [item.instance_id for item in old], held=0, waves=[5])
    assert everybody == ["i-5", "i-4", "i-1", "i-2", "i-3"]
    first = plan.choose(old + new, [item.instance_id for item in old], held=0, waves=[3, 2])
    assert first == ["i-5", "i-4", "i-2"]


@pytest.mark.parametrize(
    ("victims", "held", "remaining", "decrement", "successors"),
    [
        (["i-1", "i-2"], 2, 4, [], ["i-1", "i-2"]),  # there are enough left to leave with a decrement later
        (["i-1", "i-2"], 2, 1, ["i-1"], ["i-2"]),  # one must
        (["i-1", "i-2"], 2, 0, ["i-1", "i-2"], []),
        (["i-1", "i-2", "i-3"], 2, 0, ["i-1", "i-2"], ["i-3"]),  # one was missing, not surplus
        (["i-2"], 2, 0, ["i-2"], []),
        ([], 2, 0, [], []),
    ],
)
def test_who_leaves_with_a_decrement(victims, held, remaining, decrement, successors):
    hosts = [host("i-1", "a"), host("i-2", "b"), host("i-3", "b"), host("i-4", "b")]
    before = {"a": 1, "b": 3}
    assert plan.split_departure(hosts, victims, held, remaining, before) == (decrement, successors)


def test_the_last_one_gets_a_successor_where_its_zone_would_be_short_without():
    hosts = [host("i-1", "a"), host("i-2", "b"), host("i-3", "c"), host("i-4", "c"), host("i-5", "b")]
    before = {"a": 2, "b": 1, "c": 1}
    assert plan.split_departure(hosts, ["i-1"], 1, 0, before) == ([], ["i-1"])


@pytest.mark.parametrize(
    ("before", "chosen"),
    [
        ({"a": 2, "b": 1, "c": 1}, ["i-4"]),  # not the successor that is coming up in a: it evens the zones out
        ({"a": 1, "b": 3, "c": 2}, ["i-9"]),  # it was so uneven before: who is not Ready goes
        (None, ["i-9"]),  # a run that is given up: strength is more than evenness
    ],
)
def test_surplus_goes_where_the_zones_are_crowded_and_the_sick_go_first(before, chosen):
    coming_up = host("i-9", "a", schedulable=False, lifecycle_state="Pending")
    hosts = [coming_up, host("i-2", "b", days=2), host("i-3", "b", days=1), host("i-4", "c")]
    counts = {"a": 1, "b": 2, "c": 2}
    assert [one.instance_id for one in plan.newest(hosts, counts, 1, before)] == chosen


def test_surplus_leaves_several_zones_as_even_as_they_can_be():
    hosts = [host(f"i-{number}", "c") for number in range(6)] + [host("i-8", "a", schedulable=False), host("i-9", "b")]
    chosen = plan.newest(hosts, {"a": 2, "b": 2, "c": 6}, 4, {"a": 2, "b": 2, "c": 2})
    assert {one.zone for one in chosen} == {"c"}


@pytest.mark.parametrize("luck", range(8))
@pytest.mark.parametrize(
    ("spread", "surge", "unavailable"),
    [
        ("abc", 1, 0),
        ("ab", 1, 0),
        ("aabbcc", 2, 0),
        ("aabbcc", 2, 1),
        ("abc", 0, 1),
        ("aabbccabc", 3, 0),
        ("aabbc", 2, 0),
        ("abc", 3, 0),
        ("aabbccaabb", 3, 2),
    ],
)
def test_zones_end_as_even_as_they_began_wherever_new_instances_come_up(spread, surge, unavailable, luck):
    """The whole course, with Auto Scaling's own choice among equally empty zones left to chance."""
    chance = random.Random(f"{spread}{surge}{unavailable}{luck}")
    zones = ["a", "b", "c"]
    members = {f"i-{index}": zone for index, zone in enumerate(spread)}
    old, launched, held = sorted(members), itertools.count(100), 0

    def launch() -> None:
        counts = Counter(dict.fromkeys(zones, 0)) + Counter()
        counts.update(members.values())
        fewest = min(counts[zone] for zone in zones)
        members[f"i-{next(launched)}"] = chance.choice([zone for zone in zones if counts[zone] == fewest])

    removed = []
    waves = plan.wave_sizes(len(old), surge, unavailable, canary=1)
    for index, size in enumerate(waves):
        hosts = [host(name, zone) for name, zone in sorted(members.items())]
        sizes = plan.wave_needs(
            hosts, Wave(1, size), old, Ledger(held), len(members), 0, min(surge, waves[-1]), unavailable
        )
        while len(members) < sizes.desired_capacity:
            launch()
            held += 1
        hosts = [host(name, zone) for name, zone in sorted(members.items())]
        victims = plan.choose(hosts, old, held, waves[index:], zones)
        decrement, successors = plan.split_departure(hosts, victims, held, len(old) - len(victims), Counter(spread))
        for name in victims:
            old.remove(name)
            removed.append(name)
            del members[name]
        held -= len(decrement)
        for _unused in successors:
            launch()
    after = Counter(members.values())
    assert (held, old, len(members)) == (0, [], len(spread))
    assert sorted(removed) == sorted(f"i-{index}" for index in range(len(spread)))  # nobody but the selected
    assert not evenness.worse(Counter(spread), {zone: after[zone] for zone in zones}), after


RAISED = (
    "At 2026-11-21T12:00:00Z a user request explicitly set group desired capacity changing the desired capacity "
    "from 6 to 8."
)
RAISED_WITH_MAX = (
    "At 2026-11-21T12:00:00Z a user request update of AutoScalingGroup constraints to min: 1, max: 8, desired: 8 "
    "changing the desired capacity from 6 to 8."
)
ANNOUNCED = Ledger(held=0, turn=1, change=CapacityChange(was=6, to=8, becomes=2, after="old"))


@pytest.mark.parametrize(
    ("desired", "told", "held"),
    [
        (6, [], 0),  # killed before the call
        (8, [], 2),  # killed after it
        (9, [RAISED], 2),  # and an autoscaler added one
        (9, [RAISED_WITH_MAX], 2),
        (6, [RAISED], 2),  # and an autoscaler took two of the group's own
        (7, [], 0),  # the autoscaler added one
        (7, [RAISED.replace("6 to 8", "6 to 80")], 0),
    ],
)
def test_was_the_announced_change_of_capacity_made(desired, told, held):
    activities = [Activity("new", "Successful", cause) for cause in told]
    assert plan.settle(ANNOUNCED, desired, activities, shrunk=0) == Ledger(held=held, turn=1)


@pytest.mark.parametrize(
    ("desired", "max_size", "held"),
    [
        (8, 8, 2),  # nobody touched it
        (6, 6, 0),  # max 8 -> 6, and desired with it: what we held is gone, not what the group owns
        (7, 7, 1),
        (5, 5, 0),  # and one of the group's own
        (7, 9, 2),  # an autoscaler took one: of the group's own
    ],
)
def test_a_lowered_maximum_takes_away_what_we_hold_first(desired, max_size, held):
    assert plan.after_reset(Ledger(held=2, own=6, most=8), desired, max_size).held == held


@pytest.mark.parametrize(
    ("desired", "min_size", "held"),
    [
        (8, 6, 2),  # nobody touched it
        (7, 5, 2),  # an autoscaler took one: of the group's own
        (6, 6, 0),  # somebody set the desired capacity that he knew, and the group cannot own fewer
        (7, 6, 1),
        (8, 8, 0),  # somebody raised the minimum: all of them are the group's own now
        (4, 6, 0),  # being raised to a new minimum at this moment
        (0, 0, 0),  # and the own size is never negative
        (1, 0, 1),
    ],
)
def test_the_own_size_is_never_below_the_minimum(desired, min_size, held):
    assert plan.above_minimum(Ledger(held=2, own=6, most=8), desired, min_size).held == held


def test_departures_with_a_decrement_lower_what_we_hold():
    assert plan.settle(Ledger(held=2, turn=4), 7, [], shrunk=1) == Ledger(held=1, turn=4)
    assert plan.settle(Ledger(held=1, turn=4), 6, [], shrunk=2).held == 0


SHRINKING = "in response to a user request, shrinking the capacity from 8 to 7."
HEALTH = "an instance was taken out of service in response to an EC2 health check indicating it has been terminated"


def leaving(instance_id, cause="", description="Terminating EC2 instance"):
    """The activity of an instance that leaves; by default as it leaves at our request with a decrement."""
    cause = cause or f"instance {instance_id} was taken out of service {SHRINKING}"
    return Activity(
        "new",
        "InProgress",
        f"At 2026-11-21T12:00:00Z {cause}",
        f"{description}: {instance_id}",
        "",
        None,
        instance_id,
    )


LAUNCH = leaving("i-1", f"an instance was started {SHRINKING}", description="Launching a new EC2 instance")


@pytest.mark.parametrize(
    ("activity", "ours"),
    [
        (leaving("i-1"), True),
        (leaving("i-1", f"instance i-1 was detached {SHRINKING}", description="Detaching EC2 instance"), True),
        (leaving("i-1", "instance i-1 was taken out of service in response to a user request."), False),
        (leaving("i-1", HEALTH), False),  # a spot loss: the cause names nobody, the description does
        (leaving("i-2"), None),
        (LAUNCH, None),
    ],
)
def test_did_the_group_shrink_with_this_instance(activity, ours):
    assert plan.left_by_request("i-1", [activity]) is ours


@pytest.mark.parametrize(
    ("announced", "left", "activities", "shrunk"),
    [
        (["i-1", "i-2"], [], [], 0),  # killed before the first call
        (["i-1", "i-2"], ["i-1"], [leaving("i-1")], 1),
        (["i-1", "i-2"], ["i-1"], [leaving("i-1", HEALTH)], 0),  # lost, and replaced by the group
        (["i-1", "i-2"], ["i-1"], [], 1),  # no activity tells otherwise
        ([], [], [leaving("i-2"), leaving("i-1")], 2),  # an hour later EC2 has forgotten both, and their marks
        (["i-2"], [], [leaving("i-1")], 1),  # one of them
        (["i-2"], [], [leaving("i-1", HEALTH)], 0),
        (["i-2"], [], [leaving("i-9"), leaving("i-1")], 1),  # an autoscaler has taken one of the group's own, too
    ],
)
def test_how_many_of_the_announced_departures_have_lowered_desired_capacity(announced, left, activities, shrunk):
    ledger = Ledger(held=2, turn=4, departure=Departure(2, after="old"))
    assert plan.shrunk_by_departures(ledger, announced, left, activities) == shrunk


@pytest.mark.parametrize(
    ("before", "now", "worse"),
    [
        ({"a": 2, "b": 2, "c": 2}, {"a": 2, "b": 2, "c": 2}, False),
        ({"a": 2, "b": 2, "c": 2}, {"a": 3, "b": 2, "c": 2}, False),  # one apart is as even as 7 can be
        ({"a": 2, "b": 2, "c": 2}, {"a": 4, "b": 2}, True),
        ({"a": 4, "b": 2}, {"a": 4, "b": 2}, False),  # it was so before
    ],
)
def test_zones(before, now, worse):
    assert evenness.worse(before, now) is worse
