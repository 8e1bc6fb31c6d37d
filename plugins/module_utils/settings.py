# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the playbooks (C(eks_*)) and of their roles: read, checked and typed, without any I/O.

C(-e name=value) and AWX surveys deliver text, so every value may come as text: a list as C(a,b) or JSON, a dict as
JSON, and an empty text means that nothing was given.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Optional
from urllib.parse import quote

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.evergreen.eks.plugins.module_utils.drain.completion import THEN, Completions
from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import (
    normal_step,
    read_steps,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.order import FORMS as ORDER_FORMS
from ansible_collections.evergreen.eks.plugins.module_utils.drain.order import parse_order
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import parse_selector
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_duration
from ansible_collections.evergreen.eks.plugins.module_utils.plan import (
    SELECT_FORMS,
    parse_amount,
    parse_selection,
)
from ansible_collections.evergreen.eks.plugins.module_utils.store import refuse_lost_state
from ansible_collections.evergreen.eks.plugins.module_utils.user_gates import parse_gates
from ansible_collections.evergreen.eks.plugins.module_utils.variables import (
    EVERY_ROLE,
    PLAYBOOK_PREFIX,
    PLAYBOOK_VARIABLES,
    ROLE_PREFIX,
    ROLE_VARIABLES,
    SHARED,
    UPGRADE_ROLES,
    UPGRADE_VARIABLES,
    Variable,
)

ALL_GROUPS = "all"
ALL_ADDONS = "all"


@dataclass(frozen=True)
class Surroundings:
    """What only the controller knows."""

    working_directory: str = ""  # where the playbook was started: relative folders are meant from there
    forks: int = 0  # how many hosts Ansible works on at a time; 0 = unknown
    awx_job_id: str = ""


@dataclass(frozen=True)
class Request:
    """What the variables of a playbook ask for. C(own) holds, per named group, the values of its own entry."""

    cluster_name: str
    parallel_groups: int
    forks: int  # hosts that Ansible works on at a time; 0 = unknown
    common: Mapping[str, Any]  # every variable of the rollout but asg_name, and of the upgrade, typed
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    every_group: bool = False

    @property
    def strategy(self) -> str:
        """The strategy of the play: by default every task announces itself before its progress is shown.

        Under linear, parallel groups would wait for each other's waves.
        """
        return "linear" if self.parallel_groups == 1 else "host_pinned"

    @property
    def serial(self) -> int:
        """How many groups make a batch of the play; 0 is all: host_pinned works on as many hosts as there are forks."""
        return 0 if 1 < self.parallel_groups == self.forks else self.parallel_groups

    def role_variables(self, asg_name: str) -> dict[str, Any]:
        """The typed variables of the role for one group: its own entry beats what was given for all groups."""
        values = {**self.common, **self.own.get(asg_name, {}), "asg_name": asg_name}
        if parse_amount(values["max_surge"], "")[0] == 0 and parse_amount(values["max_unavailable"], "")[0] == 0:
            raise InvalidInput(
                f"max_surge and max_unavailable of node group {asg_name} are both 0, so no node could ever be replaced",
                remedy="Allow at least one extra (eks_max_surge) or one missing instance (eks_max_unavailable)",
            )
        read_steps(values["drain_on_timeout"], values["drain_escalation"])
        return {f"{ROLE_PREFIX}{variable.name}": values[variable.name] for variable in ROLE_VARIABLES}

    def upgrade_variables(self, asg_name: str) -> dict[str, Any]:
        """The typed variables of one group's part of an upgrade, beside the rollout: C(node_image_*), C(upgrade_*)."""
        values = {**self.common, **self.own.get(asg_name, {})}
        return {
            "node_image_asg_name": asg_name,
            **{
                target: values[variable.name]
                for variable in UPGRADE_VARIABLES
                if variable.per_group
                for target in variable.goes_to
            },
            **{f"node_image_{name}": values[name] for name in EVERY_ROLE},
            **{f"upgrade_{name}": self.common[name] for name in (*EVERY_ROLE, *SHARED)},
        }

    def cluster_variables(self, asg_names: Sequence[str]) -> dict[str, Any]:
        """The typed variables of the roles that upgrade the cluster around these node groups."""
        images = [{"name": name, "image": self.upgrade_variables(name)["node_image_image"]} for name in asg_names]
        return {
            **{f"{role}_{name}": self.common[name] for role in UPGRADE_ROLES for name in EVERY_ROLE},
            **{f"upgrade_{name}": self.common[name] for name in SHARED},
            **{
                target: self.common[variable.name]
                for variable in UPGRADE_VARIABLES
                if not variable.per_group
                for target in variable.goes_to
            },
            "upgrade_addons_between": without_versions(self.common["addons"]),
            "upgrade_node_groups": images,
            "verify_node_groups": list(asg_names),
        }


def read_request(variables: Mapping[str, Any], surroundings: Surroundings, needs: Sequence[str] = ()) -> Request:
    """What these C(eks_*) variables ask for. Raises InvalidInput, which names the variable and what it may be.

    C(needs): names, without prefix, of variables that this playbook cannot do without, beside those of all.
    """
    known = {f"{PLAYBOOK_PREFIX}{variable.name}": variable for variable in PLAYBOOK_VARIABLES}
    _refuse_unknown(variables, known, "variable")
    given = {known[name].name: value for name, value in variables.items() if not is_unset(value)}
    for name in ("cluster_name", "node_groups", *needs):
        if name not in given:
            raise InvalidInput(f"{PLAYBOOK_PREFIX}{name} is not set", remedy=_how_to_set(name))
    typed = {
        variable.name: (
            read_value(variable, given[variable.name], f"{PLAYBOOK_PREFIX}{variable.name}")
            if variable.name in given
            else _default(variable)
        )
        for variable in PLAYBOOK_VARIABLES
        if variable.kind not in ("groups", "options")
    }
    own = read_node_groups(given["node_groups"])
    _check_surroundings(typed, surroundings)
    for name in ("state_dir", "plan_file", "report_dir"):
        if typed[name]:
            typed[name] = os.path.normpath(os.path.join(surroundings.working_directory, typed[name]))
    return Request(
        cluster_name=typed["cluster_name"],
        parallel_groups=typed["parallel_groups"],
        forks=surroundings.forks,
        common={
            variable.name: typed[variable.name]
            for variable in PLAYBOOK_VARIABLES
            if variable.in_role or variable in UPGRADE_VARIABLES
        },
        own=own or {},
        every_group=own is None,
    )


def read_node_groups(value: Any) -> Optional[dict[str, dict[str, Any]]]:
    """The groups that C(eks_node_groups) names, in the order given, each with its own typed values; None = all."""
    label = f"{PLAYBOOK_PREFIX}node_groups"
    entries = _listed(value, label)
    if entries == [ALL_GROUPS]:
        return None
    groups: dict[str, dict[str, Any]] = {}
    for entry in entries:
        name, own = _read_entry(entry, label)
        if name in groups:
            raise InvalidInput(f"{label} names the group {name} twice", remedy="Name each group once")
        groups[name] = own
    if not groups:
        raise InvalidInput(f"{label} names no group", remedy=_how_to_set("node_groups"))
    return groups


def read_value(variable: Variable, value: Any, label: str) -> Any:
    """The value with the variable's type. Raises InvalidInput with the label, the value and what it may be."""
    readers = {
        "text": _text,
        "flag": _flag,
        "count": _count,
        "seconds": _seconds,
        "number": _number,
        "amount": _amount,
        "words": _words,
        "names": _names,
        "files": _files,
        "gates": _gates,
        "ignored": _ignored,
        "selection": _selection,
        "completion": _completion,
        "order": _order,
        "escalation": _escalation,
        "folder": _folder,
        "version": _version,
        "image": _image,
        "addons": _addons,
        "sidecars": _sidecars,
    }
    try:
        return readers[variable.kind](variable, value)
    except _Unfit as unfit:
        raise InvalidInput(f"{label} cannot be {_shown(value)}", remedy=f"Give {unfit}") from None


def aws_options(value: Any, region: Any, argument_spec: Mapping[str, Any]) -> dict[str, Any]:
    """The AWS connection options of C(eks_aws) and C(eks_region), by the modules' argument specification."""
    options = _options(value, argument_spec, f"{PLAYBOOK_PREFIX}aws")
    if is_unset(region):
        return options
    also = next((options[name] for name in ("region", "aws_region") if name in options), region)
    if also != region:
        raise InvalidInput(
            f"eks_region is {region}, but eks_aws names the region {also}", remedy="Give the region once, as eks_region"
        )
    return {**options, "region": region}


def kubernetes_options(value: Any, cluster_name: Any, argument_spec: Mapping[str, Any]) -> dict[str, Any]:
    """The Kubernetes connection options of C(eks_kubernetes) and C(eks_cluster_name)."""
    known = {name: option for name, option in argument_spec.items() if name != "cluster_name"}
    options = _options(value, known, f"{PLAYBOOK_PREFIX}kubernetes")
    return options if is_unset(cluster_name) else {**options, "cluster_name": cluster_name}


def host_name(asg_name: str) -> str:
    """A name for the group's host in the inventory: the group's own, percent-encoded where Ansible would misread it.

    add_host cuts a name at a colon, and names of Auto Scaling groups may hold spaces, slashes and brackets.
    """
    encoded = quote(asg_name, safe="")
    if encoded in ("all", "ungrouped", "localhost") or encoded.startswith(("-", ".", "~")):
        return f"%{ord(encoded[0]):02X}{encoded[1:]}"
    return encoded


def cluster_host_name(cluster: str, region: str) -> str:
    """A name for the cluster's host in the inventory, which no node group's host can have: of it C(@) is encoded."""
    return f"{cluster}@{region}"


def without_versions(addons: Any) -> Any:
    """The add-ons as they are wanted at versions in between: their own versions are meant for the end."""
    if addons == ALL_ADDONS:
        return addons
    return [
        {key: value for key, value in entry.items() if key != "version"} if isinstance(entry, Mapping) else entry
        for entry in addons
    ]


def is_unset(value: Any) -> bool:
    """An unanswered question of a survey arrives as an empty text."""
    return value is None or (isinstance(value, str) and not value.strip())


def some(names: Sequence[str], most: int = 10) -> str:
    """The names in one line, the rest as a number."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


# --- the parts -----------------------------------------------------------------------------------------------------


class _Unfit(Exception):
    """A value that a variable cannot have; its text says what would do."""


def _options(value: Any, argument_spec: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Connection options given as a dict or as its JSON; unset ones are left out.

    They keep the type that they were given with: modules convert them. Values are never shown, for they may be secret.
    """
    if is_unset(value):
        return {}
    options = _parsed(value) if isinstance(value, str) else value
    if not isinstance(options, Mapping):
        raise InvalidInput(
            f"{label} is not a dict of connection options",
            remedy='Give a dict, or its JSON such as {"profile": "production"}',
        )
    aliases = [alias for option in argument_spec.values() for alias in option.get("aliases", ())]
    _refuse_unknown(options, [*argument_spec, *aliases], f"option in {label}:")
    return {name: item for name, item in options.items() if not is_unset(item)}


def _read_entry(entry: Any, label: str) -> tuple[str, dict[str, Any]]:
    """(name, own values) of a group's name, or of C({name: ..., max_surge: ...})."""
    if isinstance(entry, str) and entry.strip():
        return entry.strip(), {}
    if not isinstance(entry, Mapping) or is_unset(entry.get("name")):
        raise InvalidInput(
            f"{label} holds {_shown(entry)}, which names no group",
            remedy="Give each group as its name, or as a dict with name and its own settings",
        )
    name = str(entry["name"]).strip()
    allowed = {one.name: one for one in (*ROLE_VARIABLES, *UPGRADE_VARIABLES) if one.per_group}
    _refuse_unknown(entry, ["name", *allowed], f"key of node group {name} in {label}:")
    own = {
        key: read_value(allowed[key], value, f"{key} of node group {name}")
        for key, value in entry.items()
        if key != "name" and not is_unset(value)
    }
    return name, own


def _check_surroundings(typed: Mapping[str, Any], surroundings: Surroundings) -> None:
    refuse_lost_state(surroundings.awx_job_id, typed["state_store"], typed["state_dir"])
    if typed["state_store"] == "s3" and not typed["state_bucket"]:
        raise InvalidInput("eks_state_store is s3, but no bucket is named", remedy="Name it with eks_state_bucket")
    if 0 < surroundings.forks < typed["parallel_groups"]:
        raise InvalidInput(
            f"eks_parallel_groups is {typed['parallel_groups']}, but Ansible has {surroundings.forks} forks",
            remedy=f"Start with --forks {typed['parallel_groups']}, or lower eks_parallel_groups",
        )


def _refuse_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    allowed = sorted(known)
    unknown = sorted(str(name) for name in given if name not in allowed)
    if unknown:
        similar = get_close_matches(unknown[0], allowed, n=1, cutoff=0.5)
        hint = f"Did you mean {similar[0]}? " if similar else ""
        raise InvalidInput(f"Unknown {what} {', '.join(unknown)}", remedy=f"{hint}Known are {', '.join(allowed)}")


def _how_to_set(name: str) -> str:
    if name == "node_groups":
        return "Name the Auto Scaling groups (-e eks_node_groups=first,second), or all of the cluster with the word all"
    if name == "version":
        return "Name the Kubernetes version that the cluster is to have in the end, for example -e eks_version=1.33"
    return "Name the EKS cluster, for example -e eks_cluster_name=production"


def _default(variable: Variable) -> Any:
    return list(variable.default) if isinstance(variable.default, tuple) else variable.default


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _listed(value: Any, label: str) -> list[Any]:
    """A list given as such, as JSON or as a,b."""
    if isinstance(value, str) and not value.strip().startswith(("[", "{")):
        return [item.strip() for item in value.split(",") if item.strip()]
    items = _parsed(value) if isinstance(value, str) else value
    if isinstance(items, (list, tuple)):
        return list(items)
    raise InvalidInput(
        f"{label} cannot be {_shown(value)}", remedy='Give names (first,second), or JSON such as ["first", "second"]'
    )


def _text(variable: Variable, value: Any) -> str:
    text = str(value).strip()
    if isinstance(value, (Mapping, list, tuple)):
        raise _Unfit("one name")
    if variable.choices and text not in variable.choices:
        raise _Unfit(" or ".join(variable.choices))
    return text


def _flag(_variable: Variable, value: Any) -> bool:
    try:
        return boolean(value)
    except TypeError:
        raise _Unfit("true or false") from None


def _count(variable: Variable, value: Any) -> int:
    whole = re.fullmatch(r"[+-]?\d+", str(value).strip())
    if not whole or int(whole[0]) < variable.minimum:
        raise _Unfit(f"a whole number of at least {variable.minimum}")
    return int(whole[0])


def _seconds(variable: Variable, value: Any) -> int:
    try:
        seconds = parse_duration(value)
    except InvalidInput:
        raise _Unfit("a number of seconds, or a duration such as 90s, 15m or 1h30m") from None
    if seconds < variable.minimum:
        raise _Unfit(f"at least {variable.minimum:g} seconds")
    return seconds


def _number(variable: Variable, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not variable.minimum <= number < float("inf"):
        raise _Unfit(f"a number of at least {variable.minimum:g}")
    return number


def _amount(_variable: Variable, value: Any) -> int | str:
    try:
        number, percent = parse_amount(value, "")
    except InvalidInput:
        raise _Unfit("a number of instances such as 2, or a percentage from 0% to 100%") from None
    return f"{number}%" if percent else number


def _words(variable: Variable, value: Any) -> list[str]:
    expected = f"a list of {', '.join(variable.choices)}"
    try:
        words = [str(word).strip() for word in _listed(value, variable.name)]
    except InvalidInput:
        raise _Unfit(expected) from None
    if not set(words) <= set(variable.choices):
        raise _Unfit(expected)
    return words


def _names(variable: Variable, value: Any, expected: str = "a list of names") -> list[str]:
    try:
        names = _listed(value, variable.name)
    except InvalidInput:
        raise _Unfit(expected) from None
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise _Unfit(expected)
    return [name.strip() for name in names]


def _files(variable: Variable, value: Any) -> list[str]:
    return [os.path.expanduser(name) for name in _names(variable, value, "a list of files on the controller")]


def _gates(variable: Variable, value: Any) -> list[dict[str, str]]:
    entries = _entries(variable, value, needed=("name", "expression"), others=("msg",))
    parse_gates(entries)
    return entries


def _ignored(variable: Variable, value: Any) -> list[dict[str, str]]:
    entries = _entries(variable, value, needed=(), others=("namespace", "selector"))
    for entry in entries:
        parse_selector(entry.get("selector", ""))
    return entries


def _entries(variable: Variable, value: Any, needed: tuple[str, ...], others: tuple[str, ...]) -> list[dict[str, str]]:
    """A list of dicts of text, none empty, of which each has all keys that are needed."""
    keys = (*needed, *others)
    expected = f"a list of dicts with {' and '.join(needed) or ' or '.join(others)}, or its JSON"
    try:
        entries = _listed(value, variable.name)
    except InvalidInput:
        raise _Unfit(expected) from None
    for entry in entries:
        if not isinstance(entry, Mapping) or not entry or not set(needed) <= set(entry) <= set(keys):
            raise _Unfit(expected)
        if not all(isinstance(text, str) and text.strip() for text in entry.values()):
            raise _Unfit(expected)
    return [{key: text.strip() for key, text in entry.items()} for entry in entries]


def _selection(_variable: Variable, value: Any) -> Any:
    raw = _parsed(value) if isinstance(value, str) and value.strip().startswith("{") else value
    if isinstance(raw, str):
        raw = raw.strip()
    if isinstance(raw, Mapping) and isinstance(raw.get("instances"), str):
        raw = {**raw, "instances": _listed(raw["instances"], "instances")}
    try:
        parse_selection(raw)
    except InvalidInput:
        raise _Unfit(SELECT_FORMS) from None
    return raw


def _completion(_variable: Variable, value: Any) -> dict[str, str]:
    given = _parsed(value) if isinstance(value, str) else value
    known = ("selector", "timeout", "then")
    expected = 'a dict, or its JSON, such as {"selector": "app=report", "timeout": "12h", "then": "evict"}'
    if not isinstance(given, Mapping) or not set(given) <= set(known) or given.get("then", "fail") not in THEN:
        raise _Unfit(expected)
    try:
        Completions.of(given)
    except InvalidInput:
        raise _Unfit(expected) from None
    return {name: str(given[name]) for name in known if not is_unset(given.get(name))}


def _order(_variable: Variable, value: Any) -> Any:
    raw = value.strip() if isinstance(value, str) else value
    try:
        parse_order(raw)
    except InvalidInput:
        raise _Unfit(ORDER_FORMS) from None
    return _parsed(raw) if isinstance(raw, str) and raw.startswith("[") else raw


def _escalation(_variable: Variable, value: Any) -> list[dict[str, Any]]:
    """The steps as the role's argument specification wants them; what they mean is checked with on_timeout."""
    steps = _parsed(value) if isinstance(value, str) else value
    expected = "a list of steps such as {after: 30m, action: delete, selector: tier=batch, budgets: keep}"
    try:
        return [normal_step(step) for step in steps]
    except InvalidInput as error:
        raise _Unfit(f"{expected}; {error}") from None
    except (TypeError, AttributeError):
        raise _Unfit(expected) from None


def _folder(variable: Variable, value: Any) -> str:
    return os.path.expanduser(_text(variable, value))


def _version(_variable: Variable, value: Any) -> str:
    """C(1.33). A number of YAML is refused where a zero may have been lost: C(1.30) without quotes is 1.3."""
    text = str(value).strip().removeprefix("v")
    if not re.fullmatch(r"1\.\d{2,3}", text):
        raise _Unfit("a Kubernetes version such as 1.33, in quotes where it stands in YAML")
    return text


def _image(_variable: Variable, value: Any) -> str:
    text = str(value).strip()
    if text not in ("keep", "recommended") and not re.fullmatch(r"ami-[0-9a-f]{8,17}", text):
        raise _Unfit("keep, recommended or the id of an image such as ami-0123456789abcdef0")
    return text


def _addons(variable: Variable, value: Any) -> Any:
    """C(all), or a list of names and of dicts with C(name); what else a dict may say is checked by its module."""
    expected = "all, a list of names of add-ons, or of dicts such as {name: coredns, version: latest}, or its JSON"
    try:
        entries = _listed(value, variable.name)
    except InvalidInput:
        raise _Unfit(expected) from None
    if entries == [ALL_ADDONS]:
        return ALL_ADDONS
    for entry in entries:
        name = entry.get("name") if isinstance(entry, Mapping) else entry
        if not isinstance(name, str) or not name.strip():
            raise _Unfit(expected)
    return entries


def _sidecars(variable: Variable, value: Any) -> list[dict[str, str]]:
    entries = _entries(variable, value, needed=("annotation", "container"), others=("value",))
    return [{"value": "true", **entry} for entry in entries]
