# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors that name the object, the cause and the remedy. Only C(main()) of a module turns them into a failure."""

from __future__ import annotations

from typing import Any


def sentence(text: str) -> str:
    """The text with exactly one full stop at its end; an empty text stays empty."""
    text = text.strip().rstrip(".")
    return f"{text}." if text else ""


def counted(number: int, thing: str) -> str:
    """`1 instance`, `2 instances`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


class EvergreenError(Exception):
    """What went wrong, in words for a person (message, remedy) and as data for a playbook (reason, details).

    ``message`` names the object and the cause, ``remedy`` what to do about it. ``reason`` is a word from a fixed
    list that a playbook may test; the texts may change at any time. ``details`` end up in the module's result.
    """

    default_reason = "failed"

    def __init__(self, message: str, *, reason: str | None = None, remedy: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        return " ".join(part for part in (sentence(self.message), sentence(self.remedy)) if part)

    def as_failure(self) -> dict[str, Any]:
        """The arguments of C(fail_json): ``msg``, ``reason`` and the details."""
        return {**self.details, "msg": str(self), "reason": self.reason}


class InvalidInput(EvergreenError):
    """An option that cannot be meant; nothing has been changed."""

    default_reason = "invalid_input"


class WaitTimeout(EvergreenError):
    """A wait that ran out of time; ``last`` is what the last look saw."""

    default_reason = "timeout"

    def __init__(self, message: str, *, last: Any = None, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.last = last


class ParentGone(EvergreenError):
    """The playbook that started this module has ended; nothing more may be changed."""

    default_reason = "parent_gone"


class MissingLibrary(EvergreenError):
    """A Python library that the module needs cannot be imported."""

    default_reason = "missing_library"

    def __init__(self, library: str, interpreter: str) -> None:
        super().__init__(
            f"The Python library {library} cannot be imported by {interpreter}",
            remedy=f"Install it there ({interpreter} -m pip install {library}), "
            "or set ansible_python_interpreter to an interpreter that has it",
        )
