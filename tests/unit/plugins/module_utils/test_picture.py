# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import json
import random
import uuid
from typing import Any

import pytest
from unit.manifests import a_node
from unit.pictures import THEN, node, picture, pod, workload

from ansible_collections.evergreen.eks.plugins.module_utils.picture import (
    NodeState,
    Picture,
    PictureError,
    PodState,
    WorkloadState,
    node_state_from,
    owner_of,
    pod_from,
    read_picture,
    workload_from,
)

CREATED, READY_SINCE = "2026-11-21T00:00:00Z", "2026-11-21T00:01:00Z"


def a_pod(status: dict[str, Any], spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A pod as the API answers it, of Deployment web."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c", "uid": "u", "controller": True}
    return {
        "metadata": {
            "namespace": "shop",
            "name": "web-7d4b9c-x2x7k",
            "uid": "u-1",
            "creationTimestamp": CREATED,
            "labels": {"app": "web", "pod-template-hash": "7d4b9c"},
            "ownerReferences": [owner],
            **metadata,
        },
        "spec": {"nodeName": "ip-1", **(spec or {})},
        "status": status,
    }


def container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "main", "state": state, "restartCount": 0, **more}


READY = {"type": "Ready", "status": "True", "lastTransitionTime": READY_SINCE}
RUNNING = {"phase": "Running", "conditions": [READY], "containerStatuses": [container({"running": {}})]}


def test_a_pod_that_is_well() -> None:
    assert pod_from(a_pod(RUNNING)) == PodState(
        namespace="shop",
        name="web-7d4b9c-x2x7k",
        uid="u-1",
        owner="Deployment/web",
        node="ip-1",
        phase="Running",
        ready=True,
        leaving=False,
        reasons=(),
        message="",
        restarts=0,
        restarted="",
        created=CREATED,
        since=READY_SINCE,
        labels={"app": "web", "pod-template-hash": "7d4b9c"},
    )


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(reason: str, code: int, message: str = "") -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "message": message}}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


@pytest.mark.parametrize(
    ("status", "reasons", "message"),
    [
        ({"containerStatuses": [container(waiting("CrashLoopBackOff", "back-off 5m"))]}, ("CrashLoopBackOff",), ""),
        ({"containerStatuses": [container(waiting("ErrImagePull", "not found"))]}, ("ErrImagePull",), "not found"),
        (
            {"containerStatuses": [container(waiting("CreateContainerConfigError", 'secret "x" not found'))]},
            ("CreateContainerConfigError",),
            'secret "x" not found',
        ),
        ({"containerStatuses": [container(ended("OOMKilled", 137))]}, ("OOMKilled",), ""),
        ({"containerStatuses": [container(ended("", 1))]}, ("Error",), ""),
        ({"containerStatuses": [container(ended("Completed", 0))]}, (), ""),
        ({"initContainerStatuses": [container(ended("Completed", 0))], **RUNNING}, (), ""),
        ({"initContainerStatuses": [container(waiting("ImagePullBackOff"))]}, ("ImagePullBackOff",), ""),
        ({"phase": "Pending", "conditions": [UNSCHEDULABLE]}, ("Unschedulable",), "0/3 nodes"),
        ({"phase": "Failed", "reason": "Evicted"}, ("Evicted",), ""),
        (
            {"containerStatuses": [container(waiting("A")), container(waiting("A")), container(waiting("B"))]},
            ("A", "B"),
            "",
        ),
    ],
)
def test_why_a_pod_is_not_well(status: dict[str, Any], reasons: tuple[str, ...], message: str) -> None:
    found = pod_from(a_pod({"phase": "Running", **status}))
    assert (found.reasons, found.message) == (reasons, message)


def test_restarts_are_those_of_all_containers_and_the_last_one_is_dated() -> None:
    def crashed(count: int, at: str) -> dict[str, Any]:
        return container({"running": {}}, restartCount=count, lastState={"terminated": {"finishedAt": at}})

    status = {
        "phase": "Running",
        "initContainerStatuses": [crashed(1, "2026-11-21T00:00:10Z")],
        "containerStatuses": [crashed(2, "2026-11-21T00:09:00Z"), container({"running": {}})],
    }
    found = pod_from(a_pod(status))
    assert (found.restarts, found.restarted) == (3, "2026-11-21T00:09:00Z")


def test_a_pod_has_been_pending_since_it_came_and_is_not_ready_on_its_way_out() -> None:
    not_ready = {"type": "Ready", "status": "False", "lastTransitionTime": READY_SINCE}
    assert pod_from(a_pod({"phase": "Pending", "conditions": [not_ready]})).since == CREATED
    assert pod_from(a_pod({"phase": "Running", "conditions": [not_ready]})).since == READY_SINCE
    leaving = pod_from(a_pod(RUNNING, deletionTimestamp=READY_SINCE))
    assert (leaving.leaving, leaving.ready) == (True, False)


@pytest.mark.parametrize(
    ("kind", "name", "labels", "owner"),
    [
        ("ReplicaSet", "web-7d4b9c", {"pod-template-hash": "7d4b9c"}, "Deployment/web"),
        ("ReplicaSet", "a-b-7d4b9c", {"pod-template-hash": "7d4b9c"}, "Deployment/a-b"),
        ("ReplicaSet", "own", {}, "ReplicaSet/own"),
        ("ReplicaSet", "own-7d4b9c", {"pod-template-hash": "other"}, "ReplicaSet/own-7d4b9c"),
        ("StatefulSet", "db", {}, "StatefulSet/db"),
        ("DaemonSet", "agent", {}, "DaemonSet/agent"),
        ("Job", "report-29390401", {}, "CronJob/report"),
        ("Job", "migrate-42", {}, "Job/migrate-42"),
        ("Node", "ip-1", {}, ""),
        ("", "", {}, ""),
    ],
)
def test_whose_a_pod_is(kind: str, name: str, labels: dict[str, str], owner: str) -> None:
    owners = [{"kind": kind, "name": name, "controller": True}] if kind else []
    assert owner_of(a_pod({}, labels=labels, ownerReferences=owners)) == owner


@pytest.mark.parametrize(
    ("kind", "spec", "status", "expected"),
    [
        ("Deployment", {"replicas": 3}, {"readyReplicas": 2, "updatedReplicas": 3}, (3, 2, 3, 0)),
        ("Deployment", {}, {}, (1, 0, 0, 0)),
        ("Deployment", {"replicas": 8}, {}, (8, 0, 0, 2)),
        ("Deployment", {"replicas": 3, "strategy": {"type": "Recreate"}}, {}, (3, 0, 0, 3)),
        ("Deployment", {"replicas": 9, "strategy": {"rollingUpdate": {"maxUnavailable": "50%"}}}, {}, (9, 0, 0, 4)),
        ("Deployment", {"replicas": 9, "strategy": {"rollingUpdate": {"maxUnavailable": 2}}}, {}, (9, 0, 0, 2)),
        (
            "Deployment",
            {"replicas": 3, "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}},
            {},
            (3, 0, 0, 1),
        ),
        ("StatefulSet", {"replicas": 3}, {"readyReplicas": 3, "updatedReplicas": 1}, (3, 3, 1, 1)),
        ("StatefulSet", {"replicas": 3, "updateStrategy": {"type": "OnDelete"}}, {}, (3, 0, 0, 0)),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 4, "numberReady": 3, "updatedNumberScheduled": 2},
            (4, 3, 2, 1),
        ),
    ],
)
def test_how_many_pods_a_workload_wants_has_and_may_lack(
    kind: str, spec: dict[str, Any], status: dict[str, Any], expected: tuple[int, int, int, int]
) -> None:
    found = workload_from(kind, {"metadata": {"namespace": "shop", "name": "web"}, "spec": spec, "status": status})
    assert (found.wanted, found.ready, found.updated, found.may_lack) == expected


def test_a_workload_has_its_own_labels_and_those_of_its_pods() -> None:
    template = {"metadata": {"labels": {"app": "web", "tier": "front"}}}
    metadata = {"namespace": "shop", "name": "web", "labels": {"tier": "back"}}
    found = workload_from("Deployment", {"metadata": metadata, "spec": {"template": template}})
    assert found.labels == {"app": "web", "tier": "back"}


def test_a_node() -> None:
    manifest = a_node("ip-1", "i-0123456789abcdef0", ready="Unknown", unschedulable=True, created=CREATED)
    manifest["status"]["conditions"][0]["lastTransitionTime"] = READY_SINCE
    manifest["status"]["nodeInfo"] = {"kubeletVersion": "v1.34.1-eks"}
    assert node_state_from(manifest) == NodeState(
        "ip-1", "i-0123456789abcdef0", False, True, "v1.34.1-eks", READY_SINCE, CREATED
    )


def test_nothing_of_what_a_container_is_told_or_says_is_in_it() -> None:
    secret = "hunter2"
    manifest = a_pod(
        {
            "phase": "Running",
            "containerStatuses": [
                container(
                    ended("Error", 1, secret),
                    lastState={"terminated": {"finishedAt": CREATED, "message": secret}},
                ),
                container(waiting("RunContainerError", secret)),
            ],
        },
        {"containers": [{"name": "main", "env": [{"name": "PASSWORD", "value": secret}], "args": [secret]}]},
        annotations={"kubectl.kubernetes.io/last-applied-configuration": secret},
    )
    assert secret not in picture(pod_from(manifest)).to_json()


def test_what_is_kept_is_read_again() -> None:
    taken = picture(
        node(),
        node("n2", ready=False, cordoned=True, since=""),
        pod(),
        pod("web-2", "CrashLoopBackOff", message="ö", restarts=3, restarted=THEN, leaving=True),
        workload(ready=2),
        workload("agent", kind="DaemonSet", labels={}, images=("agent:1", "proxy:2")),
        node("fargate-ip-1", fargate=True, system="Amazon Linux 2023"),
        pod("db-0", images=("db:3",)),
        run="run-1",
        version="v1.33.1-eks-113cf36",
    )
    assert read_picture(taken.to_json(), "here") == taken


def test_a_picture_of_the_first_schema_is_read_without_what_it_did_not_have() -> None:
    taken = picture(node(), pod(), workload())
    document = json.loads(taken.to_json())
    document["schema"] = 1
    document["nodes"] = [row[:-2] for row in document["nodes"]]
    for kind in ("pods", "workloads"):
        document[kind] = [row[:-1] for row in document[kind]]
    assert read_picture(json.dumps(document), "here") == taken


def test_images_are_those_of_the_containers_that_stay() -> None:
    spec = {
        "initContainers": [{"image": "setup:1"}, {"image": "proxy:2", "restartPolicy": "Always"}],
        "containers": [{"image": "web:3"}, {"image": "vault-agent:4"}],
    }
    assert pod_from(a_pod(RUNNING, spec)).images == ("web:3", "vault-agent:4", "proxy:2")
    template = {"spec": {"template": {"spec": spec}}, "metadata": {"namespace": "shop", "name": "web"}}
    assert workload_from("Deployment", template).images == ("web:3", "vault-agent:4", "proxy:2")


def test_a_node_of_fargate_says_so() -> None:
    manifest = a_node("fargate-ip-1", "")
    manifest["metadata"]["labels"] = {"eks.amazonaws.com/compute-type": "fargate"}
    assert node_state_from(manifest).fargate and not node_state_from(a_node("ip-1", "i-1")).fargate


def test_the_numbers_count_what_runs() -> None:
    finished, leaving = pod("a", phase="Succeeded"), pod("b", leaving=True)
    taken = picture(
        node(), node("n2", ready=False), pod(), pod("web-2", "Error"), finished, leaving, workload(), workload(ready=1)
    )
    assert taken.numbers == {
        "nodes": 2,
        "nodes_ready": 1,
        "pods": 2,
        "pods_ready": 1,
        "workloads": 2,
        "workloads_whole": 1,
    }


def test_expressions_see_plain_data() -> None:
    data = picture(node(), pod("web-1", "Error"), workload()).as_data()
    assert json.loads(json.dumps(data)) == data
    assert data["taken"] == THEN and data["nodes"][0]["version"] == "v1.34.0"
    assert data["pods"][0]["reasons"] == ["Error"] and data["pods"][0]["labels"] == {"app": "web"}
    assert (data["workloads"][0]["kind"], data["workloads"][0]["ready"]) == ("Deployment", 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "picture_unreadable"),
        ("[]", "picture_unreadable"),
        ("\xff", "picture_unreadable"),
        ('{"schema": 1}', "picture_unreadable"),
        ('{"schema": 3}', "picture_newer"),
        (picture(node()).to_json().replace("i-n1", 'i-n1","","","'), "picture_unreadable"),
        (picture(node()).to_json().replace('"shared":["v1.34.0",""]', '"shared":[]'), "picture_unreadable"),
    ],
)
def test_what_is_no_picture_is_named(content: str, reason: str) -> None:
    with pytest.raises(PictureError, match="here") as caught:
        read_picture(content, "here")
    assert caught.value.reason == reason and "here" in caught.value.remedy


def a_large_cluster(pods: int) -> Picture:
    """Names, labels and times as long as in a real one: a node for 30 pods, a workload for 10 of them."""
    chance = random.Random(1)
    nodes = [f"ip-10-0-{number // 250}-{number % 250}.eu-central-1.compute.internal" for number in range(pods // 30)]

    def moment() -> str:
        return f"2026-11-{chance.randint(1, 20):02}T{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:13Z"

    def one(number: int) -> PodState:
        team, app = f"team-{number // 10 % 40}", f"payment-processor-{number // 10}"
        labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": team, "pod-template-hash": "7d4b9c8f66"}
        return pod(
            f"{app}-7d4b9c8f66-{chance.randint(10000, 99999)}",
            namespace=team,
            uid=str(uuid.UUID(int=chance.getrandbits(128))),
            owner=f"Deployment/{app}",
            node=chance.choice(nodes),
            created=moment(),
            since=moment(),
            labels={**labels, "helm.sh/chart": "payment-processor-1.17.3"},
        )

    everything = [one(number) for number in range(pods)]
    workloads = [
        workload(item.owner.partition("/")[2], namespace=item.namespace, labels=dict(item.labels))
        for item in everything[::10]
    ]
    return picture(*(node(name) for name in nodes), *everything, *workloads)


def test_five_thousand_pods_take_seven_hundred_kilobytes_and_packed_a_third_of_that() -> None:
    content = a_large_cluster(5000).to_json().encode()
    assert 600_000 < len(content) < 700_000
    assert len(gzip.compress(content)) < 220_000


def test_the_owner_of_a_workloads_pods_is_named_as_they_name_it() -> None:
    found = workload_from("Deployment", {"metadata": {"namespace": "shop", "name": "web"}, "spec": {}})
    assert isinstance(found, WorkloadState) and found.owner == pod_from(a_pod(RUNNING)).owner
