# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-ons that EKS manages: records, the request for another version, its token, what helps."""

from __future__ import annotations

from typing import Any

import pytest
from unit.scripted_aws import scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.eks.addons import (
    Addon,
    addon_from,
    read_addon,
    remedy_for,
    update_request,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import Issue

ROLE = "arn:aws:iam::123456789012:role/vpc-cni"
ARN = "arn:aws:eks:eu-west-1:123456789012:addon/prod/vpc-cni/1"
CNI = Addon("vpc-cni", "v1.19.2-eksbuild.1", "ACTIVE", role=ROLE, values='{"env": {}}', arn=ARN)


def request(addon: Addon = CNI, version: str = "v1.20.4-eksbuild.2", *history: str) -> dict[str, Any]:
    return update_request("prod", addon, version, "PRESERVE", history)


def test_an_addon_as_a_record() -> None:
    issue = {"code": "AccessDenied", "message": "the role\n is gone", "resourceIds": ["r-1"]}
    answer = {
        "addonName": "vpc-cni",
        "addonVersion": "v1.19.2-eksbuild.1",
        "status": "DEGRADED",
        "health": {"issues": [issue]},
        "namespaceConfig": {"namespace": "network"},
    }
    addon = addon_from(answer)
    assert addon == Addon(
        *("vpc-cni", "v1.19.2-eksbuild.1", "DEGRADED", (Issue("AccessDenied", "the role\n is gone", ("r-1",)),)),
        namespace="network",
    )
    assert str(addon.issues[0]) == "AccessDenied: the role is gone [r-1]"


@pytest.mark.parametrize(
    ("status", "busy", "failed", "healthy"),
    [
        ("ACTIVE", False, False, True),
        ("CREATING", True, False, False),
        ("UPDATING", True, False, False),
        ("DELETING", True, False, False),
        ("DEGRADED", False, False, False),
        ("UPDATE_FAILED", False, True, False),
        ("CREATE_FAILED", False, True, False),
    ],
)
def test_what_a_status_means(status: str, busy: bool, failed: bool, healthy: bool) -> None:
    addon = Addon("coredns", "v1", status)
    assert (addon.busy, addon.failed, addon.healthy) == (busy, failed, healthy)


def test_role_and_configuration_are_sent_again() -> None:
    assert request() == {
        "clusterName": "prod",
        "addonName": "vpc-cni",
        "addonVersion": "v1.20.4-eksbuild.2",
        "resolveConflicts": "PRESERVE",
        "serviceAccountRoleArn": ROLE,
        "configurationValues": '{"env": {}}',
        "clientRequestToken": request()["clientRequestToken"],
    }
    plain = request(Addon("coredns", "v1", "ACTIVE"))
    assert "serviceAccountRoleArn" not in plain and "configurationValues" not in plain


def test_a_repeated_request_has_the_same_token_and_a_new_one_another() -> None:
    first = request(CNI, "v1.20.4-eksbuild.2", "u-1", "u-2")["clientRequestToken"]
    assert request(CNI, "v1.20.4-eksbuild.2", "u-2", "u-1")["clientRequestToken"] == first, "in whatever order"
    after_a_failure = request(CNI, "v1.20.4-eksbuild.2", "u-1", "u-2", "u-3")["clientRequestToken"]
    other_version = request(CNI, "v1.20.1-eksbuild.3", "u-1", "u-2")["clientRequestToken"]
    assert len({first, after_a_failure, other_version}) == 3


def test_an_addon_that_eks_does_not_manage_is_none() -> None:
    with scripted_aws() as script:
        asked = {"clusterName": "prod", "addonName": "coredns"}
        script.fail("eks", "describe_addon", "ResourceNotFoundException", "No addon: coredns found", **asked)
        assert read_addon(script.aws, "prod", "coredns") is None


def test_what_helps() -> None:
    issues = [Issue("AccessDenied", ""), Issue("ConfigurationConflict", ""), Issue("AccessDenied", "")]
    assert remedy_for(issues) == (
        "Give the add-on's role the rights that its message names; choose who keeps the fields in conflict: "
        "resolve_conflicts PRESERVE or OVERWRITE; then run again"
    )
    assert remedy_for([Issue("InternalFailure", "")]) == "Mend what EKS names, then run again"
