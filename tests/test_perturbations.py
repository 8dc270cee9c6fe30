import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.errors import ShapeError, TooLargeError, UnknownNameError, ValueRangeError
from blindspace.maps import from_module
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


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(64, 128), (64,)),
        (nn.Conv2d(3, 16, 3, 1, 1), (3, 8, 8)),
        (nn.Conv2d(3, 64, 7, 2, 3), (3, 20, 20)),  # above the limit of the SVD
    ],
)
@pytest.mark.parametrize("k", [1, 4])
def test_least_harmful_against_dense_svd(module: nn.Module, shape: tuple[int, ...], k: int) -> None:
    map = from_module(module, shape)
    found = bs.least_harmful(module, shape, k)
    _, sigma, vt = torch.linalg.svd(map.to_dense(), full_matrices=False)
    torch.testing.assert_close(found.sigma, sigma.flip(0)[:k], rtol=1e-9, atol=1e-12)
    gram = found.directions.flatten(1) @ found.directions.flatten(1).T
    torch.testing.assert_close(gram, torch.eye(k, dtype=torch.float64), rtol=0, atol=1e-10)
    assert float(found.residual.max()) <= 1e-12
    overlap = (found.directions.flatten(1) @ vt.flip(0)[:k].T).abs()
    torch.testing.assert_close(overlap.diagonal(), torch.ones(k, dtype=torch.float64), rtol=0, atol=1e-6)


def test_least_harmful_of_a_layer_with_a_nullspace_is_harmless() -> None:
    module = nn.Conv2d(3, 2, 3, 2, 1)
    found = bs.least_harmful(module, (3, 10, 10), 3)
    assert bool(bs.nullspace(module, (3, 10, 10)).contains(found.directions, 1e-12).all())
    assert float(found.sigma.max()) <= 1e-12


def test_least_harmful_refuses() -> None:
    with pytest.raises(ValueRangeError, match="between 1 and"):
        bs.least_harmful(nn.Linear(4, 9), (4,), 5)
    with pytest.raises(TooLargeError, match="GiB"):
        bs.least_harmful(nn.Conv2d(3, 64, 7, 2, 3), (3, 224, 224))
