# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal world: an Amazon EKS cluster in one process, for tests, demonstrations and rehearsals.

Start at ``README.md`` in this folder; in the code, at ``world.py``.
"""

from __future__ import annotations
