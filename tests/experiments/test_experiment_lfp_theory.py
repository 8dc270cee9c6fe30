"""lfp-theory: what one case measures, and verdicts from figures made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from blindspace.experiments.common.binary_samples import GAUSSIAN, MNIST, ORTHOGONAL, UNIFORM, binary
from blindspace.experiments.lfp_theory.found import expected
from blindspace.experiments.lfp_theory.measure import parts
from blindspace.experiments.lfp_theory.report import claims, draw, rows, verdicts
from blindspace.experiments.lfp_theory.settings import KINDS, NAMED, Case, for_preset
from blindspace.experiments.parts import Kept, Parts, Settings
from blindspace.experiments.verdicts import checked

S = replace(
    for_preset("cpu", 0), seeds=2, grid_seeds=2, counts=(10,), dims=(100, 1000), slopes=(0.1, 0.9), ratios=(0.5, 8.0)
)


def made(predicted: float = 1.0, first: float = 0.97, exact: float = 1.0, condition: float = 0.01) -> Parts:
    """Parts with given agreements: with the prediction, with the first network for the largest ρ, in exact cells."""
    points = 1000
    beside = {"cosine": 0.999999, "agree": points, "points": points, "margins": 1.0, "multiplier": None}
    about = {
        "solved": True,
        "condition": condition,
        "exact": True,
        "pattern": 1.0,
        "residual": 0.0,
        "method": "linear solve",
        "within exact": True,
        "bounds": [0.1, 1.0],
        "multipliers": [0.2, 0.4],
    }
    again = [
        {
            "ratio": ratio,
            "wrong": wrong,
            "exact": True,
            "condition": 0.1,
            "predicted": round(predicted * points),
            "first": round((first if ratio > 1 else 0.6) * points),
            "dominated": 500,
            "agree in it": 500,
            "guaranteed": 10,
            "natural": 1.0,
        }
        for ratio in S.ratios
        for wrong in (False, True)
    ]
    small, default = beside | {"within": True}, beside | {"within": True, "agree": points - 2}
    named = about | {"small": small, "default": default, "again": again}
    done = {f"named-{i}-{seed}": Kept(dict(named)) for i in range(len(NAMED)) for seed in range(2)}
    for i, kind in enumerate(KINDS):
        for seed in range(2):
            cells = [
                about
                | beside
                | {"exact": case.slope > 0.5, "agree": round(points * (exact if case.slope > 0.5 else 0.9))}
                for case in S.grid(kind)
            ]
            done[f"grid-{i}-{seed}"] = Kept({"cells": cells})
    return done


def answers(done: Parts) -> dict[str, str | None]:
    return {v.question: v.answer for v in checked("lfp-theory", verdicts(S, done))}


def test_verdicts() -> None:
    assert answers(made()) == {"boundary-again": "depends", "tails": "holds"}
    assert answers(made(predicted=0.9))["boundary-again"] == "does not hold"
    assert answers(made(first=0.8))["boundary-again"] == "does not hold"
    assert answers(made(exact=0.97))["tails"] == "does not hold"
    assert answers(made(condition=0.5))["tails"] == "does not hold"


def test_rows_and_claims(tmp_path: Path) -> None:
    done = made()
    found = {(row.case, row.quantity): row for row in rows(S, done)}
    assert len(found) == len(rows(S, done))
    row = found["grid, uniform, γ 0.9", "agreement of programme and descent in such cases"]
    assert row.ours == 1.0
    assert row.interval is not None
    assert 0.99 < row.interval[0] < 1
    assert all(claim.holds for claim in claims(S, done))
    draw(S, done, tmp_path)
    assert (tmp_path / "theory.png").is_file()


def test_a_small_case_is_as_the_theory_says() -> None:
    s = replace(
        for_preset("smoke", 0), seeds=1, named=(Case(UNIFORM, 4, 300, 0.9),), ratios=(6.0,), long=3000, steps=1500
    )
    values = parts(s)[0].run(lambda *_: None).values
    assert values["exact"]
    assert values["small"]["cosine"] > 0.99999
    assert values["small"]["agree"] == values["small"]["points"] == 100
    for run in values["again"]:
        assert run["exact"]
        assert run["predicted"] >= 99
        assert run["agree in it"] == run["dominated"] > 50


def test_expected_agreement_is_that_of_random_directions() -> None:
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 400_000, generator=draw)
    for ratio in (0.5, 3.0):
        agree = float(((a + ratio * b).sign() == b.sign()).double().mean())
        assert abs(agree - expected(ratio)) < 0.005


def test_samples_of_each_kind() -> None:
    draw = torch.Generator().manual_seed(0)
    found = binary(ORTHOGONAL, 5, 12, 30, draw, Settings("smoke"))
    products = found.x @ found.x.T
    torch.testing.assert_close(products, products.diagonal().diag())
    assert 1 <= float(products.diagonal().min()) <= float(products.diagonal().max()) <= 4
    assert (
        binary(UNIFORM, 5, 12, 30, draw, Settings("smoke")).x.abs().max()
        <= 1
        < binary(GAUSSIAN, 5, 12, 30, draw, Settings("smoke")).x.abs().max()
    )
    digits = binary(MNIST.format(1, 2), 8, 0, 20, draw, Settings("smoke"))
    assert digits.x.shape == (8, 784)
    assert digits.y.tolist() == [1.0] * 4 + [-1.0] * 4
    torch.testing.assert_close(digits.x.mean(0), torch.zeros(784).double(), atol=0.35, rtol=0)
