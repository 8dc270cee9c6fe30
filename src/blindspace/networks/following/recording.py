"""What is recorded of a network, whatever it is written in: its affine graph and its linear layers."""

from __future__ import annotations

from dataclasses import dataclass

from ...maps import LinearMap
from .affine import AffineGraph


@dataclass(frozen=True)
class Layer:
    """One linear layer at its place in a network.

    Attributes:
        name: of the module or node, such as ``5.conv1``.
        kind: class name of the module, or the operation's name.
        operator: what it does to a perturbation of its input.
        harmless_for_network: whether nothing else reads its input; where a skip connection carries the input past the
            layer, a perturbation it cannot see still reaches the output.
    """

    name: str
    kind: str
    operator: LinearMap
    harmless_for_network: bool


@dataclass(frozen=True)
class Recording:
    """A network followed from its input.

    Attributes:
        graph: what is affine in the input, and what reads it.
        layers: the linear layers in the order they are called; one called twice stands there twice.
    """

    graph: AffineGraph
    layers: tuple[Layer, ...]
