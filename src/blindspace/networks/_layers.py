"""The linear layers of a network: the nullspace of each, and whether it is harmless for the whole network."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .._html import Shown
from ..errors import BlindspaceWarning, TooLargeError
from ..solvers import Certificate, PatchwiseSolver
from ..solvers._certify import certify_quickly
from ..subspaces import nullspace
from .affine_graph import Layer
from .network import Network

QUICK = 4096
"""Number of inputs up to which every layer is measured."""


@dataclass(frozen=True)
class LayerReport(Shown):
    """A layer with the dimension of its nullspace.

    Attributes:
        layer: The layer.
        certificate: Certificate of its rank; None if the layer is too large.
        reason: Name of the solver, or the reason why the layer was not measured.
    """

    layer: Layer
    certificate: Certificate | None
    reason: str

    @property
    def dim(self) -> int | None:
        """Dimension of the nullspace; None if the layer is too large."""
        return None if self.certificate is None else self.layer.operator.in_dim - self.certificate.rank

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        operator = self.layer.operator
        return {
            "name": self.layer.name,
            "kind": self.layer.kind,
            "in_shape": list(operator.in_shape),
            "in_dim": operator.in_dim,
            "out_dim": operator.out_dim,
            "rank": self.certificate.rank if self.certificate else None,
            "dim": self.dim,
            "formula_dim": max(operator.in_dim - operator.out_dim, 0),
            "harmless_for_network": self.layer.harmless_for_network,
            "certificate": self.certificate.to_dict() if self.certificate else None,
            "reason": self.reason,
        }


def layers(network: Network) -> list[Layer]:
    """The linear layers in the order in which they are called; a layer that is called twice occurs twice.

    Raises:
        UnsupportedLayerError: The network cannot be followed.
    """
    return list(network.record().layers)


def measure(found: Iterable[Layer], thorough: bool = False, quick: int = QUICK) -> Iterator[LayerReport]:
    """The dimension of each layer's nullspace, one layer after the other, so that progress can be shown.

    Args:
        found: The layers.
        thorough: Whether large layers with as many outputs as inputs are measured too; each may take minutes.
        quick: Number of inputs up to which every layer is measured, and from which some certificates need no projector.
    """
    for layer in found:
        operator = layer.operator
        found_quickly = certify_quickly(operator) if operator.in_dim >= quick else None
        if found_quickly is not None:
            yield LayerReport(layer, *found_quickly)
            continue
        large = operator.out_dim >= operator.in_dim > quick and not PatchwiseSolver.serves(operator)
        if large and not thorough:
            yield LayerReport(layer, None, "as many outputs as inputs, not measured; --thorough does")
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BlindspaceWarning)  # the report carries the certificate's kind
                space = nullspace(operator)
            yield LayerReport(layer, space.certificate, space.reason)
        except TooLargeError as error:
            yield LayerReport(layer, None, str(error))
