"""The result of an inspection, and how far it can be trusted, as tables and one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from ..evidence._inspect import Inspection
from ..evidence.detection import Detection
from .picture import check_picture, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 20
"""Largest number of images in the table, the most suspicious ones."""

LEAST_RATE = 1e-3
"""False-positive rate at which the logarithmic axis of ROC curves begins."""

_INK, _MUTED, _RULE, _CLEAN, _THRESHOLD = "#1d2126", "#63686f", "#e3e5e8", "#8a9099", "#b3304f"
_COLOURS = ("#1f5fbf", "#c2570c", "#2d7d46", "#7a5bb5", "#0f8a8a", "#8f6b1f", "#d1479a")


def table(inspection: Inspection, names: Sequence[str]) -> Table:
    """One row per image, the most suspicious first."""
    made = Table("image", box=None, header_style="bold")
    for heading in ("score", "deviations", "p-value", "energy in the blind space", "shuffled"):
        made.add_column(heading, justify="right")
    made.add_column("")
    for index in inspection.scores.argsort(descending=True).tolist()[:ROWS]:
        made.add_row(
            escape(names[index]),
            f"{float(inspection.scores[index]):.2f}",
            f"{float(inspection.deviations[index]):+.1f}",
            f"{float(inspection.p_values[index]):.4f}",
            f"{float(inspection.energies.centred[index]):.2%}",
            f"{float(inspection.energies.shuffled_centred[index]):.2%}",
            "[red]suspicious[/red]" if bool(inspection.suspicious[index]) else "",
        )
    return made


def detection_table(found: Sequence[Detection]) -> Table:
    """One row per kind of perturbation: how well the score detects it."""
    made = Table("images", box=None, header_style="bold", title="validated on reference images set aside")
    for heading in ("AUC", "95 %", "flagged"):
        made.add_column(heading, justify="right")
    for kind in found:
        curve = kind.roc
        made.add_row(
            ("marked: " if kind.marked else "") + kind.name,
            f"{curve.auc:.4f}" if kind.marked else "",
            f"{curve.low:.3f} to {curve.high:.3f}" if kind.marked else "",
            f"{kind.flagged:.1%}",
        )
    return made


def draw(
    found: Sequence[Detection], threshold: float, cleaned: Sequence[tuple[str, Tensor]], path: Path, shown: int = 6
) -> None:
    """Draw the ROC curve of each kind, the distribution of its scores, and images before and after cleaning.

    Args:
        found: one detection per kind.
        threshold: the score from which an image is suspicious.
        cleaned: titles and images ``(B, C, H, W)`` in [0, 1], each drawn as one row.
        path: the picture, .png, .svg or .pdf.
        shown: largest number of images in a row.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: the file name is not that of a picture.
        FileError: the picture cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure

    count = min([shown, *(len(images) for _, images in cleaned)])
    high = 4.6 + 1.25 * len(cleaned)
    figure = Figure(figsize=(11, high))
    bottom, up = 1 - 3.7 / high, 3.1 / high
    _curves(figure.add_axes((0.07, bottom, 0.36, up)), found)
    _histogram(figure.add_axes((0.53, bottom, 0.45, up)), found, threshold)
    for down, (title, images) in enumerate(cleaned):
        _row(figure, title, images[:count], (high - 4.5 - 1.25 * (down + 1)) / high, 1.15 / high)
    save_figure(figure, path)


def _curves(axes: Axes, found: Sequence[Detection]) -> None:
    marked = [kind for kind in found if kind.marked]
    for colour, kind in zip(_COLOURS, marked, strict=False):
        curve = kind.roc
        x = np.maximum(curve.false_positives, LEAST_RATE)
        axes.step(x, curve.true_positives, where="post", color=colour, linewidth=1.8)
        axes.plot([], [], color=colour, label=f"{kind.name}  {curve.auc:.3f}")
    axes.set_xscale("log")
    axes.set_xlim(LEAST_RATE, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("clean images flagged", color=_MUTED)
    axes.set_title("marked images flagged", color=_INK, size=10.5, loc="left")
    axes.legend(
        framealpha=0.9, edgecolor="none", fontsize=8.5, title="hidden, and AUC", title_fontsize=8.5, loc="center right"
    )
    _style(axes)


def _histogram(axes: Axes, found: Sequence[Detection], threshold: float) -> None:
    """One line of dots per kind: clean images in grey, marked ones in the colours of their curves."""
    colours = iter(_COLOURS)
    for down, kind in enumerate(found):
        scores = kind.scores.cpu().numpy()
        spread = np.random.default_rng(0).uniform(-0.28, 0.28, len(scores))
        colour = next(colours) if kind.marked else _CLEAN
        axes.plot(scores, spread - down, ".", color=colour, markersize=2.5, alpha=0.6)
    axes.axvline(threshold, color=_THRESHOLD, linewidth=1, linestyle=(0, (2, 3)))
    axes.set_yticks([-down for down in range(len(found))], [kind.name for kind in found])
    axes.set_xlabel("score; dashed: the threshold", color=_MUTED)
    axes.set_title("scores of each kind", color=_INK, size=10.5, loc="left")
    _style(axes)


def _style(axes: Axes) -> None:
    axes.grid(axis="x", color=_RULE, linewidth=0.8)
    axes.tick_params(colors=_MUTED, labelsize=8.5, length=0)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _row(figure: Figure, title: str, images: Tensor, bottom: float, height: float) -> None:
    figure.text(0.07, bottom + height / 2, title, size=9.5, color=_INK, va="center")
    width = (0.98 - 0.27) / len(images)
    for index, image in enumerate(images):
        axes = figure.add_axes((0.27 + index * width, bottom, width * 0.96, height))
        pixels = image.permute(1, 2, 0).cpu().numpy()
        axes.imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
