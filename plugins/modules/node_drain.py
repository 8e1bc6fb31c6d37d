#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_drain
short_description: Evict the pods of nodes within their disruption budgets, and wait until they are gone
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Drains several nodes at once. Each pod is evicted through the eviction API, so that PodDisruptionBudgets are kept,
    and a node is drained when its pods are gone, by their UIDs, and a second, independent list shows the same.
  - The nodes must be cordoned before, for example with M(evergreen.eks.node_cordon). A node that is uncordoned by
    somebody in the meantime is not drained further.
  - Which pods leave is decided as C(kubectl drain) does. Pods of DaemonSets and static pods stay; pods of a DaemonSet
    that no longer exists leave; finished pods are deleted and not waited for; pods with emptyDir volumes
    (O(delete_emptydir_data)) and pods without a controller (O(evict_unmanaged)) forbid that anything is evicted, unless
    allowed. Pods that land on a node while it is drained are treated in the same way.
  - A pod with the annotation or label C(evergreen.eks/drain=skip), or the label C(cluster.x-k8s.io/drain=skip), stays
    until the node goes. One with C(wait-completed) there is left to complete, see O(wait_for_completion). Pods that are
    protected from autoscalers are, by default, not evicted either, see O(protected_pods).
  - An eviction that a budget does not allow now is tried again until the time-out; so is one that failed because the
    Kubernetes API was busy or could not be reached for a while. An eviction whose answer was lost is not simply sent
    again, the pod is looked at first.
  - "At most eight evictions are under way for a node and 32 for the cluster, for a budget never more than it allows:
    all budgets are watched, and what one does not allow now is not asked for until its status has changed. Only when
    nothing has been heard of it for twelve times O(poll_seconds) it is tried once all the same."
  - When its pods are gone, a node is drained as soon as their volumes are detached (O(volume_timeout)).
  - A time-out is a failure (see O(on_timeout)), and names the pods and what is in their way.
  - A pod that has been in the way for six times O(poll_seconds) is diagnosed, in the journal and for the result, and
    told again when what is in its way has become something else. For that the budgets and the pods of its namespace are
    listed, once for all pods that are blocked there.
options:
  nodes:
    description:
      - Names of the nodes.
      - One that does not exist (any more) counts as drained, and says so.
    type: list
    elements: str
  instance_ids:
    description:
      - IDs of the EC2 instances whose nodes are drained; the node is found by its provider ID.
      - An instance that no node belongs to counts as drained, and says so; its entry has the ID as key.
    type: list
    elements: str
  timeout:
    description:
      - Seconds within which each node must be drained, from the moment in which it is taken in hand.
      - V(0) waits for ever.
      - An outage of the Kubernetes API is waited out, and does not put the time-out off. Where the time is over while
        the pods are out of sight, nothing more is evicted, but the node is drained if it is seen to be empty right
        after the outage; that is waited for, sixty times O(poll_seconds) at most.
    type: float
    default: 900
  volume_timeout:
    description:
      - Seconds for which a node that has no pods any more is waited on until their volumes are detached; V(0) does not
        wait. Volumes of pods that stay do not count.
      - When they are over the node counts as drained, with a warning. An instance that is terminated with a volume
        keeps it for six minutes, and the pod that needs it waits for so long.
    type: float
    default: 300
  dead_node_timeout:
    description:
      - Seconds after which the pods of a dead node are given up (C(nodes[].abandoned)), so that it counts as drained.
      - Where its kubelet is silent (Ready is C(Unknown)) they count from then on. Its pods are evicted with a grace of
        one second, and given up when that was tried, whatever became of it.
      - Where its kubelet says that it is not Ready, they count from the end of the grace of each pod that was asked to
        stop; the others are evicted like anywhere else.
      - Where EC2 has ended or stopped the instance, or does not know it and its kubelet is silent, nothing is waited
        for. It is asked about nodes that are not Ready, if it may be.
      - The volumes of a node that is not Ready are not waited for.
    type: float
    default: 60
  max_parallel:
    description: How many nodes are drained at the same time.
    type: int
    default: 10
  grace_period:
    description:
      - Seconds that a pod is given to stop, at least 1. Without it the pod's own.
    type: int
  asg_name:
    description:
      - Name of the Auto Scaling group whose members must stay Ready in sufficient number, see O(min_ready).
    type: str
  min_ready:
    description:
      - While fewer members of O(asg_name) than this are Ready and schedulable, no further eviction is sent.
    type: int
  node_events:
    description:
      - Whether Events on the Nodes tell others, C(EvergreenDraining), C(EvergreenDrained) and, where pods have been in
        the way for half a minute, C(EvergreenBlocked), in namespace C(default). That takes the verb create on events
        there; without it there is a warning.
    type: bool
    default: false
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws_k8s
  - evergreen.eks._aws
  - evergreen.eks._kubernetes
  - evergreen.eks._waiting
  - evergreen.eks._drain
attributes:
  check_mode:
    support: full
    details:
      - The server is asked for each eviction with C(dryRun=All), as if it were the only one.
      - What forbids a drain is reported and warned of, it is no failure in check mode.
  diff_mode:
    support: none
  idempotent:
    support: full
notes:
  - "Needs the RBAC verbs C(list) and C(get) on C(nodes), C(list) and C(watch) on C(pods), C(create) on
    C(pods/eviction), all in the whole cluster."
  - "C(list) on C(daemonsets.apps) finds DaemonSet pods that are left over, C(list) on C(replicasets.apps),
    C(statefulsets.apps), C(jobs.batch) and C(replicationcontrollers) other pods whose controller is gone, C(list) on
    C(poddisruptionbudgets.policy) names and explains budgets, and with C(watch) evictions are only sent where budgets
    allow them. C(list) and C(watch) on C(volumeattachments.storage.k8s.io) tell which volumes are attached, C(get) on
    C(persistentvolumeclaims) which of them are those of pods that stay. Without these verbs the module works, tries
    more, says less, and does not wait for volumes."
  - "With O(node_events) needs the RBAC verb C(create) on C(events) in namespace C(default)."
  - "With O(escalation) needs the RBAC verbs C(delete) on C(pods) and C(patch) on C(nodes), too, and C(list) on
    C(poddisruptionbudgets.policy), without which no step with C(budgets=keep) is taken."
  - "Needs the IAM action C(autoscaling:DescribeAutoScalingGroups) for O(asg_name). With C(ec2:DescribeInstances) it
    knows when the instance of a node that is not Ready has ended."
seealso:
  - module: evergreen.eks.node_cordon
  - module: evergreen.eks.asg_detach_terminate
"""

EXAMPLES = r"""
- name: Drain the nodes of two instances, ten minutes each at most
  evergreen.eks.node_drain:
    cluster_name: production
    instance_ids:
      - i-0123456789abcdef0
      - i-0fedcba9876543210
    timeout: 600
    delete_emptydir_data: true

- name: Drain a node, but evict only while at least five nodes of its group are Ready
  evergreen.eks.node_drain:
    cluster_name: production
    nodes: [ip-10-0-1-23.eu-central-1.compute.internal]
    asg_name: shared
    min_ready: 5

- name: Let reports run to their end, half a day at most, and databases leave after what uses them
  evergreen.eks.node_drain:
    cluster_name: production
    nodes: [ip-10-0-1-23.eu-central-1.compute.internal]
    wait_for_completion:
      selector: app.kubernetes.io/component in (report, import)
      timeout: 12h
      then: evict
    order:
      - selector: tier!=database
      - selector: tier=database
    order_timeout: 10m

- name: Drain a node; pods of batch jobs are deleted after half an hour, others never
  evergreen.eks.node_drain:
    cluster_name: production
    nodes: [ip-10-0-1-23.eu-central-1.compute.internal]
    timeout: 900
    on_timeout: escalate
    escalation:
      - after: 30m
        action: delete
        selector: tier=batch
      - after: 40m
        action: delete_grace_1
        selector: tier=batch
        budgets: overrule

- name: Drain what can be drained in ten minutes, and go on with the rest later
  evergreen.eks.node_drain:
    cluster_name: production
    instance_ids: "{{ old_instance_ids }}"
    timeout: 600
    on_timeout: carry
  register: drained

- name: See what a drain would meet
  evergreen.eks.node_drain:
    cluster_name: production
    nodes: [ip-10-0-1-23.eu-central-1.compute.internal]
  check_mode: true
  register: outlook

- name: Show what to do about the pods that are in the way
  ansible.builtin.debug:
    msg: "{{ outlook.nodes.values() | map(attribute='blocked') | flatten | map(attribute='remedy') | unique }}"
"""

RETURN = r"""
carried:
  description: With O(on_timeout=carry) the nodes that are not drained, as they were named, by node or by instance.
  returned: success
  type: list
  elements: str
nodes:
  description: What became of each node, by its name; also when the module fails.
  returned: always
  type: dict
  contains:
    instance_id:
      description: The EC2 instance; empty when the node has none.
      type: str
    drained:
      description:
        - Whether no pod is left on it that had to leave.
        - In check mode, whether nothing forbids its drain for good.
      type: bool
    reason:
      description:
        - V(drained), all pods are gone.
        - V(node_gone) or V(no_node), there is no such node (any more).
        - V(refused), pods with local data, without a controller or with an annotation that protects them forbid it.
        - V(not_cordoned), it was not cordoned.
        - V(uncordoned), somebody uncordoned it in the meantime.
        - V(blocked), what remains cannot be evicted while things are as they are.
        - V(timeout), pods remained when its time was over.
        - V(stopped) or V(not_started), the module failed while or before it was drained.
        - V(dry_run), check mode.
      type: str
    message:
      description: The same in words where there is more to say.
      type: str
    evicted:
      description: Pods that were evicted, as C(namespace/name); in check mode those that could be evicted right now.
      type: list
      elements: str
    skipped:
      description:
        - Pods that stay, with C(pod) and C(reason).
        - The reason is V(daemonset), V(mirror), V(opted_out), or V(completed) for one that was to complete and has.
      type: list
      elements: dict
    waited:
      description: Pods that were waited for instead of being evicted.
      type: list
      elements: dict
      contains:
        pod:
          description: The pod, as C(namespace/name).
          type: str
        reason:
          description: V(completing), see O(wait_for_completion); V(protected), see O(protected_pods).
          type: str
        until:
          description: Until when at the longest, UTC; empty where that has no end of its own.
          type: str
        outcome:
          description:
            - V(succeeded) or V(failed), as it ended by itself; V(gone), it is not there any more.
            - V(evicted), when its time was over or it was not protected any more.
            - V(released), it has opted out of the drain meanwhile.
            - V(waiting), it is still waited for; V(overdue), its time is over, and it is still there; V(abandoned), it
              was given up with its node.
          type: str
    blocked:
      description: Pods that are in the way.
      type: list
      elements: dict
      contains:
        pod:
          description: The pod, as C(namespace/name).
          type: str
        uid:
          description: Its UID.
          type: str
        budget:
          description: The PodDisruptionBudget that does not let it go, several separated by commas; else empty.
          type: str
        reason:
          description:
            - V(budget), a disruption budget does not allow it now; V(several_budgets), more than one budget selects it,
              which the eviction API does not support.
            - V(local_storage), V(unmanaged), it must not be evicted without O(delete_emptydir_data) or
              O(evict_unmanaged).
            - V(protected), an annotation protects it, see O(protected_pods).
            - V(completing), it is left to complete; V(not_completed), it has not in its time, see
              O(wait_for_completion.then).
            - V(not_its_turn), pods of an earlier wave are still there, see O(order).
            - V(terminating), it was asked to stop and has not stopped yet.
            - V(namespace_terminating), its namespace is being deleted and it has not been yet.
            - V(webhook_denied), an admission webhook or policy does not allow it; V(rejected), the API server does not.
            - V(keeps_returning), its controller puts pods back on the cordoned node again and again.
            - V(rate_limited), V(api_error), V(conflict), the API server could not carry it out.
            - V(below_floor), fewer than O(min_ready) nodes were Ready; V(not_sent), it was not tried yet.
          type: str
        message:
          description: The same in words, mostly the server's own.
          type: str
        since:
          description: When it was first met, UTC.
          type: str
        attempts:
          description:
            - How many evictions were sent for it. V(0) where its budget, which is watched, has allowed none, and where
              something else must come first.
          type: int
        class:
          description:
            - The diagnosis, as one word.
            - Where a disruption budget says no, V(exhausted), too few of its pods are healthy now; V(impossible), it
              would say no with all of them healthy; V(all_unready), none is healthy, and it guards those that are not;
              V(percent_without_controller), it counts replicas, and its pods have no controller; V(sync_failed), its
              numbers cannot be computed; V(several_budgets), more than one selects the pod; V(stale), it was changed
              and not looked at since; V(burned), it counts an eviction that was granted and never happened.
            - Where the pod was asked to stop, V(stopping), it has time left; V(finalizer), its time is over and
              finalizers hold it; V(kubelet_silent), its node is not Ready or gone; V(not_stopping), its time is over
              and its Ready node has not ended it.
            - The same as C(blocked[].reason) with V(local_storage), V(unmanaged), V(protected), V(completing),
              V(not_completed), V(not_its_turn), V(namespace_terminating), V(webhook_denied), V(rejected),
              V(keeps_returning), V(rate_limited), V(api_error), V(conflict), V(below_floor) and V(not_sent).
            - V(unknown) else.
          type: str
        cause:
          description: The diagnosis in one sentence, with the numbers.
          type: str
        remedy:
          description: What an operator would do, in one sentence, with the names.
          type: str
        node:
          description: The node that the pod is on.
          type: str
        owner:
          description: Whoever decides how many such pods there are, as C(Deployment namespace/name); may be empty.
          type: str
        budgets:
          description: The budgets that select the pod, where they are in the way and may be read.
          type: list
          elements: dict
          contains:
            name:
              description: The PodDisruptionBudget, as C(namespace/name).
              type: str
            limit:
              description: What its spec demands.
              type: str
              sample: minAvailable 3
            unhealthy_pod_eviction_policy:
              description: V(IfHealthyBudget) or V(AlwaysAllow).
              type: str
            expected_pods:
              description: How many pods there should be.
              type: int
            desired_healthy:
              description: How many of them must be healthy.
              type: int
            current_healthy:
              description: How many of them are.
              type: int
            disruptions_allowed:
              description: How many evictions it would grant now.
              type: int
            disrupted_pods:
              description: The first five pods whose eviction was granted and whose deletion was not seen yet, and when.
              type: dict
            message:
              description: What its condition DisruptionAllowed says.
              type: str
        unready:
          description: The first five of the other pods under these budgets that are not healthy, the worst first.
          type: list
          elements: dict
          contains:
            pod:
              description: The pod, as C(namespace/name).
              type: str
            node:
              description: The node that it is on; may be empty.
              type: str
            reason:
              description:
                - V(node_not_ready), its node is not Ready or gone; V(unschedulable), no node takes it; V(crashing),
                  V(image_pull), V(configuration), a container does not start; V(not_ready), it runs and is not Ready;
                  V(starting), V(stopping), it is about to.
              type: str
            message:
              description: The same in words, the scheduler's or the kubelet's.
              type: str
            since:
              description: Since when it is not healthy.
              type: str
        unready_total:
          description: How many other pods under these budgets are not healthy.
          type: int
    abandoned:
      description:
        - Pods that were given up because their node is dead (O(dead_node_timeout)), gone, or without an instance, so
          that nobody tells whether they have ended. The API forgets them soon after the Node is gone.
      type: list
      elements: str
    volumes_pending:
      description: PersistentVolumes of pods that are gone which were still attached when O(volume_timeout) was over.
      type: list
      elements: str
    forced:
      description: What steps of O(escalation) were taken here, in this order.
      type: list
      elements: dict
      contains:
        pod:
          description: The pod, as C(namespace/name).
          type: str
        uid:
          description: Its UID.
          type: str
        action:
          description: V(delete), V(delete_grace_1) or V(force).
          type: str
        after:
          description: The seconds that the step was written for.
          type: int
        budgets:
          description: The disruption budgets that select the pod and were overruled.
          type: list
          elements: str
    warnings:
      description:
        - What should be known about pods that leave, with C(pod), C(reason) and C(message).
        - The reason is V(local_storage), V(host_path), what it keeps there does not move with it, V(unmanaged),
          V(owner_gone), V(orphaned_daemonset), V(protected), V(eviction_responders), it declares
          C(spec.evictionResponders), which the eviction API does not ask, or V(unreadable_annotation).
      type: list
      elements: dict
    seconds:
      description: How long it took.
      type: float
  sample:
    ip-10-0-1-23.eu-central-1.compute.internal:
      instance_id: i-0123456789abcdef0
      drained: true
      reason: drained
      message: ""
      evicted: [shop/web-7d9c5b6f4-x2x7k]
      skipped: [{pod: kube-system/aws-node-4xk2p, reason: daemonset}]
      waited:
        - {pod: shop/report-28x7q, reason: completing, until: "2026-11-21T21:02:03Z", outcome: succeeded}
      blocked: []
      abandoned: []
      volumes_pending: []
      forced: []
      warnings: []
      seconds: 23.4
    ip-10-0-2-45.eu-central-1.compute.internal:
      instance_id: i-0fedcba9876543210
      drained: false
      reason: timeout
      message: ""
      evicted: []
      skipped: []
      waited: []
      blocked:
        - pod: shop/api-5c4f8-9zq4d
          uid: 5d0f8b0e-7b0c-4e0e-9a3e-3d0c5a1b2c3d
          budget: api
          reason: budget
          message: The disruption budget api needs 2 healthy pods and has 2 currently
          since: "2026-11-21T01:02:03Z"
          attempts: 61
          class: impossible
          cause: budget shop/api (minAvailable 2) keeps all its 2 pods for ever
          remedy: scale Deployment shop/api to 3 replicas, or set minAvailable of budget shop/api to 1
          node: ip-10-0-2-45.eu-central-1.compute.internal
          owner: Deployment shop/api
          budgets:
            - name: shop/api
              limit: minAvailable 2
              unhealthy_pod_eviction_policy: IfHealthyBudget
              expected_pods: 2
              desired_healthy: 2
              current_healthy: 2
              disruptions_allowed: 0
              disrupted_pods: {}
              message: ""
          unready: []
          unready_total: 0
      abandoned: []
      volumes_pending: []
      forced: []
      warnings: []
      seconds: 900.2
reason:
  description:
    - Why the module failed, as one word.
    - V(timeout), V(blocked), V(refused), V(not_cordoned), V(uncordoned) as above, of several the gravest.
    - V(invalid_input), V(group_not_found), V(parent_gone), V(kubernetes_unreachable), V(kubernetes_unauthorized),
      V(kubernetes_forbidden), V(kubernetes_error), V(access_denied), V(credentials_missing), V(credentials_invalid),
      V(credentials_expired), V(unreachable), V(throttled), V(region_missing), V(not_found), V(aws_error).
  returned: failure
  type: str
  sample: timeout
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.drain.plan import Request
from ansible_collections.evergreen.eks.plugins.module_utils.drain.run import DRAIN_OPTIONS, drain_nodes
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    end_with,
    failures_reported,
    waiting_argument_spec,
)

# Connections beside one watch for each node in hand: evictions under way, and other reads.
FURTHER_CONNECTIONS = 40


def main() -> None:
    module = AnsibleModule(
        argument_spec=kubernetes_argument_spec(**waiting_argument_spec(**DRAIN_OPTIONS)),
        required_one_of=[["nodes", "instance_ids"]],
        mutually_exclusive=[["nodes", "instance_ids"]],
        required_together=[["asg_name", "min_ready"]],
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        request = Request.of(module.params)
        aws = Aws(module.params, call)
        client = KubernetesClient.connect(module.params, aws, call, request.max_parallel + FURTHER_CONNECTIONS)
        end_with(module, drain_nodes(request, aws, client, call))


if __name__ == "__main__":
    main()
