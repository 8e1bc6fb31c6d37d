# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkpoint document and the marks on the group."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import (
    Checkpoint,
    CheckpointError,
    DepartureMark,
    HostProgress,
    Marks,
    MemberMark,
    Obligation,
    Obligations,
    read_checkpoint,
    read_marks,
    read_member_mark,
)
from ansible_collections.evergreen.eks.plugins.module_utils.plan import CapacityChange, Departure, Ledger, Wave
from ansible_collections.evergreen.eks.plugins.module_utils.store import Place
from ansible_collections.evergreen.eks.plugins.module_utils.store_file import FileStore

ACTIVITY = "5b4e2f5c-7a7b-4a53-9b64-0d9a7d6f3c11"
MARKS = Marks(
    run_id="20261121T010203-4f2a9c",
    target="sha256:0123456789abcdef",
    started="2026-11-21T01:02:03Z",
    holder="awx-task-7d9c8b6f5-x2x4z.awx.svc.cluster.local/0a1b2c3d/4026531836/4194304/123456789",
    obligations=Obligations(
        max_size=Obligation(6, 8, 7),
        protects_new=Obligation(False, True),
        processes=("AZRebalance", "ReplaceUnhealthy"),
    ),
    ledger=Ledger(held=2, turn=3, change=CapacityChange(6, 8, 2, ACTIVITY), own=6),
    surge=2,
    unavailable=0,
    zones={"eu-central-1a": 2, "eu-central-1b": 2, "eu-central-1c": 2},
    cluster="0a1b2c3d",
    given_up=True,
)


def checkpoint(**changes) -> Checkpoint:
    values = {
        "run_id": MARKS.run_id,
        "started": MARKS.started,
        "cluster": {"name": "prod", "uid": "u-1", "account": "123456789012", "region": "eu-central-1"},
        "group": {"name": "shared", "arn": "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:x"},
        "target": MARKS.target,
        "surge": 2,
        "unavailable": 0,
        "sizes_before": {"min_size": 3, "max_size": 6, "desired_capacity": 6},
        "zones_before": dict(MARKS.zones),
        "members_before": ["i-1", "i-2"],
        "hosts": {"i-1": HostProgress("template_version", "ip-1", "eu-central-1a", 1, True, "removed", {"gone": "t"})},
        "waves": [Wave(1, 1, ("i-1",), finished=True)],
        "obligations": MARKS.obligations,
        "ledger": MARKS.ledger,
    }
    return Checkpoint(**{**values, **changes})


def store(folder) -> FileStore:
    return FileStore(str(folder), Place("123456789012", "eu-central-1", "prod", "shared"))


class TestMarks:
    def test_what_is_written_on_the_group_is_read_again(self):
        assert read_marks(MARKS.as_tags()) == MARKS

    def test_departures_under_way_are_read_again(self):
        marks = replace(MARKS, ledger=Ledger(held=2, turn=4, own=6, departure=Departure(2, ACTIVITY)))
        assert read_marks(marks.as_tags()) == marks
        assert read_checkpoint(checkpoint(ledger=marks.ledger).to_json(), "here").ledger == marks.ledger

    def test_tags_keep_to_what_aws_takes(self):
        for key, value in MARKS.as_tags().items():
            assert len(key) <= 128
            assert len(value) <= 256, key
            assert re.fullmatch(r"[A-Za-z0-9 +\-=._:/@]*", value), value

    def test_a_group_without_our_tags_has_no_marks(self):
        assert read_marks({"Name": "shared", "kubernetes.io/cluster/prod": "owned"}) is None

    def test_mangled_tags_are_an_error_with_a_remedy(self):
        with pytest.raises(CheckpointError, match="take these tags off") as caught:
            read_marks({**MARKS.as_tags(), "evergreen.eks/max-size": "was=six set_to=8"})
        assert caught.value.reason == "marks_corrupt"

    def test_instances_carry_who_goes_and_who_was_protected(self):
        mark = MemberMark("run-1", replace=True, protected=False)
        assert read_member_mark({"evergreen.eks/member": str(mark)}) == mark
        assert read_member_mark({"Name": "x"}) is None

    def test_what_the_run_launched_itself_is_told_from_the_members_of_its_start(self):
        mark = MemberMark("run-1", replace=True, protected=False, launched=True)
        assert str(mark) == "run=run-1 replace=yes protected=no launched=yes"
        assert read_member_mark({"evergreen.eks/member": str(mark)}) == mark

    def test_instances_that_leave_carry_how(self):
        mark = DepartureMark("run-1", turn=4, decrement=True)
        assert str(mark) == "run=run-1 turn=4 decrement=yes"


class TestDocument:
    def test_what_is_written_is_read_again(self):
        assert read_checkpoint(checkpoint().to_json(), "here") == checkpoint()

    @pytest.mark.parametrize(
        ("history", "read"),
        [
            ("oops", []),
            (None, []),
            ({"run_id": "1"}, []),
            ([1, {"run_id": "1", "ready_seconds": 50}, None], [{"run_id": "1", "ready_seconds": 50}]),
        ],
    )
    def test_a_history_that_is_none_keeps_no_run_from_going_on(self, history, read):
        document = {**json.loads(checkpoint().to_json()), "history": history}
        assert read_checkpoint(json.dumps(document), "here") == checkpoint(history=read)

    def test_what_was_written_before_there_was_a_history_is_read_and_no_older_release_reads_what_is_written_now(self):
        document = json.loads(checkpoint().to_json())
        assert document["schema"] == 2
        del document["history"]
        assert read_checkpoint(json.dumps({**document, "schema": 1}), "here") == checkpoint()

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "checkpoint_corrupt"),
            ('{"schema": 1, "run_id": "torn', "checkpoint_corrupt"),
            ("[]", "checkpoint_corrupt"),
            ('{"schema": 1}', "checkpoint_corrupt"),
            ('{"schema": "one"}', "checkpoint_newer"),
            ('{"schema": 99}', "checkpoint_newer"),
            (json.dumps({**json.loads(checkpoint().to_json()), "hosts": "none"}), "checkpoint_corrupt"),
            (json.dumps({**json.loads(checkpoint().to_json()), "waves": [{"number": 1}]}), "checkpoint_corrupt"),
        ],
    )
    def test_what_cannot_be_used_names_the_place(self, text, reason):
        with pytest.raises(CheckpointError, match="/state/shared.json") as caught:
            read_checkpoint(text, "/state/shared.json")
        assert caught.value.reason == reason
