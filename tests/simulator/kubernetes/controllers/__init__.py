# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controllers of the rehearsal cluster: everything that acts on the API by itself.

They are ordinary clients of the API server, recorded under their own names. ``Controllers`` runs them, either step by
step (tests, which move the clock themselves) or in a thread (the running world).

* ``timings``, ``objects``: how long things take; reading objects
* ``cache``, ``controller``: what every controller is made of
* ``pods``, ``replicasets``, ``statefulsets``, ``daemonsets``, ``jobs``: the workloads
* ``predicates``, ``scheduler``: where pods go
* ``kubelet``: how pods live and end, on machines that are up or down
* ``budget_arithmetic``, ``budgets``: what PodDisruptionBudgets allow
* ``nodes``, ``cleanup``, ``volumes``: silent nodes and taints; lost pods and namespaces; zonal volumes
"""

from __future__ import annotations

from simulator.kubernetes.controllers.runner import ALL, Controllers
from simulator.kubernetes.controllers.timings import Timings

__all__ = ["ALL", "Controllers", "Timings"]
