# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking instances out of load balancers and putting them back: one function a verb, no decisions. All of it may be
repeated: what is registered, or is not, may be registered, or deregistered, again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.read import UNKNOWN_INSTANCE
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import CLASSIC, Balancer, Target
from ansible_collections.evergreen.eks.plugins.module_utils.groups import describe_instances
from ansible_collections.evergreen.eks.plugins.module_utils.groups.read import chunks

TARGETS_A_CALL = 100  # as the cloud provider of AWS (the AWS Load Balancer Controller sends 200)


def deregister(aws: Aws, balancer: Balancer, targets: Sequence[Target]) -> list[Target]:
    """Take them out, each on its own port; answers whom. A load balancer or an instance that is gone is no error."""
    if balancer.kind == CLASSIC:
        action = "elasticloadbalancing:DeregisterInstancesFromLoadBalancer"
        send = aws.client("elb").deregister_instances_from_load_balancer
    else:
        action = "elasticloadbalancing:DeregisterTargets"
        send = aws.client("elbv2").deregister_targets
    return _in_chunks(aws, balancer, targets, action, send)


def register(aws: Aws, balancer: Balancer, targets: Sequence[Target]) -> list[Target]:
    """Put them back, each on its own port; answers whom. A load balancer or an instance that is gone is no error."""
    if balancer.kind == CLASSIC:
        action = "elasticloadbalancing:RegisterInstancesWithLoadBalancer"
        send = aws.client("elb").register_instances_with_load_balancer
    else:
        action = "elasticloadbalancing:RegisterTargets"
        send = aws.client("elbv2").register_targets
    return _in_chunks(aws, balancer, targets, action, send)


def _in_chunks(
    aws: Aws, balancer: Balancer, targets: Sequence[Target], action: str, send: Callable[..., Any]
) -> list[Target]:
    done: list[Target] = []
    for chunk in chunks(list(targets), TARGETS_A_CALL):
        done += _send(aws, balancer, chunk, action, send)
    return done


def _send(aws: Aws, balancer: Balancer, targets: list[Target], action: str, send: Callable[..., Any]) -> list[Target]:
    """One instance that does not run any more fails the whole call: then once more without such."""
    while targets:
        try:
            with aws_errors(action, f"{balancer} and {', '.join(target.instance_id for target in targets[:3])}"):
                send(**_request(balancer, targets))
            return targets
        except AwsError as error:
            if error.reason == "not_found":
                return []
            if error.code not in UNKNOWN_INSTANCE:
                raise
            instances = describe_instances(aws, [target.instance_id for target in targets])
            running = {one.instance_id for one in instances.values() if one.state == "running"}
            remaining = [target for target in targets if target.instance_id in running]
            if remaining == targets:
                raise
            targets = remaining
    return []


def _request(balancer: Balancer, targets: Sequence[Target]) -> dict[str, Any]:
    if balancer.kind == CLASSIC:
        ids = sorted({target.instance_id for target in targets})
        return {"LoadBalancerName": balancer.name, "Instances": [{"InstanceId": one} for one in ids]}
    named = [{"Id": target.instance_id, **({"Port": target.port} if target.port else {})} for target in targets]
    return {"TargetGroupArn": balancer.arn, "Targets": named}
