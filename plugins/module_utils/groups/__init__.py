# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling groups and EC2 instances.

records   what AWS says, as frozen records        launch    what a group would launch now, and who is outdated
read      asking for it, with few calls           capacity  the sizes: what may be set, and waiting for instances
change    one function a verb, no decisions       ensure    processes and scale-in protection
info      all of it as plain data
"""

from __future__ import annotations

from ansible_collections.evergreen.eks.plugins.module_utils.groups.capacity import (
    SIZES,
    CapacityTimeout,
    Refused,
    Sizing,
    activity_text,
    blocking_activity,
    ensure_sizes,
    planned_sizes,
    wait_in_service,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.change import (
    TAG_VALUE_LENGTH,
    detach,
    resume_processes,
    set_protection,
    set_protects_new,
    set_sizes,
    stop_instances,
    suspend_processes,
    tag_group,
    tag_instances,
    terminate_in_group,
    terminate_instances,
    untag_group,
    untag_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.ensure import (
    PROCESSES,
    ProcessesOutcome,
    ProtectionOutcome,
    ensure_processes,
    ensure_protection,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.info import (
    group_record,
    groups_info,
    instance_record,
    target_record,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.launch import (
    Choice,
    LaunchLookup,
    Target,
    launch_target,
    outdated_reason,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.read import (
    ACTIVITIES_READ,
    GroupDeleting,
    GroupNotFound,
    describe_group,
    describe_groups,
    describe_instances,
    instances_with_tag,
    lifecycle_hooks,
    living_group,
    newest_activity,
    scaling_activities,
    tagged_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import (
    INSTANCE_ID,
    Activity,
    Group,
    Hook,
    Instance,
    LaunchSource,
    Member,
    Override,
)

__all__ = [
    "ACTIVITIES_READ",
    "INSTANCE_ID",
    "PROCESSES",
    "SIZES",
    "TAG_VALUE_LENGTH",
    "Activity",
    "CapacityTimeout",
    "Choice",
    "Group",
    "GroupDeleting",
    "GroupNotFound",
    "Hook",
    "Instance",
    "LaunchLookup",
    "LaunchSource",
    "Member",
    "Override",
    "ProcessesOutcome",
    "ProtectionOutcome",
    "Refused",
    "Sizing",
    "Target",
    "activity_text",
    "blocking_activity",
    "describe_group",
    "describe_groups",
    "describe_instances",
    "detach",
    "ensure_processes",
    "ensure_protection",
    "ensure_sizes",
    "group_record",
    "groups_info",
    "instance_record",
    "instances_with_tag",
    "launch_target",
    "lifecycle_hooks",
    "living_group",
    "newest_activity",
    "outdated_reason",
    "planned_sizes",
    "resume_processes",
    "scaling_activities",
    "set_protection",
    "set_protects_new",
    "set_sizes",
    "stop_instances",
    "suspend_processes",
    "tag_group",
    "tag_instances",
    "tagged_instances",
    "target_record",
    "terminate_in_group",
    "terminate_instances",
    "untag_group",
    "untag_instances",
    "wait_in_service",
]
