# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Label selectors as people write them for `kubectl -l`, matched against labels that are already here.

The grammar and its meaning are those of k8s.io/apimachinery/pkg/labels: requirements separated by commas, all of which
must hold. `!=` and `notin` also hold for what does not have the label at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput

KEY = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
VALUE = r"[A-Za-z0-9._-]*"
EXISTS = re.compile(rf"(?P<not>!?)\s*(?P<key>{KEY})")
EQUALS = re.compile(rf"(?P<key>{KEY})\s*(?P<not>!?)={{1,2}}\s*(?P<value>{VALUE})")
IN = re.compile(rf"(?P<key>{KEY})\s+(?P<not>not)?in\s*\((?P<values>[^()]*)\)")
# A comma that is not inside parentheses.
BETWEEN = re.compile(r",(?![^(]*\))")


@dataclass(frozen=True)
class Requirement:
    """The label `key` has one of `values` (None: whatever value); or not, where it is `negated`."""

    key: str
    values: frozenset[str] | None
    negated: bool

    def holds(self, labels: Mapping[str, str]) -> bool:
        found = self.key in labels and (self.values is None or labels[self.key] in self.values)
        return found is not self.negated


@dataclass(frozen=True)
class LabelSelector:
    """All of its requirements must hold; without any it selects everything."""

    text: str = ""
    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.holds(labels) for requirement in self.requirements)


def parse_selector(text: str) -> LabelSelector:
    """`app=web,tier in (a, b),!canary`. Raises InvalidInput."""
    parts = [part.strip() for part in BETWEEN.split(text)] if text.strip() else []
    return LabelSelector(text, tuple(_requirement(part, text) for part in parts))


def _requirement(part: str, text: str) -> Requirement:
    for pattern in (IN, EQUALS, EXISTS):
        found = pattern.fullmatch(part)
        if found:
            break
    else:
        raise InvalidInput(
            f"'{part}' in the label selector '{text}' cannot be understood",
            remedy="Write it as for kubectl -l, for example app=web,tier in (a,b),!canary",
        )
    given = found.groupdict()
    values = None
    if pattern is EQUALS:
        values = frozenset([given["value"]])
    elif pattern is IN:
        values = frozenset(value.strip() for value in given["values"].split(","))
    return Requirement(given["key"], values, bool(given["not"]))
