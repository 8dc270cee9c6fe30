"""Reading of images from picture files, array files and folders of pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import BlindspaceWarning, FileError
from ..files import as_path, read_bytes, readable
from .array_files import ARRAYS, read_array, read_names, write_images
from .picture_files import decoded, write_png
from .recognition import Holds, is_named_as_picture, recognise_file

__all__ = ["NamedImage", "read_image", "read_images", "write_images", "write_png"]

LISTED = 3
"""Number of images that a warning names."""

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")


@dataclass(frozen=True, eq=False)
class NamedImage:
    """One image and its name.

    Attributes:
        name: Name of the file without its suffix, unique among the images of one ``read_images``.
        pixels: Float64 ``(C, H, W)``.
    """

    name: str
    pixels: npt.NDArray[np.float64]


def read_image(path: Path) -> npt.NDArray[np.float64]:
    """Read one image.

    Args:
        path: A picture in any format that Pillow opens, or an array file with a single image.

    Returns:
        float64 ``(C, H, W)``; pictures and uint8 arrays are in [0, 1], float arrays are unchanged. A warning says what
        a picture holds beside its pixels that is not read: frames, pages, transparency, a colour profile.

    Raises:
        FileError: The file is missing, damaged, not an image, a pickle, or contains several images.
    """
    images = [each.pixels for each in _with_warning(_read(as_path(path, "a picture")))]
    if len(images) != 1:
        raise FileError(f"{path} holds {len(images)} images where one is needed; save that one alone as (C, H, W)")
    return images[0]


def read_images(paths: Sequence[Path]) -> list[NamedImage]:
    """Read images from files and folders, in the order given.

    Args:
        paths: Pictures and array files; a folder stands for the pictures directly in it, sorted by name, or,
            if there are none, for the array files.

    Returns:
        The images. The N images of an array file have the names stored in it, or ``stem-0000`` and so on; a name that
        is taken already gets ``-2`` or the next free number appended. One warning says what is not read of pictures, as
        of ``read_image``.

    Raises:
        FileError: As for ``read_image``, or a folder contains no picture.
    """
    found: list[NamedImage] = []
    taken: set[str] = set()
    files = (path for given in map(Path, paths) for path in (_pictures_in(given) if given.is_dir() else [given]))
    for image in _with_warning(image for path in files for image in _read(path)):
        stem = readable(image.name)
        name, count = stem, 2
        while name in taken:
            name, count = f"{stem}-{count}", count + 1
        taken.add(name)
        found.append(NamedImage(name, image.pixels))
    return found


class _Read(NamedTuple):
    """An image as it is read, with what its file holds beside it."""

    name: str
    pixels: npt.NDArray[np.float64]
    dropped: tuple[str, ...] = ()


def _with_warning(images: Iterable[_Read]) -> list[_Read]:
    """The images, with one warning of what is not read of their files."""
    found = list(images)
    lost = [image for image in found if image.dropped]
    if lost:
        told = [f"{image.name} ({', '.join(image.dropped)})" for image in lost[:LISTED]]
        warnings.warn(
            f"not read of {len(lost)} of {len(found)} images: {', '.join(told)}{', …' if len(lost) > LISTED else ''}",
            BlindspaceWarning,
            stacklevel=3,
        )
    return found


def _pictures_in(folder: Path) -> list[Path]:
    try:
        # Hidden files are leftovers of other programs, whatever they hold.
        shown = [path for path in folder.iterdir() if path.name[0] != "."]
        names = [path for path in shown if _is_picture(path)] or [path for path in shown if path.suffix in ARRAYS]
    except OSError as error:
        raise FileError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    if not names:
        raise FileError(f"the folder {folder} contains no picture")
    return sorted(names)


def _is_picture(path: Path) -> bool:
    return path.is_file() and (is_named_as_picture(path.name) or recognise_file(path).holds is Holds.PICTURE)


def _read(path: Path) -> Iterator[_Read]:
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileError(f"{path} does not exist; give a picture or a {', '.join(ARRAYS)} file")
    if path.is_dir():
        raise FileError(f"{path} is a folder; give one picture or array file")
    if not path.is_file():
        raise FileError(f"{path} is no plain file; give a picture or a {', '.join(ARRAYS)} file")
    if suffix in ARRAYS:
        array = read_array(path)
        if array.ndim == 3:
            yield _Read(path.stem, array)
        else:
            names = read_names(path)
            if names is None or len(names) != len(array):
                names = [f"{path.stem}-{i:04d}" for i in range(len(array))]
            yield from map(_Read, names, array)
    elif suffix in _PICKLES:
        raise FileError(f"{path} is a pickle, which can run code; save the images as .safetensors or .npz")
    else:
        try:
            found = recognise_file(path)
        except OSError as error:
            raise FileError(f"cannot read {path}: {error.strerror or error}") from error
        if found.holds is not Holds.PICTURE and not is_named_as_picture(path.name):
            raise FileError(f"{path} is {found.what}, not a picture; give one, or a {', '.join(ARRAYS)} file")
        picture = decoded(read_bytes(path), str(path))
        yield _Read(path.stem, picture.pixels, picture.dropped)
