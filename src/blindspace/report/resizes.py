"""Photographs before a resize in one picture: the image, what the network reads of it, and what people see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from .picture import check_picture, save_figure

HEADINGS = ("the image", "what the network reads", "what people see at that size")


def draw(rows: Sequence[tuple[str, Tensor, Tensor, Tensor]], path: Path) -> None:
    """Draw one row per image.

    Args:
        rows: title, and the three images of ``HEADINGS``, each ``(C, H, W)`` in [0, 1] but for overshoots.
        path: the picture, .png, .svg or .pdf.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: the file name is not that of a picture.
        FileError: the picture cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure

    count = max(len(rows), 1)
    figure = Figure(figsize=(9.5, 0.4 + 2.2 * count), layout="constrained")
    axes = figure.subplots(count, len(HEADINGS), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for heading, axis in zip(HEADINGS, axes[0], strict=True):
        axis.set_title(heading, fontsize=10)
    for line, (title, *images) in zip(axes, rows, strict=False):
        for axis, image in zip(line, images, strict=True):
            pixels = np.clip(image.permute(1, 2, 0).numpy(), 0, 1)
            axis.imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=1)
        line[0].text(-0.02, 0.5, title, transform=line[0].transAxes, ha="right", va="center", fontsize=8)
    save_figure(figure, path)
