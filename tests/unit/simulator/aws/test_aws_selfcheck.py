# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The self-check against moto: silent today, loud about each symbol that changes."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.aws import selfcheck
from simulator.aws.patches import ORIGINALS


def test_this_moto_is_the_one_that_the_world_was_written_for() -> None:
    assert selfcheck.problems() == []


def test_every_replaced_symbol_is_checked(aws: Any) -> None:
    assert set(ORIGINALS) <= set(selfcheck.expected_symbols())


@pytest.mark.parametrize(
    ("symbol", "signature", "says"),
    [
        (
            "moto.ec2.models.tags:TagBackend.create_tags",
            "(self, ids)",
            "is (self, resource_ids, tags), expected (self,",
        ),
        ("moto.ec2.models.tags:TagBackend.gone", "(self)", "TagBackend.gone is absent, expected (self)"),
        ("moto.nowhere:thing", "(self)", "moto.nowhere:thing is absent"),
        ("moto.eks.responses:EKSResponse.update_cluster_version", "(self)", "is absent, expected (self)"),
    ],
)
def test_a_changed_symbol_is_named(aws: Any, symbol: str, signature: str, says: str) -> None:
    (problem,) = selfcheck.problems({symbol: signature})
    assert symbol in problem
    assert says in problem


def test_another_version_of_moto_is_named() -> None:
    assert selfcheck.problems({}, version="5.2.4") == ["moto is 5.2.5, the world is written for 5.2.4"]


def test_a_lost_attribute_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "ATTRIBUTES", {"moto.ec2.models.instances:Instance.__init__": ("_state", "_mood")})
    problem = "moto.ec2.models.instances:Instance.__init__ no longer has the attribute _mood"
    assert selfcheck.problems({}) == [problem]


def test_the_check_refuses_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "expected_symbols", lambda: {"moto.nowhere:thing": "(self)"})
    with pytest.raises(selfcheck.MotoChanged, match="moto.nowhere:thing is absent"):
        selfcheck.check()
