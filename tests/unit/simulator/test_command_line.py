# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal world's command line, as it starts."""

from __future__ import annotations

import os
import subprocess
import sys

from simulator.runs import REPOSITORY


def test_the_callers_own_aws_profile_is_not_looked_at() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests"), "AWS_PROFILE": "production"}
    told = subprocess.run(
        [sys.executable, "-m", "simulator", "--help"], env=environment, capture_output=True, text=True, check=False
    )

    assert told.returncode == 0, told.stderr
    assert "demo-upgrade" in told.stdout
