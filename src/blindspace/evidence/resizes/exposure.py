"""How exposed a pipeline is: how little people would see of a picture that makes its network read another.

Two photographs are as far apart as they are; a resize that reads every pixel leaves no way to show the one and have the
other read. A resize that reads few pixels leaves all others to people. So the exposure is the share of the distance
between two photographs that need not be seen: 1 − ‖change‖ / ‖difference of the photographs‖, 0 where the network reads
what people see, near 1 where it may read anything. Every change is computed (see ``scaling_attack``), and rounded to
eight bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..._html import Shown
from ...errors import MissingExtraError, ValueRangeError, shown
from ...maps import Kronecker
from ...maps.resizing.registry import RESIZERS, resizer
from ...perturbations import scaling_attack
from ...progress import Progress
from .._similarity import similarity
from ..perceptual import load_weights, perceptual
from .photographs import as_photographs
from .pipeline import Pipeline, Readable

USUAL = (
    "pil nearest",
    "pil box",
    "pil bilinear",
    "pil bicubic",
    "pil lanczos",
    "torch nearest",
    "torch bilinear no-antialias",
    "torch bicubic no-antialias",
    "torch bilinear",
    "opencv nearest",
    "opencv linear",
    "opencv cubic",
    "opencv area",
    "opencv lanczos4",
    "tensorflow bilinear",
    "tensorflow bilinear v1",
    "scikit-image linear",
    "libvips lanczos3",
    "imagemagick lanczos",
    "chromium low",
)
"""Resizers that are compared unless others are asked for: the usual modes of the usual libraries."""

TOLERANCE = 1 / 255
"""Deviation per value at the network that an attack may keep, as published ones do."""

ACCURACY = 1e-2
"""Duality gap of the attacks; the exposure is then known to half of it."""

CLOSE = 0.02
"""Difference of two exposures below which the pipeline's own library is preferred."""

SHOWN = 2
"""Attacks that are kept as pictures."""


@dataclass(frozen=True)
class Way:
    """Attacks on photographs, one way round.

    Attributes:
        scores: 1 − ‖change‖ / ‖difference of the photographs‖ of each, ``(B,)``.
        change: Root mean square of the change that people could see, in [0, 1], ``(B,)``.
        ssim: Structural similarity of what people see to the photograph shown, ``(B,)``; None without torchmetrics.
        perceptual: Perceptual distance of the same two, ``(B,)``; None unless it was asked for.
        deviation: Root mean square of what the network reads minus what it is to read, in steps of 1/255, ``(B,)``.
        hits: Attacks that the network labels as what it is to read; None without labels.
    """

    scores: Tensor
    change: Tensor
    ssim: Tensor | None
    perceptual: Tensor | None
    deviation: Tensor
    hits: int | None

    @property
    def psnr(self) -> Tensor:
        """Peak signal-to-noise ratio of the change, in decibels, ``(B,)``."""
        return -20 * self.change.log10()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "score": float(self.scores.mean()),
            "scores": self.scores.tolist(),
            "change": self.change.tolist(),
            "psnr": self.psnr.tolist(),
            "ssim": None if self.ssim is None else self.ssim.tolist(),
            "perceptual": None if self.perceptual is None else self.perceptual.tolist(),
            "deviation": self.deviation.tolist(),
            "hits": self.hits,
        }


@dataclass(frozen=True)
class Exposed:
    """One resizer in the place of the pipeline's own.

    Attributes:
        resizer: Its name.
        impersonation: The photograph at hand is shown, another one is read.
        decoy: Another one is shown, the photograph at hand is read.
        kept: Photographs whose label is that under the pipeline's own resizer; None without labels.
        pictures: Shown, shown changed, what the network reads of it, and what it is to read; of a few photographs.
    """

    resizer: str
    impersonation: Way
    decoy: Way
    kept: int | None
    pictures: tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]

    @property
    def score(self) -> float:
        """The exposure: the mean of both ways, from 0 to 1."""
        return float(torch.cat([self.impersonation.scores, self.decoy.scores]).mean())

    @property
    def worst(self) -> float:
        """The largest exposure of a photograph."""
        return float(torch.cat([self.impersonation.scores, self.decoy.scores]).max())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "resizer": self.resizer,
            "score": self.score,
            "worst": self.worst,
            "impersonation": self.impersonation.to_dict(),
            "decoy": self.decoy.to_dict(),
            "kept": self.kept,
        }


@dataclass(frozen=True)
class Exposure(Shown):
    """What ``exposure`` found.

    Attributes:
        pipeline: Name of the network, or the preprocessing.
        resizer: Name of its own resizer.
        photographs: Number of photographs.
        ratios: The smallest and the largest ratio of a photograph's sides to those after the resize.
        rows: Its own resizer first, then the others, in the order asked for.
    """

    pipeline: str
    resizer: str
    photographs: int
    ratios: tuple[float, float]
    rows: tuple[Exposed, ...]

    @property
    def own(self) -> Exposed:
        """The pipeline as it is."""
        return self.rows[0]

    @property
    def advised(self) -> Exposed:
        """The resizer with the least exposure; of the pipeline's own library if one of it is close."""
        least = min(row.score for row in self.rows)
        close = [row for row in self.rows if row.score <= least + CLOSE]
        library = self.resizer.split()[0]
        return min(close, key=lambda row: (row is not self.own, row.resizer.split()[0] != library, row.score))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the pictures."""
        return {
            "pipeline": self.pipeline,
            "resizer": self.resizer,
            "photographs": self.photographs,
            "ratios": list(self.ratios),
            "advised": self.advised.resizer,
            "rows": [row.to_dict() for row in self.rows],
        }


def exposure(
    pipeline: Readable,
    photographs: Sequence[Tensor] | Tensor,
    resizers: Sequence[str] | None = None,
    *,
    tolerance: float = TOLERANCE,
    with_perceptual: bool = False,
    progress: Progress | None = None,
) -> Exposure:
    """Measure how exposed the resize in front of a network is, and how exposed others in its place would be.

    Args:
        pipeline: A network with its preprocessing, or a preprocessing as it is spelled for ``load``; with a network,
            labels are compared too.
        photographs: At least two, each ``(C, H, W)`` in [0, 1], of any size, or a batch; each one's target is the
            next one.
        resizers: Names of resizers to compare with, or ("all",); usual ones if None.
        tolerance: Deviation per value at the network that an attack may keep, in [0, 1].
        with_perceptual: Whether to measure the perceptual distance too (see ``similarity``), which takes several times
            as long as an attack, and photographs of one or three channels.
        progress: Called before each attack with attacks done, attacks in all and what is being done.

    Raises:
        UnsupportedLayerError: The pipeline has no resize that can be exchanged.
        UnknownNameError: A resizer is not known.
        ShapeError, ValueRangeError: The photographs are no pictures in [0, 1], or fewer than two.
        MissingExtraError: The perceptual distance was asked for, and its weights are not installed.

    Examples:
        >>> import torch, blindspace as bs
        >>> pictures = list(bs.data.samples("cifar10").tensor(torch.float64)[:2])
        >>> found = bs.exposure("resize 8 nearest torch", pictures, ["pil box"])
        >>> [row.resizer for row in found.rows], found.advised.resizer
        (['torch nearest', 'pil box'], 'pil box')
        >>> found.own.score > 0.7 > 0.3 > found.advised.score
        True
    """
    own, x = Pipeline.of(pipeline), as_photographs(photographs, least=2)
    if isinstance(resizers, str) or not isinstance(resizers, Sequence | None):
        raise ValueRangeError(f"give names of resizers in a list, not {shown(resizers)}")
    if with_perceptual:
        load_weights()  # before minutes of attacks
    asked = list(USUAL if resizers is None else resizers)
    asked = list(RESIZERS) if asked == ["all"] else asked
    names = list(dict.fromkeys([own.resizer, *(resizer(name).name for name in asked)]))
    labels = own.labels(x)
    rows: list[Exposed] = []
    known: dict[str, Exposed] = {}  # libraries share many maps
    for k, name in enumerate(names):
        chosen = own.with_resizer(name)
        key = _fingerprint(chosen, x)
        if key in known:
            rows.append(replace(known[key], resizer=name))
            continue

        def report(done: int, k: int = k, name: str = name) -> None:
            if progress is not None:
                progress(k * 2 * len(x) + done, 2 * len(x) * len(names), name)

        rows.append(_exposed(chosen, x, labels, (tolerance, with_perceptual), report))
        known[key] = rows[-1]
    ratios = [_ratio(own, photograph) for photograph in x]
    return Exposure(own.name, own.resizer, len(x), (min(map(min, ratios)), max(map(max, ratios))), tuple(rows))


def _fingerprint(pipeline: Pipeline, x: Sequence[Tensor]) -> str:
    """A text that is the same for pipelines with the same map, to nine digits, for each photograph."""
    found = hashlib.sha256()
    for shape in dict.fromkeys(tuple(photograph.shape) for photograph in x):
        operator = pipeline.map(shape)
        if not isinstance(operator, Kronecker):
            return pipeline.resizer
        for matrix in operator.matrices:
            found.update(((matrix * 1e9).round() + 0.0).numpy().tobytes())
    return found.hexdigest()


def _exposed(
    pipeline: Pipeline,
    x: Sequence[Tensor],
    labels: Tensor | None,
    options: tuple[float, bool],
    report: Callable[[int], None],
) -> Exposed:
    """One row: every photograph shown while the next one is read, and read while the next one is shown."""
    others = [*x[1:], x[0]]
    here = pipeline.labels(x)
    # Shown is a photograph of the size of the one at hand, so that both ways compare the same two pictures.
    alike = [_fitted(other, photograph) for other, photograph in zip(others, x, strict=True)]
    seen = [pipeline.map(photograph.shape).forward(photograph[None])[0] for photograph in x]
    read = [pipeline.map(other.shape).forward(other[None])[0] for other in alike]
    named = None if here is None else pipeline.labels(alike)
    impersonation, pictures = _way(pipeline, x, read, alike, named, options, report)
    decoy, _ = _way(pipeline, alike, seen, x, here, options, lambda done: report(len(x) + done))
    kept = None if here is None or labels is None else int((here == labels).sum())
    return Exposed(pipeline.resizer, impersonation, decoy, kept, pictures)


def _way(
    pipeline: Pipeline,
    shown: Sequence[Tensor],
    read: Sequence[Tensor],
    behind: Sequence[Tensor],
    labels: Tensor | None,
    options: tuple[float, bool],
    report: Callable[[int], None],
) -> tuple[Way, tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]]:
    """Attacks that show some photographs while the network reads what others (``behind``) become."""
    tolerance, with_perceptual = options
    scores, changes, ssims, distances, deviations, made = [], [], [], [], [], []
    pictures: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for k, (people, target, other) in enumerate(zip(shown, read, behind, strict=True)):
        report(k)
        resize = pipeline.map(people.shape)
        # A target beyond black or white, where a filter overshoots, is no picture: the network would clip it too.
        found = scaling_attack(resize, people[None], target.clamp(0, 1), tolerance, accuracy=ACCURACY)
        apart = (other - people).square().mean().sqrt()
        scores.append(1 - found.change[0] / apart if apart else torch.zeros_like(apart))
        changes.append(found.change[0])
        deviations.append(255 * found.deviation[0])
        made.append(found.images[0])
        try:
            ssims.append(similarity(found.images, people[None], with_perceptual=False).ssim[0])
        except MissingExtraError:
            ssims = []
        if with_perceptual:
            distances.append(perceptual(found.images, people[None])[0])
        if k < SHOWN:
            pictures.append((people, found.images[0], resize.forward(found.images)[0].clamp(0, 1), target.clamp(0, 1)))
    answers = None if labels is None else pipeline.labels(made)
    way = Way(
        torch.stack(scores),
        torch.stack(changes),
        torch.stack(ssims) if len(ssims) == len(shown) else None,
        torch.stack(distances) if distances else None,
        torch.stack(deviations),
        None if answers is None or labels is None else int((answers == labels).sum()),
    )
    return way, tuple(pictures)


def _fitted(photograph: Tensor, like: Tensor) -> Tensor:
    """A photograph in the size and with the channels of another."""
    size = (like.shape[1], like.shape[2])
    resized = resizer("pil bilinear").map(tuple(photograph.shape), size).forward(photograph[None])[0]
    if len(resized) == len(like):
        return resized.clamp(0, 1)
    return resized.mean(0, keepdim=True).expand(len(like), *size).clamp(0, 1)


def _ratio(pipeline: Pipeline, photograph: Tensor) -> tuple[float, float]:
    """How many pixels become one along each axis: (the smaller, the larger number)."""
    size = pipeline.resize.size_of(photograph.shape[1:])
    ratios = [n / made for n, made in zip(photograph.shape[1:], size, strict=True)]
    return min(ratios), max(ratios)
