"""Baselines: the same projection by dense singular vectors, LSMR and sparse direct solvers.

Each is set up as its documentation advises. A baseline that would exceed the allowed memory or time is not started, and
the reason is reported instead. LSMR is due to Fong & Saunders 2011, CHOLMOD to Chen, Davis, Hager & Rajamanickam 2008.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from math import log2, prod
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from ..errors import MissingExtraError
from ..maps import Convolution, Dense, Kronecker, LinearMap
from .cases import BenchCase
from .measure import BATCH, BATCH_BYTES, Project, affordable, noise, residual, taken, turns
from .memory import held, peak

COLUMNS = 4000
"""Number of inputs above which the singular vectors of the whole matrix take minutes."""

MEMORY = 4 << 30
"""Bytes that a baseline may allocate."""

CLOSE = 1e-12
"""Tolerance of LSMR for ‖A p‖ / (‖A‖ ‖x‖)."""

ITERATIONS_SPENT = 7
"""LSMR's exit code when its iterations are used up."""


@dataclass(frozen=True)
class BaselineRow:
    """One baseline on one case. Times are seconds, sizes bytes; None where nothing was measured.

    Attributes:
        name: Name of the case.
        side: Side of the image, if the case is a point of the picture.
        rival: Name of the baseline.
        skipped: Why nothing was measured; None if it was.
        setup: Time of the factorisation.
        kept: Size of the factors.
        peak: Largest growth of the process during the factorisation.
        seconds_1: Time of a projection of one perturbation.
        ratio_1: The same over the layer's lower bound, measured in the same process.
        seconds_64: Time of a projection of 64 perturbations.
        ratio_64: The same over the lower bound for a batch.
        extrapolated: Whether ``seconds_64`` is 64 times one, as the baseline takes one at a time.
        finished: Whether the tolerance was met; otherwise the times are lower bounds.
        iterations: Iterations of LSMR.
        residual: Largest ‖A p‖ / (‖A‖ ‖x‖) measured.
    """

    name: str
    side: int | None
    rival: str
    skipped: str | None = None
    setup: float | None = None
    kept: int | None = None
    peak: int | None = None
    seconds_1: float | None = None
    ratio_1: float | None = None
    seconds_64: float | None = None
    ratio_64: float | None = None
    extrapolated: bool = False
    finished: bool = True
    iterations: int | None = None
    residual: float | None = None


def null_space(operator: LinearMap) -> Project:
    """``scipy.linalg.null_space``: P x = N Nᵀ x."""
    return _onto(torch.from_numpy(scipy.linalg.null_space(operator.to_dense().numpy())))


def full_svd(operator: LinearMap) -> Project:
    """``torch.linalg.svd`` with all right singular vectors, as in the paper."""
    _, sigma, rows = torch.linalg.svd(operator.to_dense(), full_matrices=True)
    tolerance = max(operator.in_dim, operator.out_dim) * torch.finfo(torch.float64).eps * float(sigma[0])
    return _onto(rows[int((sigma > tolerance).sum()) :].T.contiguous())


def sparse_lu(operator: LinearMap) -> Project:
    """``scipy.sparse.linalg.splu`` of A Aᵀ, ordered and pivoted for symmetric matrices."""
    a = operator.to_scipy()
    gram = scipy.sparse.csc_array(a @ a.T)
    factors = scipy.sparse.linalg.splu(
        gram, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    return Direct(operator, factors.solve, 12 * (factors.L.nnz + factors.U.nnz))  # 8 bytes per entry, 4 per row index


def sparse_cholesky(operator: LinearMap) -> Project:
    """CHOLMOD of A Aᵀ, by scikit-sparse."""
    factor = _cholmod()(scipy.sparse.csc_matrix(operator.to_scipy()))
    entries = int(factor.L().nnz) if hasattr(factor, "L") else 0
    return Direct(operator, factor, 12 * entries)


@dataclass(frozen=True)
class Direct:
    """P x = x − Aᵀ (A Aᵀ)⁻¹ A x with a factored A Aᵀ, whose arrays belong to the library and take ``size`` bytes."""

    operator: LinearMap
    solve: Callable[[np.ndarray], np.ndarray]
    size: int

    def __call__(self, x: Tensor) -> Tensor:
        """P x of a batch."""
        b = self.operator.forward(x)
        u = torch.from_numpy(np.ascontiguousarray(self.solve(b.flatten(1).numpy().T.copy()).T))
        return x - self.operator.adjoint(u.reshape(b.shape))


DIRECT: dict[str, Callable[[LinearMap], Project]] = {
    "scipy.linalg.null_space": null_space,
    "torch.linalg.svd": full_svd,
    "sparse Cholesky": sparse_cholesky,
    "scipy splu of A Aᵀ": sparse_lu,
}
LSMR = "scipy LSMR"
BASELINES = (*DIRECT, LSMR)


def refusal(rival: str, operator: LinearMap, patience: float) -> str | None:
    """Why a baseline should not be started on a map; None if it may.

    Args:
        rival: One of ``BASELINES``.
        operator: Linear map of the case.
        patience: Seconds that a sparse factorisation is expected to take at most.
    """
    if rival == "sparse Cholesky":
        try:
            _cholmod()
        except MissingExtraError as error:
            return str(error)
    if rival in ("scipy.linalg.null_space", "torch.linalg.svd"):
        needed = 8 * (2 * operator.in_dim * operator.out_dim + 2 * operator.in_dim**2 + 2 * operator.out_dim**2)
        if operator.in_dim > COLUMNS or needed > MEMORY:
            size = f"{operator.out_dim} × {operator.in_dim}"
            return f"{size} would take {needed / 2**30:.1f} GiB; measured up to {COLUMNS} columns"
    elif rival in DIRECT:
        sparsity = sparsity_of(operator)
        if sparsity is None:
            return "nothing is known of the sparsity of this map"
        needed = int(32 * sparsity.entries + 30 * sparsity.fill)
        seconds = 4e-9 * sparsity.entries**2 / operator.in_dim + 2.5e-11 * sparsity.fill**1.5
        if needed > MEMORY or seconds > patience:
            return f"{sparsity.fill:.1e} entries of fill would take about {needed / 2**30:.1f} GiB and {seconds:.0f} s"
    return None


class Sparsity(NamedTuple):
    """Estimated number of non-zero entries of A, and of the triangular factors of A Aᵀ."""

    entries: float
    fill: float


def sparsity_of(operator: LinearMap) -> Sparsity | None:
    """The work of a sparse solver; None for maps of unknown structure.

    The fill is the number of entries of the Gram matrix times the logarithm of nested dissection on a grid. Its
    constants, and those of the time, are fitted to splu for the 7×7 stem at sides 16 to 80; at side 224 they give
    CHOLMOD's fill.
    """
    match operator:
        case Convolution():
            reach = [d * (k - 1) + 1 for d, k in zip(operator.dilation, operator.kernel, strict=True)]
            near = prod(2 * -(-r // s) - 1 for r, s in zip(reach, operator.stride, strict=True))
            reads, coupled = operator.weight[0].numel(), near * len(operator.weight) / operator.groups
            positions = operator.out_dim / len(operator.weight)
        case Dense():
            near, reads, coupled = 1, operator.matrix.shape[1], len(operator.matrix)
            positions = operator.out_dim / len(operator.matrix)
        case Kronecker():
            near, positions = 3, operator.out_dim
            reads = prod(_widest(matrix) for matrix in operator.matrices)
            coupled = prod(_widest(matrix @ matrix.T) for matrix in operator.matrices)
        case _:
            return None
    growth = 1.0 if near == 1 else max(1.4, 0.93 * log2(positions) - 5.5)
    return Sparsity(float(operator.out_dim) * reads, operator.out_dim * coupled * growth)


def _widest(matrix: Tensor) -> int:
    """The largest number of non-zero entries of a row."""
    return int((matrix != 0).sum(1).max())


def measure_baseline(case: BenchCase, rival: str, repeats: int, seed: int, patience: float) -> BaselineRow:
    """Measure a baseline on a case in this process.

    Args:
        case: The layer.
        rival: One of ``BASELINES``.
        repeats: Alternating measurements of baseline and lower bound.
        seed: Seed of weights and perturbations, the same as for the case itself.
        patience: Seconds that one kind of measurement, or LSMR in all, may take.

    Raises:
        MemoryError, RuntimeError, numpy.linalg.LinAlgError: The baseline fails.
    """
    operator = case.operator(seed)
    x = noise(operator, 1)
    operator.adjoint(operator.forward(x))
    row = BaselineRow(case.name, case.side, rival)
    if rival == LSMR:
        return lsmr(row, operator, x, patience)
    with peak() as factoring:
        started = time.perf_counter()
        project = DIRECT[rival](operator)
        setup = time.perf_counter() - started
    kept = project.size if isinstance(project, Direct) else held(project, beside=operator)
    one = turns(operator, project, x, repeats, patience)
    batch = affordable(operator, project, patience)
    many = turns(operator, project, noise(operator, batch), repeats, patience)
    few = noise(operator, min(4, batch))
    return replace(
        row,
        setup=setup,
        kept=kept,
        peak=factoring.size,
        seconds_1=one.seconds,
        ratio_1=one.ratio,
        seconds_64=many.seconds * BATCH / batch,
        ratio_64=many.ratio,
        residual=residual(operator, project(few), few),
    )


def lsmr(row: BaselineRow, operator: LinearMap, x: Tensor, patience: float) -> BaselineRow:
    """LSMR on A y = A x from 0, whose solution lies in the row space; P x = x − y.

    It takes one right-hand side at a time; a few iterations show how many the time allows.
    """

    def apply(v: np.ndarray) -> np.ndarray:
        return operator._forward(torch.from_numpy(v.reshape(1, *operator.in_shape))).numpy().ravel()

    def apply_adjoint(v: np.ndarray) -> np.ndarray:
        return operator._adjoint(torch.from_numpy(v.reshape(1, *operator.out_shape))).numpy().ravel()

    matrix = scipy.sparse.linalg.LinearOperator(
        (operator.out_dim, operator.in_dim), matvec=apply, rmatvec=apply_adjoint, dtype=np.float64
    )
    b = apply(x.numpy())

    def run(most: int) -> tuple[np.ndarray, int, int]:
        # Stop at ‖A y − b‖ ≤ btol ‖b‖; the other criteria use an estimate of ‖A‖ that grows with the iterations.
        y, reason, count, *_ = scipy.sparse.linalg.lsmr(matrix, b, atol=0, btol=btol, conlim=0, maxiter=most)
        return y, int(reason), int(count)

    btol = CLOSE * operator.norm() * float(x.norm()) / (float(np.linalg.norm(b)) or 1.0)
    run(2)
    each = taken(lambda: run(8)) / 8
    started = time.perf_counter()
    y, reason, count = run(max(int(patience / each), 8))
    seconds = time.perf_counter() - started
    bounds = turns(operator, lambda v: v, x, 5, patience)
    many = noise(operator, 8 if 8 * 8 * operator.in_dim <= BATCH_BYTES else 1)
    bound_64 = turns(operator, lambda v: v, many, 3, patience).bound * BATCH / len(many)
    left = residual(operator, x - torch.from_numpy(y).reshape(x.shape), x)
    return replace(
        row,
        setup=0.0,
        kept=0,
        peak=0,
        seconds_1=seconds,
        ratio_1=seconds / bounds.bound,
        seconds_64=BATCH * seconds,
        ratio_64=BATCH * seconds / bound_64,
        extrapolated=True,
        finished=reason != ITERATIONS_SPENT and left <= 2 * CLOSE,
        iterations=count,
        residual=left,
    )


def _onto(basis: Tensor) -> Project:
    """N Nᵀ x of a batch, for N with orthonormal columns."""
    return lambda x: ((x.flatten(1) @ basis) @ basis.T).reshape(x.shape)


def _cholmod() -> Callable[[Any], Any]:
    try:
        found: Callable[[Any], Any] = import_module("sksparse.cholmod").cholesky_AAt
    except (ImportError, AttributeError) as error:
        raise MissingExtraError("scikit-sparse, which has cholesky_AAt, is not installed") from error
    return found
