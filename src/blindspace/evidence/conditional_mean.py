"""What the invisible part of an image most likely is: the most natural of all images a network reads alike.

All x + N(A) share the visible component (I − P) x. Under a Gaussian prior the one of the least energy
(x − μ)ᵀ Σ⁻¹ (x − μ) among them is the conditional mean E[x | A x]. It is found by conjugate gradients inside the
nullspace, which need its projector alone; within the pixel range by ADMM (Boyd and others, Distributed optimization and
statistical learning via the alternating direction method of multipliers, 2011), whose steps are of the same kind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..maps.linear_map import checked
from ..solvers.projectors.krylov import pcg
from ..subspaces import Subspace
from ..subspaces.davis_yin import splitting
from .prior import Prior

AT_ONCE = 32 << 20
"""Bytes of images worked on at a time."""

DIGITS = 1e-4
"""What one pass in float32 gains; the residual is then worked out anew in float64."""

SMOOTH = 0.2
"""Cycles a pixel from which on the preconditioner goes by the prior; what is slower is rarely invisible …"""

UNREAD = 0.01
"""… but where more than this share of the pixels is not read at all."""


STIFFNESS = 3.0
"""ADMM's penalty, in units of the prior's own stiffness at the completion without bounds."""

ROUNDS = 60
"""Of ADMM at most; the splitting that follows ends inside the pixel range whatever is left."""

AGREED = 1e-4
"""Distance of ADMM's two sides at which it ends, as a share of what the completion without bounds is outside."""

INSIDE = 1e-13
"""‖z − x‖ / ‖x‖ of the splitting's two sides at which it ends."""

IMPOSSIBLE = 1e-3
"""‖z − x‖ / ‖x‖ above which no image in the range has that visible component."""


def complete(
    space: Subspace,
    images: Tensor,
    prior: Prior | None = None,
    in_range: bool = False,
    tolerance: float = 1e-6,
    iterations: int = 300,
) -> Tensor:
    """Of all images with the same visible component (I − P) x the most natural one: E[x | A x].

    Two images that differ by something invisible have one completion, to the tolerance.

    Args:
        space: of what is invisible, of images (1 or 3, H, W).
        images: ``(B, *space.shape)``; may leave [0, 1].
        prior: of natural images; ``Prior.of`` their shape if None.
        in_range: of the images inside [0, 1] alone; all values then are, to the last bit.
        tolerance: of the gradient P Σ⁻¹ (x − μ), as a share of its size at the visible component; in range also of the
            distance from there.
        iterations: of each solve, at most.

    Returns:
        ``(B, *space.shape)``, float64.

    Raises:
        ShapeError: the images are of another shape, or the prior is none of theirs.
        ValueRangeError: a value is NaN or infinite, or no image inside [0, 1] has that visible component.
    """
    x = checked(images, space.shape, "images").double()
    if not bool(x.isfinite().all()):
        raise ValueRangeError("an image holds NaN or infinite values; it has no completion")
    prior = Prior.of(space.shape) if prior is None else prior
    solver = _Completion(space, prior, tolerance, iterations)
    some = max(AT_ONCE // (8 * space.ambient_dim), 1)
    found = []
    for part in x.split(some):
        visible = space.reject(part)
        if in_range and bool(((part < 0) | (part > 1)).any()):
            solver.into_range(visible, part)  # an image inside would show that there is one
        found.append(solver.within(visible) if in_range else visible + solver.inverse(solver.pull(visible)))
    return torch.cat(found) if found else x


class _Completion:
    """Solves P (Σ⁻¹ + ρ) P d = b in the nullspace."""

    def __init__(self, space: Subspace, prior: Prior, tolerance: float, iterations: int) -> None:
        self.space, self.prior = space, prior
        self.tolerance, self.iterations = tolerance, iterations
        probe = torch.randn(1, *space.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        unread = float((space.reject(probe).abs() < 1e-9 * probe.abs()).double().mean())
        self.rise = 0.0 if unread > UNREAD else float(SMOOTH ** prior.exponent[0] / prior.amplitude[0])

    def pull(self, visible: Tensor) -> Tensor:
        """−P Σ⁻¹ (x − μ) at the visible component: what its completion solves P Σ⁻¹ P d = pull for."""
        return -self.space.project(self.prior.precision(self.prior.centred(visible)))

    def inverse(
        self, b: Tensor, rho: float = 0.0, start: Tensor | None = None, tolerance: float | None = None
    ) -> Tensor:
        """The d in the nullspace with P (Σ⁻¹ + ρ) P d = b, a b in the nullspace, ``(B, *shape)``."""

        def apply(v: Tensor) -> Tensor:
            return self.space.project(self.prior.precision(v) + rho * v)

        def precondition(v: Tensor) -> Tensor:
            return self.space.project(self.prior.covariance(v, self.rise + rho))

        d = torch.zeros_like(b) if start is None else start
        residual = b if start is None else b - apply(d)
        enough = (self.tolerance if tolerance is None else tolerance) * _norm(b)
        left = self.iterations
        while left > 0 and bool((_norm(residual) > enough).any()):
            size = _norm(residual).clamp(min=torch.finfo(b.dtype).tiny)
            stop = (enough / size / 2).clamp(min=DIGITS)
            scaled = residual / _wide(size, residual)
            step, used = pcg(apply, scaled.float(), precondition, stop.float(), left)
            d = d + self.space.project(step.double() * _wide(size, residual))
            residual = b - apply(d)
            left -= max(used, 1)
            if bool((_norm(residual) > size / 2)[size > enough].all()):
                break  # rounding is all that is left
        return d

    def within(self, visible: Tensor) -> Tensor:
        """The most natural images inside [0, 1] with these visible components, as ``complete`` gives them."""
        pull = self.pull(visible)
        d = self.inverse(pull)
        found = visible + d
        outside = _norm(found - found.clamp(0, 1))
        those = (outside > 0).nonzero().flatten()
        if len(those):
            found[those] = self._confined(visible[those], pull[those], d[those], outside[those])
        return found.clamp(0, 1)

    def _confined(self, visible: Tensor, pull: Tensor, d: Tensor, outside: Tensor) -> Tensor:
        tiny = torch.finfo(d.dtype).tiny
        rho = STIFFNESS * float(_norm(self.prior.precision(d)).mean() / _norm(d).mean().clamp(min=tiny))
        x, u = visible + d, torch.zeros_like(d)
        inside = x.clamp(0, 1)
        for _ in range(ROUNDS):
            u = u + x - inside
            d = self.inverse(pull + rho * self.space.project(inside - u), rho, d, AGREED)
            x = visible + d
            inside = (x + u).clamp(0, 1)
            if bool((_norm(x - inside) <= AGREED * outside).all()):
                break

        return self.into_range(visible, inside)

    def into_range(self, visible: Tensor, images: Tensor) -> Tensor:
        """Images inside [0, 1] with these visible components, the short way from those given.

        Raises:
            ValueRangeError: there are none.
        """

        def confine(points: Tensor, which: Tensor) -> Tensor:
            return (visible[which] + points).clamp(0, 1) - visible[which]

        scale = _wide(_norm(visible), visible)
        start = images.clamp(0, 1) - visible
        end = splitting(start, self.space, confine, None, INSIDE * scale, self.iterations)
        if bool((end.gap > IMPOSSIBLE * scale).any()):
            raise ValueRangeError(
                "no image inside [0, 1] looks to the network like one of these; it was outside itself: complete it "
                "without the range"
            )
        return visible + end.inside


def _wide(scalars: Tensor, like: Tensor) -> Tensor:
    return scalars.view(-1, *[1] * (like.ndim - 1))


def _norm(v: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return norms
