# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret is written where others read it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import (
    MASK,
    cleaned,
    named_secrets,
    without_secrets,
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key AKIAIOSFODNN7EXAMPLE was refused", f"key {MASK} was refused"),
        ("token k8s-aws-v1.aHR0cHM6Ly9zdHM_x-y=", f"token {MASK}"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {MASK}"),
        ("'Authorization': 'Bearer abc.def'", f"'Authorization': 'Bearer {MASK}'"),
        ("https://ann:geheim@proxy:3128 refused", "https://proxy:3128 refused"),
        ("a token eyJhbGciOiJSUzI1NiJ9.eyJzdWIi.sig", f"a token {MASK}"),
        ("i-0123456789abcdef0 in eu-central-1a, 12:03", "i-0123456789abcdef0 in eu-central-1a, 12:03"),
    ],
)
def test_what_is_a_secret_by_its_form_is_cut_out_at_any_depth(text: str, clean: str) -> None:
    assert without_secrets(text) == clean
    assert cleaned({text: [{"a": (text, 1, None)}]}) == {clean: [{"a": [clean, 1, None]}]}


@pytest.mark.parametrize(
    ("user", "secrets"),
    [
        ({"client-key-data": "c2VjcmV0", "client-certificate-data": "cHVibGlj"}, ["c2VjcmV0"]),
        ({"token": "geheim"}, ["geheim"]),
        ({"username": "ann", "password": "geheim"}, ["geheim"]),
        ({"auth-provider": {"name": "oidc", "config": {"id-token": "a", "refresh-token": "b"}}}, ["a", "b"]),
        ({"exec": {"env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "geheim"}]}}, ["geheim"]),
        ({"exec": {"command": "aws", "env": [{"name": "AWS_PROFILE", "value": "prod"}]}}, []),
        ({"token": ""}, []),
    ],
)
def test_an_inline_kubeconfig_says_by_its_names_what_is_secret(user: dict[str, Any], secrets: list[str]) -> None:
    assert list(named_secrets({"kind": "Config", "users": [{"name": "u", "user": user}]})) == secrets


@pytest.mark.parametrize("value", [None, "", "~/.kube/config"])
def test_the_path_of_a_kubeconfig_is_none(value: str | None) -> None:
    assert list(named_secrets(value)) == []
