# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal world's AWS: moto, bent in this process to take time and to refuse what AWS refuses."""

from __future__ import annotations

from simulator.aws.ec2 import InstanceView
from simulator.aws.server import Cloud
from simulator.aws.timings import Timings

__all__ = ["Cloud", "InstanceView", "Timings"]
