# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evictions beyond what the recorded answers reach."""

from __future__ import annotations

import threading

import pytest

from simulator.kubernetes.client import ApiError

PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


@pytest.fixture
def budget(client, make_pod):
    """Set the status of a budget over pod ``a``, as the disruption controller would."""
    make_pod("a", labels={"app": "x"})
    spec = {"selector": {"matchLabels": {"app": "x"}}, "maxUnavailable": 1}
    client.create(BUDGETS, {"metadata": {"name": "b"}, "spec": spec})

    def set_status(**status):
        client.patch(f"{BUDGETS}/b/status", {"status": {"observedGeneration": 1, **status}})

    return set_status


def evict(client, name="a", **options):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options}
    return client.create(f"{PODS}/{name}/eviction", body)


def refusal(client, **options):
    with pytest.raises(ApiError) as refused:
        evict(client, **options)
    return refused.value


def test_spends_the_budget_and_says_who_did_it(client, budget, clock):
    budget(disruptionsAllowed=1, currentHealthy=2, desiredHealthy=1)
    evict(client)
    status = client.get(f"{BUDGETS}/b")["status"]
    assert (status["disruptionsAllowed"], status["disruptedPods"]) == (0, {"a": clock.timestamp()})
    [target] = [c for c in client.get(f"{PODS}/a")["status"]["conditions"] if c["type"] == "DisruptionTarget"]
    assert (target["status"], target["reason"]) == ("True", "EvictionByEvictionAPI")


def test_a_wrong_uid_spends_it_all_the_same(client, budget):
    budget(disruptionsAllowed=1, currentHealthy=2, desiredHealthy=1)
    assert refusal(client, preconditions={"uid": "another"}).code == 409
    assert client.get(f"{BUDGETS}/b")["status"]["disruptionsAllowed"] == 0
    assert "deletionTimestamp" not in client.get(f"{PODS}/a")["metadata"]


def test_an_exhausted_budget_has_no_retry_after(client, budget):
    budget(disruptionsAllowed=0, currentHealthy=1, desiredHealthy=1)
    error = refusal(client)
    assert (error.code, error.headers) == (429, ())


def test_a_budget_that_was_never_synced_has(client, budget):
    error = refusal(client)
    assert (error.code, error.headers) == (429, (("Retry-After", "10"),))


def test_a_budget_that_failed_to_sync_says_why(client, budget):
    condition = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}
    budget(disruptionsAllowed=0, conditions=[condition])
    assert refusal(client).causes[0]["message"].endswith("because it failed sync: no scale")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"disruptionsAllowed": -1}, "pdb disruptions allowed is negative"),
        ({"disruptionsAllowed": 1, "disruptedPods": {f"p{n}": "" for n in range(2001)}}, "map too big"),
    ],
)
def test_what_is_beyond_repair_is_403(client, budget, status, text):
    budget(**status)
    error = refusal(client)
    assert (error.code, text in error.message) == (403, True)


def test_a_wrong_uid_of_a_pending_pod_takes_ten_seconds(client, clock, budget):
    client.patch(f"{PODS}/a/status", {"status": {"phase": "Pending"}})
    errors = []
    asking = threading.Thread(target=lambda: errors.append(refusal(client, preconditions={"uid": "another"})))
    asking.start()
    clock.advance(9)
    asking.join(0.2)
    assert errors == []
    while asking.is_alive():
        clock.advance(1)
        asking.join(0.02)
    assert [error.code for error in errors] == [409]


def test_with_a_version_as_precondition_it_is_told_at_once(client, budget):
    client.patch(f"{PODS}/a/status", {"status": {"phase": "Pending"}})
    assert refusal(client, preconditions={"resourceVersion": "1"}).code == 409


def test_a_dry_run_decides_and_does_nothing(client, budget):
    budget(disruptionsAllowed=1, currentHealthy=2, desiredHealthy=1)
    before = (client.get(f"{PODS}/a"), client.get(f"{BUDGETS}/b"))
    assert evict(client, dryRun=["All"])["code"] == 201
    assert (client.get(f"{PODS}/a"), client.get(f"{BUDGETS}/b")) == before
