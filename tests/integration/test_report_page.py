# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a report in a real browser: nothing is amiss in its console, nothing has to be scrolled sideways."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.journals import finished_journal, resumed_journal

from ansible_collections.evergreen.eks.plugins.module_utils.report.events import read_events
from ansible_collections.evergreen.eks.plugins.module_utils.report.page import to_html
from ansible_collections.evergreen.eks.plugins.module_utils.report.story import tell

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="There is no chromium with chromedriver here")
ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
JOURNALS = {
    "finished": finished_journal,
    "resumed": resumed_journal,
    "large": lambda: finished_journal(300, (1, 100, 199)),
}
# What sticks out to the right, if anything does.
TOO_WIDE = """
return [...document.querySelectorAll('body *')].filter(
  one => !one.closest('svg') && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
).map(one => one.outerHTML.slice(0, 120));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, journal in JOURNALS.items():
        events = read_events(journal().lines)
        page = to_html(tell("shared", events[0].run, events, None, events[-1].at))
        found[name] = folder / f"{name}.html"
        found[name].write_text(page, encoding="utf-8")
    return found


def show(browser: Any, page: Path, width: int, scheme: str) -> None:
    """Open the page on a screen of this width, light or dark, with everything unfolded."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    preference = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
    browser.get(page.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", JOURNALS)
def test_it_renders_without_errors_and_without_scrolling_sideways(
    browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    show(browser, pages[name], width, scheme)

    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(TOO_WIDE) == []
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(json.loads(paper.replace("rgb(", "[").replace(")", "]"))) > 384) is (scheme == "light")


def test_it_asks_nobody_for_anything(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["resumed"], 1280, "light")

    assert browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)") == []


@pytest.mark.parametrize("width", [1280, 390])
def test_every_node_has_a_visible_row_with_bars(browser: Any, pages: dict[str, Path], width: int) -> None:
    show(browser, pages["resumed"], width, "light")
    rows = browser.execute_script(
        "return [...document.querySelectorAll('details.wave svg')].map(one => ["
        "one.getBoundingClientRect().width, one.getBoundingClientRect().height, one.querySelectorAll('rect').length])"
    )

    assert len(rows) == 21
    assert all(across > 0.6 * (width - 200) and down >= 12 and bars for across, down, bars in rows)


def test_on_paper_nothing_is_folded_up(browser: Any, pages: dict[str, Path]) -> None:
    browser.get(pages["large"].as_uri())
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    heights = browser.execute_script(
        "return [...document.querySelectorAll('details.wave .time')].map(one => one.getBoundingClientRect().height)"
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

    assert len(heights) == 3
    assert all(height > 20 for height in heights)
