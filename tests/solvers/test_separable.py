"""The separable solver against the refined oracle of the whole matrix."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from blindspace.errors import UnsupportedLayerError
from blindspace.maps import Convolution, Kronecker, LinearMap, compose, from_module
from blindspace.maps.operations import resize
from blindspace.solvers.projectors.dense import DenseSolver
from blindspace.solvers.projectors.separable import TAME, SeparableSolver
from cases import POOLS, RESIZES, Case, falling
from oracle import Array, LongArray, Reference, reference

SEPARABLE = [case for case in [*POOLS, *RESIZES] if SeparableSolver.serves(from_module(*case.make()))]
every_case = pytest.mark.parametrize("case", SEPARABLE, ids=lambda case: case.id)
DTYPES = pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-15), (torch.float32, 1e-6)])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@cache
def solver_of(case: Case) -> SeparableSolver:
    operator = from_module(*case.make())
    assert isinstance(operator, Kronecker)
    return SeparableSolver(operator)


def vectors_for(operator: LinearMap) -> Tensor:
    """Gaussian noise, a constant, and vectors of the row space, of length 1, ``(6, *in_shape)``."""
    rows = operator.adjoint(noise(2, *operator.out_shape, seed=1))
    vectors = torch.cat([noise(3, *operator.in_shape), torch.ones(1, *operator.in_shape), rows]).flatten(1)
    vectors /= vectors.norm(dim=1, keepdim=True).clamp(min=1e-300)
    return vectors.reshape(-1, *operator.in_shape)


def flat(x: Tensor) -> Array:
    rows: Array = x.double().flatten(1).numpy()
    return rows


def largest(rows: Array | LongArray) -> float:
    return float(np.linalg.norm(rows.astype(np.float64), axis=1).max())


def check(solver: SeparableSolver, oracle: Reference) -> None:
    """All properties of a projector, against the oracle of the whole matrix."""
    x = vectors_for(solver.operator)
    p = solver.project(x)
    assert solver.dim == oracle.dim
    assert np.abs(flat(p) - oracle.project(flat(x))).max() <= 1e-13
    assert largest(oracle.residual(flat(p))) <= 1e-15 * oracle.norm
    assert largest(oracle.residual(flat(solver.project(x.float())))) <= 1e-6 * oracle.norm
    assert float((solver.project(p) - p).abs().max()) <= 1e-13
    free = torch.from_numpy(~oracle.matrix.any(0)).reshape(solver.operator.in_shape)
    assert torch.equal(p[:, free], x[:, free])
    certificate = solver.certificate
    assert certificate.rank == oracle.rank
    assert certificate.sigma_max == pytest.approx(oracle.norm, rel=1e-10)
    if oracle.rank:
        assert certificate.sigma_above == pytest.approx(oracle.sigma[oracle.rank - 1], rel=1e-6)
    if certificate.sigma_above is not None:
        assert certificate.tolerance < certificate.sigma_above


# --- the registry ------------------------------------------------------------------------------------------


def test_it_serves_every_pool_and_every_chain_of_resizes_that_is_one_map() -> None:
    apart = {case.id for case in [*POOLS, *RESIZES]} - {case.id for case in SEPARABLE}
    assert apart == {"resize-crop-normalise", "resize-down-up", "resize-conv"}
    assert not SeparableSolver.serves(Convolution(noise(1, 1, 3, 3), (1, 5, 5), (1, 1), [(0, 0)] * 2, (1, 1)))


@every_case
def test_as_the_oracle(case: Case) -> None:
    check(solver_of(case), reference(case))


@every_case
def test_certificate_and_reason(case: Case) -> None:
    solver = solver_of(case)
    assert case.dim in (None, solver.dim)
    assert case.kind in (None, solver.certificate.kind)
    assert solver.certificate.kind in ("exact", "numerical")
    assert "\n" not in solver.reason + str(solver.certificate)
    assert solver.name == "separable"


@every_case
def test_certificate_as_the_dense_solver_gives_it(case: Case) -> None:
    ours, dense = solver_of(case).certificate, DenseSolver(solver_of(case).operator).certificate
    assert ours.rank == dense.rank
    # Where one axis grows and another shrinks, each has full rank but the whole matrix has not.
    assert ours.kind == dense.kind or (ours.kind, dense.kind) == ("exact", "numerical")
    assert ours.tolerance == pytest.approx(dense.tolerance, rel=1e-6, abs=0)


# --- matrices of every kind --------------------------------------------------------------------------------


def matrix(kind: str, out: int, size: int, seed: int) -> Tensor:
    """A matrix along one axis, of a kind that is treated in its own way."""
    made = noise(out, size, seed=seed)
    match kind:
        case "identity":
            return torch.eye(size, dtype=torch.float64)
        case "permutation":
            return torch.eye(size, dtype=torch.float64)[torch.randperm(size, generator=torch.Generator())]
        case "selection":
            return torch.eye(size, dtype=torch.float64)[:: max(size // out, 1)]
        case "orthogonal rows":
            return torch.kron(torch.eye(out, dtype=torch.float64), torch.full((1, 2), 0.5, dtype=torch.float64))
        case "deficient":
            whole = torch.randint(-3, 4, (out, 1), generator=torch.Generator().manual_seed(seed)) + 4
            return whole.double() @ torch.arange(1, size + 1)[None].double()
        case "zero rows and columns":
            made[::2] = 0
            made[:, ::3] = 0
        case "zero":
            made.zero_()
        case "tiny":
            made *= 1e-60
    return made


KINDS = [
    "any",
    "identity",
    "permutation",
    "selection",
    "orthogonal rows",
    "deficient",
    "zero rows and columns",
    "tiny",
    "zero",
]


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(1, 7), st.integers(1, 7), st.integers(0, 9)),
        max_size=3,
        min_size=1,
    ),
    st.sampled_from([(), (1,), (2,), (2, 3)]),
)
def test_any_matrices(axes: list[tuple[str, int, int, int]], leading: tuple[int, ...]) -> None:
    assume(sum(axis[0] == "tiny" for axis in axes) <= 1)
    matrices = [matrix(*axis) for axis in axes]
    operator = Kronecker(matrices, (*leading, *(made.shape[1] for made in matrices)))
    assume(operator.in_dim <= 400 and operator.out_dim <= 400)
    oracle = Reference(operator.to_scipy().toarray())
    # Ill-conditioned matrices are tested below.
    assume(oracle.rank == 0 or oracle.sigma[0] < 1e3 * oracle.sigma[oracle.rank - 1])
    check(SeparableSolver(operator), oracle)


def blur(size: int, width: int) -> Tensor:
    """A mean over ``width`` neighbours, zeros outside, ``(size, size)``."""
    return ((torch.arange(size)[:, None] - torch.arange(size)).abs() <= width // 2).double() / width


@pytest.mark.parametrize(
    "second",
    [blur(11, 3), noise(5, 11), torch.eye(11, dtype=torch.float64)],
    ids=["blurred", "read by 5", "left alone"],
)
def test_deficient_along_an_axis(second: Tensor) -> None:
    """The nullspace of a mean of three over 3k + 2 pixels holds one wave."""
    operator = Kronecker([blur(11, 3), second], (2, 11, 11))
    solver, oracle = SeparableSolver(operator), Reference(operator.to_scipy().toarray())
    check(solver, oracle)
    assert solver.axes[0].certificate.rank == 10
    assert solver.certificate.sigma_below is not None
    assert solver.certificate.sigma_below <= 1e-15


@pytest.mark.parametrize(("last", "shape"), [(1e-2, (20, 30)), (1e-5, (20, 30)), (1e-5, (24, 27)), (1e-7, (20, 30))])
def test_ill_conditioned(last: float, shape: tuple[int, int]) -> None:
    """The error grows with the condition number, the residual does not."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        operator = Kronecker([falling(*shape, last), noise(3, 5)], (*shape[1:], 5))
    solver, oracle = SeparableSolver(operator), Reference(operator.to_scipy().toarray())
    assert solver.axes[0].certificate.condition > TAME
    x = vectors_for(operator)
    p = solver.project(x)
    assert solver.dim == oracle.dim
    assert largest(oracle.residual(flat(p))) <= 1e-15 * oracle.norm
    assert np.abs(flat(p) - oracle.project(flat(x))).max() <= 1e-16 / last + 1e-15


def test_undecided_along_an_axis_is_undecided() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vague = falling(30, 40, 1e-20)
    assert SeparableSolver(Kronecker([vague, noise(2, 3)], (40, 3))).certificate.kind == "undecided"


def test_undecided_where_only_the_products_have_no_gap() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        steep = falling(6, 8, 1e-9)
    whole = SeparableSolver(Kronecker([steep, steep], (8, 8)))
    assert [axis.certificate.kind for axis in whole.axes] == ["exact", "exact"]
    assert (whole.certificate.rank, whole.certificate.kind) == (36, "undecided")


# --- the inverse of A Aᵀ -----------------------------------------------------------------------------------


@every_case
def test_gram_inverse(case: Case) -> None:
    solver, oracle = solver_of(case), reference(case)
    b = noise(3, *solver.operator.out_shape)
    if oracle.rank < solver.operator.out_dim:
        with pytest.raises(UnsupportedLayerError, match=r"no inverse.*rows along an axis"):
            solver.gram_inverse(b)
        return
    u = solver.gram_inverse(b)
    assert float((solver.operator.forward(solver.operator.adjoint(u)) - b).abs().max()) <= 1e-13


# --- photographs -------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_photograph(mode: str, dtype: torch.dtype, bound: float) -> None:
    operator = resize((3, 270, 480), (64, 64), mode, antialias=True)
    solver = SeparableSolver(operator)
    assert (solver.dim, solver.certificate.kind) == (3 * (270 * 480 - 64 * 64), "exact")
    x = torch.cat([noise(1, 3, 270, 480), torch.ones(1, 3, 270, 480), operator.adjoint(noise(1, 3, 64, 64))]).to(dtype)
    # One at a time: a second pass for one image of a batch is one for all.
    p = torch.cat([solver.project(image[None]) for image in x]).double()
    left = operator.forward(p).flatten(1).norm(dim=1) / x.double().flatten(1).norm(dim=1)
    assert float(left.max()) <= bound * solver.certificate.sigma_max
    assert float((solver.project(p) - p).abs().max()) <= 1e-13 if dtype == torch.float64 else True
    assert SeparableSolver.cost(operator).memory < DenseSolver.cost(operator).memory / 1000


@every_case
def test_a_small_remainder_lies_in_the_nullspace(case: Case) -> None:
    """If a vector lies in the row space but for a trace, the trace is found, not the rounding of the rest."""
    solver, oracle = solver_of(case), reference(case)
    seen, *_, unseen = vectors_for(solver.operator).flip(0)[:, None]
    trace = 1e-9 * solver.project(unseen)
    if not solver.dim:
        return
    p = solver.project(seen + trace)
    assert largest(oracle.residual(flat(p))) <= 1e-14 * oracle.norm * float(p.norm())
    assert float((p - trace).norm()) <= 1e-6 * float(trace.norm())


@pytest.mark.parametrize("factor", [1e-60, 1e60])
def test_weights_of_any_size_in_float32(factor: float) -> None:
    operator = resize((2, 15, 16), (7, 9), antialias=True)
    scaled = Kronecker([factor * matrix for matrix in operator.matrices[:1]] + operator.matrices[1:], operator.in_shape)
    x = noise(2, *operator.in_shape).float()
    assert torch.allclose(SeparableSolver(scaled).project(x), SeparableSolver(operator).project(x), rtol=0, atol=1e-6)


def test_a_resize_to_more_pixels_is_injective() -> None:
    x = noise(2, 3, 5, 6)
    assert not SeparableSolver(resize((3, 5, 6), (11, 9))).project(x).any()


def test_folded_preprocessing() -> None:
    first, second = resize((1, 40, 30), (25, 20), antialias=True), resize((1, 25, 20), (9, 11), "bicubic")
    operator = compose(first, second)
    assert isinstance(operator, Kronecker)
    check(SeparableSolver(operator), Reference((second.to_scipy() @ first.to_scipy()).toarray()))


# --- layouts, autograd, batches ----------------------------------------------------------------------------

MAP = resize((3, 40, 36), (18, 20), "bicubic", antialias=True)


def test_memory_layout_and_batch_do_not_matter() -> None:
    solver, x = SeparableSolver(MAP), noise(4, 3, 40, 36)
    expected = solver.project(x)
    for layout in (x.contiguous(memory_format=torch.channels_last), x.mT.contiguous().mT, torch.cat([x, x])[4:]):
        assert float((solver.project(layout) - expected).abs().max()) <= 4e-15
    assert float((torch.cat([solver.project(image[None]) for image in x]) - expected).abs().max()) <= 4e-15
    assert float((solver.project(x[:1].expand(3, -1, -1, -1)) - expected[:1]).abs().max()) <= 4e-15
    assert solver.project(x[:0]).shape == (0, 3, 40, 36)
    assert solver.project(x.half()).dtype == torch.float16


@pytest.mark.parametrize(
    "operator", [MAP, resize((3, 20, 22), (18, 20), antialias=True), Kronecker([noise(2, 9)], (9,))]
)
def test_gradients_pass_through_and_inputs_stay(operator: Kronecker) -> None:
    solver = SeparableSolver(operator)
    x, y = noise(2, *operator.in_shape).requires_grad_(), noise(2, *operator.in_shape, seed=1)
    kept = x.detach().clone()
    (gradient,) = torch.autograd.grad((solver.project(x) * y).sum(), x)
    assert float((gradient - solver.project(y)).abs().max()) <= 1e-14
    assert torch.equal(x.detach(), kept)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_inverses_of_long_axes_are_banded(dtype: torch.dtype, atol: float) -> None:
    """What decays below rounding is left out; in float32 it would be subnormal, and products several times as slow."""
    matrix = torch.zeros(120, 242, dtype=torch.float64)
    for row in range(120):
        matrix[row, 2 * row : 2 * row + 4] = torch.tensor([0.25, 0.75, 0.75, 0.25])
    solver = SeparableSolver(Kronecker([matrix, matrix[:50, :102]], (2, 242, 102)))
    b = noise(2, 2, 120, 50).to(dtype)
    first, second = (torch.linalg.inv(m @ m.mT) for m in (matrix, matrix[:50, :102]))
    torch.testing.assert_close(solver.rough_gram_inverse(b), (first @ b.double() @ second).to(dtype), rtol=0, atol=atol)
    for inverse in solver._inverse.matrices:
        entries = inverse.float().abs()
        assert not bool(((entries > 0) & (entries < torch.finfo(torch.float32).tiny)).any())
        assert bool((inverse == 0).any())
