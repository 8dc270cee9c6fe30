"""What a projection costs, as a ratio to the least it could cost: one forward and one adjoint of the layer itself.

Every case and every rival has a process of its own, so that its peak memory is its own and what it does to the machine
ends with it. They tell of themselves in JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BlindspaceError
from .baselines import MEMORY, RIVALS, RivalRow, measure_rival, refusal
from .cases import BenchCase, find, select
from .measure import BenchRow, measure
from .memory import limit

__all__ = ["BenchRow", "Refused", "RivalRow", "bench", "select"]

PATIENCE = 10.0
"""Seconds that one kind of measurement, or LSMR in all, may take."""

LONGEST = 900.0
"""Seconds after which a process is ended, whatever it is at."""


@dataclass(frozen=True)
class Refused:
    """A case that could not be measured.

    Attributes:
        name: of the case.
        reason: in words.
    """

    name: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def bench(
    cases: Sequence[BenchCase],
    repeats: int = 15,
    seed: int = 0,
    rivals: bool = True,
    patience: float = PATIENCE,
) -> Iterator[BenchRow | RivalRow | Refused]:
    """Measure cases one after the other, float64, nothing being taken from the cache.

    Args:
        cases: as ``select`` chose them.
        repeats: turns of projector and lower bound, fewer where they take longer than ``patience``.
        seed: of weights and perturbations.
        rivals: whether what people use today is measured beside ours.
        patience: seconds that one kind of measurement, or LSMR in all, may take.

    Yields:
        A ``BenchRow``, or ``Refused``, for each case, and after it a ``RivalRow`` for each rival.
    """
    for case in cases:
        task = {"case": case.name, "side": case.side, "repeats": repeats, "seed": seed, "patience": patience}
        found = _in_a_process(task)
        yield Refused(case.name, found["refused"]) if "refused" in found else BenchRow(**found)
        operator = case.operator(seed) if rivals else None
        for rival in RIVALS if operator else ():
            reason = refusal(rival, operator, patience) if operator else None
            found = {"refused": reason} if reason else _in_a_process({**task, "rival": rival})
            if "refused" in found:
                yield RivalRow(case.name, case.side, rival, skipped=found["refused"])
            else:
                yield RivalRow(**found)


def _in_a_process(task: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own makes of a task: a row, or ``refused`` with the reason."""
    package = Path(__file__).parents[2]
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "BLINDSPACE_CACHE_LIMIT": "0"}
    command = [sys.executable, "-m", __spec__.name if __name__ == "__main__" else __name__]
    try:
        done = subprocess.run(
            command, input=json.dumps(task), capture_output=True, text=True, timeout=LONGEST, env=environment
        )
    except subprocess.TimeoutExpired:
        return {"refused": f"ended after {LONGEST:.0f} s"}
    if done.returncode < 0:
        return {"refused": f"ended by signal {-done.returncode}, as the system does where memory runs out"}
    if done.returncode:
        return {"refused": (done.stderr.strip().splitlines() or ["failed without a word"])[-1]}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _work(task: dict[str, Any]) -> dict[str, Any]:
    """What the process does: the row as plain values, or ``refused``."""
    case = find(task["case"], task["side"])
    settings = task["repeats"], task["seed"], task["patience"]
    warnings.simplefilter("ignore")
    try:
        if "rival" not in task:
            return measure(case, *settings).to_dict()
        limit(MEMORY)
        return measure_rival(case, task["rival"], *settings).to_dict()
    except BlindspaceError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": f"took more than the {MEMORY / 2**30:.0f} GiB it was allowed"}
    except (RuntimeError, np.linalg.LinAlgError) as error:
        return {"refused": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}


if __name__ == "__main__":
    print(json.dumps(_work(json.load(sys.stdin))))
