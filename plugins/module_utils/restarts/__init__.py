# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarting workloads the way kubectl does, and waiting for their new pods.

workloads   what the API says about a workload, and whether its update is complete      choice   who is restarted; pure
work        look, mark, wait                                                            blocks   what holds a restart up
"""
