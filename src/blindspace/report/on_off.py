"""The on- and off-manifold parts of perturbations as a table, sentences and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from ..manifolds import Manifold, OnOff
from ..manifolds.controls import random_subspaces
from ..subspaces import norms
from .triplets import triplets

ROWS = 20
"""Largest number of images in the table."""

PARTS = {"whole": "d", "on": "on", "off": "off"}
"""Perturbations of ``OnOff`` and how they are written."""


@dataclass(frozen=True)
class Split:
    """The parts of perturbations of images, with what they are compared with.

    Attributes:
        images: The images x, float64 ``(B, *shape)``.
        parts: d and its parts.
        distance: ‖x − decode(encode(x))‖ of each image, ``(B,)``: how far it lies from the manifold.
        random: Shares of d in random subspaces of equal dimension, ``(draws, B)``.
    """

    images: Tensor
    parts: OnOff
    distance: Tensor
    random: Tensor

    @cached_property
    def norms(self) -> dict[str, Tensor]:
        """L2 norms ``(B,)`` of d and its parts, under the names of ``PARTS``."""
        found = {"whole": self.parts.on + self.parts.off, "on": self.parts.on, "off": self.parts.off}
        return {name: norms(value, "l2").flatten() for name, value in found.items()}

    @property
    def moved(self) -> Tensor:
        """Which images are perturbed at all, bool ``(B,)``."""
        return self.norms["whole"] > 0

    @property
    def farther(self) -> int:
        """Number of perturbed images that lie farther from the manifold than their perturbation is long."""
        return int(((self.distance > self.norms["whole"]) & self.moved).sum())

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values for JSON."""
        return {
            **self.parts.to_dict(),
            "random_shares": self.random.tolist(),
            "distance_from_manifold": self.distance.tolist(),
            "farther_from_manifold_than_perturbation": self.farther,
            "unperturbed": int((~self.moved).sum()),
        }


def split_of(manifold: Manifold, images: Tensor, parts: OnOff, generator: torch.Generator) -> Split:
    """Compare the parts of perturbations with random subspaces and with the images' distance from the manifold.

    Args:
        manifold: The manifold that the perturbations were split by.
        images: The images, float64 ``(B, *shape)``.
        parts: The parts.
        generator: Source of the random subspaces.
    """
    distance = (manifold.reconstruction_error(images).double() * manifold.ambient_dim).sqrt()
    whole = parts.on + parts.off
    draws = random_subspaces(manifold.shape, manifold.dim, generator)
    return Split(images, parts, distance, torch.stack([space.energy(whole) for space in draws]))


def sentences(split: Split, over_random: str | None) -> list[str]:
    """The figures of all perturbed images in words.

    Args:
        split: The split.
        over_random: The ratio of the share over that in random subspaces, in words; None where the perturbations are
            confined to one of the parts, so that shares say nothing.
    """
    moved, parts = split.moved, split.parts
    if not bool(moved.any()):
        return ["no image is perturbed"]
    share, many = float(parts.share[moved].median()), int(moved.sum())
    beside = f"; chance {parts.chance:.3f}, {share / parts.chance:.1f} times that; over random subspaces {over_random}"
    lines = [
        f"share on the manifold    {share:.3f}{', as confined' if over_random is None else beside}",
        "norms                    "
        + ", ".join(f"‖{name}‖ {float(split.norms[part][moved].median()):.3g}" for part, name in PARTS.items()),
    ]
    if parts.labels:
        changed = ", ".join(f"x + {name} {parts.changed(part)}" for part, name in PARTS.items())
        lines.append(f"labels changed           {changed} of {len(moved)}")
    distance = float(split.distance[moved].median())
    lines.append(f"distance from manifold   ‖x − decode(encode(x))‖ {distance:.3g}")
    if many < len(moved):
        lines.append(f"left out of the medians  {len(moved) - many} of {len(moved)} images, which are not perturbed")
    if split.farther:
        lines.append(
            f"{split.farther} of {many} images lie farther from the manifold than their perturbation is long: the "
            "tangent space is that of a point beyond the perturbation's reach"
        )
    return lines


def table(split: Split, names: Sequence[str], label: Callable[[int], str]) -> Table:
    """One row per image, the first ``ROWS`` of them.

    Args:
        split: The split.
        names: Names of the images.
        label: The name of a class.
    """
    made = Table("image", box=None, header_style="bold")
    for heading in ("share", "over chance", "‖d‖", "‖on‖", "‖off‖", "from manifold"):
        made.add_column(heading, justify="right")
    labels = split.parts.labels
    for heading in ("x", *(f"x + {name}" for name in PARTS.values())) if labels else ():
        made.add_column(heading)
    for index, name in enumerate(names[:ROWS]):
        share = float(split.parts.share[index])
        said = [label(int(found[index])) for found in labels.values()]
        made.add_row(
            escape(name),
            f"{share:.3f}",
            f"{share / split.parts.chance:.2f}",
            *(f"{float(each[index]):.3g}" for each in split.norms.values()),
            f"{float(split.distance[index]):.3g}",
            *(escape(each) if each == said[0] else f"[red]{escape(each)}[/red]" for each in said),
        )
    return made


def draw(split: Split, index: int, label: Callable[[int], str], path: Path) -> None:
    """Draw one image: x, x + d, x + on, x + off, and the perturbations amplified. Errors are those of ``triplets``.

    Args:
        split: The split.
        index: Index of the image.
        label: The name of a class.
        path: The picture, .png, .svg or .pdf.
    """
    one = slice(index, index + 1)
    on, off = split.parts.on[one], split.parts.off[one]
    keys = {"plain": "x", **PARTS}
    labels = {keys[part]: [label(int(found[index]))] for part, found in split.parts.labels.items()}
    triplets(path, split.images[one], {"d": on + off, "on": on, "off": off}, labels)
