# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints as ConfigMaps: what only ConfigMaps have. What every store does stands in test_stores."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator

import pytest
from unit.checkpoints import a_checkpoint
from unit.fakes import FakeClock
from unit.stores import AUTHOR, POLL_SECONDS, ConfigMaps, config_maps, where

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import CheckpointError, HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.store import CheckpointConflict, StoreError
from ansible_collections.evergreen.eks.plugins.module_utils.store_configmap import ConfigMapStore, name_of
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

BUSY = (503, "ServiceUnavailable", "busy")


@pytest.fixture
def cluster() -> Iterator[ConfigMaps]:
    with config_maps() as place:
        yield place


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("shared", r"evergreen-eks-shared"),
        (
            "eksctl-prod-ng-1-NodeGroup-1ABC",
            r"evergreen-eks-eksctl-prod-ng-1-nodegroup-1abc-\w{10}",
        ),
        ("team:a/b c", r"evergreen-eks-team-a-b-c-\w{10}"),
        ("a.b", r"evergreen-eks-a-b-\w{10}"),
        ("---", r"evergreen-eks--\w{10}"),
        ("x" * 255, r"evergreen-eks-x{200}-\w{10}"),
    ],
)
def test_a_group_has_a_name_that_kubernetes_takes(group: str, name: str):
    assert re.fullmatch(name, name_of(group))
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name_of(group))
    assert len(name_of(group)) <= 253


def test_a_config_map_says_whose_it_is_and_can_be_read(cluster: ConfigMaps):
    store = cluster.open("Team A")
    store.save(a_checkpoint())
    manifest = cluster.manifest("Team A")
    assert manifest["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "evergreen.eks"}
    assert manifest["metadata"]["annotations"] == {"evergreen.eks/cluster": "prod", "evergreen.eks/group": "Team A"}
    assert json.loads(manifest["data"]["checkpoint"])["run_id"] == "20261121T010203-4f2a9c"
    assert store.place == f"ConfigMap kube-system/{manifest['metadata']['name']}"


def test_the_last_finished_run_is_kept_until_the_next_begins(cluster: ConfigMaps):
    store = cluster.open()
    store.save(a_checkpoint())
    assert store.archive("run-1") == "ConfigMap kube-system/evergreen-eks-shared, key finished"
    assert list(cluster.manifest()["data"]) == ["finished"]
    store.save(a_checkpoint(run_id="run-2"))
    assert list(cluster.manifest()["data"]) == ["checkpoint"]


def test_what_others_wrote_beside_it_is_kept_and_is_no_conflict(cluster: ConfigMaps):
    store = cluster.open()
    store.save(a_checkpoint())
    theirs = {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}, "data": {"notes": "c"}}
    cluster.admin.patch(cluster.path(), theirs)
    store.save(a_checkpoint(surge=3))
    manifest = cluster.manifest()
    assert manifest["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "evergreen.eks", "team": "a"}
    assert manifest["metadata"]["annotations"]["note"] == "b"
    assert manifest["data"]["notes"] == "c"
    assert cluster.open().load() == a_checkpoint(surge=3)


def test_kubectl_annotate_asks_a_run_to_stop(cluster: ConfigMaps):
    store = cluster.open()
    store.save(a_checkpoint())
    cluster.admin.patch(cluster.path(), {"metadata": {"annotations": {"evergreen.eks/stop": "anna"}}})
    assert store.stop_request() == "anna"


def test_a_run_that_saves_meanwhile_does_not_hinder_a_request_to_stop(cluster: ConfigMaps):
    running = cluster.open()
    running.save(a_checkpoint())
    cluster.faults.add(
        "kubernetes", "PUT configmaps", author=AUTHOR, times=1, before=lambda _call: running.save(a_checkpoint(surge=3))
    )
    cluster.open().request_stop("anna")
    assert running.stop_request() == "anna"
    assert cluster.open().load() == a_checkpoint(surge=3)


def test_a_picture_is_packed_and_what_others_wrote_is_kept(cluster: ConfigMaps):
    store = cluster.open()
    store.save(a_checkpoint())
    cluster.admin.patch(cluster.path(), {"binaryData": {"theirs": "eA=="}})
    store.keep_picture(b"x" * 700_000)
    found = cluster.manifest()
    assert sorted(found["binaryData"]) == ["picture.gz", "theirs"] and len(found["binaryData"]["picture.gz"]) < 2000
    assert list(found["data"]) == ["checkpoint"]


def test_a_run_that_saves_meanwhile_does_not_hinder_a_picture(cluster: ConfigMaps):
    running = cluster.open()
    running.save(a_checkpoint())
    cluster.faults.add(
        "kubernetes", "PUT configmaps", author=AUTHOR, times=1, before=lambda _call: running.save(a_checkpoint(surge=3))
    )
    cluster.open().keep_picture(b"a picture")
    assert (running.picture(), cluster.open().load()) == (b"a picture", a_checkpoint(surge=3))


@pytest.mark.parametrize("trouble", [{"error": BUSY}, {"reset": "after"}, {"reset": "before"}])
def test_a_picture_outlives_what_passes_by_itself(cluster: ConfigMaps, trouble: dict):
    cluster.faults.add("kubernetes", "^(PUT|POST) configmaps", author=AUTHOR, times=2, **trouble)
    cluster.open().keep_picture(b"a picture")
    assert cluster.open().picture() == b"a picture"


def test_a_group_of_5000_instances_is_packed_and_fits(cluster: ConfigMaps):
    times = dict.fromkeys(("cordon", "drain", "detach", "gone"), "2026-11-21T01:02:03Z")
    hosts = {
        f"i-{number:017x}": HostProgress(
            "template_version", f"ip-10-0-{number}.eu-central-1.compute.internal", "eu-central-1a", 1, True, "", times
        )
        for number in range(5000)
    }
    checkpoint = a_checkpoint(hosts=hosts, members_before=list(hosts))
    cluster.open().save(checkpoint)
    assert list(cluster.manifest()["binaryData"]) == ["checkpoint.gz"]
    assert cluster.open().load() == checkpoint
    cluster.open().load()
    small = cluster.open()
    small.load()
    small.save(a_checkpoint())
    assert "binaryData" not in cluster.manifest()


def test_one_that_does_not_fit_is_said_to_be_full_and_the_old_one_stays(cluster: ConfigMaps):
    store = cluster.open()
    store.save(a_checkpoint())
    cluster.admin.patch(cluster.path(), {"data": {"theirs": "x" * 1_047_000}})
    with pytest.raises(StoreError, match="may not be more than 1048576 bytes.*eks_state_store=s3 or file") as caught:
        store.save(a_checkpoint(members_before=[f"i-{number}" for number in range(1000)]))
    assert caught.value.reason == "checkpoint_unwritable"
    assert cluster.open().load() == a_checkpoint()


@pytest.mark.parametrize(
    ("allowed", "reason", "missing"),
    [
        ((), "checkpoint_unreadable", "cannot get"),
        (("get",), "checkpoint_unwritable", "cannot create"),
        (("get", "create"), "checkpoint_unwritable", "cannot update"),
    ],
)
def test_a_missing_right_is_named(cluster: ConfigMaps, allowed: tuple[str, ...], reason: str, missing: str):
    if "create" in allowed:
        cluster.open().save(a_checkpoint())
    cluster.allow(*allowed)
    store = cluster.open()
    with pytest.raises(StoreError, match=f"{missing} .*Allow get, create and update of configmaps") as caught:
        store.load()
        store.save(a_checkpoint(surge=3))
    assert caught.value.reason == reason
    assert "ConfigMap kube-system/evergreen-eks-shared" in str(caught.value)


def test_a_namespace_that_is_not_there_is_named(cluster: ConfigMaps):
    with pytest.raises(StoreError, match="Create the namespace rollouts.*eks_state_namespace"):
        cluster.open(namespace="rollouts").save(a_checkpoint())


class ExpiredCredentials:
    """A Kubernetes client whose token AWS mints no more."""

    def get(self, _path: str) -> None:
        raise AwsError("The credentials have expired", reason="credentials_expired", remedy="Renew the credentials")

    def create(self, path: str, _manifest: object) -> None:
        self.get(path)

    def replace(self, path: str, _manifest: object) -> None:
        self.get(path)


def test_what_aws_says_of_the_credentials_is_passed_on_as_it_is():
    store = ConfigMapStore("kube-system", where("shared"), ExpiredCredentials(), Call(clock=FakeClock()), POLL_SECONDS)
    for request in (store.load, store.stop_request, lambda: store.save(a_checkpoint())):
        with pytest.raises(AwsError, match="Renew the credentials") as caught:
            request()
        assert caught.value.reason == "credentials_expired"


def test_a_packed_checkpoint_that_is_damaged_is_named(cluster: ConfigMaps):
    cluster.open().save(a_checkpoint())
    damaged = bytearray(gzip.compress(a_checkpoint().to_json().encode(), mtime=0))
    damaged[10] ^= 0xFF  # the first byte behind the header
    packed = {"checkpoint.gz": base64.b64encode(damaged).decode()}
    cluster.admin.patch(cluster.path(), {"data": None, "binaryData": packed})
    with pytest.raises(CheckpointError, match="is not a checkpoint") as caught:
        cluster.open().load()
    assert caught.value.reason == "checkpoint_corrupt"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lost_answer_to_a_write_is_neither_a_conflict_nor_a_second_write(cluster: ConfigMaps, moment: str):
    store = cluster.open()
    store.save(a_checkpoint())
    cluster.faults.add("kubernetes", "PUT configmaps", author=AUTHOR, times=1, reset=moment)
    store.save(a_checkpoint(surge=3))
    store.save(a_checkpoint(surge=4))
    assert cluster.open().load() == a_checkpoint(surge=4)
    done = [call for call in cluster.record.calls(author=AUTHOR, mutating=True) if call.error != "ConnectionReset"]
    assert len(done) == 3


def test_an_outage_is_waited_out(cluster: ConfigMaps):
    store = cluster.open()
    store.save(a_checkpoint())
    cluster.faults.add("kubernetes", "configmaps", author=AUTHOR, times=5, error=BUSY)
    store.save(a_checkpoint(surge=3))
    assert cluster.open().load() == a_checkpoint(surge=3)


def test_an_outage_that_does_not_end_is_an_error_and_no_conflict(cluster: ConfigMaps):
    store = cluster.open()
    store.save(a_checkpoint())
    cluster.faults.add("kubernetes", "PUT configmaps", author=AUTHOR, times=None, error=BUSY)
    with pytest.raises(StoreError, match="cannot be written.*busy") as caught:
        store.save(a_checkpoint(surge=3))
    assert caught.value.reason == "checkpoint_unwritable"
    assert 250 <= sum(cluster.clock.sleeps) <= 350


def test_another_writer_is_told_from_a_lost_answer(cluster: ConfigMaps):
    ours, theirs = cluster.open(), cluster.open()
    ours.save(a_checkpoint())
    theirs.load()
    cluster.faults.add(
        "kubernetes",
        "PUT configmaps",
        author=AUTHOR,
        times=1,
        reset="before",
        before=lambda _call: theirs.save(a_checkpoint(surge=9)),
    )
    with pytest.raises(CheckpointConflict):
        ours.save(a_checkpoint(surge=3))
    assert cluster.open().load() == a_checkpoint(surge=9)
