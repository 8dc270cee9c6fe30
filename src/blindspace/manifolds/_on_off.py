"""The two parts of a perturbation: along the manifold and off it (Shamir, Melamed & BenShmuel 2021, section 4).

With d a perturbation of x and Proj the projection on the tangent space at x, the images to compare are x + d,
x + Proj(d) and x + (d − Proj(d)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._html import table
from ..maps.floating import as_floating
from ..networks import Network
from ..subspaces import Subspace, norms
from .base import Manifold


@dataclass(frozen=True)
class OnOff:
    """A perturbation's parts along a manifold and off it.

    Attributes:
        on: Proj(d), float64 of the shape of d.
        off: d − Proj(d), float64. For d of a lower precision on + off = d exactly.
        share: ‖on‖² / ‖d‖² of each image, in [0, 1], ``(B,)``; 0 for d = 0.
        chance: k/n, the expected share of a random perturbation.
        residual: Largest ‖(I − P) on‖ / ‖d‖ over the batch.
        error: Largest |on + off − d|: 0 for d of a lower precision than float64, otherwise of the order of rounding.
        labels: Labels by name, int64 ``(B,)``: ``plain`` (x), ``whole`` (x + d), ``on`` (x + on), ``off`` (x + off);
            empty without a network. The images are not clipped to the pixel range.

    Examples:
        >>> import torch, blindspace as bs
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> d = torch.randn_like(x)
        >>> parts = bs.on_off(bs.manifold("mnist-autoencoder"), x, d)
        >>> torch.equal(parts.on + parts.off, d.double())
        True
        >>> parts.chance == 16 / 784
        True
    """

    on: Tensor
    off: Tensor
    share: Tensor
    chance: float
    residual: float
    error: float
    labels: dict[str, Tensor]

    @property
    def ratio(self) -> float:
        """Median share over that of a random perturbation: above 1 if the perturbation prefers the manifold."""
        return float(self.share.median()) / self.chance if self.chance and len(self.share) else 0.0

    def changed(self, part: str) -> int:
        """Number of images whose label ``whole``, ``on`` or ``off`` changes; 0 without a network."""
        return int((self.labels[part] != self.labels["plain"]).sum()) if self.labels else 0

    def to_dict(self) -> dict[str, Any]:
        """Shares, norms and labels as plain values for JSON."""
        return {
            "share": self.share.tolist(),
            "chance": self.chance,
            "ratio_over_chance": self.ratio,
            "norms": {
                "whole": _norms(self.on + self.off),
                "on": _norms(self.on),
                "off": _norms(self.off),
            },
            "residual": self.residual,
            "sum_error": self.error,
            "labels": {name: labels.tolist() for name, labels in self.labels.items()},
            "changed": {part: self.changed(part) for part in ("whole", "on", "off")} if self.labels else {},
        }

    def _repr_html_(self) -> str:
        rows = {
            "images": len(self.share),
            "median share on the manifold": f"{float(self.share.median()):.3f}" if len(self.share) else "",
            "chance": f"{self.chance:.3f}",
            "over chance": f"{self.ratio:.2f}",
        }
        return table("On and off the manifold", rows | {f"labels changed, {p}": self.changed(p) for p in self.labels})


def _norms(v: Tensor) -> list[float]:
    return norms(v, "l2").flatten().tolist() if len(v) else []


def on_off(where: Manifold | Subspace, images: Tensor, perturbation: Tensor, network: Network | None = None) -> OnOff:
    """Split a perturbation into its parts along a manifold and off it.

    Args:
        where: A manifold, whose tangent spaces at the images are meant; or tangent spaces or a subspace.
        images: The images x, ``(B, *shape)``.
        perturbation: d, floating point ``(B, *shape)``.
        network: Network whose labels of x, x + d, x + on and x + off are compared; none if None.

    Raises:
        ShapeError: Images, perturbation and manifold differ in shape.
        ValueRangeError: The decoder overflows.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> parts = bs.on_off(bs.manifold("mnist-autoencoder"), x, torch.randn_like(x), network)
        >>> sorted(parts.labels)
        ['off', 'on', 'plain', 'whole']
    """
    images, d = as_floating(images, "images"), as_floating(perturbation, "perturbation").detach().double()
    space = where.tangent(images) if isinstance(where, Manifold) else where
    on = _with_exact_rest(space.project(d), d)
    off = d - on
    error = float((on + off - d).abs().max()) if len(d) else 0.0
    residual = float((norms(space.reject(on), "l2") / norms(d, "l2").clamp(min=1e-300)).max()) if len(d) else 0.0
    labels = {}
    if network is not None:
        x = images.double()
        shown = {"plain": x, "whole": x + d, "on": x + on, "off": x + off}
        labels = {name: network.labels(value) for name, value in shown.items()}
    return OnOff(on, off, space.energy(d), space.chance, residual, error, labels)


def _with_exact_rest(part: Tensor, whole: Tensor) -> Tensor:
    """Round a part, by less than the last bit of the larger of both values, so that whole − part has no rounding error.

    On a grid of 2⁻⁵¹ of the larger value both parts are representable if the whole is, as float32 values are down to
    2⁻²⁸ of the part.
    """
    _, exponent = torch.frexp(torch.maximum(part.abs(), whole.abs()))
    grid = torch.ldexp(torch.ones_like(part), exponent - 51)
    return torch.where(grid > 0, (part / grid.clamp(min=torch.finfo(part.dtype).tiny)).round() * grid, part)
