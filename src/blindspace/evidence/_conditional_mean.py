"""Conditional mean given the visible component: the most natural of all images that a network reads alike.

All x + N(A) share the visible component (I − P) x. Under a Gaussian prior the image of the least energy
(x − μ)ᵀ Σ⁻¹ (x − μ) among them is the conditional mean E[x | A x]; known as kriging or Gaussian conditioning with exact
observations (Rasmussen and Williams, Gaussian processes for machine learning, 2006, section 2.2). It is computed by
preconditioned conjugate gradients inside the nullspace, which need its projector alone (Hestenes and Stiefel, 1952);
within the pixel range by the alternating direction method of multipliers (ADMM; Boyd and others, Distributed
optimization and statistical learning via the alternating direction method of multipliers, 2011), whose steps are of
the same kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..maps import Operator
from ..networks.arguments import as_images, as_space
from ..solvers.projectors.krylov import pcg
from ..subspaces import Subspace, norms
from ..subspaces.davis_yin import splitting
from .prior import Prior, scaled

Apply = Callable[[Tensor], Tensor]

CHUNK_BYTES = 32 << 20
"""Bytes of images processed at a time."""

FLOAT32_GAIN = 1e-4
"""Reduction of the residual by one pass in float32; the residual is then recomputed in float64."""

SMOOTH = 0.2
"""Frequency in cycles per pixel above which the preconditioner follows the prior; slower components are rarely
invisible …"""

UNREAD = 0.01
"""… unless more than this share of the pixels is not read at all."""

STIFFNESS = 3.0
"""Penalty of ADMM, in units of the prior's own stiffness at the conditional mean without bounds."""

RELAXATION = 1.6
"""Over-relaxation of ADMM (Boyd and others, section 3.4.3)."""

ROUNDS = 30
"""Maximum number of ADMM rounds; the splitting that follows ends inside the pixel range in any case."""

AGREED = 1e-4
"""Distance of ADMM's two sides at which it ends, relative to the distance of the unbounded solution from the range."""

INSIDE = 1e-13
"""Relative distance ‖z − x‖ / ‖x‖ of the splitting's two sides at which it ends."""

IMPOSSIBLE = 1e-3
"""Relative distance ‖z − x‖ / ‖x‖ above which no image in the range has that visible component."""


@dataclass(frozen=True)
class Canonical:
    """Images whose invisible component has been replaced by its natural expectation.

    Attributes:
        images: inside [0, 1] to the last bit, float64 ``(B, C, H, W)``; equal, to the tolerance of
            ``conditional_mean``, for two images that the network reads alike.
        residual: ‖(I − P)(clean − x)‖ / ‖(I − P) x‖ per image, ``(B,)``: the change of the visible component, which is
            0 in exact arithmetic.
        moved: mean squared change per image, ``(B,)``.
    """

    images: Tensor
    residual: Tensor
    moved: Tensor


def canonical(space: Operator, images: Tensor, prior: Prior | None = None, *, inside: float = INSIDE) -> Canonical:
    """Replace the invisible component of each image by its natural expectation, inside the pixel range.

    Args:
        space: the invisible subspace, of images (1 or 3, H, W); a network or a map stands for its nullspace.
        images: ``(B, *space.shape)`` or one image; may leave [0, 1].
        prior: prior of natural images; ``Prior.of`` their shape if None.
        inside: distance ‖z − x‖ / ‖x‖ of the image in the range from one with the visible component that ends the
            search for it.

    Raises:
        ShapeError: the images have another shape.
        ValueRangeError: a value is NaN or infinite, or no image inside [0, 1] has that visible component.
    """
    space = as_space(space)
    x = as_images(images, space.shape).double()
    clean = conditional_mean(space, x, prior, in_range=True, inside=inside)
    change = clean - x
    visible = norms(space.reject(x), "l2").flatten().clamp(min=torch.finfo(torch.float64).tiny)
    residual = norms(space.reject(change), "l2").flatten() / visible
    return Canonical(clean, residual, change.flatten(1).square().mean(1))


def conditional_mean(
    space: Operator,
    images: Tensor,
    prior: Prior | None = None,
    in_range: bool = False,
    tolerance: float = 1e-6,
    iterations: int = 300,
    inside: float = INSIDE,
) -> Tensor:
    """The most natural of all images with the same visible component (I − P) x: E[x | A x].

    Two images that differ by something invisible have the same conditional mean, to the tolerance.

    Args:
        space: the invisible subspace, of images (1 or 3, H, W); a network or a map stands for its nullspace.
        images: ``(B, *space.shape)`` or one image; may leave [0, 1].
        prior: prior of natural images; ``Prior.of`` their shape if None.
        in_range: whether to minimise over images inside [0, 1] only; then all values lie there, to the last bit.
        tolerance: bound on the gradient P Σ⁻¹ (x − μ), relative to its size at the visible component; in range also on
            the distance from there.
        iterations: maximum number of iterations of each solve.
        inside: in range, distance ‖z − x‖ / ‖x‖ of the image in the range from one with the visible component that ends
            the search for it.

    Returns:
        Images of the shape given, float64.

    Raises:
        ShapeError: the images have another shape, or the prior has another number of channels.
        ValueRangeError: a value is NaN or infinite, or no image inside [0, 1] has that visible component.
    """
    space = as_space(space)
    x = as_images(images, space.shape).double()
    if not bool(x.isfinite().all()):
        raise ValueRangeError("an image holds NaN or infinite values; it has no conditional mean")
    prior = Prior.of(space.shape) if prior is None else prior
    solver = _Solver(space, prior, tolerance, iterations, inside)
    some = max(CHUNK_BYTES // (8 * space.ambient_dim), 1)
    found = []
    for part in x.split(some):
        visible = space.reject(part)
        if in_range and bool(((part < 0) | (part > 1)).any()):
            solver.into_range(visible, part)  # An image inside the range would show that there is one.
        found.append(solver.within(visible) if in_range else visible + solver.inverse(solver.pull(visible)))
    return (torch.cat(found) if found else x).reshape(images.shape)


class _Solver:
    """Solves P (Σ⁻¹ + ρ) P d = b in the nullspace."""

    def __init__(self, space: Subspace, prior: Prior, tolerance: float, iterations: int, inside: float) -> None:
        self.space, self.prior, self.inside = space, prior, inside
        self.tolerance, self.iterations = tolerance, iterations
        probe = torch.randn(1, *space.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        unread = float((space.reject(probe).abs() < 1e-9 * probe.abs()).double().mean())
        self.rise = 0.0 if unread > UNREAD else float(SMOOTH ** prior.exponent[0] / prior.amplitude[0])
        self._precision = 1 / prior.variance(space.shape[1:])

    def pull(self, visible: Tensor) -> Tensor:
        """The right-hand side −P Σ⁻¹ (x − μ) at the visible component x; the solution d solves P Σ⁻¹ P d = pull."""
        return -self.space.project(self.prior.precision(self.prior.centred(visible)))

    def _products(self, rho: float = 0.0) -> tuple[Apply, Apply]:
        """The products with P (Σ⁻¹ + ρ) and with its preconditioner, P (Σ⁻¹ + rise + ρ)⁻¹."""
        softened = 1 / (self._precision + (self.rise + rho))

        def apply(v: Tensor) -> Tensor:
            return self.space.project(scaled(v, self._precision).add_(v, alpha=rho))

        def precondition(v: Tensor) -> Tensor:
            return self.space.project(scaled(v, softened))

        return apply, precondition

    def inverse(self, b: Tensor) -> Tensor:
        """The d in the nullspace with P Σ⁻¹ P d = b, for b in the nullspace, ``(B, *shape)``."""
        apply, precondition = self._products()
        d, residual = torch.zeros_like(b), b
        enough = self.tolerance * _norm(b)
        left = self.iterations
        while left > 0 and bool((_norm(residual) > enough).any()):
            size = _norm(residual).clamp(min=torch.finfo(b.dtype).tiny)
            stop = (enough / size / 2).clamp(min=FLOAT32_GAIN)
            scaled = residual / _wide(size, residual)
            step, used = pcg(apply, scaled.float(), precondition, stop.float(), left)
            d = d + self.space.project(step.double() * _wide(size, residual))
            residual = b - apply(d)
            left -= max(used, 1)
            if bool((_norm(residual) > size / 2)[size > enough].all()):
                break  # Only rounding errors are left.
        return d

    def within(self, visible: Tensor) -> Tensor:
        """The most natural images inside [0, 1] with these visible components."""
        pull = self.pull(visible)
        d = self.inverse(pull)
        found = visible + d
        outside = _norm(found - found.clamp(0, 1))
        those = (outside > 0).nonzero().flatten()
        if len(those):
            found[those] = self._confined(visible[those], pull[those], d[those], outside[those])
        return found.clamp(0, 1)

    def _confined(self, visible: Tensor, pull: Tensor, d: Tensor, outside: Tensor) -> Tensor:
        """ADMM in float32, one preconditioned step of each solve per round, and then exactly into the range."""
        tiny = torch.finfo(d.dtype).tiny
        rho = STIFFNESS * float(_norm(self.prior.precision(d)).mean() / _norm(d).mean().clamp(min=tiny))
        apply, precondition = self._products(rho)
        seen, towards, d, outside = (t.float() for t in (visible, pull, d, outside))
        applied = apply(d)
        x, u = seen + d, torch.zeros_like(d)
        inside = x.clamp(0, 1)
        for _ in range(ROUNDS):
            between = torch.lerp(inside, x, RELAXATION)
            inside = (between + u).clamp(0, 1)
            u = u + between - inside
            if bool((_norm(x - inside) <= AGREED * outside).all()):
                break
            residual = towards + rho * self.space.project(inside - u) - applied
            step = precondition(residual)
            change = apply(step)
            size = _wide((residual * step).flatten(1).sum(1) / (step * change).flatten(1).sum(1).clamp(min=tiny), step)
            d, applied = d + size * step, applied + size * change
            x = seen + d
        return self.into_range(visible, inside.double())

    def into_range(self, visible: Tensor, images: Tensor) -> Tensor:
        """Images inside [0, 1] with these visible components, close to the images given.

        Raises:
            ValueRangeError: there are none.
        """

        def confine(points: Tensor, which: Tensor) -> Tensor:
            return (visible[which] + points).clamp(0, 1) - visible[which]

        scale = _wide(_norm(visible), visible)
        start = images.clamp(0, 1) - visible
        end = splitting(start, self.space, confine, None, self.inside * scale, self.iterations)
        if bool((end.gap > IMPOSSIBLE * scale).any()):
            raise ValueRangeError(
                "no image inside [0, 1] looks to the network like one of these, which leaves that range itself; "
                "compute its conditional mean without the range"
            )
        return visible + end.inside


def _wide(scalars: Tensor, like: Tensor) -> Tensor:
    return scalars.view(-1, *[1] * (like.ndim - 1))


def _norm(v: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return norms
