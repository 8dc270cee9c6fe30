"""The audit of a network: what its front and each of its linear layers cannot see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..maps import LinearMap, Shape
from ..networks import LayerReport, Network, ends, front, layers, measure
from ..subspaces import EpsilonNullity, Subspace, nullspace, soft_dimension

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what comes next)."""

SHOWN = 4
"""Inputs on which the network's answer to a harmless perturbation is measured."""


@dataclass(frozen=True)
class Shown:
    """What a network's outputs, in its own precision, make of perturbations of zeros and of uniformly random inputs.

    Attributes:
        size: L∞ of the harmless perturbations, random ones.
        harmless: largest change of any output by them.
        noise: largest change by Gaussian noise of the same L2 sizes: the control.
        labels_changed: inputs whose largest output is at another place for a harmless perturbation.
        inputs: how many.
    """

    size: float
    harmless: float
    noise: float
    labels_changed: int
    inputs: int

    def to_dict(self) -> dict[str, float]:
        """As plain values for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        model: name of the network.
        input_shape: of one input.
        input: what that is: pixels, samples, token embeddings or features.
        operator: the affine front.
        ends: the values that stand for it, and the operations that read them and are not affine.
        space: its nullspace, harmless for the whole network.
        residual: ‖A P v‖ / (‖A‖ ‖v‖) measured on Gaussian noise, float64.
        shown: what the network makes of it; None where nothing is harmless.
        soft: directions that move the front by less than some bounds; None if not asked for.
        layers: every linear layer by itself; empty if not asked for.
    """

    model: str
    input_shape: Shape
    input: str
    operator: LinearMap
    ends: dict[str, list[str]]
    space: Subspace
    residual: float
    shown: Shown | None
    soft: EpsilonNullity | None
    layers: tuple[LayerReport, ...]

    @property
    def formula_dim(self) -> int:
        """The formula's value, in − out, never less than 0: no certificate (corollaries 1 and 2)."""
        return max(self.operator.in_dim - self.operator.out_dim, 0)

    def to_dict(self) -> dict[str, Any]:
        """The schema of ``audit --json``."""
        certificate = self.space.certificate
        return {
            "model": self.model,
            "input_shape": list(self.input_shape),
            "input": self.input,
            "front": {
                "in_dim": self.operator.in_dim,
                "out_dim": self.operator.out_dim,
                "rank": certificate.rank,
                "dim": self.space.dim,
                "fraction": self.space.dim / self.operator.in_dim,
                "formula_dim": self.formula_dim,
                "ends": self.ends,
                "solver": self.space.solver,
                "reason": self.space.reason,
                "residual": self.residual,
                "certificate": certificate.to_dict(),
            },
            "shown": None if self.shown is None else self.shown.to_dict(),
            "soft": None if self.soft is None else self.soft.to_dict(),
            "layers": [layer.to_dict() for layer in self.layers],
        }


def audit(
    network: Network,
    with_layers: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    solver: str | None = None,
    soft: Sequence[float] = (),
    thorough: bool = False,
) -> Audit:
    """Find and certify what a network cannot see.

    Args:
        network: that can be followed from its input.
        with_layers: whether every linear layer is measured by itself too.
        seed: of the noise on which residual and outputs are measured.
        progress: called before each step.
        solver: of the front, one of ``solvers.NAMES``; by structure, size and memory if None.
        soft: bounds, in units of ‖A‖, below which directions are counted.
        thorough: also measure large layers with as many outputs as inputs, which may take minutes each.

    Raises:
        UnsupportedLayerError: the network cannot be followed.
        TooLargeError: no solver here serves its front.
    """
    tell = progress or (lambda done, total, what: None)
    found = layers(network) if with_layers else []
    operator = front(network)
    tell(0, len(found) + 1, "affine front")
    space = nullspace(operator, solver=solver)
    noise = torch.randn(SHOWN, *operator.in_shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    residual = space.residual(noise)
    shown = _shown(network, space, noise, seed) if space.dim else None
    counted = soft_dimension(operator, soft) if soft else None
    reports = []
    measured = measure(found, thorough)
    for index, layer in enumerate(found):
        tell(1 + index, len(found) + 1, layer.name)
        reports.append(next(measured))
    tell(len(found) + 1, len(found) + 1, "done")
    return Audit(
        model=network.name,
        input_shape=network.input_shape,
        input=network.space,
        operator=operator,
        ends=ends(network),
        space=space,
        residual=residual,
        shown=shown,
        soft=counted,
        layers=tuple(reports),
    )


def _shown(network: Network, space: Subspace, noise: Tensor, seed: int, size: float = 1.0) -> Shown:
    """On uniformly random inputs, and on zeros."""
    generator = torch.Generator().manual_seed(seed + 1)
    inputs = torch.rand(noise.shape, generator=generator, dtype=torch.float64)
    inputs[0] = 0  # where many a network answers that bright noise has driven to its limits
    delta = space.project(noise)
    ones = (-1, *[1] * (delta.ndim - 1))
    delta = size * delta / delta.flatten(1).abs().amax(1).reshape(ones)
    other = torch.randn(noise.shape, generator=generator, dtype=torch.float64)
    other = other * (delta.flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)).reshape(ones)
    before, harmless, control = (
        network.outputs(batch).flatten(1) for batch in (inputs, inputs + delta, inputs + other)
    )
    return Shown(
        size=size,
        harmless=float((harmless - before).abs().max()),
        noise=float((control - before).abs().max()),
        labels_changed=int((harmless.argmax(1) != before.argmax(1)).sum()),
        inputs=len(inputs),
    )
