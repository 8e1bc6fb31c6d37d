# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of a cluster: taken once for a run, kept in one place or two, and compared later.

A snapshot is a picture that also knows the version of the control plane. Of a run that goes on the first one is kept:
what its first half has broken must not be taken for what was there before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.gate_watch import numbers_told
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.picture import (
    Picture,
    PictureError,
    cluster_uid,
    take_picture,
)
from ansible_collections.evergreen.eks.plugins.module_utils.picture_difference import difference
from ansible_collections.evergreen.eks.plugins.module_utils.picture_place import (
    PictureFile,
    PicturePlace,
    beside_checkpoint,
    find_picture,
)
from ansible_collections.evergreen.eks.plugins.module_utils.store import CLUSTER_ITSELF
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call


def cluster_snapshot(params: Mapping[str, Any], aws: Aws, client: KubernetesClient, call: Call) -> dict[str, Any]:
    """Do what the options of `cluster_snapshot` say; answers the module's result. Raises EvergreenError."""
    places = snapshot_places(params, aws, client, call)
    cluster = cluster_uid(client)
    if params["state"] == "taken":
        return _taken(params, places, cluster, client, call)
    before = find_snapshot(places, cluster, params["run_id"])
    if before is None and not call.check_mode:
        raise snapshot_missing(places, params["run_id"])
    if params["after"]:
        other: PicturePlace = PictureFile(Path(params["after"]).absolute())
        after = find_snapshot([other], cluster)
        if after is None:
            raise snapshot_missing([other])
    else:
        after = take_snapshot(client, cluster, call, params["run_id"])
    # In check mode the task before this one, which takes the snapshot, has taken none either.
    return compared(before or after, after, params["cluster_name"] or client.host)


def snapshot_places(params: Mapping[str, Any], aws: Aws, client: KubernetesClient, call: Call) -> list[PicturePlace]:
    """The places that the options `path` and `checkpoints` name. Raises InvalidInput, AwsError."""
    places: list[PicturePlace] = []
    if params["path"]:
        places.append(PictureFile(Path(params["path"]).absolute()))
    if params["checkpoints"] is not None:
        places.append(beside_checkpoint(CLUSTER_ITSELF, params, aws, client, call))
    return places


def take_snapshot(client: KubernetesClient, cluster: str, call: Call, run: str) -> Picture:
    """Look at the cluster now, and ask the API server for its version, which everybody may."""
    version = client.get("/version").get("gitVersion", "")
    return take_picture(client, cluster=cluster, taken=call.clock.timestamp(), run=run, version=version)


def find_snapshot(places: Sequence[PicturePlace], cluster: str, run: str = "") -> Picture | None:
    """The first that is found there, of this run where one is named. Raises PictureError, StoreError."""
    found = (find_picture(place, cluster, run) for place in places)
    return next((picture for picture in found if picture is not None), None)


def snapshot_missing(places: Sequence[PicturePlace], run: str = "") -> PictureError:
    """That it is not there, and what to do."""
    return PictureError(
        f"There is no snapshot{f' of run {run}' if run else ''} in {' or '.join(place.name for place in places)}",
        reason="picture_missing",
        remedy="Take one first, with cluster_snapshot and state: taken",
    )


def compared(before: Picture, after: Picture, name: str) -> dict[str, Any]:
    """What is different between two snapshots, as a module's result."""
    found = difference(before, after)
    return {
        "changed": False,
        "taken": after.taken,
        "numbers": after.numbers,
        "version": after.version,
        "different": not found.nothing,
        "difference": found.as_data(),
        "text": found.as_text(name),
    }


def _taken(
    params: Mapping[str, Any], places: Sequence[PicturePlace], cluster: str, client: KubernetesClient, call: Call
) -> dict[str, Any]:
    """See to it that the snapshot of this run is in all of the places."""
    run = params["run_id"]
    known = {} if params["force"] else {place.name: find_picture(place, cluster, run) for place in places}
    first = next((found for found in known.values() if found is not None), None)
    picture = first or take_snapshot(client, cluster, call, run)
    lacking = [place for place in places if known.get(place.name) is None]
    if lacking and not call.check_mode:
        for place in lacking:
            place.write(picture.to_json().encode())
        where = " and ".join(place.name for place in lacking)
        text = f"snapshot {'taken' if first is None else 'copied'}: {numbers_told(picture.numbers)}"
        call.journal.write("picture_taken", text=text, place=where, numbers=picture.numbers)
    return {
        "changed": bool(lacking),
        "taken": picture.taken,
        "numbers": picture.numbers,
        "version": picture.version,
        "places": [place.name for place in places],
    }
