# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the rollout share: running it, killing it, and judging it by the world's own record."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from simulator.checks import Expected, broken_invariants
from simulator.identities import TOOL
from simulator.record import Call
from simulator.runs import Run, kill_group, start_ansible_playbook
from simulator.snapshot import Snapshot
from simulator.world import World

LEAVING_TAG = "evergreen.eks/leaving"
PLAYBOOK = "evergreen.eks.rollout"
RESTORE = "evergreen.eks.restore"


def variables(world: World, **own: Any) -> dict[str, Any]:
    """The variables of a run over all node groups of the world, with polls that suit the speed of its clock."""
    return {
        "eks_cluster_name": world.scenario.cluster,
        "eks_node_groups": [group.name for group in world.scenario.groups],
        "eks_poll_seconds": 0.1,
        "eks_delete_emptydir_data": True,
        **own,
    }


def roll(world: World, *arguments: str, env: Mapping[str, str] | None = None, **own: Any) -> Run:
    """`ansible-playbook evergreen.eks.rollout`, to its end; `env` is added to the world's environment."""
    return world.playbook(PLAYBOOK, variables(world, **own), *arguments, env=env)


def restore(world: World, *arguments: str, env: Mapping[str, str] | None = None, **own: Any) -> Run:
    """`ansible-playbook evergreen.eks.restore`, to its end."""
    return world.playbook(RESTORE, variables(world, **own), *arguments, env=env)


def own_tasks(world: World) -> str:
    """A file of tasks of an operator's own, which note when they are run, and for whom: `told` has the notes."""
    path = world.home / "own_tasks.yml"
    note = "{{ rollout_hook.name }} {{ rollout_hook.wave }} {{ rollout_hook.instance_ids | join(' ') }}"
    tasks = [{"name": "Note it", "ansible.builtin.shell": f"echo '{note}' >> {world.home / 'told.txt'}"}]
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return str(path)


def told(world: World) -> list[str]:
    """What they have noted: `after_wave 1 i-1 i-2`."""
    return (world.home / "told.txt").read_text(encoding="utf-8").splitlines()


def roll_until_killed(
    world: World,
    service: str,
    operation: str,
    *,
    skip: int = 0,
    before: bool = False,
    playbook: str = PLAYBOOK,
    **own: Any,
) -> Call:
    """Start the rollout and kill all its processes at the given request: before it is served, or after it was."""
    process = start_ansible_playbook(world.env(), playbook, variables(world, **own), capture=True)
    seen: list[Call] = []

    def kill(call: Call) -> None:
        seen.append(call)
        kill_group(process)

    moment = {"before": kill} if before else {"after": kill}
    world.faults.add(service, operation, author="evergreen", skip=skip, **moment)
    stdout, stderr = process.communicate(timeout=300)
    assert seen, f"no {operation} was seen to kill at:\n{stdout}{stderr}"
    assert process.returncode == -9
    _let_requests_arrive(world)
    return seen[0]


def _let_requests_arrive(world: World) -> None:
    """What the dead had sent already still reaches the servers."""
    seen = -1
    while seen != (now := len(world.record.calls(author="evergreen"))):
        seen = now
        time.sleep(0.3)


def checkpoints(world: World) -> list[Path]:
    """The checkpoint files of unfinished runs."""
    return [
        path
        for path in (world.home / "state").rglob("*.json")
        if not path.name.endswith((".done.json", ".report.json"))
    ]


def lose_checkpoints(world: World) -> None:
    """The checkpoints are gone: what stands on the group, the instances and the nodes must do."""
    for path in checkpoints(world):
        path.unlink()


def leave_detached(world: World, group: str, instance: str, final_state: str) -> None:
    """As a call of asg_detach_terminate leaves an instance that was killed right after it had detached it."""
    aws = world.aws(TOOL)
    mark = {"Key": LEAVING_TAG, "Value": f"mine/{final_state}/{group}"}
    aws("ec2").create_tags(Resources=[instance], Tags=[mark])
    aws("autoscaling").detach_instances(
        AutoScalingGroupName=group, InstanceIds=[instance], ShouldDecrementDesiredCapacity=True
    )
    world.wait_until(lambda now: instance not in now.groups[group].instances, "it is detached")


def everything_outdated(before: Snapshot) -> dict[str, list[str]]:
    """Group -> its instances, where the whole world is outdated."""
    return {name: sorted(group.instances) for name, group in before.groups.items()}


def problems(world: World, selected: Mapping[str, Collection[str]] | None = None, **expected: Any) -> list[str]:
    """The invariants that do not hold after a rollout that has come to its end; none, if all is well."""
    after = world.wait_until(lambda now: not now.pods_not_ready, "every pod is Ready")
    chosen = everything_outdated(world.beginning) if selected is None else selected
    return broken_invariants(world.record, world.beginning, after, Expected(selected=chosen, **expected))
