"""Wide two-layer networks: training against that of torch, the kernel against Monte Carlo, the predicted direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from blindspace.errors import BlindspaceError
from blindspace.learning.wide import (
    LOSSES,
    WideNetwork,
    agreement,
    derivative_kernel,
    predicted_direction,
)


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=draw(seed), dtype=torch.float64)


def signs(n: int, seed: int = 0) -> Tensor:
    return 2.0 * torch.randint(0, 2, (n,), generator=draw(seed)).double() - 1


def network(d: int = 5, m: int = 7, slope: float = 0.0, seed: int = 0) -> WideNetwork:
    return WideNetwork.random(d, m, draw(seed), slope, torch.float64)


AS_WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: -z,
    "logistic": lambda z: torch.log(1 + torch.exp(-z)),
    "exponential": lambda z: torch.exp(-z),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_training_is_that_of_torch(loss: str, slope: float) -> None:
    start, x, y = network(slope=slope), normal(20, 5), signs(20)
    weight, bias = start.weight.clone().requires_grad_(), start.bias.clone().requires_grad_()
    optimiser = torch.optim.SGD([weight, bias], 0.1, 0.9)
    for _ in range(30):
        optimiser.zero_grad()
        outputs = F.leaky_relu(x @ weight.T + bias, slope) @ start.readout
        AS_WRITTEN[loss](y * outputs).mean().backward()
        optimiser.step()
    found = start.trained(x, y, 30, 0.1, loss)
    torch.testing.assert_close(found.weight, weight.detach())
    torch.testing.assert_close(found.bias, bias.detach())
    assert torch.equal(found.readout, start.readout)
    assert not torch.equal(start.weight, found.weight)
    torch.testing.assert_close(start.trained(x, y, 0, 0.1).weight, start.weight)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_gradients_and_perturbations(slope: float) -> None:
    net, x, targets = network(slope=slope), normal(9, 5), signs(9)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(leaf).sum(), leaf)
    torch.testing.assert_close(net.gradient(x), expected)
    made = net.perturbations(x, targets, 0.2)
    torch.testing.assert_close(made.norm(dim=1), torch.full((9,), 0.2).double())
    assert bool(((made * expected).sum(1) * targets > 0).all())


def test_random_networks_have_the_stated_scales() -> None:
    net = WideNetwork.random(50, 4000, draw(0))
    assert net.weight.dtype == torch.float32
    assert float(net.weight.std()) == pytest.approx(50**-0.5, rel=0.02)
    assert float(net.bias.std()) == pytest.approx(1, rel=0.05)
    assert float(net.readout.std()) == pytest.approx(4000**-0.5, rel=0.05)
    assert not torch.equal(net.readout, WideNetwork.random(50, 4000, draw(1)).readout)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.sampled_from([0.0, 0.2, 1.0]), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_kernel_against_monte_carlo(d: int, a: int, b: int, slope: float, seed: int) -> None:
    x, z = 2 * normal(a, d, seed=seed), normal(b, d, seed=seed + 100)
    count = 40_000
    v, bias = normal(d, count, seed=seed + 200) / d**0.5, normal(count, seed=seed + 300)
    on_x, on_z = (torch.where(each @ v + bias > 0, 1.0, slope).double() for each in (x, z))
    found = derivative_kernel(x, z, slope)
    assert found.shape == (a, b)
    # The mean of values in [slope², 1] has a standard deviation of at most 1 / (2 √count).
    assert float((found - on_x @ on_z.T / count).abs().max()) <= 5 / (2 * count**0.5)


def test_kernel_of_equal_and_of_distant_points() -> None:
    x = normal(3, 4)
    torch.testing.assert_close(derivative_kernel(x, x).diagonal(), torch.full((3,), 0.5).double(), atol=1e-7, rtol=0)
    opposite = derivative_kernel(1e6 * x, -1e6 * x, 0.5).diagonal()
    torch.testing.assert_close(opposite, torch.full((3,), 0.5).double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("slope", [0.0, 0.4])
def test_direction_is_the_sum_that_it_says(slope: float, monkeypatch: pytest.MonkeyPatch) -> None:
    at, x, y = normal(6, 4), normal(5, 4, seed=1), signs(5)
    kernel = derivative_kernel(at, x, slope)
    expected = torch.stack([torch.stack([y[n] * kernel[i, n] * x[n] for n in range(5)]).sum(0) for i in range(6)])
    torch.testing.assert_close(predicted_direction(at, x, y, slope), expected)
    torch.testing.assert_close(predicted_direction(at, x, y.expand(6, 5), slope), expected)
    monkeypatch.setattr("blindspace.learning.wide.BLOCK", 10)  # two points at once
    torch.testing.assert_close(predicted_direction(at, x, y, slope), expected)


def test_what_training_adds_to_gradients_points_along_the_direction() -> None:
    """The wider the network, the better; a small step leaves the activations as they are."""
    x, y, at = normal(30, 8), signs(30), normal(20, 8, seed=1)
    direction = predicted_direction(at, x, y)
    found = []
    for m in (30, 20_000):
        start = network(8, m)
        added = start.trained(x, y, 1, 1e-4).gradient(at) - start.gradient(at)
        found.append(float(F.cosine_similarity(added, direction).mean()))
    assert found[1] > max(found[0], 0.995)


def test_agreement() -> None:
    x = normal(50, 5)
    first, second = network(), network(seed=1)
    assert agreement(first, first, x) == 1
    assert agreement(first, lambda z: -first(z), x) == 0
    assert agreement(first, second, x) == float((first(x).sign() == second(x).sign()).double().mean())


X, Y = normal(4, 5), signs(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: network().trained(X, Y, 3, 0.1, "hinge"), "unknown loss 'hinge'; there are identity"),
        (lambda: network().trained(X, Y, -1, 0.1), "the number of steps must be an integer"),
        (lambda: network().trained(X, Y, 3, 0.1, momentum=1.0), "the momentum must be below 1"),
        (lambda: network().trained(X, Y + 1, 3, 0.1), "labels of two classes"),
        (lambda: network().trained(X, Y[:2], 3, 0.1), "need labels"),
        (lambda: network().trained(X[:, :2], Y, 3, 0.1), "reads"),
        (lambda: network().trained(X, -100 * X[:, 0].sign(), 3, 0.1), "labels of two classes"),
        (lambda: network().trained(1e200 * X, Y, 3, 1e200), "diverged"),
        (lambda: WideNetwork.random(0, 3, draw(0)), "the dimension d"),
        (lambda: WideNetwork.random(3, 3, draw(0), slope=2), "the slope must be in"),
        (lambda: derivative_kernel(X, X[:, :2]), "the kernel compares"),
        (lambda: predicted_direction(X, X, Y[:2]), "need as many labels"),
    ],
)
def test_refused(call: Any, message: str) -> None:
    with pytest.raises(BlindspaceError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
