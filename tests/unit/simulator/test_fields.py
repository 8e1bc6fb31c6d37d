# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of an object: who has changed which, and what an apply makes of it."""

from __future__ import annotations

from typing import Any

from simulator.aws.fields import applied, foreign, leaves, written


def daemon_set(image: str = "cni:1", **environment: str) -> dict[str, Any]:
    env = [{"name": name, "value": value} for name, value in environment.items()]
    return {"spec": {"template": {"spec": {"containers": [{"name": "node", "image": image, "env": env}]}}}}


def environment_of(item: dict[str, Any]) -> dict[str, str]:
    (container,) = item["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_fields_are_written_as_eks_writes_them() -> None:
    paths = [written(path) for path in leaves(daemon_set(WARM="1"))]
    assert '.spec.template.spec.containers[name="node"].image' in paths
    assert '.spec.template.spec.containers[name="node"].env[name="WARM"].value' in paths


def test_only_what_somebody_else_has_changed_and_the_apply_would_change_is_in_conflict() -> None:
    was, want = daemon_set("cni:1", WARM="1", LOG="debug"), daemon_set("cni:2", WARM="1", LOG="debug")
    live = daemon_set("cni:1", WARM="5", LOG="debug", OWN="x")
    assert [written(path).rpartition(".env")[2] for path in foreign(was, live, want)] == ['[name="WARM"].value']
    assert foreign(was, daemon_set("cni:2", WARM="1", LOG="debug"), want) == {}, "somebody was faster, that is all"


def test_over_something_that_was_never_applied_every_difference_is_a_conflict() -> None:
    assert len(foreign({}, daemon_set("cni:0", WARM="5"), daemon_set("cni:1", WARM="1"))) == 2


def test_an_apply_overwrites_or_preserves_and_takes_back_only_its_own() -> None:
    was, want = daemon_set("cni:1", WARM="1", GONE="1"), daemon_set("cni:2", WARM="1", NEW="1")
    live = {**daemon_set("cni:1", WARM="5", GONE="1", OWN="x"), "status": {"numberReady": 3}}
    over = applied(was, live, want, {})
    assert environment_of(over) == {"WARM": "1", "OWN": "x", "NEW": "1"}
    kept = applied(was, live, want, foreign(was, live, want))
    assert environment_of(kept) == {"WARM": "5", "OWN": "x", "NEW": "1"}
    assert kept["spec"]["template"]["spec"]["containers"][0]["image"] == "cni:2"
    assert kept["status"] == {"numberReady": 3}
    assert environment_of(live) == {"WARM": "5", "GONE": "1", "OWN": "x"}, "the live object is not written to"
