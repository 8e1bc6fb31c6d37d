# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may: EKS tokens, anonymous requests, missing rights."""

from __future__ import annotations

import base64
import time

import pytest
from botocore.session import Session
from botocore.signers import RequestSigner

PODS = "/api/v1/namespaces/default/pods"
KEY = "AKIAEVERGREENTOOL00"
CLUSTER_HEADER = {"x-k8s-aws-id": "demo"}


def eks_token(key: str = KEY, headers: dict[str, str] | None = None, action: str = "GetCallerIdentity") -> str:
    """A token as ``aws eks get-token`` makes it."""
    session = Session()
    session.set_credentials(key, "secret")
    service = session.get_service_model("sts").service_id
    signer = RequestSigner(
        service, "eu-central-1", "sts", "v4", session.get_credentials(), session.get_component("event_emitter")
    )
    url = f"https://sts.eu-central-1.amazonaws.com/?Action={action}&Version=2011-06-15"
    request = {
        "method": "GET",
        "url": url,
        "body": {},
        "headers": CLUSTER_HEADER if headers is None else headers,
        "context": {},
    }
    signed = signer.generate_presigned_url(request, region_name="eu-central-1", expires_in=60, operation_name="")
    return "k8s-aws-v1." + base64.urlsafe_b64encode(signed.encode()).decode().rstrip("=")


@pytest.fixture(autouse=True)
def users(api):
    api.authenticator.find_user = {KEY: ("arn:aws:iam::123456789012:user/tool", "evergreen")}.get


def test_an_eks_token_is_its_author(api, https):
    assert https.ask("GET", PODS, token=eks_token()).status == 200
    assert [call.operation for call in api.record.calls(author="evergreen")] == ["GET pods"]


@pytest.mark.parametrize(
    "token",
    [
        eks_token(key="AKIASOMEBODYELSE0000"),
        eks_token(headers={}),
        eks_token(action="GetSessionToken"),
        "k8s-aws-v1.nonsense",
        "nonsense",
    ],
    ids=["unknown key", "cluster not signed", "another action", "not base64", "no prefix"],
)
def test_other_tokens_are_401(api, https, token):
    answer = https.ask("GET", PODS, token=token)
    assert (answer.status, answer.json()["reason"], answer.json()["message"]) == (401, "Unauthorized", "Unauthorized")
    assert [call.status for call in api.record.calls(author="unknown")] == [401]


def test_a_token_expires(api, https):
    token = eks_token()
    assert https.ask("GET", PODS, token=token).status == 200
    api.authenticator.now = lambda: time.time() + 14 * 60
    assert https.ask("GET", PODS, token=token).status == 200
    api.authenticator.now = lambda: time.time() + 16 * 60
    assert https.ask("GET", PODS, token=token).status == 401


def test_tokens_can_be_forgotten_before_their_time(api, https):
    token = eks_token()
    assert https.ask("GET", PODS, token=token).status == 200
    api.authenticator.forget_tokens()
    assert https.ask("GET", PODS, token=token).status == 401
    assert https.ask("GET", PODS, token=eks_token()).status == 200


def test_without_a_token_only_health_and_version_are_told(https):
    assert https.ask("GET", "/version", token=None).status == 200
    assert https.ask("GET", "/readyz", token=None).status == 200
    answer = https.ask("GET", PODS, token=None)
    assert answer.status == 403
    assert 'User "system:anonymous" cannot list resource "pods"' in answer.json()["message"]


def test_a_missing_right_is_named_as_kubernetes_names_it(api, https, make_pod):
    make_pod("a")
    api.authorize = lambda user, verb, group, resource, subresource: (verb, subresource) != ("create", "eviction")
    answer = https.ask("POST", f"{PODS}/a/eviction", {"metadata": {"name": "a"}}, token=eks_token()).json()
    assert answer["message"] == (
        'pods "a" is forbidden: User "arn:aws:iam::123456789012:user/tool" cannot create resource "pods/eviction" '
        'in API group "" in the namespace "default"'
    )
    assert (answer["code"], answer["reason"], answer["details"]) == (403, "Forbidden", {"name": "a", "kind": "pods"})
    assert https.ask("GET", f"{PODS}/a", token=eks_token()).status == 200


def test_a_missing_right_on_the_whole_cluster(api, https):
    api.authorize = lambda user, verb, group, resource, subresource: False
    assert https.ask("GET", "/api/v1/nodes").json()["message"] == (
        'nodes is forbidden: User "admin" cannot list resource "nodes" in API group "" at the cluster scope'
    )
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    assert https.ask("GET", f"{leases}/run").json()["message"] == (
        'leases.coordination.k8s.io "run" is forbidden: User "admin" cannot get resource "leases" '
        'in API group "coordination.k8s.io" in the namespace "kube-system"'
    )


@pytest.mark.parametrize("allowed", [True, False])
def test_one_can_ask_what_one_may(api, https, allowed):
    api.authorize = lambda user, verb, group, resource, subresource: allowed
    asked = {"verb": "create", "resource": "pods", "subresource": "eviction", "namespace": "default"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = https.ask("POST", path, {"spec": {"resourceAttributes": asked}})
    assert (answer.status, answer.json()["status"]["allowed"]) == (201, allowed)
    assert api.record.calls(mutating=True, author="operator") == []
