# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Amazon EKS itself: control planes, add-ons, insights, and the updates that change them.

api       one request, or all pages of a list       updates   what EKS is at work on: read, begin, await
versions  Kubernetes versions, steps, version skew  clusters  a control plane as EKS describes it
addons    the add-ons that EKS manages              self_managed  kube-proxy, coredns and aws-node where it does not
addon_versions  which version a cluster gets, by which steps   addon_pods  their pods, and who is in the way
addon_plan  who is meant, in which order        addon_work  one after the other, until each is well
insights  what EKS has found out about the readiness for the next version
decisions, control_plane   what is next on the way to a version, and the way itself
"""
