"""ε-nullity and spectrum: numbers of small singular values against dense ones, intervals that contain the truth."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from blindspace.errors import ValueRangeError
from blindspace.maps import Composed, Dense, Diagonal, Jacobian, LinearMap, Padding, Rearrange, VStack, from_module
from blindspace.solvers.spectra.lanczos_quadrature import Quadrature
from blindspace.solvers.spectra.singular_values import singular_values
from blindspace.subspaces.epsilon_nullity import DECADES, soft_dimension, spectrum
from cases import CASES, Case
from oracle import gaps, map_of, true_sigma

CONVOLUTIONS = ["conv1d-strided", "conv2d-stem", "conv2d-dilated", "conv2d-luminance", "conv2d-overdetermined"]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)

ESTIMATE: Any = {"estimate": True, "probes": (2, 8), "steps": (16, 40)}
"""Estimates as for large maps, with few vectors and steps, so that intervals are wide enough to fail."""


# --- exact -----------------------------------------------------------------------------


@each_case
def test_counts_are_those_of_the_whole_matrix(case: Case) -> None:
    sigma = true_sigma(case)
    bounds = gaps(sigma)
    if not bounds:
        assert sigma[0] == sigma[-1] or sigma[0] == 0 or sigma[0] < 1.01 * sigma[-1]
        return
    found = soft_dimension(map_of(case), thresholds=bounds, relative=False)
    assert found.counts == tuple(int((sigma <= bound).sum()) for bound in bounds)
    assert set(found.kinds) == {"exact"}
    assert found.low == found.counts == found.high
    assert found.epsilons == found.thresholds == tuple(bounds)


@pytest.mark.parametrize("case", [case for case in CASES if case.dim is not None], ids=lambda case: case.id)
def test_the_smallest_threshold_counts_the_nullspace(case: Case) -> None:
    found = soft_dimension(map_of(case), thresholds=[1e-5])
    assert (found.counts, found.kinds) == ((case.dim,), ("exact",))


def known(name: str) -> tuple[LinearMap, list[float], list[int]]:
    """A map, absolute thresholds, and the counts that follow by hand."""
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
    found = soft_dimension(operator, thresholds=thresholds, relative=False)
    assert list(found.counts) == expected
    assert set(found.kinds) == {"exact"}


def test_counts_that_rounding_decides_are_bounded() -> None:
    """The cases σ = ε up to rounding, and ε below rounding."""
    rotation = torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    found = soft_dimension(Dense(rotation), thresholds=[1.0], relative=False)
    assert (found.low, found.high, found.kinds) == ((0,), (9,), ("bounded",))
    deficient = soft_dimension(map_of("linear-rank-deficient"), thresholds=[1e-18])
    assert (deficient.low, deficient.high, deficient.kinds) == ((20,), (34,), ("bounded",))
    assert soft_dimension(Dense(rotation), thresholds=[1.0]).counts == (
        9,
    )  # as a share of ‖A‖ there is nothing to decide


# --- by random vectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [*CONVOLUTIONS, "conv2d-groups", "resize-conv", "conv2d-box-blur", "transpose2d-up", "conv2d-reflect"]
)
def test_intervals_contain_the_true_count(name: str) -> None:
    """At seven thresholds and ten seeds; each interval is right at least 19 times out of 20."""
    sigma = true_sigma(name)
    wrong = asked = 0
    for seed in range(10):
        found = soft_dimension(map_of(name), thresholds=[1e-6, 1e-3, 0.05, 0.2, 0.4, 0.6, 0.8], seed=seed, **ESTIMATE)
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


def test_estimates_repeat_with_their_seed() -> None:
    operator = map_of("conv2d-groups")
    first, again, other = (soft_dimension(operator, seed=seed, **ESTIMATE) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first.kinds[-1] == "exact"  # no singular value exceeds ε = ‖A‖
    assert first.counts[-1] == operator.in_dim
    assert tuple(sorted(first.counts)) == first.counts


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_units_do_not_matter_to_random_vectors(scale: float) -> None:
    case = map_of("conv2d-groups")
    scaled = Composed(Diagonal(torch.tensor(scale, dtype=torch.float64), case.out_shape), case)
    assert soft_dimension(scaled, **ESTIMATE).counts == soft_dimension(case, **ESTIMATE).counts


def test_a_map_by_automatic_differentiation() -> None:
    few: Any = {"probes": (2, 4), "steps": (16, 20)}
    kernel = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    conv = nn.Conv2d(1, 4, 3, 1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        conv.weight.copy_(kernel)
    conv.requires_grad_(False)
    by_hand = from_module(conv, (1, 12, 12))
    followed = Jacobian(lambda x: torch.nn.functional.conv2d(x[None], kernel, padding=1)[0], (1, 12, 12))
    one, other = (soft_dimension(each, thresholds=[0.5, 0.8], **few).counts for each in (followed, by_hand))
    assert one == other
    found = Quadrature(followed, **few)
    assert found.up_to(0.5 * by_hand.norm())[1] == Quadrature(by_hand, **few).up_to(0.5 * by_hand.norm())[1]


# --- what must not matter ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conv2d-stem", "linear-tokens", "resize-antialiased", "conv2d-depthwise"])
@pytest.mark.parametrize("scale", [-3.0, 1e-60, 1e60])
def test_relative_counts_do_not_depend_on_units(name: str, scale: float) -> None:
    case = map_of(name)
    scaled = Composed(Diagonal(torch.tensor(scale, dtype=torch.float64), case.out_shape), case)
    thresholds = [bound / true_sigma(name)[0] for bound in gaps(true_sigma(name))]
    one, other = soft_dimension(case, thresholds=thresholds), soft_dimension(scaled, thresholds=thresholds)
    assert one.counts == other.counts
    assert other.norm == pytest.approx(abs(scale) * one.norm, rel=1e-9)


@pytest.mark.parametrize("name", ["conv2d-stem", "transpose2d-up", "resize-bicubic-both", "linear-tokens", "pad-zeros"])
def test_the_adjoint_has_the_same_singular_values(name: str) -> None:
    operator = map_of(name)
    bounds = gaps(true_sigma(name)) or [0.5]
    there, back = (soft_dimension(each, thresholds=bounds, relative=False).counts for each in (operator, operator.T))
    assert [a - b for a, b in zip(there, back, strict=True)] == [operator.in_dim - operator.out_dim] * len(bounds)


def test_relative_and_absolute_thresholds_say_the_same() -> None:
    operator = map_of("conv2d-stem")
    relative = soft_dimension(operator)
    absolute = soft_dimension(operator, thresholds=relative.epsilons, relative=False)
    assert relative.thresholds == DECADES
    assert relative.counts == absolute.counts
    shuffled = soft_dimension(operator, thresholds=DECADES[::-1])
    assert shuffled.counts == relative.counts[::-1]


def test_a_zero_map_has_full_nullity() -> None:
    found = soft_dimension(map_of("conv2d-all-dead"))
    assert set(found.counts) == {192}
    assert found.norm == 0
    assert spectrum(map_of("conv2d-all-dead")).sigma == (0.0, 0.0)


@pytest.mark.parametrize("thresholds", [[], [0.0], [1e-3, -1e-3], [float("nan")], [float("inf")]])
def test_wrong_thresholds_are_refused(thresholds: list[float]) -> None:
    with pytest.raises(ValueRangeError, match="finite and above 0") as error:
        soft_dimension(map_of("linear-wide"), thresholds=thresholds)
    assert f"{thresholds[-1]:g}" in str(error.value) if thresholds else "[]" in str(error.value)


def test_results_are_plain_values() -> None:
    found = json.loads(
        json.dumps(soft_dimension(map_of("conv2d-stem"), thresholds=[1e-2, 0.5]).to_dict(), allow_nan=False)
    )
    assert [row["threshold"] for row in found["counts"]] == [1e-2, 0.5]
    assert set(found["counts"][0]) == {"threshold", "epsilon", "count", "low", "high", "kind"}
    curve = json.loads(json.dumps(spectrum(map_of("conv2d-stem")).to_dict(), allow_nan=False))
    assert len(curve["positions"]) == len(curve["sigma"])


# --- the spectrum -----------------------------------------------------------------------------------------


@each_case
def test_an_exact_spectrum_lies_on_the_curve(case: Case) -> None:
    sigma = true_sigma(case)
    for points in (10_000, 20):
        found = spectrum(map_of(case), points=points)
        assert found.kind == "exact"
        assert (found.positions[0], found.positions[-1]) == (1, len(sigma))
        at = sigma[np.array(found.positions) - 1]
        assert np.abs(at - np.array(found.sigma)).max() <= 1e-7 * max(sigma[0], 1e-300)
        assert points != 20 or len(found.positions) <= 40
    values = singular_values(map_of(case))
    assert values is not None
    whole = spectrum(map_of(case), points=10_000)
    steps = np.interp(np.arange(1, len(sigma) + 1), whole.positions, whole.sigma)
    assert np.abs(steps - sigma).max() <= 1e-7 * max(sigma[0], 1e-300)


@pytest.mark.parametrize("name", ["conv2d-groups", "resize-conv", "conv2d-reflect", "conv2d-box-blur"])
def test_an_estimated_spectrum_is_near_the_curve(name: str) -> None:
    sigma = true_sigma(name)
    found = spectrum(map_of(name), points=100, estimate=True)
    assert found.kind == "estimated"
    assert (found.positions[0], found.positions[-1]) == (1, len(sigma))
    assert tuple(sorted(found.sigma, reverse=True)) == found.sigma
    at = sigma[np.array(found.positions) - 1]
    assert np.abs(at - np.array(found.sigma)).mean() <= 0.02 * sigma[0]
    assert np.abs(at - np.array(found.sigma)).max() <= 0.1 * sigma[0]


def test_the_spectrum_of_a_large_convolution_is_its_symbol_s() -> None:
    name = "conv2d-box-blur"
    found, sigma = spectrum(map_of(name), points=200, estimate=True, boundary=1.0), true_sigma(name)
    assert "circulant embedding" in found.method
    at = sigma[np.array(found.positions) - 1]
    assert np.abs(at - np.array(found.sigma)).max() <= 0.05 * sigma[0]


def test_a_spectrum_of_one_point_is_refused() -> None:
    with pytest.raises(ValueRangeError, match="at least 2, got 1"):
        spectrum(map_of("linear-wide"), points=1)
