# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of a group's sizes in a rollout: announced, then made at once, and only where nobody else was faster.

An autoscaler may change desired capacity at any moment, and AWS knows no change under a condition. What is set is
absolute, so its change would be swallowed. Therefore the group is looked at right before the request is sent; is it
not as it was announced any more, then everything is settled and computed anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Obligation
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Refused, ensure_sizes, newest_activity
from ansible_collections.evergreen.eks.plugins.module_utils.plan import CapacityChange, Ledger
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout, Standing, take_up
from ansible_collections.evergreen.eks.plugins.module_utils.scene import look

# How often somebody else may be faster before the run stops: more is a fight.
ATTEMPTS = 10


@dataclass(frozen=True)
class Resize:
    """The sizes to be reached, and how many of that desired capacity are our surplus then."""

    desired_capacity: int
    max_size: int
    held: int


def resize(rollout: Rollout, standing: Standing, needed: Callable[[Standing], Resize], *, only_raise: bool) -> Standing:
    """Bring the group to the sizes that `needed` computes; answers how the run stood when they were announced.

    Raises Refused where AWS would have to choose an instance to terminate, EvergreenError (desired_changed) where
    others change the sizes all the time, and the errors of AWS.
    """
    refusal: Optional[Refused] = None
    for _attempt in range(ATTEMPTS):
        try:
            if _announce_and_set(rollout, standing, needed(standing), only_raise):
                return standing
            refusal = None
        except Refused as error:  # perhaps an instance came or went since the look
            refusal = error
        rollout.say("resettled", f"{refusal or 'somebody else has changed the sizes of the group'}: computed anew")
        # What became of a request whose answer was lost stands in activities that AWS writes a moment later.
        rollout.call.clock.sleep(rollout.settings.poll_seconds)
        standing = take_up(rollout)
    raise refusal or EvergreenError(
        f"somebody else changed the sizes of Auto Scaling group {rollout.asg_name} {ATTEMPTS} times in a row, each "
        "time before they were set",
        reason="desired_changed",
        remedy="See who scales the group up and down, then run again",
    )


def _announce_and_set(rollout: Rollout, standing: Standing, wanted: Resize, only_raise: bool) -> bool:
    """Write down what is to be, then do it; whether nobody else was faster."""
    checkpoint, group = standing.checkpoint, standing.scene.group
    owed = checkpoint.obligations
    checkpoint.obligations = replace(owed, max_size=_raised(owed.max_size, group.max_size, wanted.max_size))
    before = checkpoint.ledger
    changes = wanted.desired_capacity != group.desired_capacity
    if changes:
        newest = newest_activity(rollout.aws, rollout.asg_name)
        change = CapacityChange(group.desired_capacity, wanted.desired_capacity, wanted.held, newest)
        checkpoint.ledger = Ledger(before.held, before.turn + 1, change)
    rollout.save(checkpoint, standing.scene)
    sizing = ensure_sizes(
        rollout.aws,
        rollout.call,
        rollout.asg_name,
        {"max_size": wanted.max_size, "desired_capacity": wanted.desired_capacity if changes else None},
        only_raise=only_raise,
        expected={"max_size": group.max_size, "desired_capacity": group.desired_capacity},
    )
    if not sizing.as_expected and not sizing.sent:
        # Nothing was made of it: the next look must not take somebody else's change for ours.
        checkpoint.ledger = replace(before, turn=before.turn + 1)
        rollout.save(checkpoint, look(rollout.aws, rollout.client, rollout.asg_name))
    return sizing.as_expected


def _raised(old: Optional[Obligation], now: int, needed: int) -> Optional[Obligation]:
    """The obligation after maximum size is raised to `needed`; what somebody else set meanwhile is what it was."""
    if needed <= now:
        return old
    return Obligation(old.was if old and old.ours(now) else now, needed, now)
