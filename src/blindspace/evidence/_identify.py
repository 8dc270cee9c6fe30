"""Identification of a network by perturbations that only this network cannot see.

Images with noise out of the nullspace of one network's front are read by it as before, and by any other network as
changed. So the outputs alone, such as those of a remote network that answers queries, determine which of several
candidates it is; known as fingerprinting of models from black-box access. Beside each figure stands the effect on the
same outputs of noise of the same norm that is harmless for no network; the ratio of the two needs no scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._html import Shown
from ..errors import ShapeError, UnsupportedLayerError, ValueRangeError, integer, seed_of
from ..networks import Network, harmless
from ..networks.arguments import NetworkLike, as_inputs, as_network
from ..networks.labels import Answers, Facts, count_changed, decide
from ..networks.outputs import ALONE, Found
from ..perturbations import harmless_noise
from ..progress import Progress

Outputs = Callable[[Tensor], Tensor]
"""A network known by its answers only: from images ``(B, *shape)``, float64 in any range, to outputs ``(B, …)``."""

SAME = 1e-3
"""Share of the control's effect below which outputs count as unchanged; float32 rounding stays far below it."""


@dataclass(frozen=True)
class Probe:
    """Images that test whether a network is a certain one.

    Attributes:
        name: name of the network that cannot see the difference.
        images: the images themselves, float64 ``(B, *shape)``.
        harmless: the images with noise that is harmless for that network alone, ``(B, *shape)``.
        control: the images with noise of the same norm that is harmless for no network.
        dim: dimension of the subspace that the noise is drawn from.
    """

    name: str
    images: Tensor
    harmless: Tensor
    control: Tensor
    dim: int


@dataclass(frozen=True)
class Identification(Shown):
    """The answers of a network to the probes of several candidates.

    Attributes:
        candidates: names of the networks that the probes were made for.
        change: one number per candidate: ‖output(probe) − output(image)‖ relative to the same for the control, the
            largest over the images whose output the control moves; 1 if it moves none.
        labels_changed: number of the probe's images whose label changes, one per candidate; None without labels.
        control_labels_changed: the same for the control.
        pairs: number of images of one probe.
    """

    candidates: tuple[str, ...]
    change: tuple[float, ...]
    labels_changed: tuple[int | None, ...]
    control_labels_changed: tuple[int | None, ...]
    pairs: int

    @property
    def match(self) -> str | None:
        """The one candidate whose probe leaves the outputs unchanged; None if there is none, or more than one."""
        found = [name for name, change in zip(self.candidates, self.change, strict=True) if change <= SAME]
        return found[0] if len(found) == 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = zip(self.candidates, self.change, self.labels_changed, self.control_labels_changed, strict=True)
        keys = ("candidate", "change", "labels_changed", "control_labels_changed")
        return {
            "match": self.match,
            "pairs": self.pairs,
            "candidates": [dict(zip(keys, row, strict=True)) for row in rows],
        }


def probe(
    network: NetworkLike,
    images: Tensor,
    size: float = 1.0,
    generator: torch.Generator | None = None,
) -> Probe:
    """Images by which a network can be distinguished from others.

    Args:
        network: the network to be recognised.
        images: ``(B, *input_shape)`` with B ≥ 1, or one image.
        size: L∞ norm of the noise.
        generator: source of the randomness.

    Raises:
        ShapeError: the images have another shape.
        ValueRangeError: there is no image, the size is not positive, or the network has a trivial nullspace.
    """
    network = as_network(network)
    x = as_inputs(images, network).double()
    if not len(x):
        raise ValueRangeError("a probe needs at least one image, got an empty batch")
    if not isinstance(size, int | float) or not size > 0:
        raise ValueRangeError(f"a probe of size {size} carries no information; the size must be a positive number")
    space = harmless(network)
    noise = harmless_noise(space, len(x), size, generator=generator).to(x.device)
    other = torch.randn(noise.shape, generator=generator, dtype=torch.float64).to(x.device)
    lengths = noise.flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)
    control = other * lengths.view(-1, *[1] * (x.ndim - 1))
    return Probe(network.name, x, x + noise, x + control, space.dim)


def identify(
    network: NetworkLike | Outputs,
    among: Sequence[Network | Probe],
    images: Tensor | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    size: float = 1.0,
    count: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
) -> Identification:
    """Determine which of several candidates a network is, from its outputs alone.

    Networks with the same first layers cannot be distinguished: neither sees what the other does not.

    Args:
        network: the network in question, or a function from images to its outputs; nothing but outputs is used.
        among: the candidates, or probes made for them by ``probe``.
        images: images that the candidates' probes are made from, ``(B, *input_shape)`` or one image; random noise if
            None.
        input_shape: shape of one input, needed if ``network`` is a torch module.
        size: L∞ norm of the probes' noise, in units of the image range.
        count: number of random images if none are given.
        seed: seed of the random images and of the noise.
        progress: called with the candidates done, the steps in all and the name of the next one.

    Raises:
        ShapeError: the network reads another shape than a probe has.
        ValueRangeError: there is no candidate, or an output is NaN or infinite.
        UnsupportedLayerError: a candidate cannot be followed, or is neither a Network nor a Probe.

    Examples:
        >>> import torch, blindspace as bs
        >>> candidates = [bs.load(torch.nn.Linear(16, 4), (16,), name=name) for name in ("a", "b")]
        >>> bs.identify(candidates[1], candidates).match
        'b'
    """
    if isinstance(network, nn.Module | type) or not callable(network):
        network = as_network(network, input_shape)
    if not isinstance(among, Sequence):
        raise UnsupportedLayerError(f"the candidates must be a list of networks or probes, got {type(among).__name__}")
    if not among:
        raise ValueRangeError("there is nothing to compare with; give at least one candidate")
    generator, count = torch.Generator().manual_seed(seed_of(seed)), integer(count, "the number of images", 1)
    report = progress or (lambda done, total, name: None)
    probes: list[Probe] = []
    for done, candidate in enumerate(among):
        report(done, len(among) + 1, candidate.name if isinstance(candidate, Network | Probe) else "")
        if isinstance(candidate, Probe):
            probes.append(candidate)
            continue
        candidate = as_network(candidate)
        if images is None:
            shape = network.input_shape if isinstance(network, Network) else candidate.input_shape
            images = torch.rand(count, *shape, generator=generator, dtype=torch.float64)
        probes.append(probe(candidate, images, size, generator))
    report(len(among), len(among) + 1, "querying")
    rows = [_query(network, each) for each in probes]
    change, labels, control = zip(*rows, strict=True)
    return Identification(tuple(each.name for each in probes), change, labels, control, len(probes[0].images))


def _query(network: Outputs | Network, candidate: Probe) -> tuple[float, int | None, int | None]:
    query = network.answers if isinstance(network, Network) else _answers(network)
    if isinstance(network, Network):
        network.check(candidate.images, f"the probe of {candidate.name}")
    images = (candidate.images, candidate.harmless, candidate.control)
    answers = [query(x) for x in images]
    before, after, control = (answer.outputs.double().flatten(1) for answer in answers)
    if not bool(torch.cat([before, after, control]).isfinite().all()):
        raise ValueRangeError(f"an output for the probe of {candidate.name} is NaN or infinite; take a smaller size")
    moved, by_control = (after - before).norm(dim=1), (control - before).norm(dim=1)
    # An image whose output even the control does not move carries no information.
    telling = by_control > 0
    change = float((moved[telling] / by_control[telling]).max()) if bool(telling.any()) else 1.0
    return change, count_changed(answers[0], answers[1]), count_changed(answers[0], answers[2])


def _answers(function: Outputs) -> Callable[[Tensor], Answers]:
    """The answers of a network that is known by its outputs alone; a single number is taken for a logit."""
    facts = Facts(last_operation=lambda output: "linear")

    def query(images: Tensor) -> Answers:
        outputs = function(images)
        if not isinstance(outputs, Tensor) or outputs.shape[:1] != (len(images),):
            given = str(tuple(outputs.shape)) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ShapeError(f"the network must answer with tensors (B, …), got {given} for {len(images)} images")
        outputs = outputs if outputs.ndim > 1 else outputs[:, None]
        return Answers(outputs, decide(Found({ALONE: outputs}), len(outputs), facts).labels(outputs))

    return query
