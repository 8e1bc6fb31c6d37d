# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from unit.fakes import Answer, FakeClock, scripted_server

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.hold import Hold, HoldRecord, LockLost, boot_seconds
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import (
    KubernetesClient,
    KubernetesError,
    describe_request,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Journal

AWS = {"access_key": "AKIAEVERGREENTOOL00", "secret_key": "secret", "region": "eu-west-1"}
UNAVAILABLE = Answer(
    503, {"kind": "Status", "message": "the server is currently unable", "reason": "ServiceUnavailable"}
)
FORBIDDEN = Answer(403, {"kind": "Status", "message": 'User "x" cannot create pods/eviction', "reason": "Forbidden"})
BLOCKED = Answer(
    429,
    {
        "kind": "Status",
        "reason": "TooManyRequests",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2"}]},
    },
)


@pytest.fixture(autouse=True)
def no_kubernetes_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An operator's own kubeconfig must not decide how these tests end."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def connect(host: str, clock: FakeClock | None = None, check_mode: bool = False, **params: Any) -> KubernetesClient:
    call = Call(clock=clock or FakeClock(), check_mode=check_mode)
    return KubernetesClient.connect({"host": host, **params}, Aws(AWS, call), call)


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("POST", "/api/v1/namespaces/shop/pods/web/eviction", {}, "create pods/eviction web in namespace shop"),
        ("GET", "/api/v1/nodes", {}, "list nodes"),
        ("GET", "/api/v1/nodes", {"watch": "1"}, "watch nodes"),
        ("GET", "/api/v1/nodes/a", {}, "get nodes a"),
        ("PATCH", "/api/v1/nodes/a", {}, "patch nodes a"),
        ("GET", "/api/v1/namespaces/kube-system", {}, "get namespaces kube-system"),
        ("GET", "/apis/policy/v1/poddisruptionbudgets", {}, "list poddisruptionbudgets.policy"),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/shop/deployments/web",
            {},
            "delete deployments.apps web in namespace shop",
        ),
        ("GET", "/version", {}, "get /version"),
    ],
)
def test_a_request_is_named_as_rbac_names_it(method: str, path: str, query: dict, expected: str) -> None:
    assert str(describe_request(method, path, query)) == expected


def test_a_list_is_read_in_pages_and_answers_the_version_of_the_list() -> None:
    pages = [
        Answer(body={"metadata": {"resourceVersion": "7", "continue": "next"}, "items": [{"n": 1}]}),
        Answer(body={"metadata": {"resourceVersion": "7"}, "items": [{"n": 2}]}),
    ]
    with scripted_server(*pages) as server:
        answer = connect(server.url).list("/api/v1/pods", field_selector="spec.nodeName=a")
    queries = [parse_qs(urlsplit(request.path).query) for request in server.requests]
    assert answer == ([{"n": 1}, {"n": 2}], "7")
    assert queries[0] == {"limit": ["500"], "fieldSelector": ["spec.nodeName=a"]}
    assert queries[1]["continue"] == ["next"]


def test_of_a_list_only_what_is_asked_for_is_kept() -> None:
    pages = [
        Answer(body={"metadata": {"continue": "next"}, "items": [{"n": 1, "large": "x"}]}),
        Answer(body={"metadata": {"resourceVersion": "7"}, "items": [{"n": 2}]}),
    ]
    with scripted_server(*pages) as server:
        assert connect(server.url).list("/api/v1/pods", keep=lambda item: item["n"]) == ([1, 2], "7")


def test_a_list_whose_continue_token_has_expired_starts_over() -> None:
    pages = [
        Answer(body={"metadata": {"resourceVersion": "7", "continue": "next"}, "items": [{"n": 1}]}),
        Answer(410, {"kind": "Status", "reason": "Expired", "message": "too old"}),
        Answer(body={"metadata": {"resourceVersion": "9"}, "items": [{"n": 1}, {"n": 2}]}),
    ]
    with scripted_server(*pages) as server:
        assert connect(server.url).list("/api/v1/pods") == ([{"n": 1}, {"n": 2}], "9")
    assert server.requests[2].path == "/api/v1/pods", "in one piece: no page of it can expire"


@pytest.mark.parametrize("trouble", [UNAVAILABLE, Answer(0), Answer(429, b"too many requests", {"Retry-After": "2"})])
@pytest.mark.parametrize("method", ["get", "patch"])
def test_reads_and_patches_outlive_a_blip(trouble: Answer, method: str) -> None:
    clock = FakeClock()
    with scripted_server(trouble, Answer(body={"kind": "Node"})) as server:
        client = connect(server.url, clock)
        answer = client.get("/api/v1/nodes/a") if method == "get" else client.patch("/api/v1/nodes/a", {})
    assert answer == {"kind": "Node"}
    (pause,) = clock.sleeps
    assert 2 <= pause <= 2.5 if "Retry-After" in trouble.headers else pause <= 1


def test_a_change_is_not_repeated_once_the_lock_is_lost(tmp_path: Path) -> None:
    hold = tmp_path / "run.hold"
    HoldRecord("prod", "laptop/b00t/1/2/3", 1, renewed=boot_seconds(), seconds=3600).write(str(hold))
    clock = FakeClock()
    call = Call(clock=clock, hold=Hold(str(hold), patience=0))
    clock.sleep = lambda _seconds: hold.unlink()  # type: ignore[method-assign]
    with scripted_server(UNAVAILABLE) as server, pytest.raises(LockLost):
        KubernetesClient.connect({"host": server.url}, Aws(AWS, call), call).patch("/api/v1/nodes/a", {})
    assert len(server.requests) == 1


@pytest.mark.parametrize(("asked", "granted"), [("0", 1), ("32", 32), ("86400", 60), ("soon", 0.5), ("-1", 0.5)])
def test_a_server_may_ask_for_a_pause_within_reason(asked: str, granted: float) -> None:
    clock = FakeClock()
    with scripted_server(Answer(429, b"Too many requests", {"Retry-After": asked}), Answer()) as server:
        connect(server.url, clock).get("/version")
    (pause,) = clock.sleeps
    assert granted <= pause <= max(1.25 * granted, 1)


@pytest.mark.parametrize(("trouble", "passes"), [(UNAVAILABLE, True), (Answer(0), True), (BLOCKED, False)])
def test_a_post_is_sent_once(trouble: Answer, passes: bool) -> None:
    with scripted_server(trouble) as server, pytest.raises(KubernetesError) as error:
        connect(server.url).create("/api/v1/namespaces/shop/pods/web/eviction", {})
    assert len(server.requests) == 1
    assert error.value.status == trouble.status and error.value.transient is passes


def test_a_server_that_was_never_reached_is_given_up_sooner_than_an_outage() -> None:
    clock = FakeClock()
    with pytest.raises(KubernetesError, match="cannot be reached") as error:
        connect("http://127.0.0.1:1", clock).get("/version")
    assert error.value.reason == "kubernetes_unreachable"
    assert sum(clock.sleeps) == pytest.approx(15)

    clock, call = FakeClock(), Call(clock=FakeClock(), established=True)
    with pytest.raises(KubernetesError, match="cannot be reached"):
        KubernetesClient.connect({"host": "http://127.0.0.1:1"}, Aws(AWS, call), call).get("/version")
    assert sum(call.clock.sleeps) == pytest.approx(300), "known to answer, it is given 60 polls"


def test_a_wait_that_looks_again_by_itself_is_told_soon() -> None:
    clock = FakeClock()
    with scripted_server(Answer(), *[UNAVAILABLE] * 20) as server:
        client = connect(server.url, clock)
        client.get("/version")
        with pytest.raises(KubernetesError):
            client.briefly.get("/api/v1/nodes")
        assert sum(clock.sleeps) == pytest.approx(20)
        with pytest.raises(KubernetesError):
            client.once.patch("/api/v1/nodes/a", {})
    assert sum(clock.sleeps) == pytest.approx(20)


def test_an_outage_that_is_waited_out_is_said(tmp_path: Path) -> None:
    clock = FakeClock()
    call = Call(clock=clock, journal=Journal(str(tmp_path / "journal"), clock))
    with scripted_server(*[UNAVAILABLE] * 5, Answer()) as server:
        KubernetesClient.connect({"host": server.url}, Aws(AWS, call), call).get("/api/v1/nodes")
    (line,) = (tmp_path / "journal").read_text().splitlines()
    assert "no answer for now, trying on: The Kubernetes API answers 503 to list nodes" in line


def test_what_is_no_kubernetes_api_says_so() -> None:
    with scripted_server(Answer(body=b"<html>Sign in</html>")) as server, pytest.raises(KubernetesError) as error:
        connect(server.url).get("/version")
    assert "is not the Kubernetes API: '<html>Sign in</html>'" in str(error.value) and not error.value.transient


def test_the_causes_and_the_retry_after_of_an_answer_are_kept() -> None:
    answer = Answer(429, BLOCKED.body, {"Retry-After": "10"})
    with scripted_server(answer) as server, pytest.raises(KubernetesError) as error:
        connect(server.url).create("/api/v1/namespaces/shop/pods/web/eviction", {})
    assert error.value.causes == [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2"}]
    assert error.value.retry_after == 10


def test_forbidden_names_verb_and_resource() -> None:
    with scripted_server(FORBIDDEN) as server, pytest.raises(KubernetesError) as error:
        connect(server.url).create("/api/v1/namespaces/shop/pods/web/eviction", {})
    assert error.value.reason == "kubernetes_forbidden"
    assert "Grant the verb create on pods/eviction" in str(error.value)


def test_no_mutating_request_leaves_in_check_mode_but_a_dry_run_does() -> None:
    with scripted_server(Answer(201, {"status": "Success"})) as server:
        client = connect(server.url, check_mode=True)
        with pytest.raises(RuntimeError, match="check mode"):
            client.create("/api/v1/namespaces/shop/pods/web/eviction", {})
        client.create("/api/v1/namespaces/shop/pods/web/eviction", {}, dry_run=True)
    assert [request.path for request in server.requests] == [
        "/api/v1/namespaces/shop/pods/web/eviction?dryRun=All",
    ]


def test_a_watch_yields_its_events_and_ends_where_the_stream_ends() -> None:
    stream = b'{"type":"ADDED","object":{"n":1}}\n{"type":"BOOKMARK","object":{"n":2}}\n{"type":"DELE'
    with scripted_server(Answer(body=stream)) as server:
        events = list(connect(server.url).watch("/api/v1/pods", resource_version="7"))
    query = parse_qs(urlsplit(server.requests[0].path).query)
    assert events == [("ADDED", {"n": 1}), ("BOOKMARK", {"n": 2})]
    assert query["allowWatchBookmarks"] == ["true"] and query["resourceVersion"] == ["7"]


def test_a_watch_that_makes_no_sense_ends() -> None:
    stream = b'{"type":"ADDED","object":{"n":1}}\n<html>Bad Gateway</html>\n{"type":"ADDED","object":{"n":2}}\n'
    with scripted_server(Answer(body=stream)) as server:
        assert list(connect(server.url).watch("/api/v1/pods", resource_version="7")) == [("ADDED", {"n": 1})]


def test_a_watch_whose_version_is_too_old_says_410() -> None:
    stream = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'
    with scripted_server(Answer(body=stream)) as server, pytest.raises(KubernetesError) as error:
        list(connect(server.url).watch("/api/v1/pods", resource_version="7"))
    assert error.value.status == 410


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"api_key": "abc"}, "Bearer abc"),
        ({"username": "u", "password": "p"}, "Basic " + base64.b64encode(b"u:p").decode()),
        ({"api_key": "", "username": ""}, None),
    ],
)
def test_the_credentials_that_the_options_name_are_sent(options: dict, expected: str | None) -> None:
    with scripted_server(Answer()) as server:
        connect(server.url, **options).get("/version")
    assert server.requests[0].headers.get("authorization", server.requests[0].headers.get("Authorization")) == expected


def test_impersonation_is_sent() -> None:
    with scripted_server(Answer()) as server:
        connect(server.url, impersonate_user="ops", impersonate_groups=["a"]).get("/version")
    assert server.requests[0].headers["Impersonate-User"] == "ops"
    assert server.requests[0].headers["Impersonate-Group"] == "a"


def test_a_kubeconfig_may_be_a_dictionary_and_an_option_beats_it() -> None:
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "from-kubeconfig"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    }
    with scripted_server(Answer()) as server:
        connect(server.url, kubeconfig=kubeconfig).get("/version")
    assert server.requests[0].headers["authorization"] == "Bearer from-kubeconfig"


def test_an_unknown_context_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="with context production"):
        connect("", context="production")


def test_no_api_named_at_all_is_one_clear_error() -> None:
    with pytest.raises(InvalidInput, match="Set cluster_name"):
        connect("")


def token_url(header: str) -> str:
    token = header.removeprefix("Bearer k8s-aws-v1.")
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()


def cluster(server_url: str) -> Answer:
    """What eks:DescribeCluster answers; over plain HTTP the authority is never asked."""
    authority = Path(__file__).with_name("authority.pem").read_bytes()
    return Answer(
        body={
            "cluster": {
                "endpoint": server_url,
                "status": "ACTIVE",
                "certificateAuthority": {"data": base64.b64encode(authority).decode()},
            }
        }
    )


def connect_by_name(eks_url: str, clock: FakeClock, **params: Any) -> KubernetesClient:
    call = Call(clock=clock)
    return KubernetesClient.connect(
        {"cluster_name": "demo", **params}, Aws({**AWS, "endpoint_url": eks_url}, call), call
    )


def test_a_cluster_name_is_enough_and_the_token_names_the_cluster() -> None:
    with scripted_server(Answer()) as api, scripted_server(cluster(api.url)) as eks:
        connect_by_name(eks.url, FakeClock()).get("/version")
    url = urlsplit(token_url(api.requests[0].headers["Authorization"]))
    query = parse_qs(url.query)
    assert eks.requests[0].path == "/clusters/demo"
    assert query["Action"] == ["GetCallerIdentity"] and query["X-Amz-Expires"] == ["60"]
    assert "x-k8s-aws-id" in query["X-Amz-SignedHeaders"][0]


def test_the_token_is_renewed_a_minute_before_its_14_minutes_end() -> None:
    clock = FakeClock()
    with scripted_server(Answer(), Answer(), Answer()) as api, scripted_server(cluster(api.url)) as eks:
        client = connect_by_name(eks.url, clock)
        minted: list[str] = []
        client._connection.headers._token._mint = lambda: minted.append("") or f"token-{len(minted)}"
        for seconds in (0, 13 * 60 - 1, 1):
            clock.sleep(seconds)
            client.get("/version")
    sent = [request.headers["Authorization"] for request in api.requests]
    assert sent == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


DENIED = Answer(401, {"kind": "Status", "message": "Unauthorized", "reason": "Unauthorized"})
WHO = Answer(body=b"<GetCallerIdentityResponse><GetCallerIdentityResult/></GetCallerIdentityResponse>")


def test_a_token_that_is_not_accepted_is_renewed_once() -> None:
    with scripted_server(DENIED, Answer(body={"ok": 1})) as api, scripted_server(cluster(api.url)) as eks:
        assert connect_by_name(eks.url, FakeClock()).get("/version") == {"ok": 1}


def test_who_was_never_accepted_is_told_at_once() -> None:
    with scripted_server(DENIED, DENIED) as api, scripted_server(cluster(api.url), WHO) as eks:
        client = connect_by_name(eks.url, FakeClock())
        with pytest.raises(KubernetesError, match="access entry") as error:
            client.get("/version")
    assert error.value.reason == "kubernetes_unauthorized"


def test_a_server_that_has_accepted_us_before_may_refuse_us_for_a_moment() -> None:
    clock, accepted = FakeClock(), Answer(body={"ok": 1})
    script = [accepted, *[DENIED] * 10, accepted, *[DENIED] * 50]
    with scripted_server(*script) as api, scripted_server(cluster(api.url), WHO, WHO) as eks:
        client = connect_by_name(eks.url, clock)
        assert client.get("/version") == client.get("/version") == {"ok": 1}
        began = clock.now()
        with pytest.raises(KubernetesError, match="access entry"):
            client.create("/api/v1/namespaces/shop/pods/web/eviction", {})
    assert clock.now() - began == pytest.approx(30), "six polls"


def test_expired_aws_credentials_are_named_instead_of_a_missing_access_entry() -> None:
    expired = Answer(
        403,
        b"<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>expired</Message></Error>"
        b"</ErrorResponse>",
    )
    with scripted_server(Answer(), DENIED, DENIED) as api, scripted_server(cluster(api.url), expired) as eks:
        client = connect_by_name(eks.url, FakeClock())
        client.get("/version")
        with pytest.raises(AwsError, match="Renew the credentials and run again") as error:
            client.get("/version")
    assert error.value.reason == "credentials_expired"


def test_with_a_cluster_name_the_default_kubeconfig_never_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("not a kubeconfig")
    monkeypatch.setenv("KUBECONFIG", str(broken))
    with scripted_server(Answer(body={"ok": 1})) as api, scripted_server(cluster(api.url)) as eks:
        assert connect_by_name(eks.url, FakeClock()).get("/version") == {"ok": 1}


def test_a_given_api_key_beats_the_minted_token() -> None:
    with scripted_server(Answer()) as api, scripted_server(cluster(api.url)) as eks:
        connect_by_name(eks.url, FakeClock(), api_key="mine").get("/version")
    assert api.requests[0].headers["authorization"] == "Bearer mine"
