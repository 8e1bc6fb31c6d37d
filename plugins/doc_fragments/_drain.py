# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The options of node_drain that decide about pods: who leaves, when, and what if not.
    # plugins/module_utils/drain/run.py, DRAIN_OPTIONS
    DOCUMENTATION = r"""
options:
  delete_emptydir_data:
    description: Whether pods with emptyDir volumes are evicted, which loses the data in them.
    type: bool
    default: false
  evict_unmanaged:
    description: Whether pods are evicted that no controller would start again elsewhere.
    type: bool
    default: false
  wait_for_completion:
    description:
      - Pods that are left to complete, because a batch pod may have run for many hours. They are not evicted; such a
        pod is done when its phase is C(Succeeded) or C(Failed), or it is gone, and one that has ended is not deleted.
      - Besides those that O(wait_for_completion.selector) selects these are all pods with the annotation or label
        C(evergreen.eks/drain=wait-completed), or the label C(cluster.x-k8s.io/drain=wait-completed).
      - A node on which nothing else is left to be done than to wait for them does not count towards O(max_parallel),
        and its O(timeout) begins when they are gone or their time is over. With O(on_timeout=carry) it does not wait
        for that, and the node is carried.
    type: dict
    suboptions:
      selector:
        description: Label selector, as for C(kubectl -l).
        type: str
      timeout:
        description:
          - How long each is waited for, a number of seconds or a duration such as V(90m). The annotation
            C(evergreen.eks/drain-timeout) of a pod sets another time for it.
          - It counts from when the node was cordoned by M(evergreen.eks.node_cordon), which stands on the node, so that
            a rerun does not begin anew; where somebody else cordoned it, from the beginning of this call.
        type: str
        default: 20h
      then:
        description:
          - What becomes of one that has not completed by then.
          - V(fail), it is not evicted, and its node is not drained. V(evict), it is evicted like any other.
        type: str
        choices: [fail, evict]
        default: fail
  protected_pods:
    description:
      - What becomes of pods that are protected from who removes nodes, by the annotation
        C(cluster-autoscaler.kubernetes.io/safe-to-evict="false"), or by C(karpenter.sh/do-not-disrupt), which is
        V(true) or a duration. One with a duration is protected until it has run for so long.
      - V(refuse), they forbid that anything is evicted. V(wait), they are waited for; the O(timeout) counts, except
        while nothing else is waited for than ages to be reached. V(evict), they are evicted like any other, and warned
        of.
    type: str
    choices: [refuse, wait, evict]
    default: refuse
  order:
    description:
      - In which order the pods of a node leave. The next wave begins when all pods of the former are gone.
      - V(priority), those of the priority classes C(system-cluster-critical) and C(system-node-critical) come last.
      - Or a list of dictionaries with one key each, C(priority_class) with its name, or C(selector) with a label
        selector. A pod is in the first wave that takes it. Who is in none comes after them, and of these again the
        critical ones last.
      - Pods that are left to complete belong to their wave, too.
    type: raw
    default: priority
  order_timeout:
    description:
      - Seconds, or a duration such as V(5m), after which the next wave begins although the former is not gone. V(0) is
        never.
    type: str
    default: '0'
  on_timeout:
    description:
      - What becomes of a node that is not empty when its O(timeout) is over, or that cannot be emptied while things
        are as they are.
      - V(fail), the module fails. V(carry), it does not for that reason, and names the node in RV(carried), to be
        drained again later; the node stays cordoned. V(escalate), the steps of O(escalation) are taken, each in its
        time, and the node is only given up once none of them can help any more.
    type: str
    choices: [fail, carry, escalate]
    default: fail
  escalation:
    description:
      - What is done, with O(on_timeout=escalate), about pods that evictions do not move. None of it is done that is not
        written here.
      - A step is taken for each pod that its selector selects, that should leave, and whose eviction has been refused
        for six times O(poll_seconds), or that was asked to stop so long ago and has not. Of several that are due for a
        pod the last counts, and none is taken twice for it. Pods that must not be evicted, or that are waited for until
        they are done, are never touched, also where somebody else has asked them to stop.
      - Who was touched is listed in C(forced).
    type: list
    elements: dict
    default: []
    suboptions:
      after:
        description:
          - How long after the node was taken in hand, as seconds or as a duration such as V(20m).
          - That moment is written on a node that carries our marks (see M(evergreen.eks.node_cordon)), so that a drain
            that was killed and is run again goes on counting. On another node it counts from the beginning of the call.
        type: str
        required: true
      action:
        description:
          - V(delete), the pod is deleted, with the time to stop that it has itself, or O(grace_period). No budget is
            asked for that.
          - V(delete_grace_1), it is given 1 second to stop, also where it was asked to stop before.
          - V(force), the API server forgets it at once, also while it still runs. Only for a pod that was asked to stop
            and whose time to do so is over; an earlier step must delete the same pods.
        type: str
        choices: [delete, delete_grace_1, force]
        required: true
      selector:
        description: Label selector of the pods, as for C(kubectl -l); without it all that should leave.
        type: str
        default: ''
      budgets:
        description:
          - V(keep), a pod that a PodDisruptionBudget selects is not touched by this step, nor is one whose budgets
            cannot be read.
          - V(overrule), it is, whatever its budget says.
        type: str
        choices: [keep, overrule]
        default: keep
"""
