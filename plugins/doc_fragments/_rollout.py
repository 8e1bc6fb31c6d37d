# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This fragment is private to the evergreen.eks collection.

from __future__ import annotations


class ModuleDocFragment:
    # What a rollout is asked for: plugins/module_utils/rollout_options.py, rollout_argument_spec
    DOCUMENTATION = r"""
options:
  settings:
    description: What the rollout is asked for. Every part has the default of the role's variable of that name.
    type: dict
    default: {}
    suboptions:
      select:
        description:
          - Which instances are replaced. V(outdated), those that differ from what the group would launch now, or
            V(all).
          - Or a dictionary with one key. C(older_than) takes a duration such as V(7d), C(instances) a list of ids of
            members; those that are gone already are passed over.
          - C(expression) takes a JMESPath expression over the list of instance records that answers records or ids.
            A record has C(instance_id), C(zone), C(lifecycle_state), C(instance_type), C(launch_version),
            C(image_id), C(launch_time), C(tags), C(outdated), C(node), C(ready), C(kubelet_version) and C(labels).
        type: raw
        default: outdated
      max_surge:
        description: Extra instances at a time, a number or a percentage of the group's own size, rounded up.
        type: str
        default: 25%
      max_unavailable:
        description: Instances that may be missing at a time, a number or a percentage, rounded down.
        type: str
        default: '0'
      canary:
        description: Size of the first wave; V(0) for none.
        type: int
        default: 1
      canary_bake_seconds:
        description: Seconds for which the first wave's new nodes must stay Ready before the second wave begins.
        type: float
        default: 0
      suspend_processes:
        description: Scaling processes that rest while the rollout lasts.
        type: list
        elements: str
        default: [AZRebalance]
      ready_timeout:
        description: Seconds to wait for a group that is not steady at the beginning; V(0) waits for ever.
        type: float
        default: 1200
      ignore_checkpoint:
        description: Select the instances anew although a run is unfinished. What must be put back is never forgotten.
        type: bool
        default: false
      lock:
        description:
          - Hold the cluster with a Lease in C(kube-system) while the playbook runs, and stop where another run holds
            it.
        type: bool
        default: true
      lock_seconds:
        description:
          - Seconds for which the Lease of a run that died without a trace still counts. A run renews it four times as
            often, and changes nothing while it could not.
        type: float
        default: 60
      lock_wait:
        description:
          - Seconds to wait for another run that holds the cluster, V(0) to wait for nobody. Otherwise it must be more
            than O(settings.lock_seconds), so that the lock of a dead run is taken over by the next.
        type: float
        default: 90
      drain_on_timeout:
        description:
          - What becomes of a node that is not empty in time, see M(evergreen.eks.node_drain).
          - V(carry) leaves it to the following waves. The last one, of such nodes only, is drained with V(fail).
        type: str
        choices: [fail, carry, escalate]
        default: fail
      plan_file:
        description:
          - A file that M(evergreen.eks.rollout_plan_info) has written with O(ignore:plan_file), to be followed by a run
            that begins. It must exist, and name this node group.
          - It fails, before anything is changed, where other instances would be replaced than were planned, something
            else would be launched, or O(settings.select), O(settings.max_surge), O(settings.max_unavailable) or
            O(settings.canary) is another one.
          - What an autoscaler has changed is no drift. Instances that came after the plan was made are kept, and
            planned ones that are gone are finished.
          - A run that goes on follows its checkpoint.
        type: path
      drain_escalation:
        description: The steps for V(escalate), see the option C(escalation) of M(evergreen.eks.node_drain).
        type: list
        elements: dict
        default: []
        suboptions:
          after:
            description: How long after the node was taken in hand.
            type: str
            required: true
          action:
            description: What is done to the pod.
            type: str
            choices: [delete, delete_grace_1, force]
            required: true
          selector:
            description: Label selector of the pods.
            type: str
            default: ''
          budgets:
            description: Whether pods under disruption budgets are left alone.
            type: str
            choices: [keep, overrule]
            default: keep
"""
