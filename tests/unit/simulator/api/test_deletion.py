# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How objects go: grace, finalizers, owners, namespaces. (What the recorded answers cover is tested there.)"""

from __future__ import annotations

import pytest

from simulator.kubernetes.client import ApiError

PODS = "/api/v1/namespaces/default/pods"
REPLICA_SETS = "/apis/apps/v1/namespaces/default/replicasets"
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c"}]}}


@pytest.fixture
def owner(client, make_pod):
    """A ReplicaSet with one pod, which also blocks its deletion in the foreground."""
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}
    replica_set = client.create(REPLICA_SETS, {"metadata": {"name": "rs"}, "spec": spec})
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": replica_set["metadata"]["uid"]}
    make_pod("a", labels={"app": "x"}, ownerReferences=[{**reference, "controller": True, "blockOwnerDeletion": True}])
    return replica_set


def there(client, path):
    try:
        return client.get(path)["metadata"]
    except ApiError as error:
        assert error.code == 404
        return None


def test_the_grace_runs_on_the_worlds_clock(client, clock, make_pod):
    make_pod("a")
    asked_at = clock.now()
    pod = client.delete(f"{PODS}/a")
    assert pod["metadata"]["deletionTimestamp"] == clock.timestamp(asked_at + 30)
    clock.advance(10)
    shorter = client.delete(f"{PODS}/a", {"gracePeriodSeconds": 12})
    assert shorter["metadata"]["deletionTimestamp"] == clock.timestamp(asked_at + 12)
    assert client.delete(f"{PODS}/a", {"gracePeriodSeconds": 25}) == shorter


@pytest.mark.parametrize("status", [{"phase": "Succeeded"}, {"phase": "Failed"}])
def test_a_finished_pod_vanishes_at_once(client, make_pod, status):
    make_pod("a")
    client.patch(f"{PODS}/a/status", {"status": status})
    client.delete(f"{PODS}/a")
    assert there(client, f"{PODS}/a") is None


def test_a_pod_that_no_node_has_vanishes_at_once(client):
    client.create(PODS, {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}})
    client.delete(f"{PODS}/a")
    assert there(client, f"{PODS}/a") is None


def test_another_uid_is_another_object(client, make_pod):
    make_pod("a")
    with pytest.raises(ApiError) as refused:
        client.delete(f"{PODS}/a", {"preconditions": {"uid": "another"}})
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert "deletionTimestamp" not in there(client, f"{PODS}/a")


def test_dependents_follow_their_owner(client, owner):
    client.delete(f"{REPLICA_SETS}/rs")
    assert there(client, f"{REPLICA_SETS}/rs") is None
    assert there(client, f"{PODS}/a")["deletionGracePeriodSeconds"] == 30


def test_in_the_foreground_the_owner_waits_for_its_dependents(client, owner):
    client.delete(f"{REPLICA_SETS}/rs", {"propagationPolicy": "Foreground"})
    assert there(client, f"{REPLICA_SETS}/rs")["finalizers"] == ["foregroundDeletion"]
    client.delete(f"{PODS}/a", {"gracePeriodSeconds": 0})
    assert there(client, f"{REPLICA_SETS}/rs") is None


def test_orphans_stay(client, owner):
    client.delete(f"{REPLICA_SETS}/rs", {"propagationPolicy": "Orphan"})
    assert there(client, f"{REPLICA_SETS}/rs") is None
    pod = there(client, f"{PODS}/a")
    assert "deletionTimestamp" not in pod
    assert "ownerReferences" not in pod


def test_a_dry_run_leaves_everything(client, https, owner):
    assert https.ask("DELETE", f"{REPLICA_SETS}/rs?dryRun=All").json()["status"] == "Success"
    assert https.ask("DELETE", f"{PODS}/a", {"dryRun": ["All"]}).json()["metadata"]["deletionGracePeriodSeconds"] == 30
    assert client.get(f"{REPLICA_SETS}/rs") == owner
    assert "deletionTimestamp" not in there(client, f"{PODS}/a")


def test_a_namespace_stays_until_it_is_finalized(client):
    client.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    client.delete("/api/v1/namespaces/shop")
    namespace = client.get("/api/v1/namespaces/shop")
    assert namespace["status"]["phase"] == "Terminating"
    with pytest.raises(ApiError) as refused:
        client.create("/api/v1/namespaces/shop/configmaps", {"metadata": {"name": "late"}})
    assert refused.value.causes[0]["reason"] == "NamespaceTerminating"
    client.replace("/api/v1/namespaces/shop/finalize", {**namespace, "spec": {"finalizers": []}})
    assert there(client, "/api/v1/namespaces/shop") is None


def test_a_whole_collection_goes(client, make_pod):
    make_pod("a", labels={"app": "x"})
    make_pod("b", labels={"app": "y"})
    client.delete(PODS, {"gracePeriodSeconds": 0}, labelSelector="app=x")
    assert [pod["metadata"]["name"] for pod in client.list(PODS)[0]] == ["b"]
