"""Whether a network takes two images for the same at a layer: exactly, up to rounding, or closer than unrelated images.

A change of the values of a layer is

- *exact* if there is none: no bit of the layer's values nor of the outputs differs, in any precision;
- *rounding* if rounding alone makes as much. The bound is what an error of one unit roundoff u of both images makes of
  the values in the worst direction, u (‖x‖ σ(x) + ‖x̂‖ σ(x̂)) with the largest singular value σ of the Jacobian by power
  iteration, plus the rounding errors of both runs, measured on images moved by one unit roundoff. It is the criterion
  of backward stability (Higham, Accuracy and stability of numerical algorithms, 2002, section 1.5): an image that
  differs from x̂ by rounding alone leaves the values as they are;
- *approximate* otherwise. It counts as a match only if it lies outside the null distribution of unrelated pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._html import table
from ..errors import ShapeError, UnsupportedLayerError, ValueRangeError, integer, seed_of
from ..invariances.features import OUTPUTS, Features
from ..networks.arguments import NetworkLike, as_inputs, as_network
from ..networks.graph import graph_of
from ..networks.network import Network
from ..perturbations.controls import gaussian, shuffled
from .null_distribution import Match, NullDistribution, images_for, match, null_distribution

PAIRS = 10_000
"""Number of pairs of the null distribution."""

ITERATIONS = 6
"""Power iterations for the largest singular value of the Jacobian."""

DRAWS = 2
"""Draws of images moved by one unit roundoff, of which the largest error counts."""

CHUNK = 64
"""Most images of one run."""

LARGEST = 1 << 30
"""Bytes of the values of all reference images; more images than fit are left out."""

EXACT, APPROXIMATE = "exact", "approximate"
"""Kinds of a change, besides ``rounding of float64`` and the like."""


@dataclass(frozen=True)
class Acceptance:
    """How the values z that a layer passes on differ between images x and x̂; figures are float64 ``(B,)``.

    Attributes:
        layer: name of the layer, or ``outputs``.
        kinds: of each pair, ``exact``, ``rounding of float64``, ``rounding of`` the model's own precision, or
            ``approximate``.
        found: how alike z(x) and z(x̂) are, in float64 if the network runs in it.
        relative: ‖z(x̂) − z(x)‖ / ‖z(x)‖.
        bounds: of each precision, the distance that rounding alone explains; of float64 alone where the values of a
            layer cannot be computed in the model's own.
        amplification: σ(x), the largest singular value of the Jacobian of z, by power iteration.
        output_change: ‖f(x̂) − f(x)‖ / ‖f(x)‖ of the network's outputs, in the same precision as ``found``.
        shuffled: the distance that the same perturbation makes with its values in random order.
        gaussian: the distance that Gaussian noise of equal norm makes.
        null: the distribution over unrelated images; None without reference images.
        quantile: share of unrelated pairs that are at most as far apart; None without reference images.
        accepted: whether the pair counts as the same: exact and rounding always, approximate where it is closer than
            every unrelated pair in all four figures; None where there are no reference images to decide it.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> found = bs.accept(network, x[:1], x[:1] + bs.harmless_noise(network, 1, 0.1))
        >>> found.words(), found.accepted
        ('1 rounding of float64', (True,))
    """

    layer: str
    kinds: tuple[str, ...]
    found: Match
    relative: Tensor
    bounds: dict[str, Tensor]
    amplification: Tensor
    output_change: Tensor
    shuffled: Tensor
    gaussian: Tensor
    null: NullDistribution | None
    quantile: Tensor | None
    accepted: tuple[bool | None, ...]

    @property
    def kind(self) -> str:
        """The weakest of the kinds."""
        order = [EXACT, *(f"rounding of {name}" for name in self.bounds), APPROXIMATE]
        return max(self.kinds, key=order.index, default=EXACT)

    def words(self) -> str:
        """The kinds, how often each, in a few words."""
        return ", ".join(f"{count} {kind}" for kind, count in Counter(self.kinds).items())

    def judgement(self) -> str:
        """What follows for the approximate ones, as a sentence; empty if there are none."""
        judged = [ok for ok, kind in zip(self.accepted, self.kinds, strict=True) if kind == APPROXIMATE]
        if not judged:
            return ""
        if self.null is None:
            return "approximate changes need reference images of the same kind to be judged"
        return (
            f"{sum(map(bool, judged))} of {len(judged)} approximate ones are closer than all {self.null.pairs} pairs "
            "of unrelated images"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "layer": self.layer,
            "kind": self.kind,
            "kinds": list(self.kinds),
            "accepted": list(self.accepted),
            **self.found.to_dict(),
            "relative": self.relative.tolist(),
            "bounds": {name: bound.tolist() for name, bound in self.bounds.items()},
            "amplification": self.amplification.tolist(),
            "output_change": self.output_change.tolist(),
            "shuffled": self.shuffled.tolist(),
            "gaussian": self.gaussian.tolist(),
            "quantile": None if self.quantile is None else self.quantile.tolist(),
            "null": None if self.null is None else self.null.to_dict(),
        }

    def _repr_html_(self) -> str:
        shown = {"layer": self.layer, "kinds": self.words(), "largest distance": float(self.found.distance.max())}
        return table("Acceptance", {**shown, "judgement": self.judgement() or "none is approximate"})


def accept(
    network: NetworkLike,
    x: Tensor,
    changed: Tensor,
    layer: str = OUTPUTS,
    reference: Tensor | None = None,
    *,
    pairs: int = PAIRS,
    call: int = 0,
    seed: int = 0,
) -> Acceptance:
    """Judge whether a network takes changed images for the same at a layer.

    The values compared are those that the layer passes on, W z without its bias: a perturbation through a layer may
    change what the layer reads as much as it likes within the layer's nullspace.

    Args:
        network: a network that can be recorded as differentiable operations.
        x: the images, ``(B, *input_shape)`` or one image, any floating dtype.
        changed: the changed images x̂ of the same shape.
        layer: name of a layer as ``networks.layers`` lists it, or ``outputs``.
        reference: unrelated images of the same kind, ``(N, *input_shape)``. As many are drawn as have ``pairs`` pairs,
            142 for 10,000, or as their values fit into 1 GiB.
        pairs: number of pairs of unrelated images.
        call: which call of a layer of that name, counted from 0.
        seed: seed of the controls and of the pairs.

    Raises:
        ShapeError: the two differ in shape, there is no pair, or the network cannot read them.
        ValueRangeError: a value is NaN or infinite, or the reference images do not differ at the layer.
        UnknownNameError: there is no such layer; the message lists them.
        UnsupportedLayerError: the network cannot be recorded as differentiable operations.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> rounded = (x * 100).round() / 100
        >>> found = bs.accept(network, x, rounded, reference=bs.data.samples("mnist").tensor()[4:40], pairs=100)
        >>> found.kind
        'approximate'
    """
    network = as_network(network)
    x, changed = (as_inputs(batch, network).double() for batch in (x, changed))
    if x.shape != changed.shape or not len(x):
        raise ShapeError(f"pairs must have one shape, got {tuple(x.shape)} and {tuple(changed.shape)}")
    if not bool(x.isfinite().all() and changed.isfinite().all()):
        raise ValueRangeError("an image holds NaN or infinite values")
    pairs = integer(pairs, "the number of pairs", 1)
    draw = torch.Generator().manual_seed(seed_of(seed))
    chunk = min(len(x), CHUNK)
    at, out = _At(network, chunk, layer, call), _At(network, chunk, OUTPUTS)
    precisions = [at]
    if at.dtype != network.dtype:
        with suppress(UnsupportedLayerError):  # the layers of an ONNX network are computed in float64 alone
            precisions.append(_At(network, chunk, layer, call, network.dtype))
    both, n = torch.cat([x, changed]), len(x)

    def run(compute: Callable[[Tensor], Tensor]) -> Tensor:
        # One batch after the other: within a batch, products of matrices may round equal rows differently.
        return torch.cat([compute(x), compute(changed)])

    values, outputs = run(at), run(out)
    runs, bounds, sigma = [values, outputs, run(network.outputs)], {}, at.amplification(both, draw)
    for each in precisions:
        runs.append(values if each is at else run(each))
        # An error of one unit roundoff of both images in the worst direction, and the rounding errors of both runs.
        errors = torch.finfo(each.dtype).eps / 2 * _sizes(both) * sigma + each.rounding(both, runs[-1], draw)
        bounds[str(each.dtype).removeprefix("torch.")] = errors[:n] + errors[n:]
    found = match(values[:n], values[n:])
    same = torch.stack([(run[:n] == run[n:]).flatten(1).all(1) for run in runs]).all(0)
    null = None if reference is None else _null(at, as_inputs(reference, network), pairs, draw)
    kinds = tuple(
        EXACT
        if bool(same[i])
        else next((f"rounding of {name}" for name, b in bounds.items() if found.distance[i] <= b[i]), APPROXIMATE)
        for i in range(n)
    )
    beats = None if null is None else null.beaten_by(found)
    delta = changed - x
    controls = at(torch.cat([x + shuffled(delta, draw), x + gaussian(delta, draw)]))
    return Acceptance(
        layer=layer,
        kinds=kinds,
        found=found,
        relative=_ratio(found.distance, _sizes(values[:n])),
        bounds=bounds,
        amplification=sigma[:n],
        output_change=_ratio(_sizes(outputs[n:] - outputs[:n]), _sizes(outputs[:n])),
        shuffled=_sizes(controls[:n] - values[:n]),
        gaussian=_sizes(controls[n:] - values[:n]),
        null=null,
        quantile=None if null is None else null.quantile(found.distance),
        accepted=tuple(
            True if kind != APPROXIMATE else None if beats is None else bool(beats[i]) for i, kind in enumerate(kinds)
        ),
    )


class _At:
    """The values that a layer passes on, flattened to ``(B, d)``, as a function of the images, in one precision.

    All runs have ``chunk`` images, the last one padded: a network is recorded anew for each size of a batch.
    """

    def __init__(
        self, network: Network, chunk: int, layer: str, call: int = 0, dtype: torch.dtype | None = None
    ) -> None:
        self.chunk = chunk
        self.features = Features(network, layer, call, dtype)
        self.dtype = self.features.dtype
        graph = graph_of(network, self.dtype, 1)
        self.operator = None if layer == OUTPUTS else graph.place(layer, call).layer.operator

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        return self._in_chunks(lambda part: self._passed_on(self.features(part)), x)

    def _in_chunks(self, compute: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        padding = x[:1].expand(-len(x) % self.chunk, *x.shape[1:])
        parts = torch.cat([x, padding]).to(self.dtype).split(self.chunk)
        return torch.cat([compute(part) for part in parts])[: len(x)]

    def _passed_on(self, z: Tensor) -> Tensor:
        return (z if self.operator is None else self.operator.forward(z)).flatten(1)

    @torch.no_grad()
    def amplification(self, x: Tensor, draw: torch.Generator) -> Tensor:
        """The largest singular value of the Jacobian at each image, from below by power iteration, float64 ``(B,)``."""
        return self._in_chunks(lambda part: self._amplification(part, draw), x)

    def _amplification(self, x: Tensor, draw: torch.Generator) -> Tensor:
        pull = self.features.pull(x)
        v = torch.randn(x.shape, generator=draw, dtype=torch.float64).to(x)
        size = _sizes(v)
        for _ in range(ITERATIONS):
            v = v / size.clamp(min=torch.finfo(x.dtype).tiny).to(x).view(-1, *[1] * (x.ndim - 1))
            along = self.features.jvp(x, v)
            found = _sizes(self._passed_on(along))
            w = along if self.operator is None else self.operator.adjoint(self.operator.forward(along))
            v = pull(w)
            size = _sizes(v)
        return found

    def rounding(self, x: Tensor, z: Tensor, draw: torch.Generator) -> Tensor:
        """The largest change of the values z when each pixel moves by one unit roundoff of the largest, ``(B,)``."""
        x = x.to(self.dtype)
        step = torch.finfo(self.dtype).eps / 2 * x.flatten(1).abs().amax(1).view(-1, *[1] * (x.ndim - 1))
        found = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for _ in range(DRAWS):
            signs = torch.randn(x.shape, generator=draw, dtype=torch.float64).sign().to(x)
            found = torch.maximum(found, _sizes(self(x + step * signs) - z))
        return found


def _null(at: _At, reference: Tensor, pairs: int, draw: torch.Generator) -> NullDistribution:
    if not len(reference):
        raise ShapeError("the null distribution needs at least two reference images, got none")
    fit = max(LARGEST // (8 * at(reference[:1]).shape[1]), 2)
    kept = torch.randperm(len(reference), generator=draw)[: min(images_for(pairs), fit)]
    return null_distribution(at(reference[kept]), pairs, draw)


def _sizes(v: Tensor) -> Tensor:
    found: Tensor = v.double().flatten(1).norm(dim=1)
    return found


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return (part / whole).where(part > 0, torch.zeros_like(part))
