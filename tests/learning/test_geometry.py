"""Geometry-inspired perturbations, and the two terms of the boundary that is learnt from them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blindspace.errors import BlindspaceError, ShapeError
from blindspace.learning.condition import condition
from blindspace.learning.geometry import geometric, largest
from blindspace.learning.max_margin import max_margin
from blindspace.learning.relearnt import guaranteed, relearnt
from theory_cases import samples

Q = torch.tensor([3.0, 0.0, -4.0, 1.0], dtype=torch.float64)
T = torch.tensor([1.0, -1.0])


def test_perturbations_by_hand() -> None:
    unit = Q / 26**0.5
    torch.testing.assert_close(geometric("l2", Q, T, 2.0), torch.stack([2 * unit, -2 * unit]))
    assert geometric("linf", Q, T, 0.5).tolist() == [[0.5, 0, -0.5, 0.5], [-0.5, 0, 0.5, -0.5]]
    assert geometric("l0", Q, T, 10.0, 2).tolist() == [[6.0, 0, -8.0, 0], [-6.0, 0, 8.0, 0]]


def test_equal_coordinates_are_taken_at_random() -> None:
    q = torch.tensor([1.0, 1.0, 1.0, 1.0, 5.0])
    picked = torch.stack([largest(q, 2, torch.Generator().manual_seed(seed)) for seed in range(60)])
    assert bool(picked[:, 4].all())
    assert bool((picked[:, :4].sum(0) > 5).all())
    assert torch.equal(picked.sum(1), torch.full((60,), 2))


@given(st.integers(1, 12), st.data())
@settings(max_examples=40, deadline=None)
def test_the_largest_coordinates(dim: int, data: st.DataObject) -> None:
    q = torch.tensor(data.draw(st.lists(st.integers(-3, 3), min_size=dim, max_size=dim))).double()
    count = data.draw(st.integers(1, dim))
    chosen = largest(q, count, torch.Generator().manual_seed(0))
    assert sorted(q[chosen].abs().tolist()) == sorted(q.abs().tolist())[-count:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("l1", Q, T, 1.0), "the norm must be one of l2, linf, l0"),
        (("l2", 0 * Q, T, 1.0), "finite and not 0"),
        (("l2", Q, 0 * T, 1.0), "targets must be"),
        (("l2", Q, T, -1.0), "eps must be"),
        (("l2", Q, T, 1.0, 2), "l0 alone takes"),
        (("l0", Q, T, 1.0), "l0 alone takes"),
        (("l0", Q, T, 1.0, 5), "the number of coordinates must be"),
        (("l2", Q[None], T, 1.0), "a direction"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(BlindspaceError, match=message):
        geometric(*arguments)


@pytest.mark.parametrize("norm", ["l2", "linf", "l0"])
def test_the_two_terms_add_up_to_the_second_network(norm: Any) -> None:
    x, y = samples("uniform", 6, 60)
    noise, targets = samples("uniform", 12, 60, 5)
    first = max_margin(x, y, 0.6)
    added = geometric(
        norm, first.direction, targets, 2.0, 7 if norm == "l0" else None, torch.Generator().manual_seed(0)
    )
    second = max_margin(noise + added, targets, 0.6)
    z = torch.randn(50, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = relearnt(second.multipliers, targets, noise, added, first.direction, z)
    torch.testing.assert_close(found.second, z @ second.direction)
    for i in range(5):
        by_hand = sum(m * t * float(z[i] @ n) for m, t, n in zip(second.multipliers, targets, noise, strict=True))
        assert float(found.samples[i]) == pytest.approx(float(by_hand))
    assert second.exact
    assert torch.equal(found.agree, second.network(z).sign() == first.network(z).sign())
    assert bool(found.agree[found.dominated].all())
    assert 0 < int(found.dominated.sum()) < 50
    if norm == "l2":
        ratio = found.perturbations / found.first
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))


def test_what_is_guaranteed_holds_for_any_multipliers_within_the_bounds() -> None:
    first = max_margin(*samples("uniform", 4, 4000), 0.9)
    x, targets = samples("uniform", 4, 4000, 5)
    added = geometric("l2", first.direction, targets, 3.0)
    found = condition(x + added, 0.9)
    draw = torch.Generator().manual_seed(1)
    z = torch.randn(60, 4000, dtype=torch.float64, generator=draw)
    z += torch.linspace(0, 20, 60)[:, None] * first.direction / first.direction.norm()
    sure = guaranteed(found, targets, x + added, first.direction, z)
    low, high = found.bounds
    worst = torch.ones(60, dtype=torch.bool)
    for _ in range(200):
        multipliers = torch.where(torch.rand(4, generator=draw) < 0.5, low, high).double()
        worst &= relearnt(multipliers, targets, x, added, first.direction, z).agree
    assert torch.equal(sure, worst)  # sixteen corners, all of them seen: the bound is attained
    assert 0 < int(sure.sum()) < 60


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="do not fit together"):
        relearnt(torch.ones(2), T, torch.ones(2, 3), torch.ones(2, 4), torch.ones(3), torch.ones(5, 3))
