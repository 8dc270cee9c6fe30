"""What ``blindspace inspect --out`` does with a whole collection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..collections import Inspected, InspectSettings, inspect_collection
from ..errors import ValueRangeError
from .before_resize import named_for, read_photographs
from .images import load_images, stack
from .options import NetworkOptions
from .output import progress
from .totals import printed, show_dropped, show_rest, show_run

ROWS = 10
"""Largest number of suspicious pictures in the table; the manifest has all."""


def inspect_all(
    given: list[str],
    target: Path,
    settings: InspectSettings,
    usual: str | None,
    clean: Path | None,
    screen: Console,
    **engine: Any,
) -> Inspected:
    """Inspect a collection and print what is found.

    Args:
        given: The collection, a single folder or file.
        target: Folder of the results.
        settings: The settings.
        usual: File or folder of clean pictures; None for those of the package.
        clean: Where cleaned pictures are asked for: in ``target``, where they are listed.
        screen: The console.
        engine: Where the work is done, as for ``inspect_collection``.

    Raises:
        ValueRangeError: Several collections are given, or another folder for cleaned pictures.
        BlindspaceError: As ``inspect_collection``.
    """
    if len(given) != 1:
        raise ValueRangeError(f"--out takes the results of one folder or file, got {len(given)}; give one")
    if clean is not None and clean.resolve() != target.resolve():
        raise ValueRangeError(
            f"the cleaned pictures of a collection are written beside its manifest; give --clean {target} with --out"
        )
    reference = None
    if usual is not None and settings.network is None:
        reference = [torch.from_numpy(image.pixels) for image in read_photographs([Path(usual)])]
    elif usual is not None:
        network = settings.named.load()
        reference = list(stack(load_images([usual], network), network))
    with progress("inspecting") as report:
        found = inspect_collection(given[0], target, settings, reference, report=report, **engine)
    _show(found, settings, target, screen)
    return found


def collection_settings(resizers: list[str], reader: NetworkOptions, pictures: str, **others: Any) -> InspectSettings:
    """The settings that options stand for: photographs before some resizers, or pictures of a network's input size."""
    named = tuple(filter(None, pictures.split(",")))
    network = None if resizers else reader.named()
    return InspectSettings(resizers=tuple(resizers), network=network, pictures=named, **others)


def _show(found: Inspected, settings: InspectSettings, target: Path, screen: Console) -> None:
    if not found.inspected:
        told = f"none of {found.images} pictures" if found.images else "no picture was found"
        screen.print(f"[red]nothing was inspected: {told}[/red]")
    else:
        verdict = "none suspicious"
        if found.suspicious:
            verdict = f"[red]{found.suspicious} suspicious[/red]"
        elif found.good:
            verdict = f"[green]{verdict}[/green]"
        screen.print(f"{found.inspected} of {found.images} pictures inspected: {verdict}; in {escape(str(target))}")
    show_run(screen, found)
    screen.print(
        f"  threshold              {found.threshold:.2f}, which {found.false_positives:.2%} of clean pictures reach"
    )
    for what, count in list(found.made_for.items())[:3]:
        screen.print(f"  made for               {what}: {count} of {found.suspicious}")
    if settings.clean:
        screen.print(f"  cleaned pictures       {found.cleaned} of {found.images}")
    show_dropped(screen, "not read", found.dropped, found.inspected)
    if found.most_suspicious:
        screen.print(_table(found))
    show_rest(screen, found, "not inspected", found.inspected, found.not_inspected, "not inspected")


def _table(found: Inspected) -> Table:
    made = Table("most suspicious", box=None, header_style="bold")
    for heading in ("score", "p-value"):
        made.add_column(heading, justify="right")
    made.add_column("made for")
    for name, row in list(found.most_suspicious.items())[:ROWS]:
        made_for = row.get("made_for")
        words = named_for(tuple(made_for["resizers"]), tuple(made_for["size"])) if made_for else ""
        made.add_row(printed(name), f"{row['score']:.2f}", f"{row['p_value']:.4f}", words)
    return made
