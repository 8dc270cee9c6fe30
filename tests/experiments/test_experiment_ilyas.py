"""dmm-ilyas: parts of perturbations at equal norm, students, and verdicts from accuracies made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blindspace.data import samples
from blindspace.experiments.common.image_manifolds import autoencoder
from blindspace.experiments.common.perturbation_parts import OFF, ON
from blindspace.experiments.dmm_ilyas.found import found
from blindspace.experiments.dmm_ilyas.measure import _parts_of, parts
from blindspace.experiments.dmm_ilyas.report import claims, draw, rows, verdicts
from blindspace.experiments.dmm_ilyas.settings import (
    ANOTHER,
    CELLS,
    CLEAN,
    MEASURED,
    NONE,
    PCA,
    RANDOM,
    WHOLE,
    for_preset,
    groups,
)
from blindspace.experiments.parts import Kept, Parts, Settings
from blindspace.experiments.verdicts import checked

S = replace(for_preset("cpu", 0), makers=(("mnist", "mlp"), ("mnist", "convnet")))


def made(accuracies: dict[str, float], norm: float = 0.5) -> Parts:
    """Parts with given accuracies of students, 0.3 where none is given, and norms of N2 relative to those of N1."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        right = {cell: round(1000 * accuracies.get(cell, 0.3)) + case.seed for cell in ("N1", *CELLS)}
        arrays = {"share of the perturbation": torch.linspace(0.1, 0.3, 50)}
        for cell in ("N1", *MEASURED):
            arrays[f"{cell}/norm"] = torch.linspace(0.9, 1.1, 50).double() * (1 if cell == "N1" else norm)
            arrays[f"{cell}/share"] = torch.linspace(0.1, 0.2, 50).double()
        values = {"network": {}, "success": 0.8, "right": right, "tests": 1000, "chance": 16 / 784}
        done[case.part] = Kept(values, arrays)
    return done


def test_parts_have_equal_norms_and_lie_where_they_should() -> None:
    s = for_preset("smoke", 0)
    case = groups(s)[0][0]
    manifold = autoencoder("mnist", Settings("smoke"))
    x = samples("mnist").tensor()[:9]
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    added, share = _parts_of(s, case, d, x, manifold)
    assert set(added) == {ON, OFF, ANOTHER, PCA, RANDOM}
    for part in added.values():
        torch.testing.assert_close(part.flatten(1).norm(dim=1), d.flatten(1).norm(dim=1))
    tangent = manifold.tangent(x)
    torch.testing.assert_close(share, tangent.energy(d))
    torch.testing.assert_close(tangent.energy(added[ON]), torch.ones(9).double())
    torch.testing.assert_close(tangent.energy(added[OFF]), torch.zeros(9).double(), atol=1e-12, rtol=0)
    whole = added[ON] * share.sqrt().view(-1, 1, 1, 1) + added[OFF] * (1 - share).sqrt().view(-1, 1, 1, 1)
    torch.testing.assert_close(whole, d)
    elsewhere = tangent.at(torch.arange(9).roll(1))
    torch.testing.assert_close(elsewhere.energy(added[ANOTHER]), torch.ones(9).double())


def test_verdicts() -> None:
    def answers(accuracies: dict[str, float], norm: float = 0.5) -> dict[str, str | None]:
        return {v.question: v.answer for v in checked("dmm-ilyas", verdicts(S, made(accuracies, norm)))}

    assert answers({"N1": 0.95, WHOLE: 0.7, OFF: 0.6, ON: 0.3}) == {"ilyas": "holds", "ilyas-better": "does not hold"}
    assert answers({"N1": 0.95, WHOLE: 0.7, OFF: 0.3, ON: 0.6})["ilyas"] == "does not hold"
    assert answers({"N1": 0.95, WHOLE: 0.4, OFF: 0.3, ON: 0.1})["ilyas"] == "does not hold"
    assert answers({"N1": 0.6, WHOLE: 0.7}, 2.0)["ilyas-better"] == "holds"


def test_claims_and_rows(tmp_path: Path) -> None:
    done = made({"N1": 0.95, WHOLE: 0.7, OFF: 0.6, ON: 0.3, RANDOM: 0.3, NONE: 0.1, CLEAN: 0.9})
    assert [claim.holds for claim in claims(S, done)] == [True, True, False, True, False]
    by_name = {(row.case, row.quantity): row for row in rows(S, done)}
    assert by_name[f"MNIST ConvNet, N2 of {WHOLE}", "accuracy on clean test images"].reference == 0.68
    assert by_name[f"MNIST MLP, N2 of {WHOLE}", "smallest norm, N2 / N1"].ours == pytest.approx(0.5)
    assert found(S, done)[0].difference(OFF, ON).value == pytest.approx(0.3)
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "ilyas.png").stat().st_size < 500_000


def test_smoke_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    s = replace(for_preset("smoke", 0), images=40, tests=40)
    (part,) = parts(s)
    kept = part.run(lambda *_: None)
    assert set(kept.values["right"]) == {"N1", *CELLS}
    assert all(0 <= right <= 40 for right in kept.values["right"].values())
    assert kept.values["right"]["N1"] > 30
    assert kept.arrays["share of the perturbation"].shape == (40,)
