"""A page with a surface in space that changes over time, to be turned and played: decision boundaries during training.

Surfaces are computed here and drawn by a short script on the page, which needs nothing outside its file.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..extras import library
from ..files import writing
from .page import render

_LARGEST = 65535
"""Coordinates and indices are stored in 16 bits."""


@dataclass(frozen=True)
class Surface:
    """The zero level of a function in a box, as triangles.

    Attributes:
        vertices: ``(V, 3)`` in units of the box, from 0 to 1.
        triangles: Indices of vertices, ``(F, 3)``.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]

    def to_dict(self) -> dict[str, str]:
        """Vertices and triangles in 16 bits, base64."""
        whole = np.rint(self.vertices * _LARGEST).astype("<u2")
        return {"vertices": _encoded(whole), "triangles": _encoded(self.triangles.astype("<u2"))}


def _encoded(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def surface(values: Tensor) -> Surface:
    """Compute the zero level of a function on a grid by marching cubes (Lewiner et al. 2003).

    Args:
        values: The function on a grid that spans the box, ``(X, Y, Z)``, at least 2 each.

    Returns:
        The surface; without triangles where the function has one sign.

    Raises:
        MissingExtraError: scikit-image is not installed.
        ShapeError: The grid has another shape.
        ValueRangeError: The surface has more than 65,535 vertices.
    """
    if values.ndim != 3 or min(values.shape) < 2:
        raise ShapeError(f"a surface needs values on a grid (X, Y, Z), at least 2 each, got {tuple(values.shape)}")
    marching_cubes = library("skimage.measure", "metrics", "a surface").marching_cubes
    grid = values.detach().double().cpu().numpy()
    if not (grid.min() < 0 < grid.max()):
        return Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    vertices, triangles, *_ = marching_cubes(grid, 0.0)
    if len(vertices) > _LARGEST:
        raise ValueRangeError(f"the surface has {len(vertices)} vertices, at most {_LARGEST}; take a coarser grid")
    return Surface(vertices / (np.array(grid.shape) - 1), triangles.astype(np.int64))


@dataclass(frozen=True)
class View:
    """One of the scenes of a page, drawn beside the others and turned with them.

    Attributes:
        title: Title over it.
        surfaces: One surface per step.
        notes: What is to be seen at each step, in words, for those who cannot see it and those who can.
    """

    title: str
    surfaces: Sequence[Surface]
    notes: Sequence[str]


@dataclass(frozen=True)
class Scene:
    """Everything the page shows.

    Attributes:
        title: Title of the page.
        lead: What it shows, in a few sentences.
        low: Lower corner of the box.
        high: Upper corner of the box.
        points: Points ``(N, 3)`` in the box's coordinates.
        sides: The class of each point, bool ``(N,)``.
        plane: Height of the plane that the points lie in.
        steps: Names of the steps, such as "step 500".
        views: The scenes; each has one surface and one note per step.
        legend: Names of the two classes of points.
    """

    title: str
    lead: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    points: Tensor
    sides: Tensor
    plane: float
    steps: Sequence[str]
    views: Sequence[View]
    legend: tuple[str, str]

    def to_dict(self) -> dict[str, Any]:
        """What the script draws, as plain values; coordinates in units of the box."""
        low, high = np.array(self.low), np.array(self.high)
        points = (self.points.double().cpu().numpy() - low) / (high - low)
        return {
            "size": (high - low).round(6).tolist(),
            "points": points.round(6).tolist(),
            "sides": [bool(side) for side in self.sides],
            "plane": round(float((self.plane - low[2]) / (high[2] - low[2])), 6),
            "steps": list(self.steps),
            "views": [
                {"surfaces": [each.to_dict() for each in view.surfaces], "notes": list(view.notes)}
                for view in self.views
            ],
        }


def write_scene(scene: Scene, path: Path) -> None:
    """Write the page: one HTML file that works from disk.

    Args:
        scene: What it shows.
        path: The file.

    Raises:
        MissingExtraError: jinja2 is not installed.
        ShapeError: A view does not have one surface and one note per step.
        FileError: The file cannot be written.
    """
    for view in scene.views:
        if not len(view.surfaces) == len(view.notes) == len(scene.steps):
            raise ShapeError(
                f"{view.title!r} has {len(view.surfaces)} surfaces and {len(view.notes)} notes for "
                f"{len(scene.steps)} steps"
            )
    with writing(path) as temporary:
        temporary.write_text(render("scene.html", {"scene": scene, "data": scene.to_dict()}), encoding="utf-8")
