"""lfp-boundary: correlated points, areas under the curve, and verdicts from figures made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from blindspace.experiments.lfp_boundary.measure import _near, area, parts
from blindspace.experiments.lfp_boundary.report import claims, rows, verdicts
from blindspace.experiments.lfp_boundary.settings import NATURAL, for_preset
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked

S = replace(for_preset("cpu", 0), seeds=3)


def made(small: float, large: float, near: float = 0.9, by: float = 0.55, more: float | None = None) -> Parts:
    """Parts with given shares of exceptions, from the smallest to the largest setting, and near a sample."""
    done = {}
    ends = {setting.name: large for below in ("noise", NATURAL) for setting in S.larger(below)[-1:]}
    ends[S.more[-1].name] = large if more is None else more
    for seed in range(S.seeds):
        settings: dict[str, Any] = {}
        for setting in S.all:
            share = ends.get(setting.name, small) + 0.001 * seed
            settings[setting.name] = {
                "exact": True,
                "agree": round((1 - share) * S.points),
                "dominated": 1000,
                "agree in it": 1000,
                "by correlation": by + 0.001 * seed,
                "by distance": 0.9,
                "correlated": [1 - share] * (len(S.correlations) - 1) + [1 - near],
            }
        done[f"draw-{seed}"] = Kept({"settings": settings, "exceptions": 100, "mended": [80 + seed, 90]})
    return done


@pytest.mark.parametrize(
    ("done", "correlation", "vanish"),
    [
        (made(0.3, 0.03), "depends", "holds"),
        (made(0.04, 0.02, by=0.8), "holds", "holds"),
        (made(0.3, 0.2), "does not hold", "holds"),
        (made(0.3, 0.03, near=0.2), "does not hold", "holds"),
        (made(0.3, 0.03, more=0.3), "depends", "depends"),
        (made(0.3, 0.3), "does not hold", "does not hold"),
    ],
)
def test_verdicts(done: Parts, correlation: str, vanish: str) -> None:
    found = {v.question: v.answer for v in checked("lfp-boundary", verdicts(S, done))}
    assert found == {"except-correlated": correlation, "exceptions": vanish}


def test_rows_and_claims() -> None:
    done = made(0.3, 0.03)
    found = rows(S, done)
    assert len({(row.case, row.quantity) for row in found}) == len(found)
    assert [claim.holds for claim in claims(S, done)] == [True, True, True]


def test_points_have_the_correlation_that_is_asked_for() -> None:
    draw = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 30, dtype=torch.float64, generator=draw)
    for correlation in (0.0, 0.3, 1.0):
        points = _near(correlation, sample, 20, draw)
        torch.testing.assert_close(points.norm(dim=1), torch.ones(20).double())
        torch.testing.assert_close(points @ sample[0] / sample.norm(), torch.full((20,), correlation).double())


def test_the_area_under_the_curve_by_pairs() -> None:
    draw = torch.Generator().manual_seed(0)
    score, positive = torch.randn(40, generator=draw), torch.rand(40, generator=draw) < 0.3
    pairs = [float(a > b) for a in score[positive] for b in score[~positive]]
    assert area(score, positive) == pytest.approx(sum(pairs) / len(pairs))
    assert area(score, torch.ones(40) > 0) is None


def test_a_draw_agrees_in_the_predicted_region() -> None:
    s = replace(for_preset("smoke", 0), dim=300)
    values = parts(s)[0].run(lambda *_: None).values
    assert set(values["settings"]) == {setting.name for setting in s.all}
    assert all(each["agree in it"] == each["dominated"] > 0 for each in values["settings"].values())
    first, last = (
        values["settings"][setting.name]["agree"] for setting in (s.larger(NATURAL)[0], s.larger(NATURAL)[-1])
    )
    assert first < last
