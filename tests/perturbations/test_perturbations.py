import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.errors import ShapeError, UnknownNameError, ValueRangeError
from blindspace.perturbations import rescale
from blindspace.subspaces import Subspace, norms


@pytest.fixture(scope="module")
def space() -> Subspace:
    torch.manual_seed(0)
    return bs.nullspace(nn.Conv2d(3, 4, 5, 2, 2), (3, 12, 12))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("size", [0.0, 8 / 255, 8.0])
def test_noise_has_the_size_asked_for(space: Subspace, norm: str, size: float) -> None:
    noise = bs.harmless_noise(space, 3, size, norm)  # type: ignore[arg-type]
    torch.testing.assert_close(norms(noise, norm).flatten(), torch.full((3,), size).double())  # type: ignore[arg-type]
    assert bool(space.contains(noise).all())


def test_noise_is_seeded(space: Subspace) -> None:
    first, again, other = (
        bs.harmless_noise(space, 2, 1.0, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_noise_fails_with_a_line_where_nothing_is_harmless() -> None:
    space = bs.nullspace(nn.Linear(4, 9), (4,))
    with pytest.raises(ValueRangeError, match="least harmful"):
        bs.harmless_noise(space, 1, 1.0)


def test_bad_sizes_and_norms(space: Subspace) -> None:
    for size in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueRangeError, match="size"):
            bs.harmless_noise(space, 1, size)
    with pytest.raises(UnknownNameError, match="linf and l2"):
        bs.harmless_noise(space, 1, 1.0, "l1")  # type: ignore[arg-type]


def test_rescale_keeps_zero() -> None:
    assert not rescale(torch.zeros(2, 3), 5.0).any()


def test_family_needs_one_perturbation(space: Subspace) -> None:
    with pytest.raises(ShapeError, match="one perturbation"):
        bs.family(space, torch.zeros(2, 3, 12, 12), 3, 1.0)
