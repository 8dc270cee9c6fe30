"""The cost of a projection as a ratio to its lower bound: one forward and one adjoint of the layer itself.

Every case and every baseline runs in a process of its own, so that its peak memory is its own and its side effects end
with it. The processes report in JSON.
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
from .baselines import BASELINES, MEMORY, BaselineRow, measure_baseline, refusal
from .cases import BenchCase, find, select
from .measure import BenchRow, measure
from .memory import limit

__all__ = ["BaselineRow", "BenchRow", "Refused", "bench", "select"]

PATIENCE = 10.0
"""Seconds that one kind of measurement, or LSMR in all, may take."""

LONGEST = 900.0
"""Seconds after which a process is killed."""


@dataclass(frozen=True)
class Refused:
    """A case that could not be measured; ``reason`` says why."""

    name: str
    reason: str


def bench(
    cases: Sequence[BenchCase],
    repeats: int = 15,
    seed: int = 0,
    baselines: Sequence[str] = BASELINES,
    patience: float = PATIENCE,
    device: str = "cpu",
) -> Iterator[BenchRow | BaselineRow | Refused]:
    """Measure cases one after the other, float64, without the cache.

    Args:
        cases: Cases, as chosen by ``select``.
        repeats: Alternating measurements of projector and lower bound, fewer if they take longer than ``patience``.
        seed: Seed of weights and perturbations.
        baselines: Baselines to measure too.
        patience: Seconds that one kind of measurement, or LSMR in all, may take.
        device: Where our projections are computed; baselines run on the CPU.

    Yields:
        A ``BenchRow``, or ``Refused``, for each case, followed by a ``BaselineRow`` for each baseline.
    """
    for case in cases:
        task = {"case": case.name, "side": case.side, "repeats": repeats, "seed": seed, "patience": patience}
        ours = {**task, "device": device}
        found = _in_a_process(ours)
        yield Refused(case.name, found["refused"]) if "refused" in found else BenchRow(**found)
        operator = case.operator(seed)
        for rival in baselines:
            reason = refusal(rival, operator, patience)
            found = {"refused": reason} if reason else _in_a_process({**task, "rival": rival})
            if "refused" in found:
                yield BaselineRow(case.name, case.side, rival, skipped=found["refused"])
            else:
                yield BaselineRow(**found)


def _in_a_process(task: dict[str, Any]) -> dict[str, Any]:
    """The result of a task run in its own process: a row, or ``refused`` with the reason."""
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
    """The task as that process runs it: the row as plain values, or ``refused``."""
    case = find(task["case"], task["side"])
    settings = task["repeats"], task["seed"], task["patience"]
    warnings.simplefilter("ignore")
    try:
        if "rival" not in task:
            return asdict(measure(case, *settings, task["device"]))
        limit(MEMORY)
        return asdict(measure_baseline(case, task["rival"], *settings))
    except BlindspaceError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": f"took more than the {MEMORY / 2**30:.0f} GiB it was allowed"}
    except (RuntimeError, np.linalg.LinAlgError) as error:
        return {"refused": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}


if __name__ == "__main__":
    print(json.dumps(_work(json.load(sys.stdin))))
