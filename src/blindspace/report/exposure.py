"""The exposure of a pipeline as a table and a picture."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ..evidence.resizes.exposure import Exposed, Exposure, Way
from ..networks.labels import DASH
from .picture import check_picture, save_figure

AT_NETWORK = ("away at the network", "read as wanted", "labels kept")

COLUMNS = ("shown", "shown, changed", "what the network reads", "what it is to read")


def table(found: Exposure) -> Table:
    """One row per resizer, the pipeline's own first, then the least exposed first."""
    made = Table("resizer", box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    distance = ("perceptual",) if found.own.decoy.perceptual is not None else ()
    for heading in ("exposure", "largest", "PSNR dB", "SSIM", *distance, *AT_NETWORK):
        made.add_column(heading, justify="right")
    for row in ordered(found):
        made.add_row(*cells(row, found))
    return made


def ordered(found: Exposure) -> list[Exposed]:
    """The pipeline's own resizer, then the others by their exposure."""
    return [found.own, *sorted(found.rows[1:], key=lambda row: row.score)]


def cells(row: Exposed, found: Exposure) -> tuple[str, ...]:
    """The cells of one row of the table."""
    ways = (row.impersonation, row.decoy)
    hits = [way.hits for way in ways if way.hits is not None]
    return (
        escape(row.resizer) + (" (own)" if row is found.own else ""),
        f"{row.score:.2f}",
        f"{row.worst:.2f}",
        f"{_mean(ways, 'psnr'):.1f}",
        DASH if any(way.ssim is None for way in ways) else f"{_mean(ways, 'ssim'):.3f}",
        *(() if any(way.perceptual is None for way in ways) else (f"{_mean(ways, 'perceptual'):.3f}",)),
        f"{_mean(ways, 'deviation'):.2f}/255",
        f"{sum(hits)}/{2 * found.photographs}" if hits else DASH,
        DASH if row.kept is None else f"{row.kept}/{found.photographs}",
    )


def _mean(ways: tuple[Way, Way], name: str) -> float:
    return sum(float(getattr(way, name).mean()) for way in ways) / 2


def draw(found: Exposure, path: Path) -> None:
    """Draw the attacks on the pipeline as it is, and on the resizer that is advised.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: The file name is not that of a picture.
        FileError: The picture cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure

    rows = [found.own] if found.advised is found.own else [found.own, found.advised]
    lines = [(row, pictures) for row in rows for pictures in row.pictures]
    figure = Figure(figsize=(11, 2.9 * len(lines)), layout="constrained")
    axes = figure.subplots(len(lines), 4, squeeze=False)
    for line, (row, pictures) in zip(axes, lines, strict=True):
        for ax, picture, heading in zip(line, pictures, COLUMNS, strict=True):
            ax.imshow(picture.permute(1, 2, 0).expand(-1, -1, 3).numpy(), interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_title(heading, fontsize=9)
        line[0].set_ylabel(f"{row.resizer}\nexposure {row.score:.2f}", fontsize=9)
    save_figure(figure, path)
