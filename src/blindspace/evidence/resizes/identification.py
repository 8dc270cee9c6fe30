"""Which resize a network begins with, from its outputs alone.

A picture with a change out of the nullspace of one resize, R_i δ = 0, is read as the picture without it by a network
that begins with R_i, and as another one by every other network. A search finds the resize that explains the answers
best (``search``); then a test with a stated error rate says whether it is that one, or one next to it that is no
candidate (``confirmation``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..._html import Shown
from ...errors import ShapeError, ValueRangeError, integer, seed_of, shown
from ...maps.linear_map import as_shape
from ...maps.resizing import RESIZERS, Resizer, resizer
from ...networks import Network
from ...networks.arguments import as_network
from ...networks.preprocessing_modules import Resize
from ...progress import Progress
from .candidates import Size, candidates
from .confirmation import QUERIES, Confirmation, confirm
from .search import MARGIN, Outputs, Search

LEAST = QUERIES + 8
"""Least number of queries."""

USUAL = (224, 256, 299, 384)
"""Usual sides of networks' inputs, in pixels."""


@dataclass(frozen=True)
class ResizerScore:
    """How well one candidate explains the answers.

    Attributes:
        names: resizers that are this map at this size, up to what rounding hides.
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
        fits: whether the test does not refuse the best candidate.
        p_value: probability of such answers to the changes that the best candidate cannot see and maps next to it see
            most of, if it is the pipeline's resize; refused at 0.01 and below, which happens to the right one in 2 % of
            all tests at most, as there are two looks. None if the queries did not suffice.
        change: root mean square of what the network reads of those changes, in steps of 1/255, by its answers to
            changes of known size. None if it answers to none of these, or was not tested.
        resolution: root mean square of the known ones, in steps of 1/255: if the pipeline reads less than that of the
            tested changes, its resize cannot be told from the best candidate. None if it was not tested.
        queries: number of pictures that it was asked.
    """

    scores: tuple[ResizerScore, ...]
    fits: bool
    p_value: float | None
    change: float | None
    resolution: float | None
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
            "p_value": self.p_value,
            "change": self.change,
            "resolution": self.resolution,
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
    half a step of 1/255, or whose difference rounding hides from the probes that are best for it. Sizes at odd ratios
    tell most apart; the picture should be larger than all sizes.

    Args:
        outputs: the pipeline: a function from pictures ``(B, C, H, W)``, float64 multiples of 1/255 in [0, 1], to
            outputs ``(B, …)`` that are numbers, not labels; or a network that reads such pictures. It is asked one
            picture at a time, and nothing but outputs is used.
        in_shape: shape ``(C, H, W)`` of one picture.
        sizes: the sizes after the resize that come into question: (height, width), or one number for the shorter side.
        resizers: names of the resizers that come into question; None for all in ``blindspace.maps.resizing``.
        queries: largest number of pictures to ask, at least 28.
        seed: seed of the probes.
        progress: called with the queries done, their largest number, and the best candidate.

    Returns:
        The candidates by their likelihood, and whether the best one fits.

    Raises:
        ShapeError: the picture is no image, no larger than a size along either axis, or the outputs have no batch axis.
        UnknownNameError: a resizer has no such name.
        UnsupportedLayerError: the pipeline is neither a function nor a network.
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
    shape, queries = as_shape(in_shape), integer(queries, "the number of queries", LEAST)
    if len(shape) != 3:
        raise ShapeError(f"a picture has the shape (channels, height, width), not {shape}")
    known = candidates(_named(resizers), shape, _sizes(sizes, shape))
    generator = torch.Generator().manual_seed(seed_of(seed))
    search, tested = Search(_asked(outputs, shape), known, shape, generator), dict[int, Confirmation]()
    report = progress or (lambda done, total, name: None)
    search.start()
    while True:
        best, rivals = search.ranked(without=[i for i, test in tested.items() if not test.fits])
        report(search.asked, queries, "" if best is None else known[best].names[0])
        if best is None:
            break
        spare = queries - search.asked - (0 if best in tested else QUERIES)
        if rivals and spare >= 2:
            search.probe(best, rivals)
        elif best in tested or spare < 0:
            break
        else:
            others = [each for i, each in enumerate(known) if i != best]
            tested[best] = confirm(known[best], others, search.ask, search.noise, generator)
    report(queries, queries, "")
    return _result(search, tested)


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
    if resizers is None:
        return list(RESIZERS.values())
    names = [resizers] if isinstance(resizers, str) else list(resizers) if isinstance(resizers, Sequence) else []
    if not names:
        raise ValueRangeError(
            f"give at least one resizer, such as 'pil bicubic', or None for all; got {shown(resizers)}"
        )
    found = {each.name: each for each in map(resizer, names)}
    return list(found.values())


def _sizes(sizes: Sequence[int | Sequence[int]], shape: tuple[int, ...]) -> list[Size]:
    """(height, width) of every size, each once."""
    if isinstance(sizes, str | bytes) or not isinstance(sizes, Sequence) or not sizes:
        raise ValueRangeError(f"give at least one size in a list, such as [224, (256, 256)]; got {shown(sizes)}")
    made: dict[Size, None] = {}
    for size in sizes:
        numbers = tuple(size) if isinstance(size, Sequence) else (size,)
        if len(numbers) not in (1, 2) or any(type(n) is not int or n < 1 for n in numbers):
            raise ShapeError(f"a size is (height, width) or one number for the shorter side, not {shown(size)}")
        height, width = Resize(numbers[0] if len(numbers) == 1 else numbers).size_of(shape[-2:])
        if height >= shape[1] and width >= shape[2]:
            raise ShapeError(
                f"a picture of {shape[1]}×{shape[2]} pixels resized to {height}×{width} hides nothing; "
                "take a larger one"
            )
        made[height, width] = None
    return list(made)


def _asked(outputs: Outputs | Network, shape: tuple[int, ...]) -> Outputs:
    if isinstance(outputs, nn.Module | type) or not callable(outputs):
        outputs = as_network(outputs, shape)
    return outputs.outputs if isinstance(outputs, Network) else outputs


def _result(search: Search, tested: dict[int, Confirmation]) -> ResizerIdentification:
    """What the answers say: first the candidate that fits, or if none does, the one that explains them best."""
    likelihood = search.likelihood()
    refused = [i for i, test in tested.items() if not test.fits]
    if any(test.fits for test in tested.values()):
        least = min(likelihood) - MARGIN
        likelihood = [least if i in refused else value for i, value in enumerate(likelihood)]
    scores = [
        ResizerScore(each.names, each.size, each.difference, max(likelihood) - value)
        for each, value in zip(search.known, likelihood, strict=True)
    ]
    order = sorted(range(len(scores)), key=lambda i: scores[i].behind)
    ordered, test = tuple(scores[i] for i in order), tested.get(order[0])
    if test is None:
        return ResizerIdentification(ordered, False, None, None, None, search.asked)
    return ResizerIdentification(ordered, test.fits, test.p_value, test.change, test.noise, search.asked)
