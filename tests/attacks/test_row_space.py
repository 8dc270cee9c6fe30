"""Gradients of a network whose front is A lie in the row space of A: an unclipped L2 step has no harmless part."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import blindspace as bs
from blindspace.attacks.gradient import ascent, unit
from blindspace.attacks.scores import scored
from blindspace.networks import Network
from blindspace.subspaces import Subspace
from cases import CASES, Case

LIMIT = 1e-12
"""Largest share of harmless energy in a step, in float64."""

BUILT_IN = ("mnist-mlp", "cifar-resnet")


def behind(operator: nn.Module, shape: tuple[int, ...], smooth: bool = True) -> Network:
    """A random classifier of five classes behind an affine module, seeded by the shape."""
    with torch.random.fork_rng():
        torch.manual_seed(sum(shape))
        width = operator(torch.zeros(1, *shape)).numel()
        layers = (nn.Tanh(), nn.Linear(width, 8), nn.Softplus(), nn.Linear(8, 5))
        head = layers if smooth else (nn.ReLU(), nn.Linear(width, 8), nn.LeakyReLU(), nn.Linear(8, 5))
        return bs.load(nn.Sequential(operator, nn.Flatten(), *head), shape)


def step(network: Network, x: Tensor, y: Tensor, targeted: bool) -> Tensor:
    """One unclipped L2 step of size 1 in float64."""
    return unit(ascent(scored(network, torch.float64), x.double(), y, targeted), "l2")


def inputs(shape: tuple[int, ...], classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(4, *shape, generator=draw), torch.randint(classes, (4,), generator=draw)


def check(network: Network, space: Subspace, classes: int, seed: int = 0) -> None:
    x, y = inputs(network.input_shape, classes, seed)
    for targeted in (False, True):
        moved = step(network, x, y, targeted)
        assert float(space.energy(moved).max()) <= LIMIT
        lengths = moved.flatten(1).norm(dim=1)
        assert bool(((lengths - 1).abs() < 1e-9).logical_or(lengths == 0).all())


@pytest.mark.parametrize("case", [case for case in CASES if case.dim != 0], ids=lambda case: case.id)
def test_steps_have_no_harmless_part(case: Case) -> None:
    operator, shape = case.make()
    network = behind(operator, shape)
    check(network, bs.nullspace(network.front), 5)


@pytest.mark.parametrize("name", BUILT_IN)
def test_steps_of_built_in_networks_have_no_harmless_part(name: str) -> None:
    network = bs.load(name)
    space = bs.nullspace(network.front)
    assert space.dim > 0
    check(network, space, 10)


@settings(max_examples=40)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**31), st.booleans())
def test_steps_behind_any_convolution_have_no_harmless_part(
    channels: int, kernels: int, size: int, stride: int, seed: int, smooth: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        operator = nn.Conv2d(channels, kernels, size, stride)
    network = behind(operator, (channels, 7, 6), smooth)
    check(network, bs.nullspace(network.front), 5, seed)


def test_signs_clipping_and_sparse_steps_have_a_harmless_part() -> None:
    operator, shape = next(case for case in CASES if case.id == "conv2d-stem").make()
    network = behind(operator, shape)
    space = bs.nullspace(network.front)
    x, y = inputs(shape, 5)
    moved = step(network, x, y, False)
    largest = moved.flatten(1).abs().topk(10).indices
    sparse = torch.zeros(4, prod(shape)).double().scatter(1, largest, moved.flatten(1).gather(1, largest))
    others = (moved.sign(), (x + 5 * moved).clamp(0, 1) - x, sparse.view_as(moved))
    assert all(float(space.energy(other).min()) > 1e-3 for other in others)
