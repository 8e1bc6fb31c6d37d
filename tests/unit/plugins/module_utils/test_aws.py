# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions
from unit.fakes import Answer, FakeClock, scripted_server

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError, aws_errors, is_mutating
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput, ParentGone
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Journal

KEYS = {"access_key": "AKIAEVERGREENTOOL00", "secret_key": "secret"}
THROTTLING = Answer(
    400, b"<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>"
)
DONE = Answer(
    200,
    b"<SetDesiredCapacityResponse><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"
    b"</SetDesiredCapacityResponse>",
)


@pytest.fixture(autouse=True)
def no_aws_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An operator's own AWS settings must not decide how these tests end."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def aws(call: Call | None = None, **params: Any) -> Aws:
    return Aws({**KEYS, "region": "eu-west-1", **params}, call or Call(clock=FakeClock()))


def failure(code: str, message: str = "the text") -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "SetDesiredCapacity")


@pytest.mark.parametrize(
    ("raised", "reason", "text"),
    [
        (failure("AccessDenied"), "access_denied", "Allow the action autoscaling:SetDesiredCapacity"),
        (failure("UnauthorizedOperation"), "access_denied", "Allow the action autoscaling:SetDesiredCapacity"),
        (failure("ExpiredToken"), "credentials_expired", "have expired"),
        (failure("ExpiredTokenException"), "credentials_expired", "Renew the credentials"),
        (failure("InvalidClientTokenId"), "credentials_invalid", "does not accept the credentials"),
        (failure("Throttling"), "throttled", "a little later"),
        (failure("RequestLimitExceeded"), "throttled", "a little later"),
        (failure("ResourceNotFoundException"), "not_found", "does not know Auto Scaling group shared"),
        (failure("InvalidInstanceID.NotFound"), "not_found", "does not know Auto Scaling group shared"),
        (failure("ValidationError", "min above max"), "aws_error", "min above max (ValidationError)"),
        (exceptions.NoCredentialsError(), "credentials_missing", "Set access_key and secret_key"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "credentials_missing", "Set access_key"),
        (exceptions.NoRegionError(), "region_missing", "Set the option region"),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), "unreachable", "Check network"),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), "unreachable", "Check network"),
        (exceptions.SSLError(endpoint_url="https://x", error="bad"), "unreachable", "aws_ca_bundle"),
        (failure("InternalFailure"), "unreachable", "AWS is out of order for autoscaling:SetDesiredCapacity"),
        (exceptions.SSOTokenLoadError(error_msg="x"), "credentials_expired", "aws sso login"),
        (exceptions.ParamValidationError(report="x"), "aws_error", "Parameter validation failed"),
    ],
)
def test_each_kind_of_failure_has_its_reason_and_its_remedy(raised: Exception, reason: str, text: str) -> None:
    with pytest.raises(AwsError) as error, aws_errors("autoscaling:SetDesiredCapacity", "Auto Scaling group shared"):
        raise raised
    assert error.value.reason == reason
    assert text in str(error.value)


def test_an_error_of_ours_passes_through() -> None:
    with pytest.raises(InvalidInput), aws_errors("autoscaling:SetDesiredCapacity", "Auto Scaling group shared"):
        raise InvalidInput("x")


@pytest.mark.parametrize(
    ("operation", "mutating"),
    [
        ("DescribeAutoScalingGroups", False),
        ("GetCallerIdentity", False),
        ("ListClusters", False),
        ("SetDesiredCapacity", True),
        ("TerminateInstanceInAutoScalingGroup", True),
        ("CreateOrUpdateTags", True),
    ],
)
def test_whatever_does_not_read_by_its_name_may_change_something(operation: str, mutating: bool) -> None:
    assert is_mutating(operation) is mutating


def test_a_profile_and_keys_together_are_refused() -> None:
    with pytest.raises(InvalidInput, match="profile and AWS access keys are both given"):
        aws(profile="production")


def test_an_empty_string_switches_an_option_off() -> None:
    assert aws(profile="", session_token="").region == "eu-west-1"


def test_a_missing_region_is_one_clear_error() -> None:
    with pytest.raises(AwsError, match="Set the option region") as error:
        aws(region="").client("autoscaling")
    assert error.value.reason == "region_missing"


def test_an_unknown_profile_is_one_clear_error() -> None:
    params = {"profile": "nowhere", "access_key": "", "secret_key": ""}
    with pytest.raises(AwsError, match="nowhere") as error:
        aws(**params).client("autoscaling")
    assert error.value.reason == "credentials_missing"


def test_no_mutating_request_leaves_in_check_mode() -> None:
    with scripted_server() as server:
        client = aws(Call(check_mode=True), endpoint_url=server.url).client("autoscaling")
        with pytest.raises(RuntimeError, match="SetDesiredCapacity would have been sent in check mode"):
            client.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)
    assert server.requests == []


def test_a_call_that_must_not_be_repeated_is_sent_once() -> None:
    with scripted_server(THROTTLING, DONE) as server:
        client = aws(endpoint_url=server.url).client_once("autoscaling")
        with pytest.raises(exceptions.ClientError):
            client.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)
    assert len(server.requests) == 1


def test_other_calls_are_repeated_when_throttled_and_name_who_asks() -> None:
    with scripted_server(THROTTLING, DONE) as server:
        set_desired(aws(endpoint_url=server.url))
    assert len(server.requests) == 2
    assert "evergreen.eks" in server.requests[0].headers["User-Agent"]


def error(status: int, code: str) -> Answer:
    return Answer(status, f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode())


def set_desired(connection: Aws) -> None:
    with aws_errors("autoscaling:SetDesiredCapacity", "Auto Scaling group shared"):
        connection.client("autoscaling").set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)


@pytest.mark.parametrize(
    "trouble",
    [
        error(400, "RequestLimitExceeded"),
        error(400, "ScalingActivityInProgress"),
        error(500, "InternalFailure"),
        Answer(503, b"<html>no XML at all</html>"),
        error(429, "Whatever"),
        Answer(0),
    ],
    ids=lambda answer: str(answer.status),
)
def test_what_passes_by_itself_is_waited_out_without_the_sdk_own_pauses(trouble: Answer) -> None:
    call = Call(clock=FakeClock())
    with scripted_server(trouble, trouble, trouble, DONE) as server:
        set_desired(aws(call, endpoint_url=server.url))
    assert len(server.requests) == 4
    one, two, four = call.clock.sleeps
    assert 0.5 <= one <= 1 <= two <= 2 <= four <= 4


@pytest.mark.parametrize(
    "answer", [error(400, "ValidationError"), error(403, "AccessDenied"), error(403, "ExpiredToken")]
)
def test_what_does_not_pass_is_sent_once(answer: Answer) -> None:
    with scripted_server(answer) as server, pytest.raises(AwsError) as raised:
        set_desired(aws(endpoint_url=server.url))
    assert len(server.requests) == 1 and not raised.value.transient


def test_the_patience_has_an_end() -> None:
    call = Call(clock=FakeClock())
    with scripted_server(*[THROTTLING] * 1000) as server, pytest.raises(AwsError) as raised:
        set_desired(aws(call, endpoint_url=server.url, poll_seconds=2.0))
    assert raised.value.reason == "throttled" and raised.value.transient
    assert sum(call.clock.sleeps) == pytest.approx(120)


def test_in_the_look_of_a_wait_it_ends_soon_because_the_wait_looks_again() -> None:
    call = Call(clock=FakeClock())
    with scripted_server(*[THROTTLING] * 1000) as server, pytest.raises(AwsError), call.look():
        set_desired(aws(call, endpoint_url=server.url, poll_seconds=2.0))
    assert sum(call.clock.sleeps) == pytest.approx(8)


def test_so_it_ends_for_who_has_others_waiting() -> None:
    call = Call(clock=FakeClock())
    with scripted_server(*[THROTTLING] * 1000) as server, pytest.raises(AwsError):
        set_desired(aws(call, endpoint_url=server.url, poll_seconds=2.0).briefly)
    assert sum(call.clock.sleeps) == pytest.approx(8) and not call.looking


@pytest.mark.parametrize(
    ("in_a_run", "seconds"), [(False, 15), (True, 300)], ids=["by itself", "in a run that has reached AWS before"]
)
def test_an_address_that_never_answered_is_likelier_wrong(in_a_run: bool, seconds: float) -> None:
    clock = FakeClock()
    call = Call(clock=clock, established=in_a_run)
    with pytest.raises(AwsError) as raised:
        set_desired(aws(call, endpoint_url="http://127.0.0.1:9"))
    assert raised.value.reason == "unreachable"
    assert sum(clock.sleeps) == pytest.approx(seconds)


def test_the_journal_says_what_is_waited_for(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "journal"
    with scripted_server(THROTTLING, THROTTLING, DONE) as server:
        set_desired(aws(Call(clock=clock, journal=Journal(str(path), clock)), endpoint_url=server.url))
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["text"] == (
        "no answer for now, trying on: autoscaling:SetDesiredCapacity answers Throttling"
    )


def test_a_change_is_not_repeated_once_the_playbook_has_ended() -> None:
    class Ended:
        def check(self) -> None:
            if server.requests:
                raise ParentGone("The process 1 that started this module has ended")

    call = Call(clock=FakeClock(), lifeline=Ended())
    with scripted_server(THROTTLING, DONE) as server, pytest.raises(ParentGone):
        set_desired(aws(call, endpoint_url=server.url))
    assert len(server.requests) == 1
