"""Grouped convolutions: block by block as the whole matrix has it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from blindspace.errors import UnsupportedLayerError
from blindspace.maps import Convolution, Dense, LinearMap
from blindspace.solvers import Solver, choose
from blindspace.solvers.projectors.dense import DenseSolver
from blindspace.solvers.projectors.grouped import GroupedSolver
from blindspace.solvers.projectors.krylov import KrylovSolver


def grouped(
    groups: int,
    reads: int,
    makes: int,
    spatial: tuple[int, ...],
    kernel: int = 3,
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    mode: str = "zeros",
) -> Convolution:
    """Random kernels, ``reads`` channels to ``makes`` in each group."""
    axes = len(spatial)
    generator = torch.Generator().manual_seed(groups + 10 * reads + 100 * makes)
    weight = torch.randn(groups * makes, reads, *[kernel] * axes, generator=generator, dtype=torch.float64)
    shape = (groups * reads, *spatial)
    return Convolution(weight, shape, [stride] * axes, [(padding, padding)] * axes, [dilation] * axes, groups, mode)


def noise(shape: tuple[int, ...], batch: int = 3) -> Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def agree(operator: Convolution, batch: int = 3) -> GroupedSolver:
    solver, dense = GroupedSolver(operator, DenseSolver), DenseSolver(operator)
    assert solver.dim == dense.dim
    x = noise(operator.in_shape, batch)
    torch.testing.assert_close(solver.project(x), dense.project(x), rtol=0, atol=1e-11)
    return solver


@pytest.mark.parametrize(
    "operator",
    [
        grouped(5, 1, 1, (9, 8), stride=2),
        grouped(2, 3, 2, (7, 9)),
        grouped(3, 2, 1, (20,), kernel=5, padding=4, dilation=2, mode="reflect"),
        grouped(2, 2, 3, (4, 5, 4), stride=2, mode="circular"),
        grouped(2, 1, 4, (8, 8), mode="replicate"),
        grouped(4, 2, 1, (1, 6), kernel=1, padding=0),
    ],
    ids=str,
)
def test_agrees_with_the_whole_matrix(operator: Convolution) -> None:
    solver = agree(operator)
    sigma = DenseSolver(operator).certificate
    assert solver.certificate.kind == sigma.kind
    assert solver.certificate.sigma_max == pytest.approx(sigma.sigma_max, rel=1e-9)
    assert solver.certificate.sigma_above == pytest.approx(sigma.sigma_above, rel=1e-9)
    assert solver.project(noise(operator.in_shape).float()).dtype == torch.float32
    assert solver.project(noise(operator.in_shape, 0)).shape == (0, *operator.in_shape)


def test_equal_groups_are_solved_once() -> None:
    operator = grouped(6, 1, 1, (8, 8), stride=2)
    operator = Convolution(
        operator.weight[[0, 1, 0, 0, 2, 1]],
        operator.in_shape,
        operator.stride,
        operator.padding,
        operator.dilation,
        operator.groups,
        operator.mode,
    )
    made: list[LinearMap] = []

    def solve(part: LinearMap) -> Solver:
        made.append(part)
        return choose(part)

    solver = GroupedSolver(operator, solve)
    assert len(made) == 3
    assert "6 groups, 3 of them different" in solver.reason
    assert solver.certificate.rank == operator.out_dim
    agree(operator)


def test_gram_inverse() -> None:
    operator = grouped(3, 2, 1, (6, 7))
    solver, b = GroupedSolver(operator, KrylovSolver), noise(operator.out_shape)
    torch.testing.assert_close(operator.forward(operator.adjoint(solver.gram_inverse(b))), b, rtol=0, atol=1e-11)
    operator.weight[1] = 0
    with pytest.raises(UnsupportedLayerError, match="no inverse"):
        GroupedSolver(operator, KrylovSolver).gram_inverse(b)


def test_what_it_serves() -> None:
    assert GroupedSolver.serves(grouped(2, 1, 1, (4, 4)))
    assert not GroupedSolver.serves(grouped(1, 2, 1, (4, 4)))
    assert not GroupedSolver.serves(Dense(torch.ones(2, 2)))
    with pytest.raises(UnsupportedLayerError, match="not a convolution in more than one group"):
        GroupedSolver(grouped(1, 2, 1, (4, 4)), DenseSolver)


@settings(max_examples=20, deadline=None)
@given(
    axes=st.integers(1, 3),
    channels=st.tuples(st.integers(2, 4), st.integers(1, 2), st.integers(1, 3)),
    size=st.integers(3, 5),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    mode=st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
)
def test_any_grouped_convolution(
    axes: int, channels: tuple[int, int, int], size: int, kernel: int, stride: int, padding: int, mode: str
) -> None:
    agree(grouped(*channels, (size,) * axes, kernel, stride, padding, 1, mode), batch=2)
