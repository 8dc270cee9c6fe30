"""Which of many resizes explains a pipeline's answers best, by probes that are chosen one after the other.

The network's own Jacobian J is unknown, but ‖J R δ‖ follows ‖R δ‖, or a power of it where the network saturates. So
each answer says how far the network's resize R is from the one that the change δ was made for. While many candidates
are left, the probe is the one of several whose size after the resize differs most between them; for the last few,
each is one that the best candidate cannot see and the nearest rival sees most of, or the reverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from ...errors import ShapeError, ValueRangeError
from .candidates import CREST, GREY, ROUNDING, STEPS, Candidate, evened, picture_of

Outputs = Callable[[Tensor], Tensor]
"""A pipeline known by its answers only: pictures ``(B, C, H, W)``, multiples of 1/255 in [0, 1], to ``(B, …)``."""

SPREAD, WEIGHT = 0.3, 4
"""Expected standard deviation of log ‖answer‖ about its curve over what is read, and its weight in answers."""

CURVE = ((0.0, 1e-6), (1.0, 1.0), (0.0, 9.0))
"""Expected coefficients of that curve, log ‖answer‖ = a + b x + c (x − MIDDLE)² of x = log ‖R δ‖, and their weights."""

MIDDLE = 1.5
"""Logarithm of the change, in steps of 1/255, about which the curve bends."""

MOST = 3.0
"""Largest distance from the curve that counts, as a logarithm: no single answer excludes everything."""

MARGIN = 6.0
"""A candidate is excluded if its logarithm of likelihood lies this far behind the best one's."""

FEW = 6
"""Number of rivals up to which probes are made against the nearest one."""

SIZES = (STEPS, STEPS / 4, STEPS / 16)
"""Sizes of changes that every resize keeps, in steps of 1/255; the network's saturation decides which is taken."""

SMALL = STEPS / 64
"""Largest step of a change that a network answers to as if it were linear."""

GROWTH = 2.0
"""An answer that is larger by more than this factor than the answer to a fourth of the change still grows."""

UNSEEING = (1, 2, 2, 4, 8)
"""Numbers of candidates that cannot see the probes of which one is chosen while there are more rivals."""

COMPARED = 24
"""Number of candidates that are drawn to choose it."""


@dataclass(frozen=True)
class Probe:
    """A change that was asked: what each candidate reads of it, in steps of 1/255, and the norm of the answer."""

    read: tuple[float, ...]
    answer: float


@dataclass
class Search:
    """The answers so far, and what follows from them.

    Attributes:
        outputs: the pipeline.
        known: the candidates.
        shape: shape ``(C, H, W)`` of one picture.
        generator: source of the noise of the probes.
        asked: number of pictures asked.
        probes: what was answered.
        size: size of what probes make the network read while there are many rivals, in steps of 1/255.
    """

    outputs: Outputs
    known: list[Candidate]
    shape: tuple[int, ...]
    generator: torch.Generator
    asked: int = 0
    probes: list[Probe] = field(default_factory=list)
    size: float = STEPS

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

    def ask(self, change: Tensor) -> float:
        """Norm of the pipeline's answer to a change ``(C, H, W)`` in whole steps of 1/255."""
        answer = float((self._output(change) - self.base).norm())
        self.probes.append(Probe(tuple(each.moved(change) for each in self.known), answer))
        return answer

    def noise(self) -> Tensor:
        """Independent signs: of all noise of one norm the one that the range permits most of."""
        signs = torch.randint(0, 2, self.shape, generator=self.generator, dtype=torch.float64)
        return 2 * signs - 1

    def start(self) -> None:
        """Ask noise that is harmless for none, of single pixels and of blocks that every resize keeps.

        The latter in several sizes, which say how the network answers to small changes and where it saturates: while
        many candidates are left, probes are as large as answers still grow.
        """
        self.ask(picture_of(self.noise()))
        least = min(self.known, key=lambda each: each.size[0] * each.size[1]).size
        steps = [2 * math.ceil(n / m) for n, m in zip(self.shape[1:], least, strict=True)]
        noise = self.noise()[:, :: steps[0], :: steps[1]]
        noise = noise.repeat_interleave(steps[0], 1).repeat_interleave(steps[1], 2)
        noise = noise[:, : self.shape[1], : self.shape[2]]
        answers = {size: self.ask(picture_of(noise, most=size)) for size in (*SIZES, SMALL)}
        grow = [size for size, less in pairwise(answers) if answers[size] > GROWTH * answers[less]]
        self.size = max(grow, default=SIZES[-1])

    def probe(self, best: int, rivals: Sequence[int]) -> None:
        """Ask the change that tells most about the rivals; if they are few, one for the best and one for the nearest.

        Of such a pair each sees as much as possible of what the other cannot see. Both changes are of one kind, so
        that the network's own sensitivity to it, which may be far from the average, drops out of their comparison.
        """
        if len(rivals) <= FEW:
            for one, other in ((best, rivals[0]), (rivals[0], best)):
                change = self.known[one].against(self.known[other], self.noise())
                self.ask(picture_of(evened(change, self.known[one]), self.known[one]))
            return
        every = [best, *rivals]
        left = [every[k] for k in torch.randperm(len(every), generator=self.generator)[:COMPARED].tolist()]
        weights = torch.tensor(self.likelihood(), dtype=torch.float64)[left].softmax(0)
        drawn = [self._split([self.known[k] for k in left], weights, count) for count in UNSEEING]
        _, change, unseeing, most = max(drawn, key=lambda each: each[0])
        self.ask(picture_of(evened(change, *unseeing), *unseeing, most=most))

    def _split(
        self, left: list[Candidate], weights: Tensor, count: int
    ) -> tuple[float, Tensor, list[Candidate], float]:
        """A change that a number of candidates cannot see, with how far those that are left differ in what they read.

        Also the candidates that cannot see it, and its largest step: as small as the network saturates at, unless all
        that are left read less of it.
        """
        one, other = (left[k] for k in torch.randperm(len(left), generator=self.generator)[:2].tolist())
        change = one.against(other, self.noise())
        room = self.shape[1] * self.shape[2] // (2 * one.size[0] * one.size[1])
        unseeing = sorted(left, key=lambda each: each.moved(change))[: max(1, min(count, room))][::-1]
        for each in unseeing:
            change = each.unseen(change)
        change = change / (CREST * change.square().mean().sqrt())
        reads = torch.tensor([each.moved(change) for each in left], dtype=torch.float64)
        most = min(STEPS, self.size / float(reads.max()))
        logarithms = ((reads * most).square() + ROUNDING**2).log()
        return float(weights @ (logarithms - weights @ logarithms).square()), change, unseeing, most

    def ranked(self, without: Sequence[int] = ()) -> tuple[int | None, list[int]]:
        """The best candidate, or None if none is left, and those that the answers do not exclude, the best first.

        Args:
            without: candidates that are left out.
        """
        likelihood = self.likelihood()
        ordered = sorted(range(len(self.known)), key=lambda i: -likelihood[i])
        left = [i for i in ordered if i not in without]
        if not left:
            return None, []
        return left[0], [i for i in left[1:] if likelihood[i] > likelihood[left[0]] - MARGIN]

    def likelihood(self) -> list[float]:
        """Logarithm of every candidate's likelihood; the spread about its curve is unknown."""
        reads = torch.tensor([probe.read for probe in self.probes], dtype=torch.float64).T
        answers = torch.tensor([probe.answer for probe in self.probes], dtype=torch.float64).clamp(min=1e-12).log()
        squares = _misfit(reads, answers) + WEIGHT * SPREAD**2
        likelihood: list[float] = (-(WEIGHT + len(answers)) / 2 * squares.log()).tolist()
        return likelihood


def _misfit(reads: Tensor, answers: Tensor) -> Tensor:
    """How far answers lie from what candidates explain: sums of squares of logarithms, ``(N,)``.

    Each candidate's curve is fitted by ridge regression to the probes of which it reads more than rounding hides, and
    counts by its own distance from what is expected. Rounding may add its own size to what is read, or take it away.

    Args:
        reads: what N candidates read of P probes, in steps of 1/255, ``(N, P)``.
        answers: logarithms of the norms of the answers, ``(P,)``.
    """
    expected, weights = torch.tensor(CURVE, dtype=reads.dtype).T
    clear = (reads > ROUNDING).to(reads)[..., None]
    powers = _powers(reads.clamp(min=ROUNDING))
    normal = powers.mT @ (clear * powers) + weights.diag()
    curve = torch.linalg.solve(normal, powers.mT @ (clear * answers[:, None]) + (weights * expected)[:, None])
    most = (_powers((reads.square() + ROUNDING**2).sqrt()) @ curve)[..., 0]
    least = (_powers((reads.square() - ROUNDING**2).clamp(min=1e-12).sqrt()) @ curve)[..., 0]
    least = torch.where(reads > ROUNDING, least, -math.inf)
    gaps = (answers - most).clamp(0, MOST) + (answers - least).clamp(-MOST, 0)
    misfit: Tensor = gaps.square().sum(1) + (weights * (curve[..., 0] - expected).square()).sum(1)
    return misfit


def _powers(reads: Tensor) -> Tensor:
    x = reads.log()
    return torch.stack([torch.ones_like(x), x, (x - MIDDLE).square()], -1)
