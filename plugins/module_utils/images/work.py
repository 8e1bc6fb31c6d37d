# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A group's image, in order: look, decide for every template before anything is changed, make, follow, look again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import read_cluster
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput, WaitTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, describe_groups, living_group
from ansible_collections.evergreen.eks.plugins.module_utils.groups.launch import PARAMETER_PREFIX
from ansible_collections.evergreen.eks.plugins.module_utils.images.choice import (
    DEFAULT,
    KEEP,
    LATEST,
    RECOMMENDED,
    Image,
    ImageRefused,
    Step,
    Template,
    Wish,
    check_image,
    check_wish,
    concerns,
    in_order,
    moved_by,
    policy_following,
    step_for,
    wanted_text,
)
from ansible_collections.evergreen.eks.plugins.module_utils.images.families import kind_of_parameter
from ansible_collections.evergreen.eks.plugins.module_utils.images.read import (
    TemplateReader,
    has_version,
    make_version,
    mixed_policy,
    set_default,
    set_policy,
    set_template,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline, wait_until

MANAGED_TAG = "eks:nodegroup-name"
CLUSTER_TAG = "kubernetes.io/cluster/"  # before the name of the cluster that a group belongs to
SEEN_POLLS = 12  # until what was just done is seen: EC2's reads are eventually consistent, within seconds mostly


@dataclass(frozen=True)
class Outcome:
    """What became of a group: its templates as they launch before and after, and what was made and moved."""

    before: Sequence[Template]
    after: Sequence[Template]
    steps: Sequence[Step]
    warnings: Sequence[str]
    also_used_by: Sequence[str]

    @property
    def changed(self) -> bool:
        return any(step.action != "stay" for step in self.steps)

    def as_result(self) -> dict[str, Any]:
        """What the module answers."""
        own = record_of(self.after[0]) if self.after else dict.fromkeys(record_of(Template("", "", "", 0)), "")
        return {
            "changed": self.changed,
            **{name: own[name] for name in ("image_id", "kubernetes_version", "family", "variant", "architecture")},
            "templates": [
                {**record_of(after), "before": record_of(before), "action": step.action}
                for before, after, step in zip(self.before, self.after, self.steps)
            ],
            "also_used_by": list(self.also_used_by),
            "warnings": list(self.warnings),
            "diff": {"before": _launched(self.before), "after": _launched(self.after)},
        }


def ensure_image(aws: Aws, call: Call, name: str, wish: Wish, *, cluster: str = "") -> Outcome:
    """See to it that whatever the group launches next comes up with this image. Raises ImageRefused, AwsError."""
    check_wish(wish)
    group = living_group(aws, name)
    wish = _completed(aws, wish, cluster)
    if wish.image != KEEP:
        refuse_foreign(group, wish)
    reader = TemplateReader(aws, name)
    before = reader.templates(group.launch) if group.launch.kind in ("template", "mixed") else []
    steps, images = [], []
    for template in before:
        step, image = _decide(reader, template, wish, check_mode=call.check_mode)
        steps.append(step)
        images.append(image)
    warnings = [text for template, image in zip(before, images) if image for text in concerns(template, image, wish)]
    others = others_launching(aws, reader, group, steps, cluster)
    if others:
        warnings.append(
            f"The launch template of Auto Scaling group {name} is also that of {', '.join(others)}: what they launch "
            "from now on has the new image, too"
        )
    if call.check_mode or all(step.action == "stay" for step in steps):
        after = [_as_planned(step, image) for step, image in zip(steps, images)]
        return Outcome(before, after, steps, warnings, others)
    done = carry_out(aws, call, group, steps)
    return Outcome(before, _seen_after(aws, call, name, done), done, warnings, others)


def refuse_foreign(group: Group, wish: Wish) -> None:
    """Raise ImageRefused for groups whose image is not ours to set."""
    node_group = group.tags.get(MANAGED_TAG)
    if node_group:
        raise ImageRefused(
            f"Auto Scaling group {group.name} belongs to the EKS managed node group {node_group}, and EKS keeps "
            "its launch template",
            reason="managed_group",
            remedy=f"Let EKS do it: aws eks update-nodegroup-version --nodegroup-name {node_group}",
        )
    if group.launch.kind == "configuration":
        wanted = f"with {wish.image} " if wish.image != RECOMMENDED else f"for Kubernetes {wish.version} "
        raise ImageRefused(
            f"Auto Scaling group {group.name} launches from the launch configuration {group.launch.configuration}, and "
            "launch configurations never change",
            reason="launch_configuration",
            remedy=f"Give the group a launch template {wanted}(the EC2 console copies a configuration to a template), "
            "then run again with image: keep",
        )
    own_images = [override.image_id for override in group.launch.overrides if override.image_id]
    if own_images:
        raise ImageRefused(
            f"The mixed instances policy of Auto Scaling group {group.name} names images itself "
            f"({', '.join(own_images)}), beside those of its launch templates",
            reason="image_by_policy",
            remedy="Take the images out of the policy's overrides, or change them there and leave image at keep",
        )


def others_launching(
    aws: Aws, reader: TemplateReader, group: Group, steps: Sequence[Step], cluster: str = ""
) -> list[str]:
    """The other groups of the region that launch what these steps change, too.

    Raises ImageRefused (template_shared) where more than the image would change for them, or they are of another
    cluster, whose control plane may be too old for the image.
    """
    moved = moved_by(steps)
    ours = {cluster} if cluster else _clusters_of(group)
    found = []
    for other in describe_groups(aws) if moved else ():
        slots = {(one.template_id, one.version) for one in (other.launch, *other.launch.overrides)} & moved.keys()
        if other.name == group.name or not slots:
            continue
        found.append(other.name)
        for template_id, version in sorted(slots):
            source = moved[template_id, version].template
            theirs = _clusters_of(other)
            if ours and theirs and not ours & theirs:
                raise _shared(group, other, source, f"of cluster {', '.join(sorted(theirs))}", "the new image")
            latest = reader.latest_number(source) if version == LATEST else source.number
            if latest != source.number:
                what = f"all that differs between version {source.number}, which {group.name} launches, and {latest}"
                raise _shared(group, other, source, f"which follows {LATEST} (version {latest})", what)
    return sorted(found)


def _clusters_of(group: Group) -> set[str]:
    return {key[len(CLUSTER_TAG) :] for key in group.tags if key.startswith(CLUSTER_TAG)}


def _shared(group: Group, other: Group, template: Template, who: str, what: str) -> ImageRefused:
    return ImageRefused(
        f"The {template} of Auto Scaling group {group.name} is also that of {other.name}, {who}: a new version of it "
        f"would bring {what} to what {other.name} launches",
        reason="template_shared",
        remedy=f"Give one of them a launch template of its own, or let {other.name} follow a number",
    )


def carry_out(aws: Aws, call: Call, group: Group, steps: Sequence[Step]) -> list[Step]:
    """Make the versions that are missing, then let the group follow. Answers the steps with the versions' numbers.

    Killed anywhere, the next call finds what was made, by what is in it, and goes on from there.
    """
    made = {_place(step): _made(aws, call, step) for step in in_order(steps) if step.action == "make"}
    done = [made.get(_place(step), step) for step in steps]
    for step in done:
        if step.follows and step.template.version == DEFAULT:
            _tell_followed(call, step, f"{step.template} gets version {step.number} as its default")
            set_default(aws, step.template, step.number)
    fixed = [step for step in done if step.follows and step.template.version != DEFAULT]
    for step in fixed:
        was = step.template.number
        _tell_followed(call, step, f"launches version {step.number} of {step.template} from now on, not {was}")
    if fixed and group.launch.kind == "mixed":
        numbers = {_place(step): step.number for step in fixed}
        set_policy(aws, group.name, policy_following(mixed_policy(aws, group.name), numbers))
    elif fixed:
        set_template(aws, group.name, fixed[0].template.template_id, fixed[0].number)
    return done


def record_of(template: Template) -> dict[str, Any]:
    """A template for the module's result."""
    kind, image = template.kind, template.image
    return {
        "template_id": template.template_id,
        "template_name": template.name,
        "follows": template.version,
        "version": template.number,
        "image": template.image_text,
        "image_id": image.image_id if image else "",
        "image_name": image.name if image else "",
        "kubernetes_version": image.kubernetes_version if image else "",
        "family": kind.family if kind else "",
        "variant": kind.variant if kind else "",
        "architecture": kind.architecture if kind else (image.architecture if image else ""),
    }


def _completed(aws: Aws, wish: Wish, cluster: str) -> Wish:
    """The wish with the versions that are looked up."""
    control_plane = str(read_cluster(aws, cluster).version) if cluster else ""
    version = wish.version or control_plane
    if wish.image == RECOMMENDED and not version:
        raise InvalidInput(
            "version is not set, and no cluster_name to take it from",
            remedy="Give the Kubernetes version whose recommended image is wanted, or the cluster",
        )
    return replace(wish, version=version, control_plane=control_plane)


def _decide(reader: TemplateReader, template: Template, wish: Wish, check_mode: bool) -> tuple[Step, Image | None]:
    """What becomes of one template, and the image that it is to launch. Raises ImageRefused, EvergreenError."""
    text = wanted_text(template, wish)
    if wish.image == KEEP:
        return Step(template, "stay", text, template.number), template.image
    image = reader.image(reader.recommended(text[len(PARAMETER_PREFIX) :]) if wish.image == RECOMMENDED else text)
    # A plan is made before the control plane is upgraded: there it is no mistake.
    check_image(template, image, replace(wish, control_plane="") if check_mode else wish)
    if wish.image == RECOMMENDED and not kind_of_parameter(template.parameter):
        text = image.image_id
    elif template.image and template.image.image_id == text:
        text = template.image_text  # it is behind the template's parameter already
    if text == template.image_text:
        return Step(template, "stay", text, template.number), image
    return step_for(template, text, reader.versions_with(template, text), image), image


def _made(aws: Aws, call: Call, step: Step) -> Step:
    """The step with the number of the version that it has made, once EC2 shows that version."""
    template = step.template
    call.journal.write(
        "template_version",
        template=template.template_id,
        source=template.number,
        image=step.image_text,
        text=f"{template} gets a new version, {template.number} with {step.image_text}",
    )
    number = make_version(aws, template, step.image_text, step.volumes)
    try:
        wait_until(
            lambda: has_version(aws, template, number),
            bool,
            clock=call.clock,
            deadline=Deadline(call.clock, SEEN_POLLS * aws.poll_seconds),
            interval=min(1.0, aws.poll_seconds),
        )
    except WaitTimeout as error:
        raise EvergreenError(
            f"EC2 has made version {number} of {template}, and does not show it: somebody may have deleted it",
            reason="template_moved",
            remedy="Check the template's versions. EC2 answers the same request with that version for a day: should it "
            "be gone, make a version with the image yourself",
        ) from error
    return replace(step, number=number)


def _place(step: Step) -> tuple[str, str]:
    return step.template.template_id, step.template.version


def _seen_after(aws: Aws, call: Call, name: str, steps: Sequence[Step]) -> list[Template]:
    """What the group launches now, once AWS shows what was done.

    Raises EvergreenError where it does not: somebody else has changed the templates or the group meanwhile.
    """

    def missing(templates: Sequence[Template]) -> list[Step]:
        launched = {(one.template_id, one.image_text) for one in templates}
        return [step for step in steps if (step.template.template_id, step.image_text) not in launched]

    try:
        return wait_until(
            lambda: TemplateReader(aws, name).templates(living_group(aws, name).launch),
            lambda templates: not missing(templates),
            clock=call.clock,
            deadline=Deadline(call.clock, SEEN_POLLS * aws.poll_seconds),
            interval=min(1.0, aws.poll_seconds),
        )
    except WaitTimeout as late:
        step = missing(late.last)[0]
        raise EvergreenError(
            f"Auto Scaling group {name} does not launch {step.image_text} although {step.template} was given it: "
            "somebody else has changed it meanwhile",
            reason="template_moved",
            remedy="Run again: what was made is found and used",
        ) from late


def _as_planned(step: Step, image: Image | None) -> Template:
    """The template as it would launch."""
    data = {**step.template.data, "ImageId": step.image_text} if step.image_text else step.template.data
    return replace(step.template, number=step.number, data=data, image=image)


def _tell_followed(call: Call, step: Step, text: str) -> None:
    call.journal.write("template_followed", template=step.template.template_id, version=step.number, text=text)


def _launched(templates: Sequence[Template]) -> dict[str, str]:
    """For the diff: what stands in each template."""
    return {
        f"{one.name or one.template_id} {one.version}": f"version {one.number or '(new)'}: {one.image_text}"
        for one in templates
    }
