# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading Auto Scaling groups, their instances and their scaling activities: few calls, asked by name and by id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import (
    Activity,
    Group,
    Hook,
    Instance,
    parse_activity,
    parse_group,
    parse_hook,
    parse_instance,
)

NAMES_A_CALL = 50  # DescribeAutoScalingGroups: its default page, and what the API promises to take
PAGE = 100  # its largest page, and that of DescribeScalingActivities
INSTANCES_A_CALL = 100  # a filter of DescribeInstances takes 200 values; smaller answers keep the calls quick
ACTIVITIES_READ = 3000  # at most: one for each launch and each departure of the largest wave
NAMES_SHOWN = 10


class GroupNotFound(EvergreenError):
    """There is no Auto Scaling group of that name, or none of that cluster, in the region."""

    default_reason = "group_not_found"


class GroupDeleting(EvergreenError):
    """Somebody is deleting the group: it has no sizes that mean anything any more, and AWS ends its members."""

    default_reason = "group_deleting"


def describe_groups(
    aws: Aws, names: Sequence[str] | None = None, cluster: str | None = None, with_hooks: bool = False
) -> list[Group]:
    """The groups of these names, in the order given, or those tagged `kubernetes.io/cluster/<cluster>`, by name.

    A cluster without groups answers an empty list; names that do not exist raise GroupNotFound. `with_hooks` costs one
    call (DescribeLifecycleHooks) a group.
    """
    if names is not None:
        if not all(names):
            raise InvalidInput("The name of an Auto Scaling group is empty", remedy="Give the name of a group")
        found = {raw["AutoScalingGroupName"]: raw for raw in _by_name(aws, names)}
        missing = [name for name in dict.fromkeys(names) if name not in found]
        if missing:
            raise _not_found(aws, missing)
        raws = [found[name] for name in dict.fromkeys(names)]
    else:
        raws = sorted(_by_cluster(aws, cluster), key=lambda raw: raw["AutoScalingGroupName"])
    return [
        parse_group(raw, hooks=lifecycle_hooks(aws, raw["AutoScalingGroupName"]) if with_hooks else None)
        for raw in raws
    ]


def describe_group(aws: Aws, name: str, with_hooks: bool = False) -> Group:
    """The group as it is now, in one call. Raises GroupNotFound, which names groups that do exist."""
    return describe_groups(aws, [name], with_hooks=with_hooks)[0]


def living_group(aws: Aws, name: str) -> Group:
    """The group as it is now, one that is there to stay. Raises GroupNotFound, and GroupDeleting while it goes."""
    group = describe_group(aws, name)
    if group.status:
        raise GroupDeleting(
            f"Auto Scaling group {name} is being deleted ({group.status})",
            remedy="Leave it out, or ask who deletes it",
            asg_name=name,
        )
    return group


def lifecycle_hooks(aws: Aws, name: str) -> tuple[Hook, ...]:
    """The lifecycle hooks of a group, by name."""
    with aws_errors("autoscaling:DescribeLifecycleHooks", f"Auto Scaling group {name}"):
        answer = aws.client("autoscaling").describe_lifecycle_hooks(AutoScalingGroupName=name)
    return tuple(sorted(map(parse_hook, answer["LifecycleHooks"]), key=lambda hook: hook.name))


def describe_instances(aws: Aws, ids: Iterable[str]) -> dict[str, Instance]:
    """EC2's view of these instances, by id; those that EC2 no longer knows are absent.

    Asked by filter, because DescribeInstances by id fails as a whole when one id has vanished
    (InvalidInstanceID.NotFound). EC2 shows a terminated instance for about an hour.
    """
    instances: dict[str, Instance] = {}
    wanted = sorted(set(ids))
    paginator = aws.client("ec2").get_paginator("describe_instances") if wanted else None
    for chunk in chunks(wanted, INSTANCES_A_CALL):
        with aws_errors("ec2:DescribeInstances", f"the instances {_some(chunk)}"):
            for page in paginator.paginate(Filters=[{"Name": "instance-id", "Values": chunk}]):
                for reservation in page["Reservations"]:
                    for raw in reservation["Instances"]:
                        instances[raw["InstanceId"]] = parse_instance(raw)
    return instances


def scaling_activities(aws: Aws, name: str, limit: int = 100, since: str | None = None) -> list[Activity]:
    """The latest `limit` scaling activities of a group, newest first; with `since` only those begun after that one."""
    found: list[Activity] = []
    known = None
    for activity in _activities(aws, name, limit):
        if known and activity.ended and activity.started <= known.started:
            break  # from here on all are older
        known = activity if activity.activity_id == since else known
        found.append(activity)
    later = [activity for activity in found if not known or activity.started > known.started]
    return sorted(later, key=lambda activity: activity.started, reverse=True)


def newest_activity(aws: Aws, name: str) -> str:
    """The id of the scaling activity of a group that began last, "" where there is none."""
    first: list[Activity] = []
    for activity in _activities(aws, name, ACTIVITIES_READ):
        first.append(activity)
        if activity.ended:
            break
    return max(first, key=lambda activity: activity.started).activity_id if first else ""


def _activities(aws: Aws, name: str, limit: int) -> Iterator[Activity]:
    """The scaling activities as AWS answers them: those in progress, then those that have ended; each newest first.

    "Activities are sorted by start time. Activities still in progress are described first."
    (https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html)
    """
    paginator = aws.client("autoscaling").get_paginator("describe_scaling_activities")
    pages = paginator.paginate(
        AutoScalingGroupName=name, PaginationConfig={"MaxItems": limit, "PageSize": min(limit, PAGE)}
    )
    with aws_errors("autoscaling:DescribeScalingActivities", f"Auto Scaling group {name}"):
        for page in pages:
            yield from map(parse_activity, page["Activities"])


def tagged_instances(aws: Aws, key: str, value: str) -> list[str]:
    """The ids of the instances that carry this tag with this value, in whatever state and group they are."""
    pages = (
        aws.client("ec2")
        .get_paginator("describe_instances")
        .paginate(Filters=[{"Name": f"tag:{key}", "Values": [value]}])
    )
    with aws_errors("ec2:DescribeInstances", f"the instances tagged {key}={value}"):
        return sorted(
            raw["InstanceId"] for page in pages for entry in page["Reservations"] for raw in entry["Instances"]
        )


def instances_with_tag(aws: Aws, *keys: str) -> list[Instance]:
    """The instances that carry a tag of one of these keys, in whatever state and group they are, by id."""
    filters = [{"Name": "tag-key", "Values": list(keys)}]
    pages = aws.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    with aws_errors("ec2:DescribeInstances", f"the instances tagged {' or '.join(keys)}"):
        raws = [raw for page in pages for entry in page["Reservations"] for raw in entry["Instances"]]
    return sorted(map(parse_instance, raws), key=lambda instance: instance.instance_id)


def chunks(items: Sequence[str], size: int) -> Iterator[list[str]]:
    """The items in lists of at most `size`."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _by_name(aws: Aws, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    paginator = aws.client("autoscaling").get_paginator("describe_auto_scaling_groups")
    for chunk in chunks(list(dict.fromkeys(names)), NAMES_A_CALL):
        with aws_errors("autoscaling:DescribeAutoScalingGroups", f"Auto Scaling group {_some(chunk)}"):
            for page in paginator.paginate(AutoScalingGroupNames=chunk):
                yield from page["AutoScalingGroups"]


def _by_cluster(aws: Aws, cluster: str | None) -> Iterator[dict[str, Any]]:
    """All groups of a cluster, or of the region."""
    paginator = aws.client("autoscaling").get_paginator("describe_auto_scaling_groups")
    filters = [{"Name": "tag-key", "Values": [f"kubernetes.io/cluster/{cluster}"]}] if cluster else []
    subject = f"the Auto Scaling groups of cluster {cluster}" if cluster else "the Auto Scaling groups of the region"
    with aws_errors("autoscaling:DescribeAutoScalingGroups", subject):
        for page in paginator.paginate(
            PaginationConfig={"PageSize": PAGE}, **({"Filters": filters} if filters else {})
        ):
            yield from page["AutoScalingGroups"]


def _not_found(aws: Aws, missing: Sequence[str]) -> GroupNotFound:
    try:
        known = sorted(raw["AutoScalingGroupName"] for raw in _by_cluster(aws, None))
    except EvergreenError:  # the names are only a help
        known = []
    noun = "Auto Scaling groups" if len(missing) > 1 else "Auto Scaling group"
    return GroupNotFound(
        f"{noun} {', '.join(missing)} not found in region {aws.region}",
        remedy=known_names(missing, known),
        missing=list(missing),
    )


def known_names(missing: Sequence[str], known: Sequence[str]) -> str:
    """The remedy for names that do not exist: similar names that do, else the first few."""
    similar = list(dict.fromkeys(match for name in missing for match in get_close_matches(name, known, n=3)))
    if similar:
        return f"Did you mean {', '.join(similar)}"
    if known:
        return f"Check the name, the region and the account; there are {_some(known, NAMES_SHOWN)}"
    return "Check the name, the region and the account; there are no Auto Scaling groups here"


def _some(items: Sequence[str], count: int = 3) -> str:
    more = len(items) - count
    return ", ".join(items[:count]) + (f" and {more} more" if more > 0 else "")
