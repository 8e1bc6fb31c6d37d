#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_addon
short_description: Bring the add-ons of an EKS cluster to a version, and wait until they are well
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - EKS does not update add-ons when it upgrades a cluster. This module brings those that are installed to the version
    that goes with the cluster's Kubernetes version, one after the other, and waits for each until EKS calls it healthy
    and its pods are up.
  - Which versions there are is asked of EKS each time. V(default) and V(latest) never step down; only a version that is
    named does.
  - An update that EKS is at work on already is waited for and not asked for twice, whoever began it, also where this
    module was killed. The role and the configuration values of an add-on stay as they are.
  - C(kube-proxy), C(coredns) and C(aws-node) that EKS does not manage are reported with the image that they should
    have, or get it, see O(self_managed).
  - It creates and deletes no add-ons.
options:
  cluster_name:
    description: Name of the EKS cluster.
    type: str
    required: true
  addons:
    description:
      - Which add-ons, V(all) that are there, or a list of names, or of dictionaries with C(name), and where they differ
        from the options below C(version) and C(resolve_conflicts). Also as JSON, or as C(vpc-cni,coredns).
      - All are worked on in the order C(vpc-cni), C(kube-proxy), C(coredns), then the others by name; a list in the
        order given. Where one fails, those behind it are not begun.
      - An add-on that is named and not there is an error, before anything is changed.
      - C(kube-proxy), C(coredns) and C(vpc-cni) (C(aws-node)) are there also where they are self-managed.
    type: raw
    default: all
  version:
    description:
      - The version of add-ons that name none. V(default), the one that EKS chooses for that Kubernetes version;
        V(latest), the newest for it; or a version, such as V(v1.20.4-eksbuild.2).
      - C(vpc-cni) is brought there by one minor version at a time.
    type: str
    default: default
  kubernetes_version:
    description:
      - The Kubernetes version, such as V(1.33), that the add-ons are to go with. By default the cluster's.
      - A version that does not go with the cluster's own as well is refused, but in check mode.
    type: str
  resolve_conflicts:
    description:
      - What becomes of fields that somebody has changed. V(PRESERVE) keeps the change, V(OVERWRITE) takes it back,
        V(NONE) lets the update fail.
    type: str
    choices: [PRESERVE, OVERWRITE, NONE]
    default: PRESERVE
  self_managed:
    description:
      - What becomes of C(kube-proxy), C(coredns) and C(aws-node) that EKS does not manage. V(report) answers which
        image they should have, and warns where it is another one; V(set) sets it; V(ignore) does not look at them.
      - Only the version in the image changes; registry, repository and type (C(minimal)) stay, and so do all other
        fields. Read the release notes of C(aws-node) for what else they ask for, such as new rights.
      - An image that is none of EKS's is left as it is.
    type: str
    choices: [report, set, ignore]
    default: report
  backup_dir:
    description:
      - The directory in which the manifest is kept before O(self_managed=set) changes it, as
        C(<add-on>.<version>.json), readable by its owner only. It is made where it does not exist.
      - Without it C(${XDG_STATE_HOME:-~/.local/state}/evergreen.eks/<account>/<region>/<cluster>).
    type: path
  timeout:
    description:
      - Seconds that each update of an add-on may take, and then its pods; V(0) means for ever.
    type: float
    default: 1200.0
  settle_seconds:
    description:
      - For how long EKS may find an add-on unhealthy (C(DEGRADED)) at its version before that is a failure.
    type: float
    default: 120.0
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws_k8s
  - evergreen.eks._aws
  - evergreen.eks._kubernetes
  - evergreen.eks._waiting
attributes:
  check_mode:
    support: full
    details:
      - It answers what it would do, and waits for nothing.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - "Needs the IAM actions C(eks:DescribeCluster), C(eks:ListAddons), C(eks:DescribeAddon),
    C(eks:DescribeAddonVersions), C(eks:ListUpdates), C(eks:DescribeUpdate) and C(eks:UpdateAddon), and
    C(iam:PassRole) for the roles of add-ons."
  - "Needs the Kubernetes verb C(list) on C(daemonsets.apps), C(deployments.apps) and C(pods), and with
    O(self_managed=set) C(patch) on C(daemonsets.apps) and C(deployments.apps) in C(kube-system)."
  - Pods of an add-on that go are replaced by their controllers, not evicted. Disruption budgets do not hold them.
"""

EXAMPLES = r"""
- name: All add-ons at the version that EKS chooses for the cluster
  evergreen.eks.eks_addon:
    cluster_name: production

- name: The newest versions, kube-proxy included, which nobody manages
  evergreen.eks.eks_addon:
    cluster_name: production
    version: latest
    self_managed: set

- name: These two only, one of them at a version of our own
  evergreen.eks.eks_addon:
    cluster_name: production
    addons:
      - name: vpc-cni
        version: v1.20.4-eksbuild.2
        resolve_conflicts: OVERWRITE
      - coredns

- name: What an upgrade to 1.33 would bring
  evergreen.eks.eks_addon:
    cluster_name: production
    kubernetes_version: "1.33"
  check_mode: true
"""

RETURN = r"""
kubernetes_version:
  description: The Kubernetes version for which versions were looked up.
  returned: success
  type: str
  sample: '1.33'
addons:
  description: The add-ons, in the order in which they were worked on.
  returned: success, and when one of them has failed
  type: list
  elements: dict
  contains:
    name:
      description: Name of the add-on.
      type: str
    managed:
      description: Whether EKS manages it.
      type: bool
    changed:
      description: Whether it has changed, or in check mode would.
      type: bool
    version_before:
      description: Its version at first; empty for an image that is none of EKS's.
      type: str
    version:
      description: Its version now, or as it would be.
      type: str
    wanted:
      description: The version that was chosen for it.
      type: str
    steps:
      description: The versions that it had to come to, one after the other.
      type: list
      elements: str
    note:
      description: Why it does not have another version, empty where that needs no words.
      type: str
    workloads:
      description: Its Deployments and DaemonSets that were waited for.
      type: list
      elements: str
    status:
      description: Its status as EKS has it.
      type: str
      returned: managed by EKS
    issues:
      description: What EKS finds wrong with it.
      type: list
      elements: str
      returned: managed by EKS
    updates:
      description: The updates that were begun or joined, each with C(id) and C(version).
      type: list
      elements: dict
      returned: managed by EKS
    joined:
      description: Whether all that was done is to wait for an update that was under way.
      type: bool
      returned: managed by EKS
    image:
      description: The image that it has now, or would have.
      type: str
      returned: self-managed
    wanted_image:
      description: The image that goes with the Kubernetes version; empty for an image that is none of EKS's.
      type: str
      returned: self-managed
    backups:
      description: The files in which its manifest was kept before each change.
      type: list
      elements: str
      returned: self-managed
  sample:
    - name: vpc-cni
      managed: true
      changed: true
      version_before: v1.19.2-eksbuild.1
      version: v1.20.4-eksbuild.2
      wanted: v1.20.4-eksbuild.2
      steps: [v1.20.4-eksbuild.2]
      note: ''
      workloads: [DaemonSet kube-system/aws-node]
      status: ACTIVE
      issues: []
      updates: [{id: 5c3f0a5e-7a44-4a35-9a0f-4f0d8d2f6f0e, version: v1.20.4-eksbuild.2}]
      joined: false
self_managed:
  description: The names of those among them that EKS does not manage.
  returned: success
  type: list
  elements: str
  sample: [kube-proxy]
addon:
  description: The add-on that has failed.
  returned: when an add-on has failed
  type: str
not_begun:
  description: Those behind it, which were not begun.
  returned: when an add-on has failed
  type: list
  elements: str
missing:
  description: The add-ons that were named and are not there.
  returned: when add-ons are missing
  type: list
  elements: str
pods:
  description: The pods of the add-on that are not Ready, each with its reason.
  returned: when an add-on has failed and its pods can be seen
  type: list
  elements: str
  sample: ['kube-system/kube-proxy-x2x7k on ip-10-20-0-4: ImagePullBackOff']
update:
  description: The update that has failed or lasts, as EKS has it.
  returned: when an update has failed or lasts
  type: dict
reason:
  description:
    - Why the module failed, as one word.
    - Before anything was changed V(addon_missing), an add-on that is named is not there; V(unknown_addon), EKS has no
      version of it for that Kubernetes version; V(unknown_version), there is no such version, it does not go with the
      cluster's version, or it would be a step down that nobody asked for; V(version_unreachable), EKS offers no version
      on the way; V(addon_deleting), it is being deleted, or could not be; V(image_foreign), an image that is to be set
      is none of EKS's.
    - V(update_refused), EKS does not begin an update; V(update_failed), it has ended one without success;
      V(update_timeout), an update lasts.
    - V(addon_unhealthy), EKS finds the add-on unhealthy; V(pods_timeout), its pods did not come up in time.
    - V(backup_unwritable), a manifest could not be kept, and its image was not set.
    - V(cluster_not_found), V(invalid_input), V(lock_lost) and those of the connections, like V(access_denied)
      and V(kubernetes_forbidden).
  returned: failure
  type: str
  sample: addon_unhealthy
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_plan import (
    CONFLICTS,
    IGNORE,
    REPORT,
    SET,
    Terms,
    kubernetes_versions,
    make_plan,
    read_wishes,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_versions import DEFAULT
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_work import AddonWork, warnings_of
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import read_cluster
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import asked_version
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.progress import refuse_negative
from ansible_collections.evergreen.eks.plugins.module_utils.store import Place, cluster_folder, default_directory
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    end_with,
    failures_reported,
    waiting_argument_spec,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **kubernetes_argument_spec(
                **waiting_argument_spec(
                    addons={"type": "raw", "default": "all"},
                    version={"type": "str", "default": "default"},
                    kubernetes_version={"type": "str"},
                    resolve_conflicts={"type": "str", "choices": list(CONFLICTS), "default": CONFLICTS[0]},
                    self_managed={"type": "str", "choices": [REPORT, SET, IGNORE], "default": REPORT},
                    backup_dir={"type": "path"},
                    timeout={"type": "float", "default": 1200.0},
                    settle_seconds={"type": "float", "default": 120.0},
                )
            ),
            "cluster_name": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        end_with(module, bring_up(module.params, Aws(module.params, call), call))


def bring_up(params: dict[str, Any], aws: Aws, call: Call) -> dict[str, Any]:
    """Plan, then do, or foresee in check mode; answers what the module returns."""
    refuse_negative(params, "timeout", "settle_seconds")
    name, asked = params["cluster_name"], params["kubernetes_version"]
    terms = Terms(params["version"] or DEFAULT, params["resolve_conflicts"], params["self_managed"])
    wishes, wanted = read_wishes(params["addons"], terms), asked_version(asked) if asked else None
    versions = kubernetes_versions(wanted, read_cluster(aws, name).version, foresee=call.check_mode)
    terms = replace(terms, kubernetes=versions)
    client = KubernetesClient.connect(params, aws, call)
    plan = make_plan(aws, client, name, wishes, terms)
    sets = params["self_managed"] == SET and any(item.workload for item in plan)
    backup_dir = _backup_dir(aws, name, params["backup_dir"]) if sets else Path()
    seconds = params["timeout"], params["settle_seconds"], params["poll_seconds"]
    work = AddonWork(aws, client, call, name, terms, *seconds, backup_dir)
    outcomes = work.foresee(plan) if call.check_mode else work.do(plan)
    answers = [outcome.answer() for outcome in outcomes]
    return {
        "changed": any(answer["changed"] for answer in answers),
        "kubernetes_version": versions[0],
        "addons": answers,
        "self_managed": [answer["name"] for answer in answers if not answer["managed"]],
        "diff": {
            "before": {answer["name"]: answer["version_before"] for answer in answers},
            "after": {answer["name"]: answer["version"] for answer in answers},
        },
        "warnings": warnings_of(outcomes, terms),
    }


def _backup_dir(aws: Aws, cluster: str, directory: str | None) -> Path:
    """The directory that is named, else the one in which checkpoints of this cluster are kept."""
    return Path(directory or cluster_folder(default_directory(), Place(aws.account, aws.region, cluster, "")))


if __name__ == "__main__":
    main()
