# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three forms of a report: what stands in them, what never does, and how large they get."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, Callable

import pytest
from unit.checkpoints import a_checkpoint
from unit.journals import COMMAND, RESTORE, RUN, JournalWriter, finished_journal, resumed_journal

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import MASK
from ansible_collections.evergreen.eks.plugins.module_utils.report import words
from ansible_collections.evergreen.eks.plugins.module_utils.report.chart import bounds
from ansible_collections.evergreen.eks.plugins.module_utils.report.document import SCHEMA, as_document, to_json
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import read_events
from ansible_collections.evergreen.eks.plugins.module_utils.report.markdown import code, plain, to_markdown
from ansible_collections.evergreen.eks.plugins.module_utils.report.page import to_html
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Capacity, Report
from ansible_collections.evergreen.eks.plugins.module_utils.report.story import tell

FORMS = {"html": to_html, "markdown": to_markdown, "json": to_json}
VOID = {"meta", "br", "link", "img"}
LARGEST, SLOWEST = 5_000_000, 5.0  # bytes, seconds


def told(journal: JournalWriter, **known: Any) -> Report:
    events = read_events(journal.lines)
    return tell("shared", RUN, events, known.pop("checkpoint", None), events[-1].at, **known)


class Page(HTMLParser):
    """The elements of a page, and whether they are well nested."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize(
    "journal", [finished_journal(), resumed_journal(), JournalWriter()], ids=["done", "resumed", "new"]
)
def test_the_page_is_well_formed_and_asks_nobody_for_anything(journal: JournalWriter) -> None:
    if not journal.lines:
        journal.begin([])
    page = Page(to_html(told(journal)))

    assert (page.open, page.wrong) == ([], [])
    assert not {tag for tag, _attributes in page.elements} & {"script", "link", "img", "iframe", "object", "form", "a"}
    assert not [attributes for _tag, attributes in page.elements if {"src", "srcset", "action"} & set(attributes)]
    assert all(attributes.get("href", "#").startswith("#") for _tag, attributes in page.elements)
    assert "url(http" not in to_html(told(journal))
    assert ("meta", "Content-Security-Policy") in [(tag, one.get("http-equiv")) for tag, one in page.elements]


def test_what_the_page_draws_from_is_defined_in_it() -> None:
    html = to_html(told(resumed_journal()))
    used = set(re.findall(r"url\(#([\w-]+)\)", html)) | set(re.findall(r'href="#([\w-]+)"', html))

    assert used == {"hatch", "dots", "cross", "idle", "grid", "idle-time"}
    assert used <= set(re.findall(r'id="([\w-]+)"', html))


def test_every_part_of_a_resumed_rollout_is_on_the_page() -> None:
    page = Page(to_html(told(resumed_journal())))
    said = " ".join(page.words)

    for part in (
        *("Failed", "7 of 11 nodes replaced", "It is not finished", "relaunch this job", RESTORE),
        *("Where the time went", "Timeline", "Capacity against the floor", "Old nodes", "New nodes"),
        *("Pods that were held up", "web/web-7d4b9c-x2x1p", "repair web/web-7d4b9c-9pq2z"),
        *("The cluster before and after", "Runs", "Line by line", "6 h 24 min", "AWX job 4711", "Not begun with"),
    ):
        assert part in said, part
    bars = [attributes for tag, attributes in page.elements if tag == "rect" and attributes.get("class") == "pause"]
    assert len(bars) == 1


def test_what_was_forced_stands_there_with_its_policy() -> None:
    report = told(finished_journal())

    for form in ("html", "markdown"):
        assert "batch/report-0" in FORMS[form](report)
        assert "after 30m: delete pods of app=report, budgets are kept" in FORMS[form](report).replace("\\", "")


def test_a_finished_rollout_names_no_commands() -> None:
    assert COMMAND not in to_html(told(finished_journal()))
    assert "How to go on" not in to_markdown(told(finished_journal()))


@pytest.mark.parametrize("form", FORMS)
def test_no_form_holds_a_secret_or_markup_of_others(form: str) -> None:
    secret, token = "AKIAIOSFODNN7EXAMPLE", "k8s-aws-v1.c2VjcmV0LXRva2Vu"
    evil = f"<script>alert('{secret}')</script> | {token}"
    journal = JournalWriter(group=evil)
    journal.begin(["0"], operator=evil, command=f"play -e x={secret}", target=evil)
    journal.write("pod_blocked", pod=evil, node=evil, budget=evil, message=evil, reason=evil)
    journal.write("pod_forced", pod=evil, uid="u", node=evil, action=evil, after=1, policy=evil, budgets=[evil])
    journal.write("node_stage", instance=evil, node=evil, to="cordoned", zone=evil)
    journal.write("picture_compared", numbers={evil: 1}, numbers_before={evil: 2}, worse=[evil], better=[])
    journal.write("gate_closed", text=evil)
    journal.at += 60
    journal.end("failed", cause=evil, resume_command=evil, restore_command=evil)
    hosts = {evil: HostProgress(evil, evil, evil)}
    report = told(
        journal, checkpoint=a_checkpoint(hosts=hosts, waves=[], target_text=evil, provenance={"operator": evil})
    )
    written = FORMS[form](report)

    assert secret not in written
    assert token not in written
    assert MASK in written.replace("\\", "")
    if form == "html":
        page = Page(written)
        assert (page.open, page.wrong) == ([], [])
        assert "script" not in {tag for tag, _attributes in page.elements}
    if form == "markdown":
        assert not re.search(r"(?<!\\)<script", written.replace(code(report.resume_command), "").replace("`", ""))


def test_the_json_is_the_schema_that_is_documented() -> None:
    document = json.loads(to_json(told(resumed_journal())))

    assert document["schema"] == SCHEMA
    assert (document["group"], document["run"], document["outcome"]) == ("shared", RUN, "failed")
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["interrupted", "failed"]
    assert document["interruptions"] == [
        {
            "began": "2026-11-21T01:05:37Z",
            "ended": "2026-11-21T07:29:37Z",
            "seconds": 23040,
            "after": "interrupted",
        }
    ]
    assert document["lowest_ready"] == 11
    assert document["below_floor"] is False
    assert {node["outcome"] for node in document["nodes"]} == {"replaced", "untouched", "new", "starting"}
    assert as_document(told(resumed_journal())) == document


@pytest.mark.parametrize("form", FORMS)
def test_a_run_that_was_put_back_says_why_and_offers_no_way(form: str) -> None:
    journal = JournalWriter(waves=1)
    journal.begin(["0"])
    journal.end("put_back", cause="ip-1 was not drained", resume_command="go on now")
    written = FORMS[form](told(journal))

    assert "ip-1 was not drained" in written
    assert "go on now" not in written
    assert form == "json" or "Why it was put back" in written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", "a\\|b"),
        ("two\nlines", "two lines"),
        ("<b>", "\\<b\\>"),
        ("snake_case", "snake\\_case"),
        ("ask @ann", "ask @\u200bann"),
        ("see #123 and !45", "see #\u200b123 and !\u200b45"),
        ("&lt;b&#62; &1", "&\u200blt;b&\u200b#\u200b62; &\u200b1"),
        ("a & b, 1 # 2 @ 3!", "a & b, 1 # 2 @ 3!"),
    ],
)
def test_nothing_means_anything_to_markdown(text: str, written: str) -> None:
    assert plain(text) == written


@pytest.mark.parametrize(
    ("text", "written"), [("ls -l", "`ls -l`"), ("echo `date`", "`` echo `date` ``"), ("a\nb", "`a b`")]
)
def test_a_command_is_one_line_of_code(text: str, written: str) -> None:
    assert code(text) == written


@pytest.mark.parametrize("form", FORMS)
def test_a_thousand_nodes_are_told_in_seconds_and_a_few_megabytes(form: str) -> None:
    lines = finished_journal(1000, (1, 250, 250, 250, 249)).lines
    began = time.process_time()  # what it takes on a machine that does nothing else
    events = read_events(lines)
    written = FORMS[form](tell("shared", RUN, events, None, events[-1].at))

    assert time.process_time() - began < SLOWEST
    assert len(written.encode()) < LARGEST
    if form == "html":
        assert sum(tag == "details" for tag, _attributes in Page(written).elements) >= 7  # folded up


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (8040, "2 h 14 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_read_well(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["ip-1.internal", "ip-2.internal"], ["ip-1", "ip-2"]),
        (["ip-1.a", "ip-1.b"], ["ip-1.a", "ip-1.b"]),
        (["", "node"], ["i-0", "node"]),
    ],
)
def test_names_are_shortened_where_nobody_else_has_them(names: list[str], short: list[str]) -> None:
    nodes = [words.NodeStory(f"i-{number}", old=True, node=name) for number, name in enumerate(names)]

    assert list(words.short_names(nodes).values()) == short


@pytest.mark.parametrize(
    ("lowest", "highest", "drawn"), [(6, 9, (4, 10)), (0, 3, (0, 4)), (1000, 1250, (850, 1290)), (5, 5, (4, 6))]
)
def test_the_chart_leaves_room_to_fall(lowest: int, highest: int, drawn: tuple[int, int]) -> None:
    low, high = bounds(lowest, highest)

    assert (low, high) == drawn


def replaced_story(change: Callable[[JournalWriter], None]) -> str:
    journal = finished_journal()
    change(journal)
    return " ".join(words.story(told(journal)))


def test_the_story_says_what_was_done_and_why_it_took_that_long() -> None:
    story = replaced_story(lambda journal: None)

    assert story.startswith("All 6 old nodes of shared have been replaced, in 3 waves. It took 11 min 40 s.")
    assert "Most of the work was draining (6 min 15 s, 54 %)" in story
    assert "pod web/web-7d4b9c-x2x1p, for 5 min 12 s, by budget web/web-pdb" in story
    assert "There were never fewer than 6 nodes Ready; 6 were promised." in story
    assert "1 pod was forced" in story


def test_that_nobody_was_forced_is_said_only_where_all_was_told() -> None:
    report = told(finished_journal())
    report.forced = []

    assert "No pod was forced." in words.story(report)
    assert "No pod was forced." not in words.story(replace(report, missing=["The journal could not be read."]))
    assert "No pod was forced." not in words.story(replace(report, whole=False))


@pytest.mark.parametrize(
    ("capacity", "sentence"),
    [
        ([(6, 6), (7, 6)], "There were never fewer than 6 nodes Ready; 6 were promised."),
        ([(6, None), (7, 6)], "There were never fewer than 6 nodes Ready; 6 were promised."),
        (
            [(6, 6), (4, 4)],
            "There were never fewer than 4 nodes Ready; 4 to 6 were promised.",
        ),
        ([(6, 6), (7, 9), (4, 5)], "Fewer nodes were Ready than were promised: 7 of 9 at the worst, 01:02:03."),
        ([(5, None)], "Fewer nodes were Ready than were promised: 5 of 6 at the worst, 01:02:03."),
    ],
)
def test_each_moment_is_held_against_the_floor_of_then(capacity: list[tuple[int, int | None]], sentence: str) -> None:
    report = told(finished_journal())
    report.capacity = [Capacity(report.began, ready=ready, floor=floor) for ready, floor in capacity]

    assert sentence in words.story(report)
