"""Protect a whole collection, resumable after a kill at any moment."""

from __future__ import annotations

import hmac
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import BlindspaceError, ValueRangeError, shown
from ..jobs import Journal, Report
from ..perturbations._keyed import Key
from .protected import Summary, summarise
from .protector import Protection, Settings
from .treating import Engine, begin, treat


def protect(
    source: str | Path,
    target: str | Path,
    settings: Settings,
    key: Key | None = None,
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    report: Report | None = None,
) -> Summary:
    """Protect every picture of a collection; finished work of an earlier run is kept.

    A picture's result depends on its name, its content, the settings and the key. Which pictures share a batch depends
    on the collection alone, so it is the same with any number of workers, on any engine and after any interruption.
    ``manifest.jsonl``, one line per picture, and ``manifest.json`` are written into ``target``.

    Args:
        source: A folder with pictures, tar shards or Parquet tables anywhere below, or one such file. What a file, a
            member or a column holds is determined by its content.
        target: Folder of the results: a new one, or that of an earlier run with the same settings.
        settings: The settings of the protection.
        key: Key of keyed noise; it is never stored.
        workers: Number of processes, one per core if None; with 0, this process does the work.
        engine: Either ``local`` or ``ray``. On Ray, all nodes must see both folders under the same paths.
        address: Address of a Ray cluster; if None, one is started on this machine.
        report: Called after each shard.

    Returns:
        The summary of all pictures.

    Raises:
        FileError: There is nothing to protect; one folder contains the other, is in use, has other content or cannot be
            written to; the settings are not those of the earlier run.
        ValueRangeError: A key is missing or superfluous, or the number of workers is negative.
        UnknownNameError: No engine has that name.
        MissingExtraError: A library is not installed.
        BlindspaceError: The network cannot be loaded.

    Examples:
        >>> import torch, blindspace as bs
        >>> from pathlib import Path
        >>> from blindspace.collections import Settings
        >>> from blindspace.perturbations import Recipe
        >>> Path("pictures").mkdir()
        >>> for number, digit in enumerate(bs.data.samples("mnist").tensor()[:3]):
        ...     bs.data.write_png(Path(f"pictures/{number}.png"), digit.numpy())
        >>> settings = Settings("mnist-mlp", Recipe("noise"), file_format="npz")
        >>> summary = bs.protect("pictures", "protected", settings, workers=0)
        >>> summary.protected, summary.labels_changed
        (3, 0)
    """
    if not isinstance(settings, Settings):
        raise BlindspaceError(f"protect takes Settings of the protection, got {shown(settings)}")
    if (key is not None) != (settings.recipe.kind == "keyed"):
        raise ValueRangeError("keyed noise, and only that, needs a key; give both or neither")
    where = Engine(workers, engine, address, report)
    planned, target = begin(source, target, settings, where)
    plain = settings.to_dict()
    return treat(planned, target, Protection(settings, key), plain, _written(plain, key), Summary, summarise, where)


def salt_of(target: Path) -> str | None:
    """The salt that an earlier run used for its key, if there was one.

    Raises:
        FileError: The stored settings are damaged.
    """
    return (Journal(target).settings() or {}).get("salt") or None


def _written(settings: dict[str, Any], key: Key | None) -> dict[str, Any]:
    """The settings as they are stored; of the key only a hash that distinguishes it from others."""
    sign = None if key is None else hmac.digest(key.secret, b"blindspace key check", "sha256").hex()
    return {**settings, "key_check": sign, "blindspace": version("blindspace")}
