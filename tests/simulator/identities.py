# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is who in the world: each actor has an access key of its own, by which the record tells them apart."""

from __future__ import annotations

import boto3
from botocore.config import Config

TOOL_KEY = "AKIAEVERGREENTOOL00"
SECOND_TOOL_KEY = "AKIAEVERGREENTOOL02"  # of another run of the collection, to be told from the first one
THIRD_TOOL_KEY = "AKIAEVERGREENTOOL03"
OPERATOR_KEY = "AKIAOPERATOR00000000"
AUTOSCALER_KEY = "AKIAAUTOSCALER000000"
SOMEBODY_KEY = "AKIASOMEBODYELSE0000"
BALANCER_CONTROLLER_KEY = "AKIALOADBALANCERCTRL"
STRANGER_KEY = "AKIASTRANGER00000000"  # valid for AWS, but mapped to no user in the cluster

TOOL = "evergreen"  # the collection under test
SECOND_TOOL = "evergreen-2"  # another run of it
THIRD_TOOL = "evergreen-3"
TOOLS = (TOOL, SECOND_TOOL, THIRD_TOOL)
OPERATOR = "operator"  # who built the cluster
AUTOSCALER = "cluster-autoscaler"
BALANCER_CONTROLLER = "aws-load-balancer-controller"
SOMEBODY = "somebody"  # any other person or tool
WORLD = "world"  # the world itself: cloud controller, controllers, kubelets

AUTHORS = {
    TOOL_KEY: TOOL,
    SECOND_TOOL_KEY: SECOND_TOOL,
    THIRD_TOOL_KEY: THIRD_TOOL,
    OPERATOR_KEY: OPERATOR,
    AUTOSCALER_KEY: AUTOSCALER,
    BALANCER_CONTROLLER_KEY: BALANCER_CONTROLLER,
    SOMEBODY_KEY: SOMEBODY,
}
KEYS = {author: key for key, author in AUTHORS.items()}


class AwsClients:
    """boto3 clients of one author for the world's AWS, made when first needed."""

    def __init__(self, url: str, region: str, author: str):
        self._url = url
        self._session = boto3.Session(
            aws_access_key_id=KEYS[author], aws_secret_access_key="not-a-secret", region_name=region
        )
        self._clients: dict[str, object] = {}

    def __call__(self, service: str):
        """The client for a service: ``clients("autoscaling").describe_auto_scaling_groups()``."""
        if service not in self._clients:
            self._clients[service] = self._session.client(
                service,
                endpoint_url=self._url,
                config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=60, proxies={}),
            )
        return self._clients[service]
