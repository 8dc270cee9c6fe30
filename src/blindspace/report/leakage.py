"""Leakage of protected images as a table, lines of text and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from torch import Tensor

from ..errors import ValueRangeError
from ..evidence import Evidence
from ..evidence._leakage import (
    ANYONE,
    CONDITIONAL_MEAN,
    CONTROL,
    KNOWN_PLAINTEXT,
    VISIBLE,
    WITH,
    WITHOUT,
    Leakage,
    Recovery,
)
from .picture import check_picture, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRANGERS = 3
"""Largest number of images named that are not those of their originals."""

SHOWN = 4
"""Default number of images in a picture."""

_INK, _MUTED = "#1d2126", "#63686f"
_SIDE, _GAP, _HEAD, _FOOT = 1.75, 0.12, 0.62, 0.3
"""Inches: the longer side of an image, the gap between images, and the height of the text above and below one."""


def table(leakage: Leakage) -> Table:
    """One row per attacker and method, with averages over the images."""
    made = Table(title="reconstructions compared with the originals (averages)", title_justify="left", box=None)
    made.add_column("attacker")
    made.add_column("method")
    for name in ("SSIM", "contrast matched", "PSNR", "perceptual", "mean squared change"):
        made.add_column(name, justify="right")
    before = ""
    for row in leakage.rows:
        means = row.means()
        made.add_row(
            row.attacker if row.attacker != before else "",
            row.method,
            f"{means['ssim']:.2f}",
            f"{means['ssim_matched']:.2f}",
            f"{means['psnr']:.1f} dB",
            f"{means['perceptual']:.3f}" if "perceptual" in means else "",
            f"{means['msc']:.4f}",
        )
        before = row.attacker
    return made


def summary(leakage: Leakage) -> list[str]:
    """The findings in words, one per line."""
    found = leakage.evidence
    known, unknown, pairs = leakage.best(WITH), leakage.best(WITHOUT), _from_pairs(leakage)
    unchanged = (
        [f"not protected   {leakage.unchanged} of {found.pairs} are their originals"] if leakage.unchanged else []
    )
    return [
        *unchanged,
        *(
            f"not of A        image {n} of B, counted from 0, is nearer to others"
            for n in leakage.strangers[:STRANGERS]
        ),
        f"the network     {_labels(found)}",
        f"to look at      SSIM {_ssim(leakage.best(ANYONE))} with the original",
        f"who knows it    gets the {known.method}: SSIM {_ssim(known)}, whatever was added",
        *(f"who has pairs   gets SSIM {_ssim(row)} by a {row.method}" for row in pairs),
        f"who has neither gets SSIM {_ssim(unknown)} by a {unknown.method}",
    ]


def _labels(evidence: Evidence) -> str:
    """What the network makes of the protected images."""
    if evidence.labels_changed is None:
        return f"outputs move by {evidence.output_change()}; it gives no labels"
    told = "; it recognises what it did before" if not evidence.labels_changed else ""
    return f"{evidence.labels()} labels change{told}"


def _from_pairs(leakage: Leakage) -> list[Recovery]:
    """The known-plaintext attacks; empty if there were too few pairs."""
    return [row for row in leakage.rows if row.attacker == KNOWN_PLAINTEXT]


def _ssim(row: Recovery) -> str:
    return f"{float(row.similarity.ssim.mean()):.2f}"


def draw(leakage: Leakage, path: Path, shown: int = SHOWN) -> None:
    """Draw a few images, one per row: original, protected, the reconstructions by attackers, and the control.

    Args:
        leakage: the result of ``evidence.leakage``.
        path: the picture, .png, .svg or .pdf.
        shown: number of images, taken from the beginning.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: the file name is not that of a picture, ``shown`` is 0, or the images have neither 1 channel
            nor 3.
        FileError: the picture cannot be written.
    """
    check_picture(path)
    count = min(shown, len(leakage.originals))
    channels, height, width = leakage.originals.shape[1:]
    if channels not in (1, 3) or count < 1:
        raise ValueRangeError(f"a picture needs images of 1 or 3 channels and at least one, got {channels} and {shown}")
    from matplotlib.figure import Figure

    columns = _columns(leakage)
    side = _SIDE / max(height, width)
    cell = (side * width + _GAP, side * height + _FOOT)
    size = (len(columns) * cell[0] + _GAP, count * cell[1] + _HEAD)
    figure = Figure(figsize=size)
    for across, (title, row) in enumerate(columns):
        for down in range(count):
            left, top = _GAP + across * cell[0], _HEAD + down * cell[1]
            box = (left, size[1] - top - side * height, side * width, side * height)
            axes = figure.add_axes(tuple(part / size[axis % 2] for axis, part in enumerate(box)))  # type: ignore[arg-type]
            _show(axes, leakage.originals[down] if row is None else row.images[down])
            if row is not None:
                place = axes.transAxes
                axes.text(0.5, -0.04, _figures(row, down), transform=place, ha="center", va="top", size=8, color=_MUTED)
            if down == 0:
                axes.set_title(title, size=8.5, color=_INK, pad=6)
    save_figure(figure, path, dpi=130)


def _figures(row: Recovery, index: int) -> str:
    ssim, distance = row.similarity.ssim, row.similarity.perceptual
    said = f"SSIM {float(ssim[index]):.2f}"
    return said if distance is None else f"{said}, perceptual {float(distance[index]):.2f}"


def _columns(leakage: Leakage) -> list[tuple[str, Recovery | None]]:
    """The titles of the columns with the reconstructions below them; None for the originals."""
    known = {row.method: row for row in leakage.rows if row.attacker == WITH}
    control = next(row for row in leakage.rows if row.attacker == CONTROL)
    filtered = leakage.best(WITHOUT)
    return [
        ("original", None),
        ("protected", leakage.best(ANYONE)),
        ("knowing the weights:\nvisible component", known[VISIBLE]),
        (f"knowing the weights:\n{CONDITIONAL_MEAN}", known[CONDITIONAL_MEAN]),
        *((f"knowing {len(row.images) // 2} pairs:\nlinear filter", row) for row in _from_pairs(leakage)),
        (f"knowing nothing:\n{filtered.method}", filtered),
        ("for comparison:\nGaussian noise instead", control),
    ]


def _show(axes: Axes, image: Tensor) -> None:
    pixels = np.moveaxis(image.numpy(), 0, -1)
    if pixels.shape[2] == 1:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(pixels, interpolation="nearest")
    axes.set_axis_off()
