# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints as files: what only files have. What every store does stands in test_stores."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from unit.checkpoints import a_checkpoint

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import CheckpointError
from ansible_collections.evergreen.eks.plugins.module_utils.store import CheckpointConflict, Place, StoreError
from ansible_collections.evergreen.eks.plugins.module_utils.store_file import FileStore, find_checkpoint


def store(folder: Path, group: str = "shared") -> FileStore:
    return FileStore(str(folder), Place("123456789012", "eu-central-1", "prod", group))


def test_a_file_is_private_and_keyed_by_all_that_names_a_group(tmp_path):
    place = store(tmp_path, "team:a/b c")
    place.save(a_checkpoint())
    assert place.place == f"{tmp_path}/123456789012/eu-central-1/prod/team%3Aa%2Fb%20c.json"
    assert {stat.S_IMODE(file.stat().st_mode) for file in place.path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(place.path.parent.stat().st_mode) == 0o700


def test_the_end_is_put_aside_under_the_run(tmp_path):
    place = store(tmp_path)
    place.save(a_checkpoint())
    done = Path(place.archive("run-1"))
    assert done.name == "shared.run-1.done.json"
    assert done.exists()
    assert place.load() is None


def test_the_scraps_of_a_killed_writer_are_swept(tmp_path):
    place = store(tmp_path)
    place.save(a_checkpoint())
    scrap = place.path.with_name("shared.json.k1ll3d.tmp")
    scrap.write_text('{"schema": 1, "run_id": "torn')
    assert place.load() == a_checkpoint()
    place.save(a_checkpoint(surge=5))
    assert sorted(file.name for file in place.path.parent.iterdir()) == [".lock", "shared.json"]


def test_a_torn_file_is_an_error_that_says_what_to_do(tmp_path):
    place = store(tmp_path)
    place.save(a_checkpoint())
    place.path.write_bytes(place.path.read_bytes()[:100] + b"\xc3")
    with pytest.raises(
        CheckpointError, match=f"{place.path} is not a checkpoint.*Move .* away, or delete it"
    ) as caught:
        store(tmp_path).load()
    assert caught.value.reason == "checkpoint_corrupt"


def test_a_place_that_is_no_directory_is_named_with_a_remedy(tmp_path):
    (tmp_path / "123456789012").write_text("not a directory")
    with pytest.raises(StoreError, match=f"{tmp_path}.*Name a directory") as caught:
        store(tmp_path).save(a_checkpoint())
    assert caught.value.reason == "checkpoint_unwritable"


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    place = store(tmp_path)
    place.save(a_checkpoint())

    def no_space(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StoreError, match="No space left on device. Free the disk") as caught:
        place.save(a_checkpoint(surge=5))
    monkeypatch.undo()
    assert caught.value.reason == "checkpoint_unwritable"
    assert store(tmp_path).load() == a_checkpoint()
    assert sorted(file.name for file in place.path.parent.iterdir()) == [".lock", "shared.json"]


def test_a_file_that_was_taken_away_is_not_written_again(tmp_path):
    place = store(tmp_path)
    place.save(a_checkpoint())
    place.path.unlink()
    with pytest.raises(CheckpointConflict, match="taken away"):
        place.save(a_checkpoint(surge=5))
    assert not place.path.exists()


def test_who_cannot_ask_aws_finds_its_own_checkpoint_by_cluster_and_group(tmp_path):
    store(tmp_path, "team:a/b c").save(a_checkpoint(holder="this-run"))
    store(tmp_path, "other").save(a_checkpoint(holder="this-run"))

    assert find_checkpoint(str(tmp_path), "prod", "team:a/b c", "this-run") == a_checkpoint(holder="this-run")
    assert find_checkpoint(str(tmp_path), "prod", "team:a/b c", "another-run") is None
    assert find_checkpoint(str(tmp_path), "staging", "other", "this-run") is None
    assert find_checkpoint(str(tmp_path / "nowhere"), "prod", "other", "this-run") is None


def test_touch_asks_a_run_to_stop(tmp_path):
    place = store(tmp_path)
    place.save(a_checkpoint())
    place.path.with_suffix(".stop").touch()
    assert place.stop_request() == "somebody"


def test_what_a_killed_writer_left_of_a_picture_is_swept_up(tmp_path):
    place = store(tmp_path)
    place.keep_picture(b"first")
    scrap = place.path.with_name("shared.picture.x1.tmp")
    scrap.write_bytes(b"hal")
    place.save(a_checkpoint())
    assert scrap.exists(), "it is not the checkpoint's"
    place.keep_picture(b"second")
    assert (place.picture(), scrap.exists()) == (b"second", False)
