# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may be written for others to read, in journal, report, plan file, Events and printed commands: no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

MASK = "********"
# Credentials in an address: without them it can still be typed again.
URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s:'\"]*:[^/@\s'\"]+@")
# Keys of AWS, tokens of EKS, tokens of service accounts and identity providers, whatever a header bears.
TOKENS = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|k8s-aws-v1\.[\w.=-]+|\beyJ[\w-]{8,}\.[\w.-]+|(?<=Bearer )[^\s'\"]+")
# Names of variables, options and entries of a kubeconfig that say that their value is secret.
SECRET_NAME = re.compile(
    r"secret|token|passw|passphrase|(api|access|private|client)[-_]?key|key[-_]?data|basic_auth|_pass\b|credential",
    re.IGNORECASE,
)


@lru_cache(maxsize=16384)  # names and words come again and again
def without_secrets(text: str) -> str:
    """The text without what is known by its form to be a secret."""
    return TOKENS.sub(MASK, URL_CREDENTIALS.sub("", text))


def cleaned(value: Any) -> Any:
    """The value without secrets, at any depth. Names of entries become text."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {without_secrets(str(name)): cleaned(item) for name, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, (list, tuple)) else value


def is_secret_name(name: object) -> bool:
    return bool(SECRET_NAME.search(str(name)))


def named_secrets(value: Any) -> Iterator[str]:
    """The texts in a nested value that stand, at any depth, below a secret name: those of an inline kubeconfig.

    In a list of C(name) and C(value), as an exec plugin's environment is, the name counts.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            secret = is_secret_name(name) or (name == "value" and is_secret_name(value.get("name", "")))
            yield from _texts(item) if secret else named_secrets(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from named_secrets(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and value:
        yield value
