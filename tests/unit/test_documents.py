# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents name exists: tests, playbooks, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    REPOSITORY / "README.md",
    *sorted(REPOSITORY.glob("docs/*.md")),
    *sorted(REPOSITORY.glob("examples/*/*.md")),
]
PLAYBOOK = re.compile(r"ansible-playbook evergreen\.eks\.(\w+)")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
DEFINITION = re.compile(r"def (test_\w+)\(")
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def document(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_links_lead_to_files(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_playbooks_that_are_named_exist(document: Path) -> None:
    named = PLAYBOOK.findall(document.read_text(encoding="utf-8"))

    assert [name for name in named if not (REPOSITORY / "playbooks" / f"{name}.yml").exists()] == []


def test_every_test_of_the_fault_table_exists_and_stands_there_under_its_own_name() -> None:
    named = TEST.findall((REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8"))
    files = [
        path for kind in ("integration", "unit/plugins") for path in (REPOSITORY / "tests" / kind).rglob("test_*.py")
    ]
    tests = {(path.name, name) for path in files for name in DEFINITION.findall(path.read_text(encoding="utf-8"))}

    assert len(named) > 30
    assert [one for one in named if one not in tests] == []
