"""Steganalysis of the invisible component: whether an image hides something that no output of the network shows.

From the visible component the prior predicts the invisible one, E[P x | A x] (see ``_conditional_mean``). The deviation
d = P x − E[P x | A x] has the energy dᵀ Σ⁻¹ d, known as the squared Mahalanobis distance, because (P Σ⁻¹ P)⁺ is the
covariance of P x given A x. Textures, noise and sharp edges make it large in harmless images too, but then they also
show in the visible component. So the score is the logarithm of that energy minus its expectation for images of the same
kind: a least-squares fit to reference images, both unprocessed and compressed, blurred or noisy, by the energy of the
conditional mean and by how fine its detail is. P-values are conformal (Vovk, Gammerman and Shafer, Algorithmic learning
in a random world, 2005).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..data import SAMPLES, samples
from ..errors import FileError, ValueRangeError, seed_of
from ..maps import Operator
from ..networks.arguments import as_images, as_pixels, as_space
from ..progress import Progress
from ..subspaces import Subspace
from . import conformal
from ._conditional_mean import conditional_mean
from ._fingerprint import fingerprint
from .energy import Energies, blind_energy
from .prior import Prior
from .processing import processed

TOLERANCE = 1e-4
"""Tolerance of the conditional means that scores are computed from."""

FEWEST = 20
"""Smallest number of reference images."""

NARROWEST = 1e-4
"""Smallest variance of logarithms of energies across a domain."""

DETAIL = 2.5 / 255
"""Range of values in a channel up to which an image is of one colour: rounding and dithering may make two steps."""

PROBES = 16
"""Number of random images that the energy of rounding is measured with."""

TINY = 1e-12
"""Energy per dimension that counts as 0: the invisible component of the image is exactly the expected one."""


@dataclass(frozen=True)
class Domain:
    """The smallest ellipse around the mean of points, of the shape of their covariance, that holds all of them.

    A quadratic fit predicts nothing outside, where pictures without detail lie, and patterns.

    Attributes:
        centre: mean of the points, ``(2,)``.
        whitening: the matrix that makes the ellipse a disc, ``(2, 2)``.
        radius: radius of that disc.
    """

    centre: tuple[float, float]
    whitening: tuple[tuple[float, float], tuple[float, float]]
    radius: float

    @classmethod
    def around(cls, points: Tensor) -> Domain:
        """The domain of points ``(N, 2)``, which may lie on a line or coincide."""
        centre = points.mean(0)
        values, vectors = torch.linalg.eigh((points - centre).T.cov())
        # Across the line that highly correlated points lie on, a little is allowed for too.
        whitening = vectors @ torch.diag(values.clamp(min=NARROWEST).rsqrt()) @ vectors.T
        radius = float(((points - centre) @ whitening).norm(dim=1).max())
        (a, b), (c, d) = whitening.tolist()
        return cls((float(centre[0]), float(centre[1])), ((a, b), (c, d)), radius)

    def nearest(self, points: Tensor) -> Tensor:
        """The points ``(B, 2)``, those outside moved straight towards the centre to the edge."""
        centre, whitening = points.new_tensor(self.centre), points.new_tensor(self.whitening)
        distance = ((points - centre) @ whitening).norm(dim=1, keepdim=True)
        share = (self.radius / distance.clamp(min=1e-300)).clamp(max=1)
        return torch.where(share < 1, centre + share * (points - centre), points)


@dataclass(frozen=True)
class Reference(Shown):
    """Statistics of natural images as one network sees them.

    Attributes:
        prior: prior fitted to the images.
        coefficients: coefficients of the predicted log energy, of 1, v, w, v², v w and w², where v and w are the
            logarithms of the energy of the conditional mean and of the squared norm of Σ⁻¹ (x − μ), both per dimension.
        domain: where v and w of the reference images lie.
        rounding: log energy of the error of rounding pixels to 8 bits; less than that is not seen as hidden.
        scores: scores of the reference images, including the processed ones, in ascending order, ``(N,)``.
        images: number of images.
        variants: names of the ways in which the images were processed.
    """

    prior: Prior
    coefficients: tuple[float, ...]
    domain: Domain
    rounding: float
    scores: Tensor
    images: int
    variants: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        space: Operator,
        images: Tensor,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Reference:
        """Learn from clean images what is usual.

        Args:
            space: the invisible subspace, neither {0} nor the whole space; a network or a map stands for its nullspace.
            images: ``(B, *space.shape)`` in [0, 1], like those to be inspected; at least ``FEWEST`` different ones with
                detail. Further copies and images of one colour say nothing, and are left out.
            seed: seed of the noise that is added to some variants.
            progress: called with steps done, steps in all and the next one.

        Raises:
            ShapeError: the images have another shape, or not (1 or 3, H, W).
            ValueRangeError: too few are left or one is outside [0, 1], or the subspace is {0} or the whole space.
        """
        space = as_space(space)
        x = as_pixels(images, space.shape)
        if not 0 < space.dim < space.ambient_dim:
            raise ValueRangeError(
                f"the invisible space has {space.dim} of {space.ambient_dim} dimensions; there is nothing to compare"
            )
        given = len(x)
        x = _informative(x)
        if len(x) < FEWEST:
            raise ValueRangeError(
                f"statistics need at least {FEWEST} different reference images with detail, got {len(x)}"
                + (f" among {given}" if len(x) < given else "")
            )
        prior = Prior.fit(x)
        variants = processed(seed)
        colours = bool((x != x[:, :1]).any())  # Greyscale images stay grey, whatever happens to them.
        found = [_features(space, x, prior)]
        for step, (name, process) in enumerate(variants.items(), 1):
            if progress is not None:
                progress(step, 1 + len(variants), name)
            found.append(_features(space, process(x) if colours else process(x[:, :1]).expand_as(x), prior))
        energy, points = (torch.cat(parts) for parts in zip(*found, strict=True))
        basis = _quadratic(points)
        coefficients = torch.linalg.lstsq(basis, energy[:, None], driver="gelsd").solution[:, 0]
        domain, rounding = Domain.around(points), _rounding(space, prior, seed, colours)
        fitted = cls(prior, tuple(coefficients.tolist()), domain, rounding, energy, len(x), tuple(variants))
        return replace(fitted, scores=(energy - fitted.expected(points)).sort().values)

    def expected(self, points: Tensor) -> Tensor:
        """The log energy to be expected at v and w, ``(B, 2)``: at least that of rounding, ``(B,)``.

        Outside of the domain it rises as for images of more contrast, with whose square all three energies rise.
        """
        nearest = self.domain.nearest(points)
        predicted = _quadratic(nearest) @ points.new_tensor(self.coefficients)
        return (predicted + (points - nearest).mean(1)).clamp(min=self.rounding)

    @property
    def mean(self) -> float:
        """Mean of the scores."""
        return float(self.scores.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of the scores."""
        return float(self.scores.std())

    def p_values(self, scores: Tensor) -> Tensor:
        """The conformal p-values (1 + number of reference scores as high) / (1 + N), ``(B,)``.

        They bound the probability of a false alarm, whatever the distribution, for images drawn like the reference
        ones.
        """
        return conformal.p_values(scores, self.scores)

    def threshold(self, false_positives: float) -> float:
        """The score above which an image's p-value is at most the given false-positive rate.

        Raises:
            ValueRangeError: the rate is not between 0 and 1, or the reference is too small for it.
        """
        return conformal.threshold(self.scores, false_positives)

    @classmethod
    def of_kept(cls, values: Mapping[str, Any]) -> Reference:
        """The reference that ``kept`` made these values of."""
        prior = Prior(**{name: tuple(each) for name, each in values["prior"].items()})
        (a, b), (c, d) = values["domain"]["whitening"]
        domain = Domain(tuple(values["domain"]["centre"]), ((a, b), (c, d)), values["domain"]["radius"])
        scores = torch.tensor(values["scores"], dtype=torch.float64)
        coefficients, variants = tuple(values["coefficients"]), tuple(values["variants"])
        return cls(prior, coefficients, domain, values["rounding"], scores, values["images"], variants)

    def kept(self) -> dict[str, Any]:
        """All of it as plain values for JSON."""
        return {
            "prior": self.prior.to_dict(),
            "coefficients": list(self.coefficients),
            "domain": asdict(self.domain),
            "rounding": self.rounding,
            "scores": self.scores.tolist(),
            "images": self.images,
            "variants": list(self.variants),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the scores."""
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
class Inspection(Shown):
    """How unusual the invisible component of each image is.

    Attributes:
        scores: logarithm of its energy relative to the expected one, ``(B,)``.
        deviations: the scores in standard deviations of the reference from its mean, ``(B,)``.
        p_values: see ``Reference.p_values``, ``(B,)``.
        threshold: the score above which an image is suspicious.
        false_positives: rate at which images like the reference ones are suspicious.
        energies: shares of energy in the invisible space, beside those of shuffled pixels and random subspaces.
        fingerprints: the fingerprint of each image; see ``fingerprint``.
        reference: statistics that the images are compared with.
    """

    scores: Tensor
    deviations: Tensor
    p_values: Tensor
    threshold: float
    false_positives: float
    energies: Energies
    fingerprints: tuple[str, ...]
    reference: Reference

    @property
    def suspicious(self) -> Tensor:
        """Which images are above the threshold, bool ``(B,)``."""
        return self.scores > self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "threshold": self.threshold,
            "false_positives": self.false_positives,
            "suspicious": int(self.suspicious.sum()),
            "scores": self.scores.tolist(),
            "deviations": self.deviations.tolist(),
            "p_values": self.p_values.tolist(),
            "energies": self.energies.to_dict(),
            "fingerprints": list(self.fingerprints),
            "reference": self.reference.to_dict(),
        }


def inspect(
    network: Operator,
    images: Tensor,
    reference: Reference | Tensor | None = None,
    false_positives: float = 0.01,
    *,
    input_shape: Sequence[int] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Inspection:
    """Measure how unusual the invisible component of each image is.

    Args:
        network: a network, a torch module with its ``input_shape``, a map, or the invisible subspace itself.
        images: ``(B, *input_shape)`` or one image; may leave [0, 1].
        reference: clean images like those to be inspected, ``(N, *input_shape)`` in [0, 1], or what ``Reference.fit``
            learnt from them; the embedded images of that size if None.
        false_positives: rate at which clean images may be called suspicious.
        input_shape: shape of one input, needed for a torch module.
        seed: seed of the controls and of the noise that is added to reference images.
        progress: called with steps done, steps in all and the next one, while the reference is fitted.

    Raises:
        ShapeError: the images have another shape.
        FileError: no reference is given and no images of that size are embedded.
        ValueRangeError: there is no image, a value is NaN or infinite, the rate is out of range, or the reference
            images are too few or outside [0, 1].

    Examples:
        >>> import torch, blindspace as bs
        >>> network, digits = bs.load("mnist-mlp"), bs.data.samples("mnist").tensor()
        >>> noise = bs.harmless_noise(network, 3, size=0.5)
        >>> found = bs.inspect(network, digits[:3] + noise, reference=digits[100:])
        >>> int(found.suspicious.sum())
        3
    """
    space, seed = as_space(network, input_shape), seed_of(seed)
    x = as_images(images, space.shape)
    if not isinstance(reference, Reference):
        clean = embedded_images(space.shape) if reference is None else reference
        reference = Reference.fit(space, clean, seed, progress)
    threshold = reference.threshold(false_positives)
    energies = blind_energy(space, x, seed)
    scores = score(space, x, reference)
    deviations = (scores - reference.mean) / reference.deviation
    p_values = reference.p_values(scores)
    names = tuple(fingerprint(space, image) for image in x)
    return Inspection(scores, deviations, p_values, threshold, false_positives, energies, names, reference)


def score(space: Subspace, images: Tensor, reference: Reference) -> Tensor:
    """The score of each image, ``(B,)``; arguments as for ``inspect``."""
    x = as_images(images, space.shape).double()
    energy, points = _features(space, x, reference.prior)
    # Whatever was hidden in an image of one colour would be its detail.
    return torch.where(_detailed(x), energy, math.log(TINY)) - reference.expected(points)


def embedded_images(shape: Sequence[int]) -> Tensor:
    """The embedded clean images of a shape, float64 ``(N, *shape)``.

    Raises:
        FileError: no images of that shape are embedded.
    """
    for name in SAMPLES:
        embedded = samples(name).tensor(torch.float64)
        if tuple(embedded.shape[1:]) == tuple(shape):
            return embedded
    size = "×".join(map(str, shape))
    raise FileError(f"no images of {size} are embedded; give clean ones as reference, about a hundred (--reference)")


def _features(space: Subspace, images: Tensor, prior: Prior) -> tuple[Tensor, Tensor]:
    """Logarithm of the energy of the deviation, ``(B,)``, and v and w that predict it, ``(B, 2)``."""
    expected = conditional_mean(space, images, prior, tolerance=TOLERANCE)
    off = images - expected
    hidden = (off * prior.precision(off)).flatten(1).sum(1) / space.dim
    centred = prior.centred(expected)
    pull = prior.precision(centred)
    v = ((centred * pull).flatten(1).sum(1) / (space.ambient_dim - space.dim)).clamp(min=TINY).log()
    w = (pull.flatten(1).square().sum(1) / space.ambient_dim).clamp(min=TINY).log()
    return hidden.clamp(min=TINY).log(), torch.stack([v, w], 1)


def _detailed(images: Tensor) -> Tensor:
    """Which images ``(B, C, H, W)`` have values in a channel that differ by more than rounding, bool ``(B,)``."""
    low, high = images.flatten(2).aminmax(dim=2)
    return (high - low).amax(1) > DETAIL


def _informative(images: Tensor) -> Tensor:
    """The different ones of images ``(B, C, H, W)`` that have detail."""
    detailed = _detailed(images).tolist()
    contents = [hashlib.sha256(image.numpy().tobytes()).digest() for image in images.cpu()]
    kept = {content: index for index, content in reversed(list(enumerate(contents))) if detailed[index]}
    return images[sorted(kept.values())]


def _rounding(space: Subspace, prior: Prior, seed: int, colours: bool) -> float:
    """Log energy of the deviation in grey images whose only detail is the rounding error of each value."""
    generator = torch.Generator().manual_seed(seed)
    errors = (torch.rand(PROBES, *space.shape, generator=generator, dtype=torch.float64) - 0.5) / 255
    plain = -prior.centred(torch.zeros_like(errors))
    energy, _ = _features(space, plain + (errors if colours else errors[:, :1]), prior)
    return float(energy.exp().mean().log())


def _quadratic(points: Tensor) -> Tensor:
    """1, v, w, v², v w and w² of points ``(B, 2)``."""
    v, w = points.unbind(1)
    return torch.stack([torch.ones_like(v), v, w, v * v, v * w, w * w], 1)
