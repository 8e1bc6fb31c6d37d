# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.errors import (
    EvergreenError,
    InvalidInput,
    MissingLibrary,
    WaitTimeout,
)


@pytest.mark.parametrize(
    ("message", "remedy", "expected"),
    [
        ("Group shared is gone", "", "Group shared is gone."),
        ("Group shared is gone.", "Name another", "Group shared is gone. Name another."),
        ("Group shared is gone", "Name another.", "Group shared is gone. Name another."),
    ],
)
def test_a_failure_is_sentences_with_one_full_stop_each(message: str, remedy: str, expected: str) -> None:
    assert EvergreenError(message, remedy=remedy).as_failure()["msg"] == expected


def test_details_become_keys_of_the_failure_beside_the_reason() -> None:
    failure = WaitTimeout("Node a is not drained", nodes={"a": {}}, changed=True, last="seen").as_failure()
    assert failure == {"msg": "Node a is not drained.", "reason": "timeout", "nodes": {"a": {}}, "changed": True}


def test_a_kind_has_its_own_reason_unless_another_is_given() -> None:
    assert InvalidInput("x").reason == "invalid_input"
    assert InvalidInput("x", reason="not_found").reason == "not_found"


def test_a_missing_library_names_the_interpreter_and_the_command_that_installs_it() -> None:
    text = str(MissingLibrary("boto3", "/usr/bin/python3"))
    assert "boto3 cannot be imported by /usr/bin/python3" in text
    assert "/usr/bin/python3 -m pip install boto3" in text
