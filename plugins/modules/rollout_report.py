#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_report
short_description: Tell what a rollout of a node group did, as a page, for a ticket, and as data
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Makes a report of a rollout from its journal and its checkpoint, whether it has finished, failed, was killed or
    still runs, and over all runs of one that was resumed.
  - A rollout leaves its report by itself at its end. This module makes it anew, of any run that is in the journal.
  - The page needs no network and no script, is made for wide and narrow screens, light and dark, and for paper. The
    Markdown is for a ticket. The JSON has a schema number, and is described in the collection's docs/report.md.
  - Files that are there already are replaced, each in one step. All are readable by their owner only.
  - Changes nothing but these files, and takes no lock.
options:
  run_id:
    description: The run to tell of. By default the unfinished one, or else the last one.
    type: str
  formats:
    description: The files to write.
    type: list
    elements: str
    choices: [html, markdown, json]
    default: [html, markdown, json]
  dir:
    description:
      - The folder for the files C(<group, percent-encoded>.<run id>.report.html), C(.md) and C(.json).
      - By default that of the journal, beside the checkpoints of the store V(file).
    type: path
  restore_command:
    description: The command that goes back; found out by itself.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - A report says when it was written.
notes:
  - Needs the IAM actions C(sts:GetCallerIdentity) and C(eks:DescribeCluster), to know whose files are meant, and the
    rights that the store needs to be read, with the stores V(configmap) and V(s3). Where AWS or the store does not
    answer, the report is told from what is found on this machine, and says so.
  - Fails with RV(ignore:reason) V(no_run), V(journal_unreadable) or V(report_unwritable).
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws_k8s
  - evergreen.eks._aws
  - evergreen.eks._kubernetes
  - evergreen.eks._state
  - evergreen.eks._waiting
seealso:
  - module: evergreen.eks.rollout_state
"""

EXAMPLES = r"""
- name: Make the report of the last rollout
  evergreen.eks.rollout_report:
    cluster_name: prod
    asg_name: prod-shared
  register: report

- name: Put it into a ticket
  ansible.builtin.uri:
    url: https://tickets.example.com/api/CHG-4711/comments
    method: POST
    body_format: json
    body:
      text: "{{ lookup('ansible.builtin.file', report.reports.markdown) }}"

- name: Make the page of an earlier run, for a web server
  evergreen.eks.rollout_report:
    cluster_name: prod
    asg_name: prod-shared
    run_id: 20261121T010203-4f2a9c
    formats: [html]
    dir: /srv/reports
"""

RETURN = r"""
reports:
  description: The path of each file, by its format. In check mode those that would be written.
  returned: success
  type: dict
  sample:
    html: /home/ann/.local/state/evergreen.eks/1234/eu-central-1/prod/prod-shared.20261121T010203-4f2a9c.report.html
report:
  description: What the report says first.
  returned: success
  type: dict
  contains:
    group:
      description: The Auto Scaling group.
      type: str
    run:
      description: The run.
      type: str
    outcome:
      description:
        - How it ended, V(finished), V(put_back), V(failed) or V(stopped).
        - V(running) while it runs. V(interrupted) where it has not ended and nothing is heard of it any more.
      type: str
    cause:
      description: Why it failed or stopped.
      type: str
    began:
      description: When its first run began, UTC.
      type: str
    ended:
      description: When its last run ended, or was heard of last.
      type: str
    seconds:
      description: The time between these two.
      type: int
    seconds_worked:
      description: The same without the time in which no run worked on it.
      type: int
    selected:
      description: How many nodes were to go.
      type: int
    replaced:
      description: How many of them are gone.
      type: int
    lowest_ready:
      description: The fewest nodes of the group that were seen Ready and taking pods.
      type: int
    below_floor:
      description: Whether that was ever fewer than promised.
      type: bool
    resume_command:
      description: The command that goes on, V("") where nothing is left to do.
      type: str
    restore_command:
      description: The command that goes back, V("") where there is nothing to go back from.
      type: str
summary:
  description: The same in a few sentences, and where the report is.
  returned: success
  type: list
  elements: str
  sample:
    - "prod-shared: 6 nodes replaced in 11 min 40 s"
reason:
  description: Why the module failed, a word to test for.
  returned: failure
  type: str
  sample: no_run
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.report.files import FORMATS
from ansible_collections.evergreen.eks.plugins.module_utils.report.module import report_rollout
from ansible_collections.evergreen.eks.plugins.module_utils.rollout_options import state_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, failures_reported


def main() -> None:
    module = AnsibleModule(
        argument_spec=state_argument_spec(
            run_id={"type": "str"},
            formats={"type": "list", "elements": "str", "choices": list(FORMATS), "default": list(FORMATS)},
            dir={"type": "path"},
            restore_command={"type": "str"},
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        module.exit_json(**report_rollout(module.params, Call.of(module)))


if __name__ == "__main__":
    main()
