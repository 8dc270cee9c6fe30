"""A headless Chromium for tests of pages, and the accessibility checker axe-core."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Programs that will do, in this order."""

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
"""Sizes of a desktop's and of a phone's window."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; the test is skipped where there is none.

    It lasts for one file of tests, because an event loop runs in the thread of the tests as long as Playwright does.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=program, args=arguments)
        yield found
        found.close()


def violations(page: Page, without: Sequence[tuple[str, str]] = ()) -> list[str]:
    """The serious and critical violations that axe-core finds in a page, one line per element.

    Args:
        page: The page.
        without: Pairs of a rule and the beginning of a selector whose violations are known, and not those of the page's
            author.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found: list[dict[str, Any]] = axe.Axe().run(page).response["violations"]
    lines = []
    for rule in found:
        if rule["impact"] not in ("serious", "critical"):
            continue
        for node in rule["nodes"]:
            where = " ".join(map(str, node["target"]))
            if not any(rule["id"] == name and where.startswith(selector) for name, selector in without):
                lines.append(f"{rule['id']} ({rule['impact']}): {where}: {node['html'][:200]}")
    return lines


def requests_elsewhere(page: Page) -> list[str]:
    """A list that fills with the addresses of requests of a page to other machines than this one."""
    found: list[str] = []

    def note(url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:", "file:", "about:")):
            found.append(url)

    page.on("request", lambda request: note(request.url))
    return found
