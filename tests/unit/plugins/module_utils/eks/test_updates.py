# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates of EKS: read by id, found while they run, awaited with the errors named."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from unit.scripted_aws import ScriptedAws, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.eks import updates
from ansible_collections.evergreen.eks.plugins.module_utils.eks.api import ask
from ansible_collections.evergreen.eks.plugins.module_utils.eks.updates import (
    Update,
    UpdateError,
    UpdateFailed,
    UpdateTimeout,
    await_update,
    begin_update,
    from_both_ends,
    may_have_begun,
    read_update,
    running_update,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError

BEGUN = datetime(2026, 11, 21, 1, 2, 3, tzinfo=timezone.utc)


def answer(update_id: str = "u-1", status: str = "InProgress", *errors: dict[str, Any]) -> dict[str, Any]:
    params = [{"type": "Version", "value": "1.32"}, {"type": "PlatformVersion", "value": "eks.35"}]
    update = {"id": update_id, "status": status, "type": "VersionUpdate", "params": params, "createdAt": BEGUN}
    return {"update": {**update, "errors": list(errors)}}


def expect_update(script: ScriptedAws, update_id: str = "u-1", status: str = "InProgress", **names: str) -> None:
    script.expect("eks", "describe_update", answer(update_id, status), name="prod", updateId=update_id, **names)


def wait(script: ScriptedAws, timeout: float = 60) -> Update:
    given = {"subject": "control plane of prod", "timeout": timeout, "poll_seconds": 5}
    return await_update(script.aws, script.call, "prod", "u-1", **given)


def test_an_update_as_a_record() -> None:
    with scripted_aws() as script:
        expect_update(script, addonName="coredns")
        update = read_update(script.aws, "prod", "u-1", addon="coredns")
    assert update == Update(
        *("u-1", "VersionUpdate", "InProgress", (), "2026-11-21T01:02:03Z"),
        params={"Version": "1.32", "PlatformVersion": "eks.35"},
    )
    assert (update.running, update.successful) == (True, False)


def test_what_an_addon_was_configured_with_is_not_told() -> None:
    params = {"AddonVersion": "v1.20.4-eksbuild.2", "ConfigurationValues": '{"token": "secret"}'}
    update = Update("u-1", "AddonUpdate", "Failed", params=params)
    assert update.record["params"] == {"AddonVersion": "v1.20.4-eksbuild.2"}


@pytest.mark.parametrize(
    ("ids", "order"), [([], []), (["a"], ["a"]), (["a", "b"], ["b", "a"]), (list("abcde"), list("eadbc"))]
)
def test_the_latest_is_at_one_of_the_ends(ids: list[str], order: list[str]) -> None:
    assert from_both_ends(ids) == order


def test_the_one_that_runs_is_found_without_reading_all() -> None:
    with scripted_aws() as script:
        script.expect("eks", "list_updates", {"updateIds": ["u-1", "u-2"], "nextToken": "n"}, name="prod")
        script.expect("eks", "list_updates", {"updateIds": ["u-3"]}, name="prod", nextToken="n")
        expect_update(script, "u-3", "Successful")
        expect_update(script, "u-1")
        found = running_update(script.aws, "prod")
    assert found is not None and found.id == "u-1"


def test_where_nothing_runs_there_is_none() -> None:
    with scripted_aws() as script:
        script.expect("eks", "list_updates", {"updateIds": ["u-1"]}, name="prod", nodegroupName="web")
        expect_update(script, "u-1", "Failed", nodegroupName="web")
        assert running_update(script.aws, "prod", nodegroup="web") is None


def test_it_is_awaited_with_one_request_a_poll() -> None:
    with scripted_aws() as script:
        for status in ("InProgress", "InProgress", "Successful"):
            expect_update(script, status=status)
        assert wait(script).successful
        assert script.clock.sleeps == [5, 5]


@pytest.mark.parametrize("status", ["Failed", "Cancelled"])
def test_an_update_that_fails_names_its_errors_and_what_helps(status: str) -> None:
    error = {"errorCode": "IpNotAvailable", "errorMessage": "no free addresses", "resourceIds": ["subnet-1"]}
    with scripted_aws() as script:
        script.expect("eks", "describe_update", answer("u-1", status, error), name="prod", updateId="u-1")
        with pytest.raises(UpdateFailed) as failed:
            wait(script)
    assert str(failed.value) == (
        f"control plane of prod: EKS has ended update u-1 as {status}: IpNotAvailable: no free addresses [subnet-1]. "
        "Free addresses in the cluster's subnets, or give the cluster other subnets; then run again."
    )
    assert failed.value.reason == "update_failed"
    assert failed.value.details["update"]["errors"] == [
        {"code": "IpNotAvailable", "message": "no free addresses", "resources": ["subnet-1"]}
    ]


def test_a_wait_that_runs_out_of_time_says_that_eks_goes_on() -> None:
    with scripted_aws() as script:
        for _look in range(3):
            expect_update(script)
        with pytest.raises(UpdateTimeout, match="u-1 has not ended in 10 s.*not asked for twice") as late:
            wait(script, timeout=10)
    assert late.value.reason == "update_timeout"
    assert late.value.details["update"]["status"] == "InProgress"


def test_an_update_is_asked_for_once_and_the_intent_is_written_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    with scripted_aws() as script:
        monkeypatch.setattr(script.call.journal, "write", lambda kind, **fields: told.append((kind, fields)))
        request = {"name": "prod", "version": "1.32", "clientRequestToken": "t"}
        script.expect("eks", "update_cluster_version", answer(), once=True, **request)
        begun = begin_update(script.aws, script.call, "UpdateClusterVersion", "control plane of prod", **request)
        script.fail("eks", "update_cluster_version", "ThrottlingException", "slow down", once=True, **request)
        with pytest.raises(AwsError) as throttled:
            begin_update(script.aws, script.call, "UpdateClusterVersion", "control plane of prod", **request)
    assert begun.id == "u-1"
    assert [(kind, fields["verb"]) for kind, fields in told] == [
        ("intent", "UpdateClusterVersion")
    ], "once, however often it is tried"
    assert may_have_begun(throttled.value)


@pytest.mark.parametrize(
    ("code", "reason", "again"),
    [
        ("ResourceInUseException", "aws_error", True),
        ("", "unreachable", True),
        ("InvalidParameterException", "aws_error", False),
        ("AccessDeniedException", "access_denied", False),
    ],
)
def test_after_which_answers_it_is_looked_at_again(code: str, reason: str, again: bool) -> None:
    assert may_have_begun(AwsError("no", code=code, reason=reason)) is again


def test_an_operation_that_the_sdk_does_not_know_is_named() -> None:
    with (
        scripted_aws() as script,
        pytest.raises(EvergreenError, match="does not know eks:DescribeTheFuture") as missing,
    ):
        ask(script.aws, "DescribeTheFuture", "EKS cluster prod")
    assert missing.value.reason == "missing_library"


def test_every_remedy_is_for_an_error_that_eks_has() -> None:
    with scripted_aws() as script:
        codes = script.aws.client("eks").meta.service_model.shape_for("ErrorCode").enum
    assert set(updates.REMEDIES) <= set(codes)
    assert str(UpdateError("Unknown", " why ")) == "Unknown: why"
