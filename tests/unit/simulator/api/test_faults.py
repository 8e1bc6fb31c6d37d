# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every request is recorded, and each can be made to go wrong."""

from __future__ import annotations

import threading

import pytest
import urllib3

from simulator.kubernetes.troubles import ETCD, SERVER_TIMEOUT

PODS = "/api/v1/namespaces/default/pods"
NODE = "/api/v1/nodes/n1"
CORDON = {"spec": {"unschedulable": True}}


@pytest.fixture(autouse=True)
def node(client):
    client.create("/api/v1/nodes", {"metadata": {"name": "n1"}})


def cordoned(client):
    return client.get(NODE)["spec"].get("unschedulable", False)


def test_requests_are_recorded_with_author_operation_and_target(api, https, make_pod):
    make_pod("a")
    api.record.clear()
    https.ask("PATCH", NODE, CORDON)
    https.ask("POST", f"{PODS}/a/eviction?dryRun=All", {"kind": "Eviction", "metadata": {"name": "a"}})
    https.ask("GET", f"{PODS}?watch=true&timeoutSeconds=0.01")
    https.ask("GET", f"{PODS}/none")
    told = [(c.author, c.operation, c.target, c.mutating, c.dry_run, c.status, c.error) for c in api.record.calls()]
    assert told == [
        ("operator", "PATCH nodes", "n1", True, False, 200, ""),
        ("operator", "POST pods/eviction", "default/a", False, True, 201, ""),
        ("operator", "WATCH pods", "default/", False, False, 200, ""),
        ("operator", "GET pods", "default/none", False, False, 404, "NotFound"),
    ]
    assert api.record.calls()[0].params["body"] == CORDON


def test_a_dry_run_in_the_eviction_itself_is_no_change(api, client, https, make_pod):
    before = make_pod("a")
    body = {"kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"dryRun": ["All"]}}
    assert https.ask("POST", f"{PODS}/a/eviction", body).status == 201
    assert api.record.calls(author="operator", mutating=True) == []
    assert client.get(f"{PODS}/a") == before


def test_an_error_instead_of_the_deed(api, client, https):
    api.faults.add("kubernetes", "PATCH nodes", error=(503, "ServiceUnavailable", "etcdserver: leader changed"))
    answer = https.ask("PATCH", NODE, CORDON)
    assert (answer.status, answer.json()["message"]) == (503, "etcdserver: leader changed")
    assert not cordoned(client)
    assert https.ask("PATCH", NODE, CORDON).status == 200
    assert cordoned(client)


def test_priority_and_fairness_answer_in_plain_text(api, https):
    api.faults.add(error=(429, "", "Too many requests, please try again later.\n", {"Retry-After": "1"}))
    answer = https.ask("GET", PODS)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.data == b"Too many requests, please try again later.\n"


@pytest.mark.parametrize(("when", "done"), [("before", False), ("after", True)])
def test_a_reset_before_or_after_the_deed(api, client, https, when, done):
    api.faults.add(operation="PATCH nodes", reset=when)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        https.ask("PATCH", NODE, CORDON)
    assert cordoned(client) is done


def test_a_stall_lasts_for_that_time_of_the_world(api, clock, client, https):
    api.faults.add(operation="PATCH nodes", stall=30)
    worker = threading.Thread(target=https.ask, args=("PATCH", NODE, CORDON))
    worker.start()
    worker.join(0.2)
    assert worker.is_alive()
    assert not cordoned(client)
    clock.advance(30)
    worker.join(5)
    assert not worker.is_alive()
    assert cordoned(client)


def test_callbacks_before_and_after_the_deed(api, client, https):
    seen = []
    api.faults.add(operation="PATCH nodes", before=lambda call: seen.append(cordoned(client)))
    api.faults.add(operation="PATCH nodes", after=lambda call: seen.append(cordoned(client)))
    https.ask("PATCH", NODE, CORDON)
    assert seen == [False, True]


def test_the_clusters_own_parts_are_spared(api, client):
    fault = api.faults.add(error=(500, "InternalError", "no"), times=None)
    assert client.get(NODE)["metadata"]["name"] == "n1"
    assert fault.hits == 0


def test_a_status_may_have_details_and_no_reason(api, https):
    api.faults.add(error=ETCD)
    storage = https.ask("GET", PODS)
    assert (storage.json()["message"], storage.json().get("reason")) == ("etcdserver: leader changed", None)
    api.faults.add(error=SERVER_TIMEOUT)
    timeout = https.ask("GET", PODS)
    assert (timeout.status, timeout.headers["Retry-After"]) == (500, "1")
    assert timeout.json()["details"]["retryAfterSeconds"] == 1


def test_an_outage(https):
    assert https.ask("GET", "/readyz").status == 200
    https.pool.clear()  # it may not have noticed yet that a connection of before is closed
    https.server.interrupt()
    for _unused in range(2):
        with pytest.raises((urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError)):
            https.ask("GET", "/readyz")
    assert https.server.refused == 2
    https.server.restore()
    assert https.ask("GET", "/readyz").status == 200


def test_nonsense_is_refused_and_the_connection_lives(https):
    headers = {"Authorization": "Bearer admin"}
    answer = https.pool.request("POST", https.server.url + PODS, body=b"{not json", headers=headers)
    assert (answer.status, answer.json()["reason"]) == (400, "BadRequest")
    assert https.ask("GET", "/api/v1/unicorns").status == 404
    assert https.ask("PUT", PODS, {}).status == 405
    assert https.ask("GET", "/readyz").status == 200
