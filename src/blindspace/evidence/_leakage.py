"""What a protected image gives away: what an attacker can make of it, and how much like the original that looks.

Protection hides an image from people, not from the network. Whoever knows the network's weights knows which part of the
protected image the network reads, (I − P) x̂ = (I − P) x, and that part of the original is there exactly, whatever the
harmless perturbation (theorem 3). What was replaced, P x, is nowhere in x̂ and can only be guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ..data import check_pixels
from ..errors import ShapeError, ValueRangeError
from ..networks import Network, harmless
from ..subspaces import Subspace, norms
from ._similarity import Similarity, similarity
from ._verify import Evidence, verify
from .conditional_mean import complete
from .denoising import FILTERS, Filter, restored
from .known_plaintext import WINDOWS, fits, learned

ANYONE = "anyone"
WITHOUT = "without the parameters"
PAIRS = "with known pairs"
WRONG = "with a wrong guess"
WITH = "with the parameters"
CONTROL = "control"
"""The attackers, from the one who knows least on; beside them what is no attack."""

VISIBLE, NATURAL, BOXED = "visible component", "natural completion", "natural completion in range"
"""What knowing the parameters serves for."""


@dataclass(frozen=True)
class Recovery:
    """What an attacker makes of the protected images.

    Attributes:
        attacker: one of the names above.
        method: how.
        images: what comes out, clipped to [0, 1], float64 ``(B, C, H, W)``.
        similarity: to the originals.
        ssim_matched: SSIM after the brightness and contrast that fit the original best, ``(B,)``: someone who looks
            turns such knobs by eye.
    """

    attacker: str
    method: str
    images: Tensor
    similarity: Similarity
    ssim_matched: Tensor

    def means(self) -> dict[str, float]:
        """Averages over the images."""
        return {**self.similarity.means(), "ssim_matched": float(self.ssim_matched.mean())}

    def to_dict(self) -> dict[str, Any]:
        """Averages and each image's figures as plain values for JSON; None for an infinite one."""
        means = {name: value if isfinite(value) else None for name, value in self.means().items()}
        each = {**self.similarity.to_dict(), "ssim_matched": self.ssim_matched.tolist()}
        return {"attacker": self.attacker, "method": self.method, **means, "images": each}


@dataclass(frozen=True)
class Leakage:
    """What protected images give away.

    Attributes:
        model: name of the network.
        originals: x, float64 ``(B, C, H, W)``.
        protected: x̂.
        dim: of the space of harmless perturbations.
        evidence: of what the network itself notices.
        rows: one an attacker and method, and the controls.
    """

    model: str
    originals: Tensor
    protected: Tensor
    dim: int
    evidence: Evidence
    rows: tuple[Recovery, ...]

    @property
    def unchanged(self) -> int:
        """Images that are not protected at all: equal to their originals to the last bit."""
        return int((self.originals == self.protected).flatten(1).all(1).sum())

    def best(self, attacker: str) -> Recovery:
        """Of an attacker's methods the one with the highest SSIM on average, brightness and contrast matched.

        Raises:
            ValueRangeError: there is no such attacker here.
        """
        own = [row for row in self.rows if row.attacker == attacker]
        if not own:
            known = ", ".join(dict.fromkeys(row.attacker for row in self.rows))
            raise ValueRangeError(f"no attacker {attacker!r} was tried; there are {known}")
        return max(own, key=lambda row: float(row.ssim_matched.mean()))

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "model": self.model,
            "pairs": len(self.originals),
            "unchanged": self.unchanged,
            "shape": list(self.originals.shape[1:]),
            "dim": self.dim,
            "evidence": self.evidence.to_dict(),
            "labels_agree": 1 - self.evidence.labels_changed / self.evidence.pairs,
            "rows": [row.to_dict() for row in self.rows],
        }


def leakage(
    network: Network,
    images: Tensor,
    protected: Tensor,
    space: Subspace | None = None,
    guess: Subspace | None = None,
    with_perceptual: bool = True,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Leakage:
    """Attack protected images in every way known here and compare what comes out with the originals.

    Every choice is made in the attacker's favour: of each filter the strength is the one whose results are, on average,
    most like the originals, and brightness and contrast are matched with the original in hand.

    Args:
        network: that the images are protected for; it reads pictures.
        images: the originals x, ``(B, C, H, W)`` in [0, 1], B ≥ 1.
        protected: x̂, as images.
        space: of harmless perturbations; of the network's front if None.
        guess: what an attacker takes for it who knows the kind of network, not its weights: the space of another one;
            that of the same kernels rotated by 180° if None. With kernels that are symmetric, such as a resize's, this
            guess is right.
        with_perceptual: whether to measure the perceptual distance too, which takes most of the time.
        seed: of the Gaussian noise.
        progress: called with rows done, rows in all and the one that is next.

    Returns:
        Rows in the order: the protected image as it is; each filter of ``restoration``; what the pairs of one half of
        the images teach about the other (``known_pairs``), where there are at least two; visible component and
        completion under the wrong guess, and under the right one, there also inside [0, 1]; Gaussian noise of the same
        norm instead, clipped, and the next image of the batch in place of each, where there are at least two.

    Raises:
        ShapeError: images and protected differ in shape, or are no pictures the network can read.
        ValueRangeError: there is no image, a pixel is outside [0, 1], or nothing is harmless to the network.
        MissingExtraError: torchmetrics, stlpips-pytorch or scikit-image is not installed.
        UnsupportedLayerError: the network's front cannot be followed.
    """
    if len(network.input_shape) != 3 or images.shape != protected.shape:
        raise ShapeError(
            f"leakage needs pictures (B, C, H, W) twice, got {tuple(images.shape)} and {tuple(protected.shape)} for "
            f"{network.name}, which reads {network.input_shape}"
        )
    x, hidden = network.check(images).double().cpu(), protected.double().cpu()
    for name, batch in (("the originals", x), ("the protected images", hidden)):
        check_pixels(batch.numpy(), name)
    space = harmless(network) if space is None else space
    if not space.dim:
        raise ValueRangeError(f"{network.name} sees every change ({space.certificate}): nothing can be hidden from it")
    tell = progress or (lambda done, total, what: None)
    pairs = len(x) > 1
    total = 1 + len(FILTERS) + 2 + 3 + 1 + 2 * pairs
    tell(0, total, "filters")
    rows = []
    for attacker, method, found in _attempts(space, guess, x, hidden, seed):
        rows.append(_row(attacker, method, found.clamp(0, 1), x, with_perceptual))
        tell(len(rows), total, method)
    return Leakage(network.name, x, hidden, space.dim, verify(network, x, hidden), tuple(rows))


def _row(attacker: str, method: str, found: Tensor, x: Tensor, with_perceptual: bool) -> Recovery:
    return Recovery(attacker, method, found, similarity(x, found, with_perceptual), matched_ssim(x, found))


def _attempts(
    space: Subspace, guess: Subspace | None, x: Tensor, hidden: Tensor, seed: int
) -> Iterator[tuple[str, str, Tensor]]:
    """Attacker, method and what comes out, in any range."""
    yield ANYONE, "the protected image as it is", hidden
    for filter in FILTERS:
        yield WITHOUT, *_at_best(filter, x, hidden)
    if len(x) > 1:
        yield PAIRS, *_from_pairs(x, hidden)
    if guess is not None:
        yield from ((WRONG, *attempt) for attempt in _knowing(guess, hidden))
    else:
        yield from ((WRONG, method, _rotated(found)) for method, found in _knowing(space, _rotated(hidden)))
    yield from ((WITH, *attempt) for attempt in _knowing(space, hidden))
    yield WITH, BOXED, complete(space, hidden, in_range=True)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    yield CONTROL, "Gaussian noise of the same norm", x + noise * (norms(hidden - x, "l2") / norms(noise, "l2"))
    if len(x) > 1:
        yield CONTROL, "another of the images", x.roll(1, 0)


def _knowing(space: Subspace, hidden: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What one makes of images who takes ``space`` for the one they were changed in."""
    yield VISIBLE, space.reject(hidden)
    yield NATURAL, complete(space, hidden)


def _rotated(images: Tensor) -> Tensor:
    return images.flip(-2, -1)


def _at_best(filter: Filter, x: Tensor, hidden: Tensor) -> tuple[str, Tensor]:
    tried = [(filter.label(strength), restored(filter, strength, hidden)) for strength in filter.strengths]
    return max(tried, key=lambda labelled: float(matched_ssim(x, labelled[1]).mean()))


def _from_pairs(x: Tensor, hidden: Tensor) -> tuple[str, Tensor]:
    """Each half of the images restored by what the other half teaches, at the window that does best."""
    first, second = slice(None, len(x) // 2), slice(len(x) // 2, None)
    tried = []
    for square, margin in WINDOWS:
        if fits(x.shape[1:], square, margin):
            halves = [
                learned(x[known], hidden[known], hidden[new], square, margin)
                for new, known in ((first, second), (second, first))
            ]
            side = square + 2 * margin
            found = torch.cat(halves).clamp(0, 1)
            tried.append((f"linear filter, {side}×{side} px, of {len(x) // 2} pairs", found))
    return max(tried, key=lambda labelled: float(matched_ssim(x, labelled[1]).mean()))


def matched_ssim(x: Tensor, found: Tensor) -> Tensor:
    """SSIM after the one brightness and contrast, of all channels, that bring each image nearest to the original.

    Args:
        x: the originals, ``(B, C, H, W)`` in [0, 1].
        found: as x, in any range; negative contrast is allowed.

    Returns:
        float64 ``(B,)``.
    """
    flat, aim = found.flatten(1), x.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    spread = centred.square().sum(1, keepdim=True)
    contrast = torch.where(spread > 0, (centred * aim).sum(1, keepdim=True) / spread, 0.0)
    fitted = (aim.mean(1, keepdim=True) + contrast * centred).view(x.shape)
    return similarity(x, fitted.clamp(0, 1), with_perceptual=False).ssim
