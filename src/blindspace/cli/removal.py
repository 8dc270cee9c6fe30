"""What ``perturb --remove`` asks of the images before it takes keyed noise off them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from torch import Tensor

from ..data import NamedImage
from ..data.array_files import ARRAYS, read_metadata
from ..errors import FileError, ValueRangeError
from ..networks import Network, harmless
from ..perturbations import Fit, Key, remove_keyed
from ..subspaces.box import Norm
from .images import stack

REASONS = {
    Fit.other: "this noise is not in it: another passphrase, salt, name, network, mask, size or norm",
    Fit.unknown: "the noise is too small beside the image to check that it is there; bs.perturb(remove=True) in Python "
    "subtracts it unchecked",
}


def stated_salt(images: Sequence[str], given: Mapping[str, Any], salt: str | None) -> str | None:
    """The salt to take noise off with: the given one, or the one that the files state.

    Args:
        images: The arguments that stand for images.
        given: Settings of the noise by name: kind, size, norm.
        salt: The salt that the user gave.

    Raises:
        ValueRangeError: A file states that its noise has another salt or setting, or that it was taken off.
    """
    for path, stated in _stated(images):
        if stated.get("removed") == "true":
            raise ValueRangeError(f"{path} states that keyed noise was taken off it")
        if stated.get("in_range") == "true":
            raise ValueRangeError(f"{path} states that its noise was kept within [0, 1]; such noise cannot be removed")
        salt = stated.get("salt") if salt is None else salt
        for name, value in {**given, "salt": salt}.items():
            words = value if isinstance(value, str) else json.dumps(value)
            if name in stated and stated[name].lower() != words.lower():
                raise ValueRangeError(f"{path} states that its noise has the {name} {stated[name]}, not {words}")
    return salt


def check_networks(images: Sequence[str], network: Network, others: Sequence[Network]) -> None:
    """Refuse networks that are not those for which files state that their noise was made.

    Raises:
        FileError: The name of a network's file or model is another.
    """
    given = [Path(each.name).name for each in (network, *others)]
    for path, stated in _stated(images):
        with suppress(ValueError, TypeError):  # no such list, in a file of another program
            names = [stated["model"], *map(str, json.loads(stated.get("also", "[]")))] if "model" in stated else given
            if [Path(name).name for name in names] != given:
                raise FileError(
                    f"{path} states that its noise is harmless for {', '.join(names)}, not {', '.join(given)}"
                )


def digest_of(inside: Tensor) -> str:
    """A hash of the values inside a mask, by which it is known again however it is given."""
    return hashlib.sha256(inside.flatten().to(torch.uint8).numpy().tobytes()).hexdigest()


def check_mask(images: Sequence[str], inside: Tensor | None) -> None:
    """Refuse a mask that is not the one to which files state that their noise was confined.

    Raises:
        ValueRangeError: It is another, or missing, or the noise was not confined.
    """
    given = "" if inside is None else digest_of(inside)
    for path, stated in _stated(images):
        if "model" in stated and (confined := stated.get("mask_sha256", "")) != given:
            whole = "was confined to the mask " + stated.get("mask", "of this file") if confined else "had no mask"
            raise ValueRangeError(f"{path} states that its noise {whole}; give --mask as it was then")


def _stated(images: Sequence[str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """The metadata of those arguments that are files of arrays."""
    for path in map(Path, images):
        if path.suffix.lower() in ARRAYS and path.is_file():
            yield path, read_metadata(path)


def with_noise(
    named: Sequence[NamedImage],
    network: Network,
    others: Sequence[Network],
    key: Key,
    size: float,
    norm: Norm,
    mask: Tensor | None = None,
) -> tuple[list[NamedImage], dict[str, str]]:
    """The images that contain the noise of a key, and for the others the reason why it cannot be taken off them."""
    names = [image.name for image in named]
    verdicts = remove_keyed(harmless(network, *others), key, names, stack(named, network), size, norm, mask=mask).fits
    fitting = [image for image, fit in zip(named, verdicts, strict=True) if fit is Fit.fits]
    return fitting, {name: REASONS[fit] for name, fit in zip(names, verdicts, strict=True) if fit is not Fit.fits}


def show_left(screen: Console, left: Mapping[str, str], total: int) -> None:
    """List the images that were not written."""
    screen.print(f"[red]{len(left)} of {total} images are not written[/red]")
    for name, reason in left.items():
        screen.print(f"  {escape(name)}: {escape(reason)}")
