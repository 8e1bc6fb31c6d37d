# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Options of every module that waits or changes something: plugins/module_utils/waiting.py, waiting_argument_spec
    DOCUMENTATION = r"""
options:
  poll_seconds:
    description:
      - Seconds between two looks at the world while the module waits.
      - Pauses before another attempt are derived from it, from this value up to three times as much.
      - What fails for a reason that passes by itself (AWS throttles, answers 5xx, loses the connection) is repeated for
        sixty times as long; for four times as long within a look of a wait, which looks again anyway. Requests that
        count are not repeated but after a look at what became of them.
    type: float
    default: 5.0
  journal:
    description:
      - A file to which the module appends what happens, one JSON object a line, while it works.
      - The file is created, readable by its owner only, when it does not exist; its directory must exist.
      - Without it nothing is recorded. In check mode nothing is written.
      - C(docs/journal.md) describes the events. They hold no secrets.
    type: path
  about:
    description:
      - What the events of this task are about, for the journal. The role P(evergreen.eks.rollout#role) says it once
        for all its tasks, as JSON in the E(EVERGREEN_ABOUT) environment variable, which is used without this option.
    type: dict
    suboptions:
      run:
        description: The id of the run. By default O(ignore:run_id), where the module has that option.
        type: str
      group:
        description: The Auto Scaling group. By default O(ignore:asg_name), where the module has that option.
        type: str
      stage:
        description: What the run is at.
        type: str
      wave:
        description: The number of the wave; V(0) is none.
        type: int
      waves:
        description: How many waves there are.
        type: int
  quiet:
    description:
      - Whether the lines that appear while the module works are only warnings, what is blocked, and how it ended.
      - The journal holds everything either way.
      - Without it the E(EVERGREEN_QUIET) environment variable is used.
    type: bool
    default: false
  lease:
    description:
      - The file that proves that the playbook run to which this task belongs holds the lock of the cluster, as
        M(evergreen.eks.rollout_state) answers it.
      - Before every change the module makes sure that the lock is still held. While it could not be renewed, because
        the Kubernetes API did not answer, the module waits; when the lock has been lost, the module fails with
        RV(ignore:reason) V(lock_lost) and changes nothing more.
      - Without it the E(EVERGREEN_LEASE) environment variable is used, which an upgrade sets for all its parts. With
        neither, or with an empty string, no lock is looked at.
    type: path
  established:
    description:
      - Whether AWS and Kubernetes are known to answer at these addresses, for example because an earlier task has just
        asked them. Silence is then an outage, and is waited out from the first request on.
      - Otherwise an API that has never answered is given up after 15 seconds, because its address is likely wrong.
      - Without it the E(EVERGREEN_ESTABLISHED) environment variable is used, which the role
        P(evergreen.eks.rollout#role) sets for all that follows its first look.
    type: bool
    default: false
"""
