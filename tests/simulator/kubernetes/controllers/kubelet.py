# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubelets of all nodes: they start pods, report on them, and stop them in their time.

One controller plays them all; it does nothing for a node whose machine is down. What a pod does with its life is in
its annotations (``timings``), so a test says "takes 90 s to stop" where it makes the Deployment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from simulator.kubernetes.controllers import timings as t
from simulator.kubernetes.controllers.cache import Event
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.objects import (
    MIRROR,
    Key,
    Object,
    annotations_of,
    condition_is,
    is_finished,
    is_terminating,
    key_of,
    labels_of,
    node_of,
    seconds_of,
    status_of,
    uid_of,
    with_condition,
)
from simulator.kubernetes.controllers.predicates import claims_of
from simulator.kubernetes.controllers.timings import seconds_from

CSI_DRIVER = "ebs.csi.aws.com"


@dataclass
class Run:
    """What the kubelet remembers of a pod on its node. Times are unix seconds of the world."""

    uid: str
    node: str
    starts_at: float | None = None  # None: still waits for its volumes
    running_since: float | None = None
    ready: bool = False
    restarts: int = 0
    crashed_at: float | None = None  # when a container last ended and was to be started again
    crash_code: int = 0
    backing_off: bool = False
    ends_at: float = math.inf  # when it ends or crashes by itself
    told_to_stop: float | None = None
    volumes: tuple[str, ...] = ()  # what it has mounted


class Kubelet(Controller):
    """Drives each bound pod through its life; see the module's docstring."""

    author = "kubelet"
    watches = ("pods", "nodes", "volumeattachments", "persistentvolumeclaims")

    def start(self) -> None:
        self._runs: dict[Key, Run] = {}
        self._up: dict[str, bool] = {}
        self.enqueue(("machines", ""))

    def observe(self, event: Event) -> None:
        if event.resource == "pods":
            if node_of(event.object) or key_of(event.object) in self._runs:
                self.enqueue(("pod", key_of(event.object)))
            if event.kind == "DELETED" and MIRROR in annotations_of(event.object):
                self.enqueue(("node", node_of(event.object)))
        elif event.resource == "nodes":
            name = event.object["metadata"]["name"]
            self.enqueue(("node", name))
            if event.old is not None and condition_is(event.old, "Ready") != condition_is(event.object, "Ready"):
                for pod in self.cache.pods_on(name):
                    self.enqueue(("pod", key_of(pod)))
        elif event.resource == "volumeattachments":
            for pod in self.cache.pods_on(event.object["spec"]["nodeName"]):
                if claims_of(pod):
                    self.enqueue(("pod", key_of(pod)))

    def reconcile(self, key: tuple[str, Any]) -> None:
        kind, subject = key
        if kind == "machines":
            self._look_at_machines()
        elif kind == "node":
            self._look_after_node(subject)
        else:
            self._look_after_pod(subject)

    # --- nodes

    def _look_at_machines(self) -> None:
        """Where a machine runs again, whatever had to wait goes on."""
        for node in self.cache.all("nodes"):
            name = node["metadata"]["name"]
            up = self.around.machine_is_up(name)
            if up and not self._up.get(name, True):
                self.enqueue(("node", name))
                for pod in self.cache.pods_on(name):
                    self.enqueue(("pod", key_of(pod)))
            self._up[name] = up
        self.later(("machines", ""), self.timings.machine_poll)

    def _look_after_node(self, name: str) -> None:
        node = self.cache.get("nodes", "", name)
        if node is None or not self.around.machine_is_up(name):
            return
        if condition_is(node, "Ready", "Unknown"):
            now = self.clock.timestamp()
            message = "kubelet is posting ready status"
            conditions = with_condition(node, now, "Ready", "True", "KubeletReady", message)
            self.patch_status("nodes", node, {"conditions": conditions})
        self._report_mounts(node)
        for static in filter(None, annotations_of(node).get(t.STATIC_PODS, "").split(",")):
            if self.cache.get("pods", "kube-system", f"{static}-{name}") is None:
                self.create("pods", "kube-system", mirror_pod(static, node))

    # --- pods

    def _look_after_pod(self, key: Key) -> None:
        pod = self.cache.get("pods", *key)
        run = self._runs.get(key)
        if run is not None and (pod is None or uid_of(pod) != run.uid):
            # Deleted with grace 0, or garbage-collected: the processes are killed when the kubelet sees it.
            del self._runs[key]
            self._unmount(run)
            run = None
        if pod is None or not node_of(pod) or not self.around.machine_is_up(node_of(pod)):
            return
        if is_terminating(pod):
            self._stop(key, pod)
        elif not is_finished(pod):
            self._run(key, pod, run or self._admit(key, pod))

    def _admit(self, key: Key, pod: Object) -> Run:
        run = self._runs[key] = Run(uid_of(pod), node_of(pod))
        if status_of(pod).get("phase") == "Running":
            # It ran before this world's kubelet knew of it (a scenario may put running pods into place).
            run.running_since = self.clock.now()
            run.ready = condition_is(pod, "Ready")
        return run

    def _run(self, key: Key, pod: Object, run: Run) -> None:
        now = self.clock.now()
        if self._cannot_pull(pod, run):
            self._report_waiting(pod, "ImagePullBackOff", "Back-off pulling image")
            return
        if run.starts_at is None and run.running_since is None:
            if not self._volumes_attached(pod):
                self._report_waiting(pod, "ContainerCreating", "")
                return
            run.starts_at = now + seconds_from(pod, t.STARTS_AFTER, self.timings.pod_starts)
        if run.running_since is None and now >= (run.starts_at or 0.0):
            self._begin(pod, run, now)
        if run.running_since is not None and now >= run.ends_at and self._end(pod, run, now):
            return
        if run.running_since is None:
            self._report_waiting(pod, "CrashLoopBackOff" if run.backing_off else "ContainerCreating", "")
            self._again(key, run.starts_at)
            return
        ready_at = run.running_since + seconds_from(pod, t.READY_AFTER, self.timings.pod_gets_ready)
        run.ready = run.ready or now >= ready_at
        self._report_running(pod, run)
        self._again(key, None if run.ready else ready_at)
        self._again(key, run.ends_at)

    def _begin(self, pod: Object, run: Run, now: float) -> None:
        run.running_since, run.backing_off, run.ready = now, False, False
        finite = pod["spec"].get("restartPolicy", "Always") != "Always"
        finishes = seconds_from(pod, t.FINISHES_AFTER, self.timings.finite_pod_runs if finite else math.inf)
        crashes = self._crashes_after(pod)
        run.ends_at = now + min(finishes, crashes)
        self._mount(pod, run)

    def _end(self, pod: Object, run: Run, now: float) -> bool:
        """The container ended by itself: is the pod finished, or does it restart after a back-off?"""
        crashed = self._crashes_after(pod) < seconds_from(pod, t.FINISHES_AFTER, math.inf)
        policy = pod["spec"].get("restartPolicy", "Always")
        if policy == "Always" or (policy == "OnFailure" and crashed):
            pause = min(self.timings.crash_backoff * 2**run.restarts, self.timings.crash_backoff_limit)
            run.restarts += 1
            run.crashed_at, run.crash_code = now, 1 if crashed else 0
            run.running_since, run.ready, run.ends_at = None, False, math.inf
            run.backing_off, run.starts_at = True, now + pause
            return False
        run.ready, run.ends_at = False, math.inf
        self._report_finished(pod, run, "Failed" if crashed else "Succeeded", 1 if crashed else 0)
        self._unmount(run)
        return True

    def _crashes_after(self, pod: Object) -> float:
        return seconds_from(pod, t.CRASHES_AFTER, math.inf) if self._troubled(pod) else math.inf

    def _cannot_pull(self, pod: Object, run: Run) -> bool:
        """A container's image cannot be had (one that runs already was pulled in time)."""
        if annotations_of(pod).get(t.IMAGE_PULL_FAILS) == "true" and self._troubled(pod):
            return True
        missing = not all(self.around.can_pull(one.get("image", "")) for one in pod["spec"]["containers"])
        return missing and run.running_since is None

    def _troubled(self, pod: Object) -> bool:
        """Whether the troubles in the pod's annotations hold on its node."""
        label, _equals, value = annotations_of(pod).get(t.TROUBLED_ON, "").partition("=")
        node = self.cache.get("nodes", "", node_of(pod))
        return not label or (node is not None and labels_of(node).get(label) == value)

    # --- stopping

    def _stop(self, key: Key, pod: Object) -> None:
        """SIGTERM, then SIGKILL when the grace is over; then the object goes, unless finalizers keep it."""
        run = self._runs.get(key) or self._admit(key, pod)
        now = self.clock.now()
        if annotations_of(pod).get(t.HANGS) == "true" and run.running_since is not None:
            return  # the kubelet would try for ever
        if run.told_to_stop is None:
            run.told_to_stop = now
        if run.running_since is None or is_finished(pod):
            ends = now
        else:
            killed = max(run.told_to_stop, seconds_of(pod["metadata"]["deletionTimestamp"]))
            ends = min(run.told_to_stop + seconds_from(pod, t.STOPS_AFTER, self.timings.pod_stops), killed)
        if now < ends:
            self._again(key, ends)
            return
        if pod["metadata"].get("deletionGracePeriodSeconds") == 0 and is_finished(pod):
            return  # nothing is left to do here: a finalizer keeps the object
        if not is_finished(pod) and pod["metadata"].get("finalizers"):
            self._report_finished(pod, run, "Failed", 143)
        self._unmount(run)
        self.delete("pods", pod, grace=0)

    # --- volumes

    def _volume_names(self, pod: Object) -> list[str]:
        """The PersistentVolumes of the pod; of claims that have none yet, the claim's name as a stand-in."""
        names = []
        for name in claims_of(pod):
            claim = self.cache.get("persistentvolumeclaims", pod["metadata"]["namespace"], name)
            names.append((claim or {}).get("spec", {}).get("volumeName") or f"unbound:{name}")
        return names

    def _volumes_attached(self, pod: Object) -> bool:
        wanted = set(self._volume_names(pod))
        if not wanted:
            return True
        attached = {
            item["spec"]["source"].get("persistentVolumeName")
            for item in self.cache.all("volumeattachments")
            if item["spec"]["nodeName"] == node_of(pod) and status_of(item).get("attached") and not is_terminating(item)
        }
        return wanted <= attached

    def _mount(self, pod: Object, run: Run) -> None:
        run.volumes = tuple(f"kubernetes.io/csi/{CSI_DRIVER}^{name}" for name in self._volume_names(pod))
        node = self.cache.get("nodes", "", run.node)
        if run.volumes and node is not None:
            self._report_mounts(node)

    def _unmount(self, run: Run) -> None:
        """Whoever looks at the node's list (the attach/detach controller) now sees that the volumes are free."""
        mounted, run.volumes = run.volumes, ()
        node = self.cache.get("nodes", "", run.node)
        if mounted and node is not None and self.around.machine_is_up(run.node):
            self._report_mounts(node)

    def _report_mounts(self, node: Object) -> None:
        name = node["metadata"]["name"]
        before = status_of(node).get("volumesInUse") or []
        if not before and not any(run.volumes for run in self._runs.values()):
            return
        after = sorted({volume for run in self._runs.values() if run.node == name for volume in run.volumes})
        if after != before:
            self.patch("nodes", node, {"status": {"volumesInUse": after}}, sub="status")

    # --- reports

    def _again(self, key: Key, at: float | None) -> None:
        if at is not None and at > self.clock.now() and at != math.inf:
            self.agenda.put(("pod", key), at)

    def _report_waiting(self, pod: Object, reason: str, message: str) -> None:
        waiting = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        run = self._runs[key_of(pod)]
        phase = "Running" if run.restarts else "Pending"
        self._report(pod, run, phase, waiting, "False")

    def _report_running(self, pod: Object, run: Run) -> None:
        running = {"running": {"startedAt": self.clock.timestamp(run.running_since)}}
        node = self.cache.get("nodes", "", run.node)
        # No pod of a node that is not Ready is: the node lifecycle controller says so, and is not contradicted.
        well = run.ready and (node is None or condition_is(node, "Ready"))
        self._report(pod, run, "Running", running, "True" if well else "False")

    def _last_state(self, run: Run) -> Object:
        if run.crashed_at is None:
            return {}
        reason, finished = "Error" if run.crash_code else "Completed", self.clock.timestamp(run.crashed_at)
        return {"terminated": {"exitCode": run.crash_code, "reason": reason, "finishedAt": finished}}

    def _report_finished(self, pod: Object, run: Run, phase: str, code: int) -> None:
        reason = "Completed" if code == 0 else "Error"
        terminated = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": self.clock.timestamp()}}
        self._report(pod, run, phase, terminated, "False")

    def _report(self, pod: Object, run: Run, phase: str, state: Object, ready: str) -> None:
        now = self.clock.timestamp()
        finished = phase in ("Succeeded", "Failed")
        reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
        reason = "" if ready == "True" else reason
        conditions = with_condition(pod, now, "PodScheduled", "True")
        for kind in ("ContainersReady", "Ready"):
            conditions = with_condition({"status": {"conditions": conditions}}, now, kind, ready, reason)
        status: Object = {
            "phase": phase,
            "conditions": conditions,
            "startTime": status_of(pod).get("startTime") or now,
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container.get("image", ""),
                    "imageID": "",
                    "ready": ready == "True",
                    "started": "running" in state,
                    "restartCount": run.restarts,
                    "state": state,
                    "lastState": self._last_state(run),
                }
                for container in pod["spec"]["containers"]
            ],
        }
        if phase == "Running" and not finished:
            status["podIP"] = pod_ip(run.uid)
        self.patch_status("pods", pod, status)


def pod_ip(uid: str) -> str:
    """An address of the rehearsal network 10.0.0.0/8 that goes with the pod's UID."""
    number = int(uid.replace("-", "")[:6], 16)
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def mirror_pod(static: str, node: Object) -> Object:
    """What the kubelet shows of a pod from its manifests folder: the API can delete the reflection, not the pod."""
    name = node["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid_of(node), "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{static}-{name}",
            "annotations": {MIRROR: static, "kubernetes.io/config.source": "file"},
            "ownerReferences": [owner],
        },
        "spec": {
            "nodeName": name,
            "containers": [{"name": static, "image": f"{static}:static"}],
            "tolerations": [{"operator": "Exists"}],
        },
    }
