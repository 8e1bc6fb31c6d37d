#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lb_targets
short_description: Wait until instances are healthy in their load balancers, take them out, or put them back
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Looks after the instances of an Auto Scaling group in all target groups of the type C(instance) and all classic load
    balancers that the group is attached to, or that carry the tag of the cluster (O(cluster_name)).
  - With O(state=healthy) it waits until new instances get traffic, before old ones are taken away.
  - With O(state=gone) it deregisters instances and waits until their last connections have been drained, before their
    pods are evicted.
  - With O(state=registered) it puts back what it has taken out. That is remembered in tags on the instances, which are
    written before they are deregistered, so that the way back is found after a kill, from another machine, in any run.
    Where an instance has no room for more tags (EC2 allows 50) those of load balancers of controllers are left out, for
    these put back by themselves.
  - It may be repeated, and killed, at any time.
  - Target groups of the type C(ip) are left alone. Their targets are pods, which come and go with their readiness.
options:
  asg_name:
    description: Name of the Auto Scaling group.
    type: str
    required: true
  instance_ids:
    description:
      - The instances.
      - Without it, with O(state=healthy), the members of the group that are C(InService), read again at each look; with
        O(state=registered) all its members. O(state=gone) needs it.
    type: list
    elements: str
  exclude_instance_ids:
    description: Instances that need not be healthy, for example those that are to leave. For O(state=healthy).
    type: list
    elements: str
  state:
    description:
      - V(healthy), each instance is healthy in each load balancer that is attached to the group, and in each of the
        cluster that has members of the group among its targets when the module begins. Changes nothing.
      - V(gone), none of the instances is a target any more, and none is being drained.
      - V(registered), each instance is a target again where this module has deregistered it. Whether it is healthy
        there is asked with V(healthy).
    type: str
    required: true
    choices: [healthy, gone, registered]
  cluster_name:
    description:
      - Name of the EKS cluster. Load balancers with the tag C(elbv2.k8s.aws/cluster) of this value (AWS Load Balancer
        Controller) or C(kubernetes.io/cluster/<name>) (cloud provider of AWS) are looked after, too.
      - Without it only those that are attached to the group are.
    type: str
  min_healthy:
    description:
      - How many healthy instances must stay in each load balancer from which one that is healthy is taken out, with
        O(state=gone). The module waits until there are enough of them.
      - With V(0) the last one is taken out, too.
    type: int
    default: 1
  run_id:
    description:
      - Who takes the instances out; it is recorded in the tags.
      - With O(state=registered) what was taken out without naming a run then stays out.
    type: str
  timeout:
    description:
      - Seconds to wait; V(0) means for ever.
      - With O(state=gone) the longest time for which one of the load balancers drains connections is added (the
        attribute C(deregistration_delay.timeout_seconds), or C(ConnectionDraining) of a classic one).
    type: float
    default: 600.0
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws
  - evergreen.eks._aws
  - evergreen.eks._waiting
attributes:
  check_mode:
    support: full
    details:
      - In check mode it looks once, answers what it sees or would do, and does not fail for it.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - "Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups), C(ec2:DescribeInstances),
    C(elasticloadbalancing:DescribeTargetGroups), C(elasticloadbalancing:DescribeTargetHealth),
    C(elasticloadbalancing:DescribeLoadBalancers), C(elasticloadbalancing:DescribeInstanceHealth) and, with
    O(cluster_name), C(elasticloadbalancing:DescribeTags)."
  - "O(state=gone) also needs C(ec2:CreateTags), C(elasticloadbalancing:DescribeTargetGroupAttributes),
    C(elasticloadbalancing:DescribeLoadBalancerAttributes), C(elasticloadbalancing:DeregisterTargets) and
    C(elasticloadbalancing:DeregisterInstancesFromLoadBalancer)."
  - "O(state=registered) also needs C(ec2:DeleteTags), C(elasticloadbalancing:RegisterTargets) and
    C(elasticloadbalancing:RegisterInstancesWithLoadBalancer)."
  - Controllers in the cluster put back whom somebody else deregisters. Label the nodes
    C(node.kubernetes.io/exclude-from-external-load-balancers) before (M(evergreen.eks.node_cordon),
    O(evergreen.eks.node_cordon#module:exclude_from_load_balancers)), and take the label off before
    O(state=registered).
  - Where the group has ELB health checks, Auto Scaling terminates a member that somebody deregisters from a load
    balancer which is attached to the group, drained or not. Such instances stay registered there (V(left_to_group))
    unless C(HealthCheck), C(ReplaceUnhealthy) or C(Terminate) is suspended; Auto Scaling takes them out itself, and
    waits for their connections, when it terminates them.
  - Of a service with C(externalTrafficPolicy=Local) only the nodes with its pods are healthy. Such a load balancer is
    known by its health check (C(/healthz) on a node port). New nodes need not be healthy there (V(no_local_pod)), and
    the last healthy nodes stay registered until their pods leave (V(left_to_pods)).
  - A look costs one request for the group, one for each target group, one or two for each classic load balancer, and
    one for each 100 instances that are not registered, however many instances there are. Only the first look finds the
    load balancers; it costs one request for each 20 target groups and 20 classic load balancers of the region.
seealso:
  - module: evergreen.eks.node_cordon
  - module: evergreen.eks.node_drain
  - module: evergreen.eks.asg_detach_terminate
"""

EXAMPLES = r"""
- name: Wait until all members but those that are to leave get traffic
  evergreen.eks.lb_targets:
    asg_name: shared
    cluster_name: production
    exclude_instance_ids: [i-0123456789abcdef0]
    state: healthy

- name: Take one out of all load balancers, and wait for its last connections
  evergreen.eks.lb_targets:
    asg_name: shared
    cluster_name: production
    instance_ids: [i-0123456789abcdef0]
    state: gone

- name: It stays after all, so put it back where it was taken out
  evergreen.eks.lb_targets:
    asg_name: shared
    instance_ids: [i-0123456789abcdef0]
    state: registered
"""

RETURN = r"""
instances:
  description: How far each instance is, by its ID.
  returned: success, and when the module failed after its first look
  type: dict
  contains:
    reason:
      description:
        - The reason of the load balancer in which the instance is least far. Without any load balancer it is
          V(no_balancer), or V(not_registered) with O(state=gone), or V(unmarked) with O(state=registered).
        - V(healthy), it gets traffic.
        - V(gone), it is not registered any more; in check mode it would be taken out.
        - V(registered), with O(state=registered) it is a target again, in check mode it would be; with O(state=gone) it
          still is.
        - V(initial), health checks are still going on.
        - V(unhealthy), it fails the health checks.
        - V(draining), it has been deregistered, and connections may still be open.
        - V(not_registered), with O(state=healthy) nobody has registered it yet.
        - V(stopped), the instance is stopped or has ended, and is still a target.
        - V(not_in_use), the target group is behind no load balancer, or not in this zone; nothing is waited for.
        - V(no_local_pod), it is unhealthy because no pod of the service runs there; nothing is waited for.
        - V(nobody_healthy), it is unhealthy like all of the others there, so that what is behind the load balancer is
          down; nothing is waited for.
        - V(taken_out), this module has deregistered it there, without O(run_id); nothing is waited for.
        - V(left_to_group), Auto Scaling takes it out when it terminates it; nothing is waited for.
        - V(left_to_pods), it is one of the last healthy nodes of a service whose pods decide; nothing is waited for.
        - V(too_few_healthy), it stays, because fewer than O(min_healthy) healthy instances would be left.
        - V(registered_again), somebody else registers it again and again.
        - V(balancer_gone), the load balancer has been deleted; nothing is waited for.
        - V(instance_gone), the instance has ended; nothing is waited for.
      type: str
    message:
      description: Where that is so, with what AWS says of it.
      type: str
    balancers:
      description: The same for each load balancer that has to do with the instance.
      type: list
      elements: dict
      contains:
        balancer:
          description: Name of the target group, or of the classic load balancer.
          type: str
        kind:
          description: V(target_group) or V(classic).
          type: str
        arn:
          description: ARN of the target group; empty for a classic load balancer.
          type: str
        ports:
          description: The ports on which the instance is a target; empty for a classic load balancer.
          type: list
          elements: int
        reason:
          description: One of the reasons above.
          type: str
        cause:
          description: AWS's reason code, for example C(Target.FailedHealthChecks).
          type: str
        description:
          description: AWS's own words, or why the module leaves it there.
          type: str
  sample:
    i-0123456789abcdef0:
      reason: unhealthy
      message: "target group web: unhealthy (Target.FailedHealthChecks: Health checks failed)"
      balancers:
        - balancer: web
          kind: target_group
          arn: arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/73e2d6bc24d8a067
          ports: [31080]
          reason: unhealthy
          cause: Target.FailedHealthChecks
          description: Health checks failed
changed_instances:
  description: IDs of the instances that this task deregistered, registered or took a tag off; in check mode would.
  returned: success, and when the module failed after its first look
  type: list
  elements: str
balancers:
  description: The load balancers that have to do with the instances, as the last look saw them.
  returned: success, and when the module failed after its first look
  type: list
  elements: dict
  contains:
    balancer:
      description: Name of the target group, or of the classic load balancer.
      type: str
    kind:
      description: V(target_group) or V(classic).
      type: str
    arn:
      description: ARN of the target group; empty for a classic load balancer.
      type: str
    healthy:
      description: How many instances are healthy there, of whatever group.
      type: int
    registered:
      description: How many are registered there.
      type: int
    exists:
      description: Whether it still exists.
      type: bool
reason:
  description:
    - Why the module failed, as one word. When the time is over it is the worst of the reasons of RV(instances) that are
      waited for.
    - V(invalid_input), V(group_not_found), V(access_denied), V(credentials_missing), V(credentials_invalid),
      V(credentials_expired), V(unreachable), V(throttled), V(region_missing), V(parent_gone), V(lock_lost),
      V(aws_error).
  returned: failure
  type: str
  sample: unhealthy
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.balancers import direct
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    end_with,
    failures_reported,
    waiting_argument_spec,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec=aws_argument_spec(
            **waiting_argument_spec(
                asg_name={"type": "str", "required": True},
                instance_ids={"type": "list", "elements": "str"},
                exclude_instance_ids={"type": "list", "elements": "str"},
                state={"type": "str", "required": True, "choices": ["healthy", "gone", "registered"]},
                cluster_name={"type": "str"},
                min_healthy={"type": "int", "default": 1},
                run_id={"type": "str"},
                timeout={"type": "float", "default": 600.0},
            )
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        end_with(module, direct(module.params, Aws(module.params, call), call))


if __name__ == "__main__":
    main()
