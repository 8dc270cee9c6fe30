"""Identification of a network by perturbations that only one of several networks cannot see."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blindspace.errors import ShapeError, ValueRangeError
from blindspace.evidence import identify, probe
from blindspace.networks import Network, load


def network(*layers: nn.Module, shape: tuple[int, ...] = (3, 8, 8), name: str = "net", seed: int = 0) -> Network:
    torch.manual_seed(seed)
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    return load(nn.Sequential(*layers), shape, name=name)


def patches(size: int, width: int, seed: int = 0) -> Network:
    side = 8 // size
    layers = (nn.Conv2d(3, width, size, size), nn.ReLU(), nn.Flatten(), nn.Linear(width * side**2, 5))
    return network(*layers, name=f"patch-{size}", seed=seed)


@pytest.fixture(scope="module")
def crowd() -> list[Network]:
    layers = [(4, 7, 0), (4, 7, 1), (2, 3, 2)]
    return [Network(f"net-{seed}", patches(size, width, seed).module, (3, 8, 8)) for size, width, seed in layers]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_network_is_identified_among_others(crowd: list[Network], index: int) -> None:
    x = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    probes = [probe(each, x, generator=torch.Generator().manual_seed(i)) for i, each in enumerate(crowd)]
    answer = identify(crowd[index], probes)
    assert answer.match == f"net-{index}"
    assert answer.change[index] <= 1e-5
    assert min(change for i, change in enumerate(answer.change) if i != index) >= 0.1
    # A function that can only be called does as well.
    called = identify(lambda images: crowd[index].outputs(images), probes)
    assert called == answer
    assert answer.to_dict()["candidates"][index]["candidate"] == f"net-{index}"


def test_a_stranger_matches_none_and_two_with_one_front_are_indistinguishable(crowd: list[Network]) -> None:
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    probes = [probe(each, x, generator=torch.Generator().manual_seed(0)) for each in crowd]
    assert identify(patches(4, 7, seed=9), probes).match is None
    assert identify(crowd[0], [probes[0], probes[0]]).match is None
    # Constant answers are those of every candidate, and match none.
    assert identify(lambda images: torch.zeros(len(images), 5), probes).match is None


def test_the_control_has_the_norm_of_the_probe(crowd: list[Network]) -> None:
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    made = probe(crowd[0], x, size=2.0)
    norms = [(images - x).flatten(1).norm(dim=1) for images in (made.harmless, made.control)]
    assert torch.allclose(norms[0], norms[1])
    assert (made.harmless - x).abs().max() == pytest.approx(2.0)


def test_refusals(crowd: list[Network]) -> None:
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    with pytest.raises(ValueRangeError, match="at least one candidate"):
        identify(crowd[0], [])
    with pytest.raises(ValueRangeError, match="at least one image"):
        probe(crowd[0], x[:0])
    with pytest.raises(ShapeError):
        probe(crowd[0], torch.rand(3, 3, 9, 9))
    seeing = network(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), name="injective")
    with pytest.raises(ValueRangeError, match=r"is \{0\}"):
        probe(seeing, x)
    with pytest.raises(ValueRangeError, match="NaN"):
        identify(lambda images: images * float("nan"), [probe(crowd[0], x)])
