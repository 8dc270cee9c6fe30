"""The demo page: what it measures, and that the file stands on its own."""

from __future__ import annotations

import json
import math
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.data import samples
from blindspace.errors import FileError, MissingExtraError, ShapeError, ValueRangeError
from blindspace.evidence.growing_noise import ALPHAS, SHOWN
from blindspace.networks import Network
from blindspace.report.charts import Line, chart
from blindspace.report.demo import DemoResult
from blindspace.report.page import inline_svg, number, percent, picture, render, signed_picture, size

IMAGES = samples("cifar10").take(slice(16))
NUMBERS = [
    (0.0, "0"),
    (13.42, "13"),
    (186.2, "186"),
    (0.0671, "0.067"),
    (2.13e-13, "2.1 × 10⁻¹³"),
    (-3.2e-8, "−3.2 × 10⁻⁸"),
    (123456.0, "1.2 × 10⁵"),
    (None, "–"),
]


class Page(HTMLParser):
    """Every opening tag with its attributes, and the words between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def small_network() -> Network:
    """Untrained, with a skip connection, 3·16·16 dimensions read by 2·8·8 values."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 2, 8, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 10)
        )
    return bs.load(module, (3, 32, 32), name="small <network>")


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    return bs.demo(tmp_path_factory.mktemp("demo") / "new", images=IMAGES, with_layers=False)


@pytest.fixture(scope="module")
def page(demo: DemoResult) -> Page:
    return Page(demo.page.read_text(encoding="utf-8"))


def test_harmless_changes_nothing(demo: DemoResult) -> None:
    assert demo.audit.space.dim == 512
    assert [step.alpha for step in demo.noise.steps] == list(ALPHAS)
    for step in demo.noise.steps:
        assert step.harmless.labels_changed == 0
        assert (step.harmless.max_output_change_float64 or 0.0) < 1e-11
        assert step.harmless.max_output_change < 1e-3
        assert step.harmless.max_perturbation == pytest.approx(step.size, rel=1e-9)


def test_controls_change_labels(demo: DemoResult) -> None:
    changed = [step.gaussian.labels_changed or 0 for step in demo.noise.steps]
    assert changed[0] == 0
    assert changed[-1] == max(changed) > len(IMAGES) / 2
    last = demo.noise.steps[-1]
    assert (last.shuffled.labels_changed or 0) > len(IMAGES) / 2
    assert last.shuffled.max_perturbation == pytest.approx(last.harmless.max_perturbation, rel=1e-9)
    assert last.floor < last.gaussian.max_output_change / 1000


def test_gallery(demo: DemoResult) -> None:
    assert len(demo.noise.gallery) == len(demo.noise.strip) == SHOWN
    assert len({row.truth for row in demo.noise.gallery}) == SHOWN
    assert [row.size for row in demo.noise.gallery] == [step.size for step in demo.noise.steps[-SHOWN:]]
    assert {row.index for row in demo.noise.strip} == {demo.noise.gallery[0].index}
    for row in demo.noise.gallery + demo.noise.strip:
        assert row.original.label == row.sum.label == row.truth
        assert row.sum.confidence == pytest.approx(row.original.confidence, abs=1e-4)
        assert row.change_float64 < 1e-11 < row.gaussian_change_float64
    assert demo.noise.strip[-1].gaussian_change > demo.noise.strip[0].gaussian_change


def test_files(demo: DemoResult) -> None:
    found = json.loads(demo.data.read_text())
    assert found == json.loads(json.dumps(demo.to_dict()))
    assert all(math.isfinite(leaf) for leaf in leaves(found) if isinstance(leaf, float))
    assert found["audit"]["front"]["dim"] == 512
    assert "pictures" not in found["gallery"][0]
    assert sorted(path.name for path in demo.page.parent.iterdir()) == ["demo.json", "index.html"]
    assert demo.page.stat().st_size < 3_000_000


def test_self_contained(demo: DemoResult, page: Page) -> None:
    text = demo.page.read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "<script" not in text
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))


def test_structure(page: Page) -> None:
    classes = [(attributes.get("class") or "").split() for _, attributes in page.tags]
    assert sum("row" in names for names in classes) == SHOWN
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == 2
    assert all(attributes.get("aria-label") for attributes in charts)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "512 of 3072" in page.words
    assert "clipped" in page.words
    assert not any(mark in page.words for mark in ("<<<<<<<", "=======", ">>>>>>>"))
    assert page.words.count("blindspace demo --out") == 1
    assert "Every linear layer" not in page.words


def test_seed_and_layers(tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    network, few = small_network(), IMAGES.take(slice(3))
    runs = [
        bs.demo(tmp_path / name, seed, lambda *call: calls.append(call), network=network, images=few)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert runs[0].noise.steps == runs[1].noise.steps
    assert runs[0].noise.steps != runs[2].noise.steps
    assert len(runs[0].noise.gallery) == SHOWN
    words = Page(runs[0].page.read_text(encoding="utf-8")).words
    assert "Every linear layer" in words
    assert "What small <network> cannot see" in words
    first = calls[: len(calls) // 3]
    assert [done for done, _, _ in first] == sorted(done for done, _, _ in first)
    assert {total for _, total, _ in first} == {first[-1][0]}


def test_nothing_to_show(tmp_path: Path) -> None:
    network = bs.load(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(3072, 10)), (3, 32, 32))
    with pytest.raises(ValueRangeError, match="harmless"):
        bs.demo(tmp_path, network=network, images=IMAGES, with_layers=False)
    assert not list(tmp_path.iterdir())


def test_nothing_to_recognise(tmp_path: Path) -> None:
    network = bs.load(small_network(), labels="none")
    with pytest.raises(ValueRangeError, match=r"shows labels, which .* does not give: they are left out"):
        bs.demo(tmp_path, network=network, images=IMAGES, with_layers=False)
    assert not list(tmp_path.iterdir())


def test_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write"):
        bs.demo(tmp_path / "file" / "demo", network=small_network(), images=IMAGES, with_layers=False)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_missing_extra(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install blindspace\[report\]"):
        bs.demo(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("value", "shown"), NUMBERS)
def test_number(value: float | None, shown: str) -> None:
    assert number(value).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_shares_and_sizes() -> None:
    assert percent(1 / 6) == "16.7\N{NO-BREAK SPACE}%"
    assert percent(0.99999).startswith(">")
    assert percent(1.0) == "100.0\N{NO-BREAK SPACE}%"
    assert [size(value) for value in (0, 0.0627, 8.0314)] == ["0", "0.063", "8.03"]


def test_pictures() -> None:
    assert picture(torch.full((1, 2, 2), 7.0)) == picture(torch.ones(1, 2, 2))
    delta = torch.linspace(-5, 5, 12).reshape(3, 2, 2)
    assert signed_picture(delta) == picture(delta / 10 + 0.5)
    assert signed_picture(0 * delta) == picture(torch.full((3, 2, 2), 0.5))
    with pytest.raises(ShapeError):
        picture(torch.zeros(2, 4, 4))


def test_chart() -> None:
    svg = chart("one", [1.0, 2.0, 4.0], [Line("zero & more", [0.0, 1e-9, 1.0], "harmless")], 'said "so"')
    assert "zero &amp; more" in svg
    assert "var(--harmless)" in svg
    assert "said &quot;so&quot;" in svg
    assert "http" not in svg
    ids = [attributes["id"] or "" for _, attributes in Page(svg).tags if "id" in attributes]
    assert all(name.startswith("one-") for name in ids)
    assert inline_svg('<svg viewBox="0 0 1 1"><g id="a"/></svg>', "b", "c").startswith(
        '<svg viewBox="0 0 1 1" role="img"'
    )


def test_template_names_something_unknown() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render("demo.html", {})
