# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which image a launch template is to carry, whether it may, and which of its versions does. Pure decisions."""

from __future__ import annotations

import base64
import binascii
import copy
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import asked_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups.launch import PARAMETER_PREFIX
from ansible_collections.evergreen.eks.plugins.module_utils.images.families import (
    ARCHITECTURES,
    FAMILIES,
    STANDARD,
    TITLES,
    VARIANTS,
    Kind,
    find_kind,
    is_newer,
    kind_of_name,
    kind_of_parameter,
)

KEEP, RECOMMENDED = "keep", "recommended"
LATEST, DEFAULT = "$Latest", "$Default"
IMAGE_ID = re.compile(r"ami-[0-9a-f]{8,17}")
AMAZON = "amazon"  # the alias of the accounts that AWS publishes images from
UNPACKED = 1_000_000  # bytes; user data has 16 KB at most before it is packed


class ImageRefused(EvergreenError):
    """An image that this group cannot have, or not this way; nothing has been changed."""

    default_reason = "image_unfit"


@dataclass(frozen=True)
class Wish:
    """What is asked for: `image` is keep, recommended or the id of an image; `version` that of Kubernetes, or "".

    Empty `family`, `variant` and `architecture` are those of the present image. `control_plane` is the version of the
    cluster, "" where nobody has asked.
    """

    image: str = KEEP
    version: str = ""
    family: str = ""
    variant: str = ""
    architecture: str = ""
    control_plane: str = ""


@dataclass(frozen=True)
class Image:
    """A machine image as EC2 describes it. `alias` is amazon for those of AWS; `state` is available when it is fit;
    `snapshots` are those that its volumes are made of."""

    image_id: str
    name: str = ""
    alias: str = ""
    architecture: str = ""
    state: str = "available"
    root_device: str = ""
    snapshots: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.image_id} ({self.name})" if self.name else self.image_id

    @property
    def kind(self) -> Kind | None:
        """What it is, where AWS has published it. Others may give any name to what they have made of it."""
        found = kind_of_name(self.name) if self.alias == AMAZON else None
        return found[0] if found else None

    @property
    def kubernetes_version(self) -> str:
        """As its name says, "" where it says nothing."""
        found = kind_of_name(self.name)
        return found[1] if found else ""


@dataclass(frozen=True)
class Template:
    """One version of a launch template from which a group launches.

    `version` is as the group has it: a number, $Latest or $Default; `number` what that means now. `data` is all that
    the version says; `image` what its ImageId stands for, None where it names none that EC2 knows.
    """

    template_id: str
    name: str
    version: str
    number: int
    data: Mapping[str, Any] = field(default_factory=dict)
    image: Image | None = None

    def __str__(self) -> str:
        return f"launch template {self.name or self.template_id}"

    @property
    def image_text(self) -> str:
        """What stands in the template: the id of an image, or resolve:ssm: and a parameter."""
        return self.data.get("ImageId") or ""

    @property
    def parameter(self) -> str:
        """The parameter that names its image, "" where it names the image itself."""
        return self.image_text[len(PARAMETER_PREFIX) :] if self.image_text.startswith(PARAMETER_PREFIX) else ""

    @property
    def kind(self) -> Kind | None:
        """What its image is, where that is known."""
        recommended = kind_of_parameter(self.parameter)
        if recommended:
            return recommended[0]
        return self.image.kind if self.image else None


@dataclass(frozen=True)
class Step:
    """What becomes of one template: `use` the version `number` that is there already, `make` one, or `stay`.

    `image_text` is what stands, or will stand, in that version; `number` is 0 for one that is to be made. `volumes` are
    the block device mappings that must be sent for that, none where those of its source are taken over as they are.
    """

    template: Template
    action: str
    image_text: str
    number: int
    volumes: tuple[Mapping[str, Any], ...] = ()

    @property
    def follows(self) -> bool:
        """Whether the group, or the template's default, must be moved to it; $Latest moves by itself."""
        return self.action != "stay" and self.template.version != LATEST


def check_wish(wish: Wish) -> None:
    """Raise InvalidInput for what cannot be meant."""
    if wish.image not in (KEEP, RECOMMENDED) and not IMAGE_ID.fullmatch(wish.image):
        raise InvalidInput(f"image is '{wish.image}'", remedy="Give keep, recommended, or the id of an image (ami-...)")
    if wish.version:
        asked_version(wish.version)
    known = {"family": FAMILIES, "variant": VARIANTS, "architecture": ARCHITECTURES}
    for name, values in known.items():
        given = getattr(wish, name)
        if given and given not in values:
            raise InvalidInput(f"{name} is '{given}'", remedy=f"Give one of {', '.join(values)}, or leave it out")


def wanted_text(template: Template, wish: Wish) -> str:
    """What is to stand in the template's ImageId, but for the recommended image's id, which AWS knows: then it is
    resolve:ssm: and the parameter. Raises ImageRefused."""
    if wish.image == KEEP:
        return template.image_text
    if wish.image != RECOMMENDED:
        return wish.image
    if template.parameter and not kind_of_parameter(template.parameter):
        raise ImageRefused(
            f"The image of {template} is whatever the parameter {template.parameter} names, and that is no "
            "recommendation of AWS",
            reason="image_by_parameter",
            remedy="Put the new image into that parameter and leave image at keep, or name the image itself",
        )
    kind = kind_wanted(template, wish)
    if kind.ends_before(wish.version):
        raise ImageRefused(
            f"AWS publishes no {TITLES[kind.family]} for Kubernetes {wish.version}; its last one is for "
            f"{kind.last_version}, and {template} launches it",
            reason="image_not_published",
            remedy=f"Give the group a template of {TITLES['al2023']} with user data for it (nodeadm), then run again",
        )
    return f"{PARAMETER_PREFIX}{kind.parameter_for(wish.version)}"


def kind_wanted(template: Template, wish: Wish) -> Kind:
    """The kind of image for this template: the present one, in the variant asked for. Raises ImageRefused."""
    present = template.kind
    if present is None and not wish.family:
        unknown = f"{template.image_text}, which EC2 does not know any more" if template.image_text else "no image"
        raise ImageRefused(
            f"What {template} launches ({template.image or unknown}) is none of the images that AWS publishes for EKS "
            "nodes",
            reason="image_unknown",
            remedy="Name the image that it is to launch, or the family whose image is to take its place, "
            f"one of {', '.join(FAMILIES)}",
        )
    if present is not None and wish.family not in ("", present.family):
        raise _other_family(template, present.family, wish.family)
    if present is not None and wish.architecture not in ("", present.architecture):
        raise _other_architecture(template, present.architecture, wish.architecture)
    family = present.family if present else wish.family
    variant = wish.variant or (present.variant if present else STANDARD)
    own = template.image.architecture if template.image else ""
    architecture = (present.architecture if present else own) or wish.architecture
    if not architecture:
        raise InvalidInput(
            f"architecture is not set, and the present image of {template} does not tell it",
            remedy=f"Give one of {', '.join(ARCHITECTURES)}",
        )
    kind = find_kind(family, variant, architecture)
    if kind is None:
        raise ImageRefused(
            f"AWS publishes no {TITLES[family]} {variant} for the architecture '{architecture}' ({template})",
            reason="image_not_published",
            remedy="Give another variant or architecture",
        )
    return kind


def check_image(template: Template, new: Image, wish: Wish) -> None:
    """Raise ImageRefused where the template's instances would not come up with this image, or must not."""
    old = template.image
    if new.state != "available":
        raise ImageRefused(
            f"The image {new} for {template} is {new.state}, not available", remedy="Name one that is available"
        )
    if old and old.architecture and new.architecture and old.architecture != new.architecture:
        raise _other_architecture(template, old.architecture, new.architecture)
    if template.kind and new.kind and template.kind.family != new.kind.family:
        raise _other_family(template, template.kind.family, new.kind.family)
    if is_too_new(new, wish):
        raise ImageRefused(
            f"The image {new} for {template} brings a kubelet of Kubernetes {new.kubernetes_version}, and the control "
            f"plane is at {wish.control_plane}; a kubelet may not be newer",
            remedy="Upgrade the control plane first, or name an older image",
        )


def is_too_new(image: Image, wish: Wish) -> bool:
    """Whether its kubelet would be newer than the control plane, as far as both are known."""
    return is_newer(image.kubernetes_version, wish.control_plane)


def step_for(
    template: Template, text: str, others: Iterable[tuple[int, Mapping[str, Any]]], new: Image | None = None
) -> Step:
    """How the template comes to carry this image; `others` are versions of it as (number, data), in whatever order.

    The newest version that differs from the present one in nothing but the image is used. A group that follows $Latest
    gets a new one unless the latest carries the image: no older one would be launched.
    """
    if template.image_text == text:
        return Step(template, "stay", text, template.number)
    images = [image for image in (template.image, new) if image]
    rest = without_images(template.data, images)
    fit = [number for number, data in others if data.get("ImageId") == text and without_images(data, images) == rest]
    if fit and template.version != LATEST:
        return Step(template, "use", text, max(fit))
    volumes = rest.get("BlockDeviceMappings") or ()
    own = any((mapping.get("Ebs") or {}).get("SnapshotId") for mapping in volumes)
    return Step(template, "make", text, 0, tuple(volumes) if own else ())


def without_images(data: Mapping[str, Any], images: Sequence[Image]) -> dict[str, Any]:
    """All that a version says but its image, and but the snapshots of that: those of the root volume, and others that
    one of these images brings. A snapshot of the operator's own, such as a volume full of container images, stays.

    No new version takes over snapshots from its source, so his own must be sent (EC2's CreateLaunchTemplateVersion).
    """
    rest = copy.deepcopy({key: value for key, value in data.items() if key != "ImageId"})
    for mapping in rest.get("BlockDeviceMappings") or ():
        volume = mapping.get("Ebs") or {}
        if any(
            mapping.get("DeviceName") == image.root_device or volume.get("SnapshotId") in image.snapshots
            for image in images
        ):
            volume.pop("SnapshotId", None)
    return rest


def moved_by(steps: Iterable[Step]) -> dict[tuple[str, str], Step]:
    """What comes to mean another version of a template, as (its id, $Latest or $Default), and by which step.

    Every version that is made is the latest, also one that is made for a group that follows a number.
    """
    moved: dict[tuple[str, str], Step] = {}
    for step in in_order(steps):
        if step.action == "make":
            moved[step.template.template_id, LATEST] = step
        if step.follows and step.template.version == DEFAULT:
            moved[step.template.template_id, DEFAULT] = step
    return moved


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Those that $Latest is to mean come last, so that it means them."""
    return sorted(steps, key=lambda step: step.template.version == LATEST)


def token_of(template: Template, text: str) -> str:
    """A client token that is the same whenever the same version is asked for, also after a kill: EC2 then makes it
    once ("Ensuring idempotency in Amazon EC2 API requests")."""
    words = ["evergreen.eks", template.template_id, str(template.number), text]
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def policy_following(policy: Mapping[str, Any], numbers: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """A mixed instances policy as it is to be sent: `numbers` holds the new version for (template id, version now).

    It is sent whole, so that nothing in it can get lost. A template is named by its id only: AWS answers with name and
    id, and takes one of them.
    """
    new = copy.deepcopy(dict(policy))
    launch = new["LaunchTemplate"]
    for holder in (launch, *(launch.get("Overrides") or ())):
        spec = holder.get("LaunchTemplateSpecification")
        if not spec:
            continue
        key = (spec["LaunchTemplateId"], str(spec.get("Version") or DEFAULT))
        holder["LaunchTemplateSpecification"] = {
            "LaunchTemplateId": spec["LaunchTemplateId"],
            "Version": str(numbers.get(key, key[1])),
        }
    return new


def concerns(template: Template, new: Image, wish: Wish) -> list[str]:
    """What is not in the way of the new image, but should be known: nothing of it is touched."""
    old = template.image
    found = [] if old is None or old == new else [*_about_user_data(template, old), *_about_volumes(template, old, new)]
    if is_newer(wish.version, new.kubernetes_version):
        found.append(
            f"The image of {template}, {new}, is for Kubernetes {new.kubernetes_version}, not for {wish.version}"
        )
    return found


def _about_user_data(template: Template, old: Image) -> Iterator[str]:
    text = user_data_of(template.data)
    if old.kubernetes_version and names_version(text, old.kubernetes_version):
        what = f"{old.kubernetes_version}, the Kubernetes version of its present image"
        yield f"The user data of {template} names {what}; it is kept as it is"
    if old.image_id in text:
        yield f"The user data of {template} names {old.image_id}, its present image; it is kept as it is"


def _about_volumes(template: Template, old: Image, new: Image) -> Iterator[str]:
    devices = {mapping.get("DeviceName") for mapping in template.data.get("BlockDeviceMappings") or ()}
    if old.root_device in devices and new.root_device and new.root_device not in devices:
        yield (
            f"The root volume of {new} is {new.root_device}, and {template} sets up {old.root_device}: the size and "
            "the encryption that it gives to its root volume are not those of the new nodes'"
        )


def user_data_of(data: Mapping[str, Any]) -> str:
    """The user data as text, unpacked; "" for none, and for what is no text."""
    try:
        content = base64.b64decode(data.get("UserData") or "", validate=False)
        if content[:2] == b"\x1f\x8b":
            content = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(content, UNPACKED)
    except (binascii.Error, gzip.BadGzipFile, zlib.error, EOFError):
        return ""
    return content.decode("utf-8", errors="replace")


def names_version(text: str, version: str) -> bool:
    """Whether a version of Kubernetes stands in the text: `1.31`, `v1.31.2`, but not `11.31` or `1.310`."""
    return bool(re.search(rf"(?<![\d.]){re.escape(version)}(?!\d)", text))


def same_slots(templates: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """(id, name, version) of what a group launches from, each once, in the order given."""
    return list(
        {
            (template_id or name, version): (template_id, name, version) for template_id, name, version in templates
        }.values()
    )


def _other_family(template: Template, present: str, wanted: str) -> ImageRefused:
    return ImageRefused(
        f"The nodes of {template} are {TITLES[present]}, and the new image is {TITLES[wanted]}: its user data, made "
        "for the one, starts no node of the other",
        reason="family_change",
        remedy="Give the group a launch template that is made for the other family; then leave image at keep",
    )


def _other_architecture(template: Template, present: str, wanted: str) -> ImageRefused:
    return ImageRefused(
        f"The image of {template} is for {present}, and the new one for {wanted}: its instance types cannot start it",
        remedy="Name an image of the same architecture, or give the group another launch template",
    )
