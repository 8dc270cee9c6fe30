"""The energy of a subspace at each value: against the diagonal of the dense projector, exact and estimated."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.errors import ValueRangeError
from blindspace.subspaces import pixel_energy, tangent_spaces
from cases import CASES, Case
from oracle import map_of, matrix_of, null_diagonal

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


@each_case
def test_it_is_the_diagonal_of_the_dense_projector(case: Case) -> None:
    operator = map_of(case)
    truth = torch.from_numpy(null_diagonal(matrix_of(*case.make())))
    found = pixel_energy(bs.nullspace(operator))
    assert found.kind == "exact"
    assert found.shape == operator.in_shape
    torch.testing.assert_close(found.values.flatten(), truth, atol=1e-9, rtol=0)
    assert float(found.values.sum()) == pytest.approx(found.dim, abs=1e-8 * operator.in_dim)
    beside = pixel_energy(bs.nullspace(operator).complement)
    torch.testing.assert_close(found.values + beside.values, torch.ones(operator.in_shape, dtype=torch.float64))


@pytest.mark.parametrize("stride", [1, 3, 6])  # few, half and most dimensions: one formula each
def test_estimates_lie_within_their_errors(stride: int) -> None:
    torch.manual_seed(stride)
    space = bs.nullspace(nn.Conv1d(2, {1: 1, 3: 3, 6: 2}[stride], 7, stride, 3), (2, 60))
    truth, found = pixel_energy(space).values, pixel_energy(space, probes=400, estimate=True)
    assert found.kind == "estimated"
    assert found.error is not None
    off = (found.values - truth) / found.error.clamp(min=1e-12)
    assert 0.7 < float(off.square().mean().sqrt()) < 1.4
    assert found.standard_error < 0.04
    assert float(found.values.sum()) == pytest.approx(space.dim, rel=0.05)
    again = pixel_energy(space, probes=400, estimate=True)
    assert torch.equal(found.values, again.values)
    assert not torch.equal(found.values, pixel_energy(space, 400, 1, estimate=True).values)


def test_a_mask_confines_it() -> None:
    torch.manual_seed(0)
    space = bs.nullspace(nn.Conv2d(3, 2, 4, 4), (3, 16, 16))
    inside = space.within((3, 2, 13, 11))
    found = pixel_energy(inside)
    assert found.dim == inside.dim
    assert float(found.values.sum()) == pytest.approx(inside.dim)
    assert bool((found.values[~inside.support] == 0).all()) if inside.support is not None else False
    assert pixel_energy(bs.mask((0, 0, 2, 2), (3, 4, 4))).unread == 12


def test_pixels_and_channels() -> None:
    space = bs.nullspace(nn.Conv2d(3, 1, 1), (3, 2, 2))
    found = pixel_energy(space)
    assert found.per_pixel().shape == (2, 2)
    torch.testing.assert_close(found.per_pixel(), torch.full((2, 2), 2 / 3, dtype=torch.float64))
    assert float(found.per_channel().sum()) == pytest.approx(2)
    assert found.to_dict()["unread"] == 0


def test_arguments() -> None:
    space = bs.nullspace(nn.Linear(4, 2), (4,))
    with pytest.raises(ValueRangeError, match="probes must be an integer of at least 2"):
        pixel_energy(space, probes=1)
    spaces = tangent_spaces(torch.eye(4)[None, :2].repeat(2, 1, 1), torch.zeros(2, 4))
    with pytest.raises(ValueRangeError, match="one subspace per image"):
        pixel_energy(spaces)
