"""Soft blindness: counts of small singular values against dense ones, intervals that hold the truth, energies."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import ShapeError, ValueRangeError
from blindspace.evidence.energy import blind_energy
from blindspace.maps import (
    Composed,
    Dense,
    Diagonal,
    Jacobian,
    LinearMap,
    Padding,
    Rearrange,
    VStack,
    from_module,
    isometry_free,
)
from blindspace.solvers.fourier.circulant_embedding import CirculantEmbedding, embeds
from blindspace.solvers.rank.inertia import Inertia
from blindspace.solvers.spectra.counting import _by_symbol, count_up_to, symbol
from blindspace.solvers.spectra.lanczos_quadrature import Quadrature
from blindspace.solvers.spectra.singular_values import singular_values
from blindspace.subspaces import epsilon_nullity as soft
from blindspace.subspaces.epsilon_nullity import DECADES, EpsilonNullity, Spectrum, soft_dimension, spectrum
from cases import BIG_CASES, CASES, Case, falling
from oracle import Array, null_projector, reference

CASE = {case.id: case for case in [*CASES, *BIG_CASES]}
CONVOLUTIONS = ["conv1d-strided", "conv2d-stem", "conv2d-dilated", "conv2d-luminance", "conv2d-overdetermined"]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def map_of(case: Case | str) -> LinearMap:
    module, shape = (CASE[case] if isinstance(case, str) else case).make()
    return from_module(module, shape)


def true_sigma(case: Case | str) -> Array:
    """All n singular values, descending, zeros included, by LAPACK's SVD of the whole matrix."""
    found = reference(CASE[case] if isinstance(case, str) else case)
    sigma = np.zeros(found.matrix.shape[1])
    sigma[: len(found.sigma)] = found.sigma
    return sigma


def gaps(sigma: Array, most: int = 6) -> list[float]:
    """Bounds well between two singular values, above rounding, with no doubt how many lie below."""
    found = [(a * max(b, 1e-4 * a)) ** 0.5 for a, b in pairwise(sigma) if a > 1.01 * b and a > 1e-3 * sigma[0]]
    return [float(s) for s in found[:: max(len(found) // most, 1)]]


# --- from all singular values -----------------------------------------------------------------------------


@each_case
def test_all_singular_values_are_those_of_the_whole_matrix(case: Case) -> None:
    found = singular_values(map_of(case))
    assert found is not None
    sigma = true_sigma(case)
    repeated = [np.repeat(side, found.counts) for side in (found.low, found.sigma, found.high)]
    assert all(len(side) == len(sigma) for side in repeated)
    assert np.abs(repeated[1] - sigma).max() <= 1e-14 * len(sigma) ** 0.5 * sigma[0]
    slack = 1e-14 * len(sigma) ** 0.5 * sigma[0]
    assert (np.sort(repeated[0]) <= np.sort(sigma) + slack).all()
    assert (np.sort(repeated[2]) >= np.sort(sigma) - slack).all()
    assert (np.diff(found.sigma) <= 0).all()


@pytest.mark.parametrize(("weakest", "method"), [(1e-2, "Gram"), (1e-8, "SVD")])
def test_a_gram_matrix_serves_what_it_resolves(weakest: float, method: str) -> None:
    """σ from 1 to the weakest; small ones take the SVD, in which they are not squared."""
    matrix = falling(660, 700, weakest)
    found = singular_values(Dense(matrix))
    assert found is not None
    assert method in found.method
    assert found.tolerance == 0
    sigma = weakest ** (np.arange(660) / 659)
    assert np.abs(found.sigma[:660] - sigma).max() <= 1e-12
    assert (found.low[:660] <= sigma + 1e-15).all()
    assert (found.high[:660] >= sigma - 1e-15).all()
    assert (found.sigma[660], found.counts[660]) == (0, 40)


@each_case
def test_counts_are_those_of_the_whole_matrix(case: Case) -> None:
    sigma = true_sigma(case)
    bounds = gaps(sigma)
    if not bounds:
        assert sigma[0] == sigma[-1] or sigma[0] == 0 or sigma[0] < 1.01 * sigma[-1]
        return
    found = soft_dimension(map_of(case), bounds, relative=False)
    assert found.counts == tuple(int((sigma <= bound).sum()) for bound in bounds)
    assert set(found.kinds) == {"exact"}
    assert found.low == found.counts == found.high
    assert found.epsilons == found.thresholds == tuple(bounds)


@pytest.mark.parametrize("case", [case for case in CASES if case.dim is not None], ids=lambda case: case.id)
def test_the_smallest_threshold_counts_what_is_harmless(case: Case) -> None:
    found = soft_dimension(map_of(case), [1e-5])
    assert (found.counts, found.kinds) == ((case.dim,), ("exact",))


def known(name: str) -> tuple[LinearMap, list[float], list[int]]:
    """A map, absolute thresholds and the counts that reasoning gives."""
    diagonal = torch.tensor([3.0, 0.5, 0.5, 2.0, 0.0, 1.0], dtype=torch.float64)
    match name:
        case "scaling":
            return Diagonal(diagonal, (4, 6)), [0.1, 0.5, 0.7, 2, 2.5, 3], [4, 12, 12, 20, 20, 24]
        case "tokens":
            return Dense(diagonal.diag()[:4], (7,)), [0.1, 0.7, 5], [14, 28, 42]
        case "circular padding":  # 2 of 5 values are read twice
            return Padding((3, 5), [(1, 1)], "circular"), [0.9, 1.2, 1.5], [0, 9, 15]
        case "pooling":  # means of 4 values: σ = 1/2
            return from_module(nn.AvgPool2d(2), (3, 8, 6)), [0.4, 0.6], [144 - 36, 144]
        case "block":
            return VStack([Diagonal(diagonal, (6,)), Diagonal(diagonal, (6,))]), [0.7, 0.8, 4.0], [1, 3, 5]
        case "shuffled, scaled, padded":
            inner = Composed(Diagonal(diagonal, (6,)), Rearrange((2, 3), (6,)))
            uniform = Diagonal(torch.tensor(-2.0), (1, 6))
            outer = Composed(Padding((1, 6), [(2, 1)]), Composed(uniform, Rearrange((6,), (1, 6))))
            return Composed(outer, inner), [0.5, 1.5, 4.5], [1, 3, 5]
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name", ["scaling", "tokens", "circular padding", "pooling", "block", "shuffled, scaled, padded"]
)
def test_known_counts(name: str) -> None:
    operator, thresholds, expected = known(name)
    found = soft_dimension(operator, thresholds, relative=False)
    assert list(found.counts) == expected
    assert set(found.kinds) == {"exact"}


def test_what_rounding_decides_is_said() -> None:
    """σ = ε to rounding, and an ε below rounding."""
    rotation = torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    found = soft_dimension(Dense(rotation), [1.0], relative=False)
    assert (found.low, found.high, found.kinds) == ((0,), (9,), ("bounded",))
    deficient = soft_dimension(map_of("linear-rank-deficient"), [1e-18])
    assert (deficient.low, deficient.high, deficient.kinds) == ((20,), (34,), ("bounded",))
    assert soft_dimension(Dense(rotation), [1.0]).counts == (9,)  # as a share of ‖A‖ there is nothing to decide


# --- by inertia -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CONVOLUTIONS, "conv2d-circular", "transpose2d-lossy", "resize-conv", "conv2d-tied"])
def test_inertia_counts_as_the_whole_matrix(name: str) -> None:
    name = name if name in CASE else "conv2d-same-circular"
    sigma = true_sigma(name)
    bounds = gaps(sigma)
    found, method = count_up_to(map_of(name), None, bounds)
    assert method.startswith("inertia")
    assert [count.best for count in found] == [int((sigma <= bound).sum()) for bound in bounds]
    assert {count.kind for count in found} == {"exact"}


def test_inertia_below_its_resolution_gives_bounds() -> None:
    sigma = true_sigma("conv2d-tied")
    tied, method = count_up_to(map_of("conv2d-tied"), None, [1e-12 * sigma[0]])
    assert method.startswith("inertia")
    assert tied[0][:3] == (4, 8, 8)
    assert tied[0].kind == "bounded"  # 4 for sure, of 36 − 32; 4 more are 0 only as far as A Aᵀ tells
    stem, _ = count_up_to(map_of("conv2d-stem"), None, [1e-12])
    assert stem[0] == (392, 392, 392, "exact")


def test_inertia_is_not_asked_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    count_below = Inertia.count_below

    def counted(self: Inertia, s: float) -> int:
        asked.append(s)
        return count_below(self, s)

    monkeypatch.setattr(Inertia, "count_below", counted)
    sigma = true_sigma("conv2d-stem")
    bounds = [*(sigma[0] * np.array([0.9, 1e-4, 1e-3, 1e-2, 2e-2])), 1e-5 * sigma[0]]
    found, _ = count_up_to(map_of("conv2d-stem"), None, bounds)
    assert [count.best for count in found] == [int((sigma <= bound).sum()) for bound in bounds]
    assert len(asked) == 4  # the ends, and two in between: below the lower of these nothing is left to find


# --- by random vectors ------------------------------------------------------------------------------------


@pytest.fixture
def only_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every map were large; few vectors and steps, so that intervals are wide enough to be wrong."""
    monkeypatch.setattr(soft, "singular_values", lambda operator: None)
    few = partial(count_up_to, matrix_limit=0, probes=(2, 8), steps=(16, 40))
    monkeypatch.setattr(soft, "count_up_to", few)


@pytest.mark.usefixtures("only_random")
@pytest.mark.parametrize(
    "name", [*CONVOLUTIONS, "conv2d-groups", "resize-conv", "conv2d-box-blur", "transpose2d-up", "conv2d-reflect"]
)
def test_intervals_hold_the_truth(name: str) -> None:
    """At seven thresholds and ten seeds; each is right at least 19 times out of 20."""
    sigma = true_sigma(name)
    wrong = asked = 0
    for seed in range(10):
        found = soft_dimension(map_of(name), [1e-6, 1e-3, 0.05, 0.2, 0.4, 0.6, 0.8], seed=seed)
        assert found.method.startswith("Lanczos quadrature")
        truth = [int((sigma <= epsilon).sum()) for epsilon in found.epsilons]
        rows = list(zip(found.low, truth, found.high, found.counts, found.kinds, strict=True))
        assert all(low <= count <= high for low, _, high, count, _ in rows)
        assert all(low == high for low, _, high, _, kind in rows if kind == "exact")
        wrong += sum(not low <= true <= high for low, true, high, _, kind in rows if kind == "estimated")
        assert all(low <= true <= high for low, true, high, _, kind in rows if kind != "estimated")
        asked += len(rows)
        assert max(abs(count - true) for _, true, _, count, _ in rows) <= 0.1 * len(sigma)
    assert wrong <= 0.1 * asked


@pytest.mark.usefixtures("only_random")
def test_estimates_repeat_with_their_seed() -> None:
    operator = map_of("conv2d-groups")
    first, again, other = (soft_dimension(operator, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first.kinds[-1] == "exact"  # ε = ‖A‖ holds everything
    assert first.counts[-1] == operator.in_dim
    assert tuple(sorted(first.counts)) == first.counts


@pytest.mark.parametrize("steps", [16, 23, 60])
def test_the_share_of_each_vector_lies_between_its_bounds(steps: int) -> None:
    """For certain: the vectors' energy below ε is computed from the SVD."""
    name = "conv2d-stem"
    found = Quadrature(map_of(name), 3, (5, 5), (steps, steps))
    matrix = map_of(name).to_dense().numpy()
    left, sigma, _ = np.linalg.svd(matrix, full_matrices=False)
    start = torch.randn(5, len(matrix), generator=torch.Generator().manual_seed(3), dtype=torch.float64).numpy()
    energy = (start @ left) ** 2 / (start**2).sum()
    widths = []
    for bound in np.linspace(0.01, 1.05, 30) * sigma[0]:
        low, high = found.share(float(bound))
        assert low - 1e-12 <= energy[:, sigma <= bound].sum() <= high + 1e-12
        widths.append(high - low)
    assert max(widths) <= 6 / steps
    assert max(widths) > 1e-3 or steps == 60


@pytest.mark.parametrize(("probes", "size"), [(1, 30), (2, 9), (8, 200)])
def test_the_smallest_likely_dimension_is_that_of_a_search(probes: int, size: int) -> None:
    found = Quadrature(Dense(torch.eye(size, dtype=torch.float64)))
    found.probes = probes
    for share in (0, 1e-9, 0.01, 0.2, 0.5, 0.9, 1 - 1e-9, 1):
        likely = [
            d
            for d in range(size + 1)
            if (d == size or (d == 0 and share == 0))
            or (d > 0 and scipy.stats.beta.sf(share, probes * d / 2, probes * (size - d) / 2) > 0.025)
        ]
        assert found._at_least(share) == likely[0]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.usefixtures("only_random")
def test_units_do_not_matter_to_random_vectors(scale: float) -> None:
    case = map_of("conv2d-groups")
    scaled = Composed(Diagonal(torch.tensor(scale, dtype=torch.float64), case.out_shape), case)
    assert soft_dimension(scaled).counts == soft_dimension(case).counts


def test_any_map_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by automatic differentiation."""
    few: Any = {"probes": (2, 4), "steps": (16, 20)}
    monkeypatch.setattr(soft, "count_up_to", partial(count_up_to, **few))
    kernel = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    conv = nn.Conv2d(1, 4, 3, 1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        conv.weight.copy_(kernel)
    conv.requires_grad_(False)
    by_hand = from_module(conv, (1, 12, 12))
    followed = Jacobian(lambda x: torch.nn.functional.conv2d(x[None], kernel, padding=1)[0], (1, 12, 12))
    assert soft_dimension(followed, [0.5, 0.8]).counts == soft_dimension(by_hand, [0.5, 0.8]).counts
    found = Quadrature(followed, **few)
    assert found.up_to(0.5 * by_hand.norm())[1] == Quadrature(by_hand, **few).up_to(0.5 * by_hand.norm())[1]


# --- circulant embedding------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in CASES if embeds(map_of(case))], ids=lambda case: case.id)
def test_the_symbol_bounds_the_count(case: Case) -> None:
    operator, sigma = map_of(case), true_sigma(case)
    found = symbol(operator)
    assert found is not None
    assert found.counts.sum() == min(CirculantEmbedding.sides(operator)) * CirculantEmbedding.size(operator)
    more = operator.in_dim - min(operator.in_dim, operator.out_dim)
    for bound in gaps(sigma):
        (count,) = _by_symbol(operator, [bound]) or []
        assert count.low <= int((sigma <= bound).sum()) - more <= count.high
        assert count.low <= count.best <= count.high
        assert count.high - count.low <= found.boundary


def test_the_symbol_of_a_circular_map_is_its_spectrum() -> None:
    """Without padding and surplus outputs the circulant embedding is the map itself: kernels as large as the stride."""
    name = "conv2d-patches-tall"
    found = symbol(map_of(name))
    assert found is not None
    assert found.boundary == 0
    assert np.allclose(np.repeat(found.sigma, found.counts), true_sigma(name)[: found.counts.sum()], atol=1e-14)


# --- what must not matter ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conv2d-stem", "linear-tokens", "resize-antialiased", "conv2d-depthwise"])
@pytest.mark.parametrize("scale", [-3.0, 1e-60, 1e60])
def test_relative_counts_do_not_depend_on_units(name: str, scale: float) -> None:
    case = map_of(name)
    scaled = Composed(Diagonal(torch.tensor(scale, dtype=torch.float64), case.out_shape), case)
    thresholds = [bound / true_sigma(name)[0] for bound in gaps(true_sigma(name))]
    one, other = soft_dimension(case, thresholds), soft_dimension(scaled, thresholds)
    assert one.counts == other.counts
    assert other.norm == pytest.approx(abs(scale) * one.norm, rel=1e-9)


@pytest.mark.parametrize("name", ["conv2d-stem", "transpose2d-up", "resize-bicubic-both", "linear-tokens", "pad-zeros"])
def test_the_adjoint_has_the_same_singular_values(name: str) -> None:
    operator = map_of(name)
    bounds = gaps(true_sigma(name)) or [0.5]
    there, back = (soft_dimension(each, bounds, relative=False).counts for each in (operator, operator.T))
    assert [a - b for a, b in zip(there, back, strict=True)] == [operator.in_dim - operator.out_dim] * len(bounds)


def test_relative_and_absolute_thresholds_say_the_same() -> None:
    operator = map_of("conv2d-stem")
    relative = soft_dimension(operator)
    absolute = soft_dimension(operator, relative.epsilons, relative=False)
    assert relative.thresholds == DECADES
    assert relative.counts == absolute.counts
    shuffled = soft_dimension(operator, DECADES[::-1])
    assert shuffled.counts == relative.counts[::-1]


@pytest.mark.parametrize("name", ["norm-conv-1x1", "pad-patches-norm", "unshuffle-1x1", "transpose2d-up"])
def test_the_core_of_a_map_has_its_singular_values(name: str) -> None:
    operator = map_of(name)
    factor = Diagonal(torch.full((1,), -0.3, dtype=torch.float64), operator.out_shape)
    padded = Padding(operator.out_shape, [(2, 1)]) @ factor @ operator
    free = isometry_free(padded)
    inner, gain = free.operator, free.gain
    assert inner.out_shape == operator.out_shape
    assert gain == pytest.approx(0.3 if name == "transpose2d-up" else 1.0)  # the others take it into their weights
    largest = torch.linalg.svdvals(inner.to_dense())
    assert torch.allclose(gain * largest, torch.linalg.svdvals(padded.to_dense())[: len(largest)], atol=1e-13)


@pytest.mark.parametrize("mode", ["zeros", "circular", "replicate"])
def test_padding_in_front_is_no_core(mode: str) -> None:
    """It keeps lengths, or reads values twice, but what follows does not see every direction of its output."""
    matrix = torch.randn(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    operator = Dense(matrix, (2,)) @ Padding((2, 6), [(2, 1)], mode)
    free = isometry_free(operator)
    inner, gain = free.operator, free.gain
    assert torch.allclose(gain * torch.linalg.svdvals(inner.to_dense()), torch.linalg.svdvals(operator.to_dense()))
    cropped = Dense(matrix, (2,)) @ Padding((2, 12), [(-2, -1)], mode)
    assert isometry_free(cropped).operator.in_shape == (2, 9)  # whole rows of the identity are left out


def test_the_core_reads_no_more_than_it_needs() -> None:
    """The resize in front is left with as many inputs as outputs, by an LQ decomposition of each axis."""
    free = isometry_free(map_of("resize-conv"))
    inner, gain = free.operator, free.gain
    assert inner.in_shape == (3, 9, 10)
    sigma = gain * torch.linalg.svdvals(inner.to_dense()).numpy()
    assert np.abs(sigma - true_sigma("resize-conv")[: len(sigma)]).max() <= 1e-13
    wide = Dense(torch.randn(4, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64), (5,))
    both = from_module(nn.AvgPool1d(2), (5, 4)) @ wide
    inner = isometry_free(both).operator
    assert inner.in_shape == (5, 4)
    assert torch.allclose(torch.linalg.svdvals(inner.to_dense()), torch.linalg.svdvals(both.to_dense()))


def test_a_map_of_zeros_shows_nothing() -> None:
    found = soft_dimension(map_of("conv2d-all-dead"))
    assert set(found.counts) == {192}
    assert found.norm == 0
    assert spectrum(map_of("conv2d-all-dead")).sigma == (0.0, 0.0)


@pytest.mark.parametrize("thresholds", [[], [0.0], [1e-3, -1e-3], [float("nan")], [float("inf")]])
def test_thresholds_that_are_none_are_refused(thresholds: list[float]) -> None:
    with pytest.raises(ValueRangeError, match="finite and above 0") as error:
        soft_dimension(map_of("linear-wide"), thresholds)
    assert f"{thresholds[-1]:g}" in str(error.value) if thresholds else "none" in str(error.value)


def test_results_are_plain_values() -> None:
    found = json.loads(json.dumps(soft_dimension(map_of("conv2d-stem"), [1e-2, 0.5]).to_dict(), allow_nan=False))
    assert [row["threshold"] for row in found["counts"]] == [1e-2, 0.5]
    assert set(found["counts"][0]) == {"threshold", "epsilon", "count", "low", "high", "kind"}
    curve = json.loads(json.dumps(spectrum(map_of("conv2d-stem")).to_dict(), allow_nan=False))
    assert len(curve["positions"]) == len(curve["sigma"])


# --- the spectrum -----------------------------------------------------------------------------------------


@each_case
def test_an_exact_spectrum_lies_on_the_curve(case: Case) -> None:
    sigma = true_sigma(case)
    for points in (10_000, 20):
        found = spectrum(map_of(case), points)
        assert found.kind == "exact"
        assert (found.positions[0], found.positions[-1]) == (1, len(sigma))
        at = sigma[np.array(found.positions) - 1]
        assert np.abs(at - np.array(found.sigma)).max() <= 1e-7 * max(sigma[0], 1e-300)
        assert points != 20 or len(found.positions) <= 40
    values = singular_values(map_of(case))
    assert values is not None
    whole = spectrum(map_of(case), 10_000)
    steps = np.interp(np.arange(1, len(sigma) + 1), whole.positions, whole.sigma)
    assert np.abs(steps - sigma).max() <= 1e-7 * max(sigma[0], 1e-300)


@pytest.mark.usefixtures("only_random")
@pytest.mark.parametrize("name", ["conv2d-groups", "resize-conv", "conv2d-reflect", "conv2d-box-blur"])
def test_an_estimated_spectrum_is_near_the_curve(name: str) -> None:
    sigma = true_sigma(name)
    found = spectrum(map_of(name), 100)
    assert found.kind == "estimated"
    assert (found.positions[0], found.positions[-1]) == (1, len(sigma))
    assert tuple(sorted(found.sigma, reverse=True)) == found.sigma
    at = sigma[np.array(found.positions) - 1]
    assert np.abs(at - np.array(found.sigma)).mean() <= 0.02 * sigma[0]
    assert np.abs(at - np.array(found.sigma)).max() <= 0.1 * sigma[0]


@pytest.mark.usefixtures("only_random")
def test_the_spectrum_of_a_large_convolution_is_its_symbol_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soft, "EDGES", 1.0)
    found, sigma = spectrum(map_of("conv2d-box-blur"), 200), true_sigma("conv2d-box-blur")
    assert "torus" in found.method
    at = sigma[np.array(found.positions) - 1]
    assert np.abs(at - np.array(found.sigma)).max() <= 0.05 * sigma[0]


def test_a_spectrum_of_one_point_is_none() -> None:
    with pytest.raises(ValueRangeError, match="at least 2 points, got 1"):
        spectrum(map_of("linear-wide"), 1)


# --- energy -----------------------------------------------------------------------------------------------


def images(count: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Smooth images with a mean, in [0, 1]."""
    noise = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise.cumsum(-1) / shape[-1]


@pytest.mark.parametrize("name", ["conv2d-stem", "linear-wide", "conv2d-luminance", "resize-antialiased"])
def test_energies_are_those_of_the_projector_s_matrix(name: str) -> None:
    module, shape = CASE[name].make()
    space = bs.nullspace(module, shape)
    x = images(5, shape)
    found = blind_energy(space, x)
    projector = null_projector(map_of(name).to_dense().numpy())
    by_channel = x.reshape(5, shape[0] if len(shape) > 1 else 1, -1)
    centred = (by_channel - by_channel.mean(2, keepdim=True)).flatten(1).numpy()
    for share, vectors in ((found.raw, x.flatten(1).numpy()), (found.centred, centred)):
        expected = ((vectors @ projector) ** 2).sum(1) / (vectors**2).sum(1)
        assert np.abs(share.numpy() - expected).max() <= 1e-12
    assert found.noise == space.dim / space.ambient_dim
    summary = found.summary()
    assert set(summary) == set(found.shares())
    assert summary["raw"]["mean"] == pytest.approx(float(found.raw.mean()))
    assert summary["raw"]["max"] == float(found.raw.max())
    assert len(json.loads(json.dumps(found.to_dict(), allow_nan=False))["images"]["centred"]) == 5


def test_controls_have_the_share_of_noise() -> None:
    module, shape = CASE["conv2d-stem"].make()
    space = bs.nullspace(module, shape)
    noise = torch.randn(400, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = blind_energy(space, noise)
    error = found.noise_deviation / 400**0.5
    for share in (found.raw, found.shuffled, found.random):
        assert float(share.mean()) == pytest.approx(found.noise, abs=5 * error)
    assert float(found.random.std()) == pytest.approx(found.noise_deviation, rel=0.2)
    assert float(found.raw.std()) == pytest.approx(found.noise_deviation, rel=0.2)


def test_shuffling_moves_pixels_whole() -> None:
    """A space of grey directions sees an image of greys the same in any order; the centred image as well."""
    module, shape = CASE["conv2d-1x1"].make()
    space = bs.nullspace(module, shape)
    found = blind_energy(space, images(6, shape))
    assert torch.allclose(found.raw, found.shuffled, atol=1e-12)
    assert torch.allclose(found.centred, found.shuffled_centred, atol=1e-12)
    blur = bs.nullspace(*CASE["resize-antialiased"].make())
    smooth = blind_energy(blur, images(6, blur.shape))
    assert float((smooth.shuffled_centred - smooth.centred).min()) > 0.2  # the order was what made it smooth


def test_energy_of_special_images() -> None:
    space = bs.nullspace(*CASE["conv2d-stem"].make())
    constant = torch.full((2, *space.shape), 0.9, dtype=torch.float64)  # whose mean is off by rounding
    constant[1] = 0
    found = blind_energy(space, constant)
    assert float(found.raw[0]) > 0
    assert found.centred.tolist() == found.shuffled_centred.tolist() == [0, 0]
    assert [share[1] for share in (found.raw.tolist(), found.shuffled.tolist(), found.random.tolist())] == [0, 0, 0]
    once, again, other = (blind_energy(space, images(3, space.shape), seed).to_dict() for seed in (1, 1, 2))
    assert once == again
    assert once["images"]["shuffled"] != other["images"]["shuffled"]
    everything = blind_energy(bs.nullspace(*CASE["conv2d-all-dead"].make()), images(2, (3, 8, 8)))
    assert everything.random.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[:0], ValueRangeError, "at least one image"),
        (lambda x: x * float("nan"), ValueRangeError, "NaN or infinite"),
        (lambda x: x[:, :2], ShapeError, "must have shape"),
        (lambda x: x.long(), ShapeError, "floating-point"),
    ],
)
def test_images_that_have_no_energy_are_refused(change: Any, error: type[Exception], message: str) -> None:
    space = bs.nullspace(*CASE["conv2d-stem"].make())
    with pytest.raises(error, match=message):
        blind_energy(space, change(images(2, space.shape)))


# --- the picture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_spectrum_is_drawn(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from blindspace.report.spectrum import draw

    operator = map_of("conv2d-gabor")
    path = tmp_path / f"spectrum{suffix}"
    draw(spectrum(operator), soft_dimension(operator), path)
    assert path.stat().st_size > 5000
    bare = tmp_path / f"bare{suffix}"
    draw(spectrum(map_of("flatten")), None, bare)
    assert bare.exists()


def test_labels_say_how_well_a_count_is_known() -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from blindspace.report.spectrum import label

    found = EpsilonNullity(
        (1e-2, 0.5, 0.7), True, 2.0, (0.02, 1.0, 1.4), 9000, (1234, 5, 6), (1234, 4, 5), (1234, 6, 7),
        ("exact", "bounded", "estimated"), "by hand",
    )  # fmt: skip
    assert [label(found, index) for index in range(3)] == [
        "ε = 0.01 ‖A‖: 1,234",
        "ε = 0.5 ‖A‖: about 5 (4 to 6)",
        "ε = 0.7 ‖A‖: about 6 (5 to 7, 95 %)",
    ]


def test_pictures_that_cannot_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from blindspace.report.spectrum import draw

    curve = Spectrum(4, (1, 4), (2.0, 1.0), 0.0, "exact", "by hand")
    with pytest.raises(ValueRangeError, match="not the name of a picture"):
        draw(curve, None, tmp_path / "spectrum.txt")
    with pytest.raises(ValueRangeError, match="60 inputs, the spectrum of one of 4"):
        draw(curve, soft_dimension(map_of("linear-wide")), tmp_path / "spectrum.png")
    with pytest.raises(ValueRangeError, match="every singular value is 0"):
        draw(spectrum(map_of("conv2d-all-dead")), None, tmp_path / "spectrum.png")
    assert not list(tmp_path.iterdir())
