# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs: pods that run to their end, so many times."""

from __future__ import annotations

from simulator.kubernetes.controllers.cache import Event
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.objects import (
    Key,
    Object,
    condition_is,
    controller_of,
    is_active,
    is_finished,
    is_ready,
    is_terminating,
    key_of,
    phase_of,
    status_of,
    uid_of,
    with_condition,
)
from simulator.kubernetes.controllers.pods import pod_from

TRACKING = "batch.kubernetes.io/job-tracking"  # keeps a pod until it is counted


class JobController(Controller):
    """Counts how pods ended, each once: a pod stays (by a finalizer) until its end stands in the Job's status."""

    author = "job-controller"
    watches = ("jobs", "pods")

    def start(self) -> None:
        self._counted: set[str] = set()  # UIDs of pods whose end stands in the status but whose finalizer is still on
        self._rests_until: dict[Key, float] = {}

    def observe(self, event: Event) -> None:
        if event.resource == "jobs":
            self.enqueue(key_of(event.object))
            return
        if event.kind == "DELETED":
            self._counted.discard(uid_of(event.object))
        self.enqueue_owner(event.object, "Job")

    def reconcile(self, key: Key) -> None:
        job = self.cache.get("jobs", *key)
        if job is None:
            self._release_orphans(key)
            return
        pods = self.cache.pods_of(uid_of(job))
        ended = [pod for pod in pods if TRACKING in finalizers_of(pod) and (is_finished(pod) or _never_ran(pod))]
        status = self._count(job, pods, [pod for pod in ended if uid_of(pod) not in self._counted])
        if status["failed"] > status_of(job).get("failed", 0):
            pause = self.timings.job_backoff * 2 ** min(status["failed"] - 1, 5)
            self._rests_until[key] = self.clock.now() + pause
        self.patch_status("jobs", job, status)
        self._counted.update(uid_of(pod) for pod in ended)
        for pod in ended:
            self._let_go(pod)
        if not is_over(job) and not is_over({"status": status}) and not is_terminating(job):
            self._start_pods(key, job, pods, status)

    def _release_orphans(self, key: Key) -> None:
        """The Job is gone: nobody counts its pods any more."""
        for pod in self.cache.namespaced("pods", key[0]):
            owner = controller_of(pod) or {}
            if owner.get("kind") == "Job" and owner["name"] == key[1] and TRACKING in finalizers_of(pod):
                self._let_go(pod)

    def _count(self, job: Object, pods: list[Object], ended: list[Object]) -> Object:
        before, spec, now = status_of(job), job["spec"], self.clock.timestamp()
        succeeded = before.get("succeeded", 0) + sum(1 for pod in ended if phase_of(pod) == "Succeeded")
        failed = before.get("failed", 0) + sum(1 for pod in ended if phase_of(pod) != "Succeeded")
        active = [pod for pod in pods if is_active(pod)]
        status: Object = {
            "active": len(active),
            "ready": sum(1 for pod in active if is_ready(pod)),
            "terminating": sum(1 for pod in pods if is_terminating(pod) and not is_finished(pod)),
            "succeeded": succeeded,
            "failed": failed,
            "startTime": before.get("startTime") or now,
        }
        if is_over(job):
            return status
        if succeeded >= spec.get("completions", 1):
            status["completionTime"] = now
            status["conditions"] = with_condition(job, now, "Complete", "True", "CompletionsReached")
        elif failed > spec.get("backoffLimit", 6):
            message = "Job has reached the specified backoff limit"
            status["conditions"] = with_condition(job, now, "Failed", "True", "BackoffLimitExceeded", message)
        return status

    def _let_go(self, pod: Object) -> None:
        others = [name for name in finalizers_of(pod) if name != TRACKING]
        version = pod["metadata"]["resourceVersion"]
        self.patch("pods", pod, {"metadata": {"resourceVersion": version, "finalizers": others}})

    def _start_pods(self, key: Key, job: Object, pods: list[Object], status: Object) -> None:
        """As many at once as ``parallelism`` says; after a failure only when the back-off is over.

        A pod on its way out is replaced at once (podReplacementPolicy TerminatingOrFailed).
        """
        spec = job["spec"]
        active = sum(1 for pod in pods if is_active(pod))
        missing = min(spec.get("parallelism", 1), spec.get("completions", 1) - status["succeeded"]) - active
        if missing <= 0 or spec.get("suspend"):
            return
        if self.clock.now() < self._rests_until.get(key, 0.0):
            self.agenda.put(key, self._rests_until[key])
            return
        for _unused in range(missing):
            labels = {"batch.kubernetes.io/job-name": key[1], "job-name": key[1]}
            pod = pod_from(spec["template"], job, labels=labels)
            pod["metadata"]["finalizers"] = [*pod["metadata"].get("finalizers", []), TRACKING]
            self.create("pods", key[0], pod)


def finalizers_of(pod: Object) -> list[str]:
    return pod["metadata"].get("finalizers") or []


def is_over(job: Object) -> bool:
    """Complete or Failed: no more pods."""
    return condition_is(job, "Complete") or condition_is(job, "Failed")


def _never_ran(pod: Object) -> bool:
    """Deleted before any node had it: no kubelet will report an end."""
    return is_terminating(pod) and not pod["spec"].get("nodeName")
