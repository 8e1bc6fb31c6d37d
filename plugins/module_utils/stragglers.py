# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose drain came to no end in time: they are carried into the following waves, and finished at the end.

A straggler stays cordoned, so it goes on counting as missing: in each wave that it is carried into it takes one of the
places of surge and unavailable, and fewer others are begun. Who finds no room gets further waves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils import plan
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import CARRY, FAIL
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Wave
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout, names, take_up


def stragglers_of(checkpoint: Checkpoint, instances: Sequence[str]) -> list[str]:
    """Those of them that were carried before."""
    return [name for name in instances if checkpoint.hosts[name].carried]


def with_stragglers(checkpoint: Checkpoint, wave: Wave) -> Wave:
    """The wave with the size that it has room for; who is in it is settled already, or is yet to be."""
    if wave.instances:
        return wave
    free = checkpoint.free_for(wave.number)
    carried = len(stragglers_of(checkpoint, free))
    step = checkpoint.surge + checkpoint.unavailable
    return replace(wave, size=plan.size_with_stragglers(wave.size, carried, len(free) - carried, step))


def stragglers_last(checkpoint: Checkpoint, instances: Sequence[str]) -> list[str]:
    """In the order in which they are to be drained: who was carried holds nobody up who has not been tried yet."""
    return sorted(instances, key=lambda name: checkpoint.hosts[name].carried > 0)


def on_timeout(asked: str, checkpoint: Checkpoint, instances: Sequence[str], surplus: bool) -> str:
    """What becomes of a node of this wave that is not empty in time. A wave of nothing but stragglers, or of surplus,
    is the end: there is nobody left whom they could hold up, or no room to begin with anybody."""
    at_the_end = surplus or len(stragglers_of(checkpoint, instances)) == len(instances)
    return FAIL if asked == CARRY and at_the_end else asked


def carry(rollout: Rollout, checkpoint: Checkpoint, wave: Wave, instances: Sequence[str]) -> Wave:
    """Take these out of their wave, for the following ones; they stay cordoned. Answers the wave without them."""
    now = rollout.call.clock.timestamp()
    carried = [name for name in wave.instances if name in instances and not checkpoint.hosts[name].finished]
    for name in carried:
        host = checkpoint.hosts[name]
        host.wave, host.carried, host.times["carried"] = 0, host.carried + 1, now
    if carried:
        text = f"{counted(len(carried), 'node')} not drained in time, carried into the next wave: {names(carried)}"
        rollout.say("carried", text, wave=wave.number, waves=len(checkpoint.waves), instances=carried)
        wave = replace(wave, instances=tuple(name for name in wave.instances if name not in carried))
        checkpoint.replace_wave(wave)
    return wave


def planned(checkpoint: Checkpoint, remaining: Sequence[str], canary: int) -> list[Wave]:
    """The waves of the checkpoint, and those that these instances still need."""
    return plan.plan_waves(
        checkpoint.waves,
        remaining,
        checkpoint.surge,
        checkpoint.unavailable,
        canary,
        stragglers_of(checkpoint, remaining),
    )


def further_waves(rollout: Rollout) -> dict[str, Any]:
    """The waves that are needed besides those that were planned: for those whose places stragglers took, and then for
    the stragglers themselves. None are needed for who is no part of the group's strength, such as a member in Standby.
    """
    standing = take_up(rollout)
    checkpoint = standing.checkpoint
    counting = {host.instance_id for host in standing.scene.counting}
    settled = {name for wave in checkpoint.waves for name in wave.instances}
    free = [name for name in checkpoint.remaining if name in counting and name not in settled]
    if free:
        before = {wave.number for wave in checkpoint.waves if wave.finished or wave.instances}
        checkpoint.waves = planned(checkpoint, [*free, *(settled & set(checkpoint.remaining))], rollout.settings.canary)
        ahead = [wave.number for wave in checkpoint.waves if wave.number not in before]
        text = f"{counted(len(ahead), 'further wave')} for {counted(len(free), 'node')}: {names(free)}"
        rollout.say("further_waves", text, ahead=ahead)
    rollout.save(checkpoint, standing.scene)
    return {"changed": bool(free), "ahead": ahead if free else []}
