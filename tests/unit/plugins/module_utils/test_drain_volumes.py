# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.drain.report import volumes_pending, warnings_of
from ansible_collections.evergreen.eks.plugins.module_utils.drain.volumes import (
    Attachment,
    Attachments,
    attachment_from,
    volumes_of,
)
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError


@pytest.mark.parametrize(
    ("source", "volume"),
    [({"persistentVolumeName": "pv-1"}, "pv-1"), ({"inlineVolumeSpec": {"csi": {}}}, "csi-1")],
)
def test_an_attachment_is_read_from_what_the_api_answers(source: dict[str, Any], volume: str) -> None:
    manifest = {"metadata": {"name": "csi-1"}, "spec": {"nodeName": "node-a", "source": source}}
    assert attachment_from(manifest) == Attachment("csi-1", "node-a", volume)


def test_what_is_left_on_a_node_follows_the_watch() -> None:
    it = Attachments()
    assert not it.known
    it.see_all([Attachment("1", "node-a", "pv-1"), Attachment("2", "node-b", "pv-2")])
    it.see(Attachment("3", "node-a", "pv-3"))
    assert it.known and it.left("node-a") == ["pv-1", "pv-3"]
    assert it.left("node-a", frozenset({"pv-3"})) == ["pv-1"]
    assert it.see_gone("1") == "node-a" and it.see_gone("1") == ""
    assert it.left("node-a") == ["pv-3"]
    it.see_all([])
    assert it.left("node-a") == [] == it.left("node-b")


class Api:
    def __init__(self, **claims: str) -> None:
        self.claims, self.asked = claims, []

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        name = path.rpartition("/")[2]
        if name not in self.claims:
            raise KubernetesError("no", status=404)
        if self.claims[name] == "forbidden":
            raise KubernetesError("no", status=403)
        return {"spec": {"volumeName": self.claims[name]} if self.claims[name] else {}}


def test_the_volumes_of_pods_are_found_by_their_claims_each_asked_for_once() -> None:
    api = Api(data="pv-1", unbound="")
    pods = [
        Pod("shop", "a", "1", "node-a", claims=("data", "unbound", "gone")),
        Pod("shop", "b", "2", "node-a", claims=("data",)),
        Pod("shop", "c", "3", "node-a"),
    ]
    assert volumes_of(api, pods) == {"pv-1"}
    assert api.asked == [
        f"/api/v1/namespaces/shop/persistentvolumeclaims/{name}" for name in ("data", "gone", "unbound")
    ]


def test_a_claim_that_may_not_be_read_is_an_error() -> None:
    with pytest.raises(KubernetesError):
        volumes_of(Api(data="forbidden"), [Pod("shop", "a", "1", "node-a", claims=("data",))])


@pytest.mark.parametrize(
    ("volumes", "text"),
    [
        (["pv-1"], "1 volume is still attached, so pods that need it elsewhere wait: pv-1"),
        (["a", "b", "c"], "3 volumes are still attached, so pods that need them elsewhere wait: a, b, c"),
        (list("abcde"), "5 volumes are still attached, so pods that need them elsewhere wait: a, b, c and 2 more"),
    ],
)
def test_what_is_left_is_warned_of(volumes: list[str], text: str) -> None:
    assert volumes_pending(volumes) == text
    assert warnings_of({"node-a": {"volumes_pending": volumes}, "node-b": {"volumes_pending": []}}) == [
        f"node-a: {text}"
    ]
