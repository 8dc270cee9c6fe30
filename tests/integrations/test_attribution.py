"""The visible component as an attribution, and the share of attributions in the harmless space."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.integrations import attribution

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 4, 4), nn.Tanh(), nn.Flatten(), nn.Linear(48, 4)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_visible_component(network: nn.Module, images: Tensor) -> None:
    space = bs.harmless(network, input_shape=SHAPE)
    for given in (network, bs.load(network, SHAPE), space):
        method = bs.VisibleComponent(given)
        found = method.attribute(images.float(), target=1)
        assert found.dtype == torch.float32
        assert float((found.double() - space.reject(images)).abs().max()) <= 1e-6
        (alone,) = method.attribute((images,))
        assert torch.equal(alone, space.reject(images))
    assert float((network(found) - network(images.float())).abs().max()) <= 1e-5
    with pytest.raises(bs.BlindspaceError, match="tuple of 2"):
        method.attribute((images, images))


def test_shares_are_those_computed_by_hand_with_captum(network: nn.Module, images: Tensor) -> None:
    found = bs.compare_attributions(network, images, target=2)
    assert all(each.shape == images.shape for each in found.maps)
    basis = bs.harmless(network, input_shape=SHAPE).basis().flatten(1)
    for each, share in zip(found.maps, found.shares, strict=True):
        flat = each.double().flatten(1)
        assert torch.allclose(share, (flat @ basis.T).square().sum(1) / flat.square().sum(1), atol=1e-12)
    attr: Any = import_module("captum.attr")
    module = bs.load(network, SHAPE).double
    by_name = dict(zip(found.names, found.maps, strict=True))
    expected = attr.IntegratedGradients(module).attribute(images, target=2)
    assert torch.allclose(by_name["integrated gradients"], expected, atol=1e-10)
    assert torch.allclose(by_name["gradient"], attr.Saliency(module).attribute(images, target=2, abs=False))
    mean = {name: values["mean"] for name, values in found.to_dict()["shares"].items()}
    unseen = {"visible component", "gradient", "saliency, signed", "integrated gradients, average"}
    assert all((mean[name] <= 1e-24) == (name in unseen) for name in found.names)
    assert str(found).count("\n") == len(found.names) + 1


def test_without_captum_and_with_attributions_of_ones_own(
    network: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attribution, "find_spec", lambda name: None)
    assert bs.compare_attributions(network, images).names == ("visible component", "gradient")
    given: dict[str, Any] = {"image": images, "object": bs.VisibleComponent(network)}
    found = bs.compare_attributions(network, images.float(), [0, 1, 2], given)
    assert found.names[2:] == ("image", "object")
    assert float(found.shares[3].max()) <= 1e-10 < float(found.shares[2].min())
    with pytest.raises(bs.BlindspaceError, match="image has the shape"):
        bs.compare_attributions(network, images, attributions={"image": images[0]})
