"""Resizes compared with torch's ``interpolate`` and with Pillow; the preprocessing modules compared with their maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from blindspace import networks
from blindspace.errors import BlindspaceError, ShapeError, TooLargeError, UnknownNameError, UnsupportedLayerError
from blindspace.maps import from_module
from blindspace.maps.operations import resize
from blindspace.maps.resizing.pillow import PIL_FILTERS, pil_matrix
from blindspace.maps.resizing.pytorch import torch_matrix

side = st.integers(1, 24)
pil_mode = pytest.mark.parametrize("mode", PIL_FILTERS)
by_chance = settings(max_examples=80, deadline=None, derandomize=True)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gap(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-300))


# --- torch's convention ------------------------------------------------------------------------------------

TORCH_MODES: list[tuple[str, int, bool, bool]] = [
    ("linear", 1, False, False),
    ("linear", 1, False, True),
    ("bilinear", 2, False, False),
    ("bilinear", 2, False, True),
    ("bilinear", 2, True, False),
    ("bilinear", 2, True, True),
    ("bicubic", 2, False, False),
    ("bicubic", 2, False, True),
    ("bicubic", 2, True, False),
    ("bicubic", 2, True, True),
    ("trilinear", 3, False, False),
    ("trilinear", 3, False, True),
    *((mode, axes, False, False) for mode in ("nearest", "nearest-exact", "area") for axes in (1, 2, 3)),
]
torch_mode = pytest.mark.parametrize(("mode", "axes", "antialias", "corners"), TORCH_MODES)


@torch_mode
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_as_torch_interpolates_all_axes_at_once(
    mode: str, axes: int, antialias: bool, corners: bool, data: st.DataObject
) -> None:
    most = 24 if axes < 3 else 8
    shape, size = (tuple(data.draw(st.integers(1, most)) for _ in range(axes)) for _ in range(2))
    assume(not antialias or size[-1] > 1)  # torch antialiases the wrong axis of a single column
    x = noise(3, 2, *shape)
    expected = F.interpolate(x, size, mode=mode, antialias=antialias, align_corners=True if corners else None)
    operator = resize((2, *shape), size, mode, antialias=antialias, align_corners=corners)
    assert gap(operator.forward(x), expected) <= 1e-14


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("recompute", [None, False, True])
@settings(max_examples=12, deadline=None, derandomize=True)  # torch takes 0.1 s for the output shape of bicubic
@given(data=st.data())
def test_scale_factors_give_the_positions(mode: str, recompute: bool | None, data: st.DataObject) -> None:
    axes = 2 if mode[0] == "b" else data.draw(st.integers(1, 3))
    shape = data.draw(st.tuples(*[st.integers(1, 24 if axes < 3 else 7)] * axes))
    factors = tuple(data.draw(st.floats(1 / n, 2.5)) for n in shape)
    assume(all(int(n * factor) >= 1 for n, factor in zip(shape, factors, strict=True)))
    module = nn.Upsample(scale_factor=factors, mode=mode, recompute_scale_factor=recompute)
    x = noise(2, 3, *shape)
    assert gap(from_module(module, (3, *shape)).forward(x), module(x)) <= 1e-14


def test_given_and_recomputed_factors_differ() -> None:
    given_, recomputed = (
        from_module(nn.Upsample(scale_factor=0.7, mode="bilinear", recompute_scale_factor=again), (1, 11, 11))
        for again in (False, True)
    )
    assert given_.out_shape == recomputed.out_shape
    assert gap(given_.to_dense(), recomputed.to_dense()) > 0.01


# --- Pillow's ----------------------------------------------------------------------------------------------


def pillow(image: Tensor, size: Sequence[int], mode: str) -> Tensor:
    """The resize by Pillow of one channel ``(H, W)``, float32."""
    resized = Image.fromarray(image.numpy().astype(np.float32)).resize(
        (size[1], size[0]), Image.Resampling[mode.upper()]
    )
    return torch.from_numpy(np.array(resized)).double()


@pil_mode
@by_chance
@given(shape=st.tuples(side, side), size=st.tuples(side, side))
def test_as_pillow_resizes(mode: str, shape: tuple[int, int], size: tuple[int, int]) -> None:
    x = noise(*shape).float().double()
    ours = resize((1, *shape), size, mode, convention="pil").forward(x[None, None])[0, 0]
    # Pillow rounds to float32 between its two passes.
    assert float((ours - pillow(x, size, mode)).abs().max()) <= 4e-7 * float(x.abs().max())


@pil_mode
def test_as_pillow_shrinks_a_photograph(mode: str) -> None:
    x = noise(480, 641).float().double()
    ours = resize((1, 480, 641), (224, 199), mode, convention="pil").forward(x[None, None])[0, 0]
    assert float((ours - pillow(x, (224, 199), mode)).abs().max()) <= 4e-7 * float(x.abs().max())


def test_pillow_accumulates_the_step_size_of_nearest() -> None:
    """Rounding decides between two pixels at equal distance; the direct formula is wrong in hundreds of cases."""
    differ = 0
    for n in range(1, 40):
        for m in range(1, 40):
            direct = ((np.arange(m) + 0.5) * n / m).astype(int)
            pixels = pillow(torch.arange(n)[None], (1, m), "nearest")[0]
            assert torch.equal(pil_matrix(n, m, "nearest") @ torch.arange(n).double(), pixels)
            differ += not np.array_equal(direct, pixels.numpy())
    assert differ > 100


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@by_chance
@given(n=st.integers(1, 60), m=st.integers(1, 60))
def test_pillow_and_torch_antialias_alike(mode: str, n: int, m: int) -> None:
    assert gap(pil_matrix(n, m, mode), torch_matrix(n, m, mode, antialias=True)) <= 1e-14


@pil_mode
@by_chance
@given(n=st.integers(1, 60), m=st.integers(1, 60))
def test_every_output_is_a_mean(mode: str, n: int, m: int) -> None:
    assert np.allclose(pil_matrix(n, m, mode).sum(1), 1, rtol=0, atol=1e-14)


# --- modules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", ["torch", "pil"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(7, 9), (9, 1), 8, (14, 3)], ids=str)
def test_the_module_is_its_map(convention: str, mode: str, antialias: bool, size: Any) -> None:
    module, x = networks.Resize(size, mode, antialias, convention), noise(2, 3, 12, 17)
    assert gap(from_module(module, (3, 12, 17)).forward(x), module(x)) <= 1e-14
    assert module(x.float()).dtype == torch.float32


def test_resize_by_pillow_is_differentiable_and_pillow_s() -> None:
    module = networks.Resize(6, "lanczos", convention="pil")
    image = noise(1, 2, 9, 14)
    x = image.clone().requires_grad_()
    y = module(x)
    assert y.shape == (1, 2, 6, 9)  # 6 · 14 / 9 = 9.33
    (gradient,) = torch.autograd.grad((y * noise(*y.shape, seed=1)).sum(), x)
    assert gap(gradient, from_module(module, (2, 9, 14)).adjoint(noise(*y.shape, seed=1))) <= 1e-14
    for channel in range(2):
        assert float((y[0, channel].detach() - pillow(image[0, channel], (6, 9), "lanczos")).abs().max()) <= 1e-6


@pytest.mark.parametrize(
    ("size", "image", "expected"),
    [(224, (480, 640), (224, 298)), (256, (1080, 1920), (256, 455)), (5, (9, 3), (15, 5)), ((4, 6), (9, 3), (4, 6))],
)
def test_size_of_the_shorter_side(size: Any, image: tuple[int, int], expected: tuple[int, int]) -> None:
    assert networks.Resize(size).size_of(image) == expected


@pytest.mark.parametrize(
    ("size", "image", "top_left"), [(4, (9, 8), (2, 2)), (4, (7, 5), (2, 0)), ((3, 8), (4, 8), (0, 0))]
)
def test_centre_crop(size: Any, image: tuple[int, int], top_left: tuple[int, int]) -> None:
    """Half an odd margin is rounded to the even number, as in Python and torchvision."""
    module, x = networks.CentreCrop(size), noise(2, 3, *image)
    height, width = (size, size) if isinstance(size, int) else size
    expected = x[..., top_left[0] : top_left[0] + height, top_left[1] : top_left[1] + width]
    assert torch.equal(module(x), expected)
    assert torch.equal(from_module(module, (3, *image)).forward(x), expected)


REFUSED: list[tuple[Any, type[BlindspaceError], str]] = [
    (lambda: resize((3, 8, 8), (4, 4), "cubic"), UnknownNameError, "cubic.*bicubic"),
    (lambda: resize((3, 8, 8), (4, 4), "area", convention="pil"), UnknownNameError, "area.*lanczos"),
    (lambda: resize((3, 8, 8), (4, 4), convention="opencv"), UnknownNameError, "opencv"),
    (lambda: resize((3, 8, 8), (4,), "bilinear"), ShapeError, "bilinear resizes 2 axes"),
    (lambda: resize((3, 8, 8), (4, 0)), ShapeError, r"\(4, 0\)"),
    (lambda: resize((8,), (4, 4)), ShapeError, r"\(8,\)"),
    (lambda: resize((3, 8, 8), (4, 4), "nearest", antialias=True), UnsupportedLayerError, "torch refuses.*nearest"),
    (lambda: resize((3, 8, 8), (4, 4), "area", align_corners=True), UnsupportedLayerError, "torch refuses.*area"),
    (lambda: resize((3, 8, 8), (4, 4), scale=(0.5, 0.4)), ShapeError, "0.4 makes 3 of 8"),
    (
        lambda: resize((3, 8, 8), (4, 4), convention="pil", align_corners=True),
        UnsupportedLayerError,
        "align_corners",
    ),
    (lambda: networks.Resize(4, "trilinear"), ShapeError, "trilinear"),
    (lambda: networks.CentreCrop(9)(noise(1, 3, 8, 10)), ShapeError, r"\(8, 10\).*\(9, 9\)"),
    (lambda: from_module(networks.CentreCrop(9), (3, 8, 10)), ShapeError, r"\(8, 10\).*\(9, 9\)"),
    (lambda: from_module(nn.Upsample(4, mode="bilinear"), (3, 8)), ShapeError, "bilinear resizes 2 axes"),
]


@pytest.mark.parametrize(("make", "error", "named"), REFUSED, ids=range(len(REFUSED)))
def test_refused(make: Any, error: type[BlindspaceError], named: str) -> None:
    with pytest.raises(error, match=named):
        make()


@pytest.mark.parametrize("convention", ["torch", "pil"])
def test_a_size_beyond_memory_is_refused_before_any_is_taken(convention: str) -> None:
    with pytest.raises(TooLargeError, match=r"a resize of \((3, )?20, 28\) to \(2147483648, 16\) needs about 6"):
        resize((3, 20, 28), (2**31, 16), "bilinear", convention=convention)
