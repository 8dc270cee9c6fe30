"""One layer measured: seconds, bytes and residual of its projector, beside one forward and one adjoint of the layer.

Times depend on the machine and its load; so projector and lower bound are measured alternately, in one process, and
their ratio is reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from ..maps import LinearMap
from ..solvers import choose
from .cases import BenchCase
from .memory import held, peak

BATCH = 64
"""Perturbations per batch, unless that takes too long or too much memory."""

BATCH_BYTES = 512 << 20
"""Bytes that the perturbations of one batch may take."""

T = TypeVar("T")

Project = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BenchRow:
    """One case, measured in float64. Times are medians in seconds, sizes are bytes.

    Attributes:
        name: Name of the case.
        side: Side of the image, if the case is a point of the picture.
        solver: Name of the solver.
        in_dim: Number n of inputs.
        dim: Dimension of the nullspace.
        setup: Time of the factorisation, without the cache.
        kept: Size of the arrays that the solver holds.
        peak_setup: Largest growth of the process during the factorisation.
        peak_project: Largest growth during a projection of ``batch`` perturbations, these not counted.
        seconds_1: Time of a projection of one perturbation.
        bound_1: Time of one forward and one adjoint of the layer.
        ratio_1: Median of the ratios of the two, measured in pairs.
        batch: Perturbations per batch in what follows: 64, or fewer if these take too long or too much memory.
        first_64: Time of the first projection of ``batch`` perturbations, with what the solver sets up only then.
        seconds_64: Time of a projection of ``batch`` perturbations, times 64 over ``batch``.
        bound_64: The same for the lower bound.
        ratio_64: Median of the ratios of the two.
        passes: Passes of refinement in the last projection; None for solvers without refinement.
        iterations: Iterations of a Krylov solver in the last projection; None for others.
        residual: Largest ‖A P v‖ / (‖A‖ ‖v‖) measured.
        ratio_float32: As ``ratio_1``, both in float32.
        residual_float32: As ``residual``, for projections in float32.
    """

    name: str
    side: int | None
    solver: str
    in_dim: int
    dim: int
    setup: float
    kept: int
    peak_setup: int
    peak_project: int
    seconds_1: float
    bound_1: float
    ratio_1: float
    batch: int
    first_64: float
    seconds_64: float
    bound_64: float
    ratio_64: float
    passes: int | None
    iterations: int | None
    residual: float
    ratio_float32: float
    residual_float32: float


@dataclass(frozen=True)
class Turns:
    """Medians of a projection and its lower bound, in seconds, and of their ratios."""

    seconds: float
    bound: float
    ratio: float


def measure(case: BenchCase, repeats: int, seed: int, patience: float, device: torch.device | str = "cpu") -> BenchRow:
    """Measure a case in this process.

    Args:
        case: The layer.
        repeats: Alternating measurements of projector and lower bound, fewer if they take longer than ``patience``.
        seed: Seed of weights and perturbations.
        patience: Seconds that one kind of measurement may take, approximately.
        device: Where the perturbations lie, and what can be done there is done.

    Raises:
        BlindspaceError: No solver serves it.
    """
    operator = case.operator(seed)
    operator.adjoint(
        operator.forward(noise(operator, 1, device))
    )  # torch's own set-up at its first convolution does not count
    with peak() as factoring:
        started = time.perf_counter()
        solver = choose(operator)
        setup = time.perf_counter() - started
    kept = held(solver, beside=operator)
    one = turns(operator, solver.project, noise(operator, 1, device), repeats, patience)
    batch = affordable(operator, solver.project, patience, device)
    x = noise(operator, batch, device)
    with peak() as projecting:
        first = taken(partial(solver.project, x), x.device)
    many = turns(operator, solver.project, x, repeats, patience)
    del x
    single = noise(operator, 1, device).float()
    float32 = turns(operator, solver.project, single, repeats, patience / 2)
    residual_float32 = residual(operator, solver.project(single), single)
    few = noise(operator, min(4, batch), device)
    scale = BATCH / batch
    return BenchRow(
        name=case.name,
        side=case.side,
        solver=solver.name,
        in_dim=operator.in_dim,
        dim=solver.dim,
        setup=setup,
        kept=kept,
        peak_setup=factoring.size,
        peak_project=projecting.size,
        seconds_1=one.seconds,
        bound_1=one.bound,
        ratio_1=one.ratio,
        batch=batch,
        first_64=first,
        seconds_64=many.seconds * scale,
        bound_64=many.bound * scale,
        ratio_64=many.ratio,
        residual=residual(operator, solver.project(few), few),
        passes=_count(solver, "passes"),
        iterations=_count(solver, "iterations"),
        ratio_float32=float32.ratio,
        residual_float32=residual_float32,
    )


def noise(operator: LinearMap, batch: int, device: torch.device | str = "cpu") -> Tensor:
    """Gaussian perturbations, ``(batch, *in_shape)``, float64, the same on every device."""
    return torch.randn(batch, *operator.in_shape, dtype=torch.float64).to(device)


def residual(operator: LinearMap, p: Tensor, x: Tensor) -> float:
    """The largest ‖A p‖ / (‖A‖ ‖x‖) of a batch, computed in float64."""
    left = operator.forward(p.double()).flatten(1).norm(dim=1) / x.double().flatten(1).norm(dim=1)
    return float(left.max()) / (operator.norm() or 1.0)


def turns(operator: LinearMap, project: Project, x: Tensor, repeats: int, patience: float) -> Turns:
    """Measure projector and lower bound alternately, ``repeats`` times or until ``patience`` runs out.

    The first measurement fills caches and counts only if it is the only one.
    """
    seconds: list[tuple[float, float]] = []
    started = time.perf_counter()
    while len(seconds) <= repeats and (not seconds or time.perf_counter() - started < patience):
        bound = taken(lambda: operator.adjoint(operator.forward(x)), x.device)
        seconds.append((taken(lambda: project(x), x.device), bound))
    counted = seconds[1:] or seconds
    own, bounds = zip(*counted, strict=True)
    ratio = statistics.median(mine / bound for mine, bound in counted)
    return Turns(statistics.median(own), statistics.median(bounds), ratio)


def affordable(operator: LinearMap, project: Project, patience: float, device: torch.device | str = "cpu") -> int:
    """Number of perturbations per batch, up to ``BATCH``, by their memory and by the time that a few take."""
    batch = BATCH
    while batch > 1 and 8 * operator.in_dim * batch > BATCH_BYTES:
        batch //= 2
    probe = 1
    place = torch.device(device)
    spent = taken(lambda: project(noise(operator, 1, place)), place)
    if 8 * spent < patience and batch > 8:
        probe, spent = 8, taken(lambda: project(noise(operator, 8, place)), place)
    while batch > 1 and spent / probe * batch > 2 * patience:
        batch //= 2
    return batch


def taken(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Seconds that a function takes, until what it started on a device is done there."""
    _done(device)
    started = time.perf_counter()
    work()
    _done(device)
    return time.perf_counter() - started


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Processor time of some work in seconds, and its result."""
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


def _done(device: torch.device | None) -> None:
    """Wait for a device, where its operations return before they are done."""
    wait = None if device is None else getattr(getattr(torch, device.type, None), "synchronize", None)
    if wait is not None:
        wait()


def _count(solver: object, name: str) -> int | None:
    """A counter of the last projection, from the solver or the one it wraps."""
    value = getattr(solver, name, None)
    if isinstance(value, int):
        return value
    inner = getattr(solver, "inner", None)
    return None if inner is None else _count(inner, name)
