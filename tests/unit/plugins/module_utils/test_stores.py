# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every store does, whatever the checkpoint is kept in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from unit.checkpoints import a_checkpoint
from unit.stores import Files, bucket, config_maps
from unit.upgrades import an_upgrade

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import CheckpointError
from ansible_collections.evergreen.eks.plugins.module_utils.store import CLUSTER_ITSELF, CheckpointConflict, Store
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import read_upgrade

#: a store of the group, as a module call of its own would open it
Opened = Callable[..., Store]


@pytest.fixture(params=["file", "configmap", "s3"])
def somewhere(request, tmp_path) -> Iterator[Any]:
    if request.param == "file":
        yield Files(tmp_path)
    else:
        with {"configmap": config_maps, "s3": bucket}[request.param]() as place:
            yield place


@pytest.fixture
def opened(somewhere) -> Opened:
    return somewhere.open


def test_nothing_there_is_no_error(opened: Opened):
    assert opened().load() is None
    assert opened().stop_request() is None


def test_what_is_saved_is_loaded_by_the_next_module_call(opened: Opened):
    first = opened()
    first.save(a_checkpoint())
    first.save(a_checkpoint(surge=3))
    assert opened().load() == a_checkpoint(surge=3)


def test_groups_have_checkpoints_of_their_own(opened: Opened):
    opened("a/b c").save(a_checkpoint())
    opened("A/b_c").save(a_checkpoint(surge=3))
    assert opened("a/b c").load() == a_checkpoint()
    assert opened("A/b_c").load() == a_checkpoint(surge=3)


def test_the_upgrade_of_the_cluster_is_kept_beside_its_groups(opened: Opened):
    opened("cluster").save(a_checkpoint())
    upgrade = opened(CLUSTER_ITSELF, read_upgrade)
    upgrade.save(an_upgrade())
    assert opened(CLUSTER_ITSELF, read_upgrade).load() == an_upgrade()
    assert opened("cluster").load() == a_checkpoint()
    upgrade.archive("20261122T010000-abc")
    assert opened(CLUSTER_ITSELF, read_upgrade).load() is None
    assert opened(CLUSTER_ITSELF, read_upgrade).former() == an_upgrade()


def test_what_another_writer_saved_is_never_overwritten(opened: Opened):
    ours, theirs = opened(), opened()
    ours.save(a_checkpoint())
    theirs.load()
    theirs.save(a_checkpoint(surge=3))
    with pytest.raises(CheckpointConflict, match="by somebody else.*run again") as caught:
        ours.save(a_checkpoint(surge=5))
    assert caught.value.reason == "checkpoint_conflict"
    with pytest.raises(CheckpointConflict):
        ours.archive("run-1")
    assert opened().load() == a_checkpoint(surge=3)


def test_of_two_that_begin_one_wins(opened: Opened):
    ours, theirs = opened(), opened()
    assert ours.load() is theirs.load() is None
    theirs.save(a_checkpoint())
    with pytest.raises(CheckpointConflict):
        ours.save(a_checkpoint(surge=5))
    assert opened().load() == a_checkpoint()


def test_of_many_writers_at_the_same_moment_one_wins(opened: Opened):
    opened().save(a_checkpoint())
    writers = [opened() for _writer in range(4)]
    for writer in writers:
        writer.load()

    def attempt(number: int) -> bool:
        together.wait()
        try:
            writers[number].save(a_checkpoint(surge=10 + number))
        except CheckpointConflict:
            return False
        return True

    together = Barrier(len(writers))
    with ThreadPoolExecutor(len(writers)) as pool:
        won = list(pool.map(attempt, range(len(writers))))
    assert won.count(True) == 1
    assert opened().load() == a_checkpoint(surge=10 + won.index(True))


def test_an_archived_checkpoint_makes_room_for_the_next_run(opened: Opened):
    store = opened()
    store.save(a_checkpoint())
    assert store.archive("run-1")
    assert opened().load() is None
    store.save(a_checkpoint(run_id="run-2"))
    assert opened().load() == a_checkpoint(run_id="run-2")


def test_what_another_run_archived_is_not_written_again(opened: Opened):
    ours, theirs = opened(), opened()
    ours.save(a_checkpoint())
    theirs.load()
    theirs.archive("run-1")
    with pytest.raises(CheckpointConflict):
        ours.save(a_checkpoint(surge=5))
    assert opened().load() is None


def test_a_stop_request_stands_until_it_is_cleared(opened: Opened):
    opened().request_stop("anna, 2026-11-21T01:02:03Z")
    store = opened()
    assert store.load() is None
    store.save(a_checkpoint())
    assert opened().stop_request() == "anna, 2026-11-21T01:02:03Z"
    opened().clear_stop()
    assert opened().stop_request() is None
    store.save(a_checkpoint(surge=3))
    opened().clear_stop()


def test_a_request_to_stop_is_no_other_writer(opened: Opened):
    store = opened()
    store.save(a_checkpoint())
    opened().request_stop("anna")
    store.save(a_checkpoint(surge=3))
    assert opened().stop_request() == "anna"
    store.archive("run-1")
    assert opened().stop_request() == "anna", "only the next run clears it"


def test_a_picture_is_kept_beside_the_checkpoint_and_is_no_other_writer(opened: Opened):
    assert opened().picture() is None
    store = opened()
    store.save(a_checkpoint())
    opened().keep_picture(b"first")
    store.save(a_checkpoint(surge=3))
    opened().keep_picture(b"second")
    store.save(a_checkpoint(surge=4))
    opened().request_stop("anna")
    store.archive("run-1")
    assert opened().picture() == b"second", "it is of use after the run, too"
    assert opened("other").picture() is None
    assert opened().load() is None


def test_a_picture_comes_before_the_first_checkpoint_too(opened: Opened):
    opened().keep_picture("größer".encode() * 100_000)
    store = opened()
    assert store.load() is None
    store.save(a_checkpoint())
    assert opened().picture() == "größer".encode() * 100_000
    assert opened().load() == a_checkpoint()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"schema":1,"run_id":"torn', "checkpoint_corrupt"),
        (b"", "checkpoint_corrupt"),
        (json.dumps({**json.loads(a_checkpoint().to_json()), "schema": 99}).encode(), "checkpoint_newer"),
    ],
)
def test_what_cannot_be_used_is_named_and_left(somewhere, opened: Opened, content: bytes, reason: str):
    opened().save(a_checkpoint())
    somewhere.put(content)
    store = opened()
    with pytest.raises(CheckpointError) as caught:
        store.load()
    assert caught.value.reason == reason
    assert store.place in str(caught.value)
    with pytest.raises(CheckpointConflict):
        opened().save(a_checkpoint())


def test_the_last_run_that_was_put_aside_is_found_until_the_next_begins_and_only_of_this_group(opened: Opened):
    assert opened().former() is None
    for group, run in (("shared", "20261120T000000-aaaaaa"), ("shared", "20261121T000000-bbbbbb"), ("shared.b", "3")):
        store = opened(group)
        store.save(a_checkpoint(run_id=run))
        store.archive(run)
    assert opened().former().run_id == "20261121T000000-bbbbbb"
    assert opened("sha").former() is None
