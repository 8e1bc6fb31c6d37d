# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of EKS that the world serves itself, by name: each takes the request's parameters as botocore's model
names them, and answers in the shape of that model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from simulator.aws import eks_catalogue, eks_fargate, eks_versions
from simulator.aws.eks import Clusters
from simulator.aws.eks_errors import page

Params = Mapping[str, Any]
Answer = dict[str, Any]


def _addons(clusters: Clusters, params: Params) -> Any:
    return clusters.estate(params["clusterName"]).addons


def _insights(clusters: Clusters, params: Params) -> Any:
    return clusters.estate(params["clusterName"]).insights


def _nodegroups(clusters: Clusters, params: Params) -> Any:
    return clusters.estate(params["clusterName"]).nodegroups


def _create_addon(clusters: Clusters, params: Params) -> Answer:
    addons = _addons(clusters, params)
    return {"addon": addons.describe(addons.create(params).name)}


OPERATIONS: dict[str, Callable[[Clusters, Params], Answer]] = {
    "describe_cluster": lambda clusters, given: {"cluster": clusters.describe(given["name"])},
    "update_cluster_version": lambda clusters, given: {"update": clusters.update_version(given).answer()},
    "describe_update": lambda clusters, given: {"update": clusters.find_update(given).answer()},
    "list_updates": lambda clusters, given: clusters.list_updates(given),
    "cancel_update": lambda clusters, given: {"update": clusters.cancel_update(given).answer()},
    "describe_cluster_versions": lambda _clusters, given: page(
        eks_versions.describe_versions(given), given, "clusterVersions"
    ),
    "describe_addon_versions": lambda _clusters, given: eks_catalogue.describe_versions(given),
    "describe_addon_configuration": lambda _clusters, given: eks_catalogue.describe_configuration(given),
    "list_addons": lambda clusters, given: page(_addons(clusters, given).names(), given, "addons"),
    "describe_addon": lambda clusters, given: {"addon": _addons(clusters, given).describe(given["addonName"])},
    "create_addon": _create_addon,
    "update_addon": lambda clusters, given: {"update": _addons(clusters, given).update(given).answer()},
    "delete_addon": lambda clusters, given: {"addon": _addons(clusters, given).delete(given)},
    "list_insights": lambda clusters, given: page(_insights(clusters, given).list(given), given, "insights"),
    "describe_insight": lambda clusters, given: {"insight": _insights(clusters, given).describe(given["id"])},
    "start_insights_refresh": lambda clusters, given: _insights(clusters, given).start_refresh(),
    "describe_insights_refresh": lambda clusters, given: _insights(clusters, given).describe_refresh(),
    "list_nodegroups": lambda clusters, given: page(_nodegroups(clusters, given).names(), given, "nodegroups"),
    "describe_nodegroup": lambda clusters, given: {
        "nodegroup": _nodegroups(clusters, given).describe(given["nodegroupName"])
    },
    "update_nodegroup_version": lambda clusters, given: {
        "update": _nodegroups(clusters, given).update_version(given).answer()
    },
    "list_fargate_profiles": lambda clusters, given: page(
        eks_fargate.names(clusters.find(given["clusterName"])), given, "fargateProfileNames"
    ),
    "describe_fargate_profile": lambda clusters, given: {
        "fargateProfile": eks_fargate.describe(clusters.find(given["clusterName"]), given["fargateProfileName"])
    },
}

#: of those, the paths that moto does not know
PATHS = (
    "{0}/addons/configuration-schemas$",
    "{0}/addons/supported-versions$",
    "{0}/cluster-versions$",
    "{0}/clusters/(?P<name>[^/]+)/addons$",
    "{0}/clusters/(?P<name>[^/]+)/addons/(?P<addonName>[^/]+)$",
    "{0}/clusters/(?P<name>[^/]+)/addons/(?P<addonName>[^/]+)/update$",
    "{0}/clusters/(?P<name>[^/]+)/insights$",
    "{0}/clusters/(?P<name>[^/]+)/insights/(?P<id>[^/]+)$",
    "{0}/clusters/(?P<name>[^/]+)/insights-refresh$",
    "{0}/clusters/(?P<name>[^/]+)/node-groups/(?P<nodegroupName>[^/]+)/update-version$",
    "{0}/clusters/(?P<name>[^/]+)/updates$",
    "{0}/clusters/(?P<name>[^/]+)/updates/(?P<updateId>[^/]+)$",
    "{0}/clusters/(?P<name>[^/]+)/updates/(?P<updateId>[^/]+)/cancel-update$",
)
