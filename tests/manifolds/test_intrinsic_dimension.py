"""The intrinsic dimension of sets whose dimension is known, with duplicates and outliers."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from blindspace.errors import ShapeError, UnknownNameError, ValueRangeError
from blindspace.manifolds._intrinsic_dimension import (
    Method,
    _different,
    _nearest,
    intrinsic_dimension,
)

METHODS = get_args(Method)


def embedded(z: Tensor, n: int) -> Tensor:
    draw = torch.Generator().manual_seed(7)
    frame = torch.linalg.qr(torch.randn(n, z.shape[1], generator=draw, dtype=torch.float64)).Q
    found: Tensor = z @ frame.T
    return found


def normal(count: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sphere(count: int, dim: int) -> Tensor:
    z = normal(count, dim + 1)
    found: Tensor = z / z.norm(dim=1, keepdim=True)
    return found


KNOWN = {
    "plane of 5 dimensions": (5, embedded(normal(1500, 5), 60)),
    "sphere of 4 dimensions": (4, embedded(sphere(1500, 4), 20)),
    "square": (2, embedded(torch.rand(1500, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64), 10)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", KNOWN)
def test_known_dimensions(method: Method, name: str) -> None:
    dim, points = KNOWN[name]
    found = intrinsic_dimension(points, method, neighbours=(50,) if method == "pca" else None)
    assert found.dimension == pytest.approx(dim, rel=0.1)
    assert found.scales[0].samples == 1500
    assert (found.images, found.duplicates) == (1500, 0)


@pytest.mark.parametrize("method", METHODS)
def test_duplicates_count_once(method: Method) -> None:
    points = KNOWN["plane of 5 dimensions"][1][:400]
    twice = torch.cat([points, points.flip(0)])
    alone, both = intrinsic_dimension(points, method), intrinsic_dimension(twice, method)
    assert both.duplicates == 400
    assert both.scales == alone.scales


@pytest.mark.parametrize("method", METHODS)
def test_an_outlier_changes_little(method: Method) -> None:
    points = KNOWN["plane of 5 dimensions"][1][:600].clone()
    points[0] = 1e4
    assert intrinsic_dimension(points, method).dimension == pytest.approx(5, rel=0.15)


def test_points_that_almost_coincide() -> None:
    """Pairs 1e-9 apart far from 0, where distances from squares are rounding alone; in pairs, the scale is a line's."""
    z = KNOWN["plane of 5 dimensions"][1][:200] + 100
    points = torch.cat([z, z + 1e-9 * normal(200, 60, 3)]).numpy()
    distances, indices = _nearest(points, 3)
    gaps = np.sqrt(((points[:, None] - points[indices]) ** 2).sum(2))
    np.testing.assert_array_equal(indices[:200, 0], np.arange(200, 400))
    np.testing.assert_allclose(distances, gaps)
    slow = np.sort(np.linalg.norm(points[:9, None] - points[None], axis=2), axis=1)[:, 1:4]
    np.testing.assert_allclose(distances[:9], slow)


def test_what_is_equal() -> None:
    images = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0], [2.0, 1e-30], [2.0, 0.0]])
    assert _different(images).tolist() == [0, 1, 3]


def test_samples_are_chosen_by_the_seed() -> None:
    points = KNOWN["square"][1].view(1500, 2, 5)
    first, again, other = (intrinsic_dimension(points, "two-nn", sample=500, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert [scale.samples for scale in first.scales] == [500, 250, 125]
    assert intrinsic_dimension(points, sample=200).to_dict()["scales"][0]["neighbours"] == 3


def test_noise_is_seen_at_small_scales_only() -> None:
    """A plane with noise in all directions: many dimensions between neighbours, two between distant points."""
    points = embedded(100 * normal(3000, 2), 12) + normal(3000, 12, 5)
    found = intrinsic_dimension(points, "mle", neighbours=(3, 600))
    assert found.scales[0].dimension > 3.5
    assert found.scales[1].dimension < 2.6


def test_what_cannot_be_estimated() -> None:
    points = KNOWN["square"][1][:30]
    with pytest.raises(UnknownNameError, match="'box'; there are two-nn, mle, pca"):
        intrinsic_dimension(points, "box")  # type: ignore[arg-type]
    with pytest.raises(ValueRangeError, match="20 different images are too few for 20 neighbours"):
        intrinsic_dimension(points[:20])
    with pytest.raises(ValueRangeError, match="ascending"):
        intrinsic_dimension(points, neighbours=(5, 3))
    with pytest.raises(ValueRangeError, match="2 for two-nn"):
        intrinsic_dimension(points, "two-nn", neighbours=(3,))
    with pytest.raises(ValueRangeError, match="at least 3, got 2"):
        intrinsic_dimension(points, "mle", neighbours=(2,))
    with pytest.raises(ValueRangeError, match="all of them finite"):
        intrinsic_dimension(torch.full((30, 3), torch.inf))
    with pytest.raises(ValueRangeError, match="at least two values"):
        intrinsic_dimension(torch.rand(30, 1))
    with pytest.raises(ShapeError):
        intrinsic_dimension(torch.ones(30, 4, dtype=torch.int64))
