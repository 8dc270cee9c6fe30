"""Networks trained together are networks trained alone; distances to boundaries are those of known boundaries."""

from __future__ import annotations

from math import inf, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import softplus

from blindspace.experiments.common.boundaries import distance_along
from blindspace.experiments.common.ensembles import Ensemble, descend, ensemble


def alone(networks: Ensemble, index: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weight, bias in zip(networks.weights, networks.biases, strict=True):
        linear = nn.Linear(weight.shape[2], weight.shape[1], bias is not None, dtype=weight.dtype)
        linear.weight.data = weight.detach()[index].clone()
        if bias is not None:
            linear.bias.data = bias.detach()[index].clone()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("bias", [True, False])
def test_together_as_alone(bias: bool) -> None:
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    signs = torch.tensor([1.0, -1, 1, 1, -1], dtype=torch.float64)
    networks = ensemble([4, 7, 9], [3, 8, 6, 1], bias=bias)
    singles = [alone(networks, index) for index in range(3)]
    torch.testing.assert_close(networks(x), torch.stack([single(x) for single in singles]))
    steps = torch.optim.SGD(networks.trained().parameters, 0.3, momentum=0.5)
    own = [torch.optim.SGD(single.parameters(), 0.3, momentum=0.5) for single in singles]
    for _ in range(4):
        descend(steps, softplus(-signs * networks(x)[..., 0]).mean(1))
        for single, optimiser in zip(singles, own, strict=True):
            descend(optimiser, softplus(-signs * single(x)[:, 0]).mean(0, keepdim=True))
    for index, single in enumerate(singles):
        torch.testing.assert_close(networks(x)[index], single(x))
        point = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(single(point).sum(), point)
        torch.testing.assert_close(networks.gradients(x, lambda out: out[..., 0])[index], expected)
        torch.testing.assert_close(networks.take(index)(x)[0], single(x).detach())
    shared, own_points = networks(x), networks(x.expand(3, -1, -1).clone())
    torch.testing.assert_close(shared, own_points)


def test_a_seed_has_its_weights_whatever_the_others_are() -> None:
    many, one = ensemble([1, 2, 3], [4, 300, 2], "gaussian"), ensemble([3], [4, 300, 2], "gaussian")
    assert torch.equal(many.weights[0][2], one.weights[0][0])
    assert not torch.equal(many.weights[0][0], many.weights[0][1])
    assert float(many.weights[0].std()) == pytest.approx(1 / sqrt(4), rel=0.05)
    default = ensemble([1], [4, 300, 2]).weights[0]
    assert 0.49 < float(default.abs().max()) <= 0.5
    copied = one.copy(torch.float32)
    copied.weights[0].zero_()
    assert float(one.weights[0].abs().max()) > 0


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 3.9), st.integers(0, 100))
def test_the_distance_of_a_plane(offset: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(6, generator=generator, dtype=torch.float64)
    normal /= normal.norm()
    x = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    x += (offset - x @ normal)[:, None] * normal
    away = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    found = distance_along(lambda at: at @ normal, x, away, 4.0)
    slope = -(away @ normal) / away.norm(dim=1)
    expected = torch.where(slope > offset / 4.0, offset / slope, inf)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_the_nearest_of_several_boundaries_counts() -> None:
    x = torch.tensor([[0.0], [1.5], [10.0]], dtype=torch.float64)
    right = torch.ones_like(x)
    found = distance_along(lambda at: ((at[..., 0] % 2) < 1).double() - 0.5, x, right, 3.0)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.5, 1.0], dtype=torch.float64))
    nowhere = distance_along(lambda at: at[..., 0] - 0.5, x, torch.zeros_like(x), 3.0)
    assert nowhere.isinf().all()
