"""The report in a real browser: no violation of accessibility, nothing loaded from elsewhere, tables that sort."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.data import samples
from browser import NARROW, WIDE, requests_elsewhere, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        seeing = nn.Sequential(
            nn.Conv2d(3, 2, 8, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 10)
        )
        vector = nn.Sequential(nn.Linear(40, 12), nn.ReLU(), nn.Linear(12, 3))
    networks = {
        "pictures": bs.load(seeing, (3, 32, 32), name="small network"),
        "vectors": bs.load(vector, (40,), name="numbers"),
    }
    few = samples("cifar10").take(slice(12))
    return {
        name: bs.write_report(
            network, tmp_path_factory.mktemp(name), images=few if name == "pictures" else None, options="MODEL"
        ).page
        for name, network in networks.items()
    }


@pytest.mark.parametrize("name", ["pictures", "vectors"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_no_violation_and_nothing_from_elsewhere(
    browser: Browser, pages: dict[str, Path], name: str, scheme: Literal["light", "dark"], size: dict[str, int]
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": size["width"], "height": size["height"]})
    elsewhere = requests_elsewhere(page)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(pages[name].as_uri())
    assert violations(page) == []
    assert (elsewhere, errors) == ([], [])
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.close()


def test_tables_sort_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["pictures"].as_uri())
    table = page.locator("table.sortable")
    before = table.locator("tbody th").all_inner_texts()
    button = table.get_by_role("button", name="inputs")
    column = table.locator("tbody td:nth-child(3)")
    button.focus()
    page.keyboard.press("Enter")
    head = table.locator("thead th").nth(2)
    assert head.get_attribute("aria-sort") == "ascending"
    numbers = [int(text.replace(",", "")) for text in column.all_inner_texts()]
    assert numbers == sorted(numbers)
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "descending"
    assert [int(text.replace(",", "")) for text in column.all_inner_texts()] == sorted(numbers, reverse=True)
    table.get_by_role("button", name="layer").click()
    assert head.get_attribute("aria-sort") is None
    assert sorted(table.locator("tbody th").all_inner_texts()) == sorted(before)
    page.close()
