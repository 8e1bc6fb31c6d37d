# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting back whom our tags say we have taken out of load balancers, and taking the tags off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.change import register
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.decisions import (
    BALANCER_GONE,
    INSTANCE_GONE,
    MARK,
    REGISTERED,
    UNMARKED,
    Mark,
    Request,
    Standing,
    read_marks,
)
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.read import list_target_groups
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import (
    CLASSIC,
    NOT_REGISTERED,
    Balancer,
    Target,
    parse_target_group,
)
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.work import NAMED, Work
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    Instance,
    untag_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call


class Return(Work):
    """Put back whom our tags say we have taken out, and take the tags off; whoever is registered already stays."""

    nowhere = UNMARKED
    wanted = "registered with their load balancers again"

    def __init__(self, request: Request, aws: Aws, call: Call) -> None:
        super().__init__(request, aws, call)
        self._known: dict[str, Balancer] = {}
        self._vanished: set[Balancer] = set()
        self._settled: dict[str, dict[Balancer, Standing]] = {}

    def look(self) -> None:
        """One describe of the instances (their tags) and one a load balancer; then who is missing is registered."""
        ids = self.request.instance_ids
        if ids is None:
            members = self._group().members
            ids = tuple(member.instance_id for member in members)
        instances = self._instances(ids)
        marks = {one: self._marks(known) for one, known in instances.items()}
        self._learn(mark for found in marks.values() for mark in found)
        places = {self._balancer(mark) for found in marks.values() for mark in found}
        self._read(places)
        missing: dict[Balancer, list[Target]] = {}
        done: dict[str, list[Mark]] = {}
        self.standings = {instance_id: dict(self._settled.get(instance_id, {})) for instance_id in ids}
        for instance_id, found in marks.items():
            for mark in found:
                entry = self._judge(instances[instance_id], mark, missing)
                self.standings[instance_id][self._balancer(mark)] = entry
                if entry.reason in (REGISTERED, BALANCER_GONE):
                    done.setdefault(instance_id, []).append(mark)
        self._put_back(missing)
        self._unmark(done)

    def _marks(self, instance: Instance) -> list[Mark]:
        """What is to be put back of it. A run leaves alone whom an operator, who names no run, has taken out."""
        return [mark for mark in read_marks(instance.tags) if mark.run_id or not self.request.run_id]

    def _learn(self, marks: Iterable[Mark]) -> None:
        """Which load balancers the marks mean; a target group that is not there any more is known by its name only."""
        unknown = {mark.key for mark in marks} - set(self._known)
        if not unknown:
            return
        if any(key.startswith("tg/") for key in unknown):
            for raw in list_target_groups(self._aws):
                balancer = parse_target_group(raw)
                self._known[balancer.key] = balancer
        for key in unknown - set(self._known):
            name = key.split("/")[1]
            if key.startswith("elb/"):
                self._known[key] = Balancer(name, CLASSIC)
            else:
                self._known[key] = Balancer(name)
                self._vanished.add(self._known[key])

    def _balancer(self, mark: Mark) -> Balancer:
        return self._known[mark.key]

    def _read(self, balancers: Iterable[Balancer], also: Iterable[str] = ()) -> None:
        found = set(balancers)
        super()._read(found - self._vanished, also)
        self.pools |= dict.fromkeys(found & self._vanished)

    def _judge(self, instance: Instance, mark: Mark, missing: dict[Balancer, list[Target]]) -> Standing:
        balancer = self._balancer(mark)
        pool = self.pools[balancer]
        if pool is None:
            return Standing(BALANCER_GONE)
        if instance.state != "running":
            return Standing(INSTANCE_GONE, description=f"the instance is {instance.state}")
        there = {target.port for target in pool.of(instance.instance_id) if target.registered}
        lacking = [port for port in mark.ports or (0,) if port not in there]
        if not lacking:
            return Standing(REGISTERED, ports=mark.ports)
        missing.setdefault(balancer, []).extend(Target(instance.instance_id, port, "") for port in lacking)
        return Standing(NOT_REGISTERED, ports=mark.ports)

    def _put_back(self, missing: Mapping[Balancer, list[Target]]) -> None:
        for balancer, targets in missing.items():
            ids = sorted({target.instance_id for target in targets})
            if self._call.check_mode:
                self.touched.update(ids)
                for instance_id in ids:
                    self.standings[instance_id][balancer] = Standing(REGISTERED, description="it would be put back")
                continue
            self._call.journal.write("intent", verb="register", balancer=balancer.name, instances=ids)
            back = sorted({target.instance_id for target in register(self._aws, balancer, targets)})
            self.touched.update(back)
            if back:
                text = f"{balancer}: {counted(len(back), 'instance')} registered again ({', '.join(back[:NAMED])})"
                self.say("registered", text, balancer=balancer.name, instances=back)

    def _unmark(self, done: Mapping[str, list[Mark]]) -> None:
        by_keys: dict[tuple[str, ...], list[str]] = {}
        for instance_id, marks in done.items():
            by_keys.setdefault(tuple(MARK + mark.key for mark in marks), []).append(instance_id)
            self.touched.add(instance_id)
            places = {self._balancer(mark) for mark in marks}
            self._settled.setdefault(instance_id, {}).update(
                {balancer: self.standings[instance_id][balancer] for balancer in places}
            )
        for keys, ids in () if self._call.check_mode else by_keys.items():
            untag_instances(self._aws, ids, keys)

    def _foretold(self) -> dict[str, list[str]]:
        picture = self._picture()
        for instance_id, entries in self.standings.items():
            for balancer, entry in entries.items():
                if entry.reason == REGISTERED and instance_id not in picture.get(str(balancer), []):
                    picture[str(balancer)] = sorted([*picture.get(str(balancer), []), instance_id])
        return picture
