# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from unit.pictures import CLUSTER, node, picture
from unit.stores import Files

from ansible_collections.evergreen.eks.plugins.module_utils.picture import PictureError
from ansible_collections.evergreen.eks.plugins.module_utils.picture_place import (
    BesideCheckpoint,
    PictureFile,
    find_picture,
)

TAKEN = picture(node(), run="run-1")


def test_a_file_is_its_owners_and_replaced_in_one_step(tmp_path: Path) -> None:
    place = PictureFile(tmp_path / "picture")
    assert find_picture(place, CLUSTER) is None
    place.write(b"an older one")
    before = os.stat(place.path).st_ino
    place.write(TAKEN.to_json().encode())
    assert find_picture(place, CLUSTER) == TAKEN
    assert os.stat(place.path).st_mode & 0o777 == 0o600 and os.stat(place.path).st_ino != before
    assert os.listdir(tmp_path) == ["picture"]


def test_a_write_that_fails_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = PictureFile(tmp_path / "picture")
    place.write(b"an older one")

    def no_space(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(PictureError, match="No space left") as caught:
        place.write(b"a newer one")
    assert caught.value.reason == "picture_unwritable"
    assert (place.read(), os.listdir(tmp_path)) == (b"an older one", ["picture"])


def test_what_cannot_be_read_or_written_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=f"{tmp_path} cannot be read") as caught:
        PictureFile(tmp_path).read()
    assert caught.value.reason == "picture_unreadable" and caught.value.remedy
    with pytest.raises(PictureError, match="nowhere/picture cannot be written") as caught:
        PictureFile(tmp_path / "nowhere" / "picture").write(b"")
    assert caught.value.reason == "picture_unwritable" and caught.value.remedy


def test_a_picture_of_another_cluster_is_refused(tmp_path: Path) -> None:
    place = PictureFile(tmp_path / "picture")
    place.write(TAKEN.to_json().encode())
    with pytest.raises(PictureError, match="shows another cluster") as caught:
        find_picture(place, "another")
    assert caught.value.reason == "picture_foreign"


@pytest.mark.parametrize(("run", "known"), [("run-1", True), ("run-2", False), ("", True)])
def test_a_run_wants_its_own_picture(tmp_path: Path, run: str, known: bool) -> None:
    place = PictureFile(tmp_path / "picture")
    place.write(TAKEN.to_json().encode())
    assert find_picture(place, CLUSTER, run) == (TAKEN if known else None)


def test_of_an_earlier_run_it_may_show_the_cluster_that_had_this_name_before(tmp_path: Path) -> None:
    place = PictureFile(tmp_path / "picture")
    place.write(TAKEN.to_json().encode())
    assert find_picture(place, "made anew", "run-2") is None
    with pytest.raises(PictureError, match="shows another cluster"):
        find_picture(place, "made anew", "run-1")


def test_beside_a_checkpoint(tmp_path: Path) -> None:
    place = BesideCheckpoint(Files(tmp_path).open("team:a/b c"))
    place.write(TAKEN.to_json().encode())
    assert find_picture(place, CLUSTER) == TAKEN
    assert place.name.startswith("the picture beside checkpoint ")
    (file,) = tmp_path.rglob("*.picture")
    assert file.name == "team%3Aa%2Fb%20c.picture" and file.stat().st_mode & 0o777 == 0o600
