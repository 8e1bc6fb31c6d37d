# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the playbooks: what may be given, as text or typed, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.settings import (
    Request,
    Surroundings,
    aws_options,
    host_name,
    kubernetes_options,
    read_request,
)

CLUSTER = {"eks_cluster_name": "production", "eks_node_groups": "istio,shared"}
OPTIONS = {"region": {"aliases": ["aws_region"]}, "profile": {}, "secret_key": {}}


def read(*surroundings: Any, **variables: Any) -> Request:
    """The request of the variables C(eks_<name>), on top of a cluster and two groups."""
    given = {f"eks_{name}": value for name, value in variables.items()}
    return read_request({**CLUSTER, **given}, Surroundings(*surroundings))


def refusal(*surroundings: Any, **variables: Any) -> str:
    """The sentence with which these variables are refused."""
    with pytest.raises(InvalidInput) as caught:
        request = read(*surroundings, **variables)
        for name in request.own:
            request.role_variables(name)
    return str(caught.value)


def test_names_alone_get_the_defaults_of_the_role() -> None:
    variables = read().role_variables("shared")

    assert variables["rollout_cluster_name"] == "production"
    assert variables["rollout_asg_name"] == "shared"
    assert variables["rollout_max_surge"] == "25%"
    assert variables["rollout_suspend_processes"] == ["AZRebalance"]


@pytest.mark.parametrize(
    "groups",
    [
        ["istio", "shared"],
        "istio,shared",
        " istio , shared ,",
        '["istio", "shared"]',
        [{"name": "istio"}, "shared"],
        '[{"name": "istio"}, {"name": "shared"}]',
    ],
)
def test_groups_may_be_a_list_or_text_and_keep_their_order(groups: Any) -> None:
    assert list(read(node_groups=groups).own) == ["istio", "shared"]


@pytest.mark.parametrize("groups", ["all", " all ", ["all"], '["all"]'])
def test_the_word_all_asks_for_every_group_of_the_cluster(groups: Any) -> None:
    request = read(node_groups=groups, canary="0")

    assert request.every_group
    assert request.role_variables("whichever")["rollout_canary"] == 0


@pytest.mark.parametrize(
    ("name", "given", "typed"),
    [
        ("max_surge", "50%", "50%"),
        ("max_surge", " 2 ", 2),
        ("max_surge", 2, 2),
        ("max_unavailable", "100%", "100%"),
        ("canary", "3", 3),
        ("drain_timeout", "900", 900),
        ("drain_timeout", "1h30m", 5400),
        ("drain_timeout", 0, 0),
        ("poll_seconds", "0.5", 0.5),
        ("evict_unmanaged", "yes", True),
        ("evict_unmanaged", "False", False),
        ("lock", "0", False),
        ("suspend_processes", "AZRebalance,ScheduledActions", ["AZRebalance", "ScheduledActions"]),
        ("suspend_processes", "[]", []),
        ("report_formats", "html, json", ["html", "json"]),
        ("report_formats", "[]", []),
        ("on_failure", "restore", "restore"),
        ("select", "all", "all"),
        ("select", '{"older_than": "7d"}', {"older_than": "7d"}),
        ("select", {"instances": ["i-0000000a"]}, {"instances": ["i-0000000a"]}),
        ("select", '{"instances": "i-0000000a,i-0000000b"}', {"instances": ["i-0000000a", "i-0000000b"]}),
        ("select", {"expression": "[?zone=='a'].instance_id"}, {"expression": "[?zone=='a'].instance_id"}),
        (
            "wait_for_completion",
            '{"selector": "app=report", "timeout": 3600}',
            {"selector": "app=report", "timeout": "3600"},
        ),
        ("wait_for_completion", {"then": "evict", "selector": ""}, {"then": "evict"}),
        ("protected_pods", "wait", "wait"),
        ("order", " priority ", "priority"),
        ("order", '[{"selector": "app=web"}]', [{"selector": "app=web"}]),
        ("order", [{"priority_class": "high"}], [{"priority_class": "high"}]),
        ("order_timeout", "5m", 300),
        ("critical_namespaces", "kube-system, shop", ["kube-system", "shop"]),
        ("critical_namespaces", [], []),
        (
            "gates",
            '[{"name": "open", "expression": " length(pods) > `1` "}]',
            [{"name": "open", "expression": "length(pods) > `1`"}],
        ),
        ("gate_ignore", [{"namespace": "ci-*"}, {"selector": "a=b"}], [{"namespace": "ci-*"}, {"selector": "a=b"}]),
        ("gate_settle_seconds", "2m", 120),
        ("load_balancers", "no", False),
        ("tasks_before_wave", "checks/alerts.yml,/srv/chat.yml", ["checks/alerts.yml", "/srv/chat.yml"]),
    ],
)
def test_text_gets_the_type_of_its_variable(name: str, given: Any, typed: Any) -> None:
    value = read(**{name: given}).role_variables("shared")[f"rollout_{name}"]

    assert value == typed
    assert type(value) is type(typed)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("gates", [{"name": "open", "expression": "length(pods"}], "of gate 'open' (number 1) is not JMESPath"),
        ("gates", [{"name": "open", "expression": "count(pods)"}], "calls count(), which JMESPath does not have"),
        ("gate_ignore", [{"selector": "a in b"}], "a in b"),
    ],
)
def test_what_is_behind_the_form_is_checked_too(name: str, value: Any, words: str) -> None:
    assert words in refusal(**{name: value})


@pytest.mark.parametrize("nothing", ["", "  ", None])
def test_an_unanswered_question_of_a_survey_is_unset(nothing: Any) -> None:
    request = read(max_surge=nothing, select=nothing, parallel_groups=nothing, state_dir=nothing)

    assert request.parallel_groups == 1
    assert request.role_variables("shared")["rollout_max_surge"] == "25%"


def test_a_groups_own_key_beats_what_was_given_for_all() -> None:
    groups = ["istio", {"name": "shared", "max_surge": "2", "drain_timeout": "", "select": {"older_than": "7d"}}]
    request = read(node_groups=groups, max_surge="50%", drain_timeout="60")

    assert request.role_variables("istio")["rollout_max_surge"] == "50%"
    assert request.role_variables("shared")["rollout_max_surge"] == 2
    assert request.role_variables("shared")["rollout_drain_timeout"] == 60
    assert request.role_variables("shared")["rollout_select"] == {"older_than": "7d"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_surge", "-1"),
        ("max_surge", "101%"),
        ("max_surge", "some"),
        ("max_unavailable", True),
        ("canary", -1),
        ("canary", "one"),
        ("canary", True),
        ("drain_timeout", "-5"),
        ("lock_seconds", "0"),
        ("drain_timeout", "soon"),
        ("poll_seconds", 0),
        ("poll_seconds", "nan"),
        ("poll_seconds", True),
        ("max_parallel_drains", 0),
        ("parallel_groups", "0"),
        ("evict_unmanaged", "perhaps"),
        ("suspend_processes", "Launch"),
        ("report_formats", "pdf"),
        ("on_failure", "shrug"),
        ("critical_namespaces", [7]),
        ("critical_namespaces", {"kube-system": True}),
        ("gates", [{"name": "open"}]),
        ("gates", [{"name": "open", "expression": "`true`", "message": "no"}]),
        ("gates", [{"name": "open", "expression": " "}]),
        ("gates", "open"),
        ("gate_ignore", [{}]),
        ("gate_looks", 0),
        ("tasks_after_group", [["a.yml"]]),
        ("state_store", "floppy"),
        ("select", "some"),
        ("select", {"older_than": "7 days"}),
        ("select", {"all": True, "outdated": True}),
        ("select", "{broken"),
        ("wait_for_completion", "20h"),
        ("wait_for_completion", {"label": "app=report"}),
        ("wait_for_completion", {"timeout": "a day"}),
        ("wait_for_completion", {"selector": "app in web"}),
        ("wait_for_completion", {"then": "delete"}),
        ("protected_pods", "ignore"),
        ("order", "size"),
        ("order", [{"selector": "app in web"}]),
        ("order", "[{"),
        ("cluster_name", ["production"]),
        ("node_groups", 7),
        ("node_groups", '{"name": "shared"}'),
    ],
)
def test_a_value_that_cannot_be_meant_is_named_with_what_it_may_be(name: str, value: Any) -> None:
    words = refusal(**{name: value})

    assert words.startswith(f"eks_{name} cannot be ")
    assert " Give " in words


def test_an_unknown_variable_is_named_with_the_nearest_and_all_known() -> None:
    words = refusal(max_surg="1")

    assert words.startswith("Unknown variable eks_max_surg. Did you mean eks_max_surge? Known are eks_addon")


def test_an_unknown_key_of_a_group_is_named_with_the_group() -> None:
    words = refusal(node_groups=[{"name": "shared", "max_unavailble": 1}])

    assert words.startswith(
        "Unknown key of node group shared in eks_node_groups: max_unavailble. Did you mean max_unav"
    )


@pytest.mark.parametrize("key", ["cluster_name", "asg_name", "state_dir", "rollout_max_surge", "lock"])
def test_what_belongs_to_the_whole_run_is_no_key_of_a_group(key: str) -> None:
    assert f"Unknown key of node group shared in eks_node_groups: {key}" in refusal(
        node_groups=[{"name": "shared", key: "x"}]
    )


def test_a_bad_value_of_one_group_names_the_group() -> None:
    words = refusal(node_groups=[{"name": "shared", "canary": -1}])

    assert words == "canary of node group shared cannot be -1. Give a whole number of at least 0."


@pytest.mark.parametrize(("surge", "unavailable"), [(0, 0), ("0%", "0"), ("0", "0%")])
def test_surge_and_unavailable_cannot_both_be_zero(surge: Any, unavailable: Any) -> None:
    words = refusal(max_surge=surge, max_unavailable=unavailable)

    assert words.startswith("max_surge and max_unavailable of node group istio are both 0")


@pytest.mark.parametrize(
    ("missing", "words"),
    [("cluster_name", "eks_cluster_name is not set"), ("node_groups", "eks_node_groups is not set")],
)
def test_cluster_and_groups_are_required(missing: str, words: str) -> None:
    assert refusal(**{missing: ""}).startswith(words)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (["shared", "shared"], "eks_node_groups names the group shared twice"),
        (["istio", {"max_surge": 1}], 'eks_node_groups holds {"max_surge": 1}, which names no group'),
        ([["istio"]], 'eks_node_groups holds ["istio"], which names no group'),
        ([], "eks_node_groups names no group"),
        (",", "eks_node_groups names no group"),
    ],
)
def test_a_list_that_names_no_groups_is_refused(groups: Any, words: str) -> None:
    assert refusal(node_groups=groups).startswith(words)


def test_more_parallel_groups_than_ansible_can_work_on_are_refused() -> None:
    words = refusal("/work", 5, parallel_groups=6)

    assert (
        words
        == "eks_parallel_groups is 6, but Ansible has 5 forks. Start with --forks 6, or lower eks_parallel_groups."
    )
    assert read("/work", 5, parallel_groups=5).parallel_groups == 5


def test_exactly_as_many_forks_as_parallel_groups_need_no_batches() -> None:
    assert read("/work", 5, parallel_groups=2).serial == 2
    assert read("/work", 2, parallel_groups=2).serial == 0
    assert read("/work", 1, parallel_groups=1).serial == 1


def test_groups_that_run_at_the_same_time_have_a_pace_of_their_own() -> None:
    assert read(parallel_groups=1).strategy == "linear"
    assert read(parallel_groups=2).strategy == "host_pinned"


@pytest.mark.parametrize("name", ["state_dir", "plan_file", "report_dir"])
def test_a_relative_place_is_meant_from_where_the_playbook_was_started(name: str) -> None:
    assert read("/home/ann/project", **{name: "state"}).common[name] == "/home/ann/project/state"
    assert read("/home/ann/project", **{name: "/var/lib/rollouts"}).common[name] == "/var/lib/rollouts"
    assert read("/home/ann/project", **{name: ""}).common[name] == ""


def test_a_file_store_in_awx_needs_a_directory_that_outlives_the_job() -> None:
    assert "would be lost with the container of this AWX job" in refusal("/runner/project", 5, "4711")
    assert read("/runner/project", 5, "4711", state_dir="/state").common["state_dir"] == "/state"


def test_connection_options_may_be_a_dict_or_its_json_and_get_the_region() -> None:
    assert aws_options({"profile": "production", "region": ""}, "eu-west-1", OPTIONS) == {
        "profile": "production",
        "region": "eu-west-1",
    }
    assert aws_options('{"profile": "production"}', "", OPTIONS) == {"profile": "production"}
    assert aws_options("", None, OPTIONS) == {}


def test_two_different_regions_are_refused() -> None:
    with pytest.raises(InvalidInput, match="eks_region is eu-west-1, but eks_aws names the region us-east-1"):
        aws_options({"aws_region": "us-east-1"}, "eu-west-1", OPTIONS)


def test_a_refused_connection_option_does_not_show_its_value() -> None:
    with pytest.raises(InvalidInput) as unknown:
        aws_options({"secret": "hunter2"}, "", OPTIONS)
    with pytest.raises(InvalidInput) as broken:
        aws_options('{"secret_key": "hunter2"', "", OPTIONS)

    assert str(unknown.value).startswith("Unknown option in eks_aws: secret. Did you mean secret_key?")
    assert "hunter2" not in str(unknown.value) + str(broken.value)


def test_kubernetes_options_get_the_cluster_and_leave_it_to_its_own_variable() -> None:
    spec = {"context": {}, "cluster_name": {}}

    assert kubernetes_options({}, "production", spec) == {"cluster_name": "production"}
    assert kubernetes_options('{"context": "blue"}', "", spec) == {"context": "blue"}
    with pytest.raises(InvalidInput, match="Unknown option in eks_kubernetes: cluster_name"):
        kubernetes_options({"cluster_name": "other"}, "production", spec)


@pytest.mark.parametrize(
    ("asg_name", "host"),
    [
        ("shared", "shared"),
        ("eks-shared_1.blue", "eks-shared_1.blue"),
        ("team:shared", "team%3Ashared"),
        ("a/b [1:3] c", "a%2Fb%20%5B1%3A3%5D%20c"),
        ("all", "%61ll"),
        ("localhost", "%6Cocalhost"),
        ("-dash", "%2Ddash"),
    ],
)
def test_the_host_of_a_group_has_a_name_that_ansible_reads_as_one(asg_name: str, host: str) -> None:
    assert host_name(asg_name) == host


@pytest.mark.parametrize(
    "given",
    [
        [{"after": "30m", "action": "delete", "selector": "tier=batch"}],
        '[{"after": "30m", "action": "delete", "selector": "tier=batch", "budgets": "keep"}]',
    ],
)
def test_an_escalation_survives_as_text(given: Any) -> None:
    variables = read(drain_on_timeout="escalate", drain_escalation=given).role_variables("shared")

    assert variables["rollout_drain_escalation"] == [
        {"after": "30m", "action": "delete", "selector": "tier=batch", "budgets": "keep"}
    ]


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"drain_escalation": "delete"}, "eks_drain_escalation cannot be 'delete'"),
        ({"drain_escalation": '{"after": "30m"}'}, "Give a list of steps"),
        ({"drain_escalation": [{"after": "30m", "action": "kill"}]}, "action is one of delete"),
        ({"drain_escalation": [{"after": "30m", "action": "delete"}]}, "on_timeout is fail"),
        ({"drain_on_timeout": "escalate"}, "there is no escalation"),
        ({"drain_on_timeout": "wait"}, "fail or carry or escalate"),
        ({"node_groups": [{"name": "istio", "drain_on_timeout": "escalate"}]}, "there is no escalation"),
    ],
)
def test_an_escalation_that_cannot_be_meant_is_refused(variables: Any, says: str) -> None:
    assert says in refusal(**variables)


@pytest.mark.parametrize(
    ("given", "in_the_end", "between"),
    [
        ("all", "all", "all"),
        ("coredns,vpc-cni", ["coredns", "vpc-cni"], ["coredns", "vpc-cni"]),
        (
            '["coredns", {"name": "vpc-cni", "version": "v1.21.1-eksbuild.1", "resolve_conflicts": "NONE"}]',
            ["coredns", {"name": "vpc-cni", "version": "v1.21.1-eksbuild.1", "resolve_conflicts": "NONE"}],
            ["coredns", {"name": "vpc-cni", "resolve_conflicts": "NONE"}],
        ),
    ],
)
def test_versions_of_add_ons_are_meant_for_the_end_of_the_upgrade(given: Any, in_the_end: Any, between: Any) -> None:
    variables = read(version="1.33", addons=given).cluster_variables(["shared"])
    assert variables["upgrade_addons"] == in_the_end
    assert variables["upgrade_addons_between"] == between


def test_the_variables_of_an_upgrade_go_to_its_roles() -> None:
    groups = [{"name": "istio", "image": "keep"}, "shared"]
    request = read(version="v1.33", image="recommended", node_groups=groups, bake_seconds="10m", quiet="yes")

    cluster = request.cluster_variables(["istio", "shared"])
    assert (cluster["upgrade_version"], cluster["verify_version"]) == ("1.33", "1.33")
    assert cluster["upgrade_node_groups"] == [
        {"name": "istio", "image": "keep"},
        {"name": "shared", "image": "recommended"},
    ]
    assert cluster["upgrade_bake_seconds"] == 600
    assert cluster["addons_quiet"] is True
    assert request.upgrade_variables("istio")["node_image_image"] == "keep"
    assert request.upgrade_variables("shared")["upgrade_cluster_name"] == "production"


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("version", 1.3, "eks_version cannot be 1.3. Give a Kubernetes version such as 1.33, in quotes"),
        ("version", "2.0", "eks_version cannot be '2.0'"),
        ("image", "ami-1", "eks_image cannot be 'ami-1'. Give keep, recommended or the id of an image"),
        ("addons", '[{"version": "v1"}]', "eks_addons cannot be"),
        ("verify_sidecars", '[{"annotation": "a"}]', "eks_verify_sidecars cannot be"),
        ("resolve_conflicts", "preserve", "eks_resolve_conflicts cannot be 'preserve'. Give PRESERVE or OVERWRITE"),
    ],
)
def test_what_an_upgrade_cannot_be_asked_is_refused_in_words(name: str, given: Any, words: str) -> None:
    assert refusal(**{name: given}).startswith(words)


def test_a_playbook_may_need_more_variables() -> None:
    with pytest.raises(InvalidInput, match="eks_version is not set. Name the Kubernetes version"):
        read_request(CLUSTER, Surroundings(), ["version"])
