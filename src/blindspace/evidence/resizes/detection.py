"""Steganalysis of photographs before a resize: whether an image was made to be read differently than people see it.

For every output size that the image's own detail suggests (``sampling_grid``), or that is asked about, the disagreement
of what every resizer reads with what people see is compared with that at other phases (``disagreement``); the largest
score is the image's. P-values are conformal, against clean pictures that were resized, compressed, sharpened and made
noisy (``variants``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from ..._html import Shown
from ...errors import ValueRangeError, seed_of, shown
from ...maps.resizing import RESIZERS, Resizer, resizer
from ...progress import Progress
from .. import conformal
from .disagreement import Disagreement, Size, scores
from .made_for import made_for
from .photographs import as_photographs
from .sampling_grid import candidates
from .variants import variants

ALL = "all"
"""Stands for every resizer of the registry, at every size."""

REPRESENTATIVES = (
    "torch nearest",
    "torch nearest-exact",
    "onnx nearest align-corners round-prefer-floor",
    "torch bilinear no-antialias",
    "onnx linear asymmetric",
    "onnx linear align-corners",
    "torch bicubic no-antialias",
)
"""Resizers of every grid and kernel, which stand for the whole registry while the size is searched."""

EMBEDDED = "clean_scores.json"
"""Scores of clean pictures by ``ResizeReference.fit``, with what they were computed from."""


@dataclass(frozen=True)
class ResizeReference(Shown):
    """Scores of clean pictures.

    Attributes:
        scores: in ascending order, float64 ``(N,)``.
        pictures: number of pictures, each of which was processed in every way.
        variants: names of the ways.

    Examples:
        >>> import blindspace as bs
        >>> clean = bs.ResizeReference.embedded()
        >>> clean.pictures, len(clean.variants), len(clean.scores)
        (9, 13, 117)
    """

    scores: Tensor
    pictures: int
    variants: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        images: Sequence[Tensor],
        resizers: str | Sequence[str] = ALL,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> ResizeReference:
        """Learn from clean pictures which scores are usual, by processing and scoring each in every way.

        Args:
            images: clean pictures like those to be inspected, each ``(C, H, W)`` in [0, 1].
            resizers: as for ``inspect_resize``.
            seed: seed of the noise that is added to some.
            progress: called with steps done, steps in all and the next one.

        Raises:
            ShapeError, ValueRangeError, UnknownNameError: as ``inspect_resize``.
        """
        pictures, wanted = as_photographs(images), parse(resizers)
        ways = variants(seed_of(seed))
        found = []
        for step, (name, process) in enumerate(ways.items()):
            if progress is not None:
                progress(step, len(ways), name)
            found += [_best(compare(process(picture), wanted)) for picture in pictures]
        return cls(torch.tensor(found, dtype=torch.float64).sort().values, len(pictures), tuple(ways))

    @classmethod
    def embedded(cls) -> ResizeReference:
        """The scores that come with the package: of photographs and pictures of scikit-image, all resizers tried."""
        return cls.of_kept(json.loads(files(__package__).joinpath(EMBEDDED).read_text(encoding="utf-8")))

    @classmethod
    def of_kept(cls, values: Mapping[str, Any]) -> ResizeReference:
        """The reference that ``kept`` made these values of."""
        return cls(torch.tensor(values["scores"], dtype=torch.float64), values["pictures"], tuple(values["variants"]))

    def kept(self) -> dict[str, Any]:
        """All of it as plain values for JSON."""
        return {"pictures": self.pictures, "variants": list(self.variants), "scores": self.scores.tolist()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the scores."""
        return {"pictures": self.pictures, "variants": list(self.variants), "scores": len(self.scores)}


@dataclass(frozen=True)
class ResizeInspection(Shown):
    """Whether images were made for a resize.

    Attributes:
        scores: logarithm of the energy of the disagreement between network and people, relative to other phases,
            ``(B,)``; 0 for an image that is not reduced.
        p_values: share of clean pictures with such a score, ``(B,)``; see ``conformal.p_values``.
        threshold: the score above which an image is suspicious.
        false_positives: rate at which pictures like the reference ones are suspicious.
        made_for: the resize that each image was most likely made for, if it was made for one; None for an image that no
            resize in question reduces.
        reference: scores of clean pictures.
    """

    scores: Tensor
    p_values: Tensor
    threshold: float
    false_positives: float
    made_for: tuple[Disagreement | None, ...]
    reference: ResizeReference

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
            "p_values": self.p_values.tolist(),
            "made_for": [each and {"resizers": list(each.resizers), "size": list(each.size)} for each in self.made_for],
            "reference": self.reference.to_dict(),
        }


def inspect_resize(
    images: Sequence[Tensor] | Tensor,
    resizers: str | Sequence[str] = ALL,
    reference: ResizeReference | Sequence[Tensor] | None = None,
    false_positives: float = 0.01,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> ResizeInspection:
    """Measure whether photographs were made to be read differently after a resize than people see them.

    No network is needed, and the resizer need not be known. What is found are changes on the grid of a resize that
    reads few pixels, saved without loss; a resize that is antialiased reads them all, and whatever it is made to
    show, people see.

    Args:
        images: photographs of any sizes, each ``(C, H, W)`` in [0, 1], or a batch.
        resizers: "all"; or one or several resizers of the registry, each at the sizes that the image suggests
            ("torch nearest"), at a shorter side ("torch nearest 256") or at height × width ("torch nearest 224x224").
        reference: clean pictures like those to be inspected, or what ``ResizeReference.fit`` learnt from them; the
            embedded scores if None, which are of the search over all resizers, and so are on the safe side for fewer.
        false_positives: rate at which clean pictures may be called suspicious.
        seed: seed of the noise that is added to reference pictures.
        progress: called with steps done, steps in all and the next one.

    Raises:
        ShapeError: an image is not (1 or 3, H, W).
        ValueRangeError: there is no image, a pixel is outside [0, 1], the rate is out of range, or a size is not one.
        UnknownNameError: no resizer has such a name.

    Examples:
        >>> import torch, blindspace as bs
        >>> smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 16), (240, 320), mode="bicubic").clamp(0, 1)
        >>> photograph = (smooth[0] + 0.02 * torch.randn(3, 240, 320)).clamp(0, 1)
        >>> tampered = photograph.clone()
        >>> tampered[:, ::4, ::4] = 1 - tampered[:, ::4, ::4]  # what torch's nearest reads of it at 60×80
        >>> found = bs.inspect_resize([photograph, tampered])
        >>> found.suspicious.tolist(), found.made_for[1].size
        ([False, True], (60, 80))
    """
    pictures, wanted = as_photographs(images), parse(resizers)
    if reference is None:
        reference = ResizeReference.embedded()
    elif not isinstance(reference, ResizeReference):
        reference = ResizeReference.fit(reference, resizers, seed, progress)
    limit = conformal.threshold(reference.scores, false_positives)
    values, named = [], []
    for step, picture in enumerate(pictures):
        if progress is not None:
            progress(step, len(pictures), "images")
        found = compare(picture, wanted)
        values.append(_best(found))
        named.append(likely(picture, found, wanted) if values[-1] > limit else found[0] if found else None)
    made = torch.tensor(values, dtype=torch.float64)
    p_values = conformal.p_values(made, reference.scores)
    return ResizeInspection(made, p_values, limit, false_positives, tuple(named), reference)


@dataclass(frozen=True)
class Wanted:
    """A resizer that is asked about, and its output size: (height, width), the shorter side, or None for any."""

    resizer: Resizer
    size: Size | int | None

    def size_of(self, before: Size) -> Size | None:
        """The output size for an image of a size; None for any."""
        if not isinstance(self.size, int):
            return self.size
        shorter = min(before)
        height, width = (self.size if n == shorter else int(self.size * n / shorter) for n in before)
        return height, width


def parse(given: str | Sequence[str]) -> list[Wanted]:
    """Resizers as ``inspect_resize`` takes them.

    Raises:
        UnknownNameError: no resizer has such a name.
        ValueRangeError: nothing is given.
    """
    texts = [given] if isinstance(given, str) else list(given) if isinstance(given, Sequence) else []
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueRangeError(f"give 'all', or resizers such as 'torch nearest 224x224', got {shown(given)}")
    return [each for text in texts for each in _wanted(text.strip())]


def _wanted(text: str) -> list[Wanted]:
    name, _, size = text.rpartition(" ")
    if re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})?", size):
        numbers = [int(number) for number in size.split("x")]
        wanted: Size | int | None = numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
    else:
        name, wanted = text, None
    return [Wanted(each, wanted) for each in (RESIZERS.values() if name in (ALL, "") else [resizer(name)])]


def compare(picture: Tensor, wanted: Sequence[Wanted]) -> list[Disagreement]:
    """The scores of every resize in question that reduces a picture ``(C, H, W)``, the highest first.

    Where many resizers are in question at any size, ``REPRESENTATIVES`` stand for them.
    """
    x, before = picture.numpy(), (picture.shape[1], picture.shape[2])
    anywhere = _anywhere(wanted)
    suggested = candidates(x) if anywhere else []
    if len(anywhere) > len(REPRESENTATIVES):
        sized = [each for each in wanted if each.size is not None]
        wanted = [*sized, *(Wanted(RESIZERS[name], None) for name in REPRESENTATIVES)]
    asked: dict[Size, dict[str, Resizer]] = {}
    for each in wanted:
        size = each.size_of(before)
        for one in suggested if size is None else [size]:
            if max(n / m for n, m in zip(before, one, strict=True)) > 1 and min(one) > 1:
                asked.setdefault(one, {})[each.resizer.name] = each.resizer
    found = [one for size, group in asked.items() for one in scores(x, list(group.values()), size)]
    return sorted(found, key=lambda each: -each.score)


def likely(picture: Tensor, found: Sequence[Disagreement], wanted: Sequence[Wanted]) -> Disagreement:
    """The resize that a picture ``(C, H, W)`` was most likely made for, of what ``compare`` found for it.

    The size is chosen first, and then the resizer among all in question at that size.
    """
    x = picture.numpy()
    first = made_for(x, found)
    known = [each.size_of((x.shape[1], x.shape[2])) for each in wanted]
    there = [each.resizer for each, size in zip(wanted, known, strict=True) if size is None or size == first.size]
    return made_for(x, scores(x, there, first.size))


def _anywhere(wanted: Sequence[Wanted]) -> list[Resizer]:
    return [each.resizer for each in wanted if each.size is None]


def _best(found: Sequence[Disagreement]) -> float:
    return found[0].score if found else 0.0
