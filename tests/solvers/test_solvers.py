"""Every solver against a refined dense oracle: rank, projection, residual and certificate."""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blindspace.errors import BlindspaceWarning, TooLargeError, UnsupportedLayerError
from blindspace.maps import Convolution, Dense, LinearMap, from_module
from blindspace.solvers import Certificate, Solver, choose
from blindspace.solvers.projectors.dense import DenseSolver
from blindspace.solvers.projectors.patchwise import PatchwiseSolver
from blindspace.solvers.rank.certificate import judge, merge
from blindspace.subspaces import nullspace
from cases import BIG_CASES, CASES, Case, falling
from oracle import Array, LongArray, Reference, check_figures, matrix_of, reference

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
big_case = pytest.mark.parametrize("case", BIG_CASES, ids=lambda case: case.id)

GAUSSIAN = 4
"""The first vectors of a batch are Gaussian; residuals of the others may be some ε larger."""


@cache
def solver_of(case: Case) -> Solver:
    return choose(from_module(*case.make()))


@cache
def vectors_of(case: Case) -> Array:
    """Gaussian noise, a constant, a flat image with noise, and vectors of the row space; of length 1, ``(B, n)``."""
    generator, operator = np.random.default_rng(3), solver_of(case).operator
    noise = generator.standard_normal((GAUSSIAN, operator.in_dim))
    flat = np.stack([np.ones(operator.in_dim), 0.5 + 0.1 * noise[0]])
    outputs = torch.from_numpy(generator.standard_normal((2, *operator.out_shape)))
    rows = operator.adjoint(outputs).reshape(2, -1).numpy()
    vectors: Array = np.concatenate([noise, flat, rows])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-300)
    return vectors


def project(solver: Solver, vectors: Array, dtype: torch.dtype = torch.float64) -> Array:
    x = torch.from_numpy(vectors).to(dtype).reshape(-1, *solver.operator.in_shape)
    kept = x.clone()
    p = solver.project(x)
    assert p.dtype == dtype
    assert p.shape == x.shape
    assert torch.equal(x, kept), "the input was changed"
    return p.double().reshape(len(x), -1).numpy()


def lengths(vectors: LongArray | Array) -> Array:
    lengths: Array = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return lengths


# --- every case -------------------------------------------------------------------------------------------


@every_case
def test_dimension(case: Case) -> None:
    solver, oracle = solver_of(case), reference(case)
    assert solver.dim == oracle.dim
    assert case.dim in (None, solver.dim)
    assert solver.certificate.rank == oracle.rank


@every_case
def test_projection_is_the_refined_oracle_s(case: Case) -> None:
    vectors = vectors_of(case)
    assert np.abs(project(solver_of(case), vectors) - reference(case).project(vectors)).max() <= 1e-13


@every_case
def test_residual(case: Case) -> None:
    oracle, vectors = reference(case), vectors_of(case)
    for dtype, bound in ((torch.float64, 1e-15), (torch.float32, 1e-6)):
        residual = lengths(oracle.residual(project(solver_of(case), vectors, dtype)))
        assert residual[:GAUSSIAN].max() <= bound * oracle.norm
        # A single pass leaves some ε of the part it takes away, which is all of a row space vector.
        assert residual.max() <= 4 * bound * oracle.norm


@every_case
def test_projector_is_symmetric_and_idempotent(case: Case) -> None:
    solver = solver_of(case)
    if solver.operator.in_dim > 700:
        once = project(solver, vectors_of(case))
        assert lengths(project(solver, once) - once).max() <= 1e-13
        return
    p = project(solver, np.eye(solver.operator.in_dim))
    assert np.linalg.norm(p @ p - p, 2) <= 1e-13
    assert np.linalg.norm(p - p.T, 2) <= 1e-13
    assert np.trace(p) == pytest.approx(solver.dim, abs=1e-9)


@every_case
def test_two_orthogonal_parts(case: Case) -> None:
    solver, vectors = solver_of(case), vectors_of(case)
    parallel = project(solver, vectors)
    orthogonal = vectors - parallel
    assert np.allclose(lengths(parallel) ** 2 + lengths(orthogonal) ** 2, lengths(vectors) ** 2, rtol=1e-13, atol=0)
    assert np.abs((parallel * orthogonal).sum(1)).max() <= 1e-13
    assert lengths(project(solver, orthogonal)).max() <= 1e-13


@every_case
def test_unread_values_are_free_to_the_last_bit(case: Case) -> None:
    free = ~reference(case).matrix.any(0)
    vectors = vectors_of(case)
    assert np.array_equal(project(solver_of(case), vectors)[:, free], vectors[:, free])


def test_some_cases_have_unread_values() -> None:
    assert sum(not reference(case).matrix.any(0).all() for case in CASES) >= 8


@every_case
def test_certificate(case: Case) -> None:
    solver, oracle = solver_of(case), reference(case)
    certificate = solver.certificate
    assert case.solver in (None, solver.name)
    assert case.kind in (None, certificate.kind)
    assert certificate.kind != "undecided"
    assert solver.reason
    assert "\n" not in solver.reason + str(certificate)
    rows, columns = oracle.matrix.any(1).sum(), oracle.matrix.any(0).sum()  # nonzero ones
    if oracle.rank == min(rows, columns):
        assert certificate.kind == "exact"
    if certificate.sigma_above is not None:
        assert certificate.tolerance < certificate.sigma_above <= certificate.sigma_max
    check_figures(certificate, oracle)
    if isinstance(solver.operator, Dense | Convolution):  # of composed maps only a part is factored
        assert certificate.sigma_above_is == "="


@every_case
def test_patchwise_serves_exactly_the_convolutions_without_overlap(case: Case) -> None:
    """By counting, on an image large enough, the output positions that read each input value."""
    operator = solver_of(case).operator
    if not isinstance(operator, Convolution):
        return
    assert (solver_of(case).name == "patchwise") == PatchwiseSolver.serves(operator)
    shape = [
        n + 3 * (d * k + s)
        for n, d, k, s in zip(operator.in_shape[1:], operator.dilation, operator.kernel, operator.stride, strict=True)
    ]
    kernel = torch.ones(1, 1, *operator.kernel, dtype=torch.float64)
    ones = Convolution(kernel, (1, *shape), operator.stride, operator.padding, operator.dilation, 1, operator.mode)
    readers = ones.adjoint(torch.ones(1, *ones.out_shape, dtype=torch.float64))
    assert PatchwiseSolver.serves(operator) == (float(readers.max()) <= 1)


# --- large layers -----------------------------------------------------------------------------------------


@big_case
def test_large_layer(case: Case) -> None:
    solver, vectors = solver_of(case), vectors_of(case)
    operator, certificate = solver.operator, solver.certificate
    assert (solver.dim, certificate.kind) == (case.dim, case.kind)
    matrix = operator.to_scipy().astype(np.longdouble)
    for dtype, bound in ((torch.float64, 1e-15), (torch.float32, 1e-6)):
        once = project(solver, vectors, dtype)
        residual = lengths((matrix @ once.T.astype(np.longdouble)).T)
        assert residual[:GAUSSIAN].max() <= bound * operator.norm()
        assert residual.max() <= 4 * bound * operator.norm()
    once = project(solver, vectors)
    assert lengths(project(solver, once) - once).max() <= 1e-13
    other = np.roll(vectors, 1, 0)
    assert np.abs((project(solver, other) * vectors).sum(1) - (other * once).sum(1)).max() <= 1e-13


@pytest.mark.parametrize("case", [case for case in BIG_CASES if case.id in ("luminance-32", "patches-padded-16")])
def test_large_layer_is_the_refined_oracle_s(case: Case) -> None:
    oracle = Reference(matrix_of(*case.make()))
    vectors = vectors_of(case)[:4]
    assert oracle.dim == case.dim
    assert np.abs(project(solver_of(case), vectors) - oracle.project(vectors)).max() <= 1e-13


# --- both ways of factoring, and ill-conditioned matrices -------------------------------------------------

ROUTES = pytest.mark.parametrize("svd_limit", [640, 0], ids=["svd", "gram"])
DENSE = ["conv1d-strided", "conv2d-wide-padding", "conv2d-overdetermined", "conv2d-duplicates", "conv2d-gabor"]


@ROUTES
@pytest.mark.parametrize("case", [case for case in CASES if case.id in DENSE], ids=lambda case: case.id)
def test_both_routes_agree(case: Case, svd_limit: int) -> None:
    operator, oracle, vectors = from_module(*case.make()), reference(case), vectors_of(case)
    solver = DenseSolver(operator, svd_limit=svd_limit)
    assert (solver.certificate.method.startswith("SVD")) == (svd_limit > 0)
    assert solver.dim == oracle.dim
    assert np.abs(project(solver, vectors) - oracle.project(vectors)).max() <= 1e-13


def repeated(columns: int, last: float, extra: int) -> Tensor:
    """A matrix of rank 60 with singular values that fall to about ``last``, ``(60 + extra, columns)``."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        matrix = falling(60, columns, last)
        return torch.cat([matrix, torch.randn(extra, 60, dtype=torch.float64) @ matrix / 8])


@pytest.mark.parametrize("last", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize(
    ("columns", "extra", "svd_limit"),
    [(90, 0, 640), (90, 0, 0), (60, 40, 640), (60, 40, 0), (100, 10, 640)],
    ids=["wide-svd", "wide-gram", "tall-svd", "tall-gram", "deficient-svd"],
)
def test_ill_conditioned(columns: int, extra: int, svd_limit: int, last: float) -> None:
    """The error grows with the condition number, the residual does not."""
    matrix = repeated(columns, last, extra)
    solver, oracle = DenseSolver(Dense(matrix), svd_limit=svd_limit), Reference(matrix.numpy())
    vectors = np.random.default_rng(0).standard_normal((4, columns))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    p = project(solver, vectors)
    assert solver.dim == oracle.dim == columns - 60
    assert lengths(oracle.residual(p)).max() <= 1e-15 * oracle.norm
    assert np.abs(p - oracle.project(vectors)).max() <= 1e-16 / last + 1e-15


@ROUTES
@pytest.mark.parametrize("shape", [(90, 0), (60, 40)], ids=["wide", "tall"])
def test_smallest_singular_value_is_resolved(shape: tuple[int, int], svd_limit: int) -> None:
    """Also through a Gram matrix, whose own eigenvalues end at 1e-8."""
    matrix = repeated(shape[0], 1e-10, shape[1])
    certificate = DenseSolver(Dense(matrix), svd_limit=svd_limit).certificate
    assert certificate.rank == 60
    assert certificate.sigma_above == pytest.approx(Reference(matrix.numpy()).sigma[-1], rel=1e-3)


# --- certificates -----------------------------------------------------------------------------------------


def test_undecided_rank_warns_with_the_figures() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        operator = Dense(falling(60, 80, 1e-20))
    assert choose(operator).certificate.kind == "undecided"
    with pytest.warns(BlindspaceWarning, match=r"^the rank of Dense.* is undecided: rank 4\d.*tolerance.*\Z"):
        space = nullspace(operator)
    assert space.certificate.kind == "undecided"


def test_decided_rank_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nullspace(nn.Conv2d(1, 2, 3), (1, 6, 6)).certificate.kind == "exact"


SHAPE = (100, 50)
TOLERANCE = 100 * 2.0**-52


@pytest.mark.parametrize(
    ("sigma", "rank", "kind", "above", "below"),
    [
        ([2.0, 1.0, 0.5], 3, "exact", 0.5, None),
        ([1.0, 0.5, 1e-17], 2, "numerical", 0.5, 1e-17),
        ([1.0, 0.0], 1, "numerical", 1.0, 0.0),
        ([1.0, 1e-11, 1e-15], 2, "numerical", 1e-11, 1e-15),
        ([1.0, 1e-12, 1e-14], 2, "undecided", 1e-12, 1e-14),
        ([1.0, 0.5, 5 * TOLERANCE], 3, "undecided", 5 * TOLERANCE, None),
        ([1.0, 0.5, 5 * TOLERANCE, 0.0], 3, "undecided", 5 * TOLERANCE, 0.0),
        ([1.0, 0.5, 20 * TOLERANCE], 3, "exact", 20 * TOLERANCE, None),
        ([0.0, 0.0], 0, "exact", None, 0.0),
        ([], 0, "exact", None, None),
    ],
)
def test_judge(sigma: list[float], rank: int, kind: str, above: float | None, below: float | None) -> None:
    found = judge(np.array(sigma), SHAPE, "by hand")
    assert (found.rank, found.kind, found.sigma_above, found.sigma_below) == (rank, kind, above, below)
    assert found.method == "by hand"
    assert found.tolerance == (TOLERANCE * sigma[0] if sigma else 0)
    assert found.condition == (sigma[0] / above if above else 1)


@pytest.mark.parametrize("factor", [1e-150, 1e150])
def test_judge_does_not_depend_on_scale(factor: float) -> None:
    sigma = np.array([1, 0.1, 1e-17])
    one, other = judge(sigma, SHAPE, ""), judge(factor * sigma, SHAPE, "")
    assert (one.rank, one.kind) == (other.rank, other.kind)


def test_merge_adds_ranks_and_keeps_the_worst() -> None:
    exact, gap = judge(np.array([4.0, 2.0]), (2, 2), ""), judge(np.array([3.0, 1e-17]), (2, 2), "")
    unsure = judge(np.array([1.0, 2e-15, 1e-16]), (3, 3), "")
    both = merge([(exact, 5), (gap, 2), (unsure, 0)])
    assert (both.rank, both.kind, both.method) == (12, "numerical", "")
    assert (both.sigma_max, both.sigma_above, both.sigma_below) == (4.0, 2.0, 1e-17)
    assert merge([(exact, 1), (unsure, 1)]).kind == "undecided"
    assert merge([]).rank == 0


def test_certificate_as_plain_values_and_one_line() -> None:
    found = judge(np.array([4.0, 2.0, 1e-17]), (3, 3), "SVD")
    assert Certificate(**found.to_dict()) == found
    assert re.match(r"rank 2, numerical by SVD \(σ 2, then 1e-17; tolerance \S+\)\Z", str(found))


def test_an_outer_factor_is_removed_only_if_it_is_proved_injective() -> None:
    generator = torch.Generator().manual_seed(0)
    inner = Dense(torch.randn(4, 9, generator=generator, dtype=torch.float64))
    for smallest, dropped in ((1e-3, True), (3e-15, False), (0.0, False)):
        outer = Dense(torch.diag(torch.tensor([1, 0.5, 0.1, smallest], dtype=torch.float64)))
        solver = choose(outer @ inner)
        assert ("is injective" in solver.reason) == dropped
        assert solver.dim == (5 if dropped else 6)


# --- refusals, layouts, autograd --------------------------------------------------------------------------


def test_dense_solver_refuses_before_it_allocates() -> None:
    operator = from_module(nn.Conv2d(3, 10, 7, 2, 3), (3, 224, 224))
    with pytest.raises(TooLargeError, match=r"^(?=.*GiB)(?=.*125440 × 150528)(?=.*8\.0 GiB).+\Z"):
        DenseSolver(operator)
    with pytest.raises(TooLargeError, match="64 × 192"):
        DenseSolver(from_module(nn.Conv2d(3, 4, 3, 2, 1), (3, 8, 8)), limit=100_000)


def test_patchwise_refuses_overlapping_patches() -> None:
    overlapping = from_module(nn.Conv2d(3, 2, 3, 2), (3, 8, 8))
    assert isinstance(overlapping, Convolution)
    with pytest.raises(UnsupportedLayerError, match="values are read twice"):
        PatchwiseSolver(overlapping)
    cropping = Convolution(torch.randn(2, 3, 2, 2).double(), (3, 6, 6), (2, 2), ((-1, 0), (0, -1)), (1, 1))
    with pytest.raises(UnsupportedLayerError, match="padding is negative"):
        PatchwiseSolver(cropping)
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dense = cropping.to_dense()
    expected = x.flatten(1) - x.flatten(1) @ (torch.linalg.pinv(dense) @ dense).T
    assert torch.allclose(nullspace(cropping).project(x).flatten(1), expected, atol=1e-12)


LAYOUTS: list[Any] = [nn.Conv2d(3, 2, 3, 2, 1), nn.Conv2d(3, 2, 2, 2), nn.Conv2d(3, 2, 2, 3), nn.AvgPool2d(2)]


@pytest.mark.parametrize("module", LAYOUTS, ids=str)
def test_memory_layout_and_batch_do_not_matter(module: nn.Module) -> None:
    solver = choose(from_module(module, (3, 8, 8)))
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = solver.project(x)
    layouts: list[Tensor] = [
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([x, x])[4:],
    ]
    for layout in layouts:
        assert (solver.project(layout) - expected).abs().max() <= 4e-15
    one_by_one = torch.cat([solver.project(image[None]) for image in x])
    assert (one_by_one - expected).abs().max() <= 4e-15
    repeated = solver.project(x[:1].expand(3, -1, -1, -1))
    assert (repeated - expected[:1]).abs().max() <= 4e-15


@pytest.mark.parametrize("module", LAYOUTS, ids=str)
def test_gradients_pass_through(module: nn.Module) -> None:
    solver = choose(from_module(module, (3, 8, 8)))
    x, y = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((solver.project(x.requires_grad_()) * y).sum(), x)
    assert (gradient - solver.project(y)).abs().max() <= 1e-14


DTYPES = pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-15), (torch.float32, 1e-6)])


def left_of_a_constant(operator: LinearMap, dtype: torch.dtype) -> float:
    """‖A P x‖ / (‖A‖ ‖x‖) of an x with the same value everywhere."""
    x = torch.full((1, *operator.in_shape), 0.7, dtype=dtype)
    left = operator.forward(choose(operator).project(x).double()).norm()
    return float(left / operator.norm() / x.double().norm())


@DTYPES
def test_constant_image_under_global_pooling(dtype: torch.dtype, bound: float) -> None:
    """Long sums of equal numbers, whose rounding errors all have one sign."""
    assert left_of_a_constant(from_module(nn.AdaptiveAvgPool2d(1), (3, 56, 56)), dtype) <= bound


@pytest.mark.parametrize("module", [nn.Conv2d(3, 2, 3, 2, 1), nn.Conv2d(3, 2, 2, 2)], ids=["dense", "patchwise"])
def test_empty_batch(module: nn.Module) -> None:
    assert choose(from_module(module, (3, 8, 8))).project(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)


@DTYPES
def test_constant_vector_under_a_mean_of_everything(dtype: torch.dtype, bound: float) -> None:
    assert left_of_a_constant(Dense(torch.full((1, 9408), 1 / 9408)), dtype) <= bound


@pytest.mark.parametrize("last", [1e-6, 1e-9])
def test_deficient_and_ill_conditioned_on_the_gram_route(last: float) -> None:
    certificate = DenseSolver(Dense(repeated(100, last, 10)), svd_limit=0).certificate
    assert (certificate.rank, certificate.kind) == (60, "numerical")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_tiny_weights_on_the_gram_route() -> None:
    generator = np.random.default_rng(1)
    matrix = generator.standard_normal((60, 55)) @ generator.standard_normal((55, 100))
    assert DenseSolver(Dense(torch.from_numpy(1e-160 * matrix)), svd_limit=0).certificate.rank == 55
