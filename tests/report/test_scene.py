"""Scenes: surfaces are the zero level of their function; the page stands on its own and says in words what it shows."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blindspace.errors import ShapeError
from blindspace.report.scene import Scene, Surface, View, surface, write_scene

pytest.importorskip("skimage")
pytest.importorskip("jinja2")

AXIS = torch.linspace(-1, 1, 25, dtype=torch.float64)
X, Y, Z = torch.meshgrid(AXIS, AXIS, AXIS, indexing="ij")
SPHERE = surface((X * X + Y * Y + Z * Z).sqrt() - 0.7)


def scene(steps: int = 2) -> Scene:
    views = [View(f"view <{k}>", [SPHERE] * steps, [f"note {k}{step}" for step in range(steps)]) for k in range(2)]
    return Scene(
        "A ball",
        "It is round.",
        (-1, -1, -1),
        (1, 1, 3),
        torch.tensor([[0.0, 0, 0], [1, -1, 3]]),
        torch.tensor([True, False]),
        0.0,
        ["step 0", "step 10"][:steps],
        views,
        ("one", "other"),
    )


def test_vertices_lie_on_the_surface_and_triangles_close_it() -> None:
    radii = np.linalg.norm(SPHERE.vertices * 2 - 1, axis=1)
    assert abs(radii - 0.7).max() < 2e-3
    edges = np.sort(np.concatenate([SPHERE.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    a, b, c = (SPHERE.vertices[SPHERE.triangles[:, corner]] * 2 - 1 for corner in range(3))
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(4 * np.pi * 0.49, rel=0.01)


def test_a_function_of_one_sign_has_no_surface() -> None:
    assert surface(torch.ones(3, 3, 3)).vertices.shape == (0, 3)
    with pytest.raises(ShapeError, match="at least 2 each"):
        surface(torch.ones(3, 3))


def test_sixteen_bits_keep_the_surface() -> None:
    stored = SPHERE.to_dict()
    vertices = np.frombuffer(base64.b64decode(stored["vertices"]), "<u2").reshape(-1, 3) / 65535
    triangles = np.frombuffer(base64.b64decode(stored["triangles"]), "<u2").reshape(-1, 3)
    assert abs(vertices - SPHERE.vertices).max() <= 0.5 / 65535 + 1e-12
    assert (triangles == SPHERE.triangles).all()


def test_the_page_stands_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "ball.html"
    write_scene(scene(), path)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=.(?!data:)|https?://|@import|<link(?! rel=.icon)", text)
    assert "script-src 'unsafe-inline'" in text
    (stored,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(stored)
    assert data["steps"] == ["step 0", "step 10"]
    assert data["points"] == [[0.5, 0.5, 0.25], [1.0, 0.0, 1.0]]
    assert data["plane"] == 0.25
    assert data["size"] == [2, 2, 4]
    assert [len(view["surfaces"]) for view in data["views"]] == [2, 2]
    assert "view &lt;0&gt;" in text
    assert "view <0>" not in text


def test_the_page_is_for_everyone(tmp_path: Path) -> None:
    """Every control has a name, states are said aloud, motion is asked for, and both colour schemes are served."""
    path = tmp_path / "ball.html"
    write_scene(scene(), path)
    text = path.read_text(encoding="utf-8")
    for button in re.findall(r"<button[^>]*data-key[^>]*>", text):
        assert "aria-label=" in button
    assert text.count('<canvas role="img" aria-label="view') == 2
    for part in ('aria-live="polite"', 'label for="step"', "prefers-reduced-motion", "prefers-color-scheme: dark"):
        assert part in text, part
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", '"+"', '"-"', '" "', "PageUp", "PageDown"):
        assert key in text, key
    assert "<noscript>" in text
    assert "note 01" in text.split("<noscript>")[1]


def test_a_view_has_one_surface_and_note_per_step(tmp_path: Path) -> None:
    whole = scene()
    short = replace(whole, views=[View("short", [Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64))], ["one"])])
    with pytest.raises(ShapeError, match="'short' has 1 surfaces and 1 notes for 2 steps"):
        write_scene(short, tmp_path / "ball.html")
    assert not list(tmp_path.iterdir())
