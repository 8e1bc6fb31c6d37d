# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this the moto that the rehearsal world was written for? Fails loudly, naming each symbol that has changed.

The world replaces private functions of moto and leans on others. A new version of moto may change any of them without
notice; so the version is pinned exactly, and the signature of each symbol stands in ``moto-<version>.txt`` as it was
when it was last read. When this fails: read what changed in moto, mend the world, then write down the new signature.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from pathlib import Path
from typing import Any

MOTO = "5.2.5"
ABSENT = "absent"

#: "module:name" and its signature, a line each; "absent" where the world adds what moto does not have
SYMBOLS = Path(__file__).with_name("moto-5.2.5.txt")


def expected_symbols() -> dict[str, str]:
    """The table of symbols and their signatures."""
    lines = [line for line in SYMBOLS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return dict(line.split(" ", 1) for line in lines if line)


#: attributes of moto's objects that the world reads or sets, by the function that gives them to the object
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "moto.autoscaling.models:AutoScalingBackend.__init__": ("launch_configurations",),
    "moto.ec2.models.amis:AmiBackend.__init__": ("amis",),
    "moto.ec2.models.instances:Instance.__init__": (
        "_reason",
        "_state",
        "disable_api_termination",
        "image_id",
        "instance_type",
        "launch_time",
    ),
    "moto.ec2.models.instances:InstanceBackend.__init__": ("reservations",),
    "moto.ec2.models.launch_templates:LaunchTemplateVersion.__init__": (
        "create_time",
        "data",
        "instance_tags",
        "number",
    ),
    "moto.ec2.models.tags:TagBackend.__init__": ("tags",),
    "moto.ec2.models.amis:Ami.__init__": (
        "architecture",
        "creation_date",
        "description",
        "launch_permissions",
        "name",
        "owner_alias",
        "owner_id",
    ),
    "moto.eks.models:Cluster.__init__": (
        "certificate_authority",
        "created_at",
        "endpoint",
        "fargate_profiles",
        "status",
        "version",
    ),
    "moto.eks.models:FargateProfile.__init__": ("created_at", "selectors", "status", "subnets", "tags"),
    "moto.eks.models:EKSBackend.__init__": ("clusters",),
    "moto.elb.models:ELBBackend.__init__": ("load_balancers",),
    "moto.elb.models:LoadBalancer.__init__": (
        "attributes",
        "health_check",
        "instance_autoscaling_ids",
        "instance_sparse_ids",
    ),
    "moto.elb.models:FakeHealthCheck.__init__": ("healthy_threshold", "interval", "unhealthy_threshold"),
    "moto.elbv2.models:ELBv2Backend.__init__": ("target_groups",),
    "moto.elbv2.models:FakeTargetGroup.__init__": (
        "attributes",
        "health_check_interval_seconds",
        "healthy_threshold_count",
        "load_balancer_arns",
        "port",
        "unhealthy_threshold_count",
    ),
    "moto.ssm.models:SimpleSystemManagerBackend.__init__": ("_parameters",),
}


class MotoChanged(RuntimeError):
    """moto is not the one that the world was written for."""


def check() -> None:
    """Raise MotoChanged with one line for each difference."""
    differences = problems()
    if differences:
        raise MotoChanged(
            "moto has changed under the rehearsal world (see tests/simulator/aws/selfcheck.py):\n"
            + "\n".join(differences)
        )


def problems(expected: dict[str, str] | None = None, version: str = MOTO) -> list[str]:
    """The differences between the moto that is installed and the one that is expected, one sentence each."""
    installed = importlib.metadata.version("moto")
    found = [] if installed == version else [f"moto is {installed}, the world is written for {version}"]
    for symbol, signature in (expected_symbols() if expected is None else expected).items():
        actual = describe(symbol)
        if actual != signature:
            found.append(f"{symbol} is {actual}, expected {signature}")
    for symbol, names in ATTRIBUTES.items():
        found += [f"{symbol} no longer has the attribute {name}" for name in _missing_attributes(symbol, names)]
    return found


def describe(symbol: str) -> str:
    """A symbol's signature as text: moto's own, also where the world has replaced it."""
    from simulator.aws.patches import ORIGINALS

    if symbol in ORIGINALS:
        return _signature(ORIGINALS[symbol])
    module, _unused, path = symbol.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return ABSENT
    return _signature(found)


def _signature(found: Any) -> str:
    """Names of the parameters, an equals sign after those that have a default; the type of what is not callable."""
    if found is None:
        return ABSENT
    if isinstance(found, property):
        return "property"
    if not callable(found):
        return type(found).__name__
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = [
        stars.get(one.kind, "") + name + ("" if one.default is inspect.Parameter.empty else "=")
        for name, one in inspect.signature(found).parameters.items()
    ]
    return f"({', '.join(parameters)})"


def _missing_attributes(symbol: str, names: tuple[str, ...]) -> list[str]:
    """Which of these attributes that function no longer touches."""
    module, _unused, path = symbol.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        touched = found.__code__.co_names
    except (ImportError, AttributeError):
        touched = ()
    return [name for name in names if name not in touched]
