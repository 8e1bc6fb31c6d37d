# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: what happened, one JSON object a line, for the live progress, the report and the audit.

docs/journal.md describes it for those who read it; a test holds its tables, and every write, against C(KINDS).
"""

from __future__ import annotations

import json
import math
import os
import stat
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.common.warnings import warn

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import cleaned, named_secrets
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput

SCHEMA = 2
ABOUT_VARIABLE = "EVERGREEN_ABOUT"
QUIET_VARIABLE = "EVERGREEN_QUIET"
# The file that whoever shows the progress of this very task reads; set by its action.
SCREEN_VARIABLE = "EVERGREEN_SCREEN"
# The fields of every event; a wave's events also have WAVE_FIELDS.
COMMON_FIELDS = ("time", "schema", "kind", "module", "run", "group", "stage")
WAVE_FIELDS = ("wave", "waves")
# The fields that events of any kind may have.
SUBJECT_FIELDS = ("node", "instance", "text")
# So many events of before its own file was known are written there, too.
EARLY_EVENTS = 100

# The values of C(to) in an event C(node_stage), in the order in which a node meets them.
LAUNCHED = "launched"
READY = "ready"
CORDONED = "cordoned"
UNCORDONED = "uncordoned"
SERVING = "serving"
DEREGISTERED = "deregistered"
DRAINING = "draining"
DRAINED = "drained"
NOT_DRAINED = "not_drained"
CARRIED = "carried"
TERMINATING = "terminating"
TERMINATED = "terminated"
STAGES = (
    *(LAUNCHED, READY, SERVING, CORDONED, UNCORDONED, DEREGISTERED, DRAINING, DRAINED, NOT_DRAINED, CARRIED),
    *(TERMINATING, TERMINATED),
)


@dataclass(frozen=True)
class Kind:
    """What an event of this kind says, its own fields, and whether it is shown also where people want it quiet."""

    says: str
    fields: tuple[str, ...] = ()
    loud: bool = False


KINDS: dict[str, Kind] = {
    # the run
    "run_begun": Kind(
        "a run takes the group in hand, for the first time or again",
        (
            *("resumed", "purpose", "operator", "awx_job_id", "command", "cluster", "target"),
            *("selected", "surge", "unavailable", "floor"),
        ),
        loud=True,
    ),
    "run_ended": Kind(
        "it has come to its end, or to a stop",
        ("outcome", "cause", "reason", "resume_command", "restore_command", "seconds", "replaced"),
        loud=True,
    ),
    "report_written": Kind(
        "the report of the run was written; the path of each file by its format", ("reports",), loud=True
    ),
    "last_words": Kind("one of the lines that say where it stopped, and the ways on and back", (), loud=True),
    "still_open": Kind("something is not as it should be at the end, and is put right once more", ("open",), loud=True),
    "stop_cleared": Kind("a request to stop was for an earlier run", ("request",)),
    "swept": Kind("marks that a killed run has left on instances are taken off", ("instances",)),
    "lock": Kind("the lock of the cluster is waited for, taken over, or could not be renewed", (), loud=True),
    "hook_begun": Kind("the operator's own tasks begin; they write nothing themselves", ("hook", "files")),
    "hook_ended": Kind("they have come to their end", ("hook", "files")),
    # the group
    "capacity": Kind(
        "the group's sizes and numbers, where a look finds other ones than the last look of this module",
        ("desired", "max", "members", "ready", "floor"),
    ),
    "resize": Kind("these sizes of the group are about to be set", ("sizes",)),
    "resettled": Kind("somebody else has changed the sizes, and what is needed is computed anew"),
    "protection_changed": Kind("protection from scale-in is about to be put on or off", ("protected", "instances")),
    "processes_changed": Kind(
        "processes of the group are about to be suspended or resumed", ("suspended", "processes")
    ),
    # the upgrade of a cluster
    "part_begun": Kind("a part of an upgrade begins, for the first time or again", ("part", "version", "attempt")),
    "part_ended": Kind("a part of an upgrade is done", ("part", "version", "seconds", "facts"), loud=True),
    "part_skipped": Kind("a part was done before, and still is so", ("part", "version")),
    "part_undone": Kind("a part was done before, and is not so any more", ("part", "version", "reason"), loud=True),
    "bake": Kind("a new control plane stands for a while before the nodes follow", ("seconds",)),
    # images and restarts
    "template_version": Kind(
        "a launch template is about to get a version with another image", ("template", "source", "image")
    ),
    "template_followed": Kind(
        "a group, or its template's default version, is about to move to this version", ("template", "version")
    ),
    "restart": Kind("a workload is about to be restarted", ("workload", "pods")),
    "restarted": Kind("all pods of a restarted workload are new, and Ready", ("workload", "pods", "seconds")),
    "restart_blocked": Kind("the restart of a workload has not moved for a while", ("workload", "trouble"), loud=True),
    "not_restarted": Kind("something that should be restarted is left alone", ("workload", "reason"), loud=True),
    # waves
    "wave_begun": Kind(
        "a wave begins, or goes on; who is in it may be settled later", ("instances", "size", "surplus")
    ),
    "wave_settled": Kind("who is in the wave", ("instances",)),
    "wave_ended": Kind("all instances of the wave are seen gone", ("instances",)),
    "carried": Kind("nodes were not drained in time and go on into the next wave", ("instances",), loud=True),
    "further_waves": Kind("more waves are needed than were planned", ("ahead",)),
    "surplus": Kind("instances that the run launched are too many, and get a wave of their own", ("instances",)),
    "successors": Kind("the launch of the last successors is waited for"),
    "canary_stands": Kind("the canary stands for a while before the next wave", ("seconds",)),
    "kept": Kind("old instances that a run that is given up keeps", ("instances",), loud=True),
    # nodes
    "node_stage": Kind(
        "a node, old or new, has reached a stage",
        (
            *("to", "old", "zone", "at", "pods", "seconds", "reason", "how"),
            *("nodes_done", "nodes", "pods_done", "pods_total"),
        ),
    ),
    "node_marked": Kind("labels, annotations or taints of a Node were put on or taken off", ("reason",)),
    "intent": Kind("a request that counts is about to be sent", ("verb", "instances", "balancer", "subject")),
    "deregistered": Kind("a load balancer was told to let these instances go", ("balancer", "instances", "seconds")),
    "registered": Kind("these instances were put back into a load balancer", ("balancer", "instances")),
    # the drain
    "drain_begun": Kind("the drain of these nodes begins", ("nodes", "pods")),
    "progress": Kind(
        "how far a wait has come, and what it waits for; at most every 30 s while nothing else is told",
        (*("nodes_done", "nodes", "pods_done", "pods", "blocked", "seconds_left"),),
    ),
    "trouble": Kind(
        "somebody does not answer for now, or refuses for a reason that passes", ("operation", "trouble"), True
    ),
    "pod_blocked": Kind("a pod is not let go now", ("pod", "uid", "budget", "reason", "message", "since", "attempts")),
    "pod_diagnosed": Kind(
        "why a pod has been in the way for a while, and what helps",
        (
            *("pod", "uid", "budget", "reason", "message", "since", "attempts"),
            *("class", "owner", "cause", "remedy", "budgets", "unready", "unready_total"),
        ),
    ),
    "pods_blocked": Kind(
        "pods have been in the way for 30 s, all for the same: one event for each budget or other obstacle",
        ("pods", "nodes", "budget", "reason", "class", "seconds", "remedy"),
        loud=True,
    ),
    "pods_unblocked": Kind("that is over", ("budget", "seconds"), loud=True),
    "pod_unblocked": Kind("a pod that was blocked goes now, or is gone", ("pod", "uid", "budget", "reason", "seconds")),
    "pod_waited_for": Kind(
        "a pod is waited for instead of being evicted, or is so no more", ("pod", "uid", "reason", "until", "outcome")
    ),
    "pod_forced": Kind(
        "the operator's escalation is about to delete a pod",
        ("pod", "uid", "action", "after", "budgets"),
        loud=True,
    ),
    "pod_not_forced": Kind("that did not happen after all", ("pod", "uid", "action", "after", "budgets"), loud=True),
    "pod_spared": Kind("a step of the escalation was due, and was not taken", ("pod", "uid", "action"), loud=True),
    "pods_abandoned": Kind("pods are given up with their dead node", ("pods",), loud=True),
    "volumes_pending": Kind("volumes of pods that are gone are still attached", ("volumes",), loud=True),
    "out_of_sight": Kind("the pods of a node cannot be seen, nothing is evicted there", (), loud=True),
    "in_sight": Kind("they can be seen again", (), loud=True),
    "floor": Kind("too few nodes are Ready to evict on, or enough again", ("holds",), loud=True),
    # EKS
    "update_joined": Kind("EKS is at work there already, and is waited for", ("subject", "update")),
    "update_ended": Kind(
        "EKS has ended an update, well or not", ("subject", "update", "status", "errors", "seconds"), loud=True
    ),
    "addon_begun": Kind("an add-on is brought to other versions, one after the other", ("addon", "was", "steps")),
    "addon_ended": Kind("it is at its version, and its pods are up", ("addon", "version", "seconds"), loud=True),
    "image_set": Kind(
        "the image of an add-on that EKS does not manage is about to be set", ("addon", "was", "image", "backup")
    ),
    "rollback_open": Kind(
        "until when EKS lets an upgrade be rolled back, and to what", ("subject", "version", "until")
    ),
    # the gates
    "picture_taken": Kind("the picture of the cluster that the gates compare with was taken", ("place", "numbers")),
    "picture_compared": Kind(
        "the gate's last look beside that picture", ("worse", "better", "numbers", "numbers_before", "taken")
    ),
    "worse": Kind("something is worse than in the picture", ("object", "trouble"), loud=True),
    "better": Kind("it is so no more", ("object",), loud=True),
    "finding": Kind(
        "something in the cluster is not as it should be after an upgrade",
        ("check", "severity", "object", "remedy"),
        loud=True,
    ),
    "finding_over": Kind("it is so no more", ("check", "object"), loud=True),
    "verified": Kind(
        "the cluster was verified; what is wrong stands in `findings`",
        ("healthy", "version", "findings", "ignored", "checks", "looked", "seconds"),
        loud=True,
    ),
    "gate_passed": Kind("the gate has opened", ("looked", "seconds")),
    "gate_closed": Kind("the gate has not opened in time", ("reason", "worse", "unmet", "seconds"), loud=True),
}


def event_in(line: str | bytes) -> dict[str, Any] | None:
    """The event of a journal's line as it stands there; None for one that is torn, or is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


class Journal:
    """The append-only record of what happened.

    Each line is one write on a file opened for appending, so that several processes may share a journal. It never
    holds a secret; the file is readable by its owner only. Without a path nothing is written. A file that cannot be
    written any more (a full disk) is said once, as a warning of the module, and gone without: no change waits for it.
    What a full disk has torn is ended before anything is appended to it: it takes no other event with it.
    """

    def __init__(self, path: str | None, clock: Any, *, secrets: Iterable[str] = (), **context: Any) -> None:
        self._clock = clock
        self._secrets = set(secrets)
        self._context = context
        self._files: dict[str, int] = {}
        self._once: dict[str, Any] = {}
        self._early: list[dict[str, Any]] = []
        self._screens: set[str] = set()
        self._guard = threading.Lock()
        self.told_at = -math.inf  # when somebody was told something last, in the clock's seconds
        if path:
            self.also(path)

    @classmethod
    def of(cls, module: Any, clock: Any) -> Journal:
        """The journal that the options of an AnsibleModule name; none in check mode.

        Raises InvalidInput where it cannot be written, unless the call is one of a run, or says its last words: a run
        that has begun goes on without.
        """
        secrets = hide_inline_secrets(module)
        context = {"module": module._name, **context_of(module.params)}
        if module.check_mode:
            return cls(None, clock, secrets=secrets, **context)
        journal, path = cls(None, clock, secrets=secrets, **context), module.params.get("journal")
        if path:
            try:
                journal.also(path)
            except InvalidInput as error:
                if not journal.run and module.params.get("stage") != "failed":
                    raise
                warn(f"{error.message}; the work goes on without")
        journal._show_on(os.environ.get(SCREEN_VARIABLE))
        return journal

    def also(self, path: str) -> None:
        """Append to this file as well, from now on and what was written until now. Raises InvalidInput where it cannot
        be opened."""
        if path in self._files:
            return
        try:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise InvalidInput(
                f"The journal {path} cannot be written: {error.strerror}",
                remedy="Name a file in a directory that exists and is writable, or leave the option out",
            ) from error
        known_now = [
            {**event, **{name: value for name, value in self._context.items() if not event.get(name)}}
            for event in self._early
        ]
        self._early.clear()
        if self._end_torn_line(path, file) and all(self._append(path, file, event) for event in known_now):
            self._files[path] = file
        else:
            os.close(file)

    def _show_on(self, path: str | None) -> None:
        """Write a copy for whoever shows it, where that can be done."""
        if path and path not in self._files:
            with suppress(OSError):
                self._files[path] = os.open(path, os.O_WRONLY | os.O_APPEND)
                self._screens.add(path)

    def about(self, **context: Any) -> None:
        """These fields are those of all events from now on."""
        self._context |= context

    @property
    def run(self) -> str:
        """The id of the run that the events are about, "" for none."""
        return self._context.get("run", "")

    @property
    def place(self) -> str:
        """C(wave 2 of 5), "" outside of waves."""
        number, of = (self._context.get(name) for name in WAVE_FIELDS)
        return f"wave {number} of {of}" if number and of else ""

    def clean(self, value: Any) -> Any:
        """The value as JSON has it, without the secrets that the module was given and those that show by their form:
        what is written about the run in other places passes through here, too."""
        plain = json.loads(json.dumps(value, default=str))
        return cleaned(remove_values(plain, self._secrets) if self._secrets else plain)

    def write(self, kind: str, **fields: Any) -> None:
        """Append one event. ``text``, where given, is what a person sees while the module runs."""
        if fields.get("text"):
            self.told_at = self._clock.now()
        event = {"time": self._clock.timestamp(), "schema": SCHEMA, "kind": kind, **self._context, **fields}
        if self._files.keys() <= self._screens and len(self._early) < EARLY_EVENTS:
            self._early.append(event)
        for path, file in list(self._files.items()):
            if not self._append(path, file, event):
                self._files.pop(path, None)

    def write_new(self, kind: str, **fields: Any) -> None:
        """Append the event where it says something else than the last one of its kind that came this way."""
        with self._guard:
            known, self._once[kind] = self._once.get(kind), fields
        if known != fields:
            self.write(kind, **fields)

    def _append(self, path: str, file: int, event: dict[str, Any]) -> bool:
        """Whether that worked."""
        return self._put(path, file, f"{json.dumps(self.clean(event))}\n")

    def _end_torn_line(self, path: str, file: int) -> bool:
        """The same for the end of a line that its writer could not end."""
        return not _torn(path, file) or self._put(path, file, "\n")

    @staticmethod
    def _put(path: str, file: int, text: str) -> bool:
        """Whether that worked. What does not is said once, as a warning."""
        data, trouble = text.encode(), ""
        try:
            written = os.write(file, data)
            if written < len(data):  # what a disk does that is just getting full
                trouble = f"only {written} of {len(data)} bytes were taken"
        except OSError as error:
            trouble = error.strerror
        if trouble:
            warn(f"The journal {path} cannot be written any more, the work goes on without: {trouble}")
        return not trouble


def _torn(path: str, file: int) -> bool:
    """Whether the last line of the file, open for writing, has no end. Of what is no file nobody can tell."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        return False
    with suppress(OSError), open(path, "rb") as lines:
        lines.seek(-1, os.SEEK_END)
        return lines.read(1) != b"\n"
    return False


def hide_inline_secrets(module: Any) -> set[str]:
    """What the module must never show: what Ansible knows of, and what an inline kubeconfig holds, which is no option
    with C(no_log) for its path is to be shown. Ansible cuts both out of the module's result."""
    secrets = getattr(module, "no_log_values", set())
    secrets.update(named_secrets(module.params.get("kubeconfig")))
    return secrets


def context_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that all events of a module's call have in common, from its options C(about), or C(asg_name) and
    C(run_id). A wave of 0 is none."""
    about = params.get("about") or {}
    context = {
        "run": about.get("run") or params.get("run_id") or "",
        "group": about.get("group") or params.get("asg_name") or "",
        "stage": about.get("stage") or "",
    }
    return {**context, **{name: about[name] for name in WAVE_FIELDS if about.get("wave") and about.get(name)}}
