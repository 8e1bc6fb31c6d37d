# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cluster_snapshot, cluster_verify and the role verify against the world of an upgrade."""

from __future__ import annotations

import json
from typing import Any

import pytest
from integration.permissions import grant_only_what_is_documented, objects_of_limited_rules

from simulator.identities import SOMEBODY, TOOL
from simulator.scenarios import UPGRADE, Addon, Deployment, NodeGroup, Scenario
from simulator.world import World

FAST = 120.0
VAULT = [{"annotation": "vault.hashicorp.com/agent-inject", "container": "vault-agent"}]
DEPLOYMENT = "/apis/apps/v1/namespaces/{}/deployments/{}"
SMALL = Scenario(
    name="small-upgrade",
    version="1.33",
    groups=[NodeGroup("shared", size=2, outdated=False)],
    workloads=[Deployment("web", replicas=2, namespace="shop")],
    addons=[Addon("coredns", "v1.11.3-eksbuild.1"), Addon("aws-ebs-csi-driver", "v1.48.0-eksbuild.1", managed=False)],
)


def snapshot(world: World, *, check: bool = False, **options: Any) -> dict[str, Any]:
    arguments = {"cluster_name": world.scenario.cluster, "poll_seconds": 0.1, **options}
    return world.module("evergreen.eks.cluster_snapshot", arguments, check=check)


def verify(world: World, *, check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"poll_seconds": 0.1, "timeout": 5, "settle_seconds": 1, **options}
    arguments = {"cluster_name": world.scenario.cluster, **given}
    return world.module("evergreen.eks.cluster_verify", arguments, check=check)


def found(answer: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(one["check"], one["severity"], one["object"]) for one in answer["findings"]}


def changes(world: World) -> list[str]:
    return [call.operation for call in world.record.calls(author=TOOL, mutating=True)]


def pods_of(world: World, app: str, namespace: str) -> list[dict[str, Any]]:
    items, _version = world.client().list(f"/api/v1/namespaces/{namespace}/pods", label_selector=f"app={app}")
    return items


# ---- snapshots


@pytest.mark.scenario(UPGRADE, speed=FAST)
def test_a_snapshot_is_kept_for_its_run_and_compared(world: World) -> None:
    """In a file and beside the cluster's checkpoint; where one of them is lost, it is copied from the other."""
    grant_only_what_is_documented(world)
    path, state = world.home / "before", world.home / "state"
    places = {"path": str(path), "checkpoints": {"dir": str(state)}, "run_id": "run-1"}
    missing = snapshot(world, **places, state="compared")
    assert missing["reason"] == "picture_missing" and "of run run-1" in missing["msg"]
    assert snapshot(world, **places, check=True)["changed"] and not path.exists()

    taken = snapshot(world, **places)
    (beside,) = state.rglob("*.picture")
    assert taken["changed"] and beside.name == "%3Acluster.picture" and beside.parent.name == world.scenario.cluster
    assert [file.stat().st_mode & 0o777 for file in (path, beside)] == [0o600, 0o600]
    assert (taken["numbers"]["nodes"], taken["version"].split(".")[:2]) == (9, ["v1", "31"])
    path.unlink()
    again = snapshot(world, **places)
    assert again["changed"] and again["taken"] == taken["taken"] and path.read_bytes() == beside.read_bytes()
    assert not snapshot(world, **places)["changed"]
    assert not snapshot(world, **places, state="compared")["different"]
    assert changes(world) == []

    cordoned = world.beginning.nodes[min(world.beginning.groups["istio"].instances)].name
    world.actors.cordon(cordoned)
    template = world.client().get(DEPLOYMENT.format("shop", "storefront"))["spec"]["template"]
    renamed = [{"name": template["spec"]["containers"][0]["name"], "image": "registry/storefront:2"}]
    image = {"spec": {"template": {"spec": {"containers": renamed}}}}
    world.client().patch(DEPLOYMENT.format("shop", "storefront"), image, kind="strategic")
    world.client().delete(DEPLOYMENT.format("batch", "reports"))
    world.wait_until(lambda _now: not pods_of(world, "reports", "batch"), "the pods on Fargate gone")
    answer = snapshot(world, **places, state="compared")
    told = answer["difference"]
    assert answer["different"] and not answer["changed"]
    assert {"object": f"Node {cordoned}", "what": "scheduling", "was": "schedulable", "is": "cordoned"} in told["nodes"]
    assert "Deployment batch/reports" in told["workloads_gone"] and len(told["nodes_gone"]) == 2
    (renewed,) = [one for one in told["workloads"] if one["what"] == "images"]
    assert (renewed["object"], renewed["is"]) == ("Deployment shop/storefront", "storefront:2")
    assert f"- gone: {', '.join(sorted(name.partition('.')[0] for name in told['nodes_gone']))}\n" in answer["text"]

    later = world.home / "later"
    assert snapshot(world, path=str(later), run_id="run-2")["changed"]
    both = snapshot(world, path=str(path), state="compared", after=str(later))
    assert both["difference"]["workloads_gone"] == ["Deployment batch/reports"]


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_snapshot_in_a_config_map(world: World) -> None:
    grant_only_what_is_documented(world, "configmap", upgrade=True)
    assert snapshot(world, checkpoints={"store": "configmap"})["changed"]
    assert not snapshot(world, checkpoints={"store": "configmap"})["changed"]
    items, _version = world.client().list(
        "/api/v1/namespaces/kube-system/configmaps", label_selector="app.kubernetes.io/managed-by=evergreen.eks"
    )
    (kept,) = items
    assert list(kept["binaryData"]) == ["picture.gz"]
    assert f"kube-system/{kept['metadata']['name']}" in objects_of_limited_rules("configmaps", "configmap")
    answer = verify(world, checkpoints={"store": "configmap"}, checks=["snapshot"])
    assert (answer["healthy"], answer["checks"]["snapshot"], answer["checks"]["marks"]) == (True, "ok", "skipped")


# ---- a cluster that is well


@pytest.mark.scenario(UPGRADE, speed=FAST)
def test_a_cluster_that_is_well_passes_with_the_documented_permissions_and_nothing_is_changed(world: World) -> None:
    asked = grant_only_what_is_documented(world, upgrade=True)
    path = world.home / "before"
    snapshot(world, path=str(path), run_id="run-1")
    answer = verify(world, version="1.31", snapshot=str(path), run_id="run-1", sidecars=VAULT)
    assert answer["healthy"] and answer["findings"] == [], answer
    assert set(answer["checks"].values()) == {"ok"} and answer["looked"] == 2
    assert changes(world) == [] and {"ec2:DescribeImages", "eks:ListNodegroups"} <= asked.actions
    assert {verb for verb, *_rest in asked.verbs} == {"get", "list"}

    other_run = verify(world, snapshot=str(path), run_id="run-2")
    assert other_run["reason"] == "picture_missing"
    unknown = verify(world, node_groups=["shred"])
    assert unknown["reason"] == "group_not_found" and "Did you mean shared" in unknown["msg"]
    assert verify(world, version="1.33.1")["reason"] == "invalid_input"
    assert verify(world, checks=["cordon"])["reason"] == "invalid_input"


# ---- what is not as it should be


@pytest.mark.scenario(UPGRADE, speed=FAST)
def test_everything_that_is_not_as_it_should_be_is_named_at_once(world: World) -> None:
    """Somebody cordons, suspends and forgets; a run of ours was killed, its checkpoint lost; the injector was away."""
    world.injector.working = False
    lost = pods_of(world, "checkout", "shop")[0]["metadata"]["name"]
    world.actors.delete_pod("shop", lost)
    world.wait_until(lambda now: not now.pods_not_ready and len(pods_of(world, "checkout", "shop")) == 2, "a new pod")
    autoscaling, first = world.aws(SOMEBODY)("autoscaling"), sorted(world.beginning.groups["istio"].instances)[0]
    world.actors.suspend("istio", "Launch")
    tag = {"ResourceId": "istio", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
    autoscaling.create_or_update_tags(
        Tags=[
            {**tag, "Key": "evergreen.eks/run", "Value": "id=run-0"},
            {**tag, "Key": "evergreen.eks/suspended", "Value": "AZRebalance"},
        ]
    )
    world.actors.suspend("istio", "AZRebalance")
    world.aws(SOMEBODY)("ec2").create_tags(
        Resources=[first], Tags=[{"Key": "evergreen.eks/member", "Value": "run=run-0"}]
    )
    for instance in world.beginning.groups["logging"].instances:
        world.actors.cordon(world.beginning.nodes[instance].name)
    node = world.beginning.nodes[first].name
    marks = {"evergreen.eks/marks": json.dumps({"run": "run-0", "cordoned": True})}
    world.client().patch(f"/api/v1/nodes/{node}", {"metadata": {"annotations": marks}, "spec": {"unschedulable": True}})
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "evergreen-eks", "namespace": "kube-system"},
        "spec": {"holderIdentity": "elsewhere/b/1/1/7", "leaseTransitions": 1},
    }
    world.client().create("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", body)

    answer = verify(world, version="1.32", node_groups=["istio", "shared"], sidecars=VAULT)
    assert answer["failed"] and answer["reason"] == "unhealthy" and not answer["healthy"]
    cordons = {f"Node {world.beginning.nodes[one].name}" for one in world.beginning.groups["logging"].instances}
    assert found(answer) == {
        ("control_plane", "error", f"EKS cluster {world.scenario.cluster}"),
        ("node_versions", "error", "Auto Scaling group istio (1.31)"),
        ("node_versions", "error", "Auto Scaling group shared (1.31)"),
        ("node_versions", "warning", "Auto Scaling group logging (1.31)"),
        ("node_versions", "error", "Deployment batch/reports (1.31)"),
        ("kube_proxy", "warning", "DaemonSet kube-system/kube-proxy"),
        ("sidecars", "error", "Deployment shop/checkout"),
        ("leftover_groups", "error", "Auto Scaling group istio"),
        ("leftover_groups", "error", "Auto Scaling group shared"),
        ("leftover_groups", "warning", "Auto Scaling group logging"),
        ("leftover_groups", "error", "Auto Scaling group logging"),
        ("marks", "error", "Auto Scaling group istio"),
        ("marks", "error", f"Instance {first}"),
        ("marks", "error", f"Node {node}"),
        ("suspensions", "error", "Auto Scaling group istio"),
        ("suspensions", "warning", "Auto Scaling group istio"),
        ("cordons", "error", f"Node {node}"),
        *(("cordons", "warning", name) for name in cordons),
        ("lease", "warning", "Lease kube-system/evergreen-eks"),
    }
    assert answer["looked"] == 2 and changes(world) == []
    assert "EKS cluster evergreen-upgrade has version 1.31, 1.32 is wanted (control_plane)" in answer["msg"]

    ignore = ["control_plane", "node_versions", "leftover_groups", "marks", "suspensions", "lease", "cordons:Node ip-*"]
    rest = verify(world, version="1.32", sidecars=VAULT, ignore=ignore)
    assert found(rest) == {
        ("kube_proxy", "warning", "DaemonSet kube-system/kube-proxy"),
        ("sidecars", "error", "Deployment shop/checkout"),
    }
    assert {one["check"] for one in rest["ignored"]} == {"cordons"}
    looked = verify(world, version="1.32", check=True)
    assert not looked["failed"] and not looked["healthy"] and looked["looked"] == 1


@pytest.mark.scenario(SMALL, speed=FAST)
def test_what_may_pass_is_waited_for_and_what_does_not_pass_is_named(world: World) -> None:
    journal, path = world.home / "journal.jsonl", world.home / "before"
    snapshot(world, path=str(path))
    never = {"template": {"metadata": {"annotations": {"simulator/ready-after": "never"}}}}
    soon = {"template": {"metadata": {"annotations": {"simulator/ready-after": "1"}}}}
    world.client().patch(DEPLOYMENT.format("kube-system", "coredns"), {"spec": never})
    world.actors.when(lambda: world.outage(60), operation="^GET nodes$")
    # What a look asks for last.
    world.actors.when(
        lambda: world.client().patch(DEPLOYMENT.format("kube-system", "coredns"), {"spec": soon}),
        operation="^GET leases$",
    )
    answer = verify(world, timeout=60, journal=str(journal), snapshot=str(path))
    assert answer["healthy"], answer["msg"]
    kinds = [json.loads(line)["kind"] for line in journal.read_text().splitlines()]
    assert kinds[-1] == "verified" and {"finding", "finding_over", "trouble"} <= set(kinds)

    broken = {"template": {"metadata": {"annotations": {"simulator/image-pull-fails": "true"}}}}
    for kind, namespace, name in (("daemonsets", "kube-system", "ebs-csi-node"), ("deployments", "shop", "web")):
        world.client().patch(f"/apis/apps/v1/namespaces/{namespace}/{kind}/{name}", {"spec": broken})
    attachment = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": "csi-left", "finalizers": ["external-attacher/efs-csi-aws-com"]},
        "spec": {"attacher": "efs.csi.aws.com", "nodeName": "gone", "source": {"persistentVolumeName": "pv-1"}},
    }
    world.client().create("/apis/storage.k8s.io/v1/volumeattachments", attachment)
    answer = verify(world, snapshot=str(path))
    assert answer["reason"] == "unhealthy"
    assert found(answer) == {
        ("csi_drivers", "error", "VolumeAttachment csi-left"),
        ("csi_drivers", "error", "DaemonSet kube-system/ebs-csi-node"),
        ("snapshot", "error", "Deployment shop/web"),
    }
    assert "ImagePullBackOff" in answer["msg"] and answer["text"].count("- error, ") == 3


MANAGED = Scenario(
    name="managed",
    version="1.33",
    groups=[NodeGroup("eks-web", size=1, managed="web", outdated=False), NodeGroup("spare", size=0, outdated=False)],
)


@pytest.mark.scenario(MANAGED, speed=FAST)
def test_managed_node_groups_are_asked_at_eks_and_empty_ones_are_told(world: World) -> None:
    assert found(verify(world)) == {("leftover_groups", "warning", "Auto Scaling group spare")}
    behind = verify(world, version="1.34", node_groups=["spare"])
    assert ("managed_node_groups", "warning", "EKS node group web") in found(behind)
    assert ("node_versions", "warning", "EKS node group web (1.33)") in found(behind)
    assert ("managed_node_groups", "error", "EKS node group web") in found(
        verify(world, version="1.34", node_groups=["web"])
    )


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_missing_right_and_a_missing_template_are_named(world: World) -> None:
    world.cloud.authorize = lambda author, action: author != TOOL or action != "ec2:DescribeImages"
    denied = verify(world)
    assert denied["reason"] == "access_denied" and "ec2:DescribeImages" in denied["msg"]
    world.cloud.authorize = lambda _author, _action: True
    world.kubernetes.authorize = lambda user, _verb, _group, resource, _sub: resource != "leases" or TOOL not in user
    assert found(verify(world)) == {("lease", "warning", "Lease kube-system/evergreen-eks")}
    world.kubernetes.authorize = lambda *_all: True
    template = world.aws()("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=["shared"])
    template_id = template["AutoScalingGroups"][0]["LaunchTemplate"]["LaunchTemplateId"]
    world.aws()("ec2").delete_launch_template(LaunchTemplateId=template_id)
    answer = verify(world)
    assert found(answer) == {("leftover_groups", "error", "Auto Scaling group shared")}
    assert "can launch nothing" in answer["msg"] and template_id in answer["msg"]


# ---- the role


@pytest.mark.scenario(SMALL, speed=FAST)
def test_the_role_works_in_a_play_of_ones_own_and_its_answer_is_there_also_where_it_fails(world: World) -> None:
    cluster, before, told = world.scenario.cluster, world.home / "before", world.home / "told.json"
    connection = {"cluster_name": cluster, "poll_seconds": 0.1}
    role = {
        "verify_cluster_name": cluster,
        "verify_version": "1.33",
        "verify_snapshot": str(before),
        "verify_timeout": "3",
        "verify_settle_seconds": "1",
        "verify_ignore": "marks,cordons:Node x",
        "verify_poll_seconds": "0.1",
    }
    tasks = [
        {
            "name": "Keep it",
            "evergreen.eks.cluster_snapshot": {**connection, "path": str(before)},
            "delegate_to": "localhost",
        },
        {"name": "Well", "ansible.builtin.include_role": {"name": "evergreen.eks.verify"}, "vars": role},
        {
            "name": "Whatever comes",
            "block": [
                {
                    "name": "Not well",
                    "ansible.builtin.include_role": {"name": "evergreen.eks.verify"},
                    "vars": {**role, "verify_version": "1.32"},
                }
            ],
            "always": [
                {
                    "name": "Tell",
                    "ansible.builtin.copy": {
                        "content": "{{ verify_result | to_json }}",
                        "dest": str(told),
                        "mode": "0600",
                    },
                    "delegate_to": "localhost",
                }
            ],
        },
    ]
    play = {"name": "Mine", "hosts": "localhost", "gather_facts": False, "tasks": tasks}
    playbook = world.home / "play.yml"
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    run = world.playbook(str(playbook))
    answer = json.loads(told.read_text(encoding="utf-8"))
    assert run.rc == 2 and answer["reason"] == "unhealthy", run.output
    assert ("control_plane", "error", f"EKS cluster {cluster}") in found(answer)
    assert "verified after 2 looks: 0 errors" in run.stderr and "not as it should be" in run.output
