"""dmm-depth: figures from finished parts made by hand, and a smoke run whose parts are measured right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from blindspace.attacks import minimal_norm
from blindspace.data import samples
from blindspace.experiments.common.classifiers import classifier
from blindspace.experiments.common.gradients import slopes
from blindspace.experiments.common.image_manifolds import autoencoder
from blindspace.experiments.dmm_depth import EXPERIMENT
from blindspace.experiments.dmm_depth.answers import verdicts
from blindspace.experiments.dmm_depth.found import found
from blindspace.experiments.dmm_depth.measure import parts
from blindspace.experiments.dmm_depth.report import claims, draw, rows
from blindspace.experiments.dmm_depth.settings import (
    ADVERSARIAL,
    ANOTHER,
    RANDOM,
    SPACES,
    STANDARD,
    TANGENT,
    DepthSettings,
    for_preset,
    groups,
)
from blindspace.experiments.parts import Kept, Parts, Settings
from blindspace.experiments.verdicts import checked

S = replace(for_preset("cpu", 0), pairs=(("mnist", "mlp"), ("mnist", "convnet")), seeds=3)


def made(**other: float) -> Parts:
    """Parts as the model predicts: norms off grow 4 times, on 2 times; the share of gradients grows from 0.1 to 0.4."""
    given = {
        f"{STANDARD}/plain": 1.0,
        f"{STANDARD}/on": 3.0,
        f"{STANDARD}/off": 1.1,
        f"{ADVERSARIAL}/plain": 2.0,
        f"{ADVERSARIAL}/on": 6.0,
        f"{ADVERSARIAL}/off": 4.4,
        f"{STANDARD}/{TANGENT}/share": 0.1,
        f"{STANDARD}/{ANOTHER}/share": 0.1,
        f"{ADVERSARIAL}/{TANGENT}/share": 0.4,
        f"{ADVERSARIAL}/{ANOTHER}/share": 0.1,
        f"{STANDARD}/share of PGD": 0.2,
        f"{ADVERSARIAL}/share of PGD": 0.5,
        "cost": 0.02,
        "gap": 0.0,
        **other,
    }
    done = {}
    for index, case in enumerate(case for group in groups(S) for case in group):
        noise = torch.Generator().manual_seed(index)
        arrays: dict[str, Any] = {}
        for way in (STANDARD, ADVERSARIAL):
            spread = 1 + 0.02 * torch.randn(40, generator=noise, dtype=torch.float64)
            arrays[f"{way}/plain"] = given[f"{way}/plain"] * spread
            arrays[f"{way}/share of PGD"] = given[f"{way}/share of PGD"] * spread
            for space in SPACES:
                draws = 4 if space == RANDOM else 1
                share = given.get(f"{way}/{space}/share", 0.02)
                arrays[f"{way}/{space}/share"] = (share * spread).expand(draws, -1)
                for side in ("on", "off"):
                    arrays[f"{way}/{space}/{side}"] = (given[f"{way}/{side}"] * spread).expand(draws, -1)
        wobble = 0.001 * index
        values = {
            "network": {},
            "images": 40,
            "of": 50,
            "n": 784,
            "k": 16,
            "eps": 1.5,
            "residual": 1e-12,
            STANDARD: {"test": 0.95 + wobble, "training": 0.97 + wobble, "attacked": 0.2},
            ADVERSARIAL: {
                "test": 0.95 - given["cost"] + wobble / 2,
                "training": 0.97 - given["cost"] + given["gap"] + wobble / 2,
                "attacked": 0.7,
            },
        }
        done[case.part] = Kept(values, arrays)
    return done


def test_figures() -> None:
    first = found(S, made())[0]
    assert first.deepening().value == pytest.approx(2, rel=0.03)
    assert first.growth(f"{TANGENT}/off").value == pytest.approx(4, rel=0.03)
    assert first.local(ADVERSARIAL).value == pytest.approx(4, rel=0.03)
    assert first.share_over_random(STANDARD, TANGENT).value == pytest.approx(5, rel=0.03)
    assert first.difference("test").value == pytest.approx(-0.02, abs=0.002)
    assert first.widening().value == pytest.approx(0, abs=1e-12)
    assert first.chance == pytest.approx(16 / 784)


def test_what_holds_and_what_fails() -> None:
    answers = {v.question: v.answer for v in checked("dmm-depth", verdicts(S, made()))}
    assert answers == {
        "trade-off": "holds",
        "deeper-dimples": "holds",
        "away-from-images": "does not hold",
        "local-after-training": "holds",
    }
    assert all(claim.holds for claim in claims(S, made()))
    flat = made(**{f"{ADVERSARIAL}/off": 2.2, f"{ADVERSARIAL}/{TANGENT}/share": 0.1, "cost": -0.02})
    assert {v.question: v.answer for v in verdicts(S, flat)} == {
        "trade-off": "does not hold",
        "deeper-dimples": "does not hold",
        "away-from-images": "does not hold",
        "local-after-training": "does not hold",
    }
    assert [claim.holds for claim in claims(S, flat)] == [False, False, False, False, True]
    away = made(**{f"{ADVERSARIAL}/share of PGD": 0.1, "gap": 0.05})
    assert {v.question: v.answer for v in verdicts(S, away)}["away-from-images"] == "holds"


def test_rows_state_the_earlier_figures_where_there_are_some() -> None:
    found_rows = rows(S, made())
    earlier = {(row.case, row.quantity): row for row in found_rows if row.reference is not None}
    assert earlier[f"MNIST ConvNet, {ADVERSARIAL}, {TANGENT}", "share of the gradient"].reference == 0.485
    assert not [case for case, _ in earlier if "MLP" in case]
    assert all(row.reason for row in earlier.values())
    assert all(row.interval for row in found_rows)
    assert {row.control for row in found_rows if RANDOM in row.case} == {True}


def test_picture(tmp_path: Path) -> None:
    draw(S, made(), tmp_path)
    assert 5_000 < (tmp_path / "depth.png").stat().st_size < 500_000


def test_part_measures_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    s: DepthSettings = replace(for_preset("smoke", 0), count=6)
    (part,) = parts(s)
    kept = part.run(lambda *_: None)
    networks = {
        STANDARD: classifier("mlp", "mnist", 0, Settings("smoke"), same_budget=True),
        ADVERSARIAL: classifier("mlp", "mnist", 0, Settings("smoke"), adversarial=True),
    }
    some = samples("mnist").take(slice(6))
    x, y = some.tensor(), some.targets()
    right = torch.stack([network.labels(x) == y for network in networks.values()]).all(0)
    x, y = x[right], y[right]
    tangent = autoencoder("mnist", Settings("smoke")).tangent(x)
    bases = tangent.basis().flatten(2)
    for way, network in networks.items():
        gradient = slopes(network, x, y).flatten(1)
        inside = torch.einsum("bkn,bn->bk", bases, gradient)
        expected = inside.square().sum(1) / gradient.square().sum(1)
        torch.testing.assert_close(kept.arrays[f"{way}/{TANGENT}/share"][0], expected)
        off = minimal_norm(network, x, y, tangent.complement, boxed=False)
        torch.testing.assert_close(kept.arrays[f"{way}/{TANGENT}/off"][0], off.norms)
        assert kept.values[way]["test"] == network.card["test_accuracy"]
    assert kept.values["residual"] < 1e-9
    assert EXPERIMENT.name == "dmm-depth"
