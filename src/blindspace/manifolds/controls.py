"""Subspaces that the tangent spaces of a manifold are compared with: equal dimension, but less or nothing of the data.

An attack confined to any subspace of k of n dimensions needs about √(n/k) times the norm of an unconfined one, and in
high dimension any two directions are almost orthogonal. So an effect of the manifold is what is left beside these:
random subspaces, which know nothing of the data; principal components, which know its covariance; low frequencies,
which know that it consists of images; the tangent spaces of other images, which know the manifold but not the place;
and tangent spaces with permuted pixels, which keep everything but the places of the pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ..attacks.directions import by_frequency, frequencies, waves
from ..data import PrincipalComponents
from ..errors import BlindspaceError, UnknownNameError, ValueRangeError, integer, shown
from ..maps import Shape
from ..subspaces import Known, Spanned, Subspace
from ..subspaces.tangent import TangentBases, TangentSpaces

DRAWS = 10
"""Number of random subspaces that a figure is compared with."""


def random_subspace(shape: Sequence[int], dim: int, generator: torch.Generator) -> Subspace:
    """A uniformly distributed random subspace, by an orthonormal basis of it or of its complement.

    Args:
        shape: Shape of one perturbation.
        dim: Dimension, at most the number of values.
        generator: Source of randomness.

    Raises:
        ValueRangeError: The dimension is out of range.
    """
    shape, n = tuple(shape), prod(shape)
    dim = integer(dim, "the dimension of a random subspace", 0, n)
    kept = min(dim, n - dim)
    noise = torch.randn(n, kept, generator=generator, dtype=torch.float64, device=generator.device)
    space = Spanned(torch.linalg.qr(noise).Q.T.reshape(kept, *shape))
    return space if kept == dim else space.complement


def random_subspaces(
    shape: Sequence[int], dim: int, generator: torch.Generator, draws: int = DRAWS
) -> Iterator[Subspace]:
    """Independent random subspaces, drawn one at a time. As ``random_subspace``.

    Args:
        shape: Shape of one perturbation.
        dim: Dimension of each.
        generator: Source of randomness.
        draws: Number of subspaces.
    """
    for _ in range(draws):
        yield random_subspace(shape, dim, generator)


def first_components(components: PrincipalComponents, dim: int) -> Subspace:
    """The span of the principal components of largest variance (PCA-k).

    Args:
        components: The principal components.
        dim: Dimension k, at most their number.

    Raises:
        ValueRangeError: There are fewer components.
    """
    return Spanned(components.components[: _count(dim, len(components.components))])


def last_components(components: PrincipalComponents, dim: int, varying: bool = False) -> Subspace:
    """The span of the principal components of least variance.

    Args:
        components: The principal components.
        dim: Dimension k, at most their number.
        varying: Whether components along which the images do not vary are left out.

    Raises:
        ValueRangeError: There are fewer such components.
    """
    end = components.rank if varying else len(components.components)
    return Spanned(components.components[end - _count(dim, end) : end])


def _count(dim: int, most: int) -> int:
    return integer(dim, "the number of principal components", 0, most)


def low_frequency(shape: Sequence[int], dim: int) -> Subspace:
    """The lowest frequencies of the two-dimensional cosine transform, channels in turn.

    Args:
        shape: Shape ``(C, H, W)`` of one perturbation.
        dim: Dimension, at most the number of values.

    Raises:
        ValueRangeError: The shape is not that of images, or the dimension is out of range.
    """
    sides: Shape = tuple(shape)
    if len(sides) != 3:
        raise ValueRangeError(f"low frequencies are those of images (C, H, W), not of the shape {sides}")
    dim = integer(dim, "the number of frequencies", 0, prod(sides))
    mask = torch.zeros(prod(sides), dtype=torch.bool)
    mask[by_frequency(sides)[:dim]] = True
    kept = mask.view(sides)

    def onto(v: Tensor) -> Tensor:
        wide = v.cpu() if v.dtype == torch.float64 else v.cpu().float()
        return waves(torch.where(kept, frequencies(wide), 0.0)).to(v)

    return Known(sides, dim, onto)


def of_another_image(tangents: TangentSpaces, generator: torch.Generator) -> TangentSpaces:
    """The tangent spaces of other images: of a random cyclic permutation of the images, so that none keeps its own.

    Args:
        tangents: Tangent spaces of at least two images.
        generator: Source of randomness.

    Raises:
        ValueRangeError: There are fewer than two images.
    """
    count = len(tangents.points)
    if count < 2:
        raise ValueRangeError(f"the tangent space of another image needs at least two images, got {count}")
    cycle = torch.randperm(count, generator=generator, device=generator.device).to(tangents.points.device)
    others = torch.empty_like(cycle)
    others[cycle] = cycle.roll(1)
    return tangents.at(others)


def pixel_permuted(tangents: TangentSpaces, generator: torch.Generator) -> TangentSpaces:
    """Tangent spaces with their pixels permuted, by one random permutation for all images and channels.

    Args:
        tangents: Tangent spaces of images ``(C, H, W)``, or of vectors.
        generator: Source of randomness.
    """
    bases = tangents.basis()
    pixels = bases.flatten(-2) if bases.ndim > 3 else bases
    order = torch.randperm(pixels.shape[-1], generator=generator, device=generator.device).to(bases.device)
    moved = pixels[..., order].view(bases.shape)
    return TangentBases(moved, tangents.points, tangents.ranks, tangents.condition, tangents.certificate)


@dataclass(frozen=True)
class Compared:
    """What controls are made for.

    Attributes:
        dim: Dimension k of the controls.
        components: Principal components of the training images.
        tangents: The tangent spaces that are compared with the controls; None if there are none.
    """

    dim: int
    components: PrincipalComponents
    tangents: TangentSpaces | None = None

    @property
    def shape(self) -> Shape:
        """Shape of one perturbation."""
        return tuple(self.components.mean.shape)


@dataclass(frozen=True)
class Control:
    """One kind of control.

    Attributes:
        name: Its name in words.
        make: Makes one from what it is compared with and a source of randomness.
        of_tangents: Whether it is made of the tangent spaces.
        draws: How many are made.
    """

    name: str
    make: Callable[[Compared, torch.Generator], Subspace]
    of_tangents: bool = False
    draws: int = 1


def _tangents(compared: Compared) -> TangentSpaces:
    if compared.tangents is None:
        raise BlindspaceError("this control is made of tangent spaces, and there are none; give Compared(tangents=…)")
    return compared.tangents


RANDOM = "random"

CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control(RANDOM, lambda c, draw: random_subspace(c.shape, c.dim, draw), draws=DRAWS),
        Control("first principal components", lambda c, _: first_components(c.components, c.dim)),
        Control("last principal components", lambda c, _: last_components(c.components, c.dim)),
        Control("last varying components", lambda c, _: last_components(c.components, c.dim, varying=True)),
        Control("low frequencies", lambda c, _: low_frequency(c.shape, c.dim)),
        Control("another image", lambda c, draw: of_another_image(_tangents(c), draw), of_tangents=True),
        Control("permuted pixels", lambda c, draw: pixel_permuted(_tangents(c), draw), of_tangents=True),
    )
}
"""All controls by name, in the order of tables."""


def controls_for(
    compared: Compared, generator: torch.Generator, names: Sequence[str] | None = None, draws: int = DRAWS
) -> Iterator[tuple[str, Subspace]]:
    """Make controls one at a time; ``RANDOM`` comes ``draws`` times.

    Args:
        compared: What they are made for.
        generator: Source of randomness.
        names: Names of ``CONTROLS``; all that can be made if None.
        draws: Number of random subspaces.

    Yields:
        Name and subspace; those of tangent spaces belong to the same images as the tangent spaces.

    Raises:
        UnknownNameError: There is no such control.
        BlindspaceError: A control is made of tangent spaces, and there are none.
    """
    if names is None:
        names = [c.name for c in CONTROLS.values() if compared.tangents is not None or not c.of_tangents]
    for name in names:
        if name not in CONTROLS:
            raise UnknownNameError(f"no control is called {shown(name)}; there are {', '.join(CONTROLS)}")
    for name in names:
        control = CONTROLS[name]
        for _ in range(draws if control.draws > 1 else 1):
            yield name, control.make(compared, generator)
