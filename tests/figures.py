"""Pictures are checked by what is in them: every figure of matplotlib is recorded when it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from matplotlib.figure import Figure
from PIL import Image


@dataclass
class Drawn:
    """Figures that were saved, by file name.

    Attributes:
        figures: Figures of matplotlib.
        files: Where they were written.
    """

    figures: dict[str, Figure] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def only(self) -> str:
        """The name of the one figure that was saved, which may be that of a temporary file."""
        (name,) = self.figures
        return name

    def texts(self, name: str) -> set[str]:
        """Every title, label, annotation, tick label and legend entry of a figure."""
        found: set[str] = set()
        for axes in self.figures[name].axes:
            legend = axes.get_legend()
            entries = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
            entries += [axes.xaxis.label, axes.yaxis.label]
            entries += legend.get_texts() if legend else []
            found |= {entry.get_text() for entry in entries}
            found |= {axes.get_title(place) for place in ("left", "center")}
        return found

    def panels(self, name: str) -> list[Any]:
        """The axes of a figure that show something."""
        return [axes for axes in self.figures[name].axes if axes.has_data()]

    def images(self, name: str) -> int:
        """Number of panels that show an image."""
        return sum(bool(axes.images) for axes in self.figures[name].axes)

    def check(self, name: str) -> None:
        """The file has a sensible size, and is not blank."""
        assert self.files[name].stat().st_size < 500_000
        with Image.open(self.files[name]) as opened:
            assert min(opened.size) > 200
            assert max(opened.size) < 4000
            assert len(set(opened.convert("L").resize((64, 64)).tobytes())) > 5, "an empty picture"


@contextmanager
def drawn() -> Iterator[Drawn]:
    """Record the figures that are saved in a block."""
    found, save = Drawn(), Figure.savefig

    def record(figure: Figure, path: Path, **options: Any) -> None:
        save(figure, path, **options)
        found.figures[Path(path).name], found.files[Path(path).name] = figure, Path(path)

    with patch.object(Figure, "savefig", record):
        yield found
