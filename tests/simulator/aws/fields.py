# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of a Kubernetes object, one by one: who has changed which, and what an apply makes of it.

EKS applies the objects of its add-ons server-side. The world's API server keeps no field managers, so whoever changed
a field is found by comparison: a value that is not the one that EKS put there is somebody else's. Paths are written as
EKS writes them in its conflicts.
"""

from __future__ import annotations

import copy
from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]  # a step into a named list item is written [name="web"]


def leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Every field of the object with its value. Lists of named items are looked into, other lists are one value."""
    if isinstance(value, dict):
        found: dict[Path, Any] = {}
        for key, inner in value.items():
            found |= leaves(inner, (*path, key))
        return found
    if _has_names(value):
        found = {}
        for item in value:
            step = f'[name="{item["name"]}"]'
            inner = {key: field for key, field in item.items() if key != "name"}
            found |= {**leaves(inner, (*path, step)), (*path, step, "name"): item["name"]}
        return found
    return {path: value}


def written(path: Path) -> str:
    """``.spec.template.spec.containers[name="aws-node"].image``."""
    return "".join(step if step.startswith("[") else f".{step}" for step in path)


def foreign(was: Object, live: Object, want: Object) -> dict[Path, Any]:
    """The fields that somebody else has set, and that this apply would change, with their values.

    ``was`` is what EKS applied last (empty: nothing), ``live`` what is there, ``want`` what it applies now.
    """
    before, now, after = leaves(was), leaves(live), leaves(want)
    nowhere = object()
    return {
        path: now[path]
        for path, value in after.items()
        if path in now and now[path] != value and now[path] != before.get(path, nowhere)
    }


def applied(was: Object, live: Object, want: Object, keep: dict[Path, Any]) -> Object:
    """The object after the apply: what EKS no longer wants is gone, the rest of ``live`` stays, ``keep`` prevails."""
    after = copy.deepcopy(live)
    wanted = leaves(want)
    for path in leaves(was):
        if path not in wanted:
            _take_out(after, path)
    for path, value in {**wanted, **keep}.items():
        _put(after, path, value)
    return after


def _has_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "name" in one for one in value)


def _named(items: list[Object], step: str) -> Object | None:
    return next((item for item in items if f'[name="{item.get("name")}"]' == step), None)


def _put(target: Object, path: Path, value: Any) -> None:
    place: Any = target
    for step, following in zip(path, path[1:], strict=False):
        if step.startswith("["):
            item = _named(place, step)
            if item is None:
                item = {"name": step[len('[name="') : -len('"]')]}
                place.append(item)
            place = item
        else:
            if place.get(step) is None:
                place[step] = [] if following.startswith("[") else {}
            place = place[step]
    place[path[-1]] = copy.deepcopy(value)


def _take_out(target: Object, path: Path) -> None:
    place: Any = target
    for step in path[:-1]:
        place = _named(place, step) if step.startswith("[") else place.get(step)
        if place is None:
            return
    place.pop(path[-1], None)
    if path[-1] == "name" and path[-2].startswith("["):  # the whole item is wanted no more
        items: Any = target
        for step in path[:-2]:
            items = _named(items, step) if step.startswith("[") else items.get(step)
        items[:] = [item for item in items if "name" in item]
