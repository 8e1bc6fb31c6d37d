# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line that started this run, fit to be printed and typed again: secrets are left out."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.parsing.splitter import parse_kv

SECRET_NAME = re.compile(
    r"secret|token|passw|passphrase|api_?key|access_?key|basic_auth|_pass\b|credential", re.IGNORECASE
)
URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s'\"]+:[^/@\s'\"]+@")
EXTRA_VARS = ("-e", "--extra-vars")


def printable_command(arguments: Iterable[str]) -> str:
    """The shell command of these arguments (as in C(sys.argv)), without the secrets in its extra variables."""
    program, *rest = arguments
    words = [_program_name(program)]
    pending = iter(rest)
    for word in pending:
        option, value = _extra_vars(word, pending)
        if option is None:
            words.append(word)
        elif value is not None:
            words += [option, value]
    return " ".join(shlex.quote(URL_CREDENTIALS.sub("", word)) for word in words)


def _program_name(program: str) -> str:
    """C(ansible-playbook), also where Python was asked to run the module of that program."""
    name = os.path.basename(program)
    return name if name.startswith("ansible") and not name.endswith(".py") else "ansible-playbook"


def _extra_vars(word: str, following: Iterable[str]) -> tuple[str | None, str | None]:
    """(option, its value without secrets) when the word gives extra variables in any of the forms of argparse.

    (None, None) when it does not; the value is None when only secrets were in it.
    """
    if word in EXTRA_VARS:
        return word, without_secrets(next(iter(following), ""))
    if word.startswith("--extra-vars="):
        return "--extra-vars", without_secrets(word.partition("=")[2])
    if word.startswith("-e") and not word.startswith("--"):
        return "-e", without_secrets(word[2:])
    return None, None


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
    kept = {name: _pruned_text(value) for name, value in given.items() if not _is_secret(name)}
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in kept.items()) or None


def _is_secret(name: object) -> bool:
    return bool(SECRET_NAME.search(str(name)))


def _pruned(value: Any) -> Any:
    """The value without every entry, at any depth, whose name says that it is secret."""
    if isinstance(value, Mapping):
        return {name: _pruned(item) for name, item in value.items() if not _is_secret(name)}
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
