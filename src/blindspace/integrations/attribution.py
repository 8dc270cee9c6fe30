"""The visible component as an attribution, and how much of any attribution points where the network cannot look.

A gradient with respect to the input lies in the row space of the affine front, since the network is a function of A x.
So does an average of gradients, the integrand of integrated gradients (Sundararajan, Taly and Yan 2017). A product with
the input, an absolute value and an occlusion do not: they give credit to directions in which no output can move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor

from .._html import table
from ..errors import PrecisionError, ShapeError
from ..extras import library
from ..maps import Shape
from ..maps.floating import as_floating
from ..networks import Network
from ..networks.arguments import NetworkLike, Space, as_network, as_space
from ..networks.devices import on_device
from ..subspaces import Subspace
from ..subspaces._arguments import described


class Attribution(Protocol):
    """What captum calls an attribution: an object with this method."""

    def attribute(self, inputs: Tensor, target: Any = None) -> Tensor:
        """The attribution of inputs ``(B, *shape)`` for target outputs, of the same shape."""


class VisibleComponent:
    """The part of an input that a network can see, (I − P) x, called as captum's attributions are.

    Args:
        forward_func: The network: a torch module, a ``Network``, or its harmless subspace. Its space is determined for
            the shape of the first inputs.

    Examples:
        >>> import blindspace as bs
        >>> network = bs.load("cifar-resnet")
        >>> images = bs.data.samples("cifar10").tensor()[:2]
        >>> bs.VisibleComponent(network).attribute(images, target=3).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(self, forward_func: Space) -> None:
        self.forward_func = forward_func
        self._spaces: dict[Shape, Subspace] = {}

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        """The visible component of inputs.

        Args:
            inputs: ``(B, *shape)``, floating point, or a tuple of one such tensor.
            target: Not used: what the network can see is the same for all outputs.
            additional_forward_args: Not used.

        Returns:
            A tensor of the inputs' shape and dtype, or a tuple of one.

        Raises:
            ShapeError: The inputs are something else, or a tuple of several tensors.
            BlindspaceError: As ``harmless``.
        """
        if isinstance(inputs, tuple):
            if len(inputs) != 1:
                raise ShapeError(f"the visible component is that of one input, got a tuple of {len(inputs)}")
            return (self.attribute(inputs[0], target),)
        x = as_floating(inputs, "inputs")
        return self.space(tuple(x.shape[1:])).reject(x.detach())

    def space(self, shape: Shape) -> Subspace:
        """What the network cannot see of inputs of a shape."""
        if shape not in self._spaces:
            self._spaces[shape] = as_space(self.forward_func, shape)
        return self._spaces[shape]


@dataclass(frozen=True)
class Comparison:
    """How much of each attribution points where the network cannot look.

    Attributes:
        names: Names of the attributions.
        shares: ‖P a‖² / ‖a‖² of each attribution a for each input, float64 ``(names, B)``; 0 where a is 0.
        chance: The expected share of a random vector.
        maps: The attributions, each of the shape of the inputs.
    """

    names: tuple[str, ...]
    shares: Tensor
    chance: float
    maps: tuple[Tensor, ...]

    def to_dict(self) -> dict[str, Any]:
        """Mean and largest share of each attribution, and the chance, as plain values for JSON."""
        rows = {
            name: {"mean": float(share.mean()), "largest": float(share.max())}
            for name, share in zip(self.names, self.shares, strict=True)
        }
        return {"chance": self.chance, "shares": rows}

    def __str__(self) -> str:
        rows = [f"{name:<28} {float(share.mean()):9.2e}" for name, share in zip(self.names, self.shares, strict=True)]
        return "\n".join(
            [f"{'share in the harmless space':<28} {'mean':>9}", *rows, f"{'chance':<28} {self.chance:9.2e}"]
        )

    def _repr_html_(self) -> str:
        shown = {name: f"{float(share.mean()):.2e}" for name, share in zip(self.names, self.shares, strict=True)}
        return table("Share of attributions in the harmless space", {**shown, "chance": f"{self.chance:.2e}"})


def compare_attributions(
    network: NetworkLike,
    inputs: Tensor,
    target: Any = None,
    attributions: Mapping[str, Tensor | Attribution] | None = None,
) -> Comparison:
    """Determine how much of attributions lies in the harmless space, where no change of an input has any effect.

    Beside those given stand the visible component and the gradient of the target's output, whose shares are 0 up to
    rounding: squares of it, about 1e-14 in float32.

    Args:
        network: A network, or a torch module.
        inputs: ``(B, *shape)``, floating point.
        target: Index of an output, or one per input; the largest output of each if None.
        attributions: Attributions by their names: tensors of the inputs' shape, or objects with a method ``attribute``
            as captum has them. If None, some of captum's where it is installed: saliency with and without absolute
            values, integrated gradients with and without the product with the input, input × gradient, occlusion.

    Returns:
        The shares and the attributions.

    Raises:
        ShapeError: An attribution or the inputs have another shape.
        BlindspaceError: As ``harmless``.

    Examples:
        >>> import blindspace as bs
        >>> network, images = bs.load("cifar-resnet"), bs.data.samples("cifar10").tensor()[:2]
        >>> found = bs.compare_attributions(network, images, attributions={"the image": images})
        >>> found.names
        ('visible component', 'gradient', 'the image')
    """
    x = as_floating(inputs, "inputs").detach()
    model = as_network(network, x.shape[1:])
    x = model.check(x)
    visible = VisibleComponent(as_space(model))
    scores = _scores(model, x.dtype)
    with torch.no_grad():
        chosen = scores(x).argmax(1) if target is None else torch.as_tensor(target).expand(len(x))
    given = _of_captum(scores, model.input_shape) if attributions is None else attributions
    found: dict[str, Tensor] = {
        "visible component": visible.attribute(x),
        "gradient": _gradient(scores, x, chosen),
    }
    for name, each in given.items():
        found[name] = (each if isinstance(each, Tensor) else each.attribute(x, target=chosen)).detach()
        if found[name].shape != x.shape:
            raise ShapeError(f"{name} has the shape {described(found[name])}, the inputs have {tuple(x.shape)}")
    space = visible.space(model.input_shape)
    shares = torch.stack([space.energy(each.double()) for each in found.values()])
    return Comparison(tuple(found), shares, space.chance, tuple(found.values()))


class _Forward(torch.nn.Module):
    """A network as a module that gives the scores of classes, in code that torch can differentiate."""

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.own = dtype if dtype == network.dtype else network.finest_dtype
        try:
            self.module = network.differentiable(self.own)
        except PrecisionError:  # a network of another runtime is differentiated in float64
            self.own, self.module = torch.float64, network.differentiable()

    def forward(self, x: Tensor) -> Tensor:
        return self.network.class_scores(on_device(self.module, x.device)(x.to(self.own)))


def _scores(network: Network, dtype: torch.dtype) -> torch.nn.Module:
    return _Forward(network, dtype).eval()


def _gradient(scores: torch.nn.Module, x: Tensor, target: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(scores(x).gather(1, target[:, None]).sum(), x)
    return gradient


def _of_captum(scores: torch.nn.Module, shape: Shape) -> dict[str, Attribution]:
    """Attributions of captum by what they are; none if it is not installed."""
    if find_spec("captum") is None:
        return {}
    attr = library("captum.attr", "captum")
    signed, absolute = attr.Saliency(scores), attr.Saliency(scores)
    average = attr.IntegratedGradients(scores, multiply_by_inputs=False)
    methods: dict[str, Attribution] = {
        "saliency, signed": _With(signed, abs=False),
        "saliency": absolute,
        "integrated gradients, average": average,
        "integrated gradients": attr.IntegratedGradients(scores),
        "input × gradient": attr.InputXGradient(scores),
    }
    if len(shape) == 3:
        side = max(min(shape[1:]) // 8, 1)
        window, steps = (shape[0], side, side), (shape[0], side, side)
        methods["occlusion"] = _With(attr.Occlusion(scores), sliding_window_shapes=window, strides=steps)
    return methods


class _With:
    """An attribution of captum with options bound."""

    def __init__(self, of: Any, **options: Any) -> None:
        self.of, self.options = of, options

    def attribute(self, inputs: Tensor, target: Any = None) -> Tensor:
        """As ``Attribution.attribute``."""
        found: Tensor = self.of.attribute(inputs, target=target, **self.options)
        return found
