# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Amazon EKS itself: control planes, add-ons, insights, and the updates that change them.

api       one request, or all pages of a list       updates   what EKS is at work on: read, begin, await
versions  Kubernetes versions, steps, version skew  clusters  a control plane as EKS describes it
insights  what EKS has found out about the readiness for the next version
"""
