"""The audit of a network: what its front and each of its linear layers cannot see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..maps import LinearMap, Shape
from ..networks import LayerReport, Network, front, layers, measure
from ..subspaces import Subspace, nullspace

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what comes next)."""


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        model: name of the network.
        input_shape: of one input.
        map: the affine front.
        space: its nullspace, harmless for the whole network.
        residual: ‖A P v‖ / (‖A‖ ‖v‖) measured on Gaussian noise, float64.
        layers: every linear layer by itself; empty if not asked for.
    """

    model: str
    input_shape: Shape
    map: LinearMap
    space: Subspace
    residual: float
    layers: tuple[LayerReport, ...]

    @property
    def formula_dim(self) -> int:
        """The formula's value, in − out, never less than 0: no certificate (corollaries 1 and 2)."""
        return max(self.map.in_dim - self.map.out_dim, 0)

    def to_dict(self) -> dict[str, Any]:
        """The schema of ``audit --json``."""
        certificate = self.space.certificate
        return {
            "model": self.model,
            "input_shape": list(self.input_shape),
            "front": {
                "in_dim": self.map.in_dim,
                "out_dim": self.map.out_dim,
                "rank": certificate.rank,
                "dim": self.space.dim,
                "fraction": self.space.dim / self.map.in_dim,
                "formula_dim": self.formula_dim,
                "solver": self.space.solver,
                "reason": self.space.reason,
                "residual": self.residual,
                "certificate": certificate.to_dict(),
            },
            "layers": [layer.to_dict() for layer in self.layers],
        }


def audit(
    network: Network,
    with_layers: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    solver: str | None = None,
) -> Audit:
    """Find and certify what a network cannot see.

    Args:
        network: whose module can be traced.
        with_layers: whether every linear layer is measured by itself too.
        seed: of the noise the residual is measured on.
        progress: called before each step.
        solver: of the front, one of ``solvers.NAMES``; by structure, size and memory if None.

    Raises:
        UnsupportedLayerError: the network's code cannot be followed.
        TooLargeError: no solver here serves its front.
    """
    found = layers(network) if with_layers else []
    tell = progress or (lambda done, total, what: None)
    tell(0, len(found) + 1, "affine front")
    map = front(network)
    space = nullspace(map, solver=solver)
    noise = torch.randn(8, *map.in_shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    residual = space.residual(noise)
    reports = []
    measured = measure(found)
    for index, layer in enumerate(found):
        tell(1 + index, len(found) + 1, layer.name)
        reports.append(next(measured))
    tell(len(found) + 1, len(found) + 1, "done")
    return Audit(network.name, network.input_shape, map, space, residual, tuple(reports))
