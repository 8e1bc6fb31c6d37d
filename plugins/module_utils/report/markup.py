# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text in HTML. Pure."""

from __future__ import annotations

from html import escape
from typing import Optional

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import without_secrets


def text(value: object) -> str:
    """Fit to stand anywhere in the page: no markup, no secret."""
    return escape(without_secrets(str(value)))


def cell(value: object, head: str = "", kind: str = "", small: object = "") -> str:
    """A cell of a table; C(head) names it where the table is shown as cards, on a telephone."""
    attributes = (f' class="{kind}"' if kind else "") + (f' data-h="{head}"' if head else "")
    below = f"<small>{text(small)}</small>" if small not in ("", None) else ""
    return f"<td{attributes}>{text(value)}{below}</td>"


def table(heads: list[str], rows: list[str]) -> str:
    """Rows of cells, each between C(tr)."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def section(title: str, content: str, note: str = "", name: str = "") -> str:
    """A part of the page; nothing where it has nothing to say."""
    if not content:
        return ""
    below = f'<p class="note">{text(note)}</p>' if note else ""
    return f'<section{f" id={name}" if name else ""}><h2>{text(title)}</h2>{below}{content}</section>'


def definition(kind: str, name: str, value: Optional[object], small: str = "") -> str:
    """A fact, in a C(dl); nothing where there is no value."""
    if value in ("", None):
        return ""
    below = f"<small>{text(small)}</small>" if small else ""
    return f'<div{f" class={kind}" if kind else ""}><dt>{text(name)}</dt><dd>{text(value)}{below}</dd></div>'
