# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of nodes, as short as people can tell them apart."""

from __future__ import annotations

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.naming import short_name, short_names

DOMAIN = "eu-central-1.compute.internal"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("ip-10-20-32-4.eu-central-1.compute.internal", "ip-10-20-32-4"),
        ("i-0123456789abcdef0.eu-central-1.compute.internal", "i-0123456789abcdef0"),
        ("ip-10-20-32-4", "ip-10-20-32-4"),
        ("fargate-ip-10-20-240-5.eu-central-1.compute.internal", "fargate-ip-10-20-240-5"),
        ("node-a.rack-1.example.org", "node-a.rack-1.example.org"),
    ],
)
def test_names_are_short_where_that_is_unambiguous(name: str, short: str) -> None:
    assert short_name(name) == short


@pytest.mark.parametrize(
    ("names", "short"),
    [
        ([f"ip-1.{DOMAIN}", f"ip-2.{DOMAIN}"], ["ip-1", "ip-2"]),
        ([f"ip-1.{DOMAIN}", "ip-1.us-east-1.compute.internal"], [f"ip-1.{DOMAIN}", "ip-1.us-east-1.compute.internal"]),
        (["node", "node", ""], ["node", "node"]),
    ],
)
def test_names_are_shortened_where_that_still_tells_them_apart(names: list[str], short: list[str]) -> None:
    found = short_names(names)
    assert [found[name] for name in names if name] == short
