# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented permissions are enough for a rollout, and none of them is idle."""

from __future__ import annotations

import pytest
from integration.permissions import grant_only_what_is_documented, granted_actions, objects_of_limited_rules
from integration.rollouts import everything_outdated, leave_detached, problems, roll, variables

from simulator.scenarios import Budget, Deployment, Job, NodeGroup, Pod, Scenario, StatefulSet
from simulator.world import World

# Asked for by other groups than those here: launch configurations, images behind resolve:ssm:, a launch that
# does not come, and nodes that stay after they have been taken out of load balancers (test_lb_targets.py).
ELSEWHERE = {
    "autoscaling:DescribeLaunchConfigurations",
    "autoscaling:DescribeLifecycleHooks",
    "ec2:DescribeLaunchTemplates",
    "elasticloadbalancing:RegisterInstancesWithLoadBalancer",
    "elasticloadbalancing:RegisterTargets",
    "ssm:GetParameters",
}
ALL_KINDS = Scenario(
    groups=[
        NodeGroup("shared", size=2, target_groups=["own"], load_balancers=["classic"]),
        NodeGroup("spare", size=3, outdated=False),
    ],
    workloads=[
        Deployment("web", replicas=2, group="shared", budget=Budget(min_available=1)),
        StatefulSet("db", replicas=1, group="shared"),
        Job("report", replicas=1, group="shared", stop=2),
        Pod("alone", replicas=1, group="shared"),
    ],
    controller_target_groups=["nodes"],
    deregistration_delay=60,
)


@pytest.mark.scenario(ALL_KINDS)
def test_the_documented_permissions_are_enough_and_none_is_idle(world: World):
    """One group is rolled; of the other nobody is selected, but two of it were detached by a call that was killed."""
    to_terminate, to_stop, _stays = sorted(world.beginning.groups["spare"].instances)
    leave_detached(world, "spare", to_terminate, "terminated")
    leave_detached(world, "spare", to_stop, "stopped")
    asked = grant_only_what_is_documented(world)
    plan = world.playbook("evergreen.eks.plan", variables(world))
    assert plan.rc == 0, plan.output
    assert "unknown" not in plan.stderr, "free addresses may be seen"
    run = roll(world, eks_evict_unmanaged=True)
    assert run.rc == 0, run.output
    how = {note["instance"]: note["how"] for note in world.record.notes("instance_removed")}
    assert (how[to_terminate], how[to_stop]) == ("terminated", "stopped")
    world.actors.spot_loss(to_stop)  # else the DaemonSets' pods on it are never Ready
    gone = {**everything_outdated(world.beginning), "spare": [to_terminate, to_stop]}
    assert problems(world, gone, shifted={"spare": {"desired": -2}}) == []
    assert granted_actions() - asked.actions == ELSEWHERE
    leases = {call.target for call in world.record.calls(author="evergreen") if call.operation.endswith(" leases")}
    assert leases == objects_of_limited_rules("leases")
