# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must agree between files: the table of variables, the role, the action groups, the modules and their actions."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.evergreen.eks.plugins.module_utils.variables import (
    EVERY_ROLE,
    ROLE_VARIABLES,
    SHARED,
    UPGRADE_ROLES,
    UPGRADE_VARIABLES,
)
from ansible_collections.evergreen.eks.plugins.plugin_utils.progress_action import ProgressAction

REPOSITORY = Path(__file__).resolve().parents[2]
PLUGINS = "ansible_collections.evergreen.eks.plugins"
MODULES = sorted(path.stem for path in (REPOSITORY / "plugins" / "modules").glob("*.py"))
ROLES = sorted(path.parts[-3] for path in (REPOSITORY / "roles").glob("*/meta/argument_specs.yml"))
FAMILIES = {"aws": "evergreen.eks._aws", "k8s": "evergreen.eks._kubernetes"}


def load(path: str) -> Any:
    return yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))


def documentation(module: str) -> dict[str, Any]:
    return yaml.safe_load(importlib.import_module(f"{PLUGINS}.modules.{module}").DOCUMENTATION)


def role_options() -> dict[str, Any]:
    return load("roles/rollout/meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def test_the_role_has_exactly_the_variables_of_the_table() -> None:
    assert sorted(role_options()) == sorted(f"rollout_{variable.name}" for variable in ROLE_VARIABLES)


@pytest.mark.parametrize("variable", ROLE_VARIABLES, ids=lambda variable: variable.name)
def test_the_role_and_the_table_have_the_same_defaults_and_choices(variable: Any) -> None:
    name = f"rollout_{variable.name}"
    option = role_options()[name]
    if variable.default is None:
        assert option.get("required")
        assert name not in load("roles/rollout/defaults/main.yml")
        return

    default = list(variable.default) if isinstance(variable.default, tuple) else variable.default
    assert load("roles/rollout/defaults/main.yml")[name] == default
    assert option["default"] == default
    assert "required" not in option
    if variable.kind == "text":
        assert option.get("choices", []) == list(variable.choices)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_the_defaults_that_it_documents_and_no_others(role: str) -> None:
    options = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    documented = {name: option["default"] for name, option in options.items() if not option.get("required")}

    assert load(f"roles/{role}/defaults/main.yml") == documented
    assert all(name.startswith(f"{role}_") for name in options)


def given_to(role: str) -> dict[str, Any]:
    """The variables of a role that the playbooks set from the table, with their defaults."""
    by_name = {variable.name: variable for variable in (*ROLE_VARIABLES, *UPGRADE_VARIABLES)}
    shared = [f"{role}_{name}" for name in (*EVERY_ROLE, *(SHARED if role == "upgrade" else ()))]
    found = {name: by_name[name.removeprefix(f"{role}_")].default for name in shared}
    own = [(target, one.default) for one in UPGRADE_VARIABLES for target in one.goes_to]
    return {**found, **{target: default for target, default in own if target.startswith(f"{role}_")}}


@pytest.mark.parametrize("role", [*UPGRADE_ROLES, "node_image"])
def test_what_the_playbook_hands_to_the_roles_of_an_upgrade_is_theirs_with_the_same_defaults(role: str) -> None:
    options = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(f"roles/{role}/defaults/main.yml")
    for name, default in given_to(role).items():
        assert name in options
        if default is not None:
            assert defaults.get(name) == (list(default) if isinstance(default, tuple) else default), name


@pytest.mark.parametrize("role", [*UPGRADE_ROLES, "node_image"])
def test_a_role_of_an_upgrade_says_of_each_variable_the_default_that_it_has(role: str) -> None:
    options = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    said = {name: option["default"] for name, option in options.items() if not option.get("required")}
    assert said == load(f"roles/{role}/defaults/main.yml")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_in_the_action_groups_of_the_options_that_it_takes(module: str) -> None:
    fragments = documentation(module)["extends_documentation_fragment"]
    groups = load("meta/runtime.yml")["action_groups"]

    assert {group for group, members in groups.items() if module in members} == {
        group for group, fragment in FAMILIES.items() if fragment in fragments
    }


@pytest.mark.parametrize("group", FAMILIES)
def test_every_member_of_an_action_group_exists(group: str) -> None:
    members = load("meta/runtime.yml")["action_groups"][group]

    assert set(members) <= set(MODULES)
    assert members == sorted(members)


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("_info")])
def test_a_module_that_works_for_long_or_changes_something_shows_its_progress(module: str) -> None:
    action = importlib.import_module(f"{PLUGINS}.action.{module}")

    assert issubclass(action.ActionModule, ProgressAction)
    assert "evergreen.eks._waiting" in documentation(module)["extends_documentation_fragment"]


def test_run_time_requirements_are_lower_bounds_and_the_same_everywhere() -> None:
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()

    assert lines == (REPOSITORY / "meta" / "ee-requirements.txt").read_text(encoding="utf-8").splitlines()
    assert all(">=" in line and "==" not in line for line in lines)
