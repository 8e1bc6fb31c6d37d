# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time for which the canary stands before the second wave begins."""

from __future__ import annotations

from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout, elapsed, names, take_up
from ansible_collections.evergreen.eks.plugins.module_utils.scene import look
from ansible_collections.evergreen.eks.plugins.module_utils.stages import heed_stop_request
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Deadline, wait_until


class CanaryFailed(EvergreenError):
    """A new node stopped being Ready while the canary stood."""

    default_reason = "canary_failed"


def bake(rollout: Rollout, number: int) -> dict[str, Any]:
    """Let the canary stand for its time before the next wave; its new nodes must stay Ready meanwhile.

    The time counts from the moment when the canary's wave was seen finished, which the checkpoint remembers.
    """
    standing = take_up(rollout)
    checkpoint, seconds = standing.checkpoint, rollout.settings.canary_bake_seconds
    finished = [wave for wave in checkpoint.waves if wave.finished]
    if not seconds or len(finished) != 1 or "baked" in checkpoint.stages:
        return {"changed": False}
    checkpoint.stages.setdefault("baking", rollout.call.clock.timestamp())
    rollout.save(checkpoint, standing.scene)
    clock = rollout.call.clock
    left = seconds - elapsed(checkpoint.stages["baking"], clock.timestamp())
    text = f"the canary stands for {max(0, left):g} s before this wave"
    rollout.say("canary_stands", text, seconds=max(0, left), wave=number, waves=len(checkpoint.waves))
    end = clock.now() + left
    proven: set[str] = set()
    wait_until(
        lambda: _watch_canary(rollout, checkpoint, proven, number),
        lambda _seen: clock.now() >= end,
        clock=clock,
        deadline=Deadline(clock, 0),
        interval=min(rollout.settings.poll_seconds, max(0.01, left)),
    )
    checkpoint.stages["baked"] = clock.timestamp()
    rollout.save(checkpoint, standing.scene)
    return {"changed": True}


def _watch_canary(rollout: Rollout, checkpoint: Checkpoint, proven: set[str], number: int) -> None:
    """Raise CanaryFailed when a new node that was seen Ready (`proven`, added to here) is so no more, or Stopped."""
    heed_stop_request(rollout, checkpoint, checkpoint.wave(number))
    scene = look(rollout.aws, rollout.client, rollout.asg_name)
    new = [host for host in scene.counting if host.instance_id not in checkpoint.members_before]
    fallen = [host for host in new if host.instance_id in proven and not host.ready]
    proven.update(host.instance_id for host in new if host.ready)
    if fallen:
        raise CanaryFailed(
            f"the canary of node group {rollout.asg_name} is not Ready any more: "
            f"{names([f'{host.instance_id} ({host.node})' for host in fallen])}",
            remedy="Look at that node; no further old node has been touched",
        )
