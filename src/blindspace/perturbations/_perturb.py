"""One call for every kind of perturbation."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .._html import Shown
from ..errors import BlindspaceError, BlindspaceWarning, ValueRangeError, shown
from ..files import as_path
from ..maps import Operator
from ..maps.floating import as_floating
from ..networks import Network, harmless, load
from ..networks.arguments import Space, as_images, as_pixels
from ..progress import Progress
from ..subspaces import Subspace
from ..subspaces._mask_argument import MaskLike, mask_text
from ..subspaces.box import Norm
from ._keyed import Key
from .registry import Recipe, kind_named, kinds
from .removal import Fit, remove_keyed


@dataclass(frozen=True)
class Perturbed(Shown):
    """Perturbed images.

    Attributes:
        images: Perturbed images, float64 ``(B, *shape)``.
        originals: Images that the network reads alike, ``(B, *shape)``: the given ones, and for a family attacked ones.
        names: Names of the images.
        recipe: The settings.
        residual: ‖A δ‖ / (‖A‖ ‖δ‖) of δ = images − originals, the largest over the batch.
        space: Harmless perturbations of the network, within the mask if there is one.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> made = bs.perturb(x, network, "noise", size=2.0)
        >>> made.images.shape, made.residual < 1e-12
        (torch.Size([4, 1, 28, 28]), True)
        >>> torch.equal(made.originals, x.double())
        True
    """

    images: Tensor
    originals: Tensor
    names: tuple[str, ...]
    recipe: Recipe
    residual: float
    space: Subspace

    @property
    def unchanged(self) -> int:
        """Number of images for which nothing but themselves was found."""
        return int((self.images == self.originals).flatten(1).all(1).sum())

    def to_dict(self) -> dict[str, Any]:
        """Everything but images and space as plain values for JSON."""
        inside = None if self.space.support is None else int(self.space.support.sum())
        figures = {
            "names": list(self.names),
            "unchanged": self.unchanged,
            "residual": self.residual,
            "values_inside_mask": inside,
        }
        return {**self.recipe.to_dict(), **figures}


def perturb(
    images: Tensor,
    network: Network | Space,
    kind: str = "noise",
    *,
    size: float | None = None,
    norm: Norm = "linf",
    in_range: bool = False,
    seed: int = 0,
    names: Sequence[str] | None = None,
    target: Tensor | None = None,
    text: str | None = None,
    font: str | Path | None = None,
    key: Key | None = None,
    members: int = 4,
    through: str | None = None,
    remove: bool = False,
    also: Sequence[Operator] = (),
    mask: MaskLike | None = None,
    progress: Progress | None = None,
) -> Perturbed:
    """Add perturbations that a network cannot notice; the command ``perturb`` as a function.

    Args:
        images: ``(B, *shape)`` or one image ``shape``, any floating dtype, in [0, 1].
        network: A ``Network`` or torch module; for kinds that need no network also a linear map or subspace.
        kind: Name of a kind: noise, parallel, least-harmful, largest, decoy, keyed, family, through, or a registered
            one.
        size: Magnitude of each perturbation, in units of the image range, 0.5 if None; through a layer as a share of
            ‖x‖, 0.1 if None.
        norm: Norm of the magnitude, ``linf`` or ``l2``.
        in_range: Whether every pixel stays in [0, 1]; ``largest``, ``decoy`` and ``through`` always do.
        seed: Seed of everything random.
        names: Names of the images, by which random numbers are drawn; if None each is named by its content, so that
            its result is the same in any batch.
        target: Picture that a decoy shows, or that a perturbation through a layer comes near to, ``shape`` or
            ``(B, *shape)``.
        text: Text that a decoy shows.
        font: File of the font of that text, TrueType or OpenType; Pillow's own if None.
        key: Key of keyed noise.
        members: Number of perturbations per image in a family.
        through: Name of the layer that must not see the change; the kind is then ``through``.
        remove: Whether keyed noise is subtracted from images that it was added to; it is checked that it was, with a
            warning where that cannot be done (see ``remove_keyed``).
        also: Further networks that must not notice anything.
        mask: A mask outside which nothing changes, exactly: a tensor of True inside and False outside, ``shape`` or
            without the channels; the path of a picture that is white inside; or a box of pixels (x0, y0, x1, y1).
        progress: Called with steps done, steps in all and what is done.

    Raises:
        ShapeError: The images have another shape than the network reads, or the mask does not fit them.
        ValueRangeError: A pixel is outside [0, 1], a setting is out of range or belongs to another kind, nothing is
            harmless, or an image does not contain the noise that is to be removed.
        UnknownNameError: The kind or norm is not known.
        BlindspaceError: The network is of another type, or cannot be followed.

    Examples:
        >>> import torch, blindspace as bs
        >>> network, pictures = bs.load("cifar-resnet"), bs.data.samples("cifar10").tensor()[:2]
        >>> made = bs.perturb(pictures, network, "noise", size=8.0)  # eight times the range of the pixels
        >>> bs.verify(network, pictures, made.images).labels_changed
        0
    """
    kind = "through" if through is not None and kind == "noise" else kind
    known = kind_named(kind)
    given_to_some = {"text": text, "font": font, "target": target, "key": key, "remove": remove or None}
    for name, given in {**given_to_some, "through": through}.items():
        if given is not None and name not in known.settings:
            takers = ", ".join(other.name for other in kinds() if name in other.settings)
            raise ValueRangeError(f"{name} is a setting of the kind {takers}, not of {kind}")
    if also and "through" in known.settings:
        raise ValueRangeError("a perturbation through a layer is made for one network, so give no other with also")
    if remove and (in_range or names is None or key is None):
        raise ValueRangeError("keyed noise is removed by its key and the names of the images, without in_range")
    in_range, size = in_range or known.always_in_range, known.size if size is None else size
    file = None if font is None else str(as_path(font, "a font"))
    shown_text = Recipe.text if text is None else text
    recipe = Recipe(kind, size, norm, in_range, seed, shown_text, members, file, mask_text(mask), through)
    if isinstance(network, nn.Module):
        network = load(network, tuple(as_floating(images, "images").shape[1:]))
    if not isinstance(also, Sequence):
        raise BlindspaceError(f"also must be a list of networks, got {shown(also)}")
    if names is not None and (isinstance(names, str) or not isinstance(names, Sequence)):
        raise BlindspaceError(f"names must be a list of one per image, got {shown(names)}")
    space = network if isinstance(network, Subspace) and not also else harmless(network, *also)
    space = space if mask is None else space.within(mask)
    x = as_images(images, space.shape).double() if remove else as_pixels(images, space.shape)
    called = [hashlib.sha256(v.cpu().numpy().tobytes()).hexdigest()[:16] for v in x] if names is None else list(names)
    if remove and key is not None:
        made, originals = _removed(space, key, called, x, size, norm), x
    else:
        found = recipe.run(space, x, called, network if isinstance(network, Network) else None, key, target, progress)
        made, originals = found.images, x if found.originals is None else found.originals
        called = called if found.names is None else list(found.names)
    a, delta = space.annihilator(), made - originals
    size_of = a.norm() * delta.flatten(1).norm(dim=1)
    moved = a.forward(delta).flatten(1).norm(dim=1)
    residual = float((moved / size_of.clamp(min=1e-300)).max()) if len(delta) else 0.0
    return Perturbed(made, originals, tuple(called), recipe, residual, space)


def _removed(space: Subspace, key: Key, names: Sequence[str], images: Tensor, size: float, norm: Norm) -> Tensor:
    """Images without the noise of a key, all of which had it."""
    found = remove_keyed(space, key, names, images, size, norm)
    verdicts = list(zip(names, found.fits, strict=True))
    wrong, unknown = ([name for name, fit in verdicts if fit is bad] for bad in (Fit.other, Fit.unknown))
    if wrong:
        raise ValueRangeError(
            f"{len(wrong)} of {len(names)} images, {wrong[0]!r} first, do not contain the noise of this key at this "
            "size; give the passphrase, salt, names, network, mask, size and norm that it was added with"
        )
    if unknown:
        warnings.warn(
            f"it cannot be checked whether the noise was in {len(unknown)} of {len(names)} images, {unknown[0]!r} "
            "first: it is too small beside what is harmless in them",
            BlindspaceWarning,
            stacklevel=3,
        )
    return found.images
