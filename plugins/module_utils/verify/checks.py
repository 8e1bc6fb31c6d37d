# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All checks by name, and which of their findings are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.verify.groups import leftover_groups
from ansible_collections.evergreen.eks.plugins.module_utils.verify.nodes import (
    control_plane,
    managed_node_groups,
    node_versions,
    nodes_ready,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.pods import (
    csi_drivers,
    kube_proxy,
    kube_system,
    sidecars,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import Finding, Scene, Wanted
from ansible_collections.evergreen.eks.plugins.module_utils.verify.traces import (
    cordons,
    lease,
    marks,
    protection,
    suspensions,
)

Check = Callable[[Scene, Wanted], Iterable[Finding]]

# The comparison with a snapshot, which takes more than one look (watch).
SNAPSHOT = "snapshot"
CHECKS: Mapping[str, Check] = {
    "control_plane": control_plane,
    "nodes_ready": nodes_ready,
    "node_versions": node_versions,
    "managed_node_groups": managed_node_groups,
    "kube_system": kube_system,
    "csi_drivers": csi_drivers,
    "kube_proxy": kube_proxy,
    "sidecars": sidecars,
    "leftover_groups": leftover_groups,
    "marks": marks,
    "suspensions": suspensions,
    "protection": protection,
    "cordons": cordons,
    "lease": lease,
}
NAMES = (*CHECKS, SNAPSHOT)


@dataclass(frozen=True)
class Choice:
    """Which checks are made, and whose findings do not count.

    `ignored` are (check, pattern of the object) with `*` and `?`; a check of which nothing counts is not made at all.
    """

    made: tuple[str, ...]
    ignored: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, checks: Sequence[str], ignore: Sequence[str]) -> Choice:
        """From the options `checks` and `ignore` (`cordons`, `cordons:Node ip-10-*`). Raises InvalidInput."""
        given = [
            (name.strip(), pattern.strip() or "*") for name, _colon, pattern in (one.partition(":") for one in ignore)
        ]
        for name in (*checks, *(name for name, _pattern in given)):
            if name not in NAMES:
                close = get_close_matches(name, NAMES, n=1)
                remedy = f"Did you mean {close[0]}" if close else f"Name one of {', '.join(NAMES)}"
                raise InvalidInput(f"there is no check '{name}'", remedy=remedy)
        left_out = {name for name, pattern in given if pattern == "*"}
        return cls(tuple(name for name in NAMES if name in (checks or NAMES) and name not in left_out), tuple(given))

    def ignores(self, finding: Finding) -> bool:
        return any(name == finding.check and fnmatchcase(finding.object, pattern) for name, pattern in self.ignored)


def findings(scene: Scene, wanted: Wanted, choice: Choice) -> list[Finding]:
    """What all checks that are made have found, in their order. One that finds nothing keeps no other from looking."""
    return [finding for name in choice.made if name in CHECKS for finding in CHECKS[name](scene, wanted)]
