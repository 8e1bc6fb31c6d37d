# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one table of the variables of the playbooks (C(eks_*)) and of the roles that they become.

Without I/O; C(settings) reads and types what was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import FAIL, ON_TIMEOUT
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import FORMATS

PLAYBOOK_PREFIX = "eks_"
ROLE_PREFIX = "rollout_"
# What a rollout works without. Suspending any other process would keep new nodes from coming or old ones from going.
SUSPENDABLE = ("AZRebalance", "AlarmNotification", "InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions")


@dataclass(frozen=True)
class Variable:
    """One variable: C(eks_<name>) in a playbook, C(rollout_<name>) in the role, C(<name>) in a group's entry."""

    name: str
    # text, flag, count, seconds, number, amount, words, names, files, gates, ignored, selection, escalation,
    # completion, order, folder, version, image, addons, sidecars, and of the playbooks alone groups, options
    kind: str
    default: Any = None
    minimum: float = 0
    choices: tuple[str, ...] = ()
    per_group: bool = False  # may stand in a group's own entry
    in_role: bool = True
    goes_to: tuple[str, ...] = ()  # the variables of other roles than rollout that it becomes


# The one table of the role's variables: a test compares the role's argument specification and defaults with it.
ROLE_VARIABLES = (
    Variable("cluster_name", "text"),
    Variable("asg_name", "text"),
    Variable("select", "selection", "outdated", per_group=True),
    Variable("max_surge", "amount", "25%", per_group=True),
    Variable("max_unavailable", "amount", 0, per_group=True),
    Variable("canary", "count", 1, per_group=True),
    Variable("canary_bake_seconds", "seconds", 0, per_group=True),
    Variable("drain_timeout", "seconds", 900, per_group=True),
    Variable("volume_timeout", "seconds", 300, per_group=True),
    Variable("dead_node_timeout", "seconds", 60, per_group=True),
    Variable("drain_on_timeout", "text", FAIL, choices=ON_TIMEOUT, per_group=True),
    Variable("drain_escalation", "escalation", (), per_group=True),
    Variable("max_parallel_drains", "count", 10, minimum=1, per_group=True),
    Variable("ready_timeout", "seconds", 1200, per_group=True),
    Variable("delete_emptydir_data", "flag", False, per_group=True),
    Variable("evict_unmanaged", "flag", False, per_group=True),
    Variable("wait_for_completion", "completion", {}, per_group=True),
    Variable("protected_pods", "text", "refuse", choices=("refuse", "wait", "evict"), per_group=True),
    Variable("order", "order", "priority", per_group=True),
    Variable("order_timeout", "seconds", 0, per_group=True),
    Variable("suspend_processes", "words", ("AZRebalance",), choices=SUSPENDABLE, per_group=True),
    Variable("load_balancers", "flag", True, per_group=True),
    Variable("gate", "flag", True, per_group=True),
    Variable("max_new_unhealthy", "count", 0, per_group=True),
    Variable("critical_namespaces", "names", ("kube-system",), per_group=True),
    Variable("gates", "gates", (), per_group=True),
    Variable("gate_ignore", "ignored", (), per_group=True),
    Variable("gate_looks", "count", 2, minimum=1, per_group=True),
    Variable("gate_max_restarts", "count", 3, per_group=True),
    Variable("gate_settle_seconds", "seconds", 120, per_group=True),
    Variable("gate_timeout", "seconds", 300, per_group=True),
    Variable("tasks_before_wave", "files", (), per_group=True),
    Variable("tasks_after_drain", "files", (), per_group=True),
    Variable("tasks_after_wave", "files", (), per_group=True),
    Variable("tasks_after_group", "files", (), per_group=True),
    Variable("on_failure", "text", "keep", choices=("keep", "restore"), per_group=True),
    Variable("quiet", "flag", False, per_group=True),
    Variable("node_events", "flag", True, per_group=True),
    Variable("poll_seconds", "number", 5.0, minimum=0.01, per_group=True),
    Variable("ignore_checkpoint", "flag", False, per_group=True),
    Variable("report_formats", "words", FORMATS, choices=FORMATS),
    Variable("report_dir", "folder", ""),
    Variable("state_store", "text", "file", choices=("file", "configmap", "s3")),
    Variable("plan_file", "folder", ""),
    Variable("state_dir", "folder", ""),
    Variable("state_namespace", "text", "kube-system"),
    Variable("state_bucket", "text", ""),
    Variable("state_prefix", "text", "evergreen.eks"),
    Variable("lock", "flag", True),
    Variable("lock_seconds", "seconds", 60, minimum=1),
    Variable("lock_wait", "seconds", 90),
)
# What an upgrade is asked for, beside the rollouts of its node groups.
UPGRADE_VARIABLES = (
    Variable("version", "version", "", goes_to=("upgrade_version", "verify_version"), in_role=False),
    Variable("image", "image", "keep", per_group=True, goes_to=("node_image_image",), in_role=False),
    Variable("image_family", "text", "", per_group=True, goes_to=("node_image_family",), in_role=False),
    Variable("image_variant", "text", "", per_group=True, goes_to=("node_image_variant",), in_role=False),
    Variable("image_architecture", "text", "", per_group=True, goes_to=("node_image_architecture",), in_role=False),
    Variable("addons", "addons", "all", goes_to=("upgrade_addons",), in_role=False),
    Variable(
        "addon_version",
        "text",
        "default",
        choices=("default", "latest"),
        goes_to=("addons_default_version",),
        in_role=False,
    ),
    Variable(
        "resolve_conflicts",
        "text",
        "PRESERVE",
        choices=("PRESERVE", "OVERWRITE", "NONE"),
        goes_to=("addons_resolve_conflicts",),
        in_role=False,
    ),
    Variable(
        "self_managed",
        "text",
        "report",
        choices=("report", "set", "ignore"),
        goes_to=("addons_self_managed",),
        in_role=False,
    ),
    Variable("ignore_insights", "names", (), goes_to=("control_plane_ignore_insights",), in_role=False),
    Variable("insight_max_age", "seconds", 86400, goes_to=("control_plane_insight_max_age",), in_role=False),
    Variable("control_plane_timeout", "seconds", 3600, goes_to=("control_plane_timeout",), in_role=False),
    Variable("addon_timeout", "seconds", 1200, goes_to=("addons_timeout",), in_role=False),
    Variable("addon_settle_seconds", "seconds", 120, goes_to=("addons_settle_seconds",), in_role=False),
    Variable("bake_seconds", "seconds", 0, goes_to=("upgrade_bake_seconds",), in_role=False),
    Variable("fargate_timeout", "seconds", 1200, goes_to=("fargate_timeout",), in_role=False),
    Variable("fargate_max_parallel", "count", 10, minimum=1, goes_to=("fargate_max_parallel",), in_role=False),
    Variable(
        "fargate_budgets",
        "text",
        "keep",
        choices=("keep", "overrule"),
        goes_to=("fargate_budgets",),
        in_role=False,
    ),
    Variable("fargate_namespaces", "names", (), goes_to=("fargate_namespaces",), in_role=False),
    Variable("verify_sidecars", "sidecars", (), goes_to=("verify_sidecars",), in_role=False),
    Variable("verify_checks", "names", (), goes_to=("verify_checks",), in_role=False),
    Variable("verify_ignore", "names", (), goes_to=("verify_ignore",), in_role=False),
    Variable("verify_looks", "count", 2, minimum=1, goes_to=("verify_looks",), in_role=False),
    Variable("verify_max_restarts", "count", 3, goes_to=("verify_max_restarts",), in_role=False),
    Variable("verify_settle_seconds", "seconds", 120, goes_to=("verify_settle_seconds",), in_role=False),
    Variable("verify_timeout", "seconds", 300, goes_to=("verify_timeout",), in_role=False),
)
# What every role of an upgrade takes: C(<role>_<name>).
UPGRADE_ROLES = ("upgrade", "control_plane", "addons", "fargate", "verify")
EVERY_ROLE = ("cluster_name", "poll_seconds", "quiet")
# What the role C(upgrade) takes of the rollout's variables: both keep their checkpoints in one place, under one lock.
SHARED = (
    *("state_store", "state_dir", "state_namespace", "state_bucket", "state_prefix"),
    *("lock", "lock_seconds", "lock_wait", "report_formats", "report_dir", "ignore_checkpoint"),
)
PLAYBOOK_VARIABLES = (
    Variable("region", "text", in_role=False),
    Variable("aws", "options", in_role=False),
    Variable("kubernetes", "options", in_role=False),
    Variable("node_groups", "groups", in_role=False),
    Variable("parallel_groups", "count", 1, minimum=1, in_role=False),
    *(variable for variable in ROLE_VARIABLES if variable.name != "asg_name"),
    *UPGRADE_VARIABLES,
)
