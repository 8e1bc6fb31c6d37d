# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches: where they begin, what they tell, how they end."""

from __future__ import annotations

import json

import pytest
import urllib3
from kubernetes import client as official
from kubernetes import watch as official_watch

from simulator.kubernetes.client import ApiError
from simulator.kubernetes.resources import PODS as PODS_RESOURCE

PODS = "/api/v1/namespaces/default/pods"
ADMIN = {"Authorization": "Bearer admin"}


def told(events):
    return [(kind, item["metadata"]["name"]) for kind, item in events]


def test_without_a_version_it_begins_with_what_is_there(client, make_pod):
    make_pod("a")
    make_pod("b")
    assert told(client.watch(PODS).pending()) == [("ADDED", "a"), ("ADDED", "b")]


def test_goes_on_after_the_version_of_a_list(client, make_pod):
    make_pod("a")
    _unused, version = client.list(PODS)
    make_pod("b")
    client.delete(f"{PODS}/a", {"gracePeriodSeconds": 0})
    events = told(client.watch(PODS, resource_version=version).pending())
    assert events == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]


def test_tells_only_of_the_pods_of_one_node(client, make_pod):
    live = client.watch(PODS, field_selector="spec.nodeName=n1")
    make_pod("here", node="n1")
    make_pod("there", node="n2")
    assert {name for _unused, name in told(live.pending())} == {"here"}


def test_a_pod_that_is_bound_to_the_node_appears(client):
    live = client.watch(PODS, field_selector="spec.nodeName=n1")
    client.create(PODS, {"metadata": {"name": "late"}, "spec": {"containers": [{"name": "c"}]}})
    assert live.pending() == []
    client.create(f"{PODS}/late/binding", {"metadata": {"name": "late"}, "target": {"kind": "Node", "name": "n1"}})
    assert told(live.pending()) == [("ADDED", "late")]


def test_what_no_longer_matches_counts_as_deleted(client, make_pod):
    make_pod("a", labels={"app": "x"})
    live = client.watch(PODS, label_selector="app=x")
    live.pending()
    now = client.patch(f"{PODS}/a", {"metadata": {"labels": {"app": "y"}}})
    [(kind, item)] = live.pending()
    assert (kind, item["metadata"]["labels"]) == ("DELETED", {"app": "x"})
    assert item["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]


def test_an_update_that_changes_nothing_is_no_event(client, make_pod):
    make_pod("a", labels={"app": "x"})
    live = client.watch(PODS)
    live.pending()
    client.patch(f"{PODS}/a", {"metadata": {"labels": {"app": "x"}}})
    assert live.pending() == []


def test_too_old_a_version_is_410(api, client, https, make_pod):
    _unused, version = client.list(PODS)
    make_pod("a")
    api.store.forget(PODS_RESOURCE, api.store.version)
    [(kind, status)] = https.watch(f"{PODS}?watch=true&resourceVersion={version}&timeoutSeconds=5")
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
    with pytest.raises(ApiError) as gone:
        client.watch(PODS, resource_version=version).pending()
    assert gone.value.code == 410


def test_a_version_of_the_future_is_504(client):
    with pytest.raises(ApiError) as early:
        client.watch(PODS, resource_version="999999")
    assert (early.value.code, early.value.causes[0]["reason"]) == (504, "ResourceVersionTooLarge")


def test_ends_after_its_time_with_a_bookmark_to_go_on_from(api, https, client, make_pod):
    make_pod("a")
    client.create("/api/v1/nodes", {"metadata": {"name": "n1"}})
    events = https.watch(f"{PODS}?watch=1&timeoutSeconds=0.05&allowWatchBookmarks=true")
    assert [kind for kind, _unused in events] == ["ADDED", "BOOKMARK"]
    assert events[-1][1]["metadata"]["resourceVersion"] == str(api.store.version)
    assert https.ask("GET", "/readyz").data == b"ok"


def test_an_event_is_sent_at_once(https, make_pod):
    stream = https.ask("GET", f"{PODS}?watch=true", stream=True)
    make_pod("a")
    line = next(iter(stream)).splitlines()[0]
    assert json.loads(line)["object"]["metadata"]["name"] == "a"
    stream.close()


def test_dropped_connections_break_a_running_watch(https, make_pod):
    make_pod("a")
    stream = https.ask("GET", f"{PODS}?watch=true", stream=True)
    chunks = stream.stream()
    assert b'"ADDED"' in next(chunks)
    assert https.server.drop_connections() >= 1
    with pytest.raises(urllib3.exceptions.HTTPError):
        for _unused in chunks:
            pass


def test_the_official_client_watches(https, make_pod):
    make_pod("a")
    configuration = official.Configuration()
    configuration.host, configuration.ssl_ca_cert = https.server.url, https.authority
    configuration.api_key = {"BearerToken": "Bearer admin", "authorization": "Bearer admin"}
    core = official.CoreV1Api(official.ApiClient(configuration))
    events = official_watch.Watch().stream(core.list_namespaced_pod, "default", timeout_seconds=1)
    assert [(event["type"], event["object"].metadata.name) for event in events] == [("ADDED", "a")]


@pytest.mark.parametrize(
    ("trouble", "told"), [("end", []), ("expired", [("ERROR", 410)]), ("half", ["half a line"])], ids=str
)
def test_a_watch_goes_wrong_in_place_of_its_first_event(api, https, make_pod, trouble, told):
    fault = api.faults.add("kubernetes", "^WATCH pods$", stream=trouble)
    make_pod("a")
    data = https.ask("GET", f"{PODS}?watch=1&allowWatchBookmarks=true").data
    assert fault.hits == 1
    if trouble == "half":
        assert data.startswith(b'{"type":"ADDED"') and not data.endswith(b"\n")
    else:
        assert [(event["type"], event["object"]["code"]) for event in map(json.loads, data.splitlines())] == told
    assert [kind for kind, _unused in https.watch(f"{PODS}?watch=1&timeoutSeconds=0.05")] == ["ADDED"]


def test_a_watch_falls_silent_and_keeps_its_connection(api, https, make_pod):
    api.faults.add("kubernetes", "^WATCH pods$", stream="silence")
    make_pod("a")
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        https.pool.request("GET", f"{https.server.url}{PODS}?watch=1&timeoutSeconds=0.05", headers=ADMIN, timeout=0.5)
