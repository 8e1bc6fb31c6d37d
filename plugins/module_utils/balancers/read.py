# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the load balancers of a node group, and looking at their targets: one call a load balancer and look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import (
    CLASSIC,
    Balancer,
    Pool,
    Target,
    parse_classic,
    parse_instance_states,
    parse_target_group,
    parse_targets,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group
from ansible_collections.evergreen.eks.plugins.module_utils.groups.read import chunks

TAGS_A_CALL = 20  # DescribeTags, of either API
INSTANCES_A_CALL = 100
CLUSTER_TAG = "elbv2.k8s.aws/cluster"  # AWS Load Balancer Controller; its value is the cluster's name
OLD_CLUSTER_TAG = "kubernetes.io/cluster/"  # cloud provider of AWS; the cluster's name is in the key
DELAY = "deregistration_delay.timeout_seconds"
UNKNOWN_INSTANCE = ("InvalidInstance", "InvalidTarget")


def find_balancers(aws: Aws, group: Group, cluster: str = "") -> tuple[Balancer, ...]:
    """Those that are attached to the group, and those that carry the tag of the cluster, if one is named.

    Target groups of other types than `instance` are left out. Costs a call for each 400 target groups of the region
    and, with a cluster, one for each 20 whose tags have to be read.
    """
    attached = frozenset(group.target_group_arns)
    raws = [raw for raw in list_target_groups(aws) if raw.get("TargetType") == "instance"]
    others = [raw["TargetGroupArn"] for raw in raws if raw["TargetGroupArn"] not in attached] if cluster else []
    ours = attached | _of_cluster(cluster, _target_group_tags(aws, others))
    found = [
        parse_target_group(raw, raw["TargetGroupArn"] in attached) for raw in raws if raw["TargetGroupArn"] in ours
    ]
    return (*found, *_find_classic(aws, group, cluster))


def _find_classic(aws: Aws, group: Group, cluster: str) -> Iterator[Balancer]:
    attached = frozenset(group.load_balancers)
    if not attached and not cluster:
        return
    with aws_errors("elasticloadbalancing:DescribeLoadBalancers", "the classic load balancers of the region"):
        pages = list(aws.client("elb").get_paginator("describe_load_balancers").paginate())
    raws = {raw["LoadBalancerName"]: raw for page in pages for raw in page["LoadBalancerDescriptions"]}
    others = [name for name in raws if name not in attached] if cluster else []
    ours = attached | _of_cluster(cluster, _classic_tags(aws, others))
    yield from (parse_classic(raw, name in attached) for name, raw in sorted(raws.items()) if name in ours)


def list_target_groups(aws: Aws) -> list[dict[str, Any]]:
    """All target groups of the region, as DescribeTargetGroups answers them, by name."""
    with aws_errors("elasticloadbalancing:DescribeTargetGroups", "the target groups of the region"):
        pages = list(aws.client("elbv2").get_paginator("describe_target_groups").paginate())
    return sorted((raw for page in pages for raw in page["TargetGroups"]), key=lambda raw: raw["TargetGroupName"])


def read_pool(aws: Aws, balancer: Balancer, also: Sequence[str] = ()) -> Pool | None:
    """Its targets at this moment; None when it does not exist any more.

    A classic load balancer lists only whom it has registered: whether an instance that left is still being drained
    must be asked for by name (`also`), in a second call.
    """
    try:
        if balancer.kind == CLASSIC:
            return Pool(balancer, _read_classic(aws, balancer, also))
        with aws_errors("elasticloadbalancing:DescribeTargetHealth", str(balancer)):
            answer = aws.client("elbv2").describe_target_health(TargetGroupArn=balancer.arn)
    except AwsError as error:
        if error.reason == "not_found":
            return None
        raise
    return Pool(balancer, parse_targets(answer["TargetHealthDescriptions"]))


def draining_seconds(aws: Aws, balancer: Balancer) -> float:
    """For how long it keeps the connections of a target that is deregistered; 0 when it cuts them, or is gone."""
    try:
        if balancer.kind == CLASSIC:
            return _classic_draining(aws, balancer)
        with aws_errors("elasticloadbalancing:DescribeTargetGroupAttributes", str(balancer)):
            answer = aws.client("elbv2").describe_target_group_attributes(TargetGroupArn=balancer.arn)
    except AwsError as error:
        if error.reason == "not_found":
            return 0.0
        raise
    values = {attribute["Key"]: attribute["Value"] for attribute in answer["Attributes"]}
    return float(values.get(DELAY) or 0)


def _classic_draining(aws: Aws, balancer: Balancer) -> float:
    with aws_errors("elasticloadbalancing:DescribeLoadBalancerAttributes", str(balancer)):
        answer = aws.client("elb").describe_load_balancer_attributes(LoadBalancerName=balancer.name)
    draining = answer["LoadBalancerAttributes"].get("ConnectionDraining") or {}
    return float(draining.get("Timeout") or 0) if draining.get("Enabled") else 0.0


def _read_classic(aws: Aws, balancer: Balancer, also: Sequence[str]) -> tuple[Target, ...]:
    registered = parse_instance_states(_instance_health(aws, balancer))
    known = {target.instance_id for target in registered}
    missing = [instance_id for instance_id in also if instance_id not in known]
    asked = [raw for chunk in chunks(missing, INSTANCES_A_CALL) for raw in _health_of_known(aws, balancer, chunk)]
    return (*registered, *parse_instance_states(asked))


def _health_of_known(aws: Aws, balancer: Balancer, ids: Sequence[str]) -> list[dict[str, Any]]:
    """One instance that EC2 does not know any more fails the whole call: then each is asked for on its own."""
    try:
        return _instance_health(aws, balancer, ids)
    except AwsError as error:
        if error.code not in UNKNOWN_INSTANCE:
            raise
    return [raw for one in ids if len(ids) > 1 for raw in _health_of_known(aws, balancer, [one])]


def _instance_health(aws: Aws, balancer: Balancer, ids: Sequence[str] = ()) -> list[dict[str, Any]]:
    asked = {"Instances": [{"InstanceId": instance_id} for instance_id in ids]} if ids else {}
    with aws_errors("elasticloadbalancing:DescribeInstanceHealth", str(balancer)):
        answer = aws.client("elb").describe_instance_health(LoadBalancerName=balancer.name, **asked)
    return answer["InstanceStates"]


# --- tags ------------------------------------------------------------------------------------------------------------

Tags = Mapping[str, str]


def _of_cluster(cluster: str, tagged: Mapping[str, Tags]) -> frozenset[str]:
    old = OLD_CLUSTER_TAG + cluster
    return frozenset(name for name, tags in tagged.items() if tags.get(CLUSTER_TAG) == cluster or old in tags)


def _target_group_tags(aws: Aws, arns: Sequence[str]) -> dict[str, Tags]:
    describe = aws.client("elbv2").describe_tags if arns else None
    return _tags(arns, "target groups", "ResourceArn", lambda chunk: describe(ResourceArns=chunk))


def _classic_tags(aws: Aws, names: Sequence[str]) -> dict[str, Tags]:
    describe = aws.client("elb").describe_tags if names else None
    return _tags(names, "classic load balancers", "LoadBalancerName", lambda chunk: describe(LoadBalancerNames=chunk))


def _tags(names: Sequence[str], what: str, field: str, ask: Callable[[list[str]], dict[str, Any]]) -> dict[str, Tags]:
    """The tags of all of them, in chunks. One that has just been deleted fails a whole call: then each on its own."""
    found: dict[str, Tags] = {}
    for chunk in chunks(list(names), TAGS_A_CALL):
        try:
            with aws_errors("elasticloadbalancing:DescribeTags", f"the {what} {', '.join(chunk[:3])}"):
                answer = ask(chunk)
        except AwsError as error:
            if error.reason != "not_found":
                raise
            for name in chunk if len(chunk) > 1 else ():
                found.update(_tags([name], what, field, ask))
        else:
            found.update({one[field]: _as_dict(one.get("Tags") or []) for one in answer["TagDescriptions"]})
    return found


def _as_dict(raw: Iterable[Mapping[str, Any]]) -> Tags:
    return {tag["Key"]: tag.get("Value") or "" for tag in raw}
