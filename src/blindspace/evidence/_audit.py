"""The audit of a network: the nullspaces of its affine front and of each of its linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._html import Shown, grid, number, paragraph, table
from ..errors import seed_of
from ..maps import LinearMap, Shape
from ..networks import Evidence, LayerReport, Network, ends, front, hold, load, measure
from ..networks import layers as linear_layers
from ..networks.labels import count_changed
from ..progress import Progress
from ..solvers import SolverChoice
from ..subspaces import EpsilonNullity, Spectrum, Subspace, nullspace, soft_dimension
from ..subspaces import spectrum as spectrum_of
from .answer import explained, headline

PROBES = 4
"""Number of inputs on which the residual and the response of the outputs are measured."""


@dataclass(frozen=True)
class Response(Shown):
    """Response of a network's outputs, in its own precision, to harmless perturbations of four inputs.

    The inputs are uniformly random ones.

    Attributes:
        size: L∞ norm of the harmless perturbations, which are random.
        harmless: largest change of any output under the harmless perturbations.
        noise: largest change of any output under Gaussian noise of the same L2 norms, the control.
        labels_changed: number of inputs whose label changes under the harmless perturbation; None if the network gives
            no labels.
        inputs: number of inputs.
    """

    size: float
    harmless: float
    noise: float
    labels_changed: int | None
    inputs: int

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Audit:
    """What a network cannot see, and how that is certified.

    Attributes:
        model: name of the network.
        input_shape: shape of one input.
        input: what the input is: pixels, samples, token embeddings or features.
        operator: the affine front.
        ends: the values at which the front ends, each with the non-affine operations that read it.
        space: nullspace of the front, harmless for the whole network.
        residual: ‖A P v‖ / (‖A‖ ‖v‖), the largest over four Gaussian vectors v, computed in float64.
        measured: how far the outputs move along the space, in the run that speaks most against the claim; None if the
            nullspace is trivial.
        shown: response of the outputs to harmless perturbations; None if the nullspace is trivial.
        deployed: the same response of the network with its roundings, if it was loaded without them.
        soft: ε-nullity of the front at the given thresholds; None if there were none.
        spectrum: singular values of the front; None if they were not asked for.
        layers: one report per linear layer; empty if layers were not asked for.

    Examples:
        >>> import torch, blindspace as bs
        >>> found = bs.audit("mnist-mlp", layers=False)
        >>> found.space.dim, found.space.certificate.kind
        (528, 'exact')
        >>> found.ends  # where the front ends, and what reads it there
        {'2': ['relu in 3']}
    """

    model: str
    input_shape: Shape
    input: str
    operator: LinearMap
    ends: dict[str, list[str]]
    space: Subspace
    residual: float
    measured: Evidence | None
    shown: Response | None
    deployed: Response | None
    soft: EpsilonNullity | None
    spectrum: Spectrum | None
    layers: tuple[LayerReport, ...]

    @property
    def formula_dim(self) -> int:
        """The value of the formula in − out, at least 0; it is no certificate (corollaries 1 and 2)."""
        return max(self.operator.in_dim - self.operator.out_dim, 0)

    @property
    def answer(self) -> str:
        """The answer in one sentence: how much of what it is fed the network cannot see, and how sure that is."""
        return headline(self.model, self.space)

    @property
    def explanation(self) -> str:
        """The sentences that explain the answer, and what running the network says of it."""
        return f"{explained(self.space, self.input_shape, self.input)} {self._confirmed()}".strip()

    def _confirmed(self) -> str:
        if self.measured is not None and self.measured.void:
            return f"Running the network could not confirm it, because {self.measured.void}."
        if self.shown is None:
            return ""
        if not self.shown.noise:
            return (
                "Running the network says little: its outputs on random inputs do not move for any noise of that size."
            )
        return (
            f"Running the network on {self.shown.inputs} random inputs agrees: its outputs move by "
            f"{number(self.shown.harmless)} along these directions, and by {number(self.shown.noise)} for noise of the "
            "same size in any direction."
        )

    def to_dict(self) -> dict[str, Any]:
        """The audit as plain values, which is the schema of ``audit --json``."""
        certificate = self.space.certificate
        found: dict[str, Any] = {
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
            "measured": None if self.measured is None else self.measured.to_dict(),
            "shown": None if self.shown is None else self.shown.to_dict(),
            "deployed": None if self.deployed is None else self.deployed.to_dict(),
            "soft": None if self.soft is None else self.soft.to_dict(),
            "layers": [layer.to_dict() for layer in self.layers],
        }
        return found if self.spectrum is None else {**found, "spectrum": self.spectrum.to_dict()}

    def _repr_html_(self) -> str:
        front = {
            "dimension of the nullspace": f"{self.space.dim} of {self.space.ambient_dim}",
            "formula in − out": self.formula_dim,
            "certificate": self.space.certificate,
            "solver": f"{self.space.solver}: {self.space.reason}",
            "residual": self.residual,
        }
        shown = {} if self.shown is None else {"outputs move by": self.shown.harmless, "by noise": self.shown.noise}
        heads = ("layer", "kind", "dimension", "formula", "certificate", "harmless for the network")
        rows = [
            (r.layer.name, r.layer.kind, r.dim, r.to_dict()["formula_dim"], r.certificate, r.layer.harmless_for_network)
            for r in self.layers
        ]
        layers = grid("Linear layers", heads, rows) if rows else ""
        words = paragraph(f"{self.answer}.", bold=True) + paragraph(self.explanation)
        return words + table(f"Affine front of {self.model}", front | shown) + layers


def audit(
    network: Network | nn.Module | str | Path,
    input_shape: Sequence[int] | None = None,
    *,
    layers: bool = True,
    solver: SolverChoice = None,
    soft: Sequence[float] = (),
    spectrum: bool = False,
    thorough: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Audit:
    """Find and certify what a network cannot see.

    Args:
        network: a ``Network``, a torch module with its ``input_shape``, or whatever else ``load`` takes.
        input_shape: shape of one input, without the batch; needed for a torch module.
        layers: whether every linear layer is measured at its own input as well.
        solver: solver of the front, one of ``solvers.NAMES``; chosen by structure, size and memory if None.
        soft: thresholds, in units of ‖A‖, at which the ε-nullity of the front is determined.
        spectrum: whether the singular values of the front are computed as well.
        thorough: whether large layers with as many outputs as inputs are measured, which may take minutes each.
        seed: seed of the noise on which the residual and the outputs are measured.
        progress: called before each step.

    Raises:
        UnknownNameError, FileError, ShapeError: as ``load``.
        UnsupportedLayerError: the network cannot be followed.
        TooLargeError: no solver serves a front of this size.
        WithdrawnError: the outputs move along the space that was found.
        ValueRangeError: a threshold is not above 0, or the seed is not an integer.

    Examples:
        >>> import torch, blindspace as bs
        >>> layer = torch.nn.Conv2d(3, 4, 4, stride=4)
        >>> network = torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> found = bs.audit(network, (3, 16, 16))
        >>> found.space.dim, found.space.certificate.kind, [row.layer.kind for row in found.layers]
        (704, 'exact', ['Conv2d', 'Linear'])
    """
    seed = seed_of(seed)
    network = load(network, input_shape)
    tell = progress or (lambda done, total, what: None)
    found = linear_layers(network) if layers else []
    operator = front(network)
    tell(0, len(found) + 1, "affine front")
    space = nullspace(operator, solver=solver)
    noise = torch.randn(PROBES, *operator.in_shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    noise = noise.to(network.device)
    residual = space.residual(noise)
    evidence = hold(network, space, seed)
    shown = _response(network, space, noise, seed) if space.dim else None
    rounded = network.deployed
    deployed = _response(rounded, space, noise, seed) if space.dim and rounded is not None else None
    counted = soft_dimension(operator, thresholds=soft) if soft else None
    curve = spectrum_of(operator) if spectrum else None
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
        measured=evidence,
        shown=shown,
        deployed=deployed,
        soft=counted,
        spectrum=curve,
        layers=tuple(reports),
    )


def _response(network: Network, space: Subspace, noise: Tensor, seed: int, size: float = 1.0) -> Response:
    """The response to the harmless part of ``noise`` at uniformly random inputs."""
    generator = torch.Generator().manual_seed(seed + 1)
    inputs = torch.rand(noise.shape, generator=generator, dtype=torch.float64).to(noise.device)
    delta = space.project(noise)
    ones = (-1, *[1] * (delta.ndim - 1))
    delta = size * delta / delta.flatten(1).abs().amax(1).reshape(ones)
    other = torch.randn(noise.shape, generator=generator, dtype=torch.float64).to(noise.device)
    other = other * (delta.flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)).reshape(ones)
    before, harmless, control = (network.answers(batch) for batch in (inputs, inputs + delta, inputs + other))
    return Response(
        size=size,
        harmless=float((harmless.outputs - before.outputs).abs().max()),
        noise=float((control.outputs - before.outputs).abs().max()),
        labels_changed=count_changed(before, harmless),
        inputs=len(inputs),
    )
