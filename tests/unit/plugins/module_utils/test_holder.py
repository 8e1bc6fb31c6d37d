# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a run is, and when it is proved that it has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.process import Process
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Lifeline

on_linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="only Linux tells enough of a process")


def holder_of(pid: int) -> Holder:
    return Holder.here(Lifeline(Process.of(pid)), operator="anna", since="2026-11-21T01:02:03Z", job="17")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@on_linux
def test_a_label_says_enough_to_prove_that_a_run_has_ended(sleeper: subprocess.Popen[bytes]) -> None:
    other, here = holder_of(sleeper.pid), holder_of(os.getpid())
    read = Holder.parse(other.label)
    assert read and read.label == other.label and len(other.label) < 120
    assert read.gone(here) is False
    sleeper.kill()
    sleeper.wait()
    assert read.gone(here) is True


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"host": "another"},
        {"boot": "0ther"},
        {"namespace": "1"},
        {"boot": "", "namespace": "", "started": ""},  # a system that does not tell
    ],
)
def test_of_a_run_elsewhere_nothing_is_proved(elsewhere: dict[str, str]) -> None:
    """A boot id that differs is no proof of a restart: two machines may have one name."""
    here = holder_of(os.getpid())
    ended = replace(here, pid=2**22 + 1, **elsewhere)
    assert ended.gone(here) is None
    assert ended.gone(replace(here, **elsewhere)) in (None, True)


@pytest.mark.parametrize("text", ["", "anna@laptop", "a/b/c/d/e", "a/b/c/1"])
def test_other_words_are_no_label(text: str) -> None:
    assert Holder.parse(text) is None


def test_a_holder_is_told_from_json_and_back() -> None:
    holder = holder_of(os.getpid())
    assert Holder.of(holder.as_dict()) == holder
    assert Holder.of({**holder.as_dict(), "of_a_later_release": 1}) == holder


@pytest.mark.parametrize("words", [None, [], {}, {"host": "a"}, {**holder_of(1).as_dict(), "pid": "1"}])
def test_anything_else_is_no_holder(words: object) -> None:
    assert Holder.of(words) is None


def test_a_person_reads_who_it_is() -> None:
    holder = replace(holder_of(4711), host="laptop")
    assert str(holder) == ("anna on laptop (AWX job 17, process 4711, since 2026-11-21T01:02:03Z)")
    assert str(replace(holder, operator="", job="", since="")) == "laptop (process 4711)"
