"""lfp-wide: what a case measures, and verdicts from cosines and agreements made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from blindspace.experiments.lfp_wide.measure import _digits, _learnt, _shifted_gauss, parts
from blindspace.experiments.lfp_wide.report import balanced, claims, draw, imbalance, rows, verdicts
from blindspace.experiments.lfp_wide.settings import (
    ALONE,
    FEW_IMAGES,
    IMAGES,
    LEARNT,
    ON,
    SAMPLES_ON,
    TIME,
    Case,
    Taught,
    WideSettings,
    for_preset,
)
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked
from blindspace.learning.wide import WideNetwork

S = for_preset("cpu", 0)


def made(cosines: dict[str, float], agreements: dict[str, float]) -> Parts:
    """Parts with given cosines by case, 0.95 where none is given, and agreements by case and by what is taught."""
    done = {}
    for case in S.cases:
        noise = 0.01 * torch.randn(case.seeds, generator=torch.Generator().manual_seed(0))
        growing = torch.linspace(1, 0.5, len(case.times)).flip(0) * cosines.get(case.name, 0.95)
        arrays = {"size of the cosine": growing + noise[:, None]}
        for taught in case.taught:
            null = taught.noise or not taught.eps
            given = agreements.get(f"{case.name}/{taught.name}", agreements.get(case.name, 0.5 if null else 0.95))
            value = torch.full((case.seeds,), given)
            if case.name == LEARNT["identity"] and not null:
                value += 0.03 - imbalance(S, case.name)
            arrays[f"agreement/{taught.name}"] = value + (20 if null else 1) * noise
        done[case.name] = Kept({}, arrays)
    return done


def answers(cosines: dict[str, float], agreements: dict[str, float]) -> dict[str, str | None]:
    return {each.question: each.answer for each in checked("lfp-wide", verdicts(S, made(cosines, agreements)))}


def test_verdicts() -> None:
    assert answers({}, {}) == {"wide": "holds", "gradients": "holds", "losses": "holds"}
    weak = {f"{SAMPLES_ON}/{Taught(0.22, ON).name}": 0.7}
    assert answers({}, weak)["wide"] == "depends"
    none = dict.fromkeys((*LEARNT.values(), SAMPLES_ON, IMAGES, FEW_IMAGES), 0.7)
    assert answers({TIME["identity"]: 0.5, IMAGES: 0.5}, none)["wide"] == "does not hold"
    crooked = {TIME["exponential"]: 0.5}
    assert answers(crooked, {}) == {"wide": "holds", "gradients": "holds", "losses": "depends"}
    assert answers({}, {LEARNT["logistic"]: 0.6})["losses"] == "depends"
    assert answers({IMAGES: 0.5}, {})["gradients"] == "does not hold"


def test_rows_and_claims(tmp_path: Path) -> None:
    done = made({}, {})
    found = rows(S, done)
    assert len({(row.case, row.quantity) for row in found}) == len(found)
    by_name = {row.case: row for row in found if "agreement" in row.quantity}
    noise = next(row for case, row in by_name.items() if "noise of norm 0.01" in case)
    assert noise.control
    assert noise.interval
    assert noise.interval[1] - noise.interval[0] > 0.3  # of single seeds, not of the mean
    assert next(row for case, row in by_name.items() if case.endswith("ε 0.006 alone")).reference == 0.95
    published = [row.reference for row in found if "cosine" in row.quantity and row.reference is not None]
    assert published == [0.07, 0.5, 0.83, 0.98, 0.56, 0.86, 0.95]
    assert [claim.holds for claim in claims(S, done)] == [True] * 7
    lucky = balanced(S, done, LEARNT["identity"], Taught(0.006))
    assert lucky.ours is not None
    assert lucky.ours > float(done[LEARNT["identity"]].arrays[f"agreement/{Taught(0.006).name}"].mean())
    no_better = {f"{FEW_IMAGES}/{Taught(0.14).name}": 0.5}
    assert [claim.holds for claim in claims(S, made({}, no_better))][5] is False
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "wide.png").stat().st_size < 500_000


@pytest.mark.parametrize("base", [ALONE, ON])
def test_what_the_second_network_is_taught(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("some", samples=10, dim=6, width=8, times=(1,))
    data = _shifted_gauss(S, case, 0)
    first = WideNetwork.random(6, 8, torch.Generator().manual_seed(0))
    seen: dict[str, Any] = {}

    def trained(self: WideNetwork, x: torch.Tensor, y: torch.Tensor, *_: object) -> WideNetwork:
        seen.update(x=x, y=y, start=self)
        return self

    monkeypatch.setattr(WideNetwork, "trained", trained)
    for noise in (False, True):
        _learnt(S, case, Taught(0.3, base, noise), 0, first, data)
        added = seen["x"] - data.x if base == ON else seen["x"]
        torch.testing.assert_close(added.norm(dim=1), torch.full((10,), 0.3))
        along = (added * first.gradient(data.x)).sum(1) * seen["y"]
        assert bool((along > 0).all()) is not noise
        assert not torch.equal(seen["start"].readout, first.readout)


def test_data() -> None:
    data = _shifted_gauss(S, Case("some", samples=2000, dim=6), 0)
    torch.testing.assert_close((data.x * data.y[:, None]).mean(0), torch.full((6,), 0.3), atol=0.1, rtol=0)
    assert float(data.y.sum()) == 0
    digits = _digits(for_preset("smoke", 0))
    assert digits.x.shape[1] == 784
    assert set(digits.y.tolist()) == {-1.0, 1.0}


def test_a_part_is_what_a_user_would_compute() -> None:
    case = Case("some", samples=30, dim=6, width=200, rate=1.0, times=(5, 50), taught=(Taught(0.1),), seeds=2)
    s = WideSettings("smoke", 0, (case,), points=10, tests=40)
    (part,) = parts(s)
    kept = part.run(lambda *_: None)
    assert kept.arrays["size of the cosine"].shape == (2, 2)
    assert float(kept.arrays["cosine"][:, 1].min()) > 0.8
    assert float(kept.arrays["accuracy"].min()) > 0.7
    again = parts(replace(s, seed=0))[0].run(lambda *_: None)
    assert all(torch.equal(kept.arrays[name], again.arrays[name]) for name in kept.arrays)
