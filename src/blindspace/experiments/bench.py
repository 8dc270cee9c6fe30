"""What a projection costs, as a ratio to the least it could cost: one forward and one adjoint of the layer itself.

Times of one machine and one hour compare badly with another's; so each case measures its projector and its lower bound
in turns, in one process, and reports their ratio.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..errors import UnknownNameError
from ..maps import LinearMap, Shape, from_module
from ..solvers import choose


@dataclass(frozen=True)
class BenchCase:
    """A layer to measure.

    Attributes:
        name: of the case.
        build: makes the layer, random weights.
        in_shape: of one input.
    """

    name: str
    build: Callable[[], nn.Module]
    in_shape: Shape


CASES = {
    case.name: case
    for case in (
        BenchCase("1×1, 256→64 at 56×56", lambda: nn.Conv2d(256, 64, 1), (256, 56, 56)),
        BenchCase("1×1, 64→48 at 32×32", lambda: nn.Conv2d(64, 48, 1), (64, 32, 32)),
        BenchCase("patch 16×16, 3→384 at 224×224", lambda: nn.Conv2d(3, 384, 16, 16), (3, 224, 224)),
        BenchCase("patch 32×32, 3→768 at 224×224", lambda: nn.Conv2d(3, 768, 32, 32), (3, 224, 224)),
        BenchCase("patch 8×8, 3→48 at 32×32", lambda: nn.Conv2d(3, 48, 8, 8), (3, 32, 32)),
        BenchCase("patch 4×4 padded, 3→32 at 64×64", lambda: nn.Conv2d(3, 32, 4, 4, 1), (3, 64, 64)),
        BenchCase("Linear 1536→384 over 128 tokens", lambda: nn.Linear(1536, 384), (128, 1536)),
        BenchCase("stride-2 layer 3×3, 64→128 at 32×32", lambda: nn.Conv2d(64, 128, 3, 2, 1), (64, 32, 32)),
        BenchCase("ImageNet stem 7×7 stride 2, 3→10 at 224×224", lambda: nn.Conv2d(3, 10, 7, 2, 3), (3, 224, 224)),
        BenchCase("CIFAR stem 7×7 stride 2, 3→10 at 32×32", lambda: nn.Conv2d(3, 10, 7, 2, 3), (3, 32, 32)),
    )
}


@dataclass(frozen=True)
class BenchRow:
    """One case, measured. Times are medians in seconds; ratios are to the lower bound of the same batch and dtype.

    Attributes:
        name: of the case.
        solver: that served it.
        in_dim: n.
        dim: of the nullspace.
        setup: seconds to factor.
        seconds_1: of a projection of one perturbation.
        ratio_1: the same over the lower bound.
        seconds_64: of a projection of 64.
        ratio_64: the same over the lower bound.
        residual: ‖A P v‖ / (‖A‖ ‖v‖), float64.
    """

    name: str
    solver: str
    in_dim: int
    dim: int
    setup: float
    seconds_1: float
    ratio_1: float
    seconds_64: float
    ratio_64: float
    residual: float

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def bench(names: list[str] | None = None, repeats: int = 15, seed: int = 0) -> Iterator[BenchRow]:
    """Measure cases one after the other, float64.

    Args:
        names: of the cases; all if None. A part of a name stands for every case that holds it.
        repeats: turns of projector and lower bound.
        seed: of weights and perturbations.

    Raises:
        UnknownNameError: no case holds one of the names.
    """
    for case in select(names):
        torch.manual_seed(seed)
        map = from_module(case.build(), case.in_shape)
        started = time.perf_counter()
        solver = choose(map)
        setup = time.perf_counter() - started
        one, many = (_turns(map, solver.project, batch, repeats) for batch in (1, 64))
        x = torch.randn(4, *map.in_shape, dtype=torch.float64)
        error = map.forward(solver.project(x)).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1) / map.norm()
        yield BenchRow(
            case.name, solver.name, map.in_dim, solver.dim, setup, one[0], one[1], many[0], many[1], float(error.max())
        )


def select(names: list[str] | None) -> list[BenchCase]:
    """The cases whose names hold one of the words given; all for None.

    Raises:
        UnknownNameError: a word is in no name.
    """
    for name in names or []:
        if not any(name in known for known in CASES):
            raise UnknownNameError(f"no case of the bench holds {name!r}; there are: {'; '.join(CASES)}")
    return [case for key, case in CASES.items() if not names or any(name in key for name in names)]


def _turns(
    map: LinearMap, project: Callable[[torch.Tensor], torch.Tensor], batch: int, repeats: int
) -> tuple[float, float]:
    """Median seconds of a projection, and the median of its ratios to the lower bound measured right beside it."""
    x = torch.randn(batch, *map.in_shape, dtype=torch.float64)
    seconds, ratios = [], []
    for turn in range(repeats + 2):
        bound = _seconds(lambda: map.adjoint(map.forward(x)))
        own = _seconds(lambda: project(x))
        if turn >= 2:  # the first turns fill caches
            seconds.append(own)
            ratios.append(own / bound)
    return statistics.median(seconds), statistics.median(ratios)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
