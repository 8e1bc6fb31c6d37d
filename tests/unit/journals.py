# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Journals to test with: what the modules would have written of a rollout, event by event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

RUN = "20261121T010203-4f2a9c"
BEGAN = datetime(2026, 11, 21, 1, 2, 3, tzinfo=timezone.utc)
TARGET = "launch template lt-90dd1a56c88cd04a9 version 2 (image ami-20dc1c6bd341584e4)"
COMMAND = "ansible-playbook evergreen.eks.rollout -e eks_cluster_name=prod -e eks_node_groups=shared"
RESTORE = "ansible-playbook evergreen.eks.restore -e eks_cluster_name=prod -e eks_node_groups=shared"
NUMBERS = {"nodes": 14, "nodes_ready": 14, "pods": 96, "pods_ready": 95, "workloads": 15, "workloads_whole": 15}
ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")


@dataclass
class JournalWriter:
    """Writes the events of one group; `at` is how many seconds after the beginning it is."""

    group: str = "shared"
    run: str = RUN
    at: float = 0.0
    wave: int = 0
    waves: int = 0
    stage: str = ""
    lines: list[str] = field(default_factory=list)

    def write(self, kind: str, **fields: Any) -> None:
        moment = (BEGAN + timedelta(seconds=self.at)).strftime("%Y-%m-%dT%H:%M:%SZ")
        common = {"time": moment, "schema": 2, "kind": kind, "module": "m", "run": self.run, "group": self.group}
        common |= {"stage": self.stage} | ({"wave": self.wave, "waves": self.waves} if self.wave else {})
        self.lines.append(json.dumps({**common, **fields}))

    def enter(self, stage: str, seconds: float = 0.0) -> None:
        self.stage = stage
        self.at += seconds

    def begin(self, selected: Sequence[str], *, resumed: bool = False, operator: str = "ann", **fields: Any) -> None:
        self.enter("reserve")
        self.wave = 0
        chosen = [
            {
                "instance": f"i-old{name}",
                "node": node_name("old", name),
                "zone": zone(name),
                "reason": "template_version",
            }
            for name in selected
        ]
        facts = {"command": COMMAND, "cluster": "prod", "target": TARGET, "awx_job_id": ""}
        facts |= {"surge": 3, "unavailable": 0, "floor": len(selected)}
        text = f"run {self.run} {'goes on' if resumed else 'begins'}: {len(selected)} nodes to replace"
        self.write("run_begun", text=text, resumed=resumed, operator=operator, selected=chosen, **{**facts, **fields})

    def node(self, age: str, name: str, to: str, text: str = "", **fields: Any) -> None:
        told = {"node": node_name(age, name), "instance": f"i-{age}{name}", "to": to, "old": age == "old"}
        self.write("node_stage", **told, zone=zone(name), **({"text": text} if text else {}), **fields)

    def capacity(self, desired: int, members: int, ready: int, floor: int, most: int = 9) -> None:
        self.write("capacity", desired=desired, max=most, members=members, ready=ready, floor=floor)

    def end(self, outcome: str, **fields: Any) -> None:
        self.wave = 0
        self.write("run_ended", outcome=outcome, text=fields.pop("text", outcome), **fields)


def node_name(age: str, name: str) -> str:
    number = int(name)
    host = f"ip-10-20-{(number // 200) * 16 + (64 if age == 'new' else 0)}-{number % 200 + 4}"
    return f"{host}.eu-central-1.compute.internal"


def zone(name: str) -> str:
    return ZONES[int(name) % 3]


def one_wave(journal: JournalWriter, names: Sequence[str], *, size: int, slow: str = "", blocked: float = 0.0) -> None:
    """A wave of these nodes; on node `slow` a pod is held up for so many seconds."""
    journal.enter("scale_up", 3)
    journal.write("wave_begun", text=f"begins: {len(names)} nodes to replace", instances=[])
    journal.capacity(size + len(names), size, size, size)
    journal.enter("wait_ready")
    for name in names:
        journal.at += 1 if len(names) < 20 else 0.1
        journal.node("new", name, "launched", f"{node_name('new', name)} launched")
    journal.capacity(size + len(names), size + len(names), size, size)
    for name in names:
        journal.at += 40 / len(names)
        journal.node("new", name, "ready", f"{node_name('new', name)} is Ready", seconds=45)
    journal.capacity(size + len(names), size + len(names), size + len(names), size)
    journal.enter("cordon", 2)
    journal.write("wave_settled", instances=[f"i-old{name}" for name in names])
    for name in names:
        journal.node("old", name, "cordoned")
    journal.capacity(size + len(names), size + len(names), size, size)
    journal.enter("deregister", 4)
    for name in names:
        journal.at += 12 / len(names)
        journal.node("old", name, "deregistered")
    journal.enter("drain", 1)
    for name in names:
        journal.node("old", name, "draining", pods=11)
    for name in names:
        if name == slow:
            block(journal, name, blocked)
        journal.at += 20 / len(names)
        journal.node("old", name, "drained", f"drained {node_name('old', name)}: 11 pods", pods=11, seconds=20)
    journal.enter("terminate", 3)
    for name in names:
        journal.node("old", name, "terminating")
    for name in names:
        journal.at += 30 / len(names)
        journal.node("old", name, "terminated")
    journal.capacity(size, size, size, size)
    journal.write("wave_ended", text="all are gone", instances=[f"i-old{name}" for name in names])
    journal.enter("gate", 8)
    journal.write("gate_passed", text="gate passed after 2 looks", looked=2, seconds=8)
    journal.write("picture_compared", worse=[], better=[], numbers=NUMBERS, numbers_before=NUMBERS)


def block(journal: JournalWriter, name: str, seconds: float) -> None:
    pod = {"pod": "web/web-7d4b9c-x2x1p", "uid": "u-1", "node": node_name("old", name), "budget": "web/web-pdb"}
    journal.write("pod_blocked", **pod, reason="budget", message="budget web/web-pdb allows no disruption")
    journal.at += 30
    journal.write(
        "pod_diagnosed",
        **pod,
        reason="budget",
        cause="web/web-pdb wants 3 healthy pods and has 3: web-7d4b9c-9pq2z is not Ready (ImagePullBackOff)",
        remedy="repair web/web-7d4b9c-9pq2z, then the eviction goes through by itself",
        text="web/web-7d4b9c-x2x1p cannot leave: web/web-pdb wants 3 healthy pods and has 3",
    )
    journal.at += max(0.0, seconds - 30)
    journal.write("pod_unblocked", pod=pod["pod"], node=pod["node"], uid="u-1", seconds=seconds)


def forced(journal: JournalWriter, name: str, pod: str = "batch/report-0") -> None:
    journal.write(
        "pod_forced",
        pod=pod,
        uid=f"uid-{pod}",
        node=node_name("old", name),
        action="delete",
        after=1800,
        policy="after 30m: delete pods of app=report, budgets are kept",
        budgets=[],
        text=f"{pod} is deleted",
    )


def finished_journal(nodes: int = 6, waves: Sequence[int] = (1, 2, 3)) -> JournalWriter:
    """A rollout that came to its end: one pod was held up for five minutes, one was forced."""
    journal = JournalWriter(waves=len(waves))
    names = [str(number) for number in range(nodes)]
    journal.begin(names)
    journal.enter("reserve", 2)
    journal.write("protection_changed", text=f"scale-in protection put on {nodes} instances", protected=True)
    journal.enter("gate", 2)
    journal.write("picture_taken", text="picture taken", numbers=NUMBERS)
    journal.capacity(nodes, nodes, nodes, nodes)
    taken = 0
    for number, size in enumerate(waves, 1):
        journal.wave = number
        chosen, taken = names[taken : taken + size], taken + size
        slow = chosen[-1] if number == 2 else ""
        one_wave(journal, chosen, size=nodes, slow=slow, blocked=312)
        if number == 2:
            journal.stage = "drain"
            forced(journal, chosen[0])
    journal.wave = 0
    journal.enter("restore", 9)
    journal.write("protection_changed", text="scale-in protection taken off", protected=False)
    journal.capacity(nodes, nodes, nodes, nodes, most=8)
    journal.end("finished", text=f"finished: {nodes} instances replaced", seconds=journal.at, replaced=nodes)
    return journal


def resumed_journal(*, to_the_end: bool = False) -> JournalWriter:
    """Eleven nodes in four waves: killed in the second wave's drain, gone on with the next morning, then failed, or
    brought to its end."""
    journal = JournalWriter(waves=4)
    names = [str(number) for number in range(11)]
    journal.begin(names)
    journal.enter("gate", 4)
    journal.write("picture_taken", text="picture taken", numbers=NUMBERS)
    journal.capacity(11, 11, 11, 11)
    journal.wave = 1
    one_wave(journal, names[:1], size=11)
    journal.wave = 2
    one_wave(journal, names[1:4], size=11, slow="3", blocked=740)
    while '"draining"' not in journal.lines[-1]:
        journal.lines.pop()  # killed while it drained
    killed = json.loads(journal.lines[-1])["time"]
    journal.at = (datetime.strptime(killed, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc) - BEGAN).total_seconds()
    journal.enter("drain", 21)
    journal.write("progress", text="drained 1/3 nodes", nodes_done=1, nodes=3)
    journal.at += 6.4 * 3600
    journal.begin(names, resumed=True, operator="ben", awx_job_id="4711")
    journal.wave = 2
    journal.enter("drain", 20)
    for name in ("1", "2"):
        journal.at += 14
        journal.node("old", name, "drained", f"drained {node_name('old', name)}: 11 pods", pods=11, seconds=14)
    block(journal, "3", 221)
    journal.node("old", "3", "drained", pods=11)
    journal.enter("terminate", 3)
    for name in names[1:4]:
        journal.node("old", name, "terminating")
    journal.at += 35
    for name in names[1:4]:
        journal.node("old", name, "terminated")
    journal.write("wave_ended", text="all are gone", instances=[f"i-old{name}" for name in names[1:4]])
    journal.capacity(11, 11, 11, 11)
    journal.wave = 3
    one_wave(journal, names[4:7], size=11)
    journal.wave = 4
    if to_the_end:
        one_wave(journal, names[7:], size=11)
        journal.enter("restore", 9)
        journal.end("finished", text="finished: 11 instances replaced")
        return journal
    journal.enter("scale_up", 3)
    journal.write("wave_begun", text="begins: 4 nodes to replace", instances=[])
    journal.capacity(14, 11, 11, 11)
    journal.enter("wait_ready")
    for name in names[7:10]:
        journal.node("new", name, "launched", f"{node_name('new', name)} launched")
    journal.at += 55
    for name in names[7:9]:
        journal.node("new", name, "ready")
    journal.capacity(14, 14, 13, 11)
    journal.at += 1145
    cause = "13 of 14 instances of shared are Ready after 1200 s, 14 are needed: i-new9: its node has not joined"
    journal.end("failed", text=cause, cause=cause, resume_command="relaunch this job", restore_command=RESTORE)
    return journal
