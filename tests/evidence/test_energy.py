"""Energies of images in a subspace, against the projector's matrix."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import blindspace as bs
from blindspace.errors import ShapeError, ValueRangeError
from blindspace.evidence.energy import blind_energy
from oracle import NAMED, map_of, null_projector


def images(count: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Smooth images with a mean, in [0, 1]."""
    noise = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise.cumsum(-1) / shape[-1]


@pytest.mark.parametrize("name", ["conv2d-stem", "linear-wide", "conv2d-luminance", "resize-antialiased"])
def test_energies_are_those_of_the_projector_s_matrix(name: str) -> None:
    module, shape = NAMED[name].make()
    space = bs.nullspace(module, shape)
    x = images(5, shape)
    found = blind_energy(space, x)
    projector = null_projector(map_of(name).to_dense().numpy())
    by_channel = x.reshape(5, shape[0] if len(shape) > 1 else 1, -1)
    centred = (by_channel - by_channel.mean(2, keepdim=True)).flatten(1).numpy()
    for share, vectors in ((found.raw, x.flatten(1).numpy()), (found.centred, centred)):
        expected = ((vectors @ projector) ** 2).sum(1) / (vectors**2).sum(1)
        assert np.abs(share.numpy() - expected).max() <= 1e-12
    assert found.noise == space.dim / space.ambient_dim
    summary = found.summary()
    assert set(summary) == set(found.shares())
    assert summary["raw"]["mean"] == pytest.approx(float(found.raw.mean()))
    assert summary["raw"]["max"] == float(found.raw.max())
    assert len(json.loads(json.dumps(found.to_dict(), allow_nan=False))["images"]["centred"]) == 5


def test_controls_have_the_share_of_noise() -> None:
    module, shape = NAMED["conv2d-stem"].make()
    space = bs.nullspace(module, shape)
    noise = torch.randn(400, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = blind_energy(space, noise)
    error = found.noise_deviation / 400**0.5
    for share in (found.raw, found.shuffled, found.random):
        assert float(share.mean()) == pytest.approx(found.noise, abs=5 * error)
    assert float(found.random.std()) == pytest.approx(found.noise_deviation, rel=0.2)
    assert float(found.raw.std()) == pytest.approx(found.noise_deviation, rel=0.2)


def test_shuffling_moves_pixels_whole() -> None:
    """A space of grey directions sees an image of greys the same in any order; the centred image as well."""
    module, shape = NAMED["conv2d-1x1"].make()
    space = bs.nullspace(module, shape)
    found = blind_energy(space, images(6, shape))
    assert torch.allclose(found.raw, found.shuffled, atol=1e-12)
    assert torch.allclose(found.centred, found.shuffled_centred, atol=1e-12)
    blur = bs.nullspace(*NAMED["resize-antialiased"].make())
    smooth = blind_energy(blur, images(6, blur.shape))
    assert float((smooth.shuffled_centred - smooth.centred).min()) > 0.2  # the order was what made it smooth


def test_energy_of_special_images() -> None:
    space = bs.nullspace(*NAMED["conv2d-stem"].make())
    constant = torch.full((2, *space.shape), 0.9, dtype=torch.float64)  # whose mean is off by rounding
    constant[1] = 0
    found = blind_energy(space, constant)
    assert float(found.raw[0]) > 0
    assert found.centred.tolist() == found.shuffled_centred.tolist() == [0, 0]
    assert [share[1] for share in (found.raw.tolist(), found.shuffled.tolist(), found.random.tolist())] == [0, 0, 0]
    once, again, other = (blind_energy(space, images(3, space.shape), seed).to_dict() for seed in (1, 1, 2))
    assert once == again
    assert once["images"]["shuffled"] != other["images"]["shuffled"]
    everything = blind_energy(bs.nullspace(*NAMED["conv2d-all-dead"].make()), images(2, (3, 8, 8)))
    assert everything.random.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[:0], ValueRangeError, "at least one image"),
        (lambda x: x * float("nan"), ValueRangeError, "NaN or infinite"),
        (lambda x: x[:, :2], ShapeError, "must have shape"),
        (lambda x: x.long(), ShapeError, "floating-point"),
    ],
)
def test_images_that_have_no_energy_are_refused(change: Any, error: type[Exception], message: str) -> None:
    space = bs.nullspace(*NAMED["conv2d-stem"].make())
    with pytest.raises(error, match=message):
        blind_energy(space, change(images(2, space.shape)))
