"""The report: what it measures, and that the file stands on its own, for networks of all kinds."""

from __future__ import annotations

import json
import math
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace._html import number, percent, size
from blindspace.data import samples
from blindspace.errors import FileError, MissingExtraError, ShapeError, ValueRangeError
from blindspace.evidence.growing_noise import ALPHAS, FEW_ALPHAS, SHOWN, GrowingNoise
from blindspace.networks import Network
from blindspace.report.charts import Line, chart
from blindspace.report.energy_map import energy_map
from blindspace.report.network_report import Report
from blindspace.report.page import inline_svg, picture, render, signed_picture

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
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    found = bs.audit("cifar-resnet", layers=False)
    folder = tmp_path_factory.mktemp("report") / "new"
    return bs.write_report("cifar-resnet", folder, found=found, images=IMAGES, options="cifar-resnet")


@pytest.fixture(scope="module")
def noise(report: Report) -> GrowingNoise:
    assert report.noise is not None
    return report.noise


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(report.page.read_text(encoding="utf-8"))


def test_harmless_changes_nothing(noise: GrowingNoise) -> None:
    assert [step.alpha for step in noise.steps] == list(ALPHAS)
    for step in noise.steps:
        assert step.harmless.labels_changed == 0
        assert (step.harmless.max_output_change_float64 or 0.0) < 1e-11
        assert step.harmless.max_output_change < 1e-3
        assert step.harmless.max_perturbation == pytest.approx(step.size, rel=1e-9)


def test_controls_change_labels(noise: GrowingNoise) -> None:
    changed = [step.gaussian.labels_changed or 0 for step in noise.steps]
    assert changed[0] == 0
    assert changed[-1] == max(changed) > len(IMAGES) / 2
    last = noise.steps[-1]
    assert (last.shuffled.labels_changed or 0) > len(IMAGES) / 2
    assert last.shuffled.max_perturbation == pytest.approx(last.harmless.max_perturbation, rel=1e-9)
    assert (last.floor or 0) < last.gaussian.max_output_change / 1000


def test_gallery(noise: GrowingNoise) -> None:
    assert len(noise.gallery) == len(noise.strip) == SHOWN
    assert len({row.truth for row in noise.gallery}) == SHOWN
    assert [row.size for row in noise.gallery] == [step.size for step in noise.steps[-SHOWN:]]
    assert {row.index for row in noise.strip} == {noise.gallery[0].index}
    for row in noise.gallery + noise.strip:
        assert row.original.label == row.sum.label == row.truth
        assert row.sum.confidence == pytest.approx(row.original.confidence, abs=1e-4)
        assert (row.change_float64 or 0) < 1e-11 < (row.gaussian_change_float64 or 0)
    assert noise.strip[-1].gaussian_change > noise.strip[0].gaussian_change


def test_files(report: Report) -> None:
    found = json.loads(report.data.read_text())
    assert found == json.loads(json.dumps(report.to_dict()))
    assert all(math.isfinite(leaf) for leaf in leaves(found) if isinstance(leaf, float))
    assert found["audit"]["front"]["dim"] == 512
    assert "pictures" not in found["gallery"][0]
    assert sorted(path.name for path in report.page.parent.iterdir()) == ["index.html", "report.json"]
    assert report.page.stat().st_size < 3_000_000


def test_the_map_is_the_diagonal_of_the_projector(report: Report) -> None:
    basis = report.audit.space.basis()
    torch.testing.assert_close(report.energy.values, basis.square().sum(0), atol=1e-9, rtol=0)
    shown = energy_map(report.energy)
    torch.testing.assert_close(shown.values, basis.square().sum(0).mean(0), atol=1e-9, rtol=0)
    assert shown.error == 0
    assert shown.block == (1, 1)
    assert [name for name, _ in shown.channels] == ["red", "green", "blue"]
    estimated = energy_map(bs.pixel_energy(report.audit.space, estimate=True))
    assert 0 < estimated.error < 0.1


def test_self_contained(report: Report, page: Page) -> None:
    text = report.page.read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    for tag, attributes in page.tags:
        assert tag != "script" or not attributes
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))


def test_structure(page: Page) -> None:
    classes = [(attributes.get("class") or "").split() for _, attributes in page.tags]
    assert sum("row" in names for names in classes) == SHOWN
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert {"header", "main", "footer"} <= {tag for tag, _ in page.tags}
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == 2
    assert all(attributes.get("aria-label") for attributes in charts)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert (
        "cifar-resnet cannot see 16.7\N{NO-BREAK SPACE}% of what you feed it: certified for every input" in page.words
    )
    assert "512 of 3,072" in page.words
    assert "clipped" in page.words
    assert not any(mark in page.words for mark in ("<<<<<<<", "=======", ">>>>>>>"))
    assert "blindspace audit cifar-resnet --report report --seed 0" in page.words
    assert "Every linear layer" not in page.words
    assert "What an attacker could do with it" in page.words
    assert "at least 12 kernels are needed" in page.words


def test_seed_and_layers(tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    network, few = small_network(), IMAGES.take(slice(3))
    runs = [
        bs.write_report(network, tmp_path / name, seed=seed, images=few, progress=lambda *call: calls.append(call))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    noises = [run.noise for run in runs]
    assert noises[0] is not None
    assert noises[2] is not None
    assert noises[0] == noises[1]
    assert noises[0].steps != noises[2].steps
    assert len(noises[0].gallery) == SHOWN
    text = runs[0].page.read_text(encoding="utf-8")
    words = Page(text).words
    assert "Every linear layer" in words
    assert "small <network> cannot see" in words
    assert "Nearly invisible" in words
    assert 'class="tight sortable"' in text
    assert text.count("<svg") == 3
    assert "bs.write_report(network" in words
    first = calls[: len(calls) // 3]
    assert [done for done, _, _ in first] == sorted(done for done, _, _ in first)
    assert {total for _, total, _ in first} == {100}


MODULES: dict[str, tuple[nn.Module, tuple[int, ...], list[str]]] = {
    "no blind space": (
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(192, 10)),
        (3, 8, 8),
        ["before its first non-linear operation: certified for every input", "Nowhere: the energy is 0 everywhere"],
    ),
    "vector": (
        nn.Sequential(nn.Linear(40, 12), nn.ReLU(), nn.Linear(12, 3)),
        (40,),
        ["cannot see 70\N{NO-BREAK SPACE}% of what you feed it", "of 13 values", "random numbers from 0 to 1"],
    ),
    "numbers": (
        nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 16), nn.Unflatten(1, (4, 4))),
        (30,),
        ["Table of single inputs", "no labels"],
    ),
    "synthetic pictures": (
        nn.Sequential(nn.Conv2d(1, 2, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(50, 5)),
        (1, 20, 20),
        ["synthetic images with the spectrum of photographs", "Take a wider stem", "at least 16 kernels"],
    ),
    "samples": (
        nn.Sequential(nn.Conv1d(1, 2, 9, 4), nn.ReLU(), nn.Flatten(), nn.Linear(26, 2)),
        (1, 60),
        ["Where in the input the blind space lies"],
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_networks_of_all_kinds(name: str, tmp_path: Path) -> None:
    module, shape, said = MODULES[name]
    network = bs.load(module, shape, name=name)
    report = bs.write_report(network, tmp_path, layers=name == "vector")
    text = report.page.read_text(encoding="utf-8")
    words = " ".join(Page(text).words.split(" "))
    for part in said:
        assert part in words or f'"{part}"' in text or (part == "no labels" and network.labelling.kind == "none")
    assert (report.noise is None) == (name == "no blind space")
    assert all(math.isfinite(leaf) for leaf in leaves(report.to_dict()) if isinstance(leaf, float))
    assert json.loads(report.data.read_text())["answer"] == report.answer


def test_large_images_are_shown_in_part(tmp_path: Path) -> None:
    module = nn.Sequential(nn.AvgPool2d(20), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 8 * 10, 4))
    network = bs.load(module, (3, 160, 200), name="pooling")
    report = bs.write_report(network, tmp_path, images=torch.rand(2, 3, 160, 200), names=["one", "two"])
    words = Page(report.page.read_text(encoding="utf-8")).words
    assert "the middle 128 × 128 pixels of each image" in words
    assert "were not asked for" in words
    assert "your own images" in words
    assert report.noise is not None
    assert [step.alpha for step in report.noise.steps] == list(FEW_ALPHAS)
    assert report.page.stat().st_size < 3_000_000
    assert report.energy.kind == "exact"
    assert report.window.sides == (1, 2)


def test_images_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="reads images of shape"):
        bs.write_report(small_network(), tmp_path, images=torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueRangeError, match="at least one input"):
        bs.write_report(small_network(), tmp_path, images=torch.rand(0, 3, 32, 32))
    assert not list(tmp_path.iterdir())


def test_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write"):
        bs.write_report(small_network(), tmp_path / "file" / "page", images=IMAGES)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_missing_extra(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'blindspace\[report\]'"):
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
        render("report.html", {})
