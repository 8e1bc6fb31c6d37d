# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that the modules of a rollout share, and the rollout that they name."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Protocol

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import (
    ESCALATION_OPTION,
    FAIL,
    ON_TIMEOUT,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import PROCESSES
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.keeper import take_and_keep
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes_connection import kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import Wish
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout, Settings
from ansible_collections.evergreen.eks.plugins.module_utils.store import (
    Place,
    Store,
    cluster_folder,
    default_directory,
    journal_path,
    refuse_lost_state,
)
from ansible_collections.evergreen.eks.plugins.module_utils.stores import STORE_OPTIONS, store_of
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, waiting_argument_spec


def state_argument_spec(**own: Any) -> dict[str, Any]:
    """The options of doc fragment C(evergreen.eks._state), the connection's and the module's own."""
    return kubernetes_argument_spec(
        asg_name={"type": "str", "required": True},
        state={"type": "dict", "default": {}, "apply_defaults": True, "options": STORE_OPTIONS},
        **waiting_argument_spec(),
        **own,
    )


def rollout_argument_spec(**own: Any) -> dict[str, Any]:
    """The same with the options of doc fragment C(evergreen.eks._rollout)."""
    return state_argument_spec(
        settings={
            "type": "dict",
            "default": {},
            "apply_defaults": True,
            "options": {
                "select": {"type": "raw", "default": "outdated"},
                "max_surge": {"type": "str", "default": "25%"},
                "max_unavailable": {"type": "str", "default": "0"},
                "canary": {"type": "int", "default": 1},
                "canary_bake_seconds": {"type": "float", "default": 0},
                "suspend_processes": {"type": "list", "elements": "str", "default": ["AZRebalance"]},
                "ready_timeout": {"type": "float", "default": 1200},
                "ignore_checkpoint": {"type": "bool", "default": False},
                "lock": {"type": "bool", "default": True},
                "lock_seconds": {"type": "float", "default": 60},
                "lock_wait": {"type": "float", "default": 90},
                "drain_on_timeout": {"type": "str", "default": FAIL, "choices": list(ON_TIMEOUT)},
                "drain_escalation": ESCALATION_OPTION,
                "plan_file": {"type": "path"},
            },
        },
        **own,
    )


def stored_run(params: dict[str, Any], call: Call) -> tuple[Aws, KubernetesClient, Place, Store]:
    """The node group that a module's options name, and where its checkpoint is. Raises InvalidInput."""
    if not params["cluster_name"]:
        raise InvalidInput("cluster_name is not set", remedy="Name the EKS cluster whose nodes these are")
    aws = Aws(params, call)
    client = KubernetesClient.connect(params, aws, call)
    place = Place(aws.account, aws.region, params["cluster_name"], params["asg_name"])
    state = {**params["state"], "dir": _directory(params)}
    return aws, client, place, store_of(state, place, aws, client, call, params["poll_seconds"])


def rollout_of(params: dict[str, Any], call: Call) -> Rollout:
    """The rollout that a module's options name. Raises InvalidInput before anything is asked of anybody."""
    settings = Settings.of(params["settings"], params["poll_seconds"])
    refuse_unfit(settings)
    refuse_lost_state(params.get("awx_job_id") or "", params["state"]["store"], params["state"]["dir"] or "")
    aws, client, place, store = stored_run(params, call)
    directory = _directory(params)
    holder = Holder.here(
        call.lifeline,
        operator=params.get("operator") or "",
        since=call.clock.timestamp(),
        job=params.get("awx_job_id") or "",
    )
    return Rollout(
        aws=aws,
        client=client,
        call=call,
        store=store,
        place=place,
        journal=journal_path(directory, place),
        settings=settings,
        holder=holder,
        take_hold=lock_of(client, call, holder, place, directory, settings),
        hold=params.get("lease") or "",
        wish=Wish.of(params.get("report")),
    )


def refuse_unfit(settings: Settings) -> None:
    """Raise InvalidInput for the first setting that cannot be meant."""
    if settings.canary < 0:
        raise InvalidInput(f"canary cannot be {settings.canary}", remedy="Give 0 for none, or a number of instances")
    refuse_unfit_lock(settings)
    unknown = sorted(set(settings.suspend_processes) - set(PROCESSES))
    if unknown:
        raise InvalidInput(
            f"suspend_processes names {', '.join(unknown)}", remedy=f"The processes are {', '.join(sorted(PROCESSES))}"
        )


def refuse_unfit_lock(settings: LockSettings) -> None:
    """Raise InvalidInput where the lock cannot be taken like that."""
    if settings.lock_seconds < 1:
        raise InvalidInput(f"lock_seconds cannot be {settings.lock_seconds:g}", remedy="Give 1 or more; 60 is usual")
    if settings.lock and 0 < settings.lock_wait <= settings.lock_seconds:
        raise InvalidInput(
            f"lock_wait (eks_lock_wait) is {settings.lock_wait:g} s, no more than lock_seconds (eks_lock_seconds), "
            f"which is {settings.lock_seconds:g}: so long a standstill of a dead run's lock could never be seen",
            remedy=f"Give more than {settings.lock_seconds:g}, or 0 to wait for nobody",
        )


def _directory(params: dict[str, Any]) -> str:
    return params["state"]["dir"] or default_directory()


class LockSettings(Protocol):
    """How the lock of a cluster is taken. Times are seconds."""

    lock: bool
    lock_seconds: float
    lock_wait: float
    poll_seconds: float


def lock_of(
    client: KubernetesClient, call: Call, holder: Holder, place: Place, directory: str, settings: LockSettings
) -> Callable[[], str]:
    """What takes the cluster's lock for this playbook run and answers the hold file, "" where no lock is wanted."""
    if not settings.lock:
        return str
    return partial(
        take_and_keep,
        client,
        call,
        holder,
        cluster=place.cluster,
        directory=str(cluster_folder(directory, place)),
        seconds=settings.lock_seconds,
        wait=settings.lock_wait,
        poll_seconds=settings.poll_seconds,
    )
