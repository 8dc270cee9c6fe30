"""Compositions of maps that are onto, with and without a common structure: whatever is certified projects."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from blindspace.errors import UnsupportedLayerError
from blindspace.maps import Convolution, Dense, Diagonal, Gather, Kronecker, LinearMap, Padding, Rearrange, compose
from blindspace.solvers import DenseSolver, choose
from blindspace.solvers import _choose as choice
from blindspace.solvers.projectors.delegating import StructuredSolver
from blindspace.solvers.projectors.diagonal import DiagonalSolver
from blindspace.solvers.rank import modular_elimination
from blindspace.subspaces import nullspace
from oracle import Reference, check_figures


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned(shape: tuple[int, ...], seed: int) -> LinearMap:
    return Rearrange(shape, (shape[0], shape[2], shape[1]), order=(0, 2, 1))


def narrowed(shape: tuple[int, ...], seed: int) -> LinearMap:
    return Dense(random(max(shape[-1] - 1, 1), shape[-1], seed=seed), shape[:-1])


def scaled(shape: tuple[int, ...], seed: int) -> LinearMap:
    return Diagonal(random(*shape, seed=seed).abs() + 0.5, shape)


def cropped(shape: tuple[int, ...], seed: int) -> LinearMap:
    return Padding(shape, [(0, -1 if shape[1] > 1 else 0), (0, 0)])


def shuffled(shape: tuple[int, ...], seed: int) -> LinearMap:
    size = shape[0] * shape[1] * shape[2]
    return Gather(shape, shape, torch.randperm(size, generator=torch.Generator().manual_seed(seed)))


def mixed(shape: tuple[int, ...], seed: int) -> LinearMap:
    weight = random(max(shape[0] - 1, 1), shape[0], 3, 3, seed=seed)
    return Convolution(weight, shape, (1, 1), [(1, 1), (1, 1)], (1, 1))


def pooled(shape: tuple[int, ...], seed: int) -> LinearMap:
    return Kronecker([random(max(n // 2, 1), n, seed=seed) for n in shape[1:]], shape)


FACTORS: list[Callable[[tuple[int, ...], int], LinearMap]] = [
    turned, narrowed, scaled, cropped, shuffled, mixed, pooled,
]  # fmt: skip
"""Each makes a map that is onto, from a shape (C, H, W) and a seed."""


def composition(chosen: list[int], shape: tuple[int, ...] = (3, 6, 5)) -> LinearMap:
    factors: list[LinearMap] = []
    for seed, which in enumerate(chosen):
        factors.append(FACTORS[which](factors[-1].out_shape if factors else shape, seed))
    return compose(*factors)


@given(chosen=st.lists(st.integers(0, len(FACTORS) - 1), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_what_is_certified_projects(chosen: list[int]) -> None:
    operator = composition(chosen)
    oracle = Reference(operator.to_dense().numpy())
    x = random(3, *operator.in_shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "WHOLE_LIMIT", 0)  # as for large maps
        space = nullspace(operator)
    assert space.dim == oracle.dim
    p = space.project(x)
    assert space.residual(x) <= 1e-14
    torch.testing.assert_close(p.flatten(1), torch.from_numpy(oracle.project(x.flatten(1).numpy()).astype(float)))
    check_figures(space.certificate, oracle)


class RowsThenColumns(nn.Module):
    """A matrix over rows, then one over columns."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.rows, self.columns = nn.Linear(size, size // 2), nn.Linear(size, size // 3)

    def forward(self, x: Tensor) -> Tensor:
        turned: Tensor = self.columns(self.rows(x).transpose(-1, -2))
        return turned


@pytest.mark.parametrize("shape", [(3, 12, 12), (12, 12), (2, 3, 12, 12)])
def test_matrices_over_rows_and_columns_are_one_product(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = RowsThenColumns(12)
    rows = Dense(module.rows.weight.detach().double(), shape[:-1])
    axes = range(len(shape))
    swap = Rearrange(rows.out_shape, (*shape[:-2], 6, 12), order=(*axes[:-2], axes[-1], axes[-2]))
    columns = Dense(module.columns.weight.detach().double(), swap.out_shape[:-1])
    operator = compose(rows, swap, columns)
    assert torch.allclose(operator.to_dense(), columns.to_dense() @ swap.to_dense() @ rows.to_dense(), atol=1e-14)
    assert any(isinstance(factor, Kronecker) for factor in operator.factors)
    solver = choose(operator)
    assert solver.name == "separable"
    assert solver.dim == operator.in_dim * (1 - 1 / 6)


@pytest.mark.parametrize("gain", [1.0, -3.0])
def test_the_figures_are_those_of_the_whole(gain: float) -> None:
    """An injective factor of condition 100 after a deficient one; an isometry; a uniform factor."""
    inner = Dense(random(4, 9))
    uneven = Dense(torch.diag(torch.tensor([10, 2, 0.5, 0.1], dtype=torch.float64)))
    isometry = Dense(torch.linalg.qr(random(6, 4)).Q)
    uniform = Diagonal(torch.tensor(gain), (9,))
    for outer, relation in ((uneven, "≥"), (isometry, "=")):
        operator = compose(inner, Rearrange((4,), (4,)), outer) @ uniform
        certificate = choose(operator).certificate
        oracle = Reference(operator.to_dense().numpy())
        assert (certificate.rank, certificate.kind) == (4, "exact")
        check_figures(certificate, oracle)
        assert certificate.tolerance == pytest.approx(9 * 2.0**-52 * oracle.norm, rel=1e-5)
        if relation == "=":
            assert certificate.sigma_above == pytest.approx(oracle.sigma[3], rel=1e-9)


@pytest.mark.parametrize("make", [turned, scaled, cropped, shuffled])
def test_the_inverse_of_the_gram_matrix_of_moves(make: Callable[[tuple[int, ...], int], LinearMap]) -> None:
    operator = make((2, 3, 4), 0)
    b = random(2, *operator.out_shape)
    a = operator.to_dense()
    expected = torch.linalg.solve(a @ a.T, b.flatten(1).T).T.reshape(b.shape)
    torch.testing.assert_close(DiagonalSolver(operator).gram_inverse(b), expected)


def test_the_inverse_of_the_gram_matrix_of_fewer_directions() -> None:
    """The kernels read one direction of three channels; the rest of the solvers refuse a map that is not onto."""
    weight = random(2, 1, 3, 3).expand(-1, 3, -1, -1)
    operator = Convolution(weight, (3, 60, 60), (2, 2), [(1, 1), (1, 1)], (1, 1))
    solver = choose(operator)
    assert isinstance(solver, StructuredSolver)
    b = random(1, *operator.out_shape)
    torch.testing.assert_close(operator._forward(operator._adjoint(solver.gram_inverse(b))), b)
    padded = Padding((2, 3), [(1, 0)])
    with pytest.raises(UnsupportedLayerError, match="singular: the rank is 6 of 8"):
        DiagonalSolver(padded).gram_inverse(random(1, 2, 4))
    twice = Convolution(weight[:1].expand(2, -1, -1, -1), (3, 60, 60), (2, 2), [(1, 1), (1, 1)], (1, 1))
    with pytest.raises(UnsupportedLayerError, match="singular: the rank is 900 of 1800"):
        choose(twice).gram_inverse(b)


def test_a_solver_without_an_inverse_costs_only_the_preconditioner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "WHOLE_LIMIT", 0)

    def refuse(self: DiagonalSolver, b: Tensor) -> Tensor:
        raise UnsupportedLayerError("none to offer")

    monkeypatch.setattr(DiagonalSolver, "_gram_inverse", refuse)
    operator = composition([1, 4, 1])
    solver = choose(operator)
    assert solver.name == "krylov"
    assert "preconditioned" not in solver.reason
    x = random(2, *operator.in_shape)
    torch.testing.assert_close(solver.project(x), DenseSolver(operator).project(x))


@pytest.mark.parametrize("dependent", [False, True])
def test_few_inputs_are_taken_column_by_column(dependent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five inputs grow to an image, as in a decoder: no matrix of a factor is made unless the rank is deficient."""
    matrix = random(64 * 4 * 4, 5)
    matrix[:, 4] = 2 * matrix[:, 0] if dependent else matrix[:, 4]
    grown = Kronecker([torch.eye(4, dtype=torch.float64).repeat_interleave(2, 0)] * 2, (64, 4, 4))
    operator = compose(
        Dense(matrix),
        Rearrange((1024,), (64, 4, 4)),
        grown,
        Convolution(random(32, 64, 3, 3), (64, 8, 8), (1, 1), [(1, 1)] * 2, (1, 1)),
    )
    if not dependent:
        monkeypatch.setattr(Convolution, "_to_scipy", lambda self: pytest.fail("a large matrix was made"))
    solver = choose(operator)
    assert (solver.name, solver.dim, solver.certificate.kind) == ("dense", int(dependent), "exact")
    check_figures(solver.certificate, Reference(operator.to_dense().numpy()))


def test_factors_too_large_for_elimination_leave_a_rank_numerical(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modular_elimination, "MEMORY_LIMIT", 1000)
    matrix = random(1024, 5)
    matrix[:, 4] = 2 * matrix[:, 0]
    operator = compose(Dense(matrix), Dense(random(1024, 1024)))
    assert choose(operator).certificate.kind == "numerical"
