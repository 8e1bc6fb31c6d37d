# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that are carried from wave to wave: the sizes of these waves, and when it has to come to an end."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations, product
from types import SimpleNamespace

import pytest
from unit.checkpoints import a_checkpoint
from unit.fakes import FakeClock
from unit.manifests import a_node
from unit.scenes import a_member, a_scene

from ansible_collections.evergreen.eks.plugins.module_utils import zones
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, HostProgress, read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Ledger, Wave
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Standing
from ansible_collections.evergreen.eks.plugins.module_utils.stages import heed_stop_request, sizes_of
from ansible_collections.evergreen.eks.plugins.module_utils.stopping import Stopped
from ansible_collections.evergreen.eks.plugins.module_utils.stragglers import (
    carry,
    on_timeout,
    planned,
    stragglers_last,
    stragglers_of,
    with_stragglers,
)


def a_rollout(said: list[str]) -> SimpleNamespace:
    return SimpleNamespace(
        call=SimpleNamespace(clock=FakeClock()), say=lambda kind, text, **fields: said.append(f"{kind}: {text}")
    )


def hosts(carried: str = "", waiting: str = "", finished: str = "") -> dict[str, HostProgress]:
    """One host a letter."""
    return {
        **{name: HostProgress("all", carried=1, times={"cordon": "t"}) for name in carried},
        **{name: HostProgress("all") for name in waiting},
        **{name: HostProgress("all", finished=True) for name in finished},
    }


@pytest.mark.parametrize(
    ("carried", "waiting", "size", "step", "there"),
    [
        ("", "abc", 2, 2, 2),
        ("x", "abc", 2, 2, 2),  # it takes one of the places
        ("x", "abc", 1, 2, 2),  # there was room left
        ("x", "abc", 1, 3, 2),
        ("x", "abc", 3, 3, 3),
        ("xy", "abc", 2, 2, 2),  # no room for anybody else
        ("xyz", "abc", 2, 2, 3),  # the limits were lowered meanwhile
        ("xy", "", 2, 2, 2),  # the last wave
        ("x", "a", 2, 3, 2),
    ],
)
def test_how_many_are_in_a_wave_with_those_that_were_carried(carried, waiting, size, step, there):
    wave = Wave(2, size)
    checkpoint = a_checkpoint(hosts=hosts(carried, waiting), waves=[wave], surge=step - 1, unavailable=1)
    assert with_stragglers(checkpoint, wave).size == there


def test_who_is_in_a_wave_that_is_settled_stays_in_it():
    wave = Wave(2, 2, ("x", "a"))
    assert with_stragglers(a_checkpoint(hosts=hosts("x", "ab"), waves=[wave], surge=1), wave) == wave


@pytest.mark.parametrize(
    ("asked", "wave", "surplus", "becomes"),
    [
        ("carry", "ab", False, "carry"),
        ("carry", "xa", False, "carry"),
        ("carry", "xy", False, "fail"),
        ("carry", "a", True, "fail"),
        ("fail", "ab", False, "fail"),
        ("escalate", "xy", False, "escalate"),
        ("escalate", "a", True, "escalate"),
    ],
)
def test_a_wave_of_nothing_but_stragglers_is_the_end(asked, wave, surplus, becomes):
    assert on_timeout(asked, a_checkpoint(hosts=hosts("xy", "ab")), list(wave), surplus) == becomes


def test_who_was_carried_is_drained_after_the_others():
    assert stragglers_last(a_checkpoint(hosts=hosts("xy", "ab")), list("xayb")) == list("abxy")


def test_a_node_that_is_carried_leaves_its_wave_and_survives_in_the_checkpoint():
    said: list[str] = []
    wave = Wave(1, 3, ("a", "b", "c"))
    checkpoint = a_checkpoint(hosts={**hosts(waiting="ab"), "c": HostProgress("all", finished=True)}, waves=[wave])
    left = carry(a_rollout(said), checkpoint, wave, ["b", "c", "somebody else"])
    assert left == Wave(1, 3, ("a", "c")) and checkpoint.waves == [left]
    again = read_checkpoint(checkpoint.to_json(), "here")
    assert again.hosts["b"] == HostProgress("all", carried=1, times={"carried": FakeClock().timestamp()})
    assert again.free_for(2) == ["b"]
    assert said == ["carried: 1 node not drained in time, carried into the next wave: b"]


def test_where_nobody_is_carried_nothing_changes():
    wave = Wave(1, 2, ("a", "b"))
    checkpoint = a_checkpoint(hosts=hosts(waiting="ab"), waves=[wave])
    said: list[str] = []
    assert carry(a_rollout(said), checkpoint, wave, []) == wave and said == []


@pytest.mark.parametrize(
    ("carried", "waiting", "known", "sizes"),
    [
        ("", "abcd", [], [1, 1, 2]),
        ("x", "", [], [1]),  # nobody else is left
        ("x", "a", [], [1]),  # it goes along
        ("x", "abcd", [Wave(1, 1, ("f",), True)], [2, 2]),
        # All of the first wave were carried: it has not happened, and the canary is still to come.
        ("xy", "abcd", [Wave(1, 2)], [1, 1, 2]),
        # Killed after it was settled who of a wave is carried, and before the rest of it had gone.
        ("x", "a", [Wave(1, 2, ("a",))], [1]),
        ("x", "ab", [Wave(1, 2, ("a",))], [1]),
        # Killed while a straggler was drained along with another one.
        ("x", "ab", [Wave(3, 2, ("x", "a"))], [1]),
    ],
)
def test_the_waves_that_are_still_needed(carried, waiting, known, sizes):
    checkpoint = a_checkpoint(hosts=hosts(carried, waiting, "f"), waves=known, surge=2)
    waves = planned(checkpoint, checkpoint.remaining, canary=1)
    assert [wave.size for wave in waves if not wave.instances] == sizes
    assert [wave.instances for wave in waves if wave.instances] == [wave.instances for wave in known if wave.instances]


def test_given_up_nobody_is_carried_any_more():
    checkpoint = a_checkpoint(
        hosts={**hosts("x", "a"), "s": HostProgress(SURPLUS)}, waves=[Wave(1, 1, ("a",)), Wave(2, 1)]
    )
    assert checkpoint.keep_the_rest() == ["x", "a"]
    assert checkpoint.remaining == ["s"] and checkpoint.waves == []


@pytest.mark.parametrize(("settled", "stops"), [((), True), (("x",), False), (("x", "a"), False)])
def test_a_request_to_stop_is_heeded_before_the_next_wave_although_nodes_are_carried(settled, stops):
    wave = Wave(2, 2, settled)
    checkpoint = a_checkpoint(hosts=hosts("x", "ab"), waves=[wave])
    rollout = SimpleNamespace(store=SimpleNamespace(stop_request=lambda: "root at noon"))
    with pytest.raises(Stopped) if stops else nullcontext():
        heed_stop_request(rollout, checkpoint, wave)


# --- whole rollouts, on paper -----------------------------------------------------------------------------------------


def roll_on_paper(size, surge, unavailable, canary, stubborn):
    """Roll a group of so many, of whom `stubborn` do not get empty while others are left; the strength is checked at
    each step, with the sizes that the stages would answer. Answers how many waves it took."""
    old = [f"i-{number}" for number in range(size)]
    checkpoint = a_checkpoint(
        members_before=old,
        hosts={name: HostProgress("all") for name in old},
        waves=[],
        surge=surge,
        unavailable=unavailable,
    )
    waves, more = 0, old
    while more:
        checkpoint.waves = planned(checkpoint, more, canary)
        for number in [wave.number for wave in checkpoint.waves if not wave.finished]:
            if checkpoint.free_for(number):
                waves += 1
                wave_on_paper(checkpoint, number, size, stubborn)
        settled = {name for wave in checkpoint.waves for name in wave.instances}
        more = [name for name in checkpoint.remaining if name not in settled]
    assert checkpoint.remaining == [] and checkpoint.ledger.held == 0
    return waves


def wave_on_paper(checkpoint, number, size, stubborn):
    carried = stragglers_of(checkpoint, checkpoint.remaining)

    def members(count):
        names = [*checkpoint.remaining, *(f"i-new{index}" for index in range(count - len(checkpoint.remaining)))]
        nodes = [a_node(f"ip-{name}", name, unschedulable=name in carried) for name in names]
        return a_scene([a_member(name) for name in names], nodes, max_size=99)

    held = checkpoint.ledger.held
    sizes = sizes_of(Standing(checkpoint, members(size + held)), number)
    ready = sizes.desired_capacity - len(carried)
    assert ready >= sizes.min_ready, "the wait for new nodes would never end"
    assert sizes.surge <= checkpoint.surge and sizes.floor == size - checkpoint.unavailable

    wave = with_stragglers(checkpoint, checkpoint.wave(number))
    others = [name for name in checkpoint.free_for(number) if name not in carried]
    wave = replace(wave, instances=tuple([*carried, *others][: wave.size]))
    checkpoint.replace_wave(wave)
    assert ready - len(set(wave.instances) - set(carried)) >= sizes.floor, "the group would be too weak"

    ends = on_timeout("carry", checkpoint, wave.instances, surplus=False) == "fail"
    left_over = [] if ends else [name for name in wave.instances if name in stubborn]
    wave = carry(a_rollout([]), checkpoint, wave, left_over)
    leaving = len(wave.instances)
    for name in wave.instances:
        checkpoint.hosts[name].finished = True
    if leaving:
        checkpoint.replace_wave(replace(wave, finished=True))
    released = zones.releases(sizes.surge, len(checkpoint.remaining), leaving)
    checkpoint.ledger = Ledger(held=sizes.surge - released)


@pytest.mark.parametrize("size", range(1, 6))
def test_a_rollout_ends_and_keeps_its_strength_whoever_is_carried(size):
    limits = [(surge, lacking) for surge in range(4) for lacking in range(min(size, 3)) if surge + lacking]
    for (surge, lacking), canary, stubborn in product(limits, range(3), range(size + 1)):
        for names in combinations([f"i-{number}" for number in range(size)], stubborn):
            waves = roll_on_paper(size, surge, lacking, canary, names)
            assert waves <= 2 * size + 1, (surge, lacking, canary, names)
