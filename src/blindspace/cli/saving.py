"""Writes perturbed images and reads them back, so that every claim is about the files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import read_image, write_images
from ..data.array_files import read_array
from ..data.encoding import SUFFIX, check_format, save
from ..errors import FileError, ValueRangeError
from ..perturbations import Perturbed, round_to_levels
from .options import writable_file, writable_folder

ARRAY_FILES = (".npz", ".safetensors")


def check_out(out: Path, file_format: str, in_range: bool) -> None:
    """Refuse a bad place to write to before the work.

    Args:
        out: As ``saved``.
        file_format: As ``saved``.
        in_range: Whether the values will lie in [0, 1], as pictures need.

    Raises:
        FileError: The format or suffix is unknown, or nothing can be written there.
        ValueRangeError: Values outside [0, 1] are to be written as pictures.
    """
    if out.suffix in ARRAY_FILES:
        writable_file(out)
        return
    if out.suffix:
        raise FileError(
            f"{out} must end in {' or '.join(ARRAY_FILES)}, or be the name of a folder, without an ending, for one "
            "file per image"
        )
    writable_folder(out)
    check_format(file_format)
    if not in_range:
        raise ValueRangeError(
            f"pictures in the folder {out} hold values from 0 to 1: add --in-range, or give a name that ends in "
            f"{' or '.join(ARRAY_FILES)}, where any number fits"
        )


def saved(out: Path, file_format: str, made: Perturbed, settings: Mapping[str, Any]) -> Tensor:
    """Write perturbed images and return them as they are read back.

    Args:
        out: A file of arrays for all of them, or a folder for one file per image.
        file_format: Format of the files in a folder; for ``png`` values are rounded so that the network's front moves
            least.
        made: The perturbed images.
        settings: Settings that are written beside them in a file of arrays.

    Returns:
        float64, as the images.

    Raises:
        FileError: A file cannot be written.
    """
    if out.suffix in ARRAY_FILES:
        given = {key: value for key, value in settings.items() if value not in (None, [])}
        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
        write_images(out, made.images.cpu().numpy(), metadata={**words, "names": json.dumps(list(made.names))})
        return torch.from_numpy(read_array(out))
    perturbed = made.images.cpu()
    if file_format == "png":
        perturbed = round_to_levels(made.space, made.originals.cpu(), perturbed)
    files = [out / f"{name}{SUFFIX[file_format]}" for name in made.names]
    for file, image in zip(files, perturbed, strict=True):
        save(file, image.numpy(), file_format)
    return torch.from_numpy(np.stack([read_image(file) for file in files]))
