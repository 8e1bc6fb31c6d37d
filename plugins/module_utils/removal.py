# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take named instances out of their Auto Scaling group and end them, each only while that is proven to be safe.

Calls that count (they lower the desired capacity) are sent once. Whatever answer comes, or none: the membership is read
again before another attempt, so that a throttled or lost answer never counts twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.departure import (
    DETACH,
    DETACHED,
    DONE,
    ENDED,
    FINISH,
    LEAVING,
    LEAVING_TAG,
    REFUSE,
    REMOVE,
    STOPPED,
    TERMINATED,
    Fate,
    Position,
    Request,
    answer,
    failure,
    is_leaving,
    position,
    refuse_below_min,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.dead import SILENT, Vitals
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, WaitTimeout, counted
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    Group,
    Instance,
    describe_group,
    describe_instances,
    detach,
    stop_instances,
    tag_instances,
    terminate_in_group,
    terminate_instances,
    untag_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.journal import TERMINATED as GONE
from ansible_collections.evergreen.eks.plugins.module_utils.journal import TERMINATING
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import (
    FloorView,
    Node,
    floor_view,
    list_nodes,
    list_pods,
    must_leave,
    pod_name,
)
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, Stand, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.telling import tell_floor
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

DETACH_A_CALL = 20
PODS_NAMED = 5
# Nothing of the group can be changed with these; the other instances need not be tried.
HOPELESS = ("access_denied", "credentials_expired", "credentials_invalid", "credentials_missing", "group_not_found")


@dataclass(frozen=True)
class Sight:
    """One look at the group, at EC2's view of the instances outside it, and (where needed) at the Nodes."""

    group: Group
    outside: Mapping[str, Instance]
    nodes: Sequence[Node]
    taken_at: float


def remove(params: Mapping[str, Any], aws: Aws, client: KubernetesClient | None, call: Call) -> dict[str, Any]:
    """Do what the options of `asg_detach_terminate` say; answers the module's result.

    Raises InvalidInput, GroupNotFound, EvergreenError with the reason of the refusal or the time-out; a failure that
    comes after the first look carries `changed` and the result of each instance.
    """
    removal = Removal(Request.of(params), aws, client, call)
    return removal.foretell() if call.check_mode else removal.run()


class Removal:
    """The removal of one batch of instances: what became of each is in `fates`, whom we changed in `touched`."""

    def __init__(self, request: Request, aws: Aws, client: KubernetesClient | None, call: Call) -> None:
        self.request = request
        self.fates: dict[str, Fate] = {}
        self.touched: set[str] = set()
        self._aws = aws
        # Whatever is read here is read again: each wait tells what it waits for, and acts on what is young.
        self._client = client.briefly if client else None
        self._call = call
        self._deadline = Deadline(call.clock, request.timeout)
        self._heartbeat = Heartbeat(call)
        self._sent: set[str] = set()  # a call that counts was sent, whatever became of it
        self._ended: set[str] = set()  # stopped or terminated by us after their detachment
        self._names: dict[str, str] = {}  # instance id -> node name, kept when the Node has gone
        self._told_at: dict[str, float] = {}  # when it was told that it is on its way
        self._first: Sight | None = None
        self._last: Sight | None = None

    def run(self) -> dict[str, Any]:
        """Remove, end and wait. Raises EvergreenError where an instance was refused, failed, or did not go in time."""
        remaining = self._begin()
        try:
            self._release(self._first)
            while remaining:
                remaining = self._remove_some(remaining)
            self._see_off()
        except EvergreenError as error:
            self._give_up(error)
            error.details.update(self._answer())
            raise
        done = self._answer()
        if any(fate.failed for fate in self.fates.values()):
            raise failure(self.request.asg_name, self.fates, done)
        return done

    def foretell(self) -> dict[str, Any]:
        """Check mode: the same answer without a change; refusals are told, and warned of, but are no failure."""
        remaining = self._begin()
        sight = self._last
        self._foretell_floor(remaining, sight)
        for instance_id in self._open():
            if self._position(instance_id, sight).step == LEAVING:
                self._decide(instance_id, self._position(instance_id, sight))
                continue
            planned = Fate(self.request.final_state, "planned", "it would be removed")
            fate = self._obstacle(instance_id, sight) or planned
            self._decide(instance_id, fate)
            if not fate.failed:
                self.touched.add(instance_id)
        done = self._answer()
        refused = [f"{item}: {fate.message}" for item, fate in sorted(self.fates.items()) if fate.failed]
        return {**done, "warnings": [f"This would be refused: {text}" for text in refused]} if refused else done

    def _foretell_floor(self, remaining: list[str], sight: Sight) -> None:
        view = self._floor(sight)
        places = view.slack if view else 0
        for instance_id in sorted(remaining, key=view.cost_of) if view else []:
            places -= view.cost_of(instance_id)
            if places < 0:
                self._decide(instance_id, Fate("refused", "floor", view.explain()))

    # --- looking ---

    def _begin(self) -> list[str]:
        """The first look: judge every instance, refuse what would break the group's minimum; answers who is to go."""
        sight = self._wait(lambda _sight: True, lambda _sight: "")
        self._first = sight
        positions = {item: self._position(item, sight) for item in self.request.instance_ids}
        for instance_id, place in positions.items():
            if place.step in (DONE, REFUSE):
                self._decide(instance_id, place)
        remaining = [item for item, place in positions.items() if place.step == REMOVE]
        if self.request.decrement:
            refuse_below_min(sight.group, remaining)
        return remaining

    def _look(self) -> Sight:
        """One describe of the group, one of the instances outside it, and one list of the Nodes where they matter."""
        self._call.before_look()
        group = describe_group(self._aws, self.request.asg_name)
        outside = describe_instances(self._aws, [item for item in self._open() if not group.member(item)])
        nodes = list_nodes(self._client) if self._client else []
        self._names.update({node.instance_id: node.name for node in nodes if node.instance_id})
        if self.request.min_ready is not None:
            tell_floor(self._call.journal, floor_view(group, nodes, self.request.min_ready))
        self._last = Sight(group, outside, nodes, self._call.clock.now())
        return self._last

    def _wait(
        self,
        done: Callable[[Sight], bool],
        describe: Callable[[Sight], str | Stand],
        look: Callable[[], Sight] | None = None,
    ) -> Sight:
        """Look until it is done; outages are waited out. Raises WaitTimeout at the deadline of the whole call."""
        return wait_patiently(
            look or self._look,
            done,
            call=self._call,
            deadline=self._deadline,
            interval=self.request.poll_seconds,
            heartbeat=self._heartbeat,
            describe=describe,
            connected=self._connected,
        )

    def _connected(self) -> bool:
        """Whether it is known that somebody answers at these addresses."""
        return self._last is not None or self._call.established or bool(self._client and self._client.answered)

    def _position(self, instance_id: str, sight: Sight) -> Position:
        return position(sight.group.member(instance_id), sight.outside.get(instance_id), self.request)

    def _floor(self, sight: Sight) -> FloorView | None:
        if self.request.min_ready is None:
            return None
        return floor_view(sight.group, sight.nodes, self.request.min_ready)

    def _open(self) -> list[str]:
        """The instances that nothing is decided about yet."""
        return [item for item in self.request.instance_ids if item not in self.fates]

    def _decide(self, instance_id: str, place: Position | Fate) -> None:
        """Settle what became of an instance."""
        self.fates[instance_id] = Fate(place.result, place.reason, place.message, self._names.get(instance_id, ""))

    # --- out of the group ---

    def _remove_some(self, remaining: list[str]) -> list[str]:
        """Take the next instance, or the next chunk to detach, out of the group; answers who still is to go."""
        try:
            sight = self._when_allowed(remaining)
        except WaitTimeout as late:
            explanation = self._floor(late.last).explain()
            for instance_id in self._still(remaining, late.last):
                self._decide(instance_id, Fate("refused", "floor", explanation))
            return []
        self._settle_arrived(sight)
        still = self._still(remaining, sight)
        batch = self._allowed(still, sight)[: DETACH_A_CALL if self.request.method == DETACH else 1]
        try:
            error = self._take_out(batch, sight)
        except EvergreenError as trouble:
            # Nothing was sent that counts: the proof, or the tag, could not be had. An outage is waited out.
            if not getattr(trouble, "transient", False) or self._deadline.expired():
                raise
            self._heartbeat.trouble(trouble.message)
            self._call.clock.sleep(self.request.poll_seconds)
            return still
        if error:
            self._after_error(batch, error)
        return [item for item in still if item not in batch] + self._still(batch, self._last if error else None)

    def _still(self, ids: list[str], sight: Sight | None) -> list[str]:
        """Those of them that still are to be removed, as this look sees it (None: none are)."""
        return [item for item in ids if sight and item not in self.fates and self._position(item, sight).step == REMOVE]

    def _when_allowed(self, remaining: list[str]) -> Sight:
        """A look young enough to act on, at which the floor lets at least one of them go. Raises WaitTimeout.

        What we remove meanwhile makes a look old at once where it takes a Ready member away, else the time does.
        """
        young = self._call.clock.now() - self._last.taken_at < self.request.poll_seconds
        if young and self._free(self._still(remaining, self._last), self._last):
            return self._last

        def may_go_on(sight: Sight) -> bool:
            still = self._still(remaining, sight)
            return not still or bool(self._allowed(still, sight))

        return self._wait(may_go_on, lambda sight: f"{len(remaining)} to remove: {self._floor(sight).explain()}")

    def _allowed(self, still: list[str], sight: Sight) -> list[str]:
        """Who may go on this look: all that take no Ready member away from the group, or else one that does."""
        view = self._floor(sight)
        return self._free(still, sight) or [item for item in still if view and view.allows(item)][:1]

    def _free(self, still: list[str], sight: Sight) -> list[str]:
        """Those who take no Ready member away from the group; where there is no floor, all of them."""
        view = self._floor(sight)
        return [item for item in still if view is None or (view.cost_of(item) == 0 and view.slack >= 0)]

    def _take_out(self, batch: list[str], sight: Sight) -> AwsError | None:
        """Prove empty, then send the call that counts, once; answers its error.

        What is to be detached is tagged before; who is refused then loses the tag again, because it stays a member.
        """
        detaches = self.request.method == DETACH
        batch = tag_instances(self._aws, batch, self.request.tag) if detaches and batch else batch
        refused = self._refuse_undrained(batch, sight)
        self._untag(refused)
        leaving = [item for item in batch if item not in refused]
        if not leaving:
            return None
        verb = "detaching" if detaches else "terminating"
        self._call.journal.write("intent", verb=verb, instances=leaving)
        self._sent.update(leaving)
        try:
            if detaches:
                detach(self._aws, self.request.asg_name, leaving, self.request.decrement)
            else:
                terminate_in_group(self._aws, leaving[0], self.request.decrement)
        except AwsError as error:
            return error
        self._tell(verb, leaving, counted=self.request.decrement)
        return None

    def _after_error(self, batch: list[str], error: AwsError) -> None:
        """Find out what a failed, or unanswered, call has done. Who is still a member is tried again, or has failed."""
        if error.reason in HOPELESS:
            self._untag_staying(batch)
            raise error
        # A call whose answer was lost may still be at work: give it a moment before the membership is read.
        self._call.clock.sleep(self.request.poll_seconds)
        before = self._still(batch, self._last)
        still = self._still(batch, self._wait(lambda _sight: True, lambda _sight: ""))
        gone = [item for item in before if item not in still]
        # Nobody's doing but ours, or somebody else's at the same moment: either way they are on their way out.
        self._tell("detaching" if self.request.method == DETACH else "terminating", gone, counted=False)
        lasting = not gone and not error.transient
        if lasting:
            self._untag_staying(still)
        if lasting or self._deadline.expired():
            for instance_id in still:
                self._decide(instance_id, Fate("failed", error.reason, str(error)))

    def _tell(self, verb: str, ids: Iterable[str], *, counted: bool) -> None:
        """These instances are on their way: remember it and say so."""
        for instance_id in ids:
            self.touched.add(instance_id)
            self._told_at[instance_id] = self._call.clock.now()
            text = f"{verb}{', desired capacity one less' if counted else ''}"
            self._tell_stage(instance_id, TERMINATING, text, how=verb)

    def _tell_stage(self, instance_id: str, stage: str, text: str, **facts: Any) -> None:
        """One line of the journal about an instance, and its node as long as that is known."""
        where = {"node": self._names.get(instance_id, ""), "instance": instance_id}
        self._call.journal.write("node_stage", to=stage, text=text, **where, **facts)

    # --- proof that nothing is lost ---

    def _refuse_undrained(self, ids: Iterable[str], sight: Sight) -> list[str]:
        """Decide about those that must not be ended now; answers them."""
        refused = {item: fate for item in ids if (fate := self._obstacle(item, sight))}
        for instance_id, fate in refused.items():
            self._decide(instance_id, fate)
        return list(refused)

    def _obstacle(self, instance_id: str, sight: Sight) -> Fate | None:
        """Why this instance must not be ended now, from a list of its Node's pods that is made at this moment."""
        if not self.request.verify_drained:
            return None
        nodes = [node for node in sight.nodes if node.instance_id == instance_id]
        pods = [(node, pod) for node in nodes for pod in list_pods(self._client, node.name) if must_leave(pod)]
        if not pods and (nodes or self.request.allow_unjoined):
            return None
        instance = sight.outside.get(instance_id) or describe_instances(self._aws, [instance_id]).get(instance_id)
        if instance is None or instance.state in SILENT:
            return None
        if not nodes:
            message = f"it is {instance.state} and no Node has its provider ID, so nobody knows what runs on it"
            return Fate("refused", "node_unknown", message)
        # A dead node that lives again since that look is none, so it is looked at once more.
        nodes = {node.name: node for node in list_nodes(self._client)}
        vitals = {old.name: Vitals(nodes.get(old.name, old), instance.state) for old, _pod in pods}
        holding = sorted(pod_name(pod) for node, pod in pods if self._holds(vitals[node.name], pod))
        if not holding:
            for node_name, one in vitals.items():
                self._let_go(instance_id, one, [pod_name(pod) for node, pod in pods if node.name == node_name])
            return None
        more = f" and {len(holding) - PODS_NAMED} more" if len(holding) > PODS_NAMED else ""
        named = f"{', '.join(holding[:PODS_NAMED])}{more}"
        return Fate("refused", "not_drained", f"pods that should have been evicted are still there: {named}")

    def _holds(self, vitals: Vitals, pod: Mapping[str, Any]) -> bool:
        """Whether the pod keeps its node's instance, or is given up with it because the node is dead."""
        deleted_at = pod["metadata"].get("deletionTimestamp") or ""
        return vitals.holds(deleted_at, self._client.time, self.request.dead_node_timeout)

    def _let_go(self, instance_id: str, vitals: Vitals, pods: list[str]) -> None:
        """Say which pods are given up."""
        text = f"goes with {counted(len(pods), 'pod')}: "
        self._call.journal.write(
            "pods_abandoned", text=text + vitals.explain(), instance=instance_id, node=vitals.node.name, pods=pods
        )

    # --- to the end ---

    def _see_off(self) -> None:
        """End what is detached, and wait for those that we have to stay for. Raises EvergreenError, reason timeout."""
        try:
            self._wait(lambda _sight: not self._stayed_for(), self._stand, look=self._advance)
        except WaitTimeout as late:
            raise EvergreenError(
                f"Not all instances left Auto Scaling group {self.request.asg_name} within "
                f"{self.request.timeout:g} s: {self._on_their_way(late.last)}",
                reason="timeout",
                remedy="A lifecycle hook or the deregistration delay of a load balancer may hold them; run again to "
                "wait on, or raise timeout",
            ) from None
        if self.request.final_state != TERMINATED:
            self._untag(self._open())
        for instance_id in self._open():
            self._decide(instance_id, Fate("leaving", "accepted", "AWS has accepted it"))

    def _stayed_for(self) -> list[str]:
        """Those that the call must not leave yet: all of them, or at least those that we have to end ourselves."""
        if self.request.wait:
            return self._open()
        ends = self.request.method == DETACH and self.request.final_state != DETACHED
        return [item for item in self._open() if ends and item not in self._ended]

    def _advance(self) -> Sight:
        """One look, and the next step of every instance that is ready for it."""
        sight = self._look()
        self._settle_arrived(sight)
        detached = [item for item in self._open() if self._position(item, sight).step == FINISH]
        self._end([item for item in detached if item not in self._ended], sight)
        return sight

    def _settle_arrived(self, sight: Sight) -> None:
        """Say what became of those that are where they were to go, and of those that we can do no more for."""
        self._release(sight)
        for instance_id in self._open():
            place = self._position(instance_id, sight)
            if place.step == REFUSE:
                self._decide(instance_id, place)
            elif place.step == DONE:
                # It was a member, or on its way out, when this call began: so it was not gone already.
                result = TERMINATED if place.result == "already_gone" else place.result
                self._tell_gone(instance_id, result)
                reason = "removed" if instance_id in self.touched else "gone"
                self._decide(instance_id, Fate(result, reason, place.message))

    def _tell_gone(self, instance_id: str, result: str) -> None:
        """That it is where it was to go: ended, stopped, or merely out of the group; and how long that took us."""
        if instance_id in self._told_at:
            seconds = round(self._call.clock.now() - self._told_at[instance_id])
            self._tell_stage(instance_id, GONE, f"{result} after {seconds} s", seconds=seconds, how=result)

    def _release(self, sight: Sight) -> None:
        """Take our tag off those that are where they were to go: whoever starts one of them again keeps it."""
        arrived = [item for item in sight.outside if self._position(item, sight).step == DONE]
        living = [sight.outside[item] for item in arrived if sight.outside[item].state not in ENDED]
        self._untag([one.instance_id for one in living if is_leaving(one, self.request.asg_name)])

    def _untag_staying(self, ids: Sequence[str]) -> None:
        """Take our tag off those that AWS will not let go; what is told is why not, also where this fails."""
        with suppress(AwsError):
            self._untag(ids)

    def _untag(self, ids: Sequence[str]) -> None:
        if ids and self.request.method == DETACH:
            untag_instances(self._aws, ids, [LEAVING_TAG])

    def _end(self, ids: list[str], sight: Sight) -> None:
        """Stop or terminate what is outside the group and ours, after one more proof that it is empty."""
        refused = self._refuse_undrained(ids, sight)
        ending = [item for item in ids if item not in refused]
        if not ending:
            return
        stops = self.request.final_state == STOPPED
        accepted = stop_instances(self._aws, ending) if stops else terminate_instances(self._aws, ending)
        self._ended.update(accepted)
        self._tell("stopping" if stops else "terminating", accepted, counted=False)

    def _stand(self, sight: Sight) -> Stand:
        left, total = len(self._open()), len(self.request.instance_ids)
        return Stand(self._on_their_way(sight), total - left, total)

    def _on_their_way(self, sight: Sight) -> str:
        """`2 instances on the way out: i-1 is Terminating:Wait, ...` (the first five)."""
        words = [f"{item}: {self._position(item, sight).message}" for item in self._open()]
        more = f", and {len(words) - 5} more" if len(words) > 5 else ""
        return f"{counted(len(words), 'instance')} on the way out: {', '.join(words[:5])}{more}"

    # --- the answer ---

    def _give_up(self, error: EvergreenError) -> None:
        """The whole call ends here: say of each open instance whether it is leaving, or was tried, or not."""
        for instance_id in self._open():
            place = self._position(instance_id, self._last)
            if instance_id in self.touched or place.step in (LEAVING, FINISH):
                self._decide(instance_id, Fate("leaving", error.reason, place.message))
            elif instance_id in self._sent:
                self._decide(instance_id, Fate("failed", error.reason, f"it may be leaving or not: {error}"))
            else:
                self._decide(instance_id, Fate("failed", "not_attempted", str(error)))

    def _answer(self) -> dict[str, Any]:
        return answer(self.fates, self.touched, self._first.group, self._last.group)
