# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists in pages: all pages show one moment, and an old page is refused."""

from __future__ import annotations

import pytest

from simulator.kubernetes.client import ApiError
from simulator.kubernetes.resources import PODS as PODS_RESOURCE

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def five(make_pod):
    for name in "abcde":
        make_pod(name, labels={"app": "x"})


def names(page):
    return [item["metadata"]["name"] for item in page["items"]]


def go_on(client, page, **query):
    return client.get(PODS, limit=2, **{"continue": page["metadata"]["continue"]}, **query)


def test_pages_follow_one_another(five, client):
    first = client.get(PODS, limit=2)
    second = go_on(client, first)
    third = go_on(client, second)
    assert [names(page) for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]
    assert [page["metadata"].get("remainingItemCount") for page in (first, second, third)] == [3, 1, None]
    assert "continue" not in third["metadata"]


def test_later_pages_show_the_moment_of_the_first(five, client, make_pod):
    first = client.get(PODS, limit=2)
    client.delete(f"{PODS}/c", {"gracePeriodSeconds": 0})
    client.patch(f"{PODS}/d", {"metadata": {"labels": {"app": "changed"}}})
    make_pod("cc")
    second = go_on(client, first)
    assert names(second) == ["c", "d"]
    assert second["items"][1]["metadata"]["labels"] == {"app": "x"}
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_with_a_selector_nobody_counts_the_rest(five, client):
    page = client.get(PODS, limit=2, labelSelector="app=x")
    assert "remainingItemCount" not in page["metadata"]
    assert names(go_on(client, page, labelSelector="app=x")) == ["c", "d"]


def test_a_page_that_is_too_old_is_410_and_offers_to_go_on_inconsistently(five, api, https, client, make_pod):
    first = client.get(PODS, limit=2)
    client.delete(f"{PODS}/c", {"gracePeriodSeconds": 0})
    api.store.forget(PODS_RESOURCE, api.store.version)
    with pytest.raises(ApiError) as refused:
        go_on(client, first)
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    answer = https.ask("GET", f"{PODS}?limit=2&continue={first['metadata']['continue']}").json()
    assert names(go_on(client, answer)) == ["d", "e"]
