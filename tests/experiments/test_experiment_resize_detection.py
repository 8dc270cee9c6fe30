"""Resize detection: pictures set aside, the attack, the baselines, and claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from blindspace.experiments.parts import Kept
from blindspace.experiments.resize_detection import EXPERIMENT
from blindspace.experiments.resize_detection.baselines import NAMES, baselines
from blindspace.experiments.resize_detection.measure import attacked, part_name, pictures, ways
from blindspace.experiments.resize_detection.settings import ResizeDetection, for_preset
from blindspace.experiments.runner import run

needs_pictures = pytest.mark.skipif(find_spec("skimage") is None, reason="scikit-image is not here")


@needs_pictures
def test_pictures_are_split() -> None:
    s = ResizeDetection("cpu")
    assert len(pictures(s, 0)) == len(pictures(s, 1)) == 9
    assert all(x.shape[1] <= 320 and x.shape[2] <= 400 and x.min() >= 0 and x.max() <= 1 for x in pictures(s, 1))
    assert len(ways(s)) == 9


def test_the_attack_shows_the_target() -> None:
    """To half a step of eight bits for nearest, and no pixel beside the grid moves."""
    draw = torch.Generator().manual_seed(0)
    cover, target = torch.rand(3, 40, 60, generator=draw).double(), torch.rand(3, 10, 15, generator=draw).double()
    image = attacked((cover * 255).round() / 255, target, "torch nearest")
    assert (F.interpolate(image[None], (10, 15))[0] - target).abs().max() <= 0.5 / 255 + 1e-12
    moved = (image - (cover * 255).round() / 255).abs() > 0
    assert int(moved[0].sum()) <= 150
    scores, clean = baselines(image, "torch nearest", (10, 15)), baselines(cover, "torch nearest", (10, 15))
    assert len(scores) == len(clean) == len(NAMES)


@needs_pictures
def test_smoke_and_claims(tmp_path: Path) -> None:
    s = for_preset("smoke", 0)
    result = run(EXPERIMENT, s.preset, tmp_path)
    assert [claim.holds for claim in result.claims] == [None, None]
    areas = {row.quantity: row.ours for row in result.rows if row.case == "torch nearest, ratio 4"}
    assert areas["AUC, resizer unknown"] == 1
    assert areas["sizes named rightly"] == 1
    scores = torch.zeros(99, dtype=torch.float64)
    blind = {
        "reference": Kept({}, {"scores": scores}),
        "clean": Kept({}, {"as they are": scores[:4]}),
        part_name("torch nearest", 4): Kept(
            {"images": 4},
            {
                "unknown": scores[:4],
                "clean baselines": torch.zeros(4, 3),
                "baselines": torch.ones(4, 3),
            },
        ),
    }
    assert [claim.holds for claim in EXPERIMENT.claims(replace(s, preset="cpu"), blind)] == [False, False]
