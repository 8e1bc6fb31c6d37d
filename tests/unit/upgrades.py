# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade of one minor, for tests."""

from __future__ import annotations

from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.course import Course, Leg
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import UpgradeCheckpoint

START = "2026-11-22T01:00:00Z"
COURSE = Course((Leg("1.32", ("1.32",), ("istio",), fargate=True),))


def an_upgrade(**own: Any) -> UpgradeCheckpoint:
    """The checkpoint of an upgrade from 1.31 to 1.32, of which nothing is done."""
    cluster = {"name": "prod", "uid": "u-1", "account": "123456789012", "region": "eu-central-1"}
    return UpgradeCheckpoint(
        **{"run_id": "run-1", "started": START, "cluster": cluster, "was": "1.31", "course": COURSE, **own}
    )
