# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of nodes, as short as people can tell them apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

# Names that an IP address or an instance id makes unambiguous without their domain.
TELLING_LABEL = re.compile(r"((?:fargate-)?ip-\d+-\d+-\d+-\d+|i-[0-9a-f]{8,17})\.")


def short_name(node: str) -> str:
    """C(ip-10-20-32-4) of C(ip-10-20-32-4.eu-central-1.compute.internal); other names stay as they are."""
    found = TELLING_LABEL.match(node)
    return found[1] if found else node


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Each of these names up to its first dot, where that still tells it apart from the others."""
    every = {name for name in names if name}
    heads = Counter(name.partition(".")[0] for name in every)
    return {name: head if heads[head := name.partition(".")[0]] == 1 else name for name in every}
