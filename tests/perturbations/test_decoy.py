"""Decoys: nearest to their target inside the pixel range, read by the network as before; and text as a picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import blindspace as bs
from blindspace.data import samples
from blindspace.errors import BlindspaceError, ShapeError, ValueRangeError
from blindspace.perturbations._decoy import FINE, decoy, through_blur
from blindspace.perturbations.text import MARGIN, text_picture
from blindspace.subspaces import Subspace, nullspace
from blindspace.subspaces.box import Metric
from oracle import Array, matrix_of

SHAPE = (2, 6, 6)


@pytest.fixture(scope="module")
def layer() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Conv2d(2, 3, 3, 3).eval()


@pytest.fixture(scope="module")
def space(layer: nn.Module) -> Subspace:
    return nullspace(layer, SHAPE)


def pictures(count: int, seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Images with some pixels black, some white."""
    x = 1.2 * torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.1
    return x.clamp(0, 1)


def bounded_least_squares(matrix: Array, x: Array, target: Array, metric: Array) -> Array:
    """The nearest picture with A y = A x in [0, 1]ⁿ, A y = A x by a weight that swamps the distance."""
    root = np.linalg.cholesky(metric).T
    heavy = 1e5 * scipy.linalg.orth(matrix.T).T
    return np.asarray(
        scipy.optimize.lsq_linear(
            np.concatenate([root, heavy]), np.concatenate([root @ target, heavy @ x]), (0, 1), method="bvls", tol=1e-15
        ).x
    )


def dense(metric: Metric) -> Array:
    units = torch.eye(72, dtype=torch.float64).reshape(72, *SHAPE)
    return np.asarray(metric.apply(units).reshape(72, 72).numpy())


@pytest.mark.parametrize("blur", [0, 0.8])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_decoy_is_the_nearest_picture(layer: nn.Module, space: Subspace, blur: float, dtype: torch.dtype) -> None:
    x, target = pictures(3, 1).to(dtype), pictures(3, 2)
    made = decoy(space, x, target, blur, tolerance=1e-12)
    assert made.images.dtype == torch.float64
    assert made.images.min() >= 0
    assert made.images.max() <= 1
    assert made.residual <= 2e-14
    assert made.optimality <= 1e-4
    metric = dense(through_blur(blur, SHAPE)) if blur else np.eye(72)
    for image, one, wanted in zip(made.images, x.double(), target, strict=True):
        start, end = one.flatten().numpy(), wanted.flatten().numpy()
        expected = bounded_least_squares(matrix_of(layer, SHAPE), start, end, metric)
        np.testing.assert_allclose(image.flatten().numpy(), expected, atol=1e-6)
    rms = (made.images - target).square().flatten(1).mean(1).sqrt()
    torch.testing.assert_close(made.distance, rms)
    assert (made.distance > made.unbounded).all()
    free = x.double() + space.project(target - x.double())
    torch.testing.assert_close(made.unbounded, (free - target).square().flatten(1).mean(1).sqrt())


def test_a_target_that_can_be_reached_is(space: Subspace) -> None:
    x = 0.25 + pictures(2, 3) / 2
    target = x + 0.05 * space.sample(2, torch.Generator().manual_seed(0)).clamp(-3, 3)
    target = x + space.project(target - x)
    assert target.min() >= 0
    assert target.max() <= 1
    made = decoy(space, x, target)
    torch.testing.assert_close(made.images, target, rtol=0, atol=1e-6)
    assert made.distance.max() <= 1e-6


def test_one_target_serves_all_and_parts_make_the_whole(space: Subspace) -> None:
    x, target = pictures(5, 4), pictures(1, 5)
    whole = decoy(space, x, target[0])
    told: list[tuple[int, int]] = []
    parts = decoy(
        space,
        x,
        target.expand_as(x),
        progress=lambda done, total, what: told.append((done, total)),
        chunk=2 * 20 * 8 * 72,
    )
    assert told == [(0, 5), (2, 5), (4, 5)]
    torch.testing.assert_close(parts.images, whole.images, rtol=0, atol=1e-6)
    torch.testing.assert_close(decoy(space, x, target).images, whole.images, rtol=0, atol=1e-6)
    alone = decoy(space, x[3:4], target).images
    torch.testing.assert_close(alone, whole.images[3:4], rtol=0, atol=1e-6)


@pytest.mark.parametrize("blur", [0, 1.0])
def test_people_see_the_target_the_network_the_original(blur: float) -> None:
    network = bs.load("mnist-mlp")
    x = 0.2 + 0.6 * samples("mnist").take(slice(4)).tensor().double()  # as they are, so much black allows nothing
    target = text_picture("NO", (1, 28, 28))
    made = decoy(bs.harmless(network), x, target, blur)
    evidence = bs.verify(network, x, made.images)
    assert evidence.labels_changed == 0
    assert (evidence.max_output_change_float64 or 0) <= 1e-10
    assert made.residual <= 2e-14
    assert made.unchanged == 0
    assert made.images.min() >= 0
    assert made.images.max() <= 1

    def likeness(images: Tensor) -> Tensor:
        return torch.corrcoef(torch.cat([target.flatten()[None], images.flatten(1)]))[0, 1:]

    assert (likeness(made.images) > likeness(x) + (0.1 if blur else 0.2)).all()


def test_seen_through_the_blur_the_blurred_decoy_is_nearer() -> None:
    shape = (1, 16, 16)
    with torch.random.fork_rng():
        torch.manual_seed(6)
        space = nullspace(nn.Conv2d(1, 4, 4, 4), shape)
    x, target = pictures(2, 7, shape), text_picture("A", shape, 0.8, 0.2)
    sharp, blurred = (decoy(space, x, target, blur).images - target for blur in (0, 1.0))
    metric = through_blur(1.0, shape)
    assert ((blurred * metric.apply(blurred)).sum() < 0.8 * (sharp * metric.apply(sharp)).sum()).all()
    assert (blurred.norm() > sharp.norm()).all()


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.5])
def test_the_metric_is_one(sigma: float) -> None:
    metric = through_blur(sigma, SHAPE)
    matrix = dense(metric)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-15)
    values = np.linalg.eigvalsh(matrix)
    assert values.min() >= FINE * (1 - 1e-12)
    assert values.max() <= 1
    assert metric.least == FINE


def test_to_dict_is_plain_and_holds_no_images(space: Subspace) -> None:
    told = decoy(space, pictures(2, 1), pictures(1, 2)).to_dict()
    assert set(told) == {"distance", "unbounded", "residual", "optimality", "iterations", "unchanged"}
    assert len(told["distance"]) == 2


def test_black_images_that_allow_nothing_stay_as_they_are() -> None:
    layer = nn.Conv2d(1, 1, 2, 2, bias=False)
    nn.init.constant_(layer.weight, 0.25)
    x = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 0.5)])
    made = decoy(nullspace(layer, (1, 4, 4)), x, pictures(1, 3, (1, 4, 4)))
    assert torch.equal(made.images[0], x[0].double())
    assert made.unchanged == 1
    assert made.optimality <= 1e-5


def test_what_a_decoy_refuses(space: Subspace) -> None:
    x, target = pictures(3, 1), pictures(1, 2)
    expected: list[tuple[type[BlindspaceError], str, Callable[[], object]]] = [
        (ShapeError, r"\(B, 2, 6, 6\).*\(3, 2, 6\)", lambda: decoy(space, x[:, :, :, 0], target)),
        (ShapeError, r"\(2, 6, 6\).*\(2, 2, 6, 6\)", lambda: decoy(space, x, pictures(2, 2))),
        (ValueRangeError, r"\[0, 1\]", lambda: decoy(space, 255 * x, target)),
        (ValueRangeError, r"\[0, 1\]", lambda: decoy(space, x * float("nan"), target)),
        (ValueRangeError, "finite", lambda: decoy(space, x, target / 0)),
        (ValueRangeError, "6 × 6.*-1", lambda: decoy(space, x, target, -1)),
        (ShapeError, r"\(36,\)", lambda: through_blur(1, (36,))),
    ]
    for error, said, call in expected:
        with pytest.raises(error, match=rf"^.*{said}.*\Z"):
            call()


# --- text -------------------------------------------------------------------------------------------------


def inked(picture: Tensor) -> tuple[int, int, int, int]:
    """Of the letters: first and last row, first and last column."""
    rows, columns = (picture[0] != picture[0, 0, 0]).nonzero(as_tuple=True)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


@settings(max_examples=30)
@given(
    st.text("abcdefgh XY.", min_size=1, max_size=30).filter(str.strip),
    st.sampled_from([1, 3]),
    st.integers(48, 120),
    st.integers(48, 120),
)
def test_text_fits_and_stands_in_the_middle(text: str, channels: int, height: int, width: int) -> None:
    picture = text_picture(text, (channels, height, width))
    assert picture.shape == (channels, height, width)
    assert picture.dtype == torch.float64
    assert picture.min() == 0
    assert picture.max() <= 1
    assert all(torch.equal(channel, picture[0]) for channel in picture)
    top, bottom, left, right = inked(picture)
    edge = MARGIN * min(height, width) - 2
    assert min(top, left, height - 1 - bottom, width - 1 - right) >= edge
    assert abs(left - (width - 1 - right)) <= 3 + width // 10


def test_text_is_as_large_as_fits_and_wraps() -> None:
    top, bottom, left, right = inked(text_picture("STOP", (1, 64, 64)))
    assert right - left >= 0.75 * 64
    alone = bottom - top
    top, bottom, left, right = inked(text_picture("STOP STOP STOP", (1, 64, 64)))
    assert bottom - top > 2 * alone  # three lines, not one
    assert bottom - top <= 64 * (1 - 2 * MARGIN) + 1
    assert inked(text_picture("a\nb", (1, 64, 64)))[1] > inked(text_picture("a b", (1, 16, 64)))[1]


def test_contrast_is_chosen() -> None:
    letters = text_picture("A", (1, 32, 32))
    torch.testing.assert_close(text_picture("A", (1, 32, 32), 0.2, 0.9), 0.9 - 0.7 * letters)


@pytest.mark.parametrize(
    ("text", "shape", "ink", "said"),
    [
        ("  \n", (1, 32, 32), 1.0, "no text"),
        ("A", (32, 32), 1.0, r"\(C, H, W\).*\(32, 32\)"),
        ("A", (1, 32, 32), 1.5, r"\[0, 1\].*1\.5"),
        ("far too long a text " * 20, (1, 32, 32), 1.0, "32 × 32.*shorten"),
        ("A", (1, 4, 4), 1.0, "4 × 4"),
    ],
)
def test_what_text_refuses(text: str, shape: tuple[int, ...], ink: float, said: str) -> None:
    with pytest.raises(BlindspaceError, match=rf"^.*{said}.*\Z"):
        text_picture(text, shape, ink)
