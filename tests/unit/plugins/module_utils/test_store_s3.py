# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints in S3: what only S3 has. What every store does stands in test_stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from unit.checkpoints import a_checkpoint
from unit.stores import AUTHOR, Bucket, bucket

from ansible_collections.evergreen.eks.plugins.module_utils.store import CheckpointConflict, StoreError


@pytest.fixture
def s3() -> Iterator[Bucket]:
    with bucket() as place:
        yield place


def test_an_object_is_keyed_by_all_that_names_a_group(s3: Bucket):
    store = s3.open("team:a/b c")
    store.save(a_checkpoint())
    assert store.place == "s3://state/evergreen.eks/111122223333/eu-central-1/prod/team%3Aa%2Fb%20c.json"
    assert s3.keys() == ["team%3Aa%2Fb%20c.json"]


def test_finished_runs_are_kept(s3: Bucket):
    store = s3.open()
    for run in ("run-1", "run-2"):
        store.save(a_checkpoint(run_id=run))
        assert store.archive(run).endswith(f"/shared.{run}.done.json")
    assert s3.keys() == ["shared.run-1.done.json", "shared.run-2.done.json"]


def test_every_write_of_a_checkpoint_is_conditional(s3: Bucket):
    store = s3.open()
    store.save(a_checkpoint())
    store.save(a_checkpoint(surge=3))
    store.archive("run-1")
    conditions = [
        (call.operation, "IfMatch" in call.params, call.params.get("IfNoneMatch"))
        for call in s3.record.calls(author=AUTHOR, mutating=True)
        if call.target.endswith("/shared.json")
    ]
    assert conditions == [("PutObject", False, "*"), ("PutObject", True, None), ("DeleteObject", True, None)]


def test_a_checkpoint_written_while_it_is_archived_is_not_deleted(s3: Bucket):
    ours, theirs = s3.open(), s3.open()
    ours.save(a_checkpoint())
    theirs.load()
    s3.faults.add("s3", "DeleteObject", author=AUTHOR, times=1, before=lambda _call: theirs.save(a_checkpoint(surge=9)))
    with pytest.raises(CheckpointConflict):
        ours.archive("run-1")
    assert s3.open().load() == a_checkpoint(surge=9)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("operation", ["PutObject", "DeleteObject"])
def test_a_lost_answer_is_no_conflict(s3: Bucket, operation: str, moment: str):
    store = s3.open()
    store.save(a_checkpoint())
    s3.faults.add("s3", operation, author=AUTHOR, times=1, reset=moment)
    store.save(a_checkpoint(surge=3))
    assert s3.open().load() == a_checkpoint(surge=3)
    store.archive("run-1")
    assert s3.keys() == ["shared.run-1.done.json"]


def test_two_writes_that_meet_are_settled_by_another_attempt(s3: Bucket):
    store = s3.open()
    store.save(a_checkpoint())
    met = (409, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation")
    s3.faults.add("s3", "PutObject", author=AUTHOR, times=1, error=met)
    store.save(a_checkpoint(surge=3))
    assert s3.open().load() == a_checkpoint(surge=3)


def test_an_outage_is_waited_out_and_one_that_does_not_end_is_named(s3: Bucket):
    store = s3.open()
    store.save(a_checkpoint())
    busy = (503, "SlowDown", "Please reduce your request rate.")
    s3.faults.add("s3", "PutObject", author=AUTHOR, times=5, error=busy)
    store.save(a_checkpoint(surge=3))
    s3.faults.add("s3", "PutObject", author=AUTHOR, times=None, error=busy)
    with pytest.raises(StoreError, match=f"{store.place} cannot be written: .*SlowDown") as caught:
        store.save(a_checkpoint(surge=4))
    assert caught.value.reason == "checkpoint_unwritable"
    assert 250 <= sum(s3.clock.sleeps) <= 400
    assert s3.open().load() == a_checkpoint(surge=3)


@pytest.mark.parametrize(
    ("allowed", "reason", "denied"),
    [
        ((), "checkpoint_unreadable", "s3:GetObject"),
        (("s3:GetObject", "s3:PutObject"), "checkpoint_unreadable", "s3:GetObject"),
        (("s3:GetObject", "s3:ListBucket"), "checkpoint_unwritable", "s3:PutObject"),
        (("s3:GetObject", "s3:ListBucket", "s3:PutObject"), "checkpoint_unwritable", "s3:DeleteObject"),
    ],
)
def test_a_missing_right_is_named(s3: Bucket, allowed: tuple[str, ...], reason: str, denied: str):
    s3.allow(*allowed)
    store = s3.open()
    with pytest.raises(StoreError, match=f"{store.place} .*denies {denied} .*Allow s3:GetObject.*s3:ListBucket") as no:
        store.load()
        store.save(a_checkpoint())
        store.archive("run-1")
    assert no.value.reason == reason


def test_a_bucket_that_is_not_there_is_named(s3: Bucket):
    with pytest.raises(StoreError, match="Create the bucket.*eks_state_bucket"):
        s3.open(bucket="nowhere").load()


def test_a_bucket_of_another_region_will_do(s3: Bucket):
    s3.create("frankly", "eu-west-1")
    store = s3.open(bucket="frankly")
    assert store.load() is None
    store.save(a_checkpoint())
    assert s3.open(bucket="frankly").load() == a_checkpoint()


def test_a_bucket_that_cannot_be_followed_into_its_region_is_named(s3: Bucket):
    moved = (301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using ...")
    s3.faults.add("s3", "GetObject", author=AUTHOR, times=None, error=moved)
    with pytest.raises(StoreError, match="PermanentRedirect.*The bucket is not in eu-central-1"):
        s3.open().load()


def test_a_botocore_without_conditional_writes_is_refused(s3: Bucket):
    put = s3.tool.client("s3").meta.service_model.operation_model("PutObject")
    del put.input_shape.members["IfMatch"]
    with pytest.raises(StoreError, match=r"botocore .* has no conditional writes.*Install botocore 1\.35\.69 or newer"):
        s3.open().load()
    assert s3.record.calls(author=AUTHOR, service="s3") == []
