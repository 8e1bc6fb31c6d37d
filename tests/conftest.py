# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test may ask for: a rehearsal world.

``def test_it(world)`` gets the scenario ``small`` at sixty times the speed. A test that wants another one says so::

    @pytest.mark.scenario(Scenario(groups=[NodeGroup("shared", size=3)]), speed=120)
    def test_it(world): ...

or, for several worlds or options, starts it itself: ``with World.start(scenario, speed=60) as world:``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from simulator.world import World

SPEED = 60.0

# An operator's own settings must not reach a test, nor the libraries that read them when they are imported.
for name in list(os.environ):
    if name.startswith(("AWS_", "K8S_AUTH_")) or name.upper() in (
        "KUBECONFIG",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ):
        del os.environ[name]
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario(scenario, speed=60): the world that the fixture `world` starts")
    config.addinivalue_line("markers", "slow: left out by `make test`, which has its samples; `make test-slow` runs it")


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A running world, new for this test. Its end fails the test when the world's own parts ran into an error."""
    # Imported late: unit tests of the collection need none of moto.
    from simulator.scenarios import SMALL
    from simulator.world import World

    marker = request.node.get_closest_marker("scenario")
    scenario = marker.args[0] if marker and marker.args else SMALL
    speed = marker.kwargs.get("speed", SPEED) if marker else SPEED
    with World.start(scenario, speed=speed) as running:
        yield running
