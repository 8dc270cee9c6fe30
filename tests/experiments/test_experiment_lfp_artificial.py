"""lfp-artificial: perturbations of equal length, and verdicts from accuracies made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blindspace.experiments.lfp_artificial.measure import along, attacked, parts
from blindspace.experiments.lfp_artificial.report import NAMES, claims, draw, rows, verdicts
from blindspace.experiments.lfp_artificial.settings import GRADIENT, NORMS, PUBLISHED, SWEEPS, Point, for_preset
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked
from blindspace.learning.two_layer import TwoLayer

S = replace(for_preset("cpu", 0), seeds=3, sweep_seeds=3)


def made(low: float = 0.6, fresh: float = 0.7, **cells: float) -> Parts:
    """Parts with given accuracies at the base point, 0.9 elsewhere; along sweeps they rise from ``low`` to 1."""
    done = {}
    for seed in range(S.seeds):
        base = {
            cell: {"natural": cells.get(cell.replace(" ", "_"), 0.9) + 0.01 * (seed - 1), "fresh": 0.8 + 0.01 * seed}
            for cell in NAMES
        }
        base["wide, none"] = {"natural": 0.5 + 0.01 * (seed - 1), "fresh": 0.5}
        sweeps = {}
        for of in SWEEPS:
            places = range(len(S.sweep(of)))
            rising = [
                low + (0.99 - low) * (i if of != "N" else len(places) - 1 - i) / (len(places) - 1) for i in places
            ]
            sweeps[of] = [
                {
                    "first": 1.0,
                    "exact": None,
                    "none": {"natural": 0.5 + 0.01 * (seed - 1), "fresh": 0.5},
                    **{norm: {"natural": value + 0.003 * (seed - 1), "fresh": fresh} for norm in NORMS},
                }
                for value in rising
            ]
        done[f"base-{seed}"], done[f"sweeps-{seed}"] = Kept({**base}), Kept({"sweeps": sweeps})
    return done


def answers(done: Parts) -> dict[str, str | None]:
    return {v.question: v.answer for v in checked("lfp-artificial", verdicts(S, done))}


def test_verdicts() -> None:
    good = {"wide,_along_q": 1.0, "wide,_authors-l2": 1.0, "natural": 0.7}
    found = answers(made(**good))
    assert found == {
        "noise-suffices": "holds",
        "noise-better": "depends",
        "attacks": "holds",
        "low-dimension": "does not hold",
    }
    assert answers(made())["noise-suffices"] == "does not hold"
    assert answers(made(**good, **{"small,_l0": 0.5}))["attacks"] == "depends"
    assert answers(made(low=0.5))["low-dimension"] == "depends"  # on fresh points more is found again than by chance
    assert answers(made(low=0.5, fresh=0.5))["low-dimension"] == "holds"


def test_rows_claims_and_picture(tmp_path: Path) -> None:
    done = made(**{"wide,_along_q": 1.0})
    found = {(row.case, row.quantity): row for row in rows(S, done)}
    assert len(found) == len(rows(S, done))
    published = [row for row in found.values() if row.reference is not None and "ten times" in row.reason]
    assert len(published) == sum(map(len, PUBLISHED.values()))
    assert all(claim.holds for claim in claims(S, done))
    assert not all(claim.holds for claim in claims(S, made(low=0.99)))
    draw(S, done, tmp_path)
    assert (tmp_path / "artificial.png").is_file()


def test_the_paper_s_radius() -> None:
    assert Point(10_000, 1000, 10_000).eps == pytest.approx(0.78, abs=0.001)
    assert Point(1000, 100, 1000, 0.5).eps == pytest.approx(0.39, abs=0.001)


def test_perturbations_have_one_length_and_attacks_stay_in_range() -> None:
    draw = torch.Generator().manual_seed(0)
    s = for_preset("smoke", 0)
    network = TwoLayer.random(8, 60, 0.3, draw)
    targets = torch.tensor([1.0, -1.0, 1.0])
    for norm in NORMS:
        found = along(norm, network.direction, targets, 0.7, draw)
        torch.testing.assert_close(found.norm(dim=1), torch.full((3,), 0.7).double())
    x = 2 * torch.rand(3, 60, generator=draw, dtype=torch.float64) - 1
    before = network(x) * targets
    for attack in GRADIENT:
        added = attacked(s, network, x, targets, 0.7, attack)
        assert float((x + added).abs().max()) <= 1 + 1e-12
        assert bool((network(x + added) * targets > before).all())
        if attack.endswith("l2"):
            assert float(added.norm(dim=1).max()) <= 0.7 + 1e-9
        elif attack == "linf":
            assert float(added.abs().max()) <= 0.7 / 60**0.5 + 1e-9
        elif attack.endswith("l0"):
            assert int(added.count_nonzero(1).max()) <= 3


def test_perturbed_noise_teaches_where_noise_does_not() -> None:
    s = replace(for_preset("smoke", 0), base=Point(300, 20, 150), wide=20, width=20, steps=60)
    values = parts(s)[0].run(lambda *_: None).values
    assert set(values) == set(NAMES)
    assert values["wide, along q"]["natural"] > 0.9 > 0.8 > values["wide, none"]["natural"]
