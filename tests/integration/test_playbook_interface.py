# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as operators, AWX and larger playbooks call them: text, limits, inventories, many groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from integration.rollouts import problems, roll, variables

from simulator.checks import nothing_changed
from simulator.record import Call
from simulator.runs import REPOSITORY
from simulator.scenarios import Deployment, NodeGroup, Scenario
from simulator.world import World

WEB = Deployment("web", replicas=2)
ONE_NODE = Scenario(groups=[NodeGroup("shared", size=1)], workloads=[WEB])
# A group that is up to date is only looked at, which takes a moment.
ONE_SLOW = Scenario(
    groups=[
        NodeGroup("slow", size=2),
        NodeGroup("quick", size=1, outdated=False),
        NodeGroup("last", size=1, outdated=False),
    ],
    workloads=[WEB],
)
SECOND_REFUSED = Scenario(
    groups=[
        NodeGroup("first", size=1),
        NodeGroup("second", size=1, suspended=["Launch"]),
        NodeGroup("third", size=1, outdated=False),
    ],
    workloads=[WEB],
)
HOSTILE_INVENTORY = """\
all:
  hosts:
    localhost: {ansible_connection: ssh, ansible_host: nowhere.example.com}
    shared: {ansible_connection: ssh, ansible_host: nowhere.example.com}
  vars: {ansible_become: true, ansible_become_method: doas, ansible_python_interpreter: /nowhere/python}
"""


def changes_of(world: World, group: str) -> list[Call]:
    """What we changed at this Auto Scaling group, in order."""
    calls = world.record.calls(author="evergreen", service="autoscaling", mutating=True)
    return [call for call in calls if group in (call.target, call.params.get("AutoScalingGroupName"))]


def looks_at(world: World, group: str) -> list[Call]:
    """When we asked for this Auto Scaling group alone, in order."""
    calls = world.record.calls(author="evergreen", operation="DescribeAutoScalingGroups")
    return [call for call in calls if call.params.get("AutoScalingGroupNames") == [group]]


@pytest.mark.scenario(ONE_NODE)
def test_a_limit_is_refused_before_anything_is_asked(world: World):
    for limit in ("shared", "localhost", "all"):
        run = roll(world, "--limit", limit)

        assert run.rc != 0
        assert "--limit is not supported" in run.output
        assert "name the groups in eks_node_groups" in run.output
    assert world.record.calls(author="evergreen") == []


@pytest.mark.scenario(ONE_NODE)
def test_the_inventory_cannot_take_the_work_away_from_the_controller(world: World, tmp_path: Path):
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(HOSTILE_INVENTORY, encoding="utf-8")
    run = world.playbook("evergreen.eks.plan", variables(world), "--inventory", str(inventory))

    assert run.rc == 0, run.output
    assert "1 to replace" in run.stdout


@pytest.mark.scenario(ONE_NODE)
def test_secrets_among_the_connection_options_are_never_printed(world: World):
    options = {"access_key": world.env()["AWS_ACCESS_KEY_ID"], "secret_key": "hunter2-hunter2"}
    run = world.playbook("evergreen.eks.plan", variables(world, eks_aws=json.dumps(options)), "-vvv")

    assert run.rc == 0, run.output
    assert "hunter2" not in run.output


@pytest.mark.scenario(ONE_NODE)
def test_a_relative_folder_of_checkpoints_is_meant_from_where_the_playbook_was_started(world: World):
    run = roll(
        world, eks_state_dir=".world/never", eks_ignore_checkpoint=True, awx_job_id="4711", eks_select="nonsense"
    )

    assert "eks_select cannot be 'nonsense'" in run.output, "a folder was given, so AWX is no obstacle"
    assert not (REPOSITORY / "playbooks" / ".world").exists()


@pytest.mark.scenario(ONE_NODE)
def test_in_awx_a_checkpoint_that_would_be_lost_with_the_job_is_refused(world: World):
    run = roll(world, awx_job_id="4711")

    assert run.rc == 2
    assert "Set eks_state_store=configmap" in run.output
    assert nothing_changed(world.record) == []


@pytest.mark.slow
@pytest.mark.scenario(ONE_SLOW, speed=120)
def test_parallel_groups_do_not_wait_for_each_others_waves(world: World):
    run = roll(world, "--forks", "2", eks_parallel_groups="2")

    assert run.rc == 0, run.output
    assert problems(world, {"slow": world.beginning.groups["slow"].instances}) == []
    last_change = changes_of(world, "slow")[-1].number
    assert looks_at(world, "quick")[0].number < last_change, "two begin together"
    assert (
        looks_at(world, "quick")[-1].number < looks_at(world, "last")[0].number
    ), "the third begins when one has ended"
    assert looks_at(world, "last")[0].number < last_change, "and does not wait for the other"
    assert len(world.record.calls(operation="POST leases")) == 1, "they share one lock"


@pytest.mark.scenario(SECOND_REFUSED, speed=120)
def test_a_group_that_fails_stops_those_that_have_not_begun_and_lets_the_others_finish(world: World):
    run = roll(world, eks_parallel_groups=2)

    assert run.rc == 2
    assert "Not begun, because second failed" in run.output
    assert changes_of(world, "second") == changes_of(world, "third") == []
    now = world.snapshot()
    assert not set(world.beginning.groups["first"].instances) & set(now.groups["first"].instances)
    assert set(world.beginning.groups["third"].instances) == set(now.groups["third"].instances)


@pytest.mark.slow
@pytest.mark.scenario(SECOND_REFUSED, speed=120)
def test_one_at_a_time_groups_run_in_the_order_given_until_one_fails(world: World):
    run = roll(world, eks_node_groups="third,second,first")

    assert run.rc == 2
    assert looks_at(world, "third")[-1].number < looks_at(world, "second")[0].number
    assert looks_at(world, "first") == []
    assert nothing_changed(world.record) == []


@pytest.mark.scenario(ONE_NODE)
def test_the_example_awx_project_runs_with_a_survey_that_is_all_text(world: World):
    project = REPOSITORY / "examples" / "awx_project"
    job = {
        "awx_job_id": 4711,
        "awx_user_name": "ann",
        "eks_cluster_name": world.scenario.cluster,
        "eks_region": world.scenario.region,
        "eks_aws": "",
        "eks_kubernetes": "{}",
        "eks_node_groups": json.dumps([{"name": "shared", "canary": "0", "select": "all"}]),
        "eks_parallel_groups": "1",
        "eks_state_store": "configmap",
        "eks_state_bucket": "",
        "eks_lock": "true",
        "eks_max_surge": "100%",
        "eks_max_unavailable": "",
        "eks_select": "",
        "eks_drain_timeout": "15m",
        "eks_delete_emptydir_data": "yes",
        "eks_evict_unmanaged": "False",
        "eks_wait_for_completion": '{"selector": "app=report", "timeout": "12h"}',
        "eks_protected_pods": "",
        "eks_order": '[{"selector": "tier!=database"}]',
        "eks_order_timeout": "5m",
        "eks_suspend_processes": "AZRebalance,ScheduledActions",
        "eks_max_new_unhealthy": "0",
        "eks_load_balancers": "true",
        "eks_gates": "[]",
        "eks_gate_settle_seconds": "2m",
        "eks_tasks_before_wave": "",
        "eks_on_failure": "keep",
        "eks_poll_seconds": "0.1",
        "eks_ignore_checkpoint": "",
    }

    plan = world.playbook(str(project / "plan.yml"), job)
    assert plan.rc == 0, plan.output
    assert nothing_changed(world.record) == []

    run = world.playbook(str(project / "rollout.yml"), job)
    assert run.rc == 0, run.output
    assert problems(world) == []

    for name, says in (("stop", "there is nothing to stop"), ("restore", "nothing to put back")):
        after = world.playbook(str(project / f"{name}.yml"), job)
        assert after.rc == 0, after.output
        assert says in after.stdout


@pytest.mark.scenario(ONE_NODE)
def test_the_role_runs_on_the_controller_in_a_larger_playbook_on_an_ssh_host(world: World):
    example = REPOSITORY / "examples" / "larger_playbook"
    own = {
        "cluster_name": world.scenario.cluster,
        "region": world.scenario.region,
        "node_groups": ["shared"],
        "rollout_poll_seconds": 0.1,
    }
    run = world.playbook(str(example / "site.yml"), own, "--inventory", str(example / "inventory.yml"))

    assert run.rc == 0, run.output
    assert "The last rollout answered" in run.stdout
    assert problems(world) == []


@pytest.mark.scenario(ONE_NODE)
def test_the_last_words_of_a_failure_are_the_command_that_goes_on(world: World):
    world.faults.add(
        "autoscaling", "SetDesiredCapacity", author="evergreen", times=99, error=(400, "AccessDenied", "no")
    )
    world.faults.add(
        "autoscaling", "UpdateAutoScalingGroup", author="evergreen", times=99, error=(400, "AccessDenied", "no")
    )
    run = roll(world)

    assert run.rc == 2
    assert "ansible-playbook evergreen.eks.rollout -e " in run.output.rpartition("fatal:")[2]
