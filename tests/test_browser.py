"""The accessibility checker finds what it should find, and leaves out what it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from browser import requests_elsewhere, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BAD = "<html lang=en><title>t</title><main><h1>h</h1><input id=a><img id=b src='http://192.0.2.1/x.png'></main></html>"


def test_violations_and_requests_are_found(browser: Browser) -> None:
    page = browser.new_page()
    elsewhere = requests_elsewhere(page)
    page.set_content(BAD, wait_until="commit")
    page.wait_for_selector("#b", state="attached")
    assert sorted(line.split()[0] for line in violations(page)) == ["image-alt", "label"]
    assert [line.split()[0] for line in violations(page, [("label", "#a")])] == ["image-alt"]
    assert elsewhere == ["http://192.0.2.1/x.png"]
    page.close()
