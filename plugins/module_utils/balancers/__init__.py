# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances behind target groups and classic load balancers.

records    what AWS says, as frozen records         work       looking until all are settled, and the answer
read       finding load balancers, their targets    arrival    until instances are healthy
change     registering and deregistering            departure  until they are out, and nothing is drained any more
decisions  how far each is, who may leave; marks    returning  putting back whom we took out
traffic    which of the three
"""

from __future__ import annotations

from ansible_collections.evergreen.eks.plugins.module_utils.balancers.decisions import MARK, Mark, read_marks
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.traffic import direct

__all__ = ["MARK", "Mark", "direct", "read_marks"]
