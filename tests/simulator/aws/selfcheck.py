# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this the moto that the rehearsal world was written for? Fails loudly, naming each symbol that has changed.

The world replaces private functions of moto and leans on others. A new version of moto may change any of them without
notice; so the version is pinned exactly, and the signature of each symbol stands here as it was when it was last read.
When this fails: read what changed in moto, mend the world, then write down the new signature.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from typing import Any

MOTO = "5.2.5"
ABSENT = "absent"

EXPECTED: dict[str, str] = {}


class MotoChanged(RuntimeError):
    """moto is not the one that the world was written for."""


def check() -> None:
    """Raise MotoChanged with one line for each difference."""
    differences = problems()
    if differences:
        raise MotoChanged(
            "moto has changed under the rehearsal world (see tests/simulator/aws/selfcheck.py):\n" + "\n".join(differences)
        )


def problems(expected: dict[str, str] | None = None, version: str = MOTO) -> list[str]:
    """The differences between the moto that is installed and the one that is expected, one sentence each."""
    installed = importlib.metadata.version("moto")
    found = [] if installed == version else [f"moto is {installed}, the world is written for {version}"]
    for symbol, signature in (EXPECTED if expected is None else expected).items():
        actual = describe(symbol)
        if actual != signature:
            found.append(f"{symbol} is {actual}, expected {signature}")
    return found


def describe(symbol: str) -> str:
    """A symbol's signature as text: moto's own, also where the world has replaced it."""
    from simulator.aws.patches import ORIGINALS

    if symbol in ORIGINALS:
        return _signature(ORIGINALS[symbol])
    module, _, path = symbol.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return ABSENT
    return _signature(found)


def _signature(found: Any) -> str:
    if found is None:
        return ABSENT
    if isinstance(found, property):
        return "property"
    if not callable(found):
        return type(found).__name__
    return str(inspect.signature(found))
