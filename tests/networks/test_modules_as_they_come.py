"""Modules in other wrappers than plain PyTorch, and outputs in every form."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import ShapeError, UnsupportedLayerError

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = (3, 8, 8)
DIM = 3 * 8 * 8 - 4 * 2 * 2

torch.manual_seed(0)
NET = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)).eval()
X = torch.rand(1, *SHAPE)


class Counted(nn.Module):
    """Its trace keeps the number of images."""

    def __init__(self) -> None:
        super().__init__()
        self.net = NET

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x).reshape(int(x.shape[0]), 5)
        return found


def compiled(code: Any) -> Any:
    return torch.compile(code, backend="eager")


class CompiledInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.function = compiled(NET), compiled(torch.neg)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(self.function(self.function(x)))
        return found


jit: Any = torch.jit

WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "traced": lambda: jit.trace(NET, X),
    "traced for eight": lambda: jit.trace(NET, torch.rand(8, *SHAPE)),
    "traced with a number of images": lambda: jit.trace(Counted(), X),
    "scripted": lambda: jit.script(NET),
    "frozen": lambda: jit.freeze(jit.trace(NET, X)),
    "symbolic": lambda: torch.fx.symbolic_trace(NET),
    "DataParallel": lambda: nn.DataParallel(NET),
    "compiled": lambda: compiled(NET),
    "compiled inside": CompiledInside,
    "in training": lambda: nn.Sequential(*list(NET)[:3], nn.Dropout(0.5), NET[3]).train(),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_network_inside_a_wrapper_is_found(name: str) -> None:
    network = bs.load(WRAPPED[name](), SHAPE)
    x = torch.rand(3, *SHAPE)
    assert torch.allclose(network.outputs(x), NET(x), atol=1e-6)
    space = bs.harmless(network)
    assert space.dim == DIM
    bs.verify(network, x, x + space.sample(3))
    bs.pgd(network, x, torch.zeros(3, dtype=torch.int64), steps=1)


def test_kernels_of_another_layout_are_refused() -> None:
    """``optimize_for_inference`` keeps values in a layout that nothing outside can read."""
    with pytest.raises(UnsupportedLayerError, match="not strided"):
        bs.harmless(jit.optimize_for_inference(jit.trace(NET, X)), input_shape=SHAPE)


@dataclass
class Result:
    logits: Any
    loss: Any = None
    hidden: Any = None


Pair = namedtuple("Pair", "first second")


class Out(nn.Module):
    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.form = NET, form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.net(x))


FORMS: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "flat": (lambda y: y[:, 0], 1),
    "one number": (lambda y: y.mean(), 1),
    "a row of images": (lambda y: y[:, 0][None], 1),
    "a list of one": (lambda y: [y], 5),
    "a tuple with None": (lambda y: (None, y, "words", 3), 5),
    "a dictionary with None": (lambda y: {"loss": None, "logits": y}, 5),
    "a dataclass": (lambda y: Result(y, None, [y, None]), 10),
    "a named tuple": (lambda y: Pair(y, 2.0), 5),
    "nested": (lambda y: [(y, {"a": [y[:, 0]]})], 6),
    "with an empty one": (lambda y: (y, y[:, :0]), 5),
    "truth values": (lambda y: y > 0, 5),
    "bytes": (lambda y: y.clamp(0, 1).mul(255).byte(), 5),
    "complex": (lambda y: torch.complex(y, -y), 10),
}


@pytest.mark.parametrize("name", FORMS)
def test_outputs_of_every_form_have_one_row_per_image(name: str) -> None:
    form, width = FORMS[name]
    network = bs.load(Out(form), SHAPE)
    x = torch.rand(3, *SHAPE)
    outputs = network.outputs(x)
    assert outputs.flatten(1).shape == (3, width)
    alone = torch.cat([network.outputs(image[None]) for image in x])
    assert torch.allclose(outputs.double(), alone.double(), atol=1e-6)
    space = bs.harmless(network)
    assert space.dim == DIM
    assert bs.verify(network, x, x + space.sample(3)).max_output_change <= 1
    bs.audit(network)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda y: None, "a NoneType without a tensor"),
        (lambda y: (), "a tuple without a tensor"),
        (lambda y: float(y.mean()), "a float without a tensor"),
        (lambda y: y[:, :0], "without a tensor that could be compared"),
        (lambda y: y.to_sparse(), "sparse or nested"),
        (lambda y: torch.nested.nested_tensor([y[0]]), "sparse or nested"),
    ],
)
def test_outputs_that_cannot_be_compared_are_refused(form: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        bs.load(Out(form), SHAPE)


@pytest.mark.parametrize("attack", [bs.pgd, bs.fgsm, bs.minimal_norm], ids=lambda attack: attack.__name__)
@pytest.mark.parametrize(
    "form",
    [lambda y: y > 0, lambda y: y.round().long(), lambda y: y.detach()],
    ids=["truth values", "whole numbers", "detached"],
)
def test_attacks_say_that_there_is_no_gradient(form: Callable[[Tensor], Tensor], attack: Callable[..., Any]) -> None:
    network = bs.load(Out(form), SHAPE)
    with pytest.raises(bs.BlindspaceError, match="no gradient"):
        attack(network, torch.rand(2, *SHAPE), torch.zeros(2, dtype=torch.int64))
