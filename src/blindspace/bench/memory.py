"""Peak memory of a block of code, and memory held by an object."""

from __future__ import annotations

import ctypes
import gc
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CellType, FunctionType, MethodType

import numpy as np
from torch import Tensor


@dataclass
class Peak:
    """Largest growth of the resident memory of this process during a block, in bytes; set when the block ends."""

    size: int = 0


@contextmanager
def peak() -> Iterator[Peak]:
    """Measure a block.

    The kernel of Linux counts pages in batches per core, so that the figure is off by up to 128 KiB per core (more
    above 16 cores). Outside Linux only growth beyond every earlier peak of the process is seen.
    """
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # otherwise freed memory would be reused, unseen
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, found = status("VmRSS"), Peak()
    try:
        yield found
    finally:
        found.size = max(status("VmHWM") - before, 0)


def status(field: str) -> int:
    """A size in ``/proc/self/status``, in bytes; outside Linux the peak of the whole process."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def limit(size: int) -> None:
    """Let this process allocate at most ``size`` more bytes; beyond them it gets a MemoryError."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + size,) * 2)


def held(by: object, beside: object = None) -> int:
    """Bytes of all arrays and tensors reachable from an object; each storage counts once.

    Args:
        by: The object.
        beside: Object whose arrays do not count, such as the map that a solver serves.
    """
    own, others = _storages(by), _storages(beside)
    return sum(size for place, size in own.items() if place not in others)


def _storages(root: object) -> dict[int, int]:
    """The storages reachable from an object: address and bytes."""
    found: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        match value:
            case Tensor():
                found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            case np.ndarray():
                while isinstance(value.base, np.ndarray):
                    value = value.base
                found[value.ctypes.data] = value.nbytes
            case Mapping():
                waiting += value.values()
            case list() | tuple() | set() | frozenset():
                waiting += value
            case FunctionType():
                waiting += value.__closure__ or ()
            case CellType():
                with suppress(ValueError):  # still empty
                    waiting.append(value.cell_contents)
            case MethodType():
                waiting.append(value.__self__)
            case partial():
                waiting += [value.func, value.args, value.keywords]
            case _ if not isinstance(value, type):
                waiting += getattr(value, "__dict__", {}).values()
    found.pop(0, None)  # empty storages have no address
    return found
