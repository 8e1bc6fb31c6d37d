# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that are plain dictionaries in the shape of botocore's model, and instances as such answers.

moto looks for each member of an answer under several names and in several places, which makes a description of a
hundred instances take half a second; of a plain dictionary it need only take the member of that name.
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionContext, ActionResult
from moto.core.serialize import AttributePickerContext
from moto.ec2.models.instances import Instance, Reservation


class PlainAnswer(ActionResult):
    """An answer made of dictionaries and lists only, its keys spelt as in the model."""

    def execute_result(self, context: ActionContext) -> Any:
        """Write it by the model of the operation."""
        serializer = context.serializer_class(operation_model=context.operation_model, value_picker=_by_key)
        written = serializer.serialize(self.result)
        return written["status_code"], written["headers"], written["body"]


def _by_key(context: AttributePickerContext) -> Any:
    return context.obj.get(context.key)


def reservation(one: Reservation) -> dict[str, Any]:
    """A reservation, as DescribeInstances shows it."""
    return {
        "ReservationId": one.id,
        "OwnerId": one.owner_id,
        "Groups": [],
        "Instances": [instance(each) for each in one.instances],
    }


def instance(one: Instance) -> dict[str, Any]:
    """An instance, as DescribeInstances shows it: one that has ended has no network any more."""
    answer = {
        "InstanceId": one.id,
        "ImageId": one.image_id,
        "InstanceType": one.instance_type,
        "State": {"Code": one.state_code, "Name": one.state},
        "StateTransitionReason": one.state_transition_reason or "",
        "LaunchTime": one.launch_time,
        "AmiLaunchIndex": one.ami_launch_index,
        "Architecture": one.architecture,
        "Placement": {"AvailabilityZone": one.availability_zone, "GroupName": "", "Tenancy": "default"},
        "Monitoring": {"State": one.monitoring_state},
        "ProductCodes": [],
        "PublicDnsName": "",
        "PrivateDnsName": "",
        "RootDeviceName": one.root_device_name,
        "RootDeviceType": "ebs",
        "VirtualizationType": "hvm",
        "Tags": [{"Key": key, "Value": value} for key, value in one.ec2_backend.tags.get(one.id, {}).items()],
    }
    if one.state in ("stopped", "stopping", "shutting-down", "terminated"):
        text = "Client.UserInitiatedShutdown"
        answer["StateReason"] = {"Code": text, "Message": f"{text}: User initiated shutdown"}
    if one.lifecycle:
        answer["InstanceLifecycle"] = one.lifecycle
    if one.state == "terminated":
        return answer
    return answer | {
        "PrivateDnsName": one.private_dns_name,
        "PrivateIpAddress": one.private_ip,
        "SubnetId": one.subnet_id,
        "VpcId": one.vpc_id,
        "SecurityGroups": [{"GroupId": group.id, "GroupName": group.name} for group in one.security_groups],
        "BlockDeviceMappings": [
            {"DeviceName": device, "Ebs": {"VolumeId": block.volume_id, "Status": "attached"}}
            for device, block in one.get_block_device_mapping
        ],
    }
