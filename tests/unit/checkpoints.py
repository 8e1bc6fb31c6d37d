# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A checkpoint to test with: one of two instances of node group shared is replaced."""

from __future__ import annotations

from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint, HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Wave


def a_checkpoint(**changes: Any) -> Checkpoint:
    """Run C(20261121T010203-4f2a9c) of group shared in cluster prod, with other values where asked."""
    values = {
        "run_id": "20261121T010203-4f2a9c",
        "started": "2026-11-21T01:02:03Z",
        "cluster": {"name": "prod", "uid": "u-1", "account": "123456789012", "region": "eu-central-1"},
        "group": {"name": "shared", "arn": "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:x"},
        "target": "sha256:0123456789abcdef",
        "surge": 2,
        "unavailable": 0,
        "sizes_before": {"min_size": 3, "max_size": 6, "desired_capacity": 6},
        "zones_before": {"eu-central-1a": 2, "eu-central-1b": 2, "eu-central-1c": 2},
        "members_before": ["i-1", "i-2"],
        "hosts": {
            "i-1": HostProgress("template_version", "ip-1", "eu-central-1a", 1, True, "removed", {"gone": "t"}),
            "i-2": HostProgress("template_version", "ip-2", "eu-central-1b"),
        },
        "waves": [Wave(1, 1, ("i-1",), finished=True), Wave(2, 1)],
    }
    return Checkpoint(**{**values, **changes})
