# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook `upgrade`: a whole cluster, killed in each part and run again, and what it refuses."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from integration.permissions import grant_only_what_is_documented
from integration.rollouts import roll_until_killed

from simulator.checks import nothing_changed
from simulator.record import Call
from simulator.runs import Run, start_ansible_playbook
from simulator.scenarios import UPGRADE, Addon, Deployment, FargateProfile, NodeGroup, Scenario
from simulator.world import World

PLAYBOOK = "evergreen.eks.upgrade"
FAST = 300.0
LINUX_2023 = "/aws/service/eks/optimized-ami/{}/amazon-linux-2023/x86_64/standard/recommended/image_id"
# Everything of which an upgrade has parts, once.
ONE_OF_EACH = Scenario(
    name="one-of-each",
    cluster="evergreen-upgrade",
    version="1.31",
    groups=[NodeGroup("shared", size=1, max_size=2, outdated=False)],
    workloads=[Deployment("web", "shop", 1, "shared"), Deployment("reports", "batch", 1)],
    addons=[
        Addon("vpc-cni", "v1.19.2-eksbuild.1"),
        Addon("coredns", "v1.11.3-eksbuild.1"),
        Addon("kube-proxy", "v1.31.2-eksbuild.2"),
    ],
    fargate=[FargateProfile("batch", namespace="batch")],
)
LEASES = "leases"
# A control plane that has gone as far as the kubelets of one of its groups allow, but for one minor.
FAR_BEHIND = Scenario(
    name="far-behind",
    cluster="evergreen-upgrade",
    version="1.32",
    groups=[
        NodeGroup("old", size=1, max_size=2, image_parameter=LINUX_2023.format("1.30")),
        NodeGroup("young", size=1, max_size=2, outdated=False),
    ],
    workloads=[Deployment("web", "shop", 1, "old")],
)


def wanted(**own: Any) -> dict[str, Any]:
    """What these tests ask for beside what every run does: waits that suit the speed of the world's clock."""
    return {
        "eks_version": "1.32",
        "eks_image": "recommended",
        "eks_gate_settle_seconds": 1,
        "eks_addon_settle_seconds": 5,
        "eks_verify_settle_seconds": 5,
        "eks_report_formats": "json",
        **own,
    }


def upgrade(world: World, *arguments: str, timeout: float = 300.0, **own: Any) -> Run:
    """`ansible-playbook evergreen.eks.upgrade`, to its end."""
    return world.playbook(PLAYBOOK, variables(world, **own), *arguments, timeout=timeout)


def variables(world: World, **own: Any) -> dict[str, Any]:
    return {
        "eks_cluster_name": world.scenario.cluster,
        "eks_node_groups": [group.name for group in world.scenario.groups],
        "eks_poll_seconds": 0.1,
        "eks_delete_emptydir_data": True,
        **wanted(**own),
    }


def asked(world: World, operation: str, author: str = "evergreen") -> list[Call]:
    """What was asked of AWS by the tool, once it was answered."""
    return world.record.calls(author=author, operation=operation)


def versions_asked(world: World) -> list[str]:
    return [call.params["version"] for call in asked(world, "UpdateClusterVersion")]


def kubelets(world: World) -> set[str]:
    return {node.kubelet for node in world.snapshot().nodes.values()}


def state_files(world: World, ending: str) -> list[Path]:
    """The files of the cluster itself, beside those of its node groups."""
    return sorted((world.home / "state").rglob(f"%3Acluster*{ending}"))


def report_of(world: World) -> dict[str, Any]:
    """The last report of the upgrade."""
    return json.loads(state_files(world, ".report.json")[-1].read_text(encoding="utf-8"))


def changes(world: World, since: int = 0) -> list[str]:
    """The operations by which the tool changed something, but for the lock."""
    calls = world.record.calls(author="evergreen", mutating=True)
    return [call.operation for call in calls if call.number > since and LEASES not in call.operation]


def last_number(world: World) -> int:
    return world.record.calls()[-1].number


# ---- all of it


@pytest.mark.slow
@pytest.mark.scenario(UPGRADE, speed=120)
def test_a_whole_cluster_is_upgraded_over_two_minors_and_its_nodes_are_replaced_once(world: World) -> None:
    before = world.snapshot()
    run = upgrade(world, timeout=900, eks_version="1.33", eks_verify_sidecars=json.dumps(SIDECARS))

    assert run.rc == 0, run.output
    assert versions_asked(world) == ["1.32", "1.33"]
    assert kubelets(world) == {"1.33"}
    assert not set(before.nodes) & set(world.snapshot().nodes), "every node is another one"
    removed = [call.params["InstanceId"] for call in asked(world, "TerminateInstanceInAutoScalingGroup")]
    of_group = {one: name for name, group in before.groups.items() for one in group.instances}
    assert [of_group[one] for one in removed] == ["istio"] * 2 + ["shared"] * 3 + ["logging"] * 2, "each once, in order"
    assert len(state_files(world, ".done.json")) == 1
    report = report_of(world)
    assert report["outcome"] == "finished"
    assert all(part["finished"] for part in report["parts"])
    assert {part["group"] for part in report["parts"] if part["facts"].get("reports")} == {"istio", "shared", "logging"}
    assert len(world.record.calls(author="evergreen", operation="POST leases")) == 1, "one lock for all of it"


SIDECARS = [{"annotation": "vault.hashicorp.com/agent-inject", "container": "vault-agent"}]


@pytest.mark.slow
@pytest.mark.scenario(FAR_BEHIND, speed=FAST)
def test_nodes_that_are_too_old_for_the_way_are_replaced_on_it_and_at_its_end(world: World) -> None:
    kept = upgrade(world, eks_version="1.34", eks_image="keep")
    assert kept.rc == 2
    assert "The nodes of old are too old for 1.34: they have to be replaced at 1.33 on the way" in kept.output
    assert changes(world) == []

    own = wanted(eks_version="1.34")
    roll_until_killed(world, "autoscaling", "^TerminateInstance", skip=1, playbook=PLAYBOOK, **own)
    run = upgrade(world, timeout=600, eks_version="1.34")

    assert run.rc == 0, run.output
    assert versions_asked(world) == ["1.33", "1.34"]
    removed = [call.params["InstanceId"] for call in asked(world, "TerminateInstanceInAutoScalingGroup")]
    assert len(removed) == 3, "the old one, its successor of the way, and the one that was young enough to go once"
    assert kubelets(world) == {"1.34"}
    assert [part["title"] for part in report_of(world)["parts"]] == [
        *("control plane at 1.33", "add-ons for 1.33", "bake time of 1.33", "node group old at 1.33"),
        *("control plane at 1.34", "add-ons for 1.34", "bake time of 1.34"),
        *("node group old at 1.34", "node group young at 1.34", "pods on Fargate at 1.34", "verification of 1.34"),
    ]


@pytest.mark.scenario(ONE_OF_EACH, speed=FAST)
def test_killed_in_every_part_it_goes_on_and_asks_for_nothing_twice(world: World) -> None:
    node = next(iter(world.beginning.groups["shared"].instances))
    grant_only_what_is_documented(world, upgrade=True)
    own = wanted(eks_select="all")
    roll_until_killed(world, "eks", "^UpdateClusterVersion$", playbook=PLAYBOOK, **own)
    roll_until_killed(world, "eks", "^UpdateAddon$", before=True, playbook=PLAYBOOK, **own)
    roll_until_killed(world, "eks", "^UpdateAddon$", playbook=PLAYBOOK, **own)
    roll_until_killed(world, "autoscaling", "^TerminateInstance", playbook=PLAYBOOK, **own)
    roll_until_killed(world, "kubernetes", "^PATCH deployments$", playbook=PLAYBOOK, **own)

    run = upgrade(world, **own)

    assert run.rc == 0, run.output
    assert versions_asked(world) == ["1.32"]
    assert sorted(call.params["addonName"] for call in asked(world, "UpdateAddon") if call.status == 200) == sorted(
        {call.params["addonName"] for call in asked(world, "UpdateAddon")}
    )
    removed = [call.params["InstanceId"] for call in asked(world, "TerminateInstanceInAutoScalingGroup")]
    assert removed == [node], "select=all means the nodes of the beginning, whoever goes on"
    assert kubelets(world) == {"1.32"}
    assert "done before" in run.output
    report = report_of(world)
    assert [one["outcome"] for one in report["attempts"]] == ["interrupted"] * 5 + ["finished"]
    again = world.playbook("evergreen.eks.report", variables(world, **own))
    assert again.rc == 0, again.output
    assert [one["outcome"] for one in report_of(world)["attempts"]] == ["interrupted"] * 5 + ["finished"]
    assert world.record.calls(author="evergreen", operation="CreateLaunchTemplateVersion")[1:] == []


@pytest.mark.scenario(ONE_OF_EACH, speed=FAST)
def test_bad_input_is_one_clear_error_that_keeps_nobody_from_the_right_one(world: World) -> None:
    cases = {
        "eks_version is not set": {"eks_version": ""},
        "eks_version cannot be 'latest'": {"eks_version": "latest"},
        "The control plane is at 1.31, and 1.30 is asked for: EKS takes no downgrade": {"eks_version": "1.30"},
        "Auto Scaling group nobody not found": {"eks_node_groups": "shared,nobody"},
        "EKS does not offer": {"eks_version": "1.99"},
        "eks_image cannot be 'newest'": {"eks_image": "newest"},
    }
    for words, given in cases.items():
        run = upgrade(world, **given)

        assert run.rc == 2, run.output
        assert words in run.output
        assert "Traceback" not in run.output
    world.eks.insights.set("Kubelet version skew", "ERROR", "somebody's nodes are too old")
    run = upgrade(world)
    assert run.rc == 2
    assert "Kubelet version skew" in run.output
    assert "To go on: " in run.output
    assert set(changes(world)) <= {"StartInsightsRefresh"}

    run = upgrade(world, "--tags", "nodes")
    assert run.rc == 2
    assert (
        "The control plane of cluster evergreen-upgrade is at 1.31; bake time of 1.32 can only follow it" in run.output
    )
    assert set(changes(world)) <= {"StartInsightsRefresh"}


@pytest.mark.scenario(ONE_OF_EACH, speed=FAST)
def test_what_fails_in_eks_is_named_and_the_rerun_goes_on_but_not_for_another_version(world: World) -> None:
    world.eks.script.fail("AddonUpdate", "AdmissionRequestDenied", "the webhook says no", of="coredns")
    run = upgrade(world, "--tags", "control_plane,addons", eks_image="keep")
    assert run.rc == 2
    assert "shared keep their image: new nodes have the version that their launch template says" in run.output
    assert "the webhook says no" in run.output
    assert "Done: control plane at 1.32" in run.output
    assert report_of(world)["outcome"] == "failed"

    here = last_number(world)
    other = upgrade(world, eks_version="1.33")
    assert other.rc == 2
    assert "the upgrade of cluster evergreen-upgrade to 1.32" in other.output
    assert "this run is asked for 1.33" in other.output
    assert changes(world, since=here) == []

    run = upgrade(world, "--tags", "control_plane,addons")
    assert run.rc == 0, run.output
    assert versions_asked(world) == ["1.32"]
    assert "node group shared at 1.32" in run.output, "it says what is left"
    assert report_of(world)["outcome"] == "partial"
    assert kubelets(world) == {"1.31"}, "these tags do not replace nodes"


@pytest.mark.scenario(ONE_OF_EACH, speed=FAST)
def test_in_check_mode_it_says_what_it_would_do_and_changes_nothing(world: World) -> None:
    run = upgrade(world, "--check", eks_version="1.33")

    assert run.rc == 0, run.output
    assert "control plane 1.31 -> 1.32 -> 1.33" in run.output
    assert nothing_changed(world.record) == []
    assert list((world.home / "state").rglob("*")) == []


@pytest.mark.scenario(ONE_OF_EACH, speed=FAST)
def test_asked_to_stop_while_the_control_plane_bakes_it_ends_and_goes_on_later(world: World) -> None:
    own = {"eks_bake_seconds": 3600, "eks_state_store": "configmap"}
    process = start_ansible_playbook(world.env(), PLAYBOOK, variables(world, **own), capture=True)
    journal = None
    for _second in range(240):
        journal = next(iter(state_files(world, ".journal.jsonl")), None)
        if journal and '"kind": "bake"' in journal.read_text(encoding="utf-8"):
            break
        time.sleep(0.5)
    assert journal and '"kind": "bake"' in journal.read_text(encoding="utf-8")

    stop = world.playbook("evergreen.eks.stop", variables(world, **own))
    stdout, stderr = process.communicate(timeout=60)

    assert stop.rc == 0, stop.output
    assert "is asked to stop after the part in hand" in stop.output
    assert process.returncode == 2
    assert "the run was asked to stop" in stdout + stderr

    run = upgrade(world, "--tags", "nodes", **{**own, "eks_bake_seconds": 1})
    assert run.rc == 0, run.output
    assert kubelets(world) >= {"1.32"}
    assert asked(world, "UpdateClusterVersion")[1:] == []
