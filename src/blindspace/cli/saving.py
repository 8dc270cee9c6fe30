"""Writes perturbed images and reads them back: what is claimed is claimed of the files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import read_image, write_images
from ..data.array_files import read_array
from ..data.encoding import SUFFIX, check_format, save
from ..errors import FileError, ValueRangeError
from ..perturbations import round_to_levels
from ..subspaces import Subspace
from .options import writable_file, writable_folder

ARRAY_FILES = (".npz", ".safetensors")


def check_out(out: Path, format: str, in_range: bool) -> None:
    """Refuse a place to write to before the work.

    Args:
        out: as of ``saved``.
        format: as of ``saved``.
        in_range: whether the values will lie in [0, 1], as pictures need.

    Raises:
        FileError: the format or suffix is unknown, or it cannot be written there.
        ValueRangeError: pictures of values outside [0, 1] are asked for.
    """
    if out.suffix in ARRAY_FILES:
        writable_file(out)
        return
    if out.suffix:
        raise FileError(
            f"{out} must end in {' or '.join(ARRAY_FILES)}, or be the name of a folder, without an ending, for one "
            "file an image"
        )
    writable_folder(out)
    check_format(format)
    if not in_range:
        raise ValueRangeError(
            f"pictures in the folder {out} hold values from 0 to 1: add --in-range, or give a name that ends in "
            f"{' or '.join(ARRAY_FILES)}, where any number fits"
        )


def saved(
    out: Path,
    format: str,
    space: Subspace,
    images: Tensor,
    perturbed: Tensor,
    names: Sequence[str],
    settings: Mapping[str, Any],
) -> Tensor:
    """Write perturbed images and give them as they are read back.

    Args:
        out: a file of arrays for all of them, or a folder for one file each.
        format: of the files in a folder; for ``png`` values are rounded so that the network's front moves least.
        space: of harmless perturbations.
        images: as they were, ``(B, C, H, W)``.
        perturbed: as images.
        names: of the images.
        settings: written beside them.

    Returns:
        float64, as images.

    Raises:
        FileError: it cannot be written.
    """
    if out.suffix in ARRAY_FILES:
        given = {key: value for key, value in settings.items() if value not in (None, [])}
        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
        write_images(out, perturbed.numpy(), metadata={**words, "names": json.dumps(list(names))})
        return torch.from_numpy(read_array(out))
    if format == "png":
        perturbed = round_to_levels(space, images, perturbed)
    files = [out / f"{name}{SUFFIX[format]}" for name in names]
    for file, image in zip(files, perturbed, strict=True):
        save(file, image.numpy(), format)
    return torch.from_numpy(np.stack([read_image(file) for file in files]))
