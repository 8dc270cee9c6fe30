"""Whether a pipeline begins with one resize, not with another one next to it, as a test with a stated error rate.

If it begins with R, it reads nothing of a change out of the nullspace of R but what rounding makes of it, whether
other maps would see the change or not. So its answers to changes that R cannot see and the maps next to R see most of
are compared, by the rank-sum test (Wilcoxon 1945), with its answers to controls: changes that R cannot see and others
hardly do, with white noise of a known size added to what R reads. The pipeline's own arithmetic and its network are
the same in both, and nothing is assumed of either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import scipy.stats
import torch
from torch import Tensor

from .candidates import STEPS, Candidate, evened, picture_of

ERROR_RATE = 0.02
"""Rate at which the right resize is refused, at most: one half by the first answers, one half by the tests proper."""

WAVES = (1, 2, 5, 7)
"""Half waves of the kernels next to the one that is tested."""

NEAREST = 2
"""Number of other candidates that the tests are directed at too."""

AGAIN = 3
"""Number of directions that are tried again before one is chosen."""

REPEATS = 7
"""Number of tests, and of controls."""

QUERIES = len(WAVES) + NEAREST + AGAIN + 2 * REPEATS
"""Number of pictures of one confirmation."""

SIZES = (0.2, 1.0, 3.0)
"""Root mean square of what a control adds to what is read, in steps of 1/255: the least one that is answered."""

QUIET = 8
"""Largest change of a pixel by a control's harmless part, in steps: rounding works on it, other maps hardly see it."""


@dataclass(frozen=True)
class Confirmation:
    """Answers to changes that one candidate cannot see.

    Attributes:
        tests: answers to changes that maps next to it see most of.
        controls: answers to changes that no map sees more of than the noise that is added.
        noise: root mean square of that noise as the candidate reads it, in steps of 1/255.
    """

    tests: tuple[float, ...]
    controls: tuple[float, ...]
    noise: float

    @property
    def p_value(self) -> float:
        """Probability of tests that lie so high among the controls if the candidate is the pipeline's resize."""
        found = scipy.stats.mannwhitneyu(self.tests, self.controls, alternative="greater", method="exact")
        return float(found.pvalue)

    @property
    def change(self) -> float | None:
        """Root mean square of what the network reads of the tests, in steps of 1/255, by the controls' answers.

        None if the pipeline does not answer to the controls.
        """
        usual = median(self.controls)
        return self.noise * median(self.tests) / usual if usual > 0 else None

    @property
    def fits(self) -> bool:
        """Whether the candidate is not refused; never, if the pipeline does not answer to the controls."""
        return median(self.controls) > 0 and self.p_value > ERROR_RATE / 2


def confirm(
    candidate: Candidate,
    others: Sequence[Candidate],
    ask: Callable[[Tensor], float],
    noise: Callable[[], Tensor],
    generator: torch.Generator,
) -> Confirmation:
    """Test whether a pipeline begins with a candidate, by ``QUERIES`` pictures at most.

    Args:
        candidate: the candidate.
        others: other candidates; tests are directed at the nearest ones too.
        ask: norm of the pipeline's answer to a change ``(C, H, W)`` in whole steps of 1/255.
        noise: fresh noise ``(C, H, W)``.
        generator: source of the controls' noise.
    """
    size, first = SIZES[0], 0.0
    for size in SIZES:
        first = ask(_control(candidate, size, noise(), generator))
        if first > 0:
            break
    left = REPEATS - 1 - SIZES.index(size)  # the sizes that were not answered have been paid for
    controls = [first, *(ask(_control(candidate, size, noise(), generator)) for _ in range(left))]
    harmless = candidate.unseen(noise())
    nearest = sorted(others, key=lambda other: other.moved(harmless))[:NEAREST]
    directions: list[Callable[[], Tensor]] = [
        *(lambda waves=waves: candidate.beside(waves, noise()) for waves in WAVES),
        *(lambda other=other: candidate.against(other, noise()) for other in nearest),
    ]

    def answer(direction: Callable[[], Tensor]) -> float:
        return ask(picture_of(evened(direction(), candidate), candidate))

    # The direction is chosen by answers of its own, so that the tests' are not the largest of many. Most resizes that
    # are wrong are refused by these already.
    pilots = {direction: answer(direction) for direction in directions}
    early = Confirmation(tuple(pilots.values()), tuple(controls), size)
    if not early.fits:
        return early
    for direction in sorted(pilots, key=lambda each: -pilots[each])[:AGAIN]:
        pilots[direction] += answer(direction)
    worst = max(pilots, key=lambda each: pilots[each])
    return Confirmation(tuple(answer(worst) for _ in range(REPEATS)), tuple(controls), size)


def _control(candidate: Candidate, size: float, noise: Tensor, generator: torch.Generator) -> Tensor:
    """A change that the candidate reads as white noise of a given root mean square.

    The noise is in whole steps, at a share of the pixels, so that a pipeline that rounds reads the same.
    """
    shape, step = (len(noise), *candidate.size), max(1, round(size))
    changed = max(1, round((size / step) ** 2 * math.prod(shape)))
    white = torch.zeros(math.prod(shape), dtype=torch.float64)
    signs = torch.randint(0, 2, (changed,), generator=generator, dtype=torch.float64)
    white[torch.randperm(len(white), generator=generator)[:changed]] = step * (2 * signs - 1)
    harmless = candidate.unseen(noise)
    change = candidate.read_as(white.view(shape)) + harmless * (QUIET / harmless.abs().max())
    return (change * min(1.0, STEPS / float(change.abs().max()))).round()
