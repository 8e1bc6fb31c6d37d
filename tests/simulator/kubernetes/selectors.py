# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label and field selectors: text of a query, or a selector inside an object, made into a predicate."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from simulator.kubernetes.errors import ApiError, bad_request
from simulator.kubernetes.resources import NODES, Resource

Predicate = Callable[[dict[str, Any]], bool]

_KEY = r"(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"({_KEY})\s*(!=|==|=)\s*({_VALUE})")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_FIELD = re.compile(r"([A-Za-z.]+)(!=|==|=)(.*)")


def everything(_unused: dict[str, Any]) -> bool:
    """The selector that lets all through."""
    return True


def dig(value: Any, path: str, default: Any = None) -> Any:
    """``dig(pod, "spec.nodeName")``: the value at a dotted path, or ``default`` where something is missing."""
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value


def label_selector(text: str | None) -> Predicate:
    """``app=x,tier!=web,zone in (a,b),!old`` -> a predicate over an object's labels. ApiError 400 when malformed."""
    tests = [_label_test(part, text or "") for part in _split(text or "")]
    if not tests:
        return everything
    return lambda labels: all(test(labels) for test in tests)


def _split(text: str) -> list[str]:
    """At commas outside parentheses."""
    parts = re.findall(r"(?:[^,(]|\([^)]*\)?)+", text)
    return [part.strip() for part in parts if part.strip()]


def _label_test(part: str, whole: str) -> Predicate:
    if found := _SET.fullmatch(part):
        key, operator, listed = found[1], found[2], {value.strip() for value in found[3].split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in listed
        return lambda labels: labels.get(key) not in listed
    if found := _EQUALITY.fullmatch(part):
        key, operator, value = found[1], found[2], found[3]
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.fullmatch(part):
        absent, key = bool(found[1]), found[2]
        return lambda labels: (key in labels) != absent
    raise bad_request(f'unable to parse requirement: found "{part}" in "{whole}", expected: a label selector')


def object_selector(selector: dict[str, Any] | None) -> Predicate:
    """A ``{matchLabels, matchExpressions}`` -> a predicate over labels. None selects nothing, ``{}`` everything."""
    if selector is None:
        return lambda labels: False
    equal = dict(selector.get("matchLabels") or {})
    tests = [_expression_test(expression) for expression in selector.get("matchExpressions") or []]
    return lambda labels: all(labels.get(k) == v for k, v in equal.items()) and all(test(labels) for test in tests)


def _expression_test(expression: dict[str, Any]) -> Predicate:
    key, operator, listed = expression["key"], expression["operator"], expression.get("values") or []
    tests: dict[str, Predicate] = {
        "In": lambda labels: labels.get(key) in listed,
        "NotIn": lambda labels: labels.get(key) not in listed,
        "Exists": lambda labels: key in labels,
        "DoesNotExist": lambda labels: key not in labels,
    }
    return tests[operator]


def selects(selector: dict[str, Any] | None, item: dict[str, Any]) -> bool:
    """Whether a selector inside an object (of a budget, a ReplicaSet) selects that other object."""
    return object_selector(selector)(item["metadata"].get("labels") or {})


def field_requirements(text: str | None, resource: Resource) -> list[tuple[str, bool, str]]:
    """``spec.nodeName=n1,status.phase!=Running`` -> ``[(path, equal, value), ...]``. ApiError 400 when unknown."""
    requirements = []
    known = ("metadata.name", *(("metadata.namespace",) if resource.namespaced else ()), *resource.fields)
    for part in filter(None, (text or "").split(",")):
        found = _FIELD.fullmatch(part)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        if found[1] not in known:
            raise _unknown_field(resource, text or "", found[1])
        requirements.append((found[1], found[2] != "!=", found[3]))
    return requirements


def _unknown_field(resource: Resource, text: str, field: str) -> ApiError:
    group = f"{resource.group}/{resource.version}" if resource.group else f"/{resource.version}"
    return bad_request(
        f'Unable to find "{group}, Resource={resource.plural}" that match label selector "", '
        f'field selector "{text}": field label not supported: {field}'
    )


def field_selector(requirements: list[tuple[str, bool, str]], resource: Resource) -> Predicate:
    """A predicate over objects, from what ``field_requirements`` read."""
    if not requirements:
        return everything
    return lambda item: all(
        (field_value(item, path, resource) == value) == equal for path, equal, value in requirements
    )


def field_value(item: dict[str, Any], path: str, resource: Resource) -> str:
    """A field the way selectors compare it: as text, empty when missing (``spec.unschedulable``: ``false``)."""
    value = dig(item, path)
    if path == "source":
        value = dig(item, "source.component")
    if value is None:
        return "false" if resource is NODES and path == "spec.unschedulable" else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
