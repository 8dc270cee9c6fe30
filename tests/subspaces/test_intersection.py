"""Intersections of the nullspaces of several networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.errors import ShapeError
from blindspace.maps import Composed, Convolution, Kronecker, Padding, VStack, from_module, side_by_side
from blindspace.networks import Network, front, harmless
from blindspace.subspaces import nullspace
from oracle import null_projector


def network(*layers: nn.Module, shape: tuple[int, ...] = (3, 8, 8), name: str = "net", seed: int = 0) -> Network:
    torch.manual_seed(seed)
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    return bs.load(nn.Sequential(*layers), shape, name=name)


def patches(size: int, width: int, seed: int = 0) -> Network:
    side = 8 // size
    layers = (nn.Conv2d(3, width, size, size), nn.ReLU(), nn.Flatten(), nn.Linear(width * side**2, 5))
    return network(*layers, name=f"patch-{size}", seed=seed)


def projector(matrix: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(null_projector(matrix.numpy()))


RESIZE = nn.Upsample(size=(8, 8), mode="bilinear")

PAIRS = {
    "patches of one size": (patches(4, 7), patches(4, 9, 1)),
    "patches of two sizes": (patches(4, 7), patches(2, 3, 1)),
    "patches and strides": (patches(4, 7), network(nn.Conv2d(3, 2, 3, 2, 1), nn.ReLU(), name="conv")),
    "one resize": tuple(
        network(RESIZE, nn.Conv2d(3, width, 4, 4), nn.ReLU(), shape=(3, 12, 10), seed=width) for width in (7, 9)
    ),
    "with padding behind": tuple(
        network(nn.Conv2d(3, width, 4, 4), nn.ZeroPad2d(1), nn.ReLU(), seed=width) for width in (7, 9)
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_intersection_is_that_of_the_dense_nullspaces(name: str) -> None:
    a, b = PAIRS[name]
    space = harmless(a, b)
    whole = projector(torch.cat([front(a).to_dense(), front(b).to_dense()]))
    assert space.dim == int(torch.linalg.matrix_rank(whole))
    v = torch.randn(3, *a.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = (v.flatten(1) @ whole).reshape(v.shape)
    assert (space.project(v) - expected).abs().max() <= 1e-11
    both = harmless(a) & harmless(b)
    assert (both.project(v) - expected).abs().max() <= 1e-11


def test_shared_factors_are_applied_once_and_patches_become_one_convolution() -> None:
    resized = [front(each) for each in PAIRS["one resize"]]
    together = side_by_side(resized)
    assert isinstance(together, Composed)
    assert isinstance(together.inner, Kronecker)
    assert isinstance(together.outer, Convolution)
    sizes = side_by_side([front(each) for each in PAIRS["patches of two sizes"]])
    assert isinstance(sizes, Convolution)
    assert sizes.stride == (4, 4)
    padded = side_by_side([front(each) for each in PAIRS["with padding behind"]])
    assert isinstance(padded, Convolution)
    # Two resizes that differ only in their numbers are two.
    one = from_module(nn.Upsample(size=(8, 8), mode="bilinear"), (3, 12, 10))
    other = from_module(nn.Upsample(size=(8, 8), mode="nearest"), (3, 12, 10))
    conv = from_module(nn.Conv2d(3, 2, 4, 4), (3, 8, 8))
    assert isinstance(side_by_side([Composed(conv, one), Composed(conv, other)]), VStack)
    # A crop loses values; it stays.
    crop = Padding((2, 2, 2), [(-1, 0), (0, 0)])
    assert side_by_side([Composed(crop, conv)]).out_shape == crop.out_shape


def test_networks_of_different_input_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"patch-4 \(3, 8, 8\), other \(3, 6, 6\)"):
        harmless(patches(4, 7), network(nn.Conv2d(3, 2, 3), nn.ReLU(), shape=(3, 6, 6), name="other"))


def test_patches_behind_a_resize_are_projected() -> None:
    """A vision transformer with its preprocessing: conjugate gradients preconditioned patch by patch."""
    one = PAIRS["one resize"][0]
    space = nullspace(front(one), solver="krylov")
    v = torch.randn(2, *one.input_shape, dtype=torch.float64)
    expected = (v.flatten(1) @ projector(front(one).to_dense())).reshape(v.shape)
    assert (space.project(v) - expected).abs().max() <= 1e-11
    assert space.residual(v) <= 1e-14
