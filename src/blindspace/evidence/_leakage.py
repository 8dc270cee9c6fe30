"""What a protected image gives away: what attackers can recover, and how similar that is to the original.

Protection hides an image from people, not from the network. Whoever knows the network's weights knows which part of the
protected image the network reads, (I − P) x̂ = (I − P) x, and that part of the original is there exactly, whatever the
harmless perturbation (theorem 3). The part that was replaced, P x, is nowhere in x̂ and can only be guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..data import check_pixels
from ..errors import ShapeError, ValueRangeError, seed_of
from ..extras import require
from ..maps import Operator
from ..networks import Network, harmless
from ..networks.arguments import NetworkLike, as_inputs, as_network, as_space
from ..progress import Progress
from ..subspaces import Subspace, norms
from ._conditional_mean import conditional_mean
from ._similarity import Similarity, similarity
from ._verify import Evidence, verify
from .denoising import DENOISERS, Denoiser, denoised
from .known_plaintext import WINDOWS, fits, restored
from .pairing import strangers

ANYONE = "anyone"
WITHOUT = "without the parameters"
KNOWN_PLAINTEXT = "with known pairs"
WRONG = "with a wrong guess"
WITH = "with the parameters"
CONTROL = "control"
"""The attackers, from the one who knows least on, and the controls, which are not attacks."""

VISIBLE = "visible component"
CONDITIONAL_MEAN = "natural completion"
MEAN_IN_RANGE = "natural completion in range"
"""The methods of those who know the parameters."""


@dataclass(frozen=True)
class Recovery(Shown):
    """What an attacker recovers from the protected images.

    Attributes:
        attacker: one of the names above.
        method: name of the method.
        images: recovered images, clipped to [0, 1], float64 ``(B, C, H, W)``.
        similarity: their similarity to the originals.
        ssim_matched: SSIM after the brightness and contrast that fit the original best, ``(B,)``; people adjust these
            by eye.
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
        """Plain values for JSON, averages and figures per image; None for an infinite one."""
        means = {name: value if isfinite(value) else None for name, value in self.means().items()}
        each = {**self.similarity.to_dict(), "ssim_matched": self.ssim_matched.tolist()}
        return {"attacker": self.attacker, "method": self.method, **means, "images": each}


@dataclass(frozen=True)
class Leakage(Shown):
    """What protected images give away.

    Attributes:
        model: name of the network.
        originals: the images x, float64 ``(B, C, H, W)``.
        protected: the protected images x̂, ``(B, C, H, W)``.
        dim: dimension of the space of harmless perturbations.
        evidence: what the network itself notices.
        rows: one entry per attacker and method, and the controls.
        strangers: numbers of the protected images that are not those of their originals (see ``pairing.py``).
    """

    model: str
    originals: Tensor
    protected: Tensor
    dim: int
    evidence: Evidence
    rows: tuple[Recovery, ...]
    strangers: tuple[int, ...] = ()

    @property
    def unchanged(self) -> int:
        """Number of images that are not protected at all: equal to their originals to the last bit."""
        return int((self.originals == self.protected).flatten(1).all(1).sum())

    def best(self, attacker: str) -> Recovery:
        """The method of an attacker with the highest average SSIM, brightness and contrast matched.

        Raises:
            ValueRangeError: no such attacker was tried.
        """
        own = [row for row in self.rows if row.attacker == attacker]
        if not own:
            known = ", ".join(dict.fromkeys(row.attacker for row in self.rows))
            raise ValueRangeError(f"no attacker {attacker!r} was tried; there are {known}")
        return max(own, key=lambda row: float(row.ssim_matched.mean()))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        changed = self.evidence.labels_changed
        return {
            "model": self.model,
            "pairs": len(self.originals),
            "unchanged": self.unchanged,
            "shape": list(self.originals.shape[1:]),
            "dim": self.dim,
            "evidence": self.evidence.to_dict(),
            "labels_agree": None if changed is None else 1 - changed / self.evidence.pairs,
            "rows": [row.to_dict() for row in self.rows],
            **({"strangers": list(self.strangers)} if self.strangers else {}),
        }


def leakage(
    network: NetworkLike,
    images: Tensor,
    protected: Tensor,
    space: Operator | None = None,
    guess: Operator | None = None,
    with_perceptual: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    input_shape: Sequence[int] | None = None,
) -> Leakage:
    """Attack protected images by every method known here and compare the results with the originals.

    Every choice is made in the attacker's favour: the strength of each denoiser is the one whose results are, on
    average, most similar to the originals, and brightness and contrast are matched to the known original.

    Args:
        network: the network that the images are protected for, or a torch module with its ``input_shape``; it reads
            pictures.
        images: the originals x, ``(B, C, H, W)`` in [0, 1] with B ≥ 1, or one image.
        protected: the protected images x̂ of the same shape.
        space: subspace of harmless perturbations; the nullspace of the network's front if None.
        guess: the subspace that an attacker assumes who knows the kind of network but not its weights, such as that of
            another network; that of the same kernels rotated by 180° if None. If the kernels are symmetric, such as
            those of a resize, this guess is right.
        with_perceptual: whether to measure the perceptual distance too, which takes most of the time.
        seed: seed of the Gaussian noise.
        progress: called with rows done, rows in all and the next one.
        input_shape: shape of one input, needed for a torch module.

    Returns:
        Rows in the order: the protected image itself; each denoising baseline; the known-plaintext attack, trained on
        one half of the images and applied to the other, if there are at least two; visible component and conditional
        mean under the wrong guess, then under the right one, there also inside [0, 1]; the original plus Gaussian noise
        of the same norm, clipped, and the next image of the batch in place of each, if there are at least two.

    Raises:
        ShapeError: images and protected differ in shape, or are no pictures that the network can read.
        ValueRangeError: there is no image, a pixel is outside [0, 1], nothing is harmless to the network, or most of
            the protected images are not those of the originals.
        MissingExtraError: torchmetrics, stlpips-pytorch or scikit-image is not installed.
        UnsupportedLayerError: the network's front cannot be followed.

    Examples:
        >>> import torch, blindspace as bs
        >>> network, digits = bs.load("mnist-mlp"), bs.data.samples("mnist").tensor()[:4].double()
        >>> protected = bs.perturb(digits, network, size=0.3, in_range=True).images
        >>> found = bs.leakage(network, digits, protected, with_perceptual=False)
        >>> found.evidence.labels_changed
        0
    """
    for package in ("torchmetrics", "skimage", "stlpips_pytorch")[: 2 + with_perceptual]:
        require(package, "metrics", "leakage")  # before the work, which takes minutes
    network, seed = as_network(network, input_shape), seed_of(seed)
    images, protected = (
        batch if len(network.input_shape) != 3 else as_inputs(batch, network) for batch in (images, protected)
    )
    if len(network.input_shape) != 3 or images.shape != protected.shape:
        raise ShapeError(
            f"leakage needs pictures (B, C, H, W) twice, got {tuple(images.shape)} and {tuple(protected.shape)} for "
            f"{network.name}, which reads {network.input_shape}"
        )
    x, hidden = images.double().cpu(), protected.double().cpu()
    for name, batch in (("the originals", x), ("the protected images", hidden)):
        check_pixels(batch.numpy(), name)
    space = harmless(network) if space is None else as_space(space, network.input_shape)
    guess = None if guess is None else as_space(guess, network.input_shape)
    if not space.dim:
        raise ValueRangeError(f"{network.name} sees every change ({space.certificate}): nothing can be hidden from it")
    away = _strangers(network, space, x, hidden)
    report = progress or (lambda done, total, what: None)
    total = 1 + len(DENOISERS) + 2 + 3 + 1 + 2 * (len(x) > 1)
    report(0, total, "denoising")
    rows = []
    for attacker, method, found in _attempts(space, guess, x, hidden, seed):
        rows.append(_row(attacker, method, found.clamp(0, 1), x, with_perceptual))
        report(len(rows), total, method)
    return Leakage(network.name, x, hidden, space.dim, verify(network, x, hidden), tuple(rows), away)


def _strangers(network: Network, space: Subspace, x: Tensor, hidden: Tensor) -> tuple[int, ...]:
    """The numbers of the protected images that are not those of their originals, if these are not the most."""
    found = strangers(space, x, hidden)
    if 2 * len(found) <= len(x):
        return tuple(found)
    first, nearest = next(iter(found.items()))
    to = "a blank picture" if nearest is None else f"original {nearest}"
    raise ValueRangeError(
        f"the protected images are not those of the originals: {len(found)} of {len(x)} are nearer to others, such as "
        f"image {first} to {to}, both as {network.name} reads them and by their pixels; give the same images in the "
        "same order"
    )


def _row(attacker: str, method: str, found: Tensor, x: Tensor, with_perceptual: bool) -> Recovery:
    return Recovery(attacker, method, found, similarity(x, found, with_perceptual), matched_ssim(x, found))


def _attempts(
    space: Subspace, guess: Subspace | None, x: Tensor, hidden: Tensor, seed: int
) -> Iterator[tuple[str, str, Tensor]]:
    """Attacker, method and recovered images, in any range."""
    yield ANYONE, "the protected image as it is", hidden
    for denoiser in DENOISERS:
        yield WITHOUT, *_at_best(denoiser, x, hidden)
    if len(x) > 1:
        yield KNOWN_PLAINTEXT, *_from_pairs(x, hidden)
    if guess is not None:
        yield from ((WRONG, *attempt) for attempt in _knowing(guess, hidden))
    else:
        yield from ((WRONG, method, _rotated(found)) for method, found in _knowing(space, _rotated(hidden)))
    yield from ((WITH, *attempt) for attempt in _knowing(space, hidden))
    yield WITH, MEAN_IN_RANGE, conditional_mean(space, hidden, in_range=True)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    yield CONTROL, "Gaussian noise of the same norm", x + noise * (norms(hidden - x, "l2") / norms(noise, "l2"))
    if len(x) > 1:
        yield CONTROL, "another of the images", x.roll(1, 0)


def _knowing(space: Subspace, hidden: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What an attacker recovers who assumes that the images were changed in ``space``."""
    yield VISIBLE, space.reject(hidden)
    yield CONDITIONAL_MEAN, conditional_mean(space, hidden)


def _rotated(images: Tensor) -> Tensor:
    return images.flip(-2, -1)


def _at_best(denoiser: Denoiser, x: Tensor, hidden: Tensor) -> tuple[str, Tensor]:
    tried = [(denoiser.label(strength), denoised(denoiser, strength, hidden)) for strength in denoiser.strengths]
    return max(tried, key=lambda labelled: float(matched_ssim(x, labelled[1]).mean()))


def _from_pairs(x: Tensor, hidden: Tensor) -> tuple[str, Tensor]:
    """Each half of the images restored by the filter fitted to the other half, with the window that serves best."""
    first, second = slice(None, len(x) // 2), slice(len(x) // 2, None)
    tried = []
    for square, margin in WINDOWS:
        if fits(x.shape[1:], square, margin):
            halves = [
                restored(x[known], hidden[known], hidden[new], square, margin)
                for new, known in ((first, second), (second, first))
            ]
            side = square + 2 * margin
            found = torch.cat(halves).clamp(0, 1)
            tried.append((f"linear filter, {side}×{side} px, of {len(x) // 2} pairs", found))
    return max(tried, key=lambda labelled: float(matched_ssim(x, labelled[1]).mean()))


def matched_ssim(x: Tensor, found: Tensor) -> Tensor:
    """SSIM after the affine change of brightness and contrast, the same in all channels, that fits the original best.

    Args:
        x: the originals, ``(B, C, H, W)`` in [0, 1].
        found: images of the same shape, in any range; negative contrast is allowed.

    Returns:
        float64 ``(B,)``.
    """
    flat, aim = found.flatten(1), x.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    spread = centred.square().sum(1, keepdim=True)
    contrast = torch.where(spread > 0, (centred * aim).sum(1, keepdim=True) / spread, 0.0)
    fitted = (aim.mean(1, keepdim=True) + contrast * centred).view(x.shape)
    return similarity(x, fitted.clamp(0, 1), with_perceptual=False).ssim
