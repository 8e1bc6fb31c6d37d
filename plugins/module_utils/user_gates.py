# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An operator's own conditions: JMESPath expressions over the picture of a cluster, each of which must be true."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput, MissingLibrary
from ansible_collections.evergreen.eks.plugins.module_utils.picture import Picture

TRUE = "true"
LONGEST_ANSWER = 200


@dataclass(frozen=True)
class UserGate:
    """One condition. `expression` is compiled already."""

    name: str
    expression: Any
    text: str
    message: str


@dataclass(frozen=True)
class Objection:
    """A condition that is not met, and what its expression answered, as JSON."""

    name: str
    expression: str
    answer: str
    message: str

    def as_data(self) -> dict[str, Any]:
        """For the result."""
        return dict(vars(self))


def parse_gates(raw: Sequence[Mapping[str, Any]]) -> tuple[UserGate, ...]:
    """The conditions of the option `gates`, ready to be asked. jmespath is needed only where there are any.

    Raises InvalidInput for one that cannot be meant: what is no JMESPath, or calls a function that does not exist or
    with too few or too many arguments, is found before anything is read. Raises MissingLibrary.
    """
    gates = tuple(_parsed(number, entry) for number, entry in enumerate(raw, 1))
    names = [gate.name for gate in gates]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"two gates have the name '{name}'", remedy="Give each gate a name of its own")
    return gates


def objections(gates: Sequence[UserGate], before: Picture, now: Picture) -> list[Objection]:
    """The conditions that are not met. Only true is met: not a list, and not nothing.

    An expression looks at `taken`, `nodes`, `pods` and `workloads` of now, and at the same under `before`.
    """
    if not gates:
        return []
    data = {**now.as_data(), "before": before.as_data()}
    answers = [(gate, _shown(_answer(gate, data))) for gate in gates]
    return [
        Objection(gate.name, gate.text, answer, gate.message or f"{gate.text} answers {answer} instead of true")
        for gate, answer in answers
        if answer != TRUE
    ]


def _parsed(number: int, entry: Mapping[str, Any]) -> UserGate:
    text = entry["expression"].strip()
    gate = f"gate '{entry['name']}' (number {number})"
    if not text:
        raise InvalidInput(f"{gate} has no expression", remedy="Give a JMESPath expression that answers true")
    try:
        import jmespath
        from jmespath.exceptions import JMESPathError
        from jmespath.functions import Functions
    except ImportError as error:
        raise MissingLibrary("jmespath", sys.executable) from error
    try:
        expression = jmespath.compile(text)
    except JMESPathError as error:
        raise InvalidInput(
            f"the expression '{text}' of {gate} is not JMESPath: {' '.join(str(error).split())}",
            remedy="See https://jmespath.org",
        ) from error
    for name, arguments in _calls(expression.parsed):
        _check_call(name, arguments, Functions.FUNCTION_TABLE, f"the expression '{text}' of {gate}")
    return UserGate(entry["name"], expression, text, entry.get("msg") or "")


def _calls(tree: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """(name, number of arguments) of each function that the expression calls."""
    if tree["type"] == "function_expression":
        yield tree["value"], len(tree["children"])
    for child in tree["children"]:
        if isinstance(child, dict):
            yield from _calls(child)


def _check_call(name: str, arguments: int, functions: Mapping[str, Any], where: str) -> None:
    if name not in functions:
        raise InvalidInput(
            f"{where} calls {name}(), which JMESPath does not have",
            remedy=f"Its functions are {', '.join(sorted(functions))}",
        )
    signature = functions[name]["signature"]
    variadic = bool(signature) and bool(signature[-1].get("variadic"))
    if arguments < len(signature) or (arguments > len(signature) and not variadic):
        raise InvalidInput(
            f"{where} calls {name}() with {arguments} arguments", remedy=f"It takes {len(signature)} arguments"
        )


def _answer(gate: UserGate, data: Mapping[str, Any]) -> Any:
    """What the expression answers; where what is there now is not of a kind that it can work with, that in words."""
    from jmespath.exceptions import JMESPathError

    try:
        return gate.expression.search(data)
    except JMESPathError as error:
        return f"an error: {' '.join(str(error).split())}"


def _shown(answer: Any) -> str:
    text = json.dumps(answer, default=str)
    return text if len(text) <= LONGEST_ANSWER else f"{text[:LONGEST_ANSWER]} ..."
