"""Layers whose weights are computed from other tensors, by themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import blindspace as bs
from blindspace.errors import UnsupportedLayerError

pytestmark = pytest.mark.filterwarnings("ignore")

old: Any = nn.utils


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 4, 4, 4)


def linear() -> nn.Linear:
    return nn.Linear(12, 5)


class Sparse(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * (weight.abs() > weight.abs().median())


def custom(name: str) -> nn.Module:
    layer = linear()
    parametrize.register_parametrization(layer, name, Sparse())
    return layer


def pruned_twice() -> nn.Module:
    layer = prune.l1_unstructured(conv(), "weight", 0.5)
    return prune.ln_structured(layer, "weight", 0.25, 2, 0)  # type: ignore[no-any-return]


CASES: dict[str, Callable[[], nn.Module]] = {
    "weight norm": lambda: parametrizations.weight_norm(conv()),
    "older weight norm": lambda: old.weight_norm(conv()),
    "older weight norm of a matrix": lambda: old.weight_norm(linear()),
    "spectral norm": lambda: parametrizations.spectral_norm(conv()),
    "older spectral norm": lambda: old.spectral_norm(conv()),
    "orthogonal": lambda: parametrizations.orthogonal(linear()),
    "a parametrisation of the user's own": lambda: custom("weight"),
    "of the bias": lambda: custom("bias"),
    "pruned": lambda: prune.l1_unstructured(conv(), "weight", 0.5),
    "pruned twice": pruned_twice,
    "pruned by rows": lambda: prune.ln_structured(linear(), "weight", 0.5, 2, 0),
    "pruned in the bias": lambda: prune.random_unstructured(linear(), "bias", 0.5),
    "pruned, then normed": lambda: parametrizations.weight_norm(
        prune.remove(prune.identity(conv(), "weight"), "weight")
    ),
    "transposed": lambda: parametrizations.weight_norm(nn.ConvTranspose2d(3, 2, 2, 2)),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_map_is_that_of_the_computed_weights(name: str, training: bool) -> None:
    torch.manual_seed(0)
    layer = CASES[name]().train(training)
    shape = (12,) if any(isinstance(part, nn.Linear) for part in layer.modules()) else (3, 8, 8)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    operator = bs.from_module(layer, shape)
    assert layer.training is training
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    x, y = torch.rand(2, 1, *shape)
    with torch.no_grad():
        expected = layer.eval()(y) - layer(x)
    assert torch.allclose(operator.forward((y - x).double()).float(), expected, atol=1e-5)
    assert bs.nullspace(layer, shape).dim == bs.harmless(layer, input_shape=shape).dim


def test_in_a_sequence() -> None:
    layers = nn.Sequential(
        parametrizations.weight_norm(conv()), nn.BatchNorm2d(4), old.spectral_norm(nn.Conv2d(4, 2, 1))
    )
    assert bs.nullspace(layers.eval(), (3, 8, 8)).dim == 192 - 8


def test_other_hooks_are_refused() -> None:
    layer = old.weight_norm(conv())
    layer.register_forward_pre_hook(lambda module, given: (given[0].abs(),))
    for module in (layer, copy.copy(conv())):
        module.register_forward_hook(lambda module, given, out: out.relu())
        with pytest.raises(UnsupportedLayerError, match="harmless"):
            bs.nullspace(module, (3, 8, 8))


def test_what_a_hook_does_after_a_computed_weight_is_no_part_of_the_layer() -> None:
    layer = parametrizations.weight_norm(conv())
    layer.register_forward_hook(lambda module, given, out: out.relu())
    with pytest.raises(UnsupportedLayerError, match="is not known to be affine"):
        bs.nullspace(layer, (3, 8, 8))
