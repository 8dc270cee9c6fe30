"""Telling one network from others by a perturbation that only that one cannot see.

Images with noise out of the nullspace of one network's front are read by it as before, and by any other as changed. So
outputs alone, as of a network one can only ask, say which of several it is. Beside each figure stands what noise of the
same norm that is harmless for nobody does to the same outputs; their ratio needs no scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..networks import Network, harmless
from ..perturbations import harmless_noise

Outputs = Callable[[Tensor], Tensor]
"""A network one can only ask: images ``(B, *shape)``, float64 in any range, to outputs ``(B, …)``."""

SAME = 1e-3
"""Share of the control's effect below which outputs did not move: rounding in float32 stays far below it."""


@dataclass(frozen=True)
class Probe:
    """Images for asking whether a network is a certain one.

    Attributes:
        name: of the network that cannot see the difference.
        images: as they are, float64 ``(B, *shape)``.
        harmless: with noise harmless for that network alone, as ``images``.
        control: with noise of the same norm, harmless for nobody.
        dim: of the space the noise is from.
    """

    name: str
    images: Tensor
    harmless: Tensor
    control: Tensor
    dim: int


@dataclass(frozen=True)
class Identification:
    """What a network made of the probes of several.

    Attributes:
        candidates: names of those the probes were made for.
        change: ‖output(probe) − output(image)‖ as a share of the same of the control, the largest over the images
            whose output the control moves, one a candidate; 1 where it moves none.
        labels_changed: of the probe's images, one a candidate.
        control_labels_changed: of the control's.
        pairs: images of one probe.
    """

    candidates: tuple[str, ...]
    change: tuple[float, ...]
    labels_changed: tuple[int, ...]
    control_labels_changed: tuple[int, ...]
    pairs: int

    @property
    def match(self) -> str | None:
        """The one candidate whose probe moved nothing; None where none did, or several."""
        found = [name for name, change in zip(self.candidates, self.change, strict=True) if change <= SAME]
        return found[0] if len(found) == 1 else None

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        rows = zip(self.candidates, self.change, self.labels_changed, self.control_labels_changed, strict=True)
        keys = ("candidate", "change", "labels_changed", "control_labels_changed")
        return {
            "match": self.match,
            "pairs": self.pairs,
            "candidates": [dict(zip(keys, row, strict=True)) for row in rows],
        }


def probe(network: Network, images: Tensor, size: float = 1.0, generator: torch.Generator | None = None) -> Probe:
    """Images by which a network can be told from others.

    Args:
        network: that is to be recognised.
        images: ``(B, *input_shape)``, B ≥ 1.
        size: L∞ norm of the noise.
        generator: of the randomness.

    Raises:
        ShapeError: the images are of another shape.
        ValueRangeError: there are none, or the network has no harmless space.
    """
    x = network.check(images).double()
    if not len(x):
        raise ValueRangeError("a probe needs at least one image, got none")
    space = harmless(network)
    noise = harmless_noise(space, len(x), size, generator=generator)
    other = torch.randn(noise.shape, generator=generator, dtype=torch.float64)
    lengths = noise.flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)
    control = other * lengths.view(-1, *[1] * (x.ndim - 1))
    return Probe(network.name, x, x + noise, x + control, space.dim)


def identify(outputs: Outputs | Network, probes: Sequence[Probe]) -> Identification:
    """Which of several networks one is, by its outputs alone.

    Args:
        outputs: of the network asked; of a ``Network`` its outputs are asked and nothing else.
        probes: of the candidates.

    Raises:
        ShapeError: the network reads another shape than a probe has.
        ValueRangeError: there is no probe, or an output is NaN or infinite.
    """
    if not probes:
        raise ValueRangeError("there is nothing to compare with; give the probe of at least one network")
    rows = [_ask(outputs, p) for p in probes]
    names = tuple(p.name for p in probes)
    change, labels, control = zip(*rows, strict=True)
    return Identification(names, change, labels, control, len(probes[0].images))


def _ask(outputs: Outputs | Network, of: Probe) -> tuple[float, int, int]:
    ask = outputs.outputs if isinstance(outputs, Network) else outputs
    if isinstance(outputs, Network):
        outputs.check(of.images, f"the probe of {of.name}")
    before, after, control = (ask(x).double().flatten(1) for x in (of.images, of.harmless, of.control))
    if not bool(torch.cat([before, after, control]).isfinite().all()):
        raise ValueRangeError(f"an output for the probe of {of.name} is NaN or infinite; take a smaller size")
    moved, by_control = (after - before).norm(dim=1), (control - before).norm(dim=1)
    # An image of which not even the control moves an output tells nothing.
    telling = by_control > 0
    change = float((moved[telling] / by_control[telling]).max()) if bool(telling.any()) else 1.0
    labels = before.argmax(1)
    return change, int((after.argmax(1) != labels).sum()), int((control.argmax(1) != labels).sum())
