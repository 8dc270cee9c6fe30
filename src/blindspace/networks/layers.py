"""Every linear layer of a network: the nullspace at its own input, and whether that is harmless for the network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from ..errors import BlindspaceWarning, TooLargeError
from ..maps import LinearMap, Rearrange, from_module
from ..solvers import Certificate
from ..subspaces import nullspace
from .front import affine
from .graph import has_map, module_of, shape_of, trace
from .network import Network

KINDS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


@dataclass(frozen=True)
class Layer:
    """One linear layer at its place in a network.

    Attributes:
        name: of the module, such as ``5.conv1``.
        kind: class name of the module.
        map: what it does to a perturbation of its input.
        harmless_for_network: whether nothing else reads its input; where a skip connection carries the input past the
            layer, a perturbation it cannot see still reaches the output.
    """

    name: str
    kind: str
    map: LinearMap
    harmless_for_network: bool


@dataclass(frozen=True)
class LayerReport:
    """A layer with its dimension.

    Attributes:
        layer: which.
        certificate: of the rank; None where the layer is too large.
        reason: which solver served, or why none did.
    """

    layer: Layer
    certificate: Certificate | None
    reason: str

    @property
    def dim(self) -> int | None:
        """Dimension of the nullspace; None where the layer is too large."""
        return None if self.certificate is None else self.layer.map.in_dim - self.certificate.rank

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        map = self.layer.map
        return {
            "name": self.layer.name,
            "kind": self.layer.kind,
            "in_shape": list(map.in_shape),
            "in_dim": map.in_dim,
            "out_dim": map.out_dim,
            "rank": self.certificate.rank if self.certificate else None,
            "dim": self.dim,
            "formula_dim": max(map.in_dim - map.out_dim, 0),
            "harmless_for_network": self.layer.harmless_for_network,
            "certificate": self.certificate.to_dict() if self.certificate else None,
            "reason": self.reason,
        }


def layers(network: Network) -> list[Layer]:
    """The linear layers in the order they are called; one called twice stands there twice.

    Raises:
        UnsupportedLayerError: the network's code cannot be followed.
    """
    traced = trace(network)
    found = []
    for node in traced.graph.nodes:
        module = module_of(traced, node)
        if isinstance(module, KINDS) and has_map(module):
            source = node.all_input_nodes[0]
            map = from_module(module, shape_of(source))
            found.append(Layer(str(node.target), type(module).__name__, map, _read_once(traced, source)))
    return found


def _read_once(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a value is read once, and so is what it only passes on or reshapes (dropout, flatten)."""
    if len(node.users) != 1:
        return False
    sources = node.all_input_nodes
    passed_on = len(sources) == 1 and isinstance(affine(traced, node, sources[0]), Rearrange)
    return _read_once(traced, sources[0]) if passed_on else True


def measure(found: list[Layer]) -> Iterator[LayerReport]:
    """The dimension of each layer's nullspace, one after the other, so that progress can be shown."""
    for layer in found:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BlindspaceWarning)  # the report carries the certificate's kind
                space = nullspace(layer.map)
            yield LayerReport(layer, space.certificate, space.reason)
        except TooLargeError as error:
            yield LayerReport(layer, None, str(error))
