# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far an instance is at its load balancers, and who may leave them now: tables of examples."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.balancers.decisions import (
    LEAST_FAR_FIRST,
    REMEDIES,
    SETTLED,
    Leaving,
    Mark,
    Request,
    Standing,
    arriving,
    departing,
    fresh_marks,
    instance_answer,
    leaving,
    read_marks,
)
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import CLASSIC, Balancer, Pool, Target
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput

ARN = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{}/73e2d6bc24d8a067"
WEB = Balancer("web", arn=ARN.format("web"))
LOCAL = Balancer("local", arn=ARN.format("local"), local=True)
OWN = Balancer("own", arn=ARN.format("own"), attached=True)
SHOP = Balancer("shop", CLASSIC)
A, B, C, D = (f"i-0000000000000000{letter}" for letter in "abcd")


def pool(balancer: Balancer = WEB, /, **states: str) -> Pool:
    """``pool(a="healthy", b="healthy draining")``: a state each, or one a port."""
    targets = [
        Target(f"i-0000000000000000{letter}", 80 + number, state)
        for letter, words in states.items()
        for number, state in enumerate(words.split())
    ]
    return Pool(balancer, tuple(targets))


# ---- on the way to be healthy

ARRIVING = [
    (pool(a="healthy"), "healthy"),
    (pool(a="initial"), "initial"),
    (pool(a="unhealthy"), "unhealthy"),
    (pool(LOCAL, a="unhealthy"), "no_local_pod"),
    (pool(a="unhealthy", b="unhealthy"), "nobody_healthy"),
    (pool(a="unhealthy", b="draining"), "unhealthy"),  # nobody to compare it with
    (pool(a="unhealthy", b="initial"), "unhealthy"),
    (pool(a="initial", b="unhealthy"), "initial"),
    (pool(LOCAL, a="initial"), "initial"),
    (pool(a="draining"), "draining"),
    (pool(a="not_in_use"), "not_in_use"),
    (pool(a="stopped"), "stopped"),
    (pool(b="healthy"), "not_registered"),
    (pool(a="healthy initial"), "initial"),
    (pool(a="healthy unhealthy initial"), "unhealthy"),
    (pool(a="healthy not_in_use"), "not_in_use"),
]


@pytest.mark.parametrize(("seen", "reason"), ARRIVING)
def test_how_far_an_instance_is_on_its_way_to_be_healthy(seen: Pool, reason: str) -> None:
    assert arriving(seen, A).reason == reason


def test_what_aws_says_is_passed_on() -> None:
    target = Target(A, 31080, "unhealthy", "Target.FailedHealthChecks", "Health checks failed.")

    entry = arriving(Pool(WEB, (Target(A, 31443, "healthy"), target)), A)

    assert entry == Standing("unhealthy", "Target.FailedHealthChecks", "Health checks failed.", (31080, 31443))
    assert str(entry) == "unhealthy (Target.FailedHealthChecks: Health checks failed)"
    assert str(Standing("initial")) == "initial"


# ---- on the way out

DEPARTING = [
    (None, "balancer_gone"),
    (pool(b="healthy"), "gone"),
    (pool(a="not_registered"), "gone"),
    (pool(a="draining"), "draining"),
    (pool(a="healthy"), "registered"),
    (pool(a="unhealthy draining"), "registered"),
]


@pytest.mark.parametrize(("seen", "reason"), DEPARTING)
def test_how_far_an_instance_is_on_its_way_out(seen: Pool | None, reason: str) -> None:
    assert departing(seen, A, Leaving()).reason == reason


def test_why_it_stays_is_said_only_while_it_is_there() -> None:
    plan = Leaving(held={A: Standing("too_few_healthy")})

    assert departing(pool(a="healthy"), A, plan).reason == "too_few_healthy"
    assert departing(pool(b="healthy"), A, plan).reason == "gone"


# pool, who is to leave, min_healthy, who leaves now, who stays and why
WHO_LEAVES: list[tuple[Pool, list[str], int, list[str], dict[str, str]]] = [
    (pool(a="healthy", b="healthy"), [A], 1, [A], {}),
    (pool(a="healthy"), [A], 1, [], {A: "too_few_healthy"}),
    (pool(a="healthy"), [A], 0, [A], {}),
    (pool(a="healthy", b="initial"), [A], 1, [], {A: "too_few_healthy"}),
    (pool(a="healthy", b="draining"), [A], 1, [], {A: "too_few_healthy"}),
    (pool(a="healthy", b="healthy", c="healthy"), [A, B, C], 1, [A, B], {C: "too_few_healthy"}),
    (pool(a="healthy", b="healthy", c="healthy"), [C, A], 2, [C], {A: "too_few_healthy"}),
    # what is not healthy takes nothing away
    (pool(a="unhealthy", b="healthy"), [A], 1, [A], {}),
    (pool(a="unhealthy", b="unhealthy"), [A, B], 1, [A, B], {}),
    (pool(a="initial", b="not_in_use", c="stopped"), [A, B, C], 3, [A, B, C], {}),
    (pool(a="unhealthy", b="healthy"), [A, B], 1, [A], {B: "too_few_healthy"}),
    # an instance with a port that is healthy counts once, and leaves with all its ports
    (pool(a="healthy healthy", b="healthy"), [A], 1, [A, A], {}),
    (pool(a="healthy unhealthy"), [A], 1, [], {A: "too_few_healthy"}),
    (pool(a="draining healthy", b="healthy"), [A], 1, [A], {}),
    # who is out, or on the way, needs nothing
    (pool(a="draining", b="healthy"), [A], 1, [], {}),
    (pool(b="healthy"), [A], 1, [], {}),
    (pool(), [A], 1, [], {}),
    # of a service with externalTrafficPolicy: Local the last ones fall out with their pods
    (pool(LOCAL, a="healthy", b="unhealthy"), [A, B], 1, [B], {A: "left_to_pods"}),
    (pool(LOCAL, a="healthy", b="healthy"), [A], 1, [A], {}),
]


@pytest.mark.parametrize(("seen", "ids", "min_healthy", "going", "held"), WHO_LEAVES)
def test_who_may_leave_now(
    seen: Pool, ids: list[str], min_healthy: int, going: list[str], held: dict[str, str]
) -> None:
    plan = leaving(seen, ids, min_healthy)

    assert [target.instance_id for target in plan.targets] == going
    assert {instance_id: entry.reason for instance_id, entry in plan.held.items()} == held


def test_who_stays_for_the_others_is_told_the_numbers() -> None:
    assert leaving(pool(a="healthy"), [A], 1).held[A].description == "1 healthy there, and 1 must stay"


@pytest.mark.parametrize(("balancer", "going"), [(OWN, [B]), (WEB, [A, B])])
def test_members_whose_group_would_replace_them_are_left_to_it_where_it_is_attached(
    balancer: Balancer, going: list[str]
) -> None:
    plan = leaving(pool(balancer, a="healthy", b="healthy", c="healthy"), [A, B], 1, left_to_group=[A, C])

    assert [target.instance_id for target in plan.targets] == going
    assert {entry.reason for entry in plan.held.values()} <= {"left_to_group"}


# ---- marks


def test_a_mark_is_a_tag_and_back() -> None:
    mark = Mark("tg/web/73e2d6bc24d8a067", "20261121T022904-d60b0a", (31080, 31443))

    assert mark.tag == ("evergreen.eks/out-of/tg/web/73e2d6bc24d8a067", "20261121T022904-d60b0a/31080+31443")
    assert read_marks(dict([mark.tag, ("Name", "shared"), ("evergreen.eks/member", "x")])) == (mark,)


@pytest.mark.parametrize(
    ("value", "run_id", "ports"),
    [("/0", "", (0,)), ("r/1/80", "r/1", (80,)), ("", "", ()), ("80", "", (80,)), ("r/x+80", "r", (80,))],
)
def test_a_mark_that_somebody_has_touched_still_says_what_it_can(
    value: str, run_id: str, ports: tuple[int, ...]
) -> None:
    assert read_marks({"evergreen.eks/out-of/elb/shop": value}) == (Mark("elb/shop", run_id, ports),)


KEY = "evergreen.eks/out-of/tg/web/73e2d6bc24d8a067"
FRESH: list[tuple[dict[str, str], list[tuple[Balancer, int]], dict[str, str]]] = [
    ({}, [(WEB, 80)], {KEY: "r2/80"}),
    ({}, [(WEB, 443), (WEB, 80)], {KEY: "r2/80+443"}),
    ({}, [(WEB, 80), (SHOP, 0)], {KEY: "r2/80", "evergreen.eks/out-of/elb/shop": "r2/0"}),
    ({KEY: "r1/80"}, [(WEB, 80)], {}),
    ({KEY: "r1/80"}, [(WEB, 443)], {KEY: "r2/80+443"}),
    ({KEY: "r1/80"}, [], {}),
]


@pytest.mark.parametrize(("existing", "targets", "expected"), FRESH)
def test_which_marks_an_instance_still_needs(
    existing: dict[str, str], targets: list[tuple[Balancer, int]], expected: dict[str, str]
) -> None:
    pairs = [(balancer, Target(A, port, "healthy")) for balancer, port in targets]

    assert fresh_marks(existing, "r2", pairs) == expected


@pytest.mark.parametrize(
    ("tags", "known", "marks"),
    [
        (5, 0, 40),
        (0, 0, 45),
        (5, 38, 2),  # those that are there already take no more room
        (45, 0, 1),  # attached to the group: nobody else would ever put it back there
        (50, 0, 1),
    ],
)
def test_of_more_load_balancers_than_an_instance_can_have_tags_those_of_controllers_go_without(
    tags: int, known: int, marks: int
) -> None:
    many = [Balancer(f"n{number}", arn=ARN.format(f"n{number}")) for number in range(60)]
    existing = {f"tag-{number}": "" for number in range(tags)} | {f"aws:{number}": "" for number in range(9)}
    existing |= dict(Mark(balancer.key, "r1", (80,)).tag for balancer in many[:known])

    fresh = fresh_marks(existing, "r2", [(balancer, Target(A, 80, "healthy")) for balancer in (*many, OWN)])

    assert len(fresh) == marks and Mark(OWN.key, "r2", (80,)).tag in fresh.items()


def test_the_longest_name_makes_a_key_that_aws_takes() -> None:
    longest = Balancer("w" * 32, arn=ARN.format("w" * 32))
    fresh = fresh_marks({}, "20261121T022904-d60b0a", [(longest, Target(A, 31080, "healthy"))])

    assert len(fresh) == 1 and all(len(key) <= 128 and len(value) <= 256 for key, value in fresh.items())


# ---- the answer


@pytest.mark.parametrize(
    ("reasons", "reason"),
    [
        ([], "no_balancer"),
        (["healthy", "healthy"], "healthy"),
        (["healthy", "initial"], "initial"),
        (["initial", "unhealthy"], "unhealthy"),
        (["unhealthy", "not_registered"], "not_registered"),
        (["gone", "draining"], "draining"),
        (["gone", "left_to_group"], "left_to_group"),
        (["gone", "balancer_gone"], "balancer_gone"),
        (["draining", "too_few_healthy", "registered_again"], "registered_again"),
        (["registered", "balancer_gone"], "registered"),
    ],
)
def test_an_instance_is_as_far_as_where_it_is_least_far(reasons: list[str], reason: str) -> None:
    standings = {Balancer(f"b{number}", CLASSIC): Standing(one) for number, one in enumerate(reasons)}

    assert instance_answer(standings, "no_balancer")["reason"] == reason


def test_the_answer_of_an_instance() -> None:
    standings = {WEB: Standing("unhealthy", "Target.Timeout", "Request timed out", (80,)), SHOP: Standing("healthy")}

    answer = instance_answer(standings, "no_balancer")

    assert answer["message"] == "target group web: unhealthy (Target.Timeout: Request timed out)"
    assert [entry["balancer"] for entry in answer["balancers"]] == ["shop", "web"]
    assert answer["balancers"][1] == {
        "balancer": "web",
        "kind": "target_group",
        "arn": WEB.arn,
        "ports": [80],
        "reason": "unhealthy",
        "cause": "Target.Timeout",
        "description": "Request timed out",
    }


def test_every_reason_has_its_place_and_every_open_one_a_remedy() -> None:
    settled = frozenset().union(*SETTLED.values())

    assert settled <= set(LEAST_FAR_FIRST)
    assert set(REMEDIES) <= set(LEAST_FAR_FIRST)
    assert set(LEAST_FAR_FIRST) - settled <= set(REMEDIES)


# ---- the options


def params(**changes: Any) -> dict[str, Any]:
    return {
        "asg_name": "shared",
        "state": "gone",
        "instance_ids": [A],
        "exclude_instance_ids": None,
        "cluster_name": None,
        "min_healthy": 1,
        "run_id": None,
        "timeout": 600.0,
        "poll_seconds": 5.0,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"instance_ids": ["ip-10-0-0-1"]}, "ip-10-0-0-1 cannot be the id"),
        ({"instance_ids": None}, "would take out every member"),
        ({"min_healthy": -1}, "min_healthy is -1"),
        ({"timeout": -1.0}, "timeout is -1"),
    ],
)
def test_mistakes_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        Request.of(params(**changes))


def test_each_instance_is_meant_once_and_an_empty_list_means_none() -> None:
    assert Request.of(params(instance_ids=[B, A, B])).instance_ids == (B, A)
    assert Request.of(params(instance_ids=[])).instance_ids == ()
    assert Request.of(params(state="healthy", instance_ids=None)).instance_ids is None
