"""Subspaces within masks against the dense SVD of the columns inside; how masks are read; what is 0 outside."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import blindspace as bs
from blindspace.data import write_png
from blindspace.errors import BlindspaceError, BlindspaceWarning, FileError, ShapeError, ValueRangeError
from blindspace.maps import from_module, restricted
from blindspace.subspaces import Mask, Spanned, Subspace, mask, nearest, nullspace, span, tangent_spaces
from blindspace.subspaces.tangent import PerImage
from oracle import Array, matrix_of

SHAPE = (3, 12, 14)
SIZE = 3 * 12 * 14
Y, X = torch.meshgrid(torch.arange(12), torch.arange(14), indexing="ij")


def seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().eval().requires_grad_(False)


LAYERS: dict[str, nn.Module] = {
    "convolution": seeded(0, lambda: nn.Conv2d(3, 4, 5, 2, 2)),
    "dilated": seeded(1, lambda: nn.Conv2d(3, 5, 3, 3, 1, dilation=2)),
    "reflecting": seeded(2, lambda: nn.Conv2d(3, 2, 3, 2, 1, padding_mode="reflect")),
    "depthwise": seeded(3, lambda: nn.Conv2d(3, 3, 3, 2, 1, groups=3)),
    "patches": seeded(4, lambda: nn.Conv2d(3, 8, 4, 4)),
    "gaps": seeded(5, lambda: nn.Conv2d(3, 2, 1, 3)),
    "flat": seeded(6, lambda: nn.Sequential(nn.Flatten(), nn.Linear(SIZE, 40))),
    "pool": nn.AvgPool2d(4),
    "resize": seeded(7, lambda: nn.Sequential(nn.Upsample(size=(7, 7), mode="bilinear"), nn.Conv2d(3, 2, 3))),
    "crop": seeded(8, lambda: nn.Sequential(nn.ZeroPad2d((-2, 1, -1, -3)), nn.Conv2d(3, 4, 3, 2))),
}


def masks(count: int = 20) -> list[Tensor]:
    """Boxes at every place, discs, stripes, channels, scattered values and single ones."""
    draw = torch.Generator().manual_seed(17)

    def below(n: int) -> int:
        return int(torch.randint(n, (), generator=draw))

    found = [(Y - 6).square() + (X - 5).square() < 22, Y % 3 == 0, torch.rand(SHAPE, generator=draw) < 0.4]
    found.append(torch.tensor([True, False, True])[:, None, None])
    found.append(torch.tensor([False, True, False])[:, None, None] & (X > 4))
    found.append((Y == 11) & (X == 13))
    while len(found) < count:
        y, x = below(10), below(12)
        box = (y <= Y) & (y + 2 + below(8) > Y) & (x <= X) & (x + 2 + below(8) > X)
        found.append(box & (torch.rand(12, 14, generator=draw) < 0.8) if len(found) % 3 == 0 else box)
    return [each.expand(SHAPE) for each in found]


@cache
def dense(layer: str) -> Array:
    return matrix_of(LAYERS[layer], SHAPE)


def noise(count: int = 3, seed: int = 3) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def support(space: Subspace) -> Tensor:
    assert space.support is not None
    return space.support


def ranks(spaces: Subspace) -> list[int]:
    assert isinstance(spaces, PerImage)
    return spaces.ranks.tolist()


def projected(layer: str, inside: Tensor, v: Tensor) -> tuple[int, Array]:
    """The dimension, and the projection of v, by the SVD of the columns inside."""
    flat = inside.flatten().numpy()
    columns = dense(layer)[:, flat]
    _, sigma, right = np.linalg.svd(columns, full_matrices=True)
    rank = int((sigma > max(columns.shape) * np.finfo(float).eps * max(sigma[0], 1e-300)).sum())
    found = np.zeros((len(v), SIZE))
    found[:, flat] = v.flatten(1).numpy()[:, flat] @ right[rank:].T @ right[rank:]
    return int(flat.sum()) - rank, found


@pytest.mark.parametrize("layer", LAYERS)
def test_the_dimension_is_that_of_the_dense_svd_for_twenty_masks(layer: str) -> None:
    space, v = nullspace(LAYERS[layer], SHAPE), noise()
    for inside in masks():
        within = space.within(inside)
        dim, found = projected(layer, inside, v)
        assert (within.dim, within.certificate.kind) == (dim, "exact"), inside.nonzero()
        assert within.certificate.rank == SIZE - dim
        parallel = within.project(v)
        assert np.abs(parallel.flatten(1).numpy() - found).max() < 1e-10
        assert not parallel[:, ~inside].count_nonzero()
        assert within.residual(v) < 1e-13


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_restricted_map_is_the_columns_inside(data: Any) -> None:
    """Of convolutions of any geometry on any box, with any part of it."""
    k, s, d = (data.draw(st.integers(1, most), label=name) for name, most in (("k", 4), ("s", 4), ("d", 2)))
    size = tuple(data.draw(st.integers(d * (k - 1) + 1, 11), label="size") for _ in range(2))
    padding = data.draw(st.integers(0, 3), label="padding")
    layer = seeded(k + 5 * s, lambda: nn.Conv2d(2, 2, k, s, padding, d))
    ends = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in (2, *size)]
    inside = torch.zeros(2, *size, dtype=torch.bool)
    inside[tuple(slice(*pair) for pair in ends)] = True
    if data.draw(st.booleans(), label="irregular"):
        holes = torch.rand(inside.shape, generator=torch.Generator().manual_seed(s)) < 0.7
        inside = inside & holes if bool((inside & holes).any()) else inside
    operator, embedding = restricted(from_module(layer, inside.shape), inside)
    whole = torch.from_numpy(matrix_of(layer, tuple(inside.shape)))
    placed = embedding.to_dense()
    assert torch.equal(placed.T @ placed, torch.eye(placed.shape[1], dtype=torch.float64))
    assert torch.equal(placed.any(1).reshape(inside.shape), inside)
    rows = {tuple(row) for row in (whole @ placed).round(decimals=9).tolist() if any(row)}
    assert rows == {tuple(row) for row in operator.to_dense().round(decimals=9).tolist() if any(row)}


@pytest.mark.parametrize("name", ["convolution", "patches", "flat"])
def test_the_contract_of_a_subspace(name: str) -> None:
    space = nullspace(LAYERS[name], SHAPE)
    disc = (Y - 6).square() + (X - 5).square() < 22
    for within in (space.within(disc), space.within((2, 1, 9, 8)), Mask(disc.expand(SHAPE))):
        bs.testing.check_subspace(within)
    assert space.within(torch.ones(SHAPE)) is space


def test_masks_and_subspaces_combine() -> None:
    a, b = (nullspace(LAYERS[name], SHAPE) for name in ("convolution", "patches"))
    left, right = mask((0, 0, 9, 12), SHAPE), mask((4, 2, 14, 12), SHAPE)
    both = np.concatenate([dense("convolution"), dense("patches")])
    inside = support(left & right)
    assert torch.equal(inside, left.support & right.support)
    columns = both[:, np.flatnonzero(inside.numpy())]
    expected = columns.shape[1] - np.linalg.matrix_rank(columns)
    for found in (
        a.within(left) & b.within(right),
        left & a & right & b,
        (a & b) & left & right,
        a & (b & left & right),
    ):
        assert found.dim == expected
        assert torch.equal(support(found), inside)
    assert left.complement.dim == SIZE - left.dim
    assert not (left.complement.project(noise())[left.support.expand(3, *SHAPE)]).any()
    assert Mask(torch.ones(SHAPE, dtype=torch.bool)).complement.dim == 0
    whole = a.within(left) + a.within(left.complement)
    assert whole.dim == a.within(left).dim + a.within(left.complement).dim
    with pytest.raises(ValueRangeError, match="selects nothing"):
        left & left.complement


def test_spans_and_projectors_within_a_mask() -> None:
    inside = (X < 5).expand(SHAPE)
    vectors = noise(6) * torch.stack([torch.ones(SHAPE), inside.double(), inside.double()]).repeat(2, 1, 1, 1)
    assert span(vectors).within(inside).dim == 4
    rows = torch.linalg.qr(vectors.flatten(1).T).Q.T.reshape(vectors.shape)
    assert Spanned(rows).within(inside).dim == 4
    complement = nullspace(LAYERS["patches"], SHAPE).complement.within((0, 0, 6, 6))
    assert complement.dim == 8
    assert not complement.sample(2)[..., 6:].any()


def test_spaces_of_images_within_a_mask() -> None:
    inside = (X < 5).expand(SHAPE)
    vectors = noise(8).reshape(2, 4, *SHAPE)
    vectors[:, 2:] *= inside
    tangents = tangent_spaces(vectors, noise(2))
    within = tangents.within(inside)
    assert ranks(within) == [2, 2]
    parallel = within.project(vectors[:, 3])
    assert float((parallel - vectors[:, 3]).abs().max()) < 1e-12
    assert not within.project(noise(2)).expand(2, *SHAPE)[:, ~inside].any()
    normal = tangents.complement.within(inside)
    count = int(inside.sum())
    assert ranks(normal) == [count - 4] * 2
    parallel = normal.project(noise(2))
    assert not parallel[:, ~inside].any()
    assert float((tangents.project(parallel)).abs().max()) < 1e-12
    alone = normal.at(torch.tensor([1])).project(noise(2)[1:])
    assert float((alone - parallel[1:]).abs().max()) < 1e-12
    harmless = nullspace(LAYERS["patches"], SHAPE)
    assert (within & harmless).dim == 0
    assert ranks(within.complement) == [SIZE - 2] * 2


def test_the_nearest_point_in_box_and_ball_stays_within_the_mask() -> None:
    disc = (Y - 6).square() + (X - 5).square() < 22
    x = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.where(x < 0.2, 0.0, torch.where(x > 0.8, 1.0, x))
    space = nullspace(LAYERS["patches"], SHAPE).within(disc)
    for norm, radius in (("linf", 0.2), ("l2", 1.5)):
        found = nearest(noise(), space, -x, 1 - x, radius, norm, 1e-8, 3000)  # type: ignore[arg-type]
        assert found.value.any()
        assert not found.value[:, ~disc.expand(SHAPE)].any()
        assert found.residual < 1e-9
    v = noise()
    alone = nearest(v, mask(disc, SHAPE), -x, 1 - x, 0.2)
    assert torch.equal(
        alone.value,
        torch.where(disc, torch.minimum(torch.maximum(v, (-x).clamp(min=-0.2)), (1 - x).clamp(max=0.2)), 0.0),
    )
    assert alone.iterations == 0


def test_masks_are_read_alike(tmp_path: Path) -> None:
    box = torch.zeros(SHAPE, dtype=torch.bool)
    box[:, 2:9, 3:7] = True
    write_png(tmp_path / "mask.png", box[:1].double().numpy())
    write_png(tmp_path / "colours.png", box.double().numpy())
    for mask_given in (
        box,
        box[0],
        box[:1].numpy(),
        box.to(torch.uint8),
        box.double(),
        (3, 2, 7, 9),
        [3, 2, 7, 9],
        "3,2,7,9",
        " 3, 2, 7, 9",
        tmp_path / "mask.png",
        str(tmp_path / "colours.png"),
        Mask(box),
        nullspace(LAYERS["patches"], SHAPE).within(box),
    ):
        assert torch.equal(mask(mask_given, SHAPE).support, box)
    assert mask(box).dim == int(box.sum())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((3, 2, 3, 9), ShapeError, "the box 3,2,3,9 does not lie in 14 × 12 pixels"),
        ("0,0,15,12", ShapeError, "0 ≤ x0 < x1 ≤ 14"),
        ("-1,0,5,5", ShapeError, "the box -1,0,5,5"),
        (torch.zeros(SHAPE), ValueRangeError, "selects nothing"),
        (torch.full(SHAPE, 0.5), ValueRangeError, "1 and 0"),
        (torch.ones(5, 5), ShapeError, r"a mask \(1, 5, 5\) does not fit"),
        ("absent.png", FileError, "absent.png"),
        ((1, 2, 3), BlindspaceError, "a box"),
        (None, BlindspaceError, "got None"),
        ((True, False, True, True), BlindspaceError, "a mask is"),
    ],
)
def test_what_is_no_mask_is_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nullspace(LAYERS["patches"], SHAPE).within(given)
    with pytest.raises(ShapeError, match="needs the shape"):
        mask("0,0,3,3")
    with pytest.raises(ShapeError, match="one of pixels"):
        mask("0,0,3,3", (40,))


def test_an_undecided_rank_is_said_so() -> None:
    """Singular values that fall without a gap, inside the mask alone."""
    layer = nn.Linear(24, 20).double().requires_grad_(False)
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=draw, dtype=torch.float64)).Q for n in (20, 12))
    layer.weight[:, :12] = left[:, :12] @ torch.diag(10.0 ** -torch.linspace(0, 17, 12, dtype=torch.float64)) @ right
    with pytest.warns(BlindspaceWarning, match="undecided"):
        within = nullspace(layer, (24,)).within(torch.arange(24) < 12)
    assert within.certificate.kind == "undecided"
    assert nullspace(layer, (24,)).certificate.kind != "undecided"
