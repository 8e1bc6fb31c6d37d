# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys
from typing import Any

import pytest
import yaml
from unit.pictures import NOW, node, picture, pod, workload

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput, MissingLibrary
from ansible_collections.evergreen.eks.plugins.module_utils.user_gates import Objection, objections, parse_gates
from ansible_collections.evergreen.eks.plugins.modules import health_gate

BEFORE = picture(node(), pod(), pod("web-2"), workload())
AFTER = picture(node("n2"), pod("web-3", node="n2"), workload(ready=1), taken=NOW)


def gate(expression: str, name: str = "mine", message: str | None = None) -> dict[str, Any]:
    return {"name": name, "expression": expression, "msg": message}


def answers(expression: str) -> list[str]:
    """What the expression answers where it is not met."""
    return [objection.answer for objection in objections(parse_gates([gate(expression)]), BEFORE, AFTER)]


@pytest.mark.parametrize(
    ("expression", "unmet"),
    [
        ("length(pods[?ready]) == `1`", []),
        ("length(pods[?ready]) >= length(before.pods[?ready])", ["false"]),
        ("nodes[0].name != before.nodes[0].name", []),
        ("length(workloads[?kind=='Deployment' && ready < wanted]) == `0`", ["false"]),
        ("pods[?labels.app=='web'] | length(@) > `0`", []),
        ("contains(pods[].owner, 'Deployment/web')", []),
        ("pods[?!ready]", ["[]"]),
        ("missing", ["null"]),
        ("length(pods)", ["1"]),
        ("'true'", ['"true"']),
        ("`true`", []),
    ],
)
def test_only_true_is_met(expression: str, unmet: list[str]) -> None:
    assert answers(expression) == unmet


def test_what_cannot_be_evaluated_is_not_met_and_says_why() -> None:
    (answer,) = answers("length(missing) == `0`")
    assert answer.startswith('"an error: ') and "length()" in answer


def test_a_long_answer_is_cut() -> None:
    (answer,) = answers("nodes[].[name, version, since, created, instance_id, name, version, since, created, name]")
    assert answers("pods") and len(answers("pods")[0]) < 220 and answers("pods")[0].endswith(" ...")
    assert answer.startswith('[["n2"')


def test_an_objection_says_what_its_operator_wrote_or_what_was_answered() -> None:
    gates = parse_gates([gate("`false`", "a", "Ask the shop team."), gate("`false`", "b"), gate("`true`", "c")])
    assert objections(gates, BEFORE, AFTER) == [
        Objection("a", "`false`", "false", "Ask the shop team."),
        Objection("b", "`false`", "false", "`false` answers false instead of true"),
    ]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "has no expression"),
        ("length(pods", "is not JMESPath"),
        ("pods[?name='web']", "is not JMESPath"),
        ("lenght(pods) > `0`", r"calls lenght\(\), which JMESPath does not have"),
        ("nodes && sort_by(pods, &upper(name))", r"calls upper\(\)"),
        ("[{a: nothing(@)}]", r"calls nothing\(\)"),
        ("length(pods, nodes) > `0`", r"calls length\(\) with 2 arguments"),
        ("starts_with(taken)", r"calls starts_with\(\) with 1 arguments"),
    ],
)
def test_a_broken_expression_is_bad_input_and_named(expression: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        parse_gates([gate("`true`", "fine"), gate(expression, "broken")])
    assert "gate 'broken' (number 2)" in caught.value.message and caught.value.remedy


def test_functions_with_any_number_of_arguments_take_them() -> None:
    assert answers("merge(`{}`, `{}`, `{}`) == `{}` && not_null(missing, `true`)") == []


def test_two_gates_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two gates have the name 'mine'"):
        parse_gates([gate("`true`"), gate("`false`")])


def test_jmespath_is_needed_only_where_there_are_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jmespath", None)
    assert parse_gates([]) == () and objections((), BEFORE, AFTER) == []
    with pytest.raises(MissingLibrary, match="jmespath"):
        parse_gates([gate("`true`")])


def test_the_examples_of_the_documentation_work() -> None:
    tasks = yaml.safe_load(health_gate.EXAMPLES)
    written = [entry for task in tasks for entry in task["evergreen.eks.health_gate"].get("gates", [])]
    shop = [pod(f"checkout-{number}", owner="Deployment/checkout") for number in range(3)]
    well = picture(node(), *shop)
    assert len(written) == 4
    gates = parse_gates([{"msg": None, **entry} for entry in written])
    assert objections(gates, well, well) == []
    ill = picture(*(node(f"n{number}", cordoned=True, version="v1.32.9") for number in range(3)))
    assert [objection.name for objection in objections(gates, well, ill)] == [gate.name for gate in gates]
