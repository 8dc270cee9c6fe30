"""What ``blindspace inspect`` says of photographs before a resize, of any sizes and without a network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from ..data import NamedImage, check_pixels, read_images, write_png
from ..errors import BlindspaceError
from ..evidence import ResizeInspection, clean_resize, inspect_resize
from ..evidence.resizes.disagreement import views
from ..maps.resizing import resizer
from ..networks.preprocessing_modules import FlipChannels, Resize
from ..networks.sources.preprocessing import parse
from ..report.resizes import draw
from .output import progress

ROWS = 20
"""Largest number of images in the table, the most suspicious ones."""

SHOWN = 6
"""Largest number of images in the picture."""


class Keep(StrEnum):
    """What cleaning keeps."""

    network = "network"
    people = "people"


def first_resize(preprocess: str | None) -> str | None:
    """The resize that a preprocessing spelled out begins with, as ``inspect_resize`` names it; None without one."""
    try:
        steps = parse(preprocess) if preprocess else ()
    except BlindspaceError:
        return None  # that of a library or a file, or misspelt, which loading says
    first = next((step for step in steps if not isinstance(step, FlipChannels)), None)
    if not isinstance(first, Resize):
        return None
    size = first.size if isinstance(first.size, int) else "x".join(map(str, first.size))
    return f"{first.resizer} {size}"


def inspect_photographs(
    given: list[str],
    resizers: list[str],
    usual: str | None,
    false_positives: float,
    clean: Path | None,
    keep: Keep,
    picture: Path | None,
    seed: int,
    screen: Console,
) -> dict[str, Any]:
    """Inspect photographs, print what is found, clean and draw them as asked.

    Returns:
        The result for JSON, with the number of suspicious images as ``suspicious``.
    """
    named = read_photographs([Path(each) for each in given])
    images = [torch.from_numpy(image.pixels) for image in named]
    reference = None if usual is None else [torch.from_numpy(image.pixels) for image in read_photographs([Path(usual)])]
    with progress("inspecting") as report:
        result = inspect_resize(images, resizers, reference, false_positives, seed=seed, progress=report)
    found: dict[str, Any] = {"names": [image.name for image in named], "resizers": resizers, **result.to_dict()}
    count = int(result.suspicious.sum())
    verdict = f"[red]{count} made for a resize[/red]" if count else "[green]none made for a resize[/green]"
    screen.print(f"{len(named)} photographs: {verdict}")
    kept = result.reference
    screen.print(
        f"  threshold   {result.threshold:.2f}, which {false_positives:.2%} of clean pictures reach "
        f"({kept.pictures} pictures, each in {len(kept.variants)} ways)"
    )
    screen.print(_table(result, named))
    if clean is not None:
        found["clean"] = _clean(result, named, images, clean, keep)
        screen.print(f"cleaned images in {escape(str(clean))}; kept is what the {_KEPT[keep]}")
        screen.print(_changes(found["clean"]))
    if picture is not None:
        draw(_shown(result, named, images), picture)
    return found


_KEPT = {Keep.network: "network reads", Keep.people: "eye sees"}


def read_photographs(paths: list[Path]) -> list[NamedImage]:
    """Read photographs of any sizes, whose pixels must lie in [0, 1].

    Raises:
        FileError: As ``data.read_images``.
        ValueRangeError: A pixel does not.
    """
    images = read_images(paths)
    for image in images:
        check_pixels(image.pixels, image.name, 0.0, 1.0)
    return images


def _table(result: ResizeInspection, named: list[NamedImage]) -> Table:
    made = Table("image", box=None, header_style="bold")
    for heading in ("pixels", "score", "p-value"):
        made.add_column(heading, justify="right")
    made.add_column("made for")
    for index in result.scores.argsort(descending=True).tolist()[:ROWS]:
        row, (height, width) = result.made_for[index], named[index].pixels.shape[1:]
        made.add_row(
            escape(named[index].name),
            f"{height}×{width}",
            f"{float(result.scores[index]):.2f}",
            f"{float(result.p_values[index]):.4f}",
            f"[red]{named_for(row.resizers, row.size)}[/red]"
            if row is not None and bool(result.suspicious[index])
            else "",
        )
    return made


def named_for(resizers: tuple[str, ...], size: tuple[int, int]) -> str:
    """The resizers, few of those that are alike, and the size that an image was made for."""
    more = f" (and {len(resizers) - 2} alike)" if len(resizers) > 2 else ""
    return f"{' or '.join(resizers[:2])}{more}, {size[0]}×{size[1]}"


def _clean(
    result: ResizeInspection, named: list[NamedImage], images: list[Tensor], folder: Path, keep: Keep
) -> list[dict[str, Any]]:
    """Write every image that a resize reduces, cleaned for the one it was most likely made for."""
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for image, pixels, row in zip(named, images, result.made_for, strict=True):
        if row is not None:
            made = clean_resize(pixels, row.resizers[0], row.size, keep.value)
            write_png(folder / f"{image.name}.png", made.image.numpy())
            written.append({"name": image.name, "resizer": row.resizers[0], "size": list(row.size), **made.to_dict()})
    return written


def _changes(written: list[dict[str, Any]]) -> Table:
    made = Table("image", box=None, header_style="bold", title="root mean square, in shares of the pixel range")
    for heading in ("network's input moves", "people's view moves", "apart before", "apart after"):
        made.add_column(heading, justify="right")
    for each in written[:ROWS]:
        figures = (each[name] for name in ("network", "people", "apart_before", "apart"))
        made.add_row(escape(each["name"]), *(f"{figure:.4f}" for figure in figures))
    return made


def _shown(
    result: ResizeInspection, named: list[NamedImage], images: list[Tensor]
) -> list[tuple[str, Tensor, Tensor, Tensor]]:
    """Title, image, what the network reads and what people see, of the most suspicious images."""
    rows: list[tuple[str, Tensor, Tensor, Tensor]] = []
    for index in result.scores.argsort(descending=True).tolist():
        found = result.made_for[index]
        if found is not None and len(rows) < SHOWN:
            network, people = views(images[index].numpy(), resizer(found.resizers[0]), found.size)
            title = f"{named[index].name}\nscore {float(result.scores[index]):.2f}\n{found.resizers[0]}"
            rows.append((title, images[index], torch.from_numpy(network), torch.from_numpy(people)))
    return rows
