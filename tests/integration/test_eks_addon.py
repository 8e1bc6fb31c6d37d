# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module eks_addon and the role addons: the add-ons of a cluster whose control plane has just come to 1.33.

What they claim is checked against the world: its record of the tool's calls, and how things stand in the end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from integration.permissions import grant_only_what_is_documented

from simulator.aws import eks_catalogue
from simulator.identities import SOMEBODY, TOOL
from simulator.runs import kill_group, one_task_playbook, start_ansible_playbook
from simulator.scenarios import Addon, NodeGroup, Scenario
from simulator.world import World

ROLE = "arn:aws:iam::123456789012:role/vpc-cni"
REGISTRY = "602401143452.dkr.ecr.eu-central-1.amazonaws.com"
OLD_ADDONS = Scenario(
    groups=[NodeGroup("shared", size=2, outdated=False)],
    version="1.33",
    addons=[
        Addon("vpc-cni", "v1.19.2-eksbuild.1", role=ROLE),
        Addon("coredns", "v1.11.4-eksbuild.2", configuration={"replicaCount": 2}),
        Addon("kube-proxy", "v1.31.2-eksbuild.2", managed=False),
    ],
)
DNS_ONLY = Scenario(
    groups=[NodeGroup("shared", size=1, outdated=False)],
    version="1.33",
    addons=[Addon("coredns", "v1.11.4-eksbuild.2", configuration={"replicaCount": 1})],
)
NOBODYS = Scenario(
    groups=[NodeGroup("shared", size=2, outdated=False)],
    version="1.33",
    addons=[
        Addon("vpc-cni", "v1.19.2-eksbuild.1", managed=False),
        Addon("kube-proxy", "v1.31.2-eksbuild.2", managed=False),
    ],
)
DNS = {"addons": "coredns"}
DEFAULT_DNS = "v1.12.1-eksbuild.2"

pytestmark = pytest.mark.scenario(DNS_ONLY)


def bring_up(world: World, *, check: bool = False, **own: Any) -> dict[str, Any]:
    """The module's result, as the rehearsal's time has it: what takes minutes takes seconds."""
    return world.module("evergreen.eks.eks_addon", options(**own), check=check)


def options(**own: Any) -> dict[str, Any]:
    return {"cluster_name": OLD_ADDONS.cluster, "poll_seconds": 0.2, "timeout": 60, "settle_seconds": 2, **own}


def installed(world: World, name: str) -> dict[str, Any]:
    return world.aws()("eks").describe_addon(clusterName=OLD_ADDONS.cluster, addonName=name)["addon"]


def requests(world: World, author: str = TOOL) -> list[tuple[str, str]]:
    """The changes that were asked for: of add-ons their name and version, of images the object."""
    return [
        (
            (call.params["addonName"], call.params["addonVersion"])
            if call.operation == "UpdateAddon"
            else (call.operation, call.target)
        )
        for call in world.record.calls(author=author, mutating=True)
    ]


def updates(world: World, name: str) -> list[str]:
    """How the updates of an add-on have ended, whoever began them."""
    eks = world.aws()("eks")
    ids = eks.list_updates(name=OLD_ADDONS.cluster, addonName=name)["updateIds"]
    found = [eks.describe_update(name=OLD_ADDONS.cluster, addonName=name, updateId=one)["update"] for one in ids]
    return [update["status"] for update in found]


def workload(world: World, kind: str, name: str) -> dict[str, Any]:
    return world.client().get(f"/apis/apps/v1/namespaces/kube-system/{kind}/{name}")


def image(world: World, kind: str, name: str) -> str:
    return workload(world, kind, name)["spec"]["template"]["spec"]["containers"][0]["image"]


def change_replicas(world: World, replicas: int) -> None:
    """Somebody scales coredns by hand: a field in conflict with what EKS applies."""
    path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
    world.client(SOMEBODY).patch(path, {"spec": {"replicas": replicas}}, kind="merge")


# ---- what it is for


@pytest.mark.scenario(OLD_ADDONS)
def test_all_addons_are_brought_up_and_a_second_time_there_is_nothing_to_do(world: World) -> None:
    """vpc-cni by minor versions and with its role, coredns with what somebody changed, kube-proxy with its manifest."""
    grant_only_what_is_documented(world, upgrade=True)
    change_replicas(world, 3)
    wanted = {"self_managed": "set", "version": "latest", "journal": str(world.home / "journal.jsonl")}

    foreseen = bring_up(world, check=True, **wanted)
    assert foreseen["changed"] and requests(world) == []
    result = bring_up(world, **wanted)
    assert not result["failed"], result["msg"]
    again = bring_up(world, **wanted)

    assert requests(world) == [
        ("vpc-cni", "v1.20.4-eksbuild.2"),
        ("vpc-cni", "v1.21.1-eksbuild.1"),
        ("PATCH daemonsets", "kube-system/kube-proxy"),
        ("coredns", DEFAULT_DNS),
    ]
    after = {"vpc-cni": "v1.21.1-eksbuild.1", "kube-proxy": "v1.33.3-eksbuild.8", "coredns": DEFAULT_DNS}
    assert result["diff"]["after"] == after == foreseen["diff"]["after"] == again["diff"]["before"]
    assert [one["steps"] for one in foreseen["addons"]] == [one["steps"] for one in result["addons"]]
    assert (result["changed"], again["changed"], result["self_managed"]) == (True, False, ["kube-proxy"])

    assert installed(world, "vpc-cni")["serviceAccountRoleArn"] == ROLE
    assert json.loads(installed(world, "coredns")["configurationValues"]) == {"replicaCount": 2}
    assert workload(world, "deployments", "coredns")["spec"]["replicas"] == 3, "what somebody changed is preserved"
    assert image(world, "daemonsets", "kube-proxy") == f"{REGISTRY}/eks/kube-proxy:v1.33.3-minimal-eksbuild.8"
    (backup,) = result["addons"][1]["backups"]
    assert Path(backup).stat().st_mode & 0o777 == 0o600 and str(world.home / "state") in backup
    kept = json.loads(Path(backup).read_text(encoding="utf-8"))
    (container,) = kept["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{REGISTRY}/eks/kube-proxy:v1.31.2-minimal-eksbuild.2"
    events = [json.loads(line) for line in (world.home / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(event["kind"], event["addon"]) for event in events if "addon" in event] == [
        ("addon_begun", "vpc-cni"),
        ("addon_ended", "vpc-cni"),
        ("image_set", "kube-proxy"),
        ("addon_ended", "kube-proxy"),
        ("addon_begun", "coredns"),
        ("addon_ended", "coredns"),
    ]


@pytest.mark.scenario(NOBODYS)
def test_what_nobody_manages_is_reported_and_left_until_it_is_to_be_set(world: World) -> None:
    """aws-node by minor versions, each rolled out before the next, and although an answer is lost."""
    result = bring_up(world)
    cni, proxy = result["addons"]
    assert cni["wanted_image"] == f"{REGISTRY}/amazon-k8s-cni:v1.20.4-eksbuild.2"
    assert (proxy["managed"], proxy["changed"], result["changed"]) == (False, False, False)
    assert proxy["image"] == f"{REGISTRY}/eks/kube-proxy:v1.31.2-minimal-eksbuild.2"
    assert proxy["wanted_image"] == f"{REGISTRY}/eks/kube-proxy:v1.33.0-minimal-eksbuild.2"
    assert "which self_managed=set sets" in str(result["warnings"])
    assert requests(world) == []

    world.faults.add("kubernetes", "^PATCH daemonsets$", author=TOOL, reset="after")
    done = bring_up(world, addons="vpc-cni", self_managed="set", version="latest", backup_dir=str(world.home / "old"))
    assert not done["failed"], done["msg"]
    assert image(world, "daemonsets", "aws-node") == f"{REGISTRY}/amazon-k8s-cni:v1.21.1-eksbuild.1"
    kept = sorted(path.name for path in (world.home / "old").iterdir())
    assert kept == ["vpc-cni.v1.19.2-eksbuild.1.json", "vpc-cni.v1.20.4-eksbuild.2.json"]
    assert set(requests(world)) == {("PATCH daemonsets", "kube-system/aws-node")}


def test_the_role_says_it_in_a_play_of_its_own(world: World, tmp_path: Path) -> None:
    """Its variables come as strings, as those of a survey do."""
    play = {
        "name": "Add-ons",
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "addons_cluster_name": DNS_ONLY.cluster,
            "addons_version": "1.33",
            "addons_addons": "coredns",
            "addons_timeout": "60",
            "addons_poll_seconds": "0.2",
            "addons_quiet": "no",
        },
        "tasks": [
            {"name": "The add-ons", "ansible.builtin.import_role": {"name": "evergreen.eks.addons"}},
            {"name": "What became of them", "ansible.builtin.debug": {"var": "addons_result.diff"}},
        ],
    }
    playbook = tmp_path / "addons.yml"
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    run = world.playbook(str(playbook))
    assert run.rc == 0, run.output
    assert f"add-on coredns: v1.11.4-eksbuild.2 -> {DEFAULT_DNS}" in run.stderr
    assert f'"coredns": "{DEFAULT_DNS}"' in run.stdout
    assert requests(world) == [("coredns", DEFAULT_DNS)]


# ---- once, whatever happens


@pytest.mark.parametrize("arrived", [False, True])
def test_killed_at_the_request_it_is_not_asked_for_twice(world: World, arrived: bool) -> None:
    world.eks.script.hold("AddonUpdate", of="coredns")
    with one_task_playbook("evergreen.eks.eks_addon", options(**DNS)) as (playbook, _results):
        process = start_ansible_playbook(world.env(), str(playbook), capture=True)
        moment = (
            {"after": lambda _call: kill_group(process)} if arrived else {"before": lambda _call: kill_group(process)}
        )
        world.faults.add("eks", "^UpdateAddon$", author=TOOL, reset=not arrived, **moment)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == -9, stdout + stderr
    assert updates(world, "coredns") == ["InProgress"] * arrived
    world.actors.when(world.eks.script.release, operation="^DescribeUpdate$")

    result = bring_up(world, **DNS)
    assert not result["failed"], result
    assert updates(world, "coredns") == ["Successful"]
    assert installed(world, "coredns")["addonVersion"] == DEFAULT_DNS
    assert (result["changed"], result["addons"][0]["joined"]) == (True, arrived)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_lost_request_and_a_lost_answer(world: World, lost: str) -> None:
    world.faults.add("eks", "^UpdateAddon$", author=TOOL, reset=lost)
    world.faults.add("eks", "^Describe", author=TOOL, error=(429, "TooManyRequestsException", "slow down"), times=2)
    away = world.faults.add("kubernetes", "^GET deployments$", author=TOOL, reset=True, times=3)
    result = bring_up(world, **DNS)
    assert not result["failed"], result
    assert away.hits == 3, "the endpoint is away for a moment, too"
    assert updates(world, "coredns") == ["Successful"]


def test_an_update_that_somebody_began_is_waited_for(world: World) -> None:
    """To another version; then comes what was asked for, once EKS has nothing else to do."""
    eks = world.aws(SOMEBODY)("eks")
    world.eks.script.hold("AddonUpdate", of="coredns")
    eks.update_addon(
        clusterName=DNS_ONLY.cluster,
        addonName="coredns",
        addonVersion="v1.11.4-eksbuild.22",
        configurationValues='{"replicaCount": 1}',
    )
    world.actors.when(world.eks.script.release, operation="^DescribeUpdate$")
    world.faults.add("eks", "^UpdateAddon$", author=TOOL, error=(409, "ResourceInUseException", "an update"), times=2)
    result = bring_up(world, **DNS)
    assert not result["failed"], result
    assert [one["version"] for one in result["addons"][0]["updates"]] == ["v1.11.4-eksbuild.22", DEFAULT_DNS]
    assert updates(world, "coredns") == ["Successful", "Successful"]


# ---- what goes wrong


@pytest.mark.scenario(OLD_ADDONS)
def test_an_update_that_eks_fails_stops_what_is_behind_it_and_the_next_run_goes_on(world: World) -> None:
    world.eks.script.fail("AddonUpdate", "AdmissionRequestDenied", "the webhook says no", of="vpc-cni")
    result = bring_up(world, self_managed="ignore")
    assert (result["reason"], result["addon"], result["not_begun"]) == ("update_failed", "vpc-cni", ["coredns"])
    assert "AdmissionRequestDenied: the webhook says no" in result["msg"]
    assert "Let the admission webhook" in result["msg"]
    assert result["addons"][0]["status"] == "UPDATE_FAILED" and not result["addons"][0]["version"].startswith("v1.20")

    again = bring_up(world, self_managed="ignore")
    assert not again["failed"], again["msg"]
    assert again["diff"]["after"] == {"vpc-cni": "v1.20.4-eksbuild.2", "coredns": DEFAULT_DNS}
    assert updates(world, "vpc-cni") == ["Failed", "Successful"]


def test_an_update_that_eks_does_not_begin(world: World) -> None:
    """The configuration of the add-on has a name that the new version does not know any more."""
    said = "ConfigurationValue provided in request is not supported"
    world.faults.add("eks", "^UpdateAddon$", author=TOOL, error=(400, "InvalidParameterException", said))
    result = bring_up(world, **DNS)
    assert (result["reason"], result["changed"]) == ("update_refused", False)
    assert (
        f"EKS refuses to update coredns v1.11.4-eksbuild.2 -> {DEFAULT_DNS}" in result["msg"] and said in result["msg"]
    )


def test_fields_in_conflict_with_none_and_taken_back_with_overwrite(world: World) -> None:
    change_replicas(world, 2)
    refused = bring_up(world, addons=[{"name": "coredns", "resolve_conflicts": "NONE"}])
    assert refused["reason"] == "update_failed"
    assert "ConfigurationConflict" in refused["msg"] and "PRESERVE or OVERWRITE" in refused["msg"]
    taken_back = bring_up(world, resolve_conflicts="OVERWRITE", **DNS)
    assert not taken_back["failed"], taken_back["msg"]
    assert workload(world, "deployments", "coredns")["spec"]["replicas"] == 1


def test_an_addon_that_eks_finds_ill_is_a_failure_with_its_issues(world: World) -> None:
    world.eks.addons.degrade("coredns", "AccessDenied", "the role is gone")
    result = bring_up(world, **DNS)
    assert (result["reason"], result["addons"][0]["version"]) == ("addon_unhealthy", DEFAULT_DNS)
    assert f"is DEGRADED at {DEFAULT_DNS}: AccessDenied: the role is gone. Give the add-on's role" in result["msg"]
    assert result["addons"][0]["issues"] == ["AccessDenied: the role is gone"]

    world.actors.at(30, lambda: world.eks.addons.recover("coredns"))
    again = bring_up(world, **DNS)
    assert (again["failed"], again["changed"]) == (False, False), "it is well again within the time to settle"
    assert len(requests(world)) == 1


def test_an_image_that_is_not_there_is_named_with_its_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The known trouble of upgrades: kube-proxy in ImagePullBackOff."""
    monkeypatch.setattr(eks_catalogue, "has_image", lambda image: "v1.33.0" not in image)
    scenario = Scenario(
        groups=[NodeGroup("shared", size=1, outdated=False)],
        version="1.33",
        addons=[Addon("kube-proxy", "v1.31.2-eksbuild.2", managed=False)],
    )
    with World.start(scenario, speed=60) as world:
        result = bring_up(world, addons="kube-proxy", self_managed="set", timeout=3)
    assert (result["reason"], result["addon"]) == ("pods_timeout", "kube-proxy")
    assert "DaemonSet kube-system/kube-proxy: 1 of 1 pods are new, 0 are available" in result["msg"]
    assert "ImagePull" in result["msg"] and "ImagePull" in result["pods"][0]
    assert f"kubectl apply -f {result['addons'][0]['backups'][0]}" in result["msg"]


REFUSED = (
    (
        {"addons": ["coredns", "adot", "x"]},
        "addon_missing",
        "has no add-on adot, x; EKS manages there: vpc-cni, coredns",
    ),
    ({"addons": "kube-proxy", "self_managed": "ignore"}, "addon_missing", "passed over with self_managed=ignore"),
    (
        {"addons": ["vpc-cni", {"name": "coredns", "version": "v9.9.9-eksbuild.1"}]},
        "unknown_version",
        "There is no version v9.9.9-eksbuild.1 of the add-on coredns for Kubernetes 1.33. Name one of v1.12.1",
    ),
    ({"kubernetes_version": "1.34", "version": "latest"}, "unknown_version", "but the cluster is at 1.33"),
    ({"kubernetes_version": "1.33.2"}, "invalid_input", "'1.33.2' is not a Kubernetes version of EKS"),
)


@pytest.mark.scenario(OLD_ADDONS)
def test_what_cannot_be_meant_changes_nothing(world: World) -> None:
    for given, reason, message in REFUSED:
        result = bring_up(world, **given)
        assert result["reason"] == reason and message in result["msg"], result["msg"]
    assert requests(world) == []
