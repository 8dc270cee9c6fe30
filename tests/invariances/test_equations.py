"""The equations of steps: orthonormal rows of Jacobians, and nearest points of the box, beside a slow second way."""

import numpy as np
import pytest
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from blindspace.invariances.demands import Rows
from blindspace.invariances.equations import DENSE, Equations


def dependent(batch: int, rows: int, rank: int, n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(batch, rows, rank, generator=generator, dtype=torch.float64)
    size = torch.logspace(0, -4, rank, dtype=torch.float64)
    return (left * size) @ torch.randn(batch, rank, n, generator=generator, dtype=torch.float64)


def made(j: Tensor, beside: Tensor | None = None) -> Equations:
    return Equations(Rows(j, torch.arange(j.shape[1]), None), j[0, :0] if beside is None else beside)


def test_rows_become_orthonormal_and_keep_their_span() -> None:
    for rows, rank, n in ((12, 5, 20), (7, 7, 9), (DENSE + 9, DENSE + 9, DENSE + 90)):
        j = dependent(2, rows, rank, n, rows)
        v = made(j).jacobian.rows
        if rows <= DENSE:
            assert made(j).rank.tolist() == [rank, rank]
            assert v.shape[1] == rank
        gram = v @ v.mT
        # Many rows are made so by a factor of their Gram matrix, which is shifted by a little.
        off = 1e-4 if rows <= DENSE else 0.1
        torch.testing.assert_close(gram, torch.eye(v.shape[1], dtype=torch.float64).expand_as(gram), atol=off, rtol=0)
        left = j - (j @ v.mT) @ v
        assert float(left.norm() / j.norm()) < 1e-6


@pytest.mark.parametrize("lowest", [-4, -9])  # of the condition number, J Jᵀ would have the square
def test_of_many_dependent_rows_as_many_as_are_independent_are_chosen(lowest: int) -> None:
    generator = torch.Generator().manual_seed(lowest)
    k, n, ranks = DENSE + 90, DENSE + 9, (60, 41)
    j = torch.zeros(2, k, n, dtype=torch.float64)
    for each, rank in zip(j, ranks, strict=True):
        size = torch.logspace(0, lowest, rank, dtype=torch.float64)
        some = torch.linalg.qr(torch.randn(n, rank, generator=generator, dtype=torch.float64)).Q
        each[:] = torch.randn(k, rank, generator=generator, dtype=torch.float64) * size @ some.T
    equations = made(j)
    assert equations.rank.tolist() == list(ranks)
    for each, rank, v, least in zip(j, ranks, equations.jacobian.rows, equations.least, strict=True):
        _, s, right = torch.linalg.svd(each)
        torch.testing.assert_close(v.T @ v, right[:rank].T @ right[:rank], atol=1e-5, rtol=0)
        assert 0 < float(least) <= float(s[rank - 1] / s[0])
    step = torch.stack([each.T @ torch.randn(k, generator=generator, dtype=torch.float64) for each in j])
    change = (j @ step[:, :, None])[:, :, 0]
    residual = equations.residual(change, torch.zeros_like(step))
    torch.testing.assert_close(equations.jacobian.adjoint(residual), step, atol=1e-6 * float(step.norm()), rtol=0)


def test_many_independent_rows_by_a_cholesky_factor_and_dependent_ones_by_pivoting() -> None:
    for rows, rank in ((DENSE + 9, DENSE + 9), (DENSE + 9, 40)):
        j = dependent(1, rows, rank, DENSE + 90, rank)
        equations = made(j)
        assert equations.rank.tolist() == [rank]
        s = torch.linalg.svdvals(j[0])
        assert 0 < float(equations.least[0]) <= float(s[rank - 1] / s[0])  # a lower bound …
        assert float(equations.least[0]) >= float(s[rank - 1] / s[0]) / rank  # … and not an idle one
        change = (j @ torch.full((1, j.shape[2], 1), 1e-3, dtype=torch.float64))[:, :, 0]
        residual = equations.residual(change, torch.zeros(1, j.shape[2], dtype=torch.float64))
        slow = torch.linalg.pinv(j[0], rtol=1e-9) @ change[0]
        assert float(equations.shortest(residual)[0]) == pytest.approx(float(slow.norm()), rel=1e-6)


def test_nearest_points_are_those_of_a_quadratic_programme() -> None:
    generator = torch.Generator().manual_seed(3)
    n = 12
    j = dependent(4, 6, 3, n, 1)
    equations = made(j)
    base = torch.rand(4, n, generator=generator, dtype=torch.float64)
    base[:, ::3] = 0.0
    base[:, 1] = 1.0
    points = base + torch.randn(4, n, generator=generator, dtype=torch.float64)
    box = torch.zeros_like(base), torch.ones_like(base)
    residual = torch.zeros(4, equations.jacobian.rows.shape[1], dtype=torch.float64)
    found = equations.nearest(points, base, residual, box, torch.zeros(4, dtype=torch.float64))
    assert torch.equal(found, found.clamp(0, 1))
    assert float((j @ (found - base)[:, :, None]).abs().max()) < 1e-11
    for one, point, rows, here in zip(found, points.numpy(), j.numpy(), base.numpy(), strict=True):
        span = _span(rows)
        slow = scipy.optimize.minimize(
            lambda z, p=point: 0.5 * float((z - p) @ (z - p)),
            here,
            jac=lambda z, p=point: z - p,
            method="SLSQP",
            bounds=[(0, 1)] * n,
            constraints={"type": "eq", "fun": lambda z, a=span, h=here: a @ (z - h), "jac": lambda z, a=span: a},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert slow.success
        np.testing.assert_allclose(one.numpy(), slow.x, atol=1e-6)


def _span(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    _, s, vt = np.linalg.svd(rows)
    found: NDArray[np.float64] = vt[: int((s > 1e-10 * s[0]).sum())]
    return found


def test_a_residual_is_undone_and_what_is_beside_stays() -> None:
    j = dependent(3, 8, 4, 15, 2)
    v = made(j).jacobian.rows
    beside = torch.linalg.svd(v[0])[2][-2:]  # orthogonal to the rows of the first image
    equations = made(j[:1], beside)
    here = torch.full((1, 15), 0.5, dtype=torch.float64)
    change = (j[:1] @ torch.full((1, 15, 1), 1e-3, dtype=torch.float64))[:, :, 0]
    residual = equations.residual(change, torch.zeros_like(here))
    box = torch.zeros_like(here), torch.ones_like(here)
    step = equations.nearest(here, here, residual, box, torch.zeros(1, dtype=torch.float64)) - here
    torch.testing.assert_close((j[:1] @ step[:, :, None])[:, :, 0], -change, atol=1e-10, rtol=0)
    assert float((beside @ step[0]).abs().max()) < 1e-12
