# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of Auto Scaling's operations that the world serves, and what serving them has in common.

Each function takes the groups of the caller's account and the parameters as botocore's model names them, and answers
with a dictionary in the shape of that model (or None); moto parses the request and writes the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.aws import scaling_rules as rules
from simulator.aws.autoscaling import AutoScaling

Params = dict[str, Any]
Answer = dict[str, Any]
Operation = Callable[[AutoScaling, Params], "Answer | None"]

OPERATIONS: dict[str, Operation] = {}


def operation(function: Operation) -> Operation:
    """This function serves the operation of its name (set_desired_capacity: SetDesiredCapacity)."""
    OPERATIONS[function.__name__] = function
    return function


def flag(params: Params, name: str) -> bool:
    """A boolean parameter; False where it is not given."""
    return str(params.get(name, False)).lower() == "true"


def page(items: list[Any], params: Params, default: int = rules.DEFAULT_PAGE) -> tuple[list[Any], str | None]:
    """One page of a list; the token is the position of the next page."""
    size = int(params.get("MaxRecords") or default)
    if size > rules.PAGE_LIMIT:
        raise rules.refusal(f"The number of records to return must be between 1 and {rules.PAGE_LIMIT}.")
    start = int(params.get("NextToken") or 0)
    token = str(start + size) if len(items) > start + size else None
    return items[start : start + size], token
