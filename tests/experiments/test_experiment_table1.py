"""Table 1: rows and claims for given values, and measurements on a small layer compared with formulas."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.table1 import EXPERIMENT
from blindspace.experiments.table1.measure import _rmse
from blindspace.experiments.table1.settings import EPSILON, KINDS, PAPER, Table1
from figures import drawn

S = Table1("cpu")
OTHERS = {"one ulp": 1e-15, "shuffled": 0.1, "random subspace": 0.1}
UNMODIFIED = {
    "least harmful": 1e-4,
    "Gaussian, unmodified network": 0.1,
    "Gaussian, equal ‖δ‖₂": 1e-2,
    "Gaussian, equal ‖δ‖∞": 5e-2,
    "least harmful, equal ‖δ‖∞": 2e-4,
}


def made(**changed: Tensor) -> Parts:
    """Parts in which every kind has one value, the same for both images."""
    scale = torch.tensor([0.9, 1.1], dtype=torch.float64)
    sizes = torch.tensor(S.multiples, dtype=torch.float64)[:, None]
    kinds = ("Gaussian", "adversarial", "harmless")
    paper = {kind: 0.9 * torch.tensor(PAPER[kind], dtype=torch.float64)[:, None] * scale for kind in kinds}
    flat = {kind: value * sizes * scale for kind, value in OTHERS.items()}
    unmodified = {kind: value * sizes * scale for kind, value in UNMODIFIED.items()}
    return {
        "harmless": Kept({}, {**paper, **flat, **changed}),
        "least-harmful": Kept({}, {**unmodified, **changed}),
    }


def test_rows() -> None:
    rows = EXPERIMENT.rows(S, made())
    assert len(rows) == len(KINDS) * len(S.multiples)
    assert sum(not row.control for row in rows) == 24  # the paper's table
    harmless = [row for row in rows if row.case.startswith("harmless")]
    assert [row.reference for row in harmless] == list(PAPER["harmless"])
    assert [row.difference for row in harmless] == pytest.approx([-0.1 * value for value in PAPER["harmless"]])
    assert all(row.interval is not None for row in rows)


@pytest.mark.parametrize(
    ("kind", "factor", "holds"),
    [
        ("", 1.0, (True, True)),
        ("harmless", 1.2, (False, True)),
        ("harmless", 0.5, (True, True)),
        ("least harmful", 3.0, (True, False)),
        ("Gaussian, unmodified network", 0.5, (True, False)),
    ],
)
def test_claims(kind: str, factor: float, holds: tuple[bool, bool]) -> None:
    parts = made()
    changed = {}
    for part in parts.values():
        if kind in part.arrays:
            changed[kind] = part.arrays[kind] * factor
    assert tuple(claim.holds for claim in EXPERIMENT.claims(S, made(**changed))) == holds


def test_a_small_preset_does_not_judge_the_ratio() -> None:
    assert EXPERIMENT.claims(Table1("smoke"), made())[1].holds is None


def test_picture(tmp_path: Path) -> None:
    with drawn() as pictures:
        EXPERIMENT.draw(S, made(), tmp_path)
    pictures.check("table1.png")
    assert set(PAPER) <= pictures.texts("table1.png")


def test_rmse_of_a_linear_network_by_hand() -> None:
    """(1/√n) ‖W δ ε m‖, section 3.3."""
    layer = nn.Linear(6, 4).double()
    network = bs.load(layer, (6,))
    x, delta = torch.rand(3, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    found = _rmse(network, x, delta, network.outputs(x), Table1("smoke", multiples=(1, 4)))
    change = EPSILON * delta @ layer.weight.detach().T
    expected = change.norm(dim=1) / 2
    assert torch.allclose(found, torch.stack([expected, 4 * expected]))
