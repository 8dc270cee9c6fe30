"""Triplets: each row shows the sums and the differences that it says, amplified by one factor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blindspace.errors import ShapeError, ValueRangeError
from blindspace.report.triplets import amplification, triplets

pytest.importorskip("matplotlib")
from figures import drawn

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(3, 1, 8, 6, generator=GENERATOR) * 0.5 + 0.25
ON, OFF = (0.05 * torch.randn(3, 1, 8, 6, generator=GENERATOR) for _ in range(2))
PARTS = {"d": ON + OFF, "on": ON, "off": OFF}


def test_panels_show_the_sums_and_the_amplified_differences(tmp_path: Path) -> None:
    labels = {"x": ["7", "1", "4"], "d": ["2", "1", "9"], "off": ["7", "3", "9"]}
    with drawn() as pictures:
        triplets(tmp_path / "t.png", IMAGES, PARTS, labels, shown=2)
    name = pictures.only
    assert pictures.images(name) == 2 * 7
    assert {"x", "x + d", "x + on", "x + off", "d", "on", "off", "7", "2", "3"} <= pictures.texts(name)
    for row in range(2):
        panels = [torch.as_tensor(axes.images[0].get_array())[..., 0] for axes in pictures.panels(name)[7 * row :][:7]]
        x, *sums = panels[0], panels[1], panels[3], panels[5]
        factor = amplification(max(float(part[row].abs().max()) for part in PARTS.values()))
        torch.testing.assert_close(x, IMAGES[row, 0].double())
        for part, sum_, difference in zip(PARTS.values(), sums, panels[2::2], strict=True):
            torch.testing.assert_close(sum_, (IMAGES + part)[row, 0].double().clamp(0, 1), atol=1e-6, rtol=0)
            torch.testing.assert_close(difference, 0.5 + factor * part[row, 0].double(), atol=1e-6, rtol=0)


def test_changed_labels_are_marked(tmp_path: Path) -> None:
    with drawn() as pictures:
        triplets(tmp_path / "t.png", IMAGES[:1], {"d": ON[:1], "off": OFF[:1]}, {"x": ["7"], "d": ["7"], "off": ["2"]})
    (figure,) = pictures.figures.values()
    colours = {text.get_text(): text.get_color() for axes in figure.axes for text in axes.texts}
    assert colours["7"] != colours["2"]


@given(st.floats(1e-12, 1e6))
def test_amplification_is_round_and_never_leaves_the_range(largest: float) -> None:
    factor = amplification(largest)
    assert 0.19 < factor * largest <= 0.5 * (1 + 1e-9)
    assert f"{factor:.12e}"[0] in "125"
    assert amplification(0) == 1


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.png"
    with pytest.raises(ShapeError, match="perturbation 'on' has shape"):
        triplets(path, IMAGES, {"on": ON[:2]})
    with pytest.raises(ShapeError, match="1 or 3"):
        triplets(path, IMAGES.expand(-1, 2, -1, -1), PARTS)
    with pytest.raises(ShapeError, match="too few for 3 images"):
        triplets(path, IMAGES, PARTS, {"x": ["1"]})
    for images, parts in ((IMAGES[:0], PARTS), (IMAGES, {})):
        with pytest.raises(ValueRangeError, match="nothing to draw"):
            triplets(path, images, parts)
    assert not list(tmp_path.iterdir())
