"""Files that pictures are drawn to: their names, checked before the work, and writing them whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ValueRangeError
from ..extras import require
from ..files import writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Refuse, before the work, a picture that could not be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: the file name does not end in one of ``SUFFIXES``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueRangeError(f"{path} is not the name of a picture; end it in {', '.join(SUFFIXES)}")
    require("matplotlib", "plot", "the picture")


def save_figure(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a figure of matplotlib in the format that the file name ends in.

    Raises:
        FileError: the picture cannot be written.
    """
    with writing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=dpi, facecolor="white")
