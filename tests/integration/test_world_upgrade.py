# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal world can be upgraded: control plane, add-ons with their objects, images, Fargate, sidecars.

Written to be read as examples; the rules of each API are in tests/unit/simulator/aws.
"""

from __future__ import annotations

import ssl
import urllib.request
from typing import Any

import pytest

from simulator.identities import SOMEBODY
from simulator.in_cluster import AUTHOR as EKS
from simulator.scenarios import (
    UPGRADE,
    Addon,
    Budget,
    Deployment,
    FargateProfile,
    NodeGroup,
    Scenario,
    StatefulSet,
)
from simulator.world import World

CLUSTER = UPGRADE.cluster
LINUX_2 = "/aws/service/eks/optimized-ami/1.31/amazon-linux-2/recommended/image_id"
LINUX_2023 = "/aws/service/eks/optimized-ami/{}/amazon-linux-2023/x86_64/standard/recommended/image_id"
AWS_NODE = "/apis/apps/v1/namespaces/kube-system/daemonsets/aws-node"
KUBE_PROXY = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy"
FAST = 300.0

ONE_GROUP = Scenario(
    name="one-group",
    cluster=CLUSTER,
    version="1.31",
    groups=[NodeGroup("shared", size=2, max_size=4, outdated=False)],
    addons=[
        Addon("vpc-cni", "v1.19.2-eksbuild.1"),
        Addon("coredns", "v1.11.3-eksbuild.1"),
        Addon("kube-proxy", "v1.31.2-eksbuild.2", managed=False),
    ],
)


def upgrade(world: World, version: str) -> dict[str, Any]:
    """Upgrade the control plane, and wait; the update as it ended."""
    eks = world.aws()("eks")
    update_id = eks.update_cluster_version(name=CLUSTER, version=version)["update"]["id"]
    return ended(world, name=CLUSTER, updateId=update_id)


def update_addon(world: World, addon: str, **given: Any) -> dict[str, Any]:
    """Update an add-on, and wait; the update as it ended."""
    eks = world.aws()("eks")
    update_id = eks.update_addon(clusterName=CLUSTER, addonName=addon, **given)["update"]["id"]
    return ended(world, name=CLUSTER, addonName=addon, updateId=update_id)


def ended(world: World, **update: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def is_over(_now: Any) -> bool:
        found.update(world.aws()("eks").describe_update(**update)["update"])
        return found["status"] != "InProgress"

    world.wait_until(is_over, "the update over", seconds=3600)
    return found


def addon(world: World, name: str) -> dict[str, Any]:
    return world.aws()("eks").describe_addon(clusterName=CLUSTER, addonName=name)["addon"]


def served_version(world: World) -> str:
    """What the endpoint itself answers at /version, asked as anybody may."""
    context = ssl.create_default_context(cadata=world.server.ca_pem)
    with urllib.request.urlopen(f"{world.server.url}/version", context=context) as answer:
        return answer.read().decode()


def container(world: World, path: str) -> dict[str, Any]:
    return world.client().get(path)["spec"]["template"]["spec"]["containers"][0]


def set_environment(world: World, **environment: str) -> None:
    """Somebody changes the CNI's environment by hand."""
    env = [{"name": name, "value": value} for name, value in environment.items()]
    body = {"spec": {"template": {"spec": {"containers": [{"name": "aws-node", "env": env}]}}}}
    world.client(SOMEBODY).patch(AWS_NODE, body, kind="strategic")


def environment(world: World) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(world, AWS_NODE)["env"]}


def restart(world: World, kind: str, namespace: str, name: str) -> None:
    """``kubectl rollout restart``."""
    annotation = {"kubectl.kubernetes.io/restartedAt": world.clock.timestamp()}
    body = {"spec": {"template": {"metadata": {"annotations": annotation}}}}
    world.client().patch(f"/apis/apps/v1/namespaces/{namespace}/{kind}/{name}", body)


def pods(world: World, namespace: str, app: str) -> list[dict[str, Any]]:
    found, _version = world.client().list(f"/api/v1/namespaces/{namespace}/pods", label_selector=f"app={app}")
    return found


# ---- the scenario


@pytest.mark.scenario(UPGRADE, speed=FAST)
def test_the_scenario_upgrade_has_everything_that_is_old(world: World) -> None:
    now = world.beginning
    assert served_version(world).count("v1.31.0") == 1
    assert {node.kubelet for node in now.nodes.values()} == {"1.31"}
    assert sum(1 for name in now.nodes if name.startswith("fargate-ip-")) == 2, "one node for each pod there"
    assert world.aws()("eks").list_addons(clusterName=CLUSTER)["addons"] == ["coredns", "vpc-cni"]
    assert "/eks/kube-proxy:v1.31.2-minimal-eksbuild.2" in container(world, KUBE_PROXY)["image"], "that nobody manages"
    assert world.aws()("eks").list_fargate_profiles(clusterName=CLUSTER)["fargateProfileNames"] == ["batch"]
    for pod in pods(world, "shop", "checkout"):
        assert [one["name"] for one in pod["spec"]["containers"]] == ["main", "vault-agent"]


# ---- the control plane


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_the_kubernetes_api_follows_the_update_and_is_away_for_a_moment(world: World) -> None:
    assert upgrade(world, "1.32")["status"] == "Successful"
    disturbances = world.record.notes("endpoint_disturbed")
    assert [note["seconds"] for note in disturbances] == [3.0, 5.0], "half-way, and at the end"
    world.clock.advance(10)
    world.wait_until(lambda now: world.reachable, "the endpoint back")
    assert served_version(world).count("v1.32.0") == 1
    assert {node.kubelet for node in world.snapshot().nodes.values()} == {"1.31"}, "nodes stay what they are"


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_a_test_says_how_long_the_endpoint_is_away(world: World) -> None:
    world.eks.disturbances = ((0.5, 900.0),)
    world.aws()("eks").update_cluster_version(name=CLUSTER, version="1.32")
    world.wait_until(lambda now: not world.reachable, "the endpoint away")
    with pytest.raises(OSError):
        served_version(world)
    assert world.server.refused >= 1
    world.wait_until(lambda now: world.reachable, "the endpoint back", seconds=3600)
    assert served_version(world).count("v1.32.0") == 1, "the update has ended meanwhile"


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_a_failed_update_leaves_everything_as_it_was(world: World) -> None:
    world.eks.script.fail("VersionUpdate", "IpNotAvailable", "subnet-1 has no free addresses")
    update = upgrade(world, "1.32")
    assert (update["status"], update["errors"][0]["errorCode"]) == ("Failed", "IpNotAvailable")
    assert world.kubernetes.version == "1.31"


# ---- add-ons


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_an_addon_update_changes_its_objects_and_waits_for_their_pods(world: World) -> None:
    assert update_addon(world, "coredns", addonVersion="v1.11.4-eksbuild.22")["status"] == "Successful"
    assert addon(world, "coredns")["status"] == "ACTIVE"
    images = {
        one["spec"]["containers"][0]["image"].rpartition(":")[2]
        for one in world.client().list("/api/v1/namespaces/kube-system/pods", label_selector="k8s-app=kube-dns")[0]
        if not one["metadata"].get("deletionTimestamp")
    }
    assert images == {"v1.11.4-eksbuild.22"}
    assert world.record.calls(author=EKS, service="kubernetes", operation="PUT deployments")
    assert world.record.notes("budget_violated") == []


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_conflicts_fail_an_update_are_overwritten_or_preserved(world: World) -> None:
    set_environment(world, ENABLE_PREFIX_DELEGATION="true", OUR_OWN="x")
    newer = {"addonVersion": "v1.20.4-eksbuild.2"}
    update = update_addon(world, "vpc-cni", **newer)
    assert update["errors"][0]["errorCode"] == "ConfigurationConflict"
    place = '.spec.template.spec.containers[name="aws-node"].env[name="ENABLE_PREFIX_DELEGATION"].value'
    assert f"DaemonSet.apps aws-node - {place}" in update["errors"][0]["errorMessage"]
    assert (addon(world, "vpc-cni")["status"], addon(world, "vpc-cni")["addonVersion"]) == (
        "UPDATE_FAILED",
        "v1.19.2-eksbuild.1",
    )
    assert update_addon(world, "vpc-cni", **newer, resolveConflicts="PRESERVE")["status"] == "Successful"
    assert environment(world)["ENABLE_PREFIX_DELEGATION"] == "true"
    assert container(world, AWS_NODE)["image"].endswith("amazon-k8s-cni:v1.20.4-eksbuild.2")
    assert update_addon(world, "vpc-cni", resolveConflicts="OVERWRITE")["status"] == "Successful"
    assert environment(world)["ENABLE_PREFIX_DELEGATION"] == "false"
    assert environment(world)["OUR_OWN"] == "x", "what EKS never set is nobody's conflict"


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_configuration_values_reach_the_objects(world: World) -> None:
    update_addon(world, "coredns", configurationValues="replicaCount: 3")
    assert world.client().get("/apis/apps/v1/namespaces/kube-system/deployments/coredns")["spec"]["replicas"] == 3
    assert addon(world, "coredns")["configurationValues"] == "replicaCount: 3"


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_a_self_managed_kube_proxy_is_brought_under_eks_only_by_overwriting(world: World) -> None:
    eks = world.aws()("eks")
    given = {"clusterName": CLUSTER, "addonName": "kube-proxy", "addonVersion": "v1.31.5-eksbuild.8"}
    eks.create_addon(**given)
    world.wait_until(lambda now: addon(world, "kube-proxy")["status"] == "CREATE_FAILED", "the conflict seen")
    assert addon(world, "kube-proxy")["health"]["issues"][0]["code"] == "ConfigurationConflict"
    eks.delete_addon(clusterName=CLUSTER, addonName="kube-proxy", preserve=True)
    world.wait_until(lambda now: "kube-proxy" not in eks.list_addons(clusterName=CLUSTER)["addons"], "it forgotten")
    assert container(world, KUBE_PROXY)["image"].endswith(":v1.31.2-minimal-eksbuild.2"), "its objects stay"
    eks.create_addon(**given, resolveConflicts="OVERWRITE")
    world.wait_until(lambda now: addon(world, "kube-proxy")["status"] == "ACTIVE", "it ACTIVE")
    assert container(world, KUBE_PROXY)["image"].endswith(":v1.31.5-minimal-eksbuild.8")


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_an_image_that_eks_never_published_cannot_be_pulled_and_a_daemon_set_stops_there(world: World) -> None:
    image = container(world, KUBE_PROXY)["image"].replace("v1.31.2", "v1.31.99")
    body = {"spec": {"template": {"spec": {"containers": [{"name": "kube-proxy", "image": image}]}}}}
    world.client(SOMEBODY).patch(KUBE_PROXY, body, kind="strategic")

    def waiting(_now: Any) -> list[dict[str, Any]]:
        found, _version = world.client().list("/api/v1/pods", label_selector="k8s-app=kube-proxy")
        states = [(pod.get("status", {}).get("containerStatuses") or [{}])[0].get("state", {}) for pod in found]
        return [state for state in states if state.get("waiting", {}).get("reason") == "ImagePullBackOff"]

    world.wait_until(waiting, "a pod in ImagePullBackOff")
    world.clock.advance(300)
    assert len(waiting(None)) == 1, "maxUnavailable: no second pod is touched"


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_an_addon_without_a_ready_pod_is_degraded(world: World) -> None:
    world.actors.scale("coredns", 0, "kube-system")
    never = {"spec": {"template": {"metadata": {"annotations": {"simulator/ready-after": "never"}}}}}
    world.client(SOMEBODY).patch("/apis/apps/v1/namespaces/kube-system/deployments/coredns", never)
    world.wait_until(lambda now: not any("coredns" in pod for pod in now.pods), "no pod of it left")
    world.actors.scale("coredns", 2, "kube-system")
    world.wait_until(lambda now: addon(world, "coredns")["status"] == "DEGRADED", "it DEGRADED")
    assert addon(world, "coredns")["health"]["issues"][0]["code"] == "InsufficientNumberOfReplicas"


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_an_update_whose_pods_do_not_come_up_fails_and_leaves_the_addon_degraded(world: World) -> None:
    never = {"spec": {"template": {"metadata": {"annotations": {"simulator/ready-after": "never"}}}}}
    world.client(SOMEBODY).patch(AWS_NODE, never)
    update = update_addon(world, "vpc-cni", addonVersion="v1.20.4-eksbuild.2", resolveConflicts="PRESERVE")
    assert (update["status"], update["errors"][0]["errorCode"]) == ("Failed", "InsufficientNumberOfReplicas")
    assert (addon(world, "vpc-cni")["status"], addon(world, "vpc-cni")["addonVersion"]) == (
        "DEGRADED",
        "v1.20.4-eksbuild.2",
    )
    assert len(world.client().list("/api/v1/pods", label_selector="k8s-app=aws-node")[0]) == 2
    well = {"spec": {"template": {"metadata": {"annotations": {"simulator/ready-after": "0"}}}}}
    world.client(SOMEBODY).patch(AWS_NODE, well)
    world.wait_until(lambda now: addon(world, "vpc-cni")["status"] == "ACTIVE", "it well again")


# ---- nodes of a new version


@pytest.mark.scenario(ONE_GROUP.with_group("shared", image_parameter=LINUX_2), speed=FAST)
def test_a_node_has_the_version_and_the_system_of_its_image(world: World) -> None:
    eks, ec2, ssm = world.aws()("eks"), world.aws()("ec2"), world.aws()("ssm")
    insights = {one["name"]: one for one in eks.list_insights(clusterName=CLUSTER)["insights"]}
    assert insights["Amazon Linux 2 compatibility"]["insightStatus"]["status"] == "WARNING"
    upgrade(world, "1.32")
    image = ssm.get_parameter(Name=LINUX_2023.format("1.32"))["Parameter"]["Value"]
    ec2.create_launch_template_version(
        LaunchTemplateId=world.provisioner.templates["shared"],
        SourceVersion="$Latest",
        LaunchTemplateData={"ImageId": image},
    )
    world.actors.set_desired("shared", 3)
    now = world.wait_until(lambda now: sum(node.ready for node in now.nodes.values()) == 3, "a third node Ready")
    (new,) = set(now.nodes) - set(world.beginning.nodes)
    assert now.nodes[new].kubelet == "1.32"
    node = world.client().get(f"/api/v1/nodes/{now.nodes[new].name}")
    assert node["status"]["nodeInfo"]["osImage"].startswith("Amazon Linux 2023")
    assert {now.nodes[old].kubelet for old in world.beginning.nodes} == {"1.31"}


@pytest.mark.scenario(
    Scenario(
        name="managed",
        cluster=CLUSTER,
        version="1.31",
        groups=[NodeGroup("eks-web", size=2, outdated=False, managed="web")],
        workloads=[Deployment("web", replicas=2, budget=Budget(min_available=2))],
    ),
    speed=FAST,
)
def test_a_managed_node_group_stops_at_a_budget_unless_it_is_forced(world: World) -> None:
    upgrade(world, "1.32")
    eks = world.aws()("eks")
    given = {"clusterName": CLUSTER, "nodegroupName": "web", "version": "1.32"}
    update_id = eks.update_nodegroup_version(**given)["update"]["id"]
    update = ended(world, name=CLUSTER, nodegroupName="web", updateId=update_id)
    (error,) = update["errors"]
    assert error["errorCode"] == "PodEvictionFailure"
    assert set(error["resourceIds"]) <= {node.name for node in world.beginning.nodes.values()}
    assert world.record.notes("instance_removed") == []
    update_id = eks.update_nodegroup_version(**given, force=True)["update"]["id"]
    assert ended(world, name=CLUSTER, nodegroupName="web", updateId=update_id)["status"] == "Successful"
    now = world.wait_until(lambda now: len(now.nodes) == 2, "the old nodes gone")
    assert {node.kubelet for node in now.nodes.values()} == {"1.32"}
    assert now.groups["eks-web"].desired == 2
    assert now.groups["eks-web"].tags["eks:nodegroup-name"] == "web"


# ---- Fargate, sidecars, restarts


@pytest.mark.scenario(UPGRADE, speed=FAST)
def test_a_restart_gives_fargate_pods_nodes_of_the_new_version_and_brings_sidecars(world: World) -> None:
    upgrade(world, "1.32")
    old = {name for name in world.snapshot().nodes if name.startswith("fargate-")}
    assert len(old) == 2
    restart(world, "deployments", "batch", "reports")

    def fresh(now: Any) -> bool:
        nodes = {name: node for name, node in now.nodes.items() if name.startswith("fargate-")}
        return len(nodes) == 2 and not old & set(nodes) and {node.kubelet for node in nodes.values()} == {"1.32"}

    now = world.wait_until(fresh, "two fresh Fargate nodes")
    assert len([home for pod, home in now.pods.items() if pod.startswith("batch/") and "fargate-" in home]) == 2

    world.injector.working = False
    restart(world, "deployments", "shop", "checkout")

    def sidecars(_now: Any) -> set[int]:
        found = [pod for pod in pods(world, "shop", "checkout") if not pod["metadata"].get("deletionTimestamp")]
        return {len(pod["spec"]["containers"]) for pod in found}

    world.wait_until(lambda now: sidecars(now) == {1}, "pods without their sidecar, as the injector is away")
    world.injector.working = True
    restart(world, "deployments", "shop", "checkout")
    world.wait_until(lambda now: sidecars(now) == {2}, "every pod with its sidecar")


@pytest.mark.scenario(
    Scenario(
        name="restarts",
        cluster=CLUSTER,
        version="1.31",
        groups=[NodeGroup("shared", size=2, outdated=False)],
        workloads=[StatefulSet("database", replicas=2, zonal_volume=True)],
        fargate=[FargateProfile("jobs", "jobs", {"tier": "batch"})],
    ),
    speed=FAST,
)
def test_stateful_sets_and_daemon_sets_restart_too(world: World) -> None:
    before = {pod["metadata"]["uid"] for pod in world.client().list("/api/v1/pods")[0]}
    restart(world, "statefulsets", "default", "database")
    restart(world, "daemonsets", "kube-system", "kube-proxy")

    def renewed(_now: Any) -> bool:
        found = world.client().list("/api/v1/pods")[0]
        chosen = [pod for pod in found if pod["metadata"]["labels"].get("app") in ("database", "kube-proxy")]
        return len(chosen) == 4 and not before & {pod["metadata"]["uid"] for pod in chosen}

    world.wait_until(lambda now: renewed(now) and not now.pods_not_ready, "every pod made anew")
    world.fargate.working = False
    lonely = {"name": "lonely", "labels": {"tier": "batch"}}
    world.client().create("/api/v1/namespaces", {"metadata": {"name": "jobs"}})
    spec = {"containers": [{"name": "main", "image": "registry.invalid/one:1"}]}
    world.client().create("/api/v1/namespaces/jobs/pods", {"metadata": lonely, "spec": spec})
    world.clock.advance(300)
    pod = world.client().get("/api/v1/namespaces/jobs/pods/lonely")
    assert pod["spec"]["schedulerName"] == "fargate-scheduler"
    assert not pod["spec"].get("nodeName"), "Fargate has no room"


# ---- as seen by ordinary tools


@pytest.mark.scenario(ONE_GROUP, speed=FAST)
def test_everything_is_recorded_with_its_author_and_can_be_disturbed(world: World) -> None:
    world.faults.add("eks", "^UpdateClusterVersion$", error=(429, "ThrottlingException", "Rate exceeded"), times=1)
    upgrade(world, "1.32")  # the SDK tries again
    calls = world.record.calls(service="eks", mutating=True)
    assert [(call.operation, call.target, call.author, call.status) for call in calls] == [
        ("UpdateClusterVersion", CLUSTER, "operator", 429),
        ("UpdateClusterVersion", CLUSTER, "operator", 200),
    ]
