"""Whether something is hidden in an image's invisible component, which no output of the network shows.

From the visible component the prior foretells the invisible one: E[P x | A x] (``completion.py``). How far the image is
from that, d = P x − E[P x | A x], has the energy dᵀ Σ⁻¹ d, a Mahalanobis distance, as (P Σ⁻¹ P)⁺ is the covariance of
P x given A x. Textures, noise and sharp edges make it large in harmless images too, but then they show in the visible
component. So the score is the logarithm of that energy less what images like it have: a least-squares fit to reference
images, as they are and compressed, blurred and noisy, by the energy of the completion and by how fine its detail is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..maps.linear_map import checked
from ..subspaces import Subspace
from .conditional_mean import complete
from .energy import Energies, blind_energy
from .prior import Prior
from .processing import processed

Progress = Callable[[int, int, str], None]

FINE = 1e-4
"""Tolerance of the completions that scores are of."""

FEWEST = 20
"""Reference images at least."""

TINY = 1e-12
"""Energy a dimension that counts as none: an image whose invisible component is just what is expected."""


@dataclass(frozen=True)
class Reference:
    """What natural images look like to one network.

    Attributes:
        prior: fitted to them.
        coefficients: of the energy foretold, of 1, v, w, v², v w and w², where v and w are the logarithms of the
            completion's energy and of the size of Σ⁻¹ (x − μ), both a dimension.
        scores: of the reference images, processed ones among them, rising, ``(N,)``.
        images: how many there were.
        variants: what was done to them.
    """

    prior: Prior
    coefficients: tuple[float, ...]
    scores: Tensor
    images: int
    variants: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Of the scores."""
        return float(self.scores.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of the scores."""
        return float(self.scores.std())

    def p_values(self, scores: Tensor) -> Tensor:
        """How likely a reference image scores as high, (1 + how many do) / (1 + N), ``(B,)``.

        As probabilities of false alarm they hold, whatever the distribution, for images drawn like the reference ones
        (conformal p-values; Vovk, Gammerman and Shafer, Algorithmic learning in a random world, 2005).
        """
        at_least = len(self.scores) - torch.searchsorted(self.scores, scores)
        return (1 + at_least.double()) / (1 + len(self.scores))

    def threshold(self, false_positives: float) -> float:
        """The score above which an image's p-value is no larger than a false-positive rate.

        Raises:
            ValueRangeError: the rate is not between 0 and 1, or the reference is too small to tell.
        """
        if not 0 < false_positives < 1:
            raise ValueRangeError(f"a false-positive rate lies between 0 and 1, got {false_positives}")
        allowed = int(false_positives * (1 + len(self.scores)) + 1e-9)
        if allowed < 1:
            raise ValueRangeError(
                f"{len(self.scores)} reference scores cannot tell a false-positive rate of {false_positives:g}; give "
                f"more reference images or a rate of {1 / (1 + len(self.scores)):.2g} or more"
            )
        return float(self.scores[-allowed])

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, without the scores."""
        return {
            "images": self.images,
            "variants": list(self.variants),
            "scores": len(self.scores),
            "mean": self.mean,
            "deviation": self.deviation,
            "coefficients": list(self.coefficients),
            "prior": self.prior.to_dict(),
        }


@dataclass(frozen=True)
class Inspection:
    """How unusual the invisible component of each image is.

    Attributes:
        scores: logarithm of its energy over what is expected, ``(B,)``.
        deviations: the same in standard deviations of the reference from its mean, ``(B,)``.
        p_values: see ``Reference.p_values``, ``(B,)``.
        threshold: the score above which an image is suspicious.
        false_positives: rate at which images like the reference ones are.
        energies: shares of energy in the invisible space, with shuffled pixels and random subspaces beside them.
    """

    scores: Tensor
    deviations: Tensor
    p_values: Tensor
    threshold: float
    false_positives: float
    energies: Energies

    @property
    def suspicious(self) -> Tensor:
        """Which images are above the threshold, bool ``(B,)``."""
        return self.scores > self.threshold

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "threshold": self.threshold,
            "false_positives": self.false_positives,
            "suspicious": int(self.suspicious.sum()),
            "scores": self.scores.tolist(),
            "deviations": self.deviations.tolist(),
            "p_values": self.p_values.tolist(),
            "energies": self.energies.to_dict(),
        }


def reference(space: Subspace, images: Tensor, seed: int = 0, progress: Progress | None = None) -> Reference:
    """Learn what is usual from clean images.

    Args:
        space: of what is invisible, not {0} nor everything.
        images: ``(B, *space.shape)`` in [0, 1], at least ``FEWEST``, like those to be inspected.
        seed: of the noise they are processed with.
        progress: called with steps done, steps in all and what is done.

    Raises:
        ShapeError: the images are of another shape, or not (1 or 3, H, W).
        ValueRangeError: they are too few or outside [0, 1], or the space is {0} or everything.
    """
    x = checked(images, space.shape, "images").double()
    if not 0 < space.dim < space.ambient_dim:
        raise ValueRangeError(
            f"the invisible space has {space.dim} of {space.ambient_dim} dimensions; there is nothing to compare"
        )
    if len(x) < FEWEST:
        raise ValueRangeError(f"what is usual is learnt from at least {FEWEST} reference images, got {len(x)}")
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueRangeError("a reference image is NaN or outside [0, 1]; scale the images first")
    prior = Prior.fit(x)
    ways = processed(seed)
    found = [_features(space, x, prior)]
    for step, (name, process) in enumerate(ways.items(), 1):
        if progress is not None:
            progress(step, 1 + len(ways), name)
        found.append(_features(space, process(x), prior))
    energy, basis = (torch.cat(parts) for parts in zip(*found, strict=True))
    coefficients = torch.linalg.lstsq(basis, energy[:, None], driver="gelsd").solution[:, 0]
    scores = energy - basis @ coefficients
    return Reference(prior, tuple(coefficients.tolist()), scores.sort().values, len(x), tuple(ways))


def score(space: Subspace, images: Tensor, reference: Reference) -> Tensor:
    """The score of each image, ``(B,)``; as ``inspect``."""
    energy, basis = _features(space, checked(images, space.shape, "images").double(), reference.prior)
    return energy - basis @ torch.tensor(reference.coefficients, dtype=torch.float64)


def inspect(
    space: Subspace, images: Tensor, reference: Reference, false_positives: float = 0.01, seed: int = 0
) -> Inspection:
    """Measure how unusual the invisible component of each image is.

    Args:
        space: of what is invisible.
        images: ``(B, *space.shape)``; may leave [0, 1].
        reference: of the same space.
        false_positives: rate at which clean images may be called suspicious.
        seed: of the controls.

    Raises:
        ShapeError: the images are of another shape.
        ValueRangeError: there is none, a value is NaN or infinite, or the rate is out of range.
    """
    threshold = reference.threshold(false_positives)
    energies = blind_energy(space, images, seed)
    scores = score(space, images, reference)
    deviations = (scores - reference.mean) / reference.deviation
    return Inspection(scores, deviations, reference.p_values(scores), threshold, false_positives, energies)


def _features(space: Subspace, images: Tensor, prior: Prior) -> tuple[Tensor, Tensor]:
    """Logarithm of the energy that was not foretold, ``(B,)``, and what it is foretold from, ``(B, 6)``."""
    completed = complete(space, images, prior, tolerance=FINE)
    off = images - completed
    hidden = (off * prior.precision(off)).flatten(1).sum(1) / space.dim
    centred = prior.centred(completed)
    pull = prior.precision(centred)
    v = ((centred * pull).flatten(1).sum(1) / (space.ambient_dim - space.dim)).clamp(min=TINY).log()
    w = (pull.flatten(1).square().sum(1) / space.ambient_dim).clamp(min=TINY).log()
    return hidden.clamp(min=TINY).log(), torch.stack([torch.ones_like(v), v, w, v * v, v * w, w * w], 1)
