"""The whole way of a collection, from its files to the manifests, resumable after a kill at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FileError
from ..files import as_path
from ..jobs import Report, carry_out, check_engine
from .kinds import Plan, kinds, plan
from .manifest import MANIFEST, SUMMARY, Summarise, T, close
from .treatment import Common, Treatment, digest
from .work import Job


class Engine(NamedTuple):
    """Where the work is done, as for ``jobs.carry_out``."""

    workers: int | None = None
    engine: str = "local"
    address: str | None = None
    report: Report | None = None


def begin(source: str | Path, target: str | Path, settings: Common, engine: Engine) -> tuple[Plan, Path]:
    """Check what is asked for before anything is computed.

    Args:
        source: The collection.
        target: Folder of the results.
        settings: The settings of what is to be done.
        engine: Where it is to be done.

    Returns:
        The work to be done, and the folder of the results.

    Raises:
        FileError: There is no picture, or one folder contains the other.
        ValueRangeError: The number of workers is negative.
        UnknownNameError: No engine has that name.
        MissingExtraError: A library is not installed.
    """
    source, target = as_path(source, "the source").resolve(), as_path(target, "the target").resolve()
    check_engine(engine.engine, engine.workers)
    for inner, outer in ((source, target), (target, source)):
        if inner == outer or outer in inner.parents:
            raise FileError(f"{inner} is inside {outer}; give a destination apart from the source")
    return plan(source, settings.suffix, kinds(settings.pictures, settings.per_shard)), target


def treat(
    planned: Plan,
    target: Path,
    treatment: Treatment,
    settings: Mapping[str, Any],
    written: Mapping[str, Any],
    kind: type[T],
    summarise: Summarise,
    engine: Engine,
) -> T:
    """Treat every picture of a collection; finished work of an earlier run is kept.

    Args:
        planned: The work, of ``begin``.
        target: Folder of the results, of ``begin``.
        treatment: What is done with the pictures.
        settings: The settings, plain values for JSON, whose hash is in every line of the manifest.
        written: The settings as they are stored, which those of an earlier run must equal.
        kind: The kind of totals.
        summarise: Makes them of the lines of all pictures.
        engine: Where the work is done.

    Raises:
        BlindspaceError: As ``jobs.carry_out``.
    """
    return carry_out(
        Job(planned.root, target, treatment, digest(settings)),
        planned.shards,
        written,
        lambda journal, before, speed: close(journal, planned, written, kind, summarise, before, speed),
        (MANIFEST, SUMMARY),
        **engine._asdict(),
    )
