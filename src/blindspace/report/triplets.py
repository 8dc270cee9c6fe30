"""Images beside the perturbations of them and their parts: x + d, x + on, x + off, and the differences amplified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from .picture import check_picture, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _MUTED, _CHANGED = "#16191d", "#63686f", "#c2570c"
_SIDE, _GAP, _HEAD, _FOOT = 1.25, 0.12, 0.42, 0.46  # inches: an image, between images, above and below them


def triplets(
    path: Path,
    images: Tensor,
    perturbations: Mapping[str, Tensor],
    labels: Mapping[str, Sequence[str]] | None = None,
    shown: int = 6,
) -> None:
    """Draw one row per image: the image, the image with each perturbation, and each perturbation amplified.

    All perturbations of a row are amplified by the same factor, which stands in the row, so that their sizes can be
    compared. Grey is no difference.

    Args:
        path: The picture, .png, .svg or .pdf.
        images: x, ``(B, C, H, W)`` in [0, 1] with C 1 or 3.
        perturbations: Named perturbations ``(B, C, H, W)``, such as d and its parts on and off the manifold. Sums
            outside [0, 1] are cut for display.
        labels: The network's label of each image, under the name of each perturbation and under ``"x"``; None where
            there are none. Labels that differ from those of x are marked.
        shown: Largest number of images, taken from the beginning.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: The file name is not that of a picture, or there is nothing to draw.
        ShapeError: The images have neither 1 channel nor 3, or a perturbation or its labels do not fit them.
        FileError: The picture cannot be written.
    """
    check_picture(path)
    count = min(shown, len(images))
    if count < 1 or not perturbations:
        raise ValueRangeError(f"there is nothing to draw: {count} images, {len(perturbations)} perturbations")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ShapeError(f"a picture needs images (B, 1 or 3, H, W), got {tuple(images.shape)}")
    for name, perturbation in perturbations.items():
        if perturbation.shape != images.shape:
            raise ShapeError(
                f"perturbation {name!r} has shape {tuple(perturbation.shape)}, images {tuple(images.shape)}"
            )
    for name, found in (labels or {}).items():
        if len(found) < count:
            raise ShapeError(f"{len(found)} labels of {name!r} are too few for {count} images")
    save_figure(_drawn(images[:count], perturbations, labels or {}), path, dpi=130)


def amplification(largest: float) -> float:
    """The factor that makes a largest difference visible: at most 0.5 / largest, and 1, 2 or 5 times a power of ten."""
    if largest <= 0:
        return 1.0
    power = 10.0 ** floor(log10(0.5 / largest))
    return max(step * power for step in (1, 2, 5) if step * power <= 0.5 / largest * (1 + 1e-9))


def _drawn(images: Tensor, perturbations: Mapping[str, Tensor], labels: Mapping[str, Sequence[str]]) -> Figure:
    from matplotlib.figure import Figure

    height, width = images.shape[2:]
    scale = _SIDE / max(height, width)
    cell = (scale * width + _GAP, scale * height + _FOOT)
    columns = 1 + 2 * len(perturbations)
    size = (columns * cell[0] + _GAP, len(images) * cell[1] + _HEAD)
    figure = Figure(figsize=size)

    def panel(down: int, across: int, picture: Tensor, title: str, caption: str, changed: bool = False) -> None:
        left, bottom = _GAP + across * cell[0], size[1] - _HEAD - down * cell[1] - scale * height
        axes = figure.add_axes((left / size[0], bottom / size[1], scale * width / size[0], scale * height / size[1]))
        shown = picture.detach().double().clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0)
        axes.imshow(shown.cpu().numpy(), interpolation="nearest")
        axes.set_axis_off()
        if down == 0:
            axes.set_title(title, size=9, color=_INK, pad=6)
        colour = _CHANGED if changed else _MUTED
        axes.text(0.5, -0.05, caption, transform=axes.transAxes, ha="center", va="top", size=8, color=colour)

    for down, image in enumerate(images):
        deltas = {name: perturbation[down].double() for name, perturbation in perturbations.items()}
        factor = amplification(max(float(delta.abs().max()) for delta in deltas.values()))
        said = {name: str(found[down]) for name, found in labels.items()}
        panel(down, 0, image, "x", said.get("x", ""))
        for across, (name, delta) in enumerate(deltas.items(), start=1):
            changed = name in said and said[name] != said.get("x")
            panel(down, across, image + delta, f"x + {name}", said.get(name, ""), changed)
            size_of = f"×{factor:g}\n‖·‖ = {float(torch.linalg.vector_norm(delta)):.3g}"
            panel(down, across + len(deltas), 0.5 + factor * delta, name, size_of)
    return figure
