# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draining nodes: which pods leave and how (filters), what the server answers (answers), one node (node), all (engine).

Source of the server's behaviour, wherever a comment names a rule: pkg/registry/core/pod/storage/eviction.go of
Kubernetes 1.36, and what a running 1.36.2 answered.
"""

from __future__ import annotations
