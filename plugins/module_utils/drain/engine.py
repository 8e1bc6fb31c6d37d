# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drain many nodes at once: who is next, how many evictions are under way, what time it is, who is told.

One thread decides (L{Drain.run}); it alone touches the state. Others do the I/O and post what they learnt as functions
for the deciding thread to call: one watch for each node in hand, a pool for evictions, a small one for other reads.
"""

from __future__ import annotations

import contextlib
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.drain import answers, forcing
from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import Answer, read_answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.case import Blocked
from ansible_collections.evergreen.eks.plugins.module_utils.drain.dead import (
    DEAD_GRACE,
    UNREACHABLE,
    InstanceStates,
    Vitals,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.diagnosis import Diagnosis
from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import CARRY, Ladder, Step
from ansible_collections.evergreen.eks.plugins.module_utils.drain.explain import Explainer, NamespaceBudgets
from ansible_collections.evergreen.eks.plugins.module_utils.drain.feeds import (
    BudgetFeed,
    Detaching,
    Surroundings,
    VolumeFeed,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.flow import EVICTIONS_AT_ONCE, Flow
from ansible_collections.evergreen.eks.plugins.module_utils.drain.forcing import Forcer, Outcome
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import PATIENCE_LOOKS, Departure, NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.plan import Plan, Request
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.drain.report import (
    BLOCKED,
    DRAINED,
    NODE_GONE,
    TIMEOUT,
    UNCORDONED,
    Report,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.watch import Judged, PodWatch, list_judged
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.node_events import NodeEvents
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import FloorView, ReadyFloor, get_node
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Clock, Deadline

READS_AT_ONCE = 4
NODE_LOOKS = 6  # every so many looks at the pods one look at the Node itself
EXPLAIN_LOOKS = 6  # whoever is blocked for so many looks is diagnosed, and again after as many


@dataclass(eq=False)
class Course:
    """A node in hand: its state, its watch, and its times.

    An outage does not put the ``deadline`` off: it is the operator's, not the node's. But nothing is decided blind:
    where it expires while the pods are out of sight, or a moment later, they are looked at until ``last_look``.
    """

    drain: NodeDrain
    began: float
    node_due: float
    ladder: Ladder
    able_at: float = 0.0  # when something could last be done about its pods: they were in sight, and the floor held
    deadline: Deadline | None = None
    last_look: Deadline | None = None
    held_back: bool = False  # a step was due, and the floor did not hold
    wake_at: float = 0.0  # when to tend to it without news
    reading_node: bool = False
    node_known: bool = True  # what is known of the Node is of now, not of a plan that was made long ago
    confirming: bool = False
    detaching: Detaching | None = None
    watch: PodWatch | None = None

    def grant(self, clock: Clock, timeout: float, patience: float) -> None:
        """The whole time-out from now on: when it is taken in hand, and for as long as it only waits for pods that
        have deadlines of their own."""
        self.deadline = Deadline(clock, timeout)
        self.last_look = Deadline(clock, timeout and timeout + patience)

    def wake(self) -> None:
        """Tend to it in the next round."""
        self.wake_at = 0.0


def evict(
    client: KubernetesClient, pod: Pod, grace_period: int | None, *, dry_run: bool = False
) -> KubernetesError | None:
    """Send one eviction; None when it was accepted, else what the server answered.

    It names the pod's UID. That alone would not be safe (a wrong UID may spend the budget of the healthy pod that has
    the name now, or be answered 429 for ever): the watch has seen this very pod on this node a moment ago.
    """
    options: dict[str, Any] = {"preconditions": {"uid": pod.uid}}
    if grace_period is not None:
        options["gracePeriodSeconds"] = grace_period
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": options,
    }
    try:
        client.create(f"{pod.path}/eviction", body, dry_run=dry_run)
    except KubernetesError as error:
        return error
    return None


def name_budgets(budgets: NamespaceBudgets, pod: Pod, answer: Answer) -> Answer:
    """The server does not say which budgets they are when there are several."""
    if answer.reason != answers.SEVERAL_BUDGETS:
        return answer
    try:
        over = budgets.over(pod) or ()
    except (AwsError, KubernetesError):
        over = ()  # it is refused all the same, and explained later
    return replace(answer, budget=", ".join(budget.name for budget in over))


class Drain:
    """The drain of the nodes of a plan."""

    def __init__(
        self,
        request: Request,
        plan: Plan,
        client: KubernetesClient,
        instances: InstanceStates,
        floor: ReadyFloor | None,
        call: Call,
        events: NodeEvents | None = None,
    ) -> None:
        # Whatever is read here is read again soon, and nothing waits behind a request that is being repeated.
        self._request, self._plan, self._client, self._call = request, plan, client.briefly, call
        self._clock, self._instances = call.clock, instances
        self._report = Report(plan, call, events)
        self._inbox: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.SimpleQueue()
        self._waiting = deque(plan.drains)
        self._courses: list[Course] = []
        self._evictions = ThreadPoolExecutor(EVICTIONS_AT_ONCE, thread_name_prefix="eviction")
        self._reads = ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="read")
        self._flow: Flow[Departure] = Flow(request.poll_seconds)
        around = Surroundings(self._client, self._clock, request.poll_seconds, self._post, self._read)
        self._budgets = BudgetFeed(around, self._flow.ledger, self._wake_all)
        self._volumes = VolumeFeed(around)
        self._floor = floor
        self._floor_view: FloorView | None = None
        self._floor_due = 0.0
        self._reading_floor = False
        self._explainer = Explainer(self._client.once)  # what fails now is read again in the next look
        self._explaining = False
        self._explained_at = 0.0
        self._explain_due = 0.0
        self._budgets_over = NamespaceBudgets(self._client, self._clock, request.poll_seconds)
        self._forcer = Forcer(self._client, call, request.grace_period, self._budgets_over)

    def run(self) -> dict[str, dict[str, Any]]:
        """Drain; answers the result of each node, drained or not. Raises EvergreenError, with the results so far as
        details, where going on makes no sense."""
        self._report.began()
        try:
            while self._waiting or self._courses:
                self._begin_nodes()
                for course in list(self._courses):
                    if course.wake_at <= self._clock.now():
                        self._tend(course)
                self._explain_blocked()
                self._report.heartbeat([course.drain for course in self._courses])
                self._receive()
        except EvergreenError as error:
            self._end()
            error.details.update(nodes=self._report.results(), changed=self.changed)
            raise
        self._end()
        self._report.ended()
        self._explain_rest()
        return self._report.results()

    @property
    def changed(self) -> bool:
        return self._report.changed or any(drain.evicted for drain in self._plan.drains)

    @property
    def warnings(self) -> list[str]:
        unseen = self._volumes.unreadable
        return [f"Volumes are not waited for, since it cannot be seen where they are: {unseen}"] if unseen else []

    # --- the deciding thread's round

    def _begin_nodes(self) -> None:
        if not self._waiting:
            return
        in_hand = sum(not (course.detaching or course.drain.only_waits) for course in self._courses)
        while self._waiting and in_hand < self._request.max_parallel:
            drain = self._waiting.popleft()
            in_hand += 1
            now, patience = self._clock.now(), self._call.patience(self._request.poll_seconds)
            course = Course(
                drain,
                began=now,
                # Where there are steps, when it was first taken in hand stands on the Node.
                node_due=now + (self._node_interval if drain.node.is_ready and not self._request.steps else 0),
                ladder=Ladder(self._request.steps, now, self._request.poll_seconds),
                able_at=now,
            )
            course.grant(self._clock, self._request.timeout, patience)
            version = self._plan.versions[drain.node.name]
            if now - self._plan.made_at > self._request.poll_seconds:
                # The nodes before this one took their time: nothing is sent on what was read so long ago.
                drain.fresh, version, course.node_due, course.node_known = False, "", now, False
            course.watch = self._watch(course, version)
            course.watch.start()
            self._courses.append(course)
            self._report.taken_in_hand(drain, now)

    def _watch(self, course: Course, version: str) -> PodWatch:
        return PodWatch(
            self._client,
            course.drain.node.name,
            self._plan.judge,
            version,
            self._request.poll_seconds,
            on_all=lambda pods: self._post(self._saw_all, course, pods),
            on_pod=lambda judged: self._post(self._saw, course, judged),
            on_gone=lambda uid: self._post(self._saw_gone, course, uid),
            on_stale=lambda why: self._post(self._lost_sight, course, why),
            on_error=lambda error: self._post(self._fail, error),
        )

    def _tend(self, course: Course) -> None:
        """Whatever is due for this node; sets when to come back without news."""
        now, drain = self._clock.now(), course.drain
        drain.tell_time(now)
        if drain.only_waits and self._request.on_timeout != CARRY:
            course.grant(self._clock, self._request.timeout, self._call.patience(self._request.poll_seconds))
        expired, hope = course.deadline.expired(), self._hope(course, now)
        late = expired and not hope
        course.wake_at = now + self._request.poll_seconds
        if not expired:
            course.wake_at = min(course.wake_at, now + course.deadline.remaining())
        if not late:
            self._send_evictions(course, now)
            self._force_pods(course, now)
        if now >= course.node_due and not course.reading_node:
            course.reading_node = True
            self._read(self._read_node, course)

        if course.detaching and drain.leaving:
            course.detaching, drain.volumes = None, []  # pods have landed since it was empty
        if course.detaching:
            course.wake_at = min(course.wake_at, now + course.detaching.deadline.remaining())
            if self._volumes.settled(course.detaching) or not drain.node.is_ready:
                self._finish(course, DRAINED)
        elif drain.fresh and not drain.leaving:
            # Two things may still bring a pod: a scheduler that had not seen the cordon, and a watch that missed one.
            settled = course.began + self._request.poll_seconds
            if now < settled:
                course.wake_at = min(course.wake_at, settled)
            elif not course.confirming:
                course.confirming = True
                self._read(self._confirm, course)
        elif drain.hopeless and not hope:
            self._finish(course, BLOCKED)
        elif late and (drain.settled(now) or course.last_look.expired()):
            self._finish(course, TIMEOUT)
        else:
            next_due = drain.next_due()
            if next_due is not None and next_due > now:
                course.wake_at = min(course.wake_at, next_due)

    def _hope(self, course: Course, now: float) -> bool:
        """Whether a step of the escalation may still help. An outage, or too few Ready nodes, are waited out for as
        long as we are patient."""
        course.able_at = now if course.drain.fresh and not course.held_back else course.able_at
        able = now - course.able_at < self._call.patience(self._request.poll_seconds)
        return able and course.ladder.helps(course.drain.leaving, now)

    def _send_evictions(self, course: Course, now: float) -> None:
        due = course.drain.due(now)
        if not due or not course.node_known or not self._budgets.known():
            return
        if now < self._flow.held_until:
            course.wake_at = min(course.wake_at, self._flow.held_until)
            return
        admitted, refused = self._flow.admit(course, due, now, lambda: self._floor_holds(now))
        for departure in admitted:
            course.drain.sent(departure)
            self._evictions.submit(self._evict, course, departure)
        for departure, answer in refused:
            if course.drain.held(departure, answer, now, self._clock.timestamp()):
                self._report.blocked(course.drain, departure)

    def _await_volumes(self, course: Course) -> None:
        """Its pods are gone. It is drained when their volumes are, or when these have had their time; from a node that
        is not Ready they go when the Node does."""
        if not self._request.volume_timeout or not course.drain.node.is_ready:
            self._finish(course, DRAINED)
        elif course.detaching is None:
            course.detaching = self._volumes.begin(course.drain, self._request.volume_timeout, course.wake)

    def _force_pods(self, course: Course, now: float) -> None:
        """Take the steps of the escalation that are due, each for one pod. The floor holds for them, too."""
        due = course.ladder.due(course.drain.leaving, now) if course.drain.fresh else []
        course.held_back = bool(due) and not self._floor_holds(now)
        if course.held_back:
            return
        for departure, step in due:
            departure.sending = True
            self._evictions.submit(self._force, course, departure, step)

    def _receive(self) -> None:
        """Wait for news, no longer than until something is due, and take in all that has come."""
        wake_at = min((course.wake_at for course in self._courses), default=0.0)
        try:
            learn, news = self._inbox.get(timeout=max(0.001, wake_at - self._clock.now()))
            learn(*news)
            while True:
                learn, news = self._inbox.get_nowait()
                learn(*news)
        except queue.Empty:
            pass

    def _finish(self, course: Course, reason: str) -> None:
        course.watch.stop()
        self._courses.remove(course)
        self._flow.leave(course)
        if reason in (TIMEOUT, BLOCKED) and self._floor_view is not None and self._floor_view.slack < 0:
            course.drain.held_back(self._floor_view.explain())
        self._report.finished(course.drain, reason, self._clock.now() - course.began)

    def _explain_blocked(self) -> None:
        """Have diagnosed, in one look for all of them, who has been in the way for a while: at once who is for the
        first time, the others now and then, since what is in their way may change."""
        now, while_ = self._clock.now(), EXPLAIN_LOOKS * self._request.poll_seconds
        if self._explaining or now < self._explain_due:
            return
        self._explain_due = now + self._request.poll_seconds
        left = _leaving(course.drain for course in self._courses)
        stuck = [(drain, departure) for drain, departure in left if departure.stuck(now, while_)]
        again = now >= self._explained_at + while_
        if any(again or departure.diagnosis is None for _drain, departure in stuck):
            self._explaining = True
            self._read(self._explain, stuck, self._blocked(stuck))

    def _explain_rest(self) -> None:
        """Diagnose, at the end, who is still in the way: as things are now, and also who was so for a moment only."""
        left = _leaving(self._report.undrained)
        if left:
            self._explained(left, self._explainer.explain(self._blocked(left)))
            self._report.still_blocked(self._report.undrained)

    def _blocked(self, pairs: list[tuple[NodeDrain, Departure]]) -> list[Blocked]:
        now, timestamp = self._clock.now(), self._clock.timestamp()
        return [departure.blocked(timestamp, drain.node, now) for drain, departure in pairs]

    def _end(self) -> None:
        """Stop watching, and wait for what has been sent: after this call nothing more of it happens."""
        for course in self._courses:
            course.watch.stop()
        self._budgets.stop()
        self._volumes.stop()
        self._evictions.shutdown(cancel_futures=True)
        self._reads.shutdown(cancel_futures=True)
        while not self._inbox.empty():
            learn, news = self._inbox.get()
            if learn in (self._answered, self._forced):
                with contextlib.suppress(EvergreenError):
                    learn(*news)

    # --- what is learnt

    def _saw_all(self, course: Course, pods: Iterable[Judged]) -> None:
        if course.drain.out_of_sight:
            self._report.in_sight_again(course.drain)
        course.drain.see_all(pods, self._clock.now())
        course.wake()

    def _saw(self, course: Course, judged: Judged) -> None:
        course.drain.see(*judged, self._clock.now())
        course.wake()

    def _saw_gone(self, course: Course, uid: str) -> None:
        course.drain.see_gone(uid)
        course.wake()

    def _lost_sight(self, course: Course, why: str) -> None:
        if why and not course.drain.out_of_sight:
            self._report.out_of_sight(course.drain, why)
        course.drain.lose_sight(why)
        course.wake()

    def _fail(self, error: Exception) -> None:
        raise error

    def _answered(self, course: Course, departure: Departure, answer: Answer, error: KubernetesError | None) -> None:
        now = self._clock.now()
        self._flow.answered(course, departure.pod, answer, now)
        worth_telling = course.drain.answered(departure, answer, now, self._clock.timestamp())
        if answer.next == answers.ACCEPTED:
            self._report.changed = True
        if worth_telling:
            self._report.blocked(course.drain, departure)
        if answer.next == answers.FATAL and error is not None:
            raise error

    def _forced(self, course: Course, departure: Departure, step: Step, outcome: Outcome) -> None:
        now = self._clock.now()
        departure.sending = False
        course.wake()
        if outcome.record:
            course.drain.forced[(departure.pod.uid, step.action)] = outcome.record
            self._report.changed = True
        if outcome.kind == forcing.TAKEN:
            course.ladder.taken(departure, step, now)
            departure.not_before = now + PATIENCE_LOOKS * self._request.poll_seconds
        elif outcome.kind == forcing.SPARED:
            course.ladder.spared(departure, step, now)
            self._report.spared(course.drain, departure, step.action, outcome.message)
        else:
            course.ladder.troubled(departure, step, now, perhaps=outcome.record is not None)

    def _in_hand_for(self, course: Course, seconds: float | None) -> None:
        if seconds is not None:
            course.ladder.began = min(course.began, self._clock.now() - seconds)
            course.wake()

    def _saw_node(self, course: Course, vitals: Vitals | None) -> None:
        """The Node as it is now; None: there is none any more."""
        if course not in self._courses:
            return
        if vitals is None or vitals.node.uid != course.drain.node.uid:
            course.drain.node_gone()
            self._finish(course, NODE_GONE)
        elif not vitals.node.unschedulable:
            self._finish(course, UNCORDONED)
        else:
            course.node_known = True
            # Where many fall silent at once it may be the control plane that is cut off.
            in_doubt = vitals.kind == UNREACHABLE and not self._floor_holds(self._clock.now())
            course.drain.look_at(vitals, self._client.time, self._request.dead_node_timeout, in_doubt=in_doubt)
            course.wake()

    def _node_was_read(self, course: Course) -> None:
        """Or could not be. One that is not Ready is looked at as often as its pods."""
        ready = course.drain.node.is_ready
        course.reading_node = False
        course.node_due = self._clock.now() + (NODE_LOOKS if ready else 1) * self._request.poll_seconds

    def _confirmed(self, course: Course, pods: Iterable[Judged] | None) -> None:
        """An independent list of a node whose pods all seem to be gone; None when it could not be read. What the watch
        has seen since is younger than the list."""
        course.confirming = False
        course.wake()
        if course in self._courses and pods is not None and not course.drain.leaving:
            course.drain.see_all(pods, self._clock.now())
            if not course.drain.leaving:
                self._await_volumes(course)

    def _explained(self, pairs: list[tuple[NodeDrain, Departure]], diagnoses: list[Diagnosis]) -> None:
        self._explaining = False
        self._explained_at = self._clock.now()
        worth_telling = [
            (drain, departure, diagnosis)
            for (drain, departure), diagnosis in zip(pairs, diagnoses)
            if departure.pod.uid in drain.departures and departure.learn(diagnosis)
        ]
        self._report.diagnosed(worth_telling)

    def _saw_floor(self, view: FloorView | None) -> None:
        self._reading_floor = False
        self._floor_due = self._clock.now() + self._request.poll_seconds
        if view is not None:
            self._report.floor(self._floor_view, view)
        self._floor_view = view
        self._wake_all()

    def _floor_holds(self, now: float) -> bool:
        """Whether enough members are Ready, by a look that is not older than the pause between two looks.

        Asked, and therefore read, only while there is something to evict."""
        if self._floor is None:
            return True
        if now >= self._floor_due and not self._reading_floor:
            self._reading_floor = True
            self._read(self._read_floor)
        recent = now < self._floor_due + self._request.poll_seconds
        return recent and self._floor_view is not None and self._floor_view.slack >= 0

    def _wake_all(self) -> None:
        for course in self._courses:
            course.wake()

    # --- the other threads

    def _post(self, learn: Callable[..., None], *news: Any) -> None:
        self._inbox.put((learn, news))

    def _read(self, read: Callable[..., None], *subject: Any) -> None:
        """Have something read by another thread, which posts what it learns."""

        def guarded() -> None:
            try:
                read(*subject)
            except Exception as error:
                self._post(self._fail, error)

        self._reads.submit(guarded)

    def _evict(self, course: Course, departure: Departure) -> None:
        try:
            grace = DEAD_GRACE if course.drain.vitals.dead else self._request.grace_period
            error = evict(self._client, departure.pod, grace)
            answer = name_budgets(self._budgets_over, departure.pod, read_answer(error))
            self._post(self._answered, course, departure, answer, error)
        except Exception as error:
            self._post(self._fail, error)

    def _force(self, course: Course, departure: Departure, step: Step) -> None:
        try:
            self._post(self._forced, course, departure, step, self._forcer.take(departure.pod, step))
        except Exception as error:
            self._post(self._fail, error)

    def _read_node(self, course: Course) -> None:
        try:
            with _passing_trouble():
                node = get_node(self._client, course.drain.node.name)
                asks = node is not None and not node.is_ready
                state = self._instances.state_of(node.instance_id) if asks else ""
                self._post(self._saw_node, course, Vitals(node, state) if node else None)
                if node and self._request.steps:
                    self._post(self._in_hand_for, course, forcing.seconds_in_hand(self._client, node))
        finally:
            self._post(self._node_was_read, course)

    def _confirm(self, course: Course) -> None:
        pods = None
        with _passing_trouble():
            pods, _version = list_judged(self._client, course.drain.node.name, self._plan.judge)
        self._post(self._confirmed, course, pods)

    def _explain(self, pairs: list[tuple[NodeDrain, Departure]], blocked: list[Blocked]) -> None:
        self._post(self._explained, pairs, self._explainer.explain(blocked))

    def _read_floor(self) -> None:
        view = None
        with _passing_trouble():
            self._call.before_look()
            view = self._floor.look()
        self._post(self._saw_floor, view)

    @property
    def _node_interval(self) -> float:
        return NODE_LOOKS * self._request.poll_seconds


def _leaving(drains: Iterable[NodeDrain]) -> list[tuple[NodeDrain, Departure]]:
    return [(drain, departure) for drain in drains for departure in drain.leaving]


@contextlib.contextmanager
def _passing_trouble() -> Iterator[None]:
    """What will be read again anyway may fail now and then."""
    try:
        yield
    except (AwsError, KubernetesError) as error:
        if not error.transient:
            raise
