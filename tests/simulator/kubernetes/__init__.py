# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API server of the rehearsal world. It answers as a real one does: ``tests/conformance`` proves it.

* ``serving``, ``certificates``: HTTPS; ``client``: the same without a network, for the cluster's own parts
* ``api``: the path of a request: who asks for what, the world's record and faults, rights, the verb
* ``authentication``, ``discovery``: EKS tokens and rights; what the server says about itself
* ``registry``: the verbs; ``validation``, ``deletion``, ``garbage``, ``patches``, ``scale``: its rules
* ``eviction``: what disruption budgets allow
* ``queries``, ``selectors``: lists, pages and watches
* ``store``: the objects, their versions and their history; ``resources``: their kinds; ``errors``: refusals
* ``controllers``: what acts on all this by itself, as clients of the API
"""
