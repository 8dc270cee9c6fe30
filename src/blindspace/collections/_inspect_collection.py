"""Inspect a whole collection, resumable after a kill at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import BlindspaceError, shown
from ..evidence.conformal import threshold
from ..jobs import Journal, Report
from .inspect_settings import InspectSettings
from .inspected import Inspected, summarise
from .inspecting import Given, Inspecting, checked, key_of, learn, restored
from .manifest import Row
from .treating import Engine, begin, treat
from .treatment import digest


def inspect_collection(
    source: str | Path,
    target: str | Path,
    settings: InspectSettings,
    reference: Given = None,
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    report: Report | None = None,
) -> Inspected:
    """Inspect every picture of a collection; finished work of an earlier run is kept.

    Each picture is measured alone, as by ``inspect_resize`` or ``inspect``: its line depends on its content, the
    settings and the reference, so it is the same with any number of workers, on any engine and after any interruption.
    ``manifest.jsonl``, one line per picture with its score, p-value and verdict, and ``manifest.json`` are written into
    ``target``, and new pictures as ``protect`` writes them if cleaning is asked for.

    Args:
        source: A folder with pictures, tar shards or Parquet tables anywhere below, or one such file. What a file, a
            member or a column holds is determined by its content.
        target: Folder of the results: a new one, or that of an earlier run with the same settings and reference.
        settings: The settings of the inspection.
        reference: Clean pictures like those to be inspected, each ``(C, H, W)`` in [0, 1], or what
            ``ResizeReference.fit`` or ``evidence.Reference.fit`` learnt from them; that of the package if None, as for
            ``inspect_resize`` and ``inspect``. It is learnt once, and kept in ``target``.
        workers: Number of processes, one per core if None; with 0, this process does the work.
        engine: Either ``local`` or ``ray``. On Ray, all nodes must see both folders under the same paths.
        address: Address of a Ray cluster; if None, one is started on this machine.
        report: Called after each step of the reference, and after each shard.

    Returns:
        The summary of all pictures.

    Raises:
        FileError: There is no picture; one folder contains the other, is in use, has other content or cannot be written
            to; the settings or the reference are not those of the earlier run; no images of the network's input size
            come with the package.
        ShapeError: A picture of the reference has the wrong shape.
        ValueRangeError: The reference is too small for the rate of false positives, or one of its pixels is outside
            [0, 1]; the number of workers is negative.
        UnknownNameError: No engine has that name.
        MissingExtraError: A library is not installed.
        BlindspaceError: The network cannot be loaded.

    Examples:
        >>> import torch, blindspace as bs
        >>> from pathlib import Path
        >>> from blindspace.collections import InspectSettings
        >>> smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 16), (120, 160), mode="bicubic").clamp(0, 1)
        >>> photograph = (smooth[0] + 0.02 * torch.randn(3, 120, 160)).clamp(0, 1)
        >>> tampered = photograph.clone()
        >>> tampered[:, ::4, ::4] = 1 - tampered[:, ::4, ::4]  # what torch's nearest reads of it at 30×40
        >>> Path("uploads").mkdir()
        >>> bs.data.write_png(Path("uploads/clean.png"), photograph.numpy())
        >>> bs.data.write_png(Path("uploads/tampered.png"), tampered.numpy())
        >>> settings = InspectSettings(resizers=("torch nearest 30x40",))
        >>> summary = bs.inspect_collection("uploads", "inspected", settings, workers=0)
        >>> summary.inspected, list(summary.most_suspicious)
        (2, ['tampered.png'])
    """
    if not isinstance(settings, InspectSettings):
        raise BlindspaceError(f"inspect_collection takes InspectSettings, got {shown(settings)}")
    where = Engine(workers, engine, address, report)
    planned, target = begin(source, target, settings, where)
    given = checked(settings, reference)
    plain = {**settings.to_dict(), "reference": key_of(given)}
    written = {**plain, "blindspace": version("blindspace")}
    journal = Journal(target)
    with journal.locked():
        journal.check(written)
        kept = journal.kept(f"reference-{digest(written)}", lambda: learn(settings, given, report))
    fitted = restored(settings, kept)
    limit = threshold(fitted.scores, settings.false_positives)

    def totals(rows: Iterator[Row]) -> dict[str, Any]:
        compared = {"threshold": limit, "false_positives": settings.false_positives, "reference": fitted.to_dict()}
        return {**summarise(rows), **compared}

    return treat(planned, target, Inspecting(settings, kept), plain, written, Inspected, totals, where)
