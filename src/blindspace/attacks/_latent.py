"""The attack along a curved manifold: on the latent that a decoder makes an image of.

Known as the on-manifold attack of Stutz, Hein & Schiele 2019. Every attacked image is one of the decoder's, so that it
lies on the manifold however far the attack goes; an attack in the tangent plane (``pgd`` or ``minimal_norm`` with a
tangent space) leaves it by its curvature. PGD in an L2 ball of the latent, or the smallest latent perturbation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import inf

import torch
from torch import Tensor

from ..errors import BlindspaceError, ShapeError, ValueRangeError, integer, real
from ..networks.network import Network
from ..subspaces import norms
from ..subspaces._arguments import described, floating, generator_or_none
from ..subspaces._mask_argument import MaskLike
from .boundary import Search
from .gradient import as_labels, ascent, prepared, unit
from .scores import Model

Decoder = Callable[[Tensor], Tensor]
"""A function of latents ``(B, *latent)`` that returns images in [0, 1], ``(B, *shape)``."""

BISECTIONS = 12
"""As ``minimal_norm`` has them."""

ROUNDING = 1e-5
"""How far a decoder's images may leave [0, 1]; they are clipped."""


@dataclass(frozen=True)
class Latent:
    """Result of an attack on latents.

    Attributes:
        latents: The attacked latents, ``(B, *latent)``.
        images: The images that the decoder makes of them, in [0, 1], ``(B, *shape)``.
        perturbation: These minus the images of the given latents, ``(B, *shape)``.
        success: Whether the label is wrong, bool ``(B,)``.
        latent_norms: L2 distance of the latents, ``(B,)``; infinite where the attack failed.
        norms: L2 distance of the images, ``(B,)``; infinite where the attack failed.
    """

    latents: Tensor
    images: Tensor
    perturbation: Tensor
    success: Tensor
    latent_norms: Tensor
    norms: Tensor


def latent(
    model: Model | Network,
    decoder: Decoder,
    latents: Tensor,
    labels: Tensor,
    eps: float | None = None,
    steps: int = 50,
    step_size: float | None = None,
    trust: float = 1.0,
    refinements: int = 3,
    mask: MaskLike | None = None,
) -> Latent:
    """Attack images along the manifold of a decoder: on their latents, with the images in [0, 1] at every point.

    An image whose label is wrong to begin with is left as it is.

    Args:
        model: A ``Network``, or a function of images in [0, 1] to scores ``(B, K)``; normalisation happens inside.
        decoder: A function of latents to images in [0, 1].
        latents: Latents of the images to attack, such as ``encoder(images)``, floating point ``(B, *latent)``.
        labels: True labels, whole numbers ``(B,)``.
        eps: Radius of the L2 ball around each latent, in which PGD follows the gradient until the label is wrong; None
            for the smallest perturbation of the latent that changes the label, searched as by ``minimal_norm``.
        steps: Largest number of steps, at least 1.
        step_size: Length of a step of PGD; ``eps / 8`` if None.
        trust: Largest length of a step where the smallest perturbation is searched.
        refinements: Number of refinements of the smallest perturbation.
        mask: A mask, as ``Subspace.within`` takes it, outside which the images stay those of the given latents: what
            the decoder makes of attacked latents shows inside alone, so that only that part lies on the manifold. None
            for none. Images are then attacked one by one.

    Raises:
        BlindspaceError: The model or the decoder is not a function, or as ``pgd``.
        ShapeError: The latents are not a floating-point batch, or the decoder does not make one image of each.
        ValueRangeError: The decoder's images leave [0, 1], or another argument is out of its range.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> digits = bs.data.samples("mnist")
        >>> x, y = digits.tensor()[:4], digits.targets()[:4]
        >>> surface = bs.manifold("mnist-autoencoder")
        >>> found = bs.latent(network, lambda z: surface.decode(z).clamp(0, 1), surface.encode(x), y, steps=5)
        >>> found.images.shape
        torch.Size([4, 1, 28, 28])
    """
    if mask is None or not len(latents):
        return _Manifold(model, decoder, latents, labels).attacked(eps, steps, step_size, trust, refinements)
    labels = as_labels(labels, len(latents))
    found = [
        _Manifold(model, decoder, latents[n : n + 1], labels[n : n + 1], mask).attacked(
            eps, steps, step_size, trust, refinements
        )
        for n in range(len(latents))
    ]
    return Latent(*(torch.cat([getattr(one, each.name) for one in found]) for each in fields(Latent)))


def random_latent(
    model: Model | Network,
    decoder: Decoder,
    latents: Tensor,
    labels: Tensor,
    distance: Tensor | float,
    generator: torch.Generator | None = None,
    mask: MaskLike | None = None,
) -> Latent:
    """The control of ``latent``: perturb latents in uniformly random directions.

    Args:
        model: As in ``latent``.
        decoder: As in ``latent``.
        latents: As in ``latent``.
        labels: As in ``latent``.
        distance: L2 norm of the perturbations of the latents, one number or one per image ``(B,)``, at least 0.
        generator: Source of the directions; torch's global generator if None.
        mask: As in ``latent``.

    Raises:
        BlindspaceError: As ``latent``.
        ValueRangeError: A distance is negative or not finite.
    """
    on = _Manifold(model, decoder, latents, labels, mask)
    try:
        given = torch.as_tensor(distance, dtype=torch.float64, device=on.start.device).expand(len(on.start))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"distances are one number or {len(on.start)} of them, got {described(distance)}") from error
    if not bool(((given >= 0) & (given < inf)).all()):
        raise ValueRangeError("a distance is negative or not finite: leave the failures of an attack out")
    noise = torch.randn(on.start.shape, generator=generator_or_none(generator), dtype=torch.float64)
    noise = noise.to(on.start.device)
    return on.result(given.view(-1, *[1] * (noise.ndim - 1)) * unit(noise, "l2"))


class _Manifold:
    """Model and decoder as one function of latents, with the arguments checked."""

    inside: Tensor | None = None

    def __init__(
        self, model: Model | Network, decoder: Decoder, latents: Tensor, labels: Tensor, mask: MaskLike | None = None
    ) -> None:
        if not callable(decoder):
            raise BlindspaceError(f"the decoder must be a function of latents, got {described(decoder)}")
        self.decoder, self.start = decoder, floating(latents, "latents", 2).detach()
        with torch.no_grad():
            self.images = self._decoded(self.start)
        given = prepared(model, self.images, labels, 1.0, "l2", None, mask)
        self.model, self.labels = given.model, given.labels
        if given.allowed.subspace is not None:
            self.inside = given.allowed.subspace.support

    def _decoded(self, latents: Tensor) -> Tensor:
        images = self.decoder(latents)
        if not isinstance(images, Tensor) or not images.is_floating_point() or len(images) != len(latents):
            raise ShapeError(f"the decoder must make one image of each of {len(latents)} latents: {described(images)}")
        low, high = (float(each) for each in images.detach().aminmax()) if images.numel() else (0.0, 1.0)
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise ValueRangeError(f"the decoder must make images in [0, 1], got values from {low:.4g} to {high:.4g}")
        images = images.clamp(0, 1)
        return images if self.inside is None else torch.where(self.inside.to(images.device), images, self.images)

    def _scores(self, latents: Tensor) -> Tensor:
        return self.model(self._decoded(latents))

    def attacked(
        self, eps: float | None, steps: int, step_size: float | None, trust: float, refinements: int
    ) -> Latent:
        if eps is None:
            search = Search(self._scores, self.start, self.labels, None, None, 9, steps, trust, BISECTIONS, refinements)
            return self.result(search.run().shift)
        eps, steps = real(eps, "eps"), integer(steps, "the number of steps", 1)
        step_size = eps / 8 if step_size is None else real(step_size, "step_size")
        shift = torch.zeros_like(self.start)
        active = torch.arange(len(shift), device=shift.device)
        for _ in range(steps):
            with torch.no_grad():
                right = self._scores(self.start[active] + shift[active]).argmax(1) == self.labels[active]
            active = active[right]
            if not len(active):
                break
            slope = ascent(self._scores, self.start[active] + shift[active], self.labels[active], targeted=False)
            moved = shift[active] + step_size * unit(slope, "l2")
            shift[active] = moved * (eps / norms(moved, "l2").clamp(min=eps or 1.0))
        return self.result(shift)

    @torch.no_grad()
    def result(self, shift: Tensor) -> Latent:
        """Measure what a perturbation of the latents does."""
        latents = (self.start + shift).to(self.start.dtype)
        images = self._decoded(latents)
        success = self.model(images).argmax(1) != self.labels
        perturbation = images - self.images
        size, far = (norms(each, "l2").flatten() for each in (perturbation, latents - self.start))
        return Latent(
            latents, images, perturbation, success, torch.where(success, far, inf), torch.where(success, size, inf)
        )
