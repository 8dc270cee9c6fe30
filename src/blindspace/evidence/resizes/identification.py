"""Which resize a network begins with, from its outputs alone.

A picture with a change out of the nullspace of one resize, R_i δ = 0, is read as the picture without it by a network
that begins with R_i, and as another one by every other network. The network's own Jacobian J is unknown, but
‖J R_j δ‖ follows ‖R_j δ‖, so each answer also says how far the network's resize is from the one that the change was
made for. Probes are therefore chosen one after the other: each is harmless for the candidate that fits all answers
best, and moves most what those see that fit nearly as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..._html import Shown
from ...errors import ShapeError, ValueRangeError, integer, seed_of
from ...maps.linear_map import as_shape
from ...maps.resizing import RESIZERS, Resizer, resizer
from ...networks import Network
from ...networks.preprocessing_modules import Resize
from ...progress import Progress
from .candidates import GREY, Candidate, Size, candidates, picture_of

Outputs = Callable[[Tensor], Tensor]
"""A pipeline known by its answers only: pictures ``(B, C, H, W)``, multiples of 1/255 in [0, 1], to ``(B, …)``."""

SPREAD = 0.7
"""Standard deviation of log ‖J v‖ / ‖v‖ over changes v of what the network reads, as it is assumed here."""

MOST = 12.0
"""Largest evidence of one answer, as a logarithm of likelihood: no single answer excludes everything."""

MARGIN = 6.0
"""A candidate is excluded if its logarithm of likelihood lies this far behind the best one's."""

FITS = 1.6
"""Logarithm of the factor by which a network may answer to its own probes more than rounding explains."""

ROUNDING = 0.4
"""Root mean square by which the rounding of a library may move a result, in steps of 1/255."""

USUAL = (224, 256, 299, 384)
"""Usual sides of networks' inputs, in pixels."""

FEW = 6
"""Number of rivals up to which probes are made against the nearest one."""


@dataclass(frozen=True)
class ResizerScore:
    """How well one candidate explains the answers.

    Attributes:
        names: resizers that are this map at this size, up to half a step of 1/255.
        size: (height, width) after the resize, in pixels.
        difference: most by which their results for a picture can differ, in steps of 1/255.
        behind: logarithm of its likelihood relative to the best candidate's, 0 for that and larger for others.
    """

    names: tuple[str, ...]
    size: Size
    difference: float
    behind: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "resizers": list(self.names),
            "size": list(self.size),
            "difference": self.difference,
            "behind": self.behind,
        }


@dataclass(frozen=True)
class ResizerIdentification(Shown):
    """Which resize a pipeline begins with.

    Attributes:
        scores: every candidate, the best first.
        fits: whether the pipeline answers to the best candidate's probes as if they were no change.
        change: its largest answer to such a probe, relative to what it would answer to a change of the rounding's size.
        queries: number of pictures that it was asked.
    """

    scores: tuple[ResizerScore, ...]
    fits: bool
    change: float
    queries: int

    @property
    def match(self) -> ResizerScore | None:
        """The candidate that it is; None if none fits, or several do that could not be told apart."""
        return self.scores[0] if self.fits and len(self.possible) == 1 else None

    @property
    def possible(self) -> tuple[ResizerScore, ...]:
        """The candidates that the answers do not exclude, the best first; none if the best does not fit."""
        return tuple(each for each in self.scores if each.behind < MARGIN) if self.fits else ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "match": None if self.match is None else self.match.to_dict(),
            "possible": [each.to_dict() for each in self.possible],
            "fits": self.fits,
            "change": self.change,
            "queries": self.queries,
            "candidates": [each.to_dict() for each in self.scores],
        }


def identify_resizer(
    outputs: Outputs | Network,
    in_shape: Sequence[int],
    sizes: Sequence[int | Sequence[int]],
    resizers: Sequence[str] | None = None,
    queries: int = 64,
    seed: int = 0,
    progress: Progress | None = None,
) -> ResizerIdentification:
    """Determine by which library, kernel and size a pipeline resizes its pictures, from its outputs alone.

    Resizers that are the same map between two sizes are one answer, and so are those whose results differ by less than
    half a step of 1/255. Sizes at odd ratios tell most apart; the picture should be larger than all sizes.

    Args:
        outputs: the pipeline: a function from pictures ``(B, C, H, W)``, float64 multiples of 1/255 in [0, 1], to
            outputs ``(B, …)`` that are numbers, not labels; or a network that reads such pictures. It is asked one
            picture at a time, and nothing but outputs is used.
        in_shape: shape ``(C, H, W)`` of one picture.
        sizes: the sizes after the resize that come into question: (height, width), or one number for the shorter side.
        resizers: names of the resizers that come into question; None for all in ``blindspace.maps.resizing``.
        queries: largest number of pictures to ask, at least 4.
        seed: seed of the probes.
        progress: called with the queries done, their largest number, and the best candidate.

    Returns:
        The candidates by their likelihood, and whether the best one fits.

    Raises:
        ShapeError: the picture is no image, no larger than a size along either axis, or the outputs have no batch axis.
        UnknownNameError: a resizer has no such name.
        ValueRangeError: there is nothing to choose from, or an output is NaN or infinite.

    Examples:
        >>> import torch, blindspace as bs
        >>> from blindspace.maps.resizing import resizer
        >>> hidden = resizer("pil bicubic").map((3, 61, 83), (24, 24))
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, 10).double())
        >>> found = bs.identify_resizer(
        ...     lambda x: network(hidden.forward(x)), (3, 61, 83), [24, (24, 24)], ["pil bicubic", "opencv linear"]
        ... )
        >>> found.match.names, found.match.size
        (('pil bicubic',), (24, 24))
    """
    shape, queries = as_shape(in_shape), integer(queries, "the number of queries", 4)
    if len(shape) != 3:
        raise ShapeError(f"a picture has the shape (channels, height, width), not {shape}")
    known = candidates(_named(resizers), shape, _sizes(sizes, shape))
    search = _Search(_asked(outputs), known, torch.Generator().manual_seed(seed_of(seed)), shape)
    report = progress or (lambda done, total, name: None)
    search.control(coarse=False)
    search.control(coarse=True)
    while search.asked + 2 <= queries:
        likelihood = search.likelihood()
        best, *others = sorted(range(len(known)), key=lambda i: -likelihood[i])
        report(search.asked, queries, known[best].names[0])
        rivals = [i for i in others if likelihood[i] > likelihood[best] - MARGIN]
        if not rivals and any(probe.harmless_for == best for probe in search.probes):
            break
        search.probe(best, rivals)
    report(queries, queries, "")
    return search.result()


def usual_sizes(in_shape: Sequence[int]) -> list[int | Size]:
    """The usual sizes of networks' inputs that are smaller than a picture ``(C, H, W)``: squares, and shorter sides.

    Raises:
        ShapeError: the picture is smaller than all of them.
    """
    found: list[int | Size] = []
    for side in USUAL:
        if side < min(in_shape[-2:]):
            found += [(side, side), side]
    if not found:
        raise ShapeError(
            f"a picture of {in_shape[-2]}×{in_shape[-1]} pixels is smaller than the usual sizes {USUAL}; "
            "give sizes (--to)"
        )
    return found


def _named(resizers: Sequence[str] | None) -> list[Resizer]:
    if isinstance(resizers, str):
        resizers = [resizers]
    chosen = list(RESIZERS.values()) if resizers is None else [resizer(name) for name in dict.fromkeys(resizers)]
    if not chosen:
        raise ValueRangeError("there is nothing to choose from; give at least one resizer, or None for all")
    return chosen


def _sizes(sizes: Sequence[int | Sequence[int]], shape: tuple[int, ...]) -> list[Size]:
    """(height, width) of every size, each once."""
    made: dict[Size, None] = {}
    for size in sizes:
        numbers = (size,) if isinstance(size, int) else tuple(size)
        if len(numbers) not in (1, 2) or any(not isinstance(n, int) or n < 1 for n in numbers):
            raise ShapeError(f"a size is (height, width) or one number for the shorter side, not {size!r}")
        height, width = Resize(size if isinstance(size, int) else numbers).size_of(shape[-2:])
        if height >= shape[1] and width >= shape[2]:
            raise ShapeError(
                f"a picture of {shape[1]}×{shape[2]} pixels resized to {height}×{width} hides nothing; "
                "take a larger one"
            )
        made[height, width] = None
    if not made:
        raise ValueRangeError("there is nothing to choose from; give at least one size")
    return list(made)


def _asked(outputs: Outputs | Network) -> Outputs:
    if isinstance(outputs, Network):
        return outputs.outputs
    if isinstance(outputs, nn.Module):
        return outputs.eval()
    return outputs


@dataclass(frozen=True)
class _Probe:
    """A change that was asked: the candidate it is harmless for, what each reads of it (steps), and the answer."""

    harmless_for: int | None
    read: tuple[float, ...]
    answer: float


@dataclass
class _Search:
    """The answers so far, and what follows from them."""

    outputs: Outputs
    known: list[Candidate]
    generator: torch.Generator
    shape: tuple[int, ...]
    asked: int = 0
    probes: list[_Probe] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.base = self._output(torch.zeros(self.shape, dtype=torch.float64))

    def _output(self, change: Tensor) -> Tensor:
        with torch.no_grad():
            answer = self.outputs((GREY + change)[None] / 255)
        if not isinstance(answer, Tensor) or answer.shape[:1] != (1,):
            given = str(tuple(answer.shape)) if isinstance(answer, Tensor) else type(answer).__name__
            raise ShapeError(f"the pipeline must answer with tensors (B, …), got {given} for one picture")
        if not bool(answer.isfinite().all()):
            raise ValueRangeError("an output of the pipeline is NaN or infinite")
        self.asked += 1
        return answer.detach().double().flatten()

    def _ask(self, change: Tensor, harmless_for: int | None) -> None:
        change = picture_of(change)
        answer = float((self._output(change) - self.base).norm())
        self.probes.append(_Probe(harmless_for, tuple(each.moved(change) for each in self.known), answer))

    def _noise(self) -> Tensor:
        """Independent signs: of all noise of one norm the one that the range permits most of."""
        signs = torch.randint(0, 2, self.shape, generator=self.generator, dtype=torch.float64)
        return 2 * signs - 1

    def control(self, coarse: bool) -> None:
        """Ask noise that is harmless for none: of single pixels, or of blocks that every resize keeps."""
        noise = self._noise()
        if coarse:
            least = min(self.known, key=lambda each: each.size[0] * each.size[1]).size
            steps = [2 * math.ceil(n / m) for n, m in zip(self.shape[1:], least, strict=True)]
            noise = noise[:, :: steps[0], :: steps[1]]
            noise = noise.repeat_interleave(steps[0], 1).repeat_interleave(steps[1], 2)
            noise = noise[:, : self.shape[1], : self.shape[2]]
        self._ask(noise * 0.5, None)

    def probe(self, best: int, rivals: list[int]) -> None:
        """Ask a change that the best candidate cannot see; if few rivals remain, one for it and one for the nearest.

        Of such a pair each sees as much as possible of what the other cannot see. Both changes are of one kind, so
        that the network's own sensitivity to it, which may be far from the average, drops out of their comparison.
        """
        if not 0 < len(rivals) <= FEW:
            self._ask(self.known[best].evened(self.known[best].unseen(self._noise())), best)
            return
        for one, other in ((best, rivals[0]), (rivals[0], best)):
            change = self.known[one].against(self.known[other], self._noise())
            self._ask(self.known[one].evened(change), one)

    def likelihood(self) -> list[float]:
        """Logarithm of every candidate's likelihood."""
        return [sum(-min(MOST, (gap / SPREAD) ** 2 / 2) for gap in self._gaps(i)) for i in range(len(self.known))]

    def _gain(self, index: int) -> float:
        """Logarithm of the answer per step that the network reads, if it begins with a candidate."""
        slack = ROUNDING
        ratios = sorted(
            math.log(max(probe.answer, 1e-300) / probe.read[index])
            for probe in self.probes
            if probe.read[index] > 2 * slack
        )
        return ratios[len(ratios) // 2] if ratios else math.inf

    def _gaps(self, index: int) -> list[float]:
        """By how much each answer is larger (positive) or smaller than a candidate explains, as logarithms.

        Rounding may add its own size to what is read, or take it away.
        """
        slack, gain, gaps = ROUNDING, self._gain(index), []
        for probe in self.probes:
            answer, read = math.log(max(probe.answer, 1e-300)) - gain, probe.read[index]
            most = math.log(math.hypot(read, slack))
            least = math.log(read - slack) if read > slack else -math.inf
            gaps.append(max(answer - most, 0.0) + min(answer - least, 0.0))
        return gaps

    def result(self) -> ResizerIdentification:
        """What the answers say."""
        likelihood = self.likelihood()
        best = max(range(len(self.known)), key=lambda i: likelihood[i])
        own = [gap for gap, probe in zip(self._gaps(best), self.probes, strict=True) if probe.harmless_for == best]
        worst = max(own, default=math.inf)
        scores = [
            ResizerScore(each.names, each.size, each.difference, likelihood[best] - value)
            for each, value in zip(self.known, likelihood, strict=True)
        ]
        moved = any(probe.answer > 0 for probe in self.probes)
        fits = moved and worst <= FITS
        return ResizerIdentification(
            tuple(sorted(scores, key=lambda each: each.behind)), fits, math.exp(min(worst, 700.0)), self.asked
        )
