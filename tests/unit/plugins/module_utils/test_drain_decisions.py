# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import (
    ACCEPTED,
    FATAL,
    GONE,
    PERMANENT,
    RETRY,
    read_answer,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import selects
from ansible_collections.evergreen.eks.plugins.module_utils.drain.completion import Times
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import (
    DELETE,
    EVICT,
    REFUSE,
    SKIP,
    WAIT,
    Policy,
    judge,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Controller, Pod, pod_from
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime

REPLICA_SET = Controller("apps/v1", "ReplicaSet", "web-1", "owner-1")
DAEMON_SET = Controller("apps/v1", "DaemonSet", "agent", "owner-2")

PLAIN = Pod("shop", "web-1-x", "uid-1", "node-a", controller=REPLICA_SET)
DAEMON = replace(PLAIN, controller=DAEMON_SET, daemon=True)
STATIC = replace(PLAIN, controller=None, mirror=True)
BARE = replace(PLAIN, controller=None)
LOCAL = replace(PLAIN, empty_dirs=("cache", "tmp"))
BARE_AND_LOCAL = replace(LOCAL, controller=None)

STRICT = Policy()
LENIENT = Policy(delete_emptydir_data=True, evict_unmanaged=True)


def exists(_pod: Pod, _controller: Controller) -> bool:
    return True


def is_gone(_pod: Pod, _controller: Controller) -> bool:
    return False


def not_known(_pod: Pod, _controller: Controller) -> None:
    return None


@pytest.mark.parametrize(
    ("pod", "policy", "owner", "action", "reasons", "warnings"),
    [
        (PLAIN, STRICT, exists, EVICT, [], []),
        (PLAIN, STRICT, not_known, EVICT, [], []),
        (PLAIN, STRICT, is_gone, EVICT, [], ["owner_gone"]),
        (STATIC, STRICT, exists, SKIP, ["mirror"], []),
        (replace(STATIC, terminating=True), STRICT, exists, SKIP, ["mirror"], []),
        (DAEMON, STRICT, exists, SKIP, ["daemonset"], []),
        (DAEMON, STRICT, not_known, SKIP, ["daemonset"], []),
        (DAEMON, STRICT, is_gone, EVICT, [], ["orphaned_daemonset"]),
        (replace(DAEMON, empty_dirs=("cache",)), STRICT, exists, SKIP, ["daemonset"], []),
        (replace(DAEMON, empty_dirs=("cache",)), STRICT, is_gone, REFUSE, ["local_storage"], ["orphaned_daemonset"]),
        (LOCAL, STRICT, exists, REFUSE, ["local_storage"], []),
        (LOCAL, LENIENT, exists, EVICT, [], ["local_storage"]),
        (replace(PLAIN, host_paths=("/data",)), STRICT, exists, EVICT, [], ["host_path"]),
        (BARE, STRICT, exists, REFUSE, ["unmanaged"], []),
        (BARE, LENIENT, exists, EVICT, [], ["unmanaged"]),
        (BARE_AND_LOCAL, STRICT, exists, REFUSE, ["local_storage", "unmanaged"], []),
        (BARE_AND_LOCAL, LENIENT, exists, EVICT, [], ["local_storage", "unmanaged"]),
        (BARE_AND_LOCAL, Policy(evict_unmanaged=True), exists, REFUSE, ["local_storage"], ["unmanaged"]),
        (replace(BARE_AND_LOCAL, phase="Succeeded"), STRICT, exists, DELETE, [], []),
        (replace(BARE_AND_LOCAL, phase="Failed"), STRICT, exists, DELETE, [], []),
        (replace(PLAIN, terminating=True), STRICT, exists, WAIT, [], []),
        (replace(BARE_AND_LOCAL, terminating=True), STRICT, exists, WAIT, ["local_storage", "unmanaged"], []),
        (replace(BARE_AND_LOCAL, terminating=True), LENIENT, exists, WAIT, [], []),
        (replace(BARE_AND_LOCAL, terminating=True, phase="Failed"), STRICT, exists, WAIT, [], []),
        (replace(PLAIN, phase="Pending"), STRICT, exists, EVICT, [], []),
    ],
)
def test_what_becomes_of_a_pod(
    pod: Pod, policy: Policy, owner: Any, action: str, reasons: list[str], warnings: list[str]
) -> None:
    verdict = judge(pod, policy, owner, Times(ServerTime(FakeClock()), FakeClock()))
    assert verdict.action == action
    assert [remark.reason for remark in verdict.reasons] == reasons
    assert [remark.reason for remark in verdict.warnings] == warnings


def test_a_pod_is_read_from_what_the_api_answers() -> None:
    manifest = {
        "metadata": {
            "namespace": "shop",
            "name": "agent-x",
            "uid": "uid-9",
            "deletionTimestamp": "2026-11-21T01:02:03Z",
            "deletionGracePeriodSeconds": 5,
            "finalizers": ["example.com/held"],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "u"},
                {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "owner-2", "controller": True},
            ],
        },
        "spec": {
            "nodeName": "node-a",
            "terminationGracePeriodSeconds": 60,
            "volumes": [
                {"name": "tmp", "emptyDir": {"medium": "Memory"}},
                {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "both", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
                {"name": "plain", "emptyDir": None},
                {"name": "data", "hostPath": {"path": "/var/lib/data"}},
                {"name": "conf", "configMap": {}},
                {"name": "data", "persistentVolumeClaim": {"claimName": "agent-data"}},
                {"name": "cache", "ephemeral": {"volumeClaimTemplate": {}}},
            ],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
    }
    assert pod_from(manifest) == Pod(
        "shop",
        "agent-x",
        "uid-9",
        "node-a",
        ready=False,
        terminating=True,
        deleted_at="2026-11-21T01:02:03Z",
        grace_seconds=5,
        controller=DAEMON_SET,
        daemon=True,
        empty_dirs=("tmp (in memory)", "scratch (at most 1Gi)", "both (in memory, at most 64Mi)", "plain"),
        host_paths=("/var/lib/data",),
        claims=("agent-data", "agent-x-cache"),
        finalizers=("example.com/held",),
        labels={},
    )


@pytest.mark.parametrize(
    ("owner", "daemon", "mirror"),
    [
        ({"apiVersion": "apps/v1", "kind": "DaemonSet", "controller": True}, True, False),
        ({"apiVersion": "apps/v1", "kind": "DaemonSet"}, False, False),
        ({"apiVersion": "apps.example.com/v1", "kind": "DaemonSet", "controller": True}, False, False),
        ({"apiVersion": "v1", "kind": "Node", "controller": True}, False, True),
    ],
)
def test_daemonset_and_static_pods_are_told_by_their_owner(owner: dict, daemon: bool, mirror: bool) -> None:
    pod = pod_from({"metadata": {"namespace": "a", "name": "b", "ownerReferences": [owner]}})
    assert (pod.daemon, pod.mirror) == (daemon, mirror)


def answered(status: int, text: str = "", causes: tuple[tuple[str, str], ...] = (), **rest: Any) -> KubernetesError:
    listed = [{"reason": reason, "message": message} for reason, message in causes]
    return KubernetesError("x", status=status, text=text, causes=listed, **rest)


NEEDS = "The disruption budget web needs 2 healthy pods and has 2 currently"
PROCESSED = "The disruption budget web is still being processed by the server."
RBAC = (
    'pods "web-1" is forbidden: User "ops" cannot create resource "pods/eviction" in API group "" in the namespace "a"'
)
TOO_BIG = 'poddisruptionbudget.policy "web" is forbidden: DisruptedPods map too big'
WEBHOOK = 'admission webhook "guard.example.com" denied the request: not now'
POLICY = "pods \"web-1\" is forbidden: ValidatingAdmissionPolicy 'quiet' with binding 'shop' denied request: not now"
SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


@pytest.mark.parametrize(
    ("error", "following", "reason", "budget", "pause", "everybody"),
    [
        (None, ACCEPTED, "", "", None, False),
        (answered(404), GONE, "", "", None, False),
        (answered(429, "x", (("DisruptionBudget", NEEDS),)), RETRY, "budget", "web", None, False),
        (answered(429, "x", (("DisruptionBudget", PROCESSED),), retry_after=10), RETRY, "budget", "web", None, False),
        (answered(429, "too many requests", retry_after=3.0), RETRY, "rate_limited", "", 3.0, True),
        (answered(429, "too many requests"), RETRY, "rate_limited", "", None, True),
        (answered(409, "the UID in the precondition"), RETRY, "conflict", "", None, False),
        (answered(500, SEVERAL), PERMANENT, "several_budgets", "", None, False),
        (answered(500, "etcdserver: leader changed"), RETRY, "api_error", "", None, False),
        (answered(503, "unavailable", retry_after=1.0), RETRY, "api_error", "", 1.0, False),
        (answered(504, "couldn't update PodDisruptionBudget"), RETRY, "api_error", "", None, False),
        (answered(0, "connection reset"), RETRY, "api_error", "", None, False),
        (answered(403, "x", (("NamespaceTerminating", "going"),)), RETRY, "namespace_terminating", "", None, False),
        (answered(403, TOO_BIG), RETRY, "budget", "web", None, False),
        (answered(403, WEBHOOK), RETRY, "webhook_denied", "", None, False),
        (answered(400, WEBHOOK), RETRY, "webhook_denied", "", None, False),
        (answered(403, POLICY), RETRY, "webhook_denied", "", None, False),
        (answered(422, POLICY), RETRY, "webhook_denied", "", None, False),
        (answered(403, RBAC), FATAL, "rejected", "", None, False),
        (answered(401, "Unauthorized"), FATAL, "rejected", "", None, False),
        (answered(422, "invalid"), RETRY, "rejected", "", None, False),
    ],
)
def test_the_answers_of_the_eviction_api(
    error: Any, following: str, reason: str, budget: str, pause: float | None, everybody: bool
) -> None:
    answer = read_answer(error)
    assert (answer.next, answer.reason, answer.budget) == (following, reason, budget)
    assert (answer.pause, answer.everybody) == (pause, everybody)


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "back"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["api", "web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_which_pods_a_budget_selects(selector: Any, matches: bool) -> None:
    assert selects(selector, {"app": "web"}) is matches
