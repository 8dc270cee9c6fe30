"""What is to be done to images, as plain settings that can be written down and read back.

The result of an image depends on the settings, its name and its pixels alone, not on the batch that it is in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..errors import ShapeError, UnknownNameError, ValueRangeError
from ..maps.linear_map import checked
from ..subspaces import Subspace, norms
from ..subspaces.box import Norm
from ._decoy import decoy
from ._largest import largest
from .feasibility import into_box, where_saturated
from .keyed import Key, keyed_noise
from .repeated import Repeated, repeated, with_basis
from .sample import rescale
from .text import text_picture

Kind = Literal["noise", "keyed", "largest", "decoy"]
KINDS: tuple[str, ...] = get_args(Kind)

HARMLESS = 1e-10
"""Share of a decoy's change outside the space from which another one is made, where that can be done."""

FINE_PIXELS = 128
"""Pixels of the shorter side from which a decoy is made for eyes that blur it a little."""


@dataclass(frozen=True)
class Recipe:
    """How images become others that the network reads alike.

    Attributes:
        kind: ``noise``, harmless noise; ``keyed``, the same from a key; ``largest``, as far from the image as found;
            ``decoy``, as near to a line of text or a picture as can be.
        size: of noise, in units of the image range.
        norm: of that size.
        in_range: whether every pixel stays in [0, 1]; noise may then come out smaller. The others always do.
        seed: of noise, and of where the search for the largest begins.
        text: of the decoy.

    Raises:
        UnknownNameError: another kind.
        ValueRangeError: the size is negative or not finite.
    """

    kind: Kind = "noise"
    size: float = 1.0
    norm: Norm = "linf"
    in_range: bool = True
    seed: int = 0
    text: str = "nothing to see here"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError(f"no kind of perturbation is called {self.kind!r}; there are {', '.join(KINDS)}")
        if not 0 <= self.size < float("inf"):
            raise ValueRangeError(f"the size of a perturbation must be a number of at least 0, got {self.size}")

    def make(
        self,
        space: Subspace,
        images: Tensor,
        names: Sequence[str],
        key: Key | None = None,
        target: Tensor | None = None,
        progress: Callable[[int, int, str], None] | None = None,
    ) -> Tensor:
        """Images that differ from those given by a harmless perturbation.

        Args:
            space: of harmless perturbations, not {0}.
            images: ``(B, *space.shape)`` in [0, 1].
            names: of the images, all different; noise is drawn by them.
            key: of ``keyed``.
            target: a picture instead of the text, ``space.shape`` or ``(B, *space.shape)``.
            progress: called with steps done, steps in all and what is done.

        Returns:
            float64 ``(B, *shape)``.

        Raises:
            ShapeError: images or names do not fit.
            ValueRangeError: a pixel is outside [0, 1], the space is {0}, or the key is missing.
        """
        x = checked(images, space.shape, "images").double()
        if len(names) != len(x):
            raise ShapeError(f"{len(x)} images need as many names, got {len(names)}")
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise ValueRangeError("a pixel is NaN or outside [0, 1]; scale the images first")
        if space.dim == 0:
            raise ValueRangeError(
                f"the space of harmless perturbations is {{0}} ({space.certificate}): nothing can be hidden from "
                "this network; put its preprocessing in front (--preprocess), or take another one"
            )
        match self.kind:
            case "largest":
                return largest(space, x, generators=[self._generator(name) for name in names], progress=progress).images
            case "decoy":
                picture = text_picture(self.text, space.shape) if target is None else target
                # Where pixels are fine enough, what must stay of the image becomes grain.
                blur = 1.0 if len(space.shape) == 3 and min(space.shape[1:]) >= FINE_PIXELS else 0.0
                found = decoy(space, x, picture, blur, progress=progress).images - x
                left = norms(space.reject(found), "l2") > HARMLESS * norms(found, "l2")
                again = bool(left.any()) and with_basis(space).rows is not None
                exact = found.masked_fill(left, 0.0) if again else found
                return self._else_of_grey(space, x, exact, picture.double().expand_as(x) - x)
            case "keyed":
                if key is None:
                    raise ValueRangeError("keyed noise needs a key; give a passphrase")
                noise = keyed_noise(space, key, names, self.size, self.norm)
            case _:
                drawn = [torch.randn(space.shape, generator=self._generator(n), dtype=torch.float64) for n in names]
                noise = rescale(Repeated(space).project(torch.stack(drawn)) if drawn else x, self.size, self.norm)
        if not self.in_range:
            return x + noise
        return self._else_of_grey(space, x, self._fitted(repeated(space), noise, x), noise)

    def _else_of_grey(self, space: Subspace, x: Tensor, found: Tensor, wanted: Tensor) -> Tensor:
        """Images with what was found for them; where that is nothing, with what moves no black or white value."""
        if not bool(found.flatten(1).any(1).all()):
            again = lambda p, n: self._fitted(p, p.project(wanted[n]), x[n])  # noqa: E731
            found = where_saturated(repeated(space), found, x, again)
        return (x + found).clamp(0, 1)

    def _fitted(self, project: Repeated, noise: Tensor, x: Tensor) -> Tensor:
        """Noise near to that given, inside the pixel range and no larger than wanted."""
        limit = self.size if self.norm == "linf" and self.kind != "decoy" else 1.0
        found = into_box(project, noise, (-x).clamp(min=-limit), (1 - x).clamp(max=limit))
        return found if self.kind == "decoy" else found * (self.size / norms(found, self.norm).clamp(min=self.size))

    def _generator(self, name: str) -> torch.Generator:
        digest = hashlib.sha256(f"{self.seed}\0{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; ``Recipe(**d)`` gives it back. The key is never among them."""
        return asdict(self)
