"""Results as files that users save: exact arrays, which ``blindspace verify`` reads, and eight-bit PNGs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..data import write_images
from ..data.encoding import encode
from ..evidence import verify
from ..networks import BUILTIN, Network
from ..perturbations import round_to_levels
from ..progress import Progress
from ..subspaces import Subspace

File = tuple[str, bytes, str]
"""A name, the content, and what it is for."""


def npz(x: Tensor, settings: Mapping[str, Any]) -> bytes:
    """Images ``(1, C, H, W)`` as ``.npz``, exactly, with the settings beside them."""
    words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    with tempfile.TemporaryDirectory(prefix="blindspace-") as folder:
        file = Path(folder) / "images.npz"
        write_images(file, x.cpu().numpy(), metadata={**words, "names": json.dumps(["image"])})
        return file.read_bytes()


def pair(
    network: Network,
    space: Subspace,
    original: Tensor,
    changed: Tensor,
    settings: Mapping[str, Any],
    name: str,
    progress: Progress | None = None,
) -> tuple[list[File], list[str]]:
    """The files of an image and of what it became, and sentences about what rounding does.

    Args:
        network: The network that reads them.
        space: The subspace of the change.
        original: The image, ``(1, C, H, W)``.
        changed: What it became.
        settings: Settings, kept in the arrays.
        name: Name of what it became.
        progress: Called while pixels are rounded.
    """
    files = [
        ("original.npz", npz(original, {"model": network.name}), "The image as the network reads it, exact."),
        (f"{name}.npz", npz(changed, {"model": network.name, **settings}), "Exact: every digit is kept."),
    ]
    which = network.name if network.name in BUILTIN else f"…, for {network.name},"
    lines = [f"blindspace verify original.npz {name}.npz --model {which} compares the exact files."]
    if bool(((original * 255).round() / 255 == original).all()):
        files.append(("original.png", encode(original[0].cpu().numpy(), "png"), "The same, exact in eight bits."))
    if float(changed.min()) < 0 or float(changed.max()) > 1:
        return files, [*lines, "Some values are outside [0, 1], so that no PNG can hold them."]
    rounded = round_to_levels(space, original, changed, progress=progress)
    files.append((f"{name}.png", encode(rounded[0].cpu().numpy(), "png"), "Rounded to eight bits per value."))
    found = verify(network, original, rounded)
    lines.append(
        f"Rounding to eight bits leaves the harmless subspace: the outputs of {name}.png differ from those of the "
        f"original by at most {found.max_output_change:.1e}, and {_labels(found.labels_changed)}."
    )
    return files, lines


def _labels(changed: int | None) -> str:
    if changed is None:
        return "this network gives no labels"
    return "the label changes" if changed else "the label stays"
