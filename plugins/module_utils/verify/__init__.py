# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a cluster is as it should be after an upgrade.

records  what is asked, seen and found      read    asking AWS and Kubernetes for it
nodes    checks of nodes and versions       pods    checks of pods, workloads and volumes
groups   checks of node groups              traces  checks for what a run has left behind
checks   all of them by name                watch   looking until it is clear, and saying what is not
"""
