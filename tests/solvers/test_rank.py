"""Ranks over the rationals, inertia counts, reductions by structure, and the certificates that follow from them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from blindspace.errors import TooLargeError, UnsupportedLayerError, ValueRangeError
from blindspace.maps import Convolution, Dense, Kronecker, LinearMap, VStack, from_module
from blindspace.solvers.dense_algebra.orthonormal_basis import projector
from blindspace.solvers.projectors.dense import DenseSolver
from blindspace.solvers.rank.certificate import Certificate, confirmed, judge, merge
from blindspace.solvers.rank.inertia import Inertia, certify
from blindspace.solvers.rank.kernel_reduction import Reduced, reduce
from blindspace.solvers.rank.modular_elimination import (
    ModularRank,
    _canonical,
    _draw_prime,
    _rank,
    exact_rank,
    rational_factors,
    residues,
)
from cases import BIG_CASES, CASES, box_blur, luminance, weighted
from oracle import Array, Reference, check_figures

CASE = {case.id: case for case in [*CASES, *BIG_CASES]}


def conv_of(module: nn.Module, shape: tuple[int, ...]) -> Convolution:
    operator = from_module(module, shape)
    assert isinstance(operator, Convolution)
    return operator


def seeded(build: Any, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module: nn.Module = build()
        return module


# --- over the rationals -----------------------------------------------------------------------------------


def echelon_rank(rows: list[list[Any]], is_zero: Any) -> int:
    """Schoolbook elimination over any field whose elements have −, * and /."""
    rank = 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((r for r in range(rank, len(rows)) if not is_zero(rows[r][column])), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for r in range(rank + 1, len(rows)):
            factor = rows[r][column] / rows[rank][column]
            rows[r] = [x - factor * y for x, y in zip(rows[r], rows[rank], strict=True)]
        rank += 1
    return rank


class Residue:
    """A number modulo a prime."""

    def __init__(self, value: int, prime: int) -> None:
        self.value, self.prime = value % prime, prime

    def __sub__(self, other: Residue) -> Residue:
        return Residue(self.value - other.value, self.prime)

    def __mul__(self, other: Residue) -> Residue:
        return Residue(self.value * other.value, self.prime)

    def __truediv__(self, other: Residue) -> Residue:
        return Residue(self.value * pow(other.value, -1, self.prime), self.prime)


def slow_rank(matrix: Array) -> int:
    return echelon_rank([[Fraction(float(x)) for x in row] for row in matrix], lambda x: x == 0)


def slow_rank_modulo(matrix: Array, prime: int) -> int:
    exact = [[Fraction(float(x)) for x in row] for row in matrix]
    rows = [[Residue(x.numerator * pow(x.denominator, -1, prime), prime) for x in row] for row in exact]
    return echelon_rank(rows, lambda x: x.value == 0)


def rank_mod_prime(matrix: Array | scipy.sparse.csr_array, prime: int, panel: int = 128) -> int:
    return _rank(residues(_canonical(matrix), prime), prime, panel, work=1e9, memory=1 << 30)


@st.composite
def matrices(draw: st.DrawFn) -> Array:
    """Sparse, low-rank, badly scaled, with rows and columns of zeros: products of matrices of few kinds of numbers."""
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    m, n, r = draw(st.integers(1, 14)), draw(st.integers(1, 14)), draw(st.integers(1, 14))
    left = generator.integers(-3, 4, (m, r)) * (generator.random((m, r)) < draw(st.sampled_from([0.2, 1])))
    right = generator.integers(-3, 4, (r, n)) * (generator.random((r, n)) < draw(st.sampled_from([0.2, 1])))
    matrix = (left @ right).astype(float)
    if draw(st.booleans()):  # any 53 bits
        matrix *= generator.standard_normal(matrix.shape)
    if draw(st.booleans()):
        matrix *= 2.0 ** generator.integers(-500, 500, (m, 1))
    return matrix * draw(st.sampled_from([1.0, 1e-300, 5e-324]))


@settings(max_examples=80, deadline=None)
@given(matrices(), st.sampled_from([3, 5, 7, 8_388_593]), st.sampled_from([2, 3, 128]))
def test_rank_modulo_any_prime_is_the_schoolbook_s(matrix: Array, prime: int, panel: int) -> None:
    """Small primes divide many minors; small panels carry rows from one to the next."""
    expected = slow_rank_modulo(matrix, prime)
    assert rank_mod_prime(matrix, prime, panel) == expected
    assert rank_mod_prime(scipy.sparse.csr_array(matrix), prime, panel) == expected


@settings(max_examples=60, deadline=None)
@given(matrices())
def test_rank_over_the_rationals_is_that_of_fractions(matrix: Array) -> None:
    found = exact_rank(matrix)
    assert found.rank == slow_rank(matrix)
    nonzero = matrix[matrix.any(1)][:, matrix.any(0)]
    assert found.full == (found.rank == min(nonzero.shape))
    assert len(set(found.primes)) == len(found.primes) == (1 if found.full else 2)
    assert (found.chance == 0) == found.full
    assert found.chance < 1e-3


@pytest.mark.parametrize("panel", [16, 128])
def test_rank_across_many_panels(panel: int) -> None:
    generator = np.random.default_rng(0)
    low = generator.integers(-9, 10, (300, 170)) @ generator.integers(-9, 10, (170, 400))
    banded = scipy.sparse.random_array((400, 500), density=0.01, random_state=generator)
    assert exact_rank(low.astype(float), panel=panel).rank == 170
    found = exact_rank(scipy.sparse.block_diag([low, low.T, banded]), panel=panel)
    assert found.rank == 340 + np.linalg.matrix_rank(banded.toarray())


def test_a_matrix_given_is_left_as_it_was() -> None:
    matrix = scipy.sparse.csr_array((np.array([1.0, 0, 2, 3, 1]), np.array([3, 0, 1, 1, 0]), np.array([0, 3, 5])))
    before = matrix.data.copy(), matrix.indices.copy(), matrix.toarray()
    assert exact_rank(matrix).rank == rank_mod_prime(matrix, 8_388_593) == 2
    assert all(
        np.array_equal(x, y) for x, y in zip(before, (matrix.data, matrix.indices, matrix.toarray()), strict=True)
    )
    twice = scipy.sparse.csr_array((np.array([1.0, -1, 2]), np.array([0, 0, 1]), np.array([0, 2, 3])))
    assert exact_rank(twice).rank == 1


def test_a_number_that_the_prime_divides_is_zero_modulo_it_alone() -> None:
    first = _draw_prime(np.random.default_rng(0))
    matrix = np.diag([first, 1.0, 1.0, 0.0])
    matrix[3] = matrix[2]  # not full, so that one prime is not enough
    matrix[:, 3] = matrix[:, 2]
    assert rank_mod_prime(matrix, first) == 2
    found = exact_rank(matrix)
    assert (found.rank, first in found.primes, len(found.primes)) == (3, False, 2)


def test_a_product_is_taken_without_rounding() -> None:
    generator = np.random.default_rng(0)
    inner, outer = generator.standard_normal((6, 40)), generator.standard_normal((20, 6))
    assert exact_rank(inner, outer).rank == 6
    assert exact_rank(outer @ inner).rank == 20
    assert exact_rank(np.zeros((3, 4))).rank == 0


def factored_maps() -> dict[str, tuple[LinearMap, int]]:
    """Maps whose matrix float64 cannot hold, with their true rank."""
    generator = torch.Generator().manual_seed(0)
    inner, outer = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((6, 40), (20, 6)))
    chain = Dense(outer) @ Dense(inner)
    pool = from_module(nn.AvgPool2d((2, 3)), (2, 8, 9))
    resized = Kronecker([torch.rand(7, 5, generator=generator, dtype=torch.float64)] * 2, (3, 5, 5))
    thirds = Kronecker([torch.tensor([[1.0, 2], [3, 6], [1, 2]]).double() / 3, torch.rand(5, 4).double()], (2, 2, 4))
    return {
        "composed": (chain, 6),
        "adjoint": (chain.T, 6),
        "stacked": (VStack([chain, Dense(inner), chain, Dense(torch.eye(3, 40, dtype=torch.float64))]), 9),
        "pooled": (pool, 24),
        "separable": (resized, 75),
        "separable, deficient": (thirds, 8),
        "of separable": (thirds.T @ thirds, 8),
    }


@pytest.mark.parametrize("name", factored_maps())
def test_a_map_is_the_product_of_its_factors(name: str) -> None:
    operator, rank = factored_maps()[name]
    factors = rational_factors(operator)
    whole = factors[0].toarray()
    for factor in factors[1:]:
        whole = factor.toarray() @ whole
    assert np.abs(whole - operator.to_dense().numpy()).max() <= 1e-14
    assert exact_rank(*factors).rank == rank
    certificate = projector(operator.to_scipy(), lambda: rational_factors(operator)).certificate
    assert (certificate.rank, certificate.kind) == (rank, "exact")


def test_elimination_refuses_before_it_starts() -> None:
    stem = conv_of(seeded(lambda: nn.Conv2d(3, 4, 7, 2, 3)), (3, 14, 14)).to_scipy()
    with pytest.raises(TooLargeError, match=r"196 × 588 matrix.*operations"):
        exact_rank(stem, work=1e6)
    prove = partial(exact_rank, memory=1000)
    found = projector(conv_of(*CASE["conv2d-duplicates"].make()).to_scipy(), prove=prove).certificate
    assert (found.rank, found.kind, found.exact_rank) == (72, "numerical", None)


# --- what the certificate makes of it ---------------------------------------------------------------------

EXACT = ["linear-rank-deficient", "conv2d-tied", "conv2d-duplicates", "conv2d-luminance"]


@pytest.mark.parametrize("name", EXACT)
def test_deficient_by_its_weights_is_exact(name: str) -> None:
    case = CASE[name]
    operator = from_module(*case.make())
    found = DenseSolver(operator).certificate
    assert operator.in_dim - found.rank == case.dim
    assert (found.kind, found.exact_rank) == ("exact", found.rank)
    assert found.sigma_below is not None
    assert "elimination modulo 2 primes" in found.method


SHAPES = {
    "box blur": (box_blur, (1, 32, 32), 63, 961),
    "luminance": (lambda: weighted(nn.Conv2d(3, 5, 7, 2, 3), luminance(5, 7)), (3, 32, 32), 2048, 1024),
    "odd size": (lambda: nn.Conv2d(3, 11, 3, 2, 1), (3, 31, 31), 100, 2783),
    "padded patches": (lambda: nn.Conv2d(3, 32, 4, 4, 1), (3, 16, 16), 261, 507),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_formula_is_not_a_certificate(name: str) -> None:
    """Deficient layers whose kernels are independent."""
    build, shape, dim, rank = SHAPES[name]
    found = exact_rank(from_module(seeded(build), shape).to_scipy())
    assert (found.rank, int(np.prod(shape)) - found.rank, found.full) == (rank, dim, False)
    assert 0 < found.chance < 1e-3


@pytest.mark.parametrize("seed", [0, 1])
def test_numerically_deficient_without_being_exactly_so(seed: int) -> None:
    """Full rank over the rationals, σ falling through every tolerance: the rank is reported as undecided."""
    operator = conv_of(seeded(lambda: nn.Conv2d(3, 12, 3, 2, 1), seed), (3, 32, 32))
    found = certify(operator)
    assert (found.kind, found.exact_rank, found.rank < 3060) == ("undecided", 3072, True)
    assert "deficient to rounding only: rank 3072 over the rationals" in str(found)
    small = projector(conv_of(seeded(lambda: nn.Conv2d(3, 12, 3, 2, 1), seed), (3, 24, 24)).to_scipy()).certificate
    assert (small.kind, small.exact_rank) == ("undecided", 24 * 24 * 3)
    assert small.rank < 24 * 24 * 3
    assert small.sigma_above is not None
    assert small.sigma_above < 1e-8


def test_rounding_in_a_folded_scaling_is_distinguished_from_a_true_rank() -> None:
    """Luminance kernels behind a normalisation: the folded weights are proportional to rounding only."""
    kernels = seeded(lambda: weighted(nn.Conv2d(3, 5, 5, 2, 2), luminance(5, 5)))
    norm = nn.BatchNorm2d(3).eval()
    norm.weight.data = torch.tensor([0.3, 0.7, 1.1])
    folded = from_module(nn.Sequential(norm, kernels), (3, 9, 9))
    found = DenseSolver(folded).certificate
    assert (found.rank, found.kind) == (81, "numerical")
    assert found.exact_rank is not None
    assert found.exact_rank > 81
    assert "deficient to rounding only" in str(found)


def modular_rank(rank: int, primes: int = 2) -> ModularRank:
    return ModularRank(rank, primes == 1, (5, 7, 11)[:primes], 0.0 if primes == 1 else 1e-9)


GAP, NO_GAP = [1.0, 0.5, 1e-17], [1.0, 1e-12, 2e-15]


@pytest.mark.parametrize(
    ("sigma", "rank", "kind", "words"),
    [
        (GAP, 2, "exact", ""),
        (GAP, 3, "numerical", "deficient to rounding only: rank 3 over the rationals"),
        (GAP, 1, "undecided", "contradict: rank 1 over the rationals"),
        (NO_GAP, 2, "undecided", ""),
        (NO_GAP, 3, "undecided", "deficient to rounding only"),
    ],
)
def test_confirmed(sigma: list[float], rank: int, kind: str, words: str) -> None:
    before = judge(np.array(sigma), (50, 50), "SVD")
    after = confirmed(before, modular_rank(rank))
    assert (after.kind, after.exact_rank, after.method) == (kind, rank, "SVD, and elimination modulo 2 primes")
    assert replace(after, kind=before.kind, exact_rank=None, method="SVD") == before
    assert str(after).endswith(")" if not words else " over the rationals")
    assert words in str(after)
    assert confirmed(before, modular_rank(3, 1)).method == "SVD, and elimination modulo a prime"


def test_merge_adds_ranks_over_the_rationals_where_all_are_known() -> None:
    full = judge(np.array([4.0, 2.0]), (2, 2), "")
    gap = judge(np.array(GAP), (3, 3), "")
    assert merge([(full, 3), (confirmed(gap, modular_rank(2)), 2)]).exact_rank == 10
    assert merge([(full, 3), (gap, 2)]).exact_rank is None
    higher = merge([(full, 3), (confirmed(gap, modular_rank(3)), 2)])
    assert (higher.rank, higher.exact_rank, higher.kind) == (10, 12, "numerical")


# --- inertia ----------------------------------------------------------------------------------------------

COUNTED: dict[str, tuple[Any, tuple[int, ...]]] = {
    "stem": (lambda: nn.Conv2d(3, 4, 7, 2, 3), (3, 22, 17)),
    "deficient": (lambda: nn.Conv2d(3, 11, 3, 2, 1), (3, 15, 15)),
    "falling": (lambda: nn.Conv2d(3, 12, 3, 2, 1), (3, 16, 16)),
    "one axis": (lambda: nn.Conv1d(2, 3, 5, 2, 2), (2, 300)),
    "three axes": (lambda: nn.Conv3d(2, 3, 3, 2, 1), (2, 7, 6, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), (4, 9, 8)),
    "composed": (lambda: nn.Sequential(nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(3, 6, 3, 2, 1)), (3, 14, 14)),
    "dilated circular": (lambda: nn.Conv2d(2, 3, 3, 1, 2, 2, padding_mode="circular"), (2, 9, 8)),
    "box blur": (box_blur, (1, 20, 20)),
    "zero kernels": (CASE["conv2d-some-dead"].build, (3, 10, 10)),
}


@pytest.mark.parametrize("least", [1, 40, 256])
@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_those_of_the_singular_values(name: str, least: int) -> None:
    build, shape = COUNTED[name]
    operator = from_module(seeded(build), shape)
    sigma = np.linalg.svd(operator.to_dense().numpy(), compute_uv=False)
    counter = Inertia(operator, least_block=least)
    assert counter.size == len(sigma)
    for s in np.geomspace(counter.resolution, 1.1 * sigma[0], 9):
        count, used = counter.count_near(s)
        assert count == (sigma < used).sum()
        assert s <= used <= 1.5 * s
    assert counter.count_below(1.1 * sigma[0]) == len(sigma)


def test_blocks_share_columns_with_their_neighbours_alone() -> None:
    counter = Inertia(from_module(seeded(lambda: nn.Conv2d(3, 4, 5, 2, 2)), (3, 24, 20)), least_block=1)
    cuts = counter.blocks
    assert (cuts[0], cuts[-1], len(cuts) > 5) == (0, 480, True)
    gram = (counter.rows @ counter.rows.T).toarray()
    for i in range(len(cuts) - 3):
        assert not gram[cuts[i] : cuts[i + 1], cuts[i + 2] :].any()


def test_a_bound_that_is_a_singular_value_of_a_part_is_refused() -> None:
    """The first block is 1 − s² = 0 although 1 is not a singular value of the whole."""
    matrix = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [0, 0.5, 1]], dtype=torch.float64)
    counter = Inertia(Dense(matrix), least_block=1)
    assert len(counter.blocks) > 2
    with pytest.raises(UnsupportedLayerError, match="too near a singular value of a part"):
        counter.count_below(1.0)
    count, used = counter.count_near(1.0)
    assert (count, used) == ((np.linalg.svd(matrix.numpy(), compute_uv=False) < 1.1).sum(), 1.1)


def test_counting_refuses_what_it_cannot_do() -> None:
    operator = conv_of(seeded(lambda: nn.Conv2d(3, 4, 7, 2, 3)), (3, 14, 14))
    with pytest.raises(TooLargeError, match=r"entries.*GiB"):
        Inertia(operator, limit=100_000)
    with pytest.raises(TooLargeError, match="operations"):
        certify(operator, work=1e6)
    for s in (1e-9 * operator.norm(), -1.0, float("nan")):
        with pytest.raises(ValueRangeError, match="resolves"):
            Inertia(operator).count_below(s)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("stem", "exact"),
        ("deficient", "exact"),
        ("box blur", "exact"),
        ("composed", "exact"),
        ("zero kernels", "exact"),
    ],
)
def test_certified_by_inertia(name: str, kind: str) -> None:
    build, shape = COUNTED[name]
    operator = from_module(seeded(build), shape)
    found, oracle = certify(operator), Reference(operator.to_dense().numpy())
    assert (found.rank, found.kind) == (oracle.rank, kind)
    assert found.sigma_above is not None
    assert found.tolerance <= found.sigma_above <= oracle.sigma[oracle.rank - 1]
    if found.sigma_below is not None:
        assert oracle.sigma[oracle.rank] <= found.sigma_below
    assert ("elimination" in found.method) == (found.sigma_below is not None)


def test_bounds_without_a_gap() -> None:
    """Some σ lie between the two bounds: they are counted, and only the lower bound is known of them."""
    operator = from_module(seeded(COUNTED["falling"][0]), (3, 16, 16))
    found, sigma = certify(operator), np.linalg.svd(operator.to_dense().numpy(), compute_uv=False)
    assert found.kind == "undecided"
    assert found.sigma_above is not None
    assert found.sigma_below is not None
    assert found.tolerance <= found.sigma_above <= sigma[found.rank - 1] < 1e3 * found.tolerance
    assert sigma[found.rank] <= found.sigma_below


def test_inertia_alone_is_numerical() -> None:
    found = certify(from_module(box_blur(), (1, 11, 11)), prove=partial(exact_rank, work=0))
    assert (found.rank, found.kind, found.exact_rank) == (100, "numerical", None)
    assert certify(Dense(torch.zeros(3, 4))).rank == 0


# --- reduced by structure ---------------------------------------------------------------------------------


def convolution(weight: Tensor, **options: Any) -> nn.Module:
    kind: Any = [nn.Conv1d, nn.Conv2d, nn.Conv3d][weight.ndim - 3]
    return weighted(kind(weight.shape[1], weight.shape[0], weight.shape[2:], **options), weight)


def kernels(*shape: int) -> Tensor:
    return torch.randint(-40, 41, shape, generator=torch.Generator().manual_seed(0)).float() / 16


def mixed() -> Tensor:
    """Six kernels, combinations of two, that read two directions of the channels."""
    combine = torch.tensor([[1.0, 0], [0, 1], [1, 1], [2, -1], [0, 0], [1, 3]])
    channels = torch.tensor([[1.0, 2, 0], [0, 1, 1]])
    return torch.einsum("or,rdab,dc->ocab", combine, kernels(2, 2, 3, 3), channels)


def edged(*shape: int) -> Tensor:
    weight = kernels(*shape)
    weight[..., 0] = 0
    weight[..., -1, :] = 0
    return weight


STRUCTURED: dict[str, tuple[nn.Module, tuple[int, ...], tuple[int, ...], str]] = {
    "luminance": (
        convolution(kernels(5, 1, 5, 5) * torch.tensor([0.25, 0.5, 0.125])[:, None, None], stride=2, padding=2),
        (3, 9, 9),
        (5, 1, 5, 5),
        "read 1 of 3 directions",
    ),
    "unread channel": (
        convolution(kernels(4, 3, 3, 3) * torch.tensor([1.0, 0, 1])[:, None, None], stride=2, padding=1),
        (3, 8, 8),
        (4, 2, 3, 3),
        "read 2 of 3 directions",
    ),
    "combined": (convolution(mixed(), stride=2, padding=1), (3, 8, 9), (2, 2, 3, 3), "2 of the 6 kernels"),
    "duplicates": (
        convolution(kernels(2, 3, 3, 3)[[0, 0, 1, 0]], stride=2, padding=1),
        (3, 8, 8),
        (2, 3, 3, 3),
        "2 of the 4 kernels",
    ),
    "zero taps": (convolution(edged(3, 2, 4, 4), stride=2, padding=1), (2, 9, 9), (3, 2, 3, 3), "outer taps"),
    "zero taps, dilated": (
        convolution(edged(2, 3, 3, 3), padding=2, dilation=2),
        (3, 9, 8),
        (2, 3, 2, 2),
        r"\(2, 2\) are left",
    ),
    "zero taps, circular": (
        convolution(edged(2, 3, 5, 5), padding=2, padding_mode="circular"),
        (3, 9, 8),
        (2, 3, 4, 4),
        "outer taps",
    ),
    "one axis": (convolution(kernels(2, 3, 5)[[0, 0, 1]], stride=2, padding=2), (3, 30), (2, 3, 5), "2 of the 3"),
}


@pytest.mark.parametrize("name", STRUCTURED)
def test_reduced_convolution_has_the_same_nullspace(name: str) -> None:
    module, shape, left, reason = STRUCTURED[name]
    operator = conv_of(module, shape)
    found = reduce(operator)
    assert found is not None
    assert found.conv.weight.shape == left
    assert found.conv.out_shape == (left[0], *operator.out_shape[1:])
    assert pytest.approx(0, abs=1e-13) == project_apart(found, operator)
    inner = DenseSolver(found.conv)
    whole, oracle = found.certificate(inner.certificate), Reference(operator.to_dense().numpy())
    assert (whole.rank, whole.kind, found.kind) == (oracle.rank, "exact", "exact")
    check_figures(whole, oracle)
    assert_matches(reason, found.reason)
    assert reduce(found.conv) is None


def assert_matches(pattern: str, text: str) -> None:
    with pytest.raises(AssertionError, match=pattern):
        raise AssertionError(text)


def project_apart(found: Reduced, operator: LinearMap) -> float:
    """How far the reduced projection is from the oracle's."""
    x = torch.randn(4, *operator.in_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p = found.project(DenseSolver(found.conv).project, x).flatten(1).numpy()
    expected = Reference(operator.to_dense().numpy()).project(x.flatten(1).numpy())
    return float(np.abs(p - expected).max())


@pytest.mark.parametrize(
    "name", ["conv2d-stem", "conv2d-box-blur", "conv2d-tied", "conv2d-groups", "conv2d-all-dead", "conv2d-gabor"]
)
def test_nothing_to_reduce(name: str) -> None:
    assert reduce(conv_of(*CASE[name].make())) is None


def test_no_padding_no_smaller_kernel() -> None:
    """A crop would be needed in its place."""
    assert reduce(conv_of(convolution(edged(2, 3, 3, 3)), (3, 9, 8))) is None


def test_a_reduction_to_rounding_only_is_numerical() -> None:
    weight = kernels(5, 1, 3, 3).double() * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    operator = Convolution(weight, (3, 8, 8), (2, 2), ((1, 1), (1, 1)), (1, 1))
    found = reduce(operator)
    assert found is not None
    assert (found.kind, found.conv.weight.shape[1]) == ("numerical", 1)
    assert found.certificate(DenseSolver(found.conv).certificate).kind == "numerical"
    assert pytest.approx(0, abs=1e-13) == project_apart(found, operator)


def test_certificate_of_a_reduction_is_no_better_than_its_parts() -> None:
    operator = conv_of(*STRUCTURED["combined"][:2])
    exact = reduce(operator)
    assert exact is not None
    assert exact.rounded
    full = judge(np.array([2.0, 1.0]), (2, 2), "SVD")
    gap = confirmed(judge(np.array(GAP), (3, 3), "SVD"), modular_rank(3))
    unsure = judge(np.array(NO_GAP), (50, 50), "SVD")
    said = {
        (kind, rounded): [replace(exact, kind=kind, rounded=rounded).certificate(c) for c in (full, gap, unsure)]
        for kind in ("exact", "numerical")
        for rounded in (False, True)
    }
    kinds = {key: [c.kind for c in found] for key, found in said.items()}
    assert kinds["exact", False] == kinds["exact", True] == ["exact", "numerical", "undecided"]
    assert kinds["numerical", False] == kinds["numerical", True] == ["numerical", "numerical", "undecided"]
    assert [found[1].exact_rank for found in said.values()] == [3, None, None, None]
    assert isinstance(full, Certificate)


def test_half_precision_and_float32_pass_through() -> None:
    found = reduce(conv_of(*STRUCTURED["luminance"][:2]))
    assert found is not None
    x = torch.randn(2, 3, 9, 9)
    assert found.project(DenseSolver(found.conv).project, x).dtype == torch.float32
