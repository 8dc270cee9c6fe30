"""The kinds of perturbations: each registers once, and the command line, ``protect`` and detection follow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import torch
from torch import Tensor

from ..errors import (
    BlindspaceError,
    ShapeError,
    UnknownNameError,
    ValueRangeError,
    did_you_mean,
    integer,
    real,
    seed_of,
)
from ..networks import Network
from ..networks.arguments import Space, as_pixels, as_space
from ..progress import Progress
from ..subspaces import Subspace
from ..subspaces._mask_argument import mask_text
from ..subspaces.box import Norm
from ._keyed import Key
from .fonts import check_letters

GROUP = "blindspace.kinds"
"""Entry points of installed packages under this name are functions that register further kinds."""


@dataclass(frozen=True)
class Made:
    """Images that a kind of perturbation made.

    Attributes:
        images: Perturbed images, float64 ``(B, *shape)``.
        originals: Images that the network reads alike, ``(B, *shape)``; None for the given ones.
        names: Names of the images; None for the given ones.
    """

    images: Tensor
    originals: Tensor | None = None
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Kind:
    """One kind of perturbation.

    Attributes:
        name: Name on the command line.
        summary: What is added to an image, in one line of help.
        make: Perturbs the images of a task; what it does to an image depends on that image, its name and the settings;
            through a layer the images of a batch share a bound on the rank, so that they differ slightly alone.
        needs_network: Whether it needs the network itself and not just its harmless space.
        always_in_range: Whether it keeps every pixel in [0, 1] without being asked.
        needs_space: Whether there must be harmless perturbations.
        settings: Names of the settings that only some kinds take: text, font, target, key, remove, members, through.
        protects: Whether ``protect`` offers it; such a kind needs no network and makes one image of each.
        detected: Whether the detection experiments mark images with it.
        size: Size of its perturbations where none is given.
    """

    name: str
    summary: str
    make: Callable[[Task], Made]
    needs_network: bool = False
    always_in_range: bool = False
    needs_space: bool = True
    settings: frozenset[str] = frozenset()
    protects: bool = False
    detected: bool = False
    size: float = 0.5


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> Kind:
    """Add a kind to those that ``perturb``, ``protect`` and the command line know.

    Args:
        kind: The kind.

    Raises:
        BlindspaceError: The name is taken.
    """
    if _kinds.setdefault(kind.name, kind) is not kind:
        raise BlindspaceError(f"a kind of perturbation is called {kind.name!r} already; choose another name")
    return kind


@cache
def _load_entry_points() -> None:
    for entry in entry_points(group=GROUP):
        entry.load()()


def kinds() -> tuple[Kind, ...]:
    """All kinds, in the order of registration."""
    _load_entry_points()
    return tuple(_kinds.values())


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises:
        UnknownNameError: No kind has that name.
    """
    known = {kind.name: kind for kind in kinds()}
    if name not in known:
        near = did_you_mean(name, known)
        raise UnknownNameError(f"no kind of perturbation is called {name!r}{near}; there are {', '.join(known)}")
    return known[name]


@dataclass(frozen=True)
class Recipe:
    """Settings of a perturbation, as plain values that can be written down and read back.

    Attributes:
        kind: Name of a kind.
        size: Magnitude of each perturbation, in units of the image range; not of ``largest`` and ``decoy``; as a
            share ‖δ‖ / ‖x‖ for ``through``.
        norm: Norm of the magnitude, ``linf`` or ``l2``.
        in_range: Whether every pixel stays in [0, 1]; the perturbation may then be smaller.
        seed: Seed of everything random.
        text: Text of a decoy.
        members: Number of perturbations per image in a family.
        font: File of the font of a decoy's text, TrueType or OpenType; Pillow's own if None.
        mask: A mask outside which nothing changes, as text: the path of a picture that is white inside, or a box of
            pixels ``x0,y0,x1,y1``; None for none.
        through: Name of the layer that must not see the change, for the kind ``through``.

    Raises:
        UnknownNameError: The kind or the norm is not known.
        ValueRangeError: The size is negative or not finite, there are no members, or the font lacks a letter.
        FileError: The font or the mask cannot be read.
    """

    kind: str = "noise"
    size: float = 1.0
    norm: Norm = "linf"
    in_range: bool = True
    seed: int = 0
    text: str = "nothing to see here"
    members: int = 4
    font: str | None = None
    mask: str | None = None
    through: str | None = None

    def __post_init__(self) -> None:
        mask_text(self.mask)
        if "font" in kind_named(self.kind).settings:
            check_letters(self.text, self.font)
        if self.norm not in ("linf", "l2"):
            raise UnknownNameError(f"no norm is called {self.norm!r}; there are linf and l2")
        real(self.size, "the size of a perturbation")
        integer(self.members, "the number of members of a family", 1)
        seed_of(self.seed)

    def make(
        self,
        space: Space,
        images: Tensor,
        names: Sequence[str],
        key: Key | None = None,
        target: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Images that differ from the given ones by a harmless perturbation, of a kind that needs no network.

        The result of an image depends on the settings, its name and its pixels alone, not on the batch that it is in.

        Args:
            space: Harmless perturbations: a subspace, or whatever ``nullspace`` accepts.
            images: ``(B, *space.shape)`` in [0, 1].
            names: Names of the images; random numbers are drawn by them.
            key: Key of ``keyed``.
            target: Picture of a decoy in place of the text, ``space.shape`` or ``(B, *space.shape)``.
            progress: Called with steps done, steps in all and what is done.

        Returns:
            float64 ``(B, *shape)``.

        Raises:
            ShapeError: Images or names do not fit.
            ValueRangeError: A pixel is outside [0, 1], the space is {0}, or a key or network is missing.
        """
        space = as_space(space, images=images)
        return self.run(space, as_pixels(images, space.shape), names, None, key, target, progress).images

    def run(
        self,
        space: Subspace,
        images: Tensor,
        names: Sequence[str],
        network: Network | None = None,
        key: Key | None = None,
        target: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Made:
        """As ``make``, of any kind: with the network, and with the images that the result started from."""
        kind = kind_named(self.kind)
        space = space if self.mask is None else space.within(self.mask)
        if len(names) != len(images):
            raise ShapeError(f"{len(images)} images need as many names, got {len(names)}")
        if kind.needs_network and network is None:
            raise ValueRangeError(f"a perturbation of kind {self.kind} needs the network itself, not a space alone")
        if "through" in kind.settings and self.through is None:
            raise ValueRangeError("a perturbation through a layer needs the name of the layer (--through LAYER)")
        if "key" in kind.settings and key is None:
            raise ValueRangeError("keyed noise needs a key; give a passphrase")
        if kind.needs_space and space.dim == 0:
            within = "" if space.support is None else " within the mask"
            raise ValueRangeError(
                f"the space of harmless perturbations is {{0}} ({space.certificate}): nothing can be hidden from "
                f"this network{within}; put its preprocessing in front (--preprocess), take another network, or the "
                "least harmful perturbation (--kind least-harmful)"
            )
        return kind.make(Task(self, space, images, tuple(names), network, key, target, progress))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``Recipe(**d)`` gives the recipe back. The key is never among them."""
        return asdict(self)


@dataclass(frozen=True)
class Task:
    """What a kind of perturbation is made from.

    Attributes:
        recipe: The settings.
        space: Harmless perturbations; confined to a mask, ``space.support``, where one is given.
        images: Float64 ``(B, *space.shape)`` in [0, 1].
        names: Names of the images.
        network: The network; None if only its space is known.
        key: Key of keyed noise.
        target: Picture of a decoy.
        progress: Called with steps done, steps in all and what is done.
    """

    recipe: Recipe
    space: Subspace
    images: Tensor
    names: tuple[str, ...]
    network: Network | None = None
    key: Key | None = None
    target: Tensor | None = None
    progress: Progress | None = None

    def generator(self, name: str) -> torch.Generator:
        """The random generator of one name, which depends on the seed and the name alone."""
        digest = hashlib.sha256(f"{self.recipe.seed}\0{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def gaussian(self, names: Sequence[str]) -> Tensor:
        """Standard normal numbers, drawn by name, float64 ``(len(names), *space.shape)`` where the images lie."""
        shape = self.space.shape
        drawn = [torch.randn(shape, generator=self.generator(name), dtype=torch.float64) for name in names]
        found = torch.stack(drawn) if drawn else torch.empty(0, *shape, dtype=torch.float64)
        return found.to(self.images.device)
