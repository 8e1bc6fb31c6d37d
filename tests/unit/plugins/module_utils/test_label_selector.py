# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import parse_selector

LABELS = {"app": "web", "app.kubernetes.io/part-of": "shop", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web", True),
        ("app=api", False),
        ("app!=api", True),
        ("app!=web", False),
        ("missing!=web", True),
        ("missing=web", False),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("!app", False),
        ("empty=", True),
        ("app=", False),
        ("app in (api, web)", True),
        ("app in (api)", False),
        ("app notin (api,db)", True),
        ("app notin (web)", False),
        ("missing notin (web)", True),
        ("missing in (web)", False),
        ("app.kubernetes.io/part-of=shop,app in (web,api),!canary", True),
        ("app.kubernetes.io/part-of=shop,app in (db,api),!canary", False),
    ],
)
def test_a_selector_is_understood_as_kubectl_does(text: str, matches: bool) -> None:
    assert parse_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize("text", ["app=web,", "=web", "app in web", "app>1", "app=a b", "app=web app=api", "app in (a"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be understood"):
        parse_selector(text)
