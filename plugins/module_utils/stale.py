# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints of runs that are over without their knowledge: a run is known by its marks, in whatever store it began.

A run that was killed can be gone on with from another store, by its marks, to its end. The first store then still says
that the run is unfinished and holds surplus: what it says of the group has long ceased to be true.
"""

from __future__ import annotations

from typing import Collection, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint, CheckpointError, Marks


def why_stale(known: Checkpoint, marks: Optional[Marks], marked_members: Collection[str], place: str) -> str:
    """Why a checkpoint is not followed whose run is not the one that marks the group, in words.

    The next run that begins sets it aside.

    `marked_members` are the instances that carry marks of the checkpoint's run. Raises CheckpointError where they do
    and the group carries none: then nobody can tell what is still to be put back.
    """
    what = f"the checkpoint of run {known.run_id} is not followed"
    if marks:
        return f"{what}: the group is marked by run {marks.run_id}"
    if not known.stages:
        return f"{what}: that run ended before it changed anything"
    if marked_members:
        raise CheckpointError(
            f"the tags evergreen.eks/* of run {known.run_id} were taken off the Auto Scaling group "
            f"{known.group['name']}, but not off its instances{_owed(known)}",
            reason="marks_corrupt",
            remedy="If that run came to its end elsewhere, or when all is put back, take the tag evergreen.eks/member "
            f"off the instances and run again: its checkpoint {place} is then not followed",
        )
    return f"{what}: it was finished, or put back, from elsewhere"


def _owed(known: Checkpoint) -> str:
    """What the run had to put back when its checkpoint was written, as the end of a sentence."""
    owed = known.obligations
    parts = [f"maximum size was {owed.max_size.was}"] if owed.max_size else []
    parts += [f"{', '.join(owed.processes)} is suspended"] if owed.processes else []
    parts += ["new instances were not protected from scale-in"] if owed.protects_new else []
    parts += [f"{known.ledger.held} of the instances are extra"] if known.ledger.held else []
    return f"; by the checkpoint {', '.join(parts)}" if parts else ""
