"""Preprocessing compared with that of the libraries and with plain Pillow on floats and NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import BlindspaceError, ShapeError, UnknownNameError, ValueRangeError
from blindspace.extras import library
from blindspace.maps import from_module
from blindspace.networks import CentreCrop, Resize
from blindspace.networks.preprocessing_modules import ChannelsLast, FlipChannels
from blindspace.networks.sources.preprocessing import output_shape, parse

Array = npt.NDArray[np.float64]

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def apply(spec: str, x: Tensor) -> Array:
    found: Array = nn.Sequential(*parse(spec)).double()(x[None])[0].numpy()
    return found


# --- spelled out -------------------------------------------------------------------------------------------


def pillow(x: Array, height: int, width: int, mode: str) -> Array:
    """The resize of each channel in floats, without rounding."""
    sized = [
        Image.fromarray(channel.astype(np.float32)).resize((width, height), Image.Resampling[mode.upper()])
        for channel in x
    ]
    return np.stack([np.array(channel, np.float64) for channel in sized])


def crop(x: Array, height: int, width: int) -> Array:
    top, left = round((x.shape[1] - height) / 2), round((x.shape[2] - width) / 2)
    return x[:, top : top + height, left : left + width]


def columns(values: list[float]) -> Array:
    return np.array(values)[:, None, None]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("resize 20 bicubic", lambda x: pillow(x, 20, 26, "bicubic")),
        ("resize 20x11", lambda x: pillow(x, 20, 11, "bilinear")),
        ("resize 20x11 lanczos pil", lambda x: pillow(x, 20, 11, "lanczos")),
        ("resize 20x11 box", lambda x: pillow(x, 20, 11, "box")),
        ("resize=20 nearest", lambda x: pillow(x, 20, 26, "nearest")),
        ("center-crop 17", lambda x: crop(x, 17, 17)),
        ("centre-crop 17x20", lambda x: crop(x, 17, 20)),
        ("pad 3", lambda x: np.pad(x, ((0, 0), (3, 3), (3, 3)))),
        ("pad 3 reflect", lambda x: np.pad(x, ((0, 0), (3, 3), (3, 3)), mode="reflect")),
        ("pad 3 replicate", lambda x: np.pad(x, ((0, 0), (3, 3), (3, 3)), mode="edge")),
        ("pad 3 circular", lambda x: np.pad(x, ((0, 0), (3, 3), (3, 3)), mode="wrap")),
        ("scale 255", lambda x: x * 255),
        ("normalise imagenet", lambda x: (x - columns(MEAN)) / columns(STD)),
        ("Normalize ImageNet", lambda x: (x - columns(MEAN)) / columns(STD)),
        ("normalise 0.5 0.25 0 / 0.5 2 1", lambda x: (x - columns([0.5, 0.25, 0])) / columns([0.5, 2, 1])),
        ("normalise 0.5 / 0.25", lambda x: (x - 0.5) / 0.25),
        ("bgr", lambda x: x[::-1]),
        ("channels-last", lambda x: np.moveaxis(x, 0, 2)),
        (
            "scale 255, bgr, normalise 104 117 123 / 1 1 1, channels-last",
            lambda x: np.moveaxis(x[::-1] * 255 - columns([104, 117, 123]), 0, 2),
        ),
        (
            "resize 24 bicubic, center-crop 20, normalise imagenet",
            lambda x: (crop(pillow(x, 24, 31, "bicubic"), 20, 20) - columns(MEAN)) / columns(STD),
        ),
    ],
)
def test_steps_spelled_out(spec: str, expected: Any) -> None:
    x = noise(3, 30, 39)
    found, wanted = apply(spec, x), expected(x.numpy())
    assert found.shape == wanted.shape == output_shape(parse(spec), (3, 30, 39))
    assert np.abs(found - wanted).max() <= 3e-6 * np.abs(wanted).max()  # Pillow computes with 24 bits.
    # The map is its linear part.
    module = nn.Sequential(*parse(spec)).double()
    other = noise(3, 30, 39).flip(1)
    difference = module(x[None]) - module(other[None])
    torch.testing.assert_close(
        from_module(module, (3, 30, 39)).forward((x - other)[None]),
        difference,
        rtol=0,
        atol=1e-7 * difference.abs().max(),
    )


@pytest.mark.parametrize(
    ("spec", "mode", "antialias", "convention"),
    [
        ("resize 20x11", "bilinear", True, "pil"),
        ("resize 20x11 torch", "bilinear", True, "torch"),
        ("resize 20x11 bicubic no-antialias", "bicubic", False, "torch"),
        ("resize 20x11 nearest-exact", "nearest-exact", False, "torch"),
        ("resize 20x11 area", "area", False, "torch"),
        ("resize 20x11 hamming", "hamming", False, "pil"),
    ],
)
def test_resize_options(spec: str, mode: str, antialias: bool, convention: str) -> None:
    (step,) = parse(spec)
    assert isinstance(step, Resize)
    assert (step.mode, step.convention) == (mode, convention)
    assert step.antialias == (antialias and mode in ("bilinear", "bicubic"))


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("", UnknownNameError, "no preprocessing step is called ''"),
        ("resise 256", UnknownNameError, "'resise'; there are resize, center-crop"),
        ("resize 256 cubic", UnknownNameError, "no resize mode is called 'cubic'; there are nearest, box"),
        ("resize 256 lanczos torch", UnknownNameError, "torch has no resize mode 'lanczos'"),
        ("resize 256 bicubic pil no-antialias", ValueRangeError, "Pillow always antialiases"),
        ("resize", ValueRangeError, "'resize' cannot be read: give a size"),
        ("resize 0", ValueRangeError, "a size is a whole number or HEIGHTxWIDTH, not '0'"),
        ("resize 256x", ValueRangeError, "not '256x'"),
        ("resize 2.5", ValueRangeError, "not '2.5'"),
        ("resize 999999999", ValueRangeError, "not '999999999'"),
        ("center-crop", ValueRangeError, "give one size"),
        ("center-crop 224 224", ValueRangeError, "give one size"),
        ("pad 4 mirror", ValueRangeError, "one of zeros, reflect"),
        ("pad 4x4", ValueRangeError, "give one number of pixels"),
        ("scale", ValueRangeError, "give one factor"),
        ("scale 0", ValueRangeError, "maps every image to 0"),
        ("scale inf", ValueRangeError, "not finite"),
        ("normalise", ValueRangeError, "give imagenet, clip, inception, or means / standard deviations"),
        ("normalise imagenot", ValueRangeError, "'imagenot' is not a number"),
        ("normalise 0 0 0 / 1 1", ValueRangeError, "must be equally many"),
        ("normalise 0 / 0", ValueRangeError, "the latter positive"),
        ("normalise 0 / -1", ValueRangeError, "the latter positive"),
        ("bgr 3", ValueRangeError, "it takes no argument"),
        ("resize 256, , bgr", UnknownNameError, "no preprocessing step is called ''"),
    ],
)
def test_what_cannot_be_read(spec: str, kind: type[BlindspaceError], message: str) -> None:
    with pytest.raises(kind) as caught:
        parse(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_smaller_half_is_cut_first_on_request() -> None:
    x = noise(1, 1, 7, 9)
    assert torch.equal(CentreCrop(4)(x), x[..., 2:6, 2:6])  # 1.5 and 2.5 both round to 2
    assert torch.equal(CentreCrop(4, smaller_first=True)(x), x[..., 1:5, 2:6])
    operator = from_module(CentreCrop(4, smaller_first=True), (1, 7, 9))
    assert torch.equal(operator.forward(x), x[..., 1:5, 2:6])


# --- in front of a network ---------------------------------------------------------------------------------


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def test_the_photograph_is_the_input() -> None:
    module, spec = small(), "resize 16 bicubic, center-crop 16, normalise imagenet"
    network = bs.load(module, (3, 40, 60), preprocess=spec)
    assert (network.input_shape, network.space) == ((3, 40, 60), "pixels")
    x = noise(2, 3, 40, 60)
    expected = module.double()(nn.Sequential(*parse(spec)).double()(x))
    torch.testing.assert_close(network.outputs(x, torch.float64), expected, rtol=0, atol=1e-12)


def test_what_the_preprocessing_cannot_see_is_harmless() -> None:
    network = bs.load(small(), (3, 40, 60), preprocess="resize 8x8 bicubic, normalise imagenet")
    space = bs.harmless(network)
    assert space.dim >= 3 * (40 * 60 - 64)
    generator = torch.Generator().manual_seed(0)
    x, delta = noise(2, 3, 40, 60), space.sample(2, generator)
    before = network.outputs(x, torch.float64)
    assert float((network.outputs(x + delta, torch.float64) - before).abs().max()) <= 1e-12 * float(delta.abs().max())
    assert float((network.outputs(x + noise(2, 3, 40, 60), torch.float64) - before).abs().max()) > 1e-4


@pytest.mark.parametrize(
    ("shape", "spec", "message"),
    [
        (None, "resize 16", "needs the shape of the images: --input-shape 3x480x640"),
        (
            (3, 8, 8),
            "center-crop 16",
            r"cannot read an image of shape \(3, 8, 8\): .* resize it to a larger size first",
        ),
        ((3, 8, 8), "pad 8 reflect", "the preprocessing cannot read an image"),
        ((8, 8), "resize 16", r"reads images \(channels, height, width\), not the shape \(8, 8\)"),
        ((1, 8, 8), "normalise imagenet", "the preprocessing cannot read an image"),
        ((4, 8, 8), "normalise imagenet", "the preprocessing cannot read an image"),
        (
            (3, 8, 8),
            "center-crop 2",
            r"cannot read an input of shape \(3, 2, 2\), which the preprocessing makes of \(3, 8, 8\)",
        ),
        ((3, 8, 8), "timm", "was published with no preprocessing of timm"),
    ],
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...] | None, spec: str, message: str) -> None:
    with pytest.raises((ShapeError, UnknownNameError), match=message) as caught:
        bs.load(small(), shape, preprocess=spec)
    assert "\n" not in str(caught.value)


# --- against the libraries themselves ----------------------------------------------------------------------


def photograph(height: int = 300, width: int = 411) -> Image.Image:
    """A smooth 8-bit photograph, far enough from black and white that no resize overshoots and is clipped."""
    coarse = np.random.default_rng(0).integers(70, 185, (height // 12, width // 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def away(network: bs.Network, theirs: Tensor, std: Sequence[float]) -> float:
    """The largest difference from the result of a library, in units of 1/255."""
    pixels = torch.from_numpy(np.asarray(photograph(), np.float64).transpose(2, 0, 1) / 255)
    ours = network.module.get_submodule("preprocessing").double()(pixels[None])[0]
    assert ours.shape == theirs.shape
    return float(((ours - theirs) * torch.tensor(std).view(-1, 1, 1)).abs().max()) * 255


LARGEST = 1.2
"""Pillow rounds to eight bits after each of its two passes: half a step each, and the second pass overshoots."""


@needs("timm")
@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "deit_tiny_patch16_224", "mobilevit_xxs"])
def test_as_timm_does_it(name: str) -> None:
    timm = library("timm", "timm")
    network = bs.load(f"timm:{name}", (3, 300, 411), random_weights=True, preprocess="timm")
    config = timm.data.resolve_model_data_config(network.module.get_submodule("network"))
    theirs = timm.data.create_transform(**config, is_training=False)(photograph())
    assert 0.1 < away(network, theirs, config["std"]) <= LARGEST


@needs("torchvision")
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_as_torchvision_does_it(name: str) -> None:
    torchvision = library("torchvision", "torchvision")
    network = bs.load(f"torchvision:{name}", (3, 300, 411), random_weights=True, preprocess="torchvision")
    weights = next(iter(torchvision.models.get_model_weights(name)))
    assert 0.1 < away(network, weights.transforms()(photograph()), STD) <= LARGEST
    assert network.classes == tuple(weights.meta["categories"])


@needs("torchvision")
def test_on_a_photograph_that_is_clipped() -> None:
    """Where bicubic overshoots black or white, 8-bit values are clipped: large differences at a few edges only."""
    data: Any = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    torchvision = library("torchvision", "torchvision")
    weights = torchvision.models.get_model_weights("efficientnet_b0").IMAGENET1K_V1
    picture = data.astronaut()
    steps = parse("resize 256 bicubic, center-crop 224, normalise imagenet")
    ours = nn.Sequential(*steps).double()(torch.from_numpy(picture.transpose(2, 0, 1) / 255)[None])[0]
    theirs = weights.transforms()(Image.fromarray(picture))
    difference = (ours - theirs) * torch.tensor(STD).view(-1, 1, 1) * 255
    assert float(difference.square().mean().sqrt()) < 0.5
    assert 2 < float(difference.abs().max()) < 40


def test_only_the_statistics_are_kept_as_numbers_of_the_network() -> None:
    steps = parse("resize 8, center-crop 4, pad 1, scale 2, normalise imagenet, bgr, channels-last")
    assert [type(step).__name__ for step in steps if list(step.buffers())] == ["Normalise"]
    assert not [parameter for step in steps for parameter in step.parameters()]
    assert {FlipChannels, ChannelsLast} <= {type(step) for step in steps}
