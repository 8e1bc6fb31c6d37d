# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of a run: what an operator reads at three in the morning."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.checkpoints import a_checkpoint

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.unfinished import LastWords, Progress, unfinished

WORDS = LastWords(
    stage="Drain its nodes, wave 2",
    cause="Node ip-2: budget default/web allows no disruption.",
    reason="drain_timeout",
    begun=True,
    resume_command="ansible-playbook evergreen.eks.rollout -e eks_cluster_name=prod",
    restore_command="ansible-playbook evergreen.eks.restore -e eks_cluster_name=prod",
)


def half_way():
    """One instance gone, one cordoned, one not begun with."""
    hosts = {
        **a_checkpoint().hosts,
        "i-2": HostProgress("template_version", "ip-2", "eu-central-1b", 2, times={"cordon": "2026-11-21T01:05:00Z"}),
        "i-3": HostProgress("template_version", "ip-3", "eu-central-1c"),
    }
    return a_checkpoint(hosts=hosts)


def last_words(words=WORDS, progress=None):
    return unfinished("shared", "prod", words, Progress.of(half_way()) if progress is None else progress)


def test_the_last_words_are_what_is_done_and_what_is_not_and_the_two_commands():
    assert last_words().lines == (
        "stopped in 'Drain its nodes, wave 2': Node ip-2: budget default/web allows no disruption",
        "Done: 1 (i-1)",
        "Half done: 1 (i-2 cordoned)",
        "Untouched: 1 (i-3)",
        "To go on: ansible-playbook evergreen.eks.rollout -e eks_cluster_name=prod",
        "To go back: ansible-playbook evergreen.eks.restore -e eks_cluster_name=prod",
    )


def test_the_message_says_the_same_in_one_paragraph_and_the_result_as_data():
    failure = last_words().as_failure()

    assert failure["msg"] == (
        "Node group shared of cluster prod is not finished: it stopped in 'Drain its nodes, wave 2'. Node ip-2: budget "
        "default/web allows no disruption. Done: 1 (i-1). Half done: 1 (i-2 cordoned). Untouched: 1 (i-3). To go on: "
        "ansible-playbook evergreen.eks.rollout -e eks_cluster_name=prod  To go back: ansible-playbook "
        "evergreen.eks.restore -e eks_cluster_name=prod"
    )
    assert failure["reason"] == "drain_timeout"
    assert (failure["done"], failure["half_done"], failure["untouched"]) == (["i-1"], ["i-2"], ["i-3"])
    assert failure["resume_command"] == WORDS.resume_command
    assert failure["restore_command"] == WORDS.restore_command


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("node group shared was taken up by another run", "It was taken up by another run."),
        ("Auto Scaling group shared is being deleted.", "It is being deleted."),
        ("node group shared-2 is another one", "Node group shared-2 is another one."),
        ("", "Done: 1"),
    ],
)
def test_the_node_group_is_named_once(cause: str, said: str):
    message = str(last_words(replace(WORDS, cause=cause)))

    assert message.startswith(
        f"Node group shared of cluster prod is not finished: it stopped in '{WORDS.stage}'. {said}"
    )


def test_a_run_that_was_not_begun_has_nothing_to_go_back_from():
    failure = last_words(replace(WORDS, begun=False, stage="Look"), Progress())

    assert str(failure).startswith("Nothing was changed at node group shared of cluster prod: it stopped in 'Look'.")
    assert "To go back" not in str(failure)
    assert failure.details["restore_command"] == ""


def test_one_that_an_earlier_run_had_begun_can_go_back():
    assert "To go back: " in str(last_words(replace(WORDS, begun=False)))


def test_of_a_run_that_is_given_up_the_old_instances_stay():
    checkpoint = half_way()
    checkpoint.hosts["i-9"] = HostProgress(SURPLUS, finished=True)
    checkpoint.keep_the_rest()

    assert Progress.of(checkpoint).lines == (
        "Done: 1 instance of the run's own removed; 1 old instance had been replaced before it was given up",
        "Half done: not all is put back; the same command with --check shows what is left",
        "Untouched: the old instances that are left, they stay",
    )
