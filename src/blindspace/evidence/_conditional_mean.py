"""Conditional mean given the visible component: the most natural of all images that a network reads alike.

All x + N(A) share the visible component (I − P) x. Under a Gaussian prior the image of the least energy
(x − μ)ᵀ Σ⁻¹ (x − μ) among them is the conditional mean E[x | A x]; known as kriging or Gaussian conditioning with exact
observations (Rasmussen and Williams, Gaussian processes for machine learning, 2006, section 2.2). It is computed by
preconditioned conjugate gradients inside the nullspace, which need its projector alone (Hestenes and Stiefel, 1952);
within the pixel range by the alternating direction method of multipliers (ADMM; Boyd and others, Distributed
optimization and statistical learning via the alternating direction method of multipliers, 2011), whose steps are of
the same kind. What is then missing of the visible component, some millionths, is made up for inside the range: in
small images by accelerated splitting (``davis_yin``); in large ones by semismooth Newton steps, which need a few
projections where few pixels are black or white (Qi and Sun, A nonsmooth version of Newton's method, Mathematical
Programming 58, 1993), and elsewhere after Douglas-Rachford splitting in float32 (Lions and Mercier, Splitting
algorithms for the sum of two nonlinear operators, SIAM Journal on Numerical Analysis 16, 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..maps import Operator
from ..networks.arguments import as_images, as_space
from ..solvers.projectors.krylov import pcg
from ..subspaces import Subspace, norms
from ..subspaces.davis_yin import splitting
from .prior import Array, Prior, scaled

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
"""Penalty of ADMM, in units of the prior's own stiffness at the conditional mean without bounds …"""

SETTLED, STIFFENING = 20, 1.1
"""… and its growth per round after so many. The first rounds find the minimum, the later ones the range."""

RELAXATION = 1.6
"""Over-relaxation of ADMM (Boyd and others, section 3.4.3), and of Douglas-Rachford splitting."""

ROUNDS = 40
"""Maximum number of ADMM rounds; what follows ends inside the pixel range in any case."""

AGREED = 1e-4
"""Distance of ADMM's two sides at which it ends, relative to the distance of the unbounded solution from the range."""

FORCING, CORRECTION = 3e-2, 12
"""Residual of a Newton step, as a share of what it is to correct, and the iterations that it may take."""

NEAR, SPLITTINGS = 1e-2, 75
"""Share of what was missing at which the splitting gives way to Newton's method, and the iterations it may take."""

LARGE = 1 << 16
"""Number of values of an image up to which accelerated splitting in float64 is quicker: its history fits into the
cache, and what counts is the number of projections."""

GAIN = 4.0
"""Factor by which a Newton step, or a splitting after the first one, has to reduce what is missing to be repeated."""

INSIDE, IMPOSSIBLE = 1e-13, 1e-3
"""Share of the visible component that may be missing in the range, and share above which no image there has it."""


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
        inside: share of the visible component that may be missing inside the range; where many pixels are black or
            white the search for it ends earlier, and ``residual`` says what is missing.

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
        inside: in range, the share of the visible component that may be missing; the search for it ends earlier where
            it gains too little.

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
        if not in_range:
            found.append(visible + solver.inverse(solver.pull(visible)))
            continue
        leaves = bool(((part < 0) | (part > 1)).any())
        known = solver.into_range(visible, part) if leaves else part  # an image inside shows itself that there is one
        found.append(solver.within(visible, known))
    return (torch.cat(found) if found else x).reshape(images.shape)


class _Solver:
    """Minimises the energy in the nullspace."""

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

    def _softened(self, rho: float = 0.0) -> Array:
        """The factors of the preconditioner (Σ⁻¹ + rise + ρ)⁻¹."""
        return 1 / (self._precision + (self.rise + rho))

    def inverse(self, pull: Tensor) -> Tensor:
        """The d in the nullspace with P Σ⁻¹ P d = pull, for a pull in the nullspace, ``(B, *shape)``."""
        softened = self._softened()

        def apply(v: Tensor) -> Tensor:
            return self.space.project(scaled(v, self._precision))

        def precondition(v: Tensor) -> Tensor:
            return self.space.project(scaled(v, softened))

        d, residual = torch.zeros_like(pull), pull
        enough = self.tolerance * _norm(pull)
        left = self.iterations
        while left > 0 and bool((_norm(residual) > enough).any()):
            size = _norm(residual).clamp(min=torch.finfo(pull.dtype).tiny)
            stop = (enough / size / 2).clamp(min=FLOAT32_GAIN)
            b = residual / _wide(size, residual)
            step, used = pcg(apply, b.float(), precondition, stop.float(), left)
            d = d + self.space.project(step.double() * _wide(size, residual))
            residual = pull - apply(d)
            left -= max(used, 1)
            if bool((_norm(residual) > size / 2)[size > enough].all()):
                break  # Only rounding errors are left.
        return d

    def within(self, visible: Tensor, known: Tensor) -> Tensor:
        """The most natural images inside [0, 1] with these visible components; known ones where none is reached."""
        pull = self.pull(visible)
        d = self.inverse(pull)
        found = visible + d
        outside = _norm(found - found.clamp(0, 1))
        those = (outside > 0).nonzero().flatten()
        if len(those):
            confined = self._confined(visible[those], pull[those], d[those], outside[those])
            near, missing = self._nearest(visible[those], confined)
            reached = missing <= IMPOSSIBLE * _norm(visible[those])
            found[those] = torch.where(_wide(reached, near), near, known[those])
        return found.clamp(0, 1)

    def _confined(self, visible: Tensor, pull: Tensor, d: Tensor, outside: Tensor) -> Tensor:
        """ADMM in float32, one preconditioned step of each solve per round: images inside the range, nearly.

        ``stiff`` is Σ⁻¹ d, which is kept up to date, as is x = visible + d.
        """
        tiny = torch.finfo(torch.float32).tiny
        rho = STIFFNESS * float(_norm(self.prior.precision(d)).mean() / _norm(d).mean().clamp(min=tiny))
        seen, towards, d, outside = (t.float() for t in (visible, pull, d, outside))
        stiff, u, x = scaled(d, self._precision), torch.zeros_like(d), seen + d
        inside = x.clamp(0, 1)
        for number in range(ROUNDS):
            u += torch.lerp(inside, x, RELAXATION)
            inside = u.clamp(0, 1)
            u -= inside
            if bool((_norm(x - inside) <= AGREED * outside).all()):
                break
            if number >= SETTLED:
                rho, u = rho * STIFFENING, u / STIFFENING
            pushed = (inside - u).sub_(d).mul_(rho).sub_(stiff)
            residual = self.space.project(pushed).add_(towards)
            step = self.space.project(scaled(residual, self._softened(rho)))
            change = scaled(step, self._precision)
            curvature = _dot(step, change) + rho * _dot(step, step)
            size = _wide(_dot(residual, step) / curvature.clamp(min=tiny), step)
            d.addcmul_(size, step)
            stiff.addcmul_(size, change)
            torch.add(seen, d, out=x)
        return inside.double()

    def into_range(self, visible: Tensor, images: Tensor) -> Tensor:
        """Images inside [0, 1] with these visible components, close to the images given.

        Raises:
            ValueRangeError: there are none.
        """
        found, missing = self._nearest(visible, images)
        if bool((missing > IMPOSSIBLE * _norm(visible)).any()):
            raise ValueRangeError(
                "no image inside [0, 1] looks to the network like one of these, which leaves that range itself; "
                "compute its conditional mean without the range"
            )
        return found

    def _nearest(self, visible: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images inside [0, 1], close to those given, and how much of the visible component of each is missing."""
        return (self._filled if self.space.ambient_dim > LARGE else self._accelerated)(visible, images)

    def _accelerated(self, visible: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Accelerated Douglas-Rachford splitting. As ``_nearest``."""

        def confine(points: Tensor, which: Tensor) -> Tensor:
            return (visible[which] + points).clamp(0, 1) - visible[which]

        enough = self.inside * _wide(_norm(visible), visible)
        end = splitting(images.clamp(0, 1) - visible, self.space, confine, None, enough, self.iterations)
        return visible + end.inside, end.gap.flatten()

    def _filled(self, visible: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Newton's method and plain splitting in float32, in turns. As ``_nearest``."""
        scale = _norm(visible)
        found, missing = self._corrected(visible, images.clamp(0, 1))
        left = torch.arange(len(visible), device=visible.device)
        for done in range(0, self.iterations, SPLITTINGS):
            left = left[_norm(missing[left]) > self.inside * scale[left]]
            if not len(left):
                break
            before = _norm(missing[left])
            tried, still = self._corrected(visible[left], self._split(found[left], missing[left]))
            better = _norm(still) < before
            found[left[better]], missing[left[better]] = tried[better], still[better]
            if done:  # The first splitting may only have found which pixels are at the bounds.
                left = left[_norm(still) <= before / GAIN]
        return found, _norm(missing)

    def _corrected(self, visible: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Semismooth Newton steps, until one gains too little.

        Returns:
            The best images met, inside [0, 1], and what is missing of their visible component.
        """
        best, lacking = images.clone(), torch.full_like(images, torch.inf)
        going, x = torch.arange(len(images), device=images.device), images
        while len(going):
            missing = visible[going] - self.space.reject(x)
            size, before = _norm(missing), _norm(lacking[going])
            better = size < before
            best[going[better]], lacking[going[better]] = x[better], missing[better]
            on = (size <= before / GAIN) & (size > self.inside * _norm(visible[going]))
            going, x, missing, size = going[on], x[on], missing[on], _wide(size[on], x)
            if len(going):
                x = (x + size * self._change(x, missing / size)).clamp(0, 1)
        return best, lacking

    def _change(self, x: Tensor, missing: Tensor) -> Tensor:
        """The least change of the free pixels D that restores what is missing, roughly: D w with R D R w = missing."""
        free = ((x > 0) & (x < 1)).float()

        def apply(w: Tensor) -> Tensor:
            return self.space.reject(free * w[0])[None]

        # The images together are one system, whose matrix is block-diagonal.
        stop = torch.full((1,), FORCING * len(x) ** 0.5, device=x.device)
        w, _ = pcg(apply, missing.float()[None], None, stop, CORRECTION)
        return (free * w[0]).double()

    def _split(self, images: Tensor, missing: Tensor) -> Tensor:
        """Douglas-Rachford splitting in float32 for the change of the images, in units of what is missing."""
        size = _wide(_norm(missing), images)
        low, high, towards = ((t / size).float() for t in (-images, 1 - images, missing))
        change, going = torch.zeros_like(towards), torch.arange(len(images), device=images.device)
        state, inside, work = (torch.zeros_like(towards) for _ in range(3))  # large, so they are used over and over
        for step in range(SPLITTINGS):
            torch.clamp(state, low, high, out=inside)
            back = self.space.project(torch.sub(state, inside, alpha=2, out=work)).add_(inside).sub_(towards)
            state.sub_(back, alpha=RELAXATION)
            done = (_norm(back) <= NEAR) | (step == SPLITTINGS - 1)
            if bool(done.any()):
                change[going[done]] = inside[done]
                going, state, inside, work, low, high, towards = (
                    t[~done] for t in (going, state, inside, work, low, high, towards)
                )
                if not len(going):
                    break
        return (images + size * change.double()).clamp(0, 1)


def _wide(scalars: Tensor, like: Tensor) -> Tensor:
    return scalars.view(-1, *[1] * (like.ndim - 1))


def _norm(v: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return norms


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
