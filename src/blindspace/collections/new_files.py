"""From new pixels to new files, with evidence that is measured on each file as it is read back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..data.encoding import decode, encode
from ..networks import Network
from ..perturbations.rounding import round_to_levels
from ..subspaces import Subspace
from .treatment import Outcome

LEVELS = {"png": 256, "png16": 65536}
"""Names of the formats that round pixels."""

MOVED = 1e-2
"""Largest change of an output, relative to the largest output for that picture, where no label says what counts."""


def new_files(network: Network, space: Subspace, images: Tensor, made: Tensor, file_format: str) -> Iterator[Outcome]:
    """Encode pictures that a network reads as it reads the originals, and compare its outputs for both.

    Args:
        network: The network.
        space: Its harmless subspace, in which the change lies.
        images: The originals, ``(B, *space.shape)``.
        made: The new pictures, in [0, 1].
        file_format: One of ``data.encoding.FORMATS``.

    Yields:
        One outcome per picture, whose ``made`` holds the hash of the new file, the largest change of an output and of a
        pixel, and the labels; or the reason why there is no claim about it.
    """
    levels = LEVELS.get(file_format)
    if levels is not None:
        made = round_to_levels(space, images, made, levels)
    contents = [encode(image.numpy(), file_format) for image in made.cpu()]
    # The claim is about the new file as it is read back.
    read = torch.from_numpy(np.stack([decode(content, file_format) for content in contents])).to(images.device)
    before, after = network.answers(images), network.answers(read)
    change = (after.outputs - before.outputs).flatten(1).abs().amax(1)
    allowed = MOVED * before.outputs.flatten(1).abs().amax(1)
    pixel = (read - images).flatten(1).abs().amax(1)
    for n, content in enumerate(contents):
        if not bool(change[n].isfinite()):
            yield Outcome(reason=f"{network.name} makes numbers of it that are not finite")
            continue
        evidence = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "shape": list(read.shape[1:]),
            "max_output_change": float(change[n]),
            "max_pixel_change": float(pixel[n]),
            "label": None if before.labels is None else int(before.labels[n]),
            "label_after": None if after.labels is None else int(after.labels[n]),
            "moved": before.labels is None and bool(change[n] > allowed[n]),
        }
        yield Outcome(content=content, made=evidence)
