# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a selection means."""

from __future__ import annotations

from unit.scenes import a_member, a_scene
from unit.scripted_aws import instance_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.gather import already_gone

SERVING, LEAVING, ENDED, FORGOTTEN, ELSEWHERE = (f"i-0000000{letter}" for letter in "abcde")


def test_named_instances_that_are_gone_already():
    scene = a_scene([a_member(SERVING), a_member(LEAVING, "Terminating:Wait")])
    instances = [
        instance_entry(ENDED, State={"Code": 48, "Name": "terminated"}),
        instance_entry(ELSEWHERE),  # running, in another group perhaps: that one is a mistake
    ]
    with scripted_aws() as script:
        script.expect(
            "ec2",
            "describe_instances",
            {"Reservations": [{"Instances": instances}]},
            Filters=[{"Name": "instance-id", "Values": [ENDED, FORGOTTEN, ELSEWHERE]}],
        )
        named = [SERVING, LEAVING, ENDED, FORGOTTEN, ELSEWHERE]
        assert already_gone(script.aws, scene, named) == [LEAVING, ENDED, FORGOTTEN]
