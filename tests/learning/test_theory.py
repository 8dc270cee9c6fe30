"""The network of the theory, its maximal margin, gradient descent, and the condition, beside slow implementations."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from blindspace.errors import NotSeparableError, ShapeError, ValueRangeError
from blindspace.learning.condition import condition
from blindspace.learning.descent import descent
from blindspace.learning.max_margin import MaxMargin, _non_negative, _pivoted, gram, max_margin
from blindspace.learning.two_layer import TwoLayer
from theory_cases import log_loss, outputs, samples

KINDS = [("orthogonal", 6, 12, 0.1), ("uniform", 5, 60, 0.5), ("uniform", 4, 90, 0.9), ("uniform", 9, 16, 1.0)]


def test_the_network_is_that_of_the_theory() -> None:
    x, _ = samples("uniform", 5, 7)
    network = TwoLayer.random(6, 7, 0.3, torch.Generator().manual_seed(1), 0.5)
    torch.testing.assert_close(network(x), outputs(network.weights, network.readout, 0.3, x))
    torch.testing.assert_close(network(x.float().reshape(5, 1, 7)), network(x), atol=1e-6, rtol=1e-6)
    assert network.readout.tolist() == pytest.approx([6**-0.5] * 3 + [-(6**-0.5)] * 3)
    default = TwoLayer.random(200, 25, 0.3, torch.Generator().manual_seed(1)).weights
    assert 0.19 < float(default.abs().max()) <= 0.2


@pytest.mark.parametrize("rows", [0, 3])
def test_an_odd_number_of_neurons_is_refused(rows: int) -> None:
    with pytest.raises(ShapeError, match="even number of rows"):
        TwoLayer.of(torch.ones(rows, 2), 0.5)


def least_weights(x: Tensor, y: Tensor, slope: float) -> Tensor:
    """λ by trying every set of samples with positive multipliers."""
    q, best = gram(x, y, slope), None
    for size in range(1, len(x) + 1):
        for some in map(list, combinations(range(len(x)), size)):
            part = torch.linalg.lstsq(q[some][:, some], torch.ones(size, 1, dtype=torch.float64)).solution[:, 0]
            found = torch.zeros_like(y)
            found[some] = part
            optimal = bool((part > 0).all()) and bool((q @ found > 1 - 1e-9).all())
            if optimal and (best is None or found.sum() < best.sum()):
                best = found
    assert best is not None
    return best


@pytest.mark.parametrize(("kind", "count", "dim", "slope"), [*KINDS, ("uniform", 8, 7, 0.2)])
def test_multipliers_are_those_of_exhaustive_search(kind: str, count: int, dim: int, slope: float) -> None:
    x, y = samples(kind, count, dim)
    found = max_margin(x, y, slope)
    torch.testing.assert_close(found.multipliers, least_weights(x, y, slope), atol=1e-9, rtol=1e-6)
    assert found.residual < 1e-9
    torch.testing.assert_close(found.direction, sum(m * t * s for m, t, s in zip(found.multipliers, y, x, strict=True)))


def stationarity(found: MaxMargin, x: Tensor, y: Tensor) -> float:
    """‖W − Σ λ_n y_n ∇f(x_n)‖/‖W‖ by automatic differentiation of the network itself."""
    weights = found.network.weights.clone().requires_grad_()
    network = TwoLayer.of(weights, found.network.slope)
    (gradient,) = torch.autograd.grad((found.multipliers * y * network(x)).sum(), weights)
    return float((weights - gradient).detach().norm() / weights.detach().norm())


@pytest.mark.parametrize(("kind", "count", "dim", "slope"), KINDS)
def test_the_network_is_stationary_where_its_pattern_is_the_assumed_one(
    kind: str, count: int, dim: int, slope: float
) -> None:
    x, y = samples(kind, count, dim)
    found = max_margin(x, y, slope)
    assert found.exact
    assert stationarity(found, x, y) < 1e-12
    margins = y * found.network(x)
    assert float(margins.min()) == pytest.approx(1, abs=1e-9)
    assert found.margin == pytest.approx(float(margins.min() / found.network.weights.norm()), rel=1e-9)
    z = torch.randn(500, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert torch.equal(found.network(z).sign(), (z @ found.direction).sign())


def test_another_pattern_is_recognised() -> None:
    x, y = samples("uniform", 8, 7)
    found = max_margin(x, y, 0.01)
    assert not found.exact
    assert stationarity(found, x, y) > 1e-3


def test_without_a_separating_network_there_is_no_solution() -> None:
    x, y = samples("uniform", 40, 2)
    with pytest.raises(NotSeparableError, match="no weights separate the 40 samples"):
        max_margin(x, y, 0.5)
    both = torch.cat([x[:1], x[:1]])
    with pytest.raises(NotSeparableError):
        max_margin(both, torch.tensor([1.0, -1.0]), 1.0)


def test_separable_samples_may_outnumber_the_dimensions() -> None:
    """The constant vector is then not in the range of Q, and the programme has a solution all the same."""
    x = torch.cat([torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)])
    y = x[:, 0].sign()
    found = max_margin(x, y, 0.4)
    assert found.method == "non-negative least squares"
    assert torch.equal((x @ found.direction).sign(), y)
    assert int((found.multipliers > 0).sum()) <= 6


@given(st.integers(2, 60), st.floats(1, 4), st.floats(0.05, 1), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_principal_pivoting_finds_the_multipliers_of_least_squares(
    count: int, more: float, slope: float, seed: int
) -> None:
    x, y = samples("uniform", count, int(more * count), seed)
    q = gram(x, y, slope)
    found = _pivoted(q, torch.linalg.solve(q, torch.ones(count, dtype=torch.float64)))
    assert found is not None
    torch.testing.assert_close(found, _non_negative(q), atol=1e-9 * float(found.max()), rtol=1e-7)


def test_many_samples_take_principal_pivoting() -> None:
    x, y = samples("uniform", 200, 200)
    found = max_margin(x, y, 0.01)
    assert found.method == "principal pivoting"
    assert 100 < int((found.multipliers > 0).sum()) < 200
    assert found.residual < 1e-12


@pytest.mark.parametrize(
    ("labels", "slope"), [(torch.tensor([0.0, 1.0]), 0.5), (torch.tensor([1.0, -1.0]), 0.0), (torch.ones(2), 1.5)]
)
def test_arguments_of_the_programme(labels: Tensor, slope: float) -> None:
    with pytest.raises(ValueRangeError, match=r"labels must be|slope must be"):
        max_margin(torch.eye(2), labels, slope)


@given(st.integers(2, 7), st.integers(8, 20), st.floats(0.05, 1), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_the_multipliers_do_not_depend_on_scale_and_rotation(count: int, dim: int, slope: float, seed: int) -> None:
    x, y = samples("uniform", count, dim, seed)
    rotation = torch.linalg.qr(samples("uniform", dim, dim, seed + 1)[0]).Q
    found, turned = max_margin(x, y, slope), max_margin(3 * x @ rotation, y, slope)
    torch.testing.assert_close(turned.multipliers * 9, found.multipliers, atol=1e-9, rtol=1e-6)
    assert turned.pattern == found.pattern


def test_the_first_step_goes_down_the_logarithm_of_the_loss() -> None:
    x, y = samples("uniform", 4, 6)
    start = TwoLayer.random(4, 6, 0.3, torch.Generator().manual_seed(2), 0.4)
    weights = start.weights.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(log_loss(weights, start.readout, 0.3, x, y), weights)
    moved = descent(start, x, y, 1).network.weights - start.weights
    assert float((moved * -gradient).sum() / moved.norm() / gradient.norm()) == pytest.approx(1, abs=1e-12)


def test_the_loss_falls_all_the_way() -> None:
    x, y = samples("uniform", 12, 6)
    start = TwoLayer.random(10, 6, 0.2, torch.Generator().manual_seed(2))
    last = float("inf")
    for steps in (1, 2, 5, 10, 20, 40, 80, 160):
        loss = float(torch.logsumexp(-y * descent(start, x, y, steps).network(x), 0))
        assert loss < last
        last = loss


def test_steps_are_not_longer_than_the_curvature_allows() -> None:
    """Of one sample with both labels the least loss is at f(x) = 0, which longer steps would jump across forever."""
    x = torch.full((2, 3), 5.0)
    start = TwoLayer.random(4, 3, 1.0, torch.Generator().manual_seed(0))
    assert float(descent(start, x, torch.tensor([1.0, -1.0]), 300).network(x).abs().max()) < 1e-9


@pytest.mark.parametrize(("kind", "count", "dim", "slope"), KINDS)
def test_descent_finds_the_solution_of_the_programme(kind: str, count: int, dim: int, slope: float) -> None:
    x, y = samples(kind, count, dim)
    exact = max_margin(x, y, slope)
    start = TwoLayer.random(8, dim, slope, torch.Generator().manual_seed(0), 1e-6)
    found = descent(start, x, y, 4000)
    assert float(torch.cosine_similarity(found.network.direction, exact.direction, 0)) > 0.99999
    torch.testing.assert_close(
        found.multipliers, exact.multipliers, rtol=0.02, atol=0.02 * float(exact.multipliers.max())
    )


def test_descent_says_if_a_sample_is_misclassified() -> None:
    x = torch.ones(2, 3, dtype=torch.float64)
    found = descent(TwoLayer.random(4, 3, 0.5, torch.Generator().manual_seed(0)), x, torch.tensor([1.0, -1.0]), 20)
    assert bool(found.multipliers.isinf().all())
    with pytest.raises(ValueRangeError, match="all samples are 0"):
        descent(found.network, torch.zeros(2, 3), torch.tensor([1.0, -1.0]))
    with pytest.raises(ShapeError, match="reads 3 values"):
        descent(found.network, torch.ones(2, 4), torch.tensor([1.0, -1.0]))


def test_both_sides_of_the_condition() -> None:
    x = torch.tensor([[3.0, 0.0], [0.5, 2.0], [0.0, 2.5]])
    found = condition(x, 0.5)
    assert found.left == pytest.approx(0.125 * 4.25**2 / (9 * 9))
    assert found.p_max == 5.0
    assert found.bounds == pytest.approx((1 / 18, 3 / (0.5 * 4.25)))
    assert found.margin == pytest.approx(found.left / 5)
    assert not found.holds
    assert found.within(torch.tensor([0.06, 1.0]))
    assert not found.within(torch.tensor([0.05, 1.0]))
    assert condition(torch.eye(3), 0.1).margin == float("inf")
    with pytest.raises(ShapeError, match="none is 0"):
        condition(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), 0.5)


@pytest.mark.parametrize(("kind", "count", "dim", "slope"), [("orthogonal", 6, 12, 0.3), ("uniform", 3, 4000, 0.95)])
def test_where_the_condition_holds_the_multipliers_are_within_its_bounds(
    kind: str, count: int, dim: int, slope: float
) -> None:
    x, y = samples(kind, count, dim)
    assert condition(x, slope).holds
    assert condition(x, slope).within(max_margin(x, y, slope).multipliers)
