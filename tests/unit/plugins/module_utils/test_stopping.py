# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The request to stop: for which run it counts, who can be asked, and what becomes of it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.checkpoints import a_checkpoint
from unit.fakes import FakeClock
from unit.stores import Files, where

from ansible_collections.evergreen.eks.plugins.module_utils import stages, stopping
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.lease import Lease
from ansible_collections.evergreen.eks.plugins.module_utils.process import Process
from ansible_collections.evergreen.eks.plugins.module_utils.stopping import (
    ASKED_OF,
    Asked,
    GivenUp,
    Stopped,
    ask,
    in_words,
    leftover,
    request_for,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Lifeline

US, OTHER = "ci-7/b00t/1/4711/99", "ci-8/b00t/1/4712/98"
FRESH = "ann at 2026-11-21T01:02:03Z"
OURS, OTHERS = f"{FRESH}{ASKED_OF}{US}", f"{FRESH}{ASKED_OF}{OTHER}"


def lease_of(label: str) -> Lease:
    return Lease({"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": label}})


LIVES = lease_of(US)


@pytest.mark.parametrize(
    ("asked", "before", "stands"),
    [
        (Asked(), "", ""),
        (Asked("run-1"), "", FRESH),  # without a lock, or killed
        (Asked("run-1"), "somebody", "somebody"),
        (Asked("run-1", lease=LIVES), "", OURS),
        (Asked(lease=LIVES), "", OURS),  # not begun, but its run lives
        (Asked(lease=LIVES), OURS, OURS),
        (Asked(lease=LIVES), OTHERS, OURS),  # left of a run that has ended
    ],
)
def test_a_request_names_the_run_that_holds_the_cluster(asked: Asked, before: str, stands: str) -> None:
    assert request_for(asked, before, FRESH) == stands


def test_who_asks_is_told_what_comes_of_it() -> None:
    assert in_words(Asked(), "") == "no run is unfinished here, so there is nothing to stop"
    assert (
        in_words(Asked("run-1", lease=LIVES), OURS) == f"run run-1 is asked to stop after the nodes in hand ({FRESH})"
    )
    assert in_words(Asked(lease=LIVES), OURS) == (
        "no run is unfinished here; the one of the cluster, ci-7 (process 4711), is asked to stop before it begins "
        f"here ({FRESH})"
    )


@pytest.mark.parametrize(("request_", "stays"), [(OURS, True), (OTHERS, False), ("somebody", False)])
def test_a_run_that_begins_forgets_what_was_asked_of_others(tmp_path: Path, request_: str, stays: bool) -> None:
    store = Files(tmp_path).open()
    store.request_stop(request_)
    assert leftover(store, US) == (None if stays else request_.partition(ASKED_OF)[0])
    assert store.stop_request() == (request_ if stays else None)


class World:
    """A node group, its checkpoint in files, and who holds the cluster."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Files(folder).open()
        self.lease: Lease | None = None
        self.trouble: Exception | None = None  # what reading the lease ends with
        monkeypatch.setattr(stopping, "describe_group", lambda _aws, _name: SimpleNamespace(tags={}))
        monkeypatch.setattr(stopping, "read_lease", self._read_lease)

    def _read_lease(self, _client: object) -> Lease | None:
        if self.trouble is not None:
            raise self.trouble
        return self.lease

    def ask(self, requested: bool = True) -> dict[str, Any]:
        params = {"requested": requested, "operator": "ann", "awx_job_id": ""}
        call = Call(clock=FakeClock(), lifeline=Lifeline(Process.of(os.getpid())))
        return ask(None, None, self.store, where("shared"), params, call)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_run_that_lives_is_asked_before_it_has_begun_with_the_group(world: World) -> None:
    world.lease = LIVES
    assert world.ask()["changed"]
    assert world.store.stop_request() == OURS
    assert not world.ask()["changed"], "once is enough"
    assert world.ask(requested=False)["changed"]
    assert world.store.stop_request() is None


@pytest.mark.parametrize(
    "lease",
    [
        None,
        lease_of(""),
        lease_of(Holder.here(Lifeline(Process(2**22 + 1, "1"))).label),  # it has ended, on this machine
    ],
)
def test_where_nobody_is_seen_to_roll_nothing_is_left(world: World, lease: Lease | None) -> None:
    world.lease = lease
    assert "nothing to stop" in world.ask()["summary"]
    assert world.store.stop_request() is None


def test_who_may_not_read_the_lease_sees_nobody_roll(world: World) -> None:
    world.trouble = KubernetesError("forbidden", status=403)
    assert "nothing to stop" in world.ask()["summary"]
    assert world.store.stop_request() is None


def test_a_run_that_is_being_put_back_cannot_be_asked(world: World) -> None:
    world.lease = LIVES
    world.store.save(a_checkpoint(given_up=True))
    with pytest.raises(GivenUp, match="run 20261121T010203-4f2a9c .* is being put back, .* the same command goes on"):
        world.ask()
    assert world.store.stop_request() is None
    assert not world.ask(requested=False)["changed"]


def test_a_run_that_fails_with_a_request_to_stop_is_not_given_up(tmp_path: Path) -> None:
    store = Files(tmp_path).open()
    store.request_stop(OURS)
    with pytest.raises(Stopped, match=rf"\({FRESH}\), and did so before it was put back"):
        stages.give_up(SimpleNamespace(store=store))
