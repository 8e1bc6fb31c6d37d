# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line that started this run, fit to be printed and typed again: secrets are left out."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible.parsing.splitter import parse_kv

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import SECRET_NAME, is_secret_name
from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import without_secrets as without_tokens

EXTRA_VARS = "--extra-vars"
# -e, also behind options without a value (-ve, -vCe), with its value behind it or in the next word. Options that take
# a value end such a cluster: their letters are those of ansible-playbook, ansible and ansible-console.
SHORT_FORM = re.compile(r"-(?P<others>[A-Za-z]*?)e=?(?P<value>.*)", re.DOTALL)
WITH_VALUE = frozenset("aBcfilmMPtTu")


def printable_command(arguments: Iterable[str]) -> str:
    """The shell command of these arguments (as in C(sys.argv)), without the secrets in its extra variables."""
    program, *rest = arguments
    words = [_program_name(program)]
    pending = iter(rest)
    for word in pending:
        words += _printable(word, pending)
    return " ".join(shlex.quote(without_tokens(word)) for word in words)


def _program_name(program: str) -> str:
    """C(ansible-playbook), also where Python was asked to run the module of that program."""
    name = os.path.basename(program)
    return name if name.startswith("ansible") and not name.endswith(".py") else "ansible-playbook"


def _printable(word: str, following: Iterator[str]) -> list[str]:
    """The word, or its option and value without secrets where it gives extra variables in any of argparse's forms.

    Without a value the next of ``following`` is taken. An option with nothing but secrets is left out.
    """
    name, given, value = word.partition("=")
    if len(name) > len("--") and EXTRA_VARS.startswith(name):  # argparse takes every unambiguous beginning
        return _option(EXTRA_VARS, value if given else next(following, ""))
    found = SHORT_FORM.fullmatch(word)
    if found is None or WITH_VALUE & set(found["others"]):
        return [word]
    others = [f"-{found['others']}"] if found["others"] else []
    return others + _option("-e", found["value"] or next(following, ""))


def _option(name: str, value: str) -> list[str]:
    kept = without_secrets(value)
    return [] if kept is None else [name, kept]


def without_secrets(text: str) -> str | None:
    """The value of C(--extra-vars) without its secrets; None when nothing else was in it."""
    if text.startswith("@") or not SECRET_NAME.search(text):
        return text
    if text.lstrip().startswith(("{", "[")):
        parsed = _json(text)
        kept = _pruned(parsed) if isinstance(parsed, Mapping) else {}
        return json.dumps(kept) if kept else None
    given = parse_kv(text)
    given.pop("_raw_params", None)  # words that are no name=value, which Ansible ignores
    kept = {name: _pruned_text(value) for name, value in given.items() if not is_secret_name(name)}
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in kept.items()) or None


def _pruned(value: Any) -> Any:
    """The value without every entry, at any depth, whose name says that it is secret."""
    if isinstance(value, Mapping):
        return {name: _pruned(item) for name, item in value.items() if not is_secret_name(name)}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return _pruned_text(value) if isinstance(value, str) else value


def _pruned_text(text: str) -> str:
    """A dict may be given as JSON text; other text that seems to hold a named secret is not printed at all."""
    if not SECRET_NAME.search(text):
        return text
    parsed = _json(text)
    return json.dumps(_pruned(parsed)) if isinstance(parsed, (Mapping, list)) else ""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
