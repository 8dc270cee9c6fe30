"""How a projection's cost grows with the side of the image and with the batch, beside another copy of the package.

Every side is a process of its own for each copy, in turn. Times are processor times, in units of one forward and one
adjoint pass of the layer, measured in turns within the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .processes import HERE, of_package, processor_time

SIDES, BATCHES = (32, 64, 128, 224, 320), (1, 4, 16, 64)
"""Sides of the images of the stem that is measured, and numbers of perturbations at once."""

LEAST = 0.1
"""Seconds of processor time that a measurement is repeated for at least."""

LARGEST_BATCH = 224
"""Side above which one perturbation at a time is measured."""

_GROWTH = """
import json, statistics, sys, time, torch
from blindspace.bench.cases import stem
from blindspace.bench.measure import noise, residual
from blindspace.bench.memory import held, peak
from blindspace.solvers import choose
side, seed, turns, batches, least = json.loads(sys.argv[1])
operator = stem(side).operator(seed)
operator.adjoint(operator.forward(noise(operator, 1)))
now = time.process_time
def taken(work):
    calls, start = 0, now()
    while not calls or now() - start < least:  # some machines count processor time in steps of milliseconds
        work()
        calls += 1
    return (now() - start) / calls
with peak() as factoring:
    start = now()
    solver = choose(operator)
    setup = now() - start
costs = []
projecting = 0
for batch in batches:
    x = noise(operator, batch)
    with peak() as growing:
        solver.project(x)
    projecting = max(projecting, growing.size)
    ratios = []
    for _ in range(turns):
        bound = taken(lambda: operator.adjoint(operator.forward(x)))
        ratios.append(taken(lambda: solver.project(x)) / bound)
    costs.append(statistics.median(ratios))
few = noise(operator, 1)
print(json.dumps({
    "setup": setup, "kept": held(solver, beside=operator), "peak_setup": factoring.size, "peak_project": projecting,
    "costs": costs, "residual": residual(operator, solver.project(few), few)}))
"""


@dataclass(frozen=True)
class GrowthRow:
    """The 7×7 stem of stride 2 from 3 to 10 channels at one image side, by one copy of the package.

    Attributes:
        copy: ``now``, or ``before`` for the other copy.
        side: Side of the image in pixels.
        setup: Processor time of the factorisation in seconds.
        kept: Bytes that the solver holds.
        peak_setup: Largest growth of the process during the factorisation, in bytes.
        peak_project: Largest growth during a projection of the largest batch.
        batches: Numbers of perturbations at once.
        costs: Processor time of a projection of each batch, over one forward and one adjoint pass of it, medians.
        residual: ‖A P v‖ / (‖A‖ ‖v‖) of one projection.
    """

    copy: str
    side: int
    setup: float
    kept: int
    peak_setup: int
    peak_project: int
    batches: tuple[int, ...]
    costs: tuple[float, ...]
    residual: float


def growth(
    before: Path | None = None,
    sides: Sequence[int] = SIDES,
    batches: Sequence[int] = BATCHES,
    turns: int = 5,
    seed: int = 0,
) -> Iterator[GrowthRow]:
    """Measure the stem at several sides and batches, one after the other, without the cache.

    Args:
        before: Folder that holds another copy of the package, such as the ``src`` of an older commit; None for none.
        sides: Sides of the images.
        batches: Numbers of perturbations at once; above a side of 224, one.
        turns: Number of measurements of a batch.
        seed: Seed of the weights.

    Raises:
        ValueRangeError: The folder holds no copy of the package.
        BlindspaceError: A process failed; the message holds the last line that it wrote.
    """
    copies = {"now": HERE} if before is None else {"before": of_package(before), "now": HERE}
    for side in sides:
        some = tuple(batches) if side <= LARGEST_BATCH else tuple(batches)[:1]
        for name, package in copies.items():
            task = ["-c", _GROWTH, json.dumps([side, seed, turns, some, LEAST])]
            found: dict[str, Any] = json.loads(processor_time(package, task)[1])
            yield GrowthRow(copy=name, side=side, batches=some, **{**found, "costs": tuple(found["costs"])})
