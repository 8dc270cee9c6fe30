"""Controls: what each keeps of the perturbations and what it takes away."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blindspace.errors import ShapeError, UnknownNameError
from blindspace.learning.controls import (
    CONTROLS,
    FLIPPED,
    NOISE,
    NONE,
    PERMUTED,
    SAME_TARGET,
    SHUFFLED,
    among_equal_targets,
    controlled,
)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


D = torch.randn(40, 3, 4, 5, generator=draw(1), dtype=torch.float64)
TARGETS = torch.arange(40) % 4


def size(d: torch.Tensor) -> torch.Tensor:
    return d.flatten(1).square().sum(1).sqrt()


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("shape", [(3, 4, 5), (7,), (1, 6, 6)])
def test_every_control(name: str, shape: tuple[int, ...]) -> None:
    d = torch.randn(40, *shape, generator=draw(2))
    found = controlled(name, d, TARGETS, draw())
    assert found.shape == d.shape
    assert found.dtype == d.dtype
    assert torch.equal(found, controlled(name, d, TARGETS, draw()))
    if name != NONE:
        torch.testing.assert_close(size(found).sort().values, size(d).sort().values)
        assert not torch.allclose(found, d)


def test_what_each_keeps() -> None:
    assert not controlled(NONE, D, TARGETS, draw()).any()
    assert torch.equal(controlled(FLIPPED, D, TARGETS, draw()), -D)
    noise = controlled(NOISE, D, TARGETS, draw())
    torch.testing.assert_close(size(noise), size(D))
    cosines = (noise * D).flatten(1).sum(1) / size(D) ** 2
    assert cosines.abs().mean() < 0.2


def test_shuffled() -> None:
    for name, within in ((SAME_TARGET, True), (SHUFFLED, False)):
        found = controlled(name, D, TARGETS, draw())
        came_from = (found[:, None] == D[None]).flatten(2).all(2)
        assert torch.equal(came_from.sum(0), torch.ones(40).long())
        source = came_from.int().argmax(1)
        assert not (source == torch.arange(40)).any()
        assert bool((TARGETS[source] == TARGETS).all()) == within


def test_one_permutation_for_all_images_and_channels() -> None:
    place = torch.arange(20.0).view(4, 5).expand(40, 3, 4, 5)
    found = controlled(PERMUTED, place, TARGETS, draw())
    assert torch.equal(found, found[:1, :1].expand_as(found))
    assert sorted(found[0, 0].flatten().tolist()) == list(range(20))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_others_of_the_same_target(targets: list[int]) -> None:
    given = torch.tensor(targets)
    order = among_equal_targets(given, draw())
    assert torch.equal(given[order], given)
    assert sorted(order.tolist()) == list(range(len(targets)))
    stays = order == torch.arange(len(targets))
    assert torch.equal(stays, torch.tensor([targets.count(each) == 1 for each in targets]))


def test_refused() -> None:
    with pytest.raises(UnknownNameError, match="no control is called 'nothing'; there are none, noise"):
        controlled("nothing", D, TARGETS, draw())
    with pytest.raises(ShapeError):
        controlled(NONE, D, TARGETS[1:], draw())
