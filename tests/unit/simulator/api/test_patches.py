# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three kinds of patch."""

from __future__ import annotations

import pytest

from simulator.kubernetes.errors import ApiError
from simulator.kubernetes.patches import JSON, apply_patch, json_patch, merge_patch, strategic_patch

NODE = {
    "metadata": {"name": "n", "labels": {"a": "1", "b": "2"}, "finalizers": ["x"]},
    "spec": {"taints": [{"key": "old", "effect": "NoSchedule"}]},
    "status": {
        "conditions": [{"type": "Ready", "status": "True", "reason": "Up"}, {"type": "Disk", "status": "False"}]
    },
}


def test_merge_null_removes_and_lists_are_replaced():
    patched = merge_patch(NODE, {"metadata": {"labels": {"a": None, "c": "3"}}, "spec": {"taints": []}})
    assert patched["metadata"]["labels"] == {"b": "2", "c": "3"}
    assert patched["spec"]["taints"] == []
    assert NODE["metadata"]["labels"] == {"a": "1", "b": "2"}


def test_strategic_merges_conditions_by_their_type():
    patched = strategic_patch(NODE, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    assert patched["status"]["conditions"] == [
        {"type": "Ready", "status": "False", "reason": "Up"},
        {"type": "Disk", "status": "False"},
    ]


def test_strategic_replaces_taints_since_they_have_no_merge_key():
    taint = {"key": "new", "effect": "NoExecute"}
    assert strategic_patch(NODE, {"spec": {"taints": [taint]}})["spec"]["taints"] == [taint]


def test_strategic_directives():
    gone = strategic_patch(NODE, {"status": {"conditions": [{"type": "Disk", "$patch": "delete"}]}})
    assert [condition["type"] for condition in gone["status"]["conditions"]] == ["Ready"]
    assert strategic_patch(NODE, {"metadata": {"finalizers": ["y"]}})["metadata"]["finalizers"] == ["x", "y"]
    removed = strategic_patch(NODE, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}})
    assert removed["metadata"]["finalizers"] == []
    replaced = strategic_patch(NODE, {"metadata": {"labels": {"$patch": "replace", "z": "0"}}})
    assert replaced["metadata"]["labels"] == {"z": "0"}


def test_json_patch_with_escapes_positions_and_moves():
    operations = [
        {"op": "test", "path": "/spec/taints/0/key", "value": "old"},
        {"op": "add", "path": "/metadata/labels/example.com~1x", "value": "y"},
        {"op": "add", "path": "/spec/taints/-", "value": {"key": "last"}},
        {"op": "add", "path": "/spec/taints/0", "value": {"key": "first"}},
        {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/moved"},
        {"op": "remove", "path": "/metadata/labels/b"},
    ]
    patched = json_patch(NODE, operations)
    assert [taint["key"] for taint in patched["spec"]["taints"]] == ["first", "old", "last"]
    assert patched["metadata"]["labels"] == {"example.com/x": "y", "moved": "1"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/name", "value": "other"},
        {"op": "remove", "path": "/metadata/none"},
        {"op": "replace", "path": "/spec/none", "value": 1},
        {"op": "add", "path": "/spec/none/deeper", "value": 1},
    ],
)
def test_json_patch_that_does_not_fit_is_422(operation):
    with pytest.raises(ApiError) as refused:
        json_patch(NODE, [operation])
    assert refused.value.code == 422


@pytest.mark.parametrize(("kind", "code"), [("application/apply-patch+yaml", 415), (JSON, 400)])
def test_patches_of_the_wrong_kind(kind, code):
    with pytest.raises(ApiError) as refused:
        apply_patch(kind, NODE, {})
    assert refused.value.code == code
