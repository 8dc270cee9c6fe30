"""The chart of a spectrum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blindspace.errors import ValueRangeError
from blindspace.subspaces import EpsilonNullity, Spectrum, soft_dimension, spectrum
from oracle import map_of


def colours(path: Path) -> set[str]:
    """The colours of a picture, as hexadecimal numbers."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    return {"#" + bytes(pixel).hex() for pixel in np.unique(pixels, axis=0)}


def test_the_spectrum_is_drawn(tmp_path: Path) -> None:
    """The curve, the thresholds, and the band of singular values 0, each in its colour."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from blindspace.report.spectrum import draw

    curve, soft = spectrum(map_of("conv2d-gabor")), soft_dimension(map_of("conv2d-gabor"))
    line, band, threshold = "#1f5fbf", "#f1e4d6", "#c2570c"
    draw(curve, soft, tmp_path / "spectrum.png")
    assert Image.open(tmp_path / "spectrum.png").size == (1155, 594)
    assert {line, band, threshold} <= colours(tmp_path / "spectrum.png")
    draw(spectrum(map_of("flatten")), None, tmp_path / "bare.png")
    assert {line, band, threshold} & colours(tmp_path / "bare.png") == {line}
    draw(curve, soft, tmp_path / "spectrum.svg")
    assert {colour for colour in (line, band, threshold) if colour in (tmp_path / "spectrum.svg").read_text()} == {
        line,
        band,
        threshold,
    }
    draw(curve, soft, tmp_path / "spectrum.pdf")
    assert (tmp_path / "spectrum.pdf").read_bytes().startswith(b"%PDF")


def test_labels_say_how_well_a_count_is_known() -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from blindspace.report.spectrum import label

    found = EpsilonNullity(
        (1e-2, 0.5, 0.7), True, 2.0, (0.02, 1.0, 1.4), 9000, (1234, 5, 6), (1234, 4, 5), (1234, 6, 7),
        ("exact", "bounded", "estimated"), "by hand",
    )  # fmt: skip
    assert [label(found, index) for index in range(3)] == [
        "ε = 0.01 ‖A‖: 1,234",
        "ε = 0.5 ‖A‖: about 5 (4 to 6)",
        "ε = 0.7 ‖A‖: about 6 (5 to 7, 95 %)",
    ]


def test_pictures_that_cannot_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from blindspace.report.spectrum import draw

    curve = Spectrum(4, (1, 4), (2.0, 1.0), 0.0, "exact", "by hand")
    with pytest.raises(ValueRangeError, match="not the name of a picture"):
        draw(curve, None, tmp_path / "spectrum.txt")
    with pytest.raises(ValueRangeError, match="60 inputs, the spectrum to one of 4"):
        draw(curve, soft_dimension(map_of("linear-wide")), tmp_path / "spectrum.png")
    with pytest.raises(ValueRangeError, match="every singular value is 0"):
        draw(spectrum(map_of("conv2d-all-dead")), None, tmp_path / "spectrum.png")
    assert not list(tmp_path.iterdir())
