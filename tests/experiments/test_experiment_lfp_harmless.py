"""lfp-harmless: first networks with blind fronts, sets of equal norm, and the verdict from accuracies made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blindspace.data import samples
from blindspace.experiments.common.blind_fronts import blind_network, untrained_behind
from blindspace.experiments.common.learnt import low
from blindspace.experiments.lfp_harmless.measure import _added, parts
from blindspace.experiments.lfp_harmless.report import claims, draw, pooled, rows, verdicts
from blindspace.experiments.lfp_harmless.settings import (
    ALONE,
    ATTACKS,
    CELLS,
    CONTROLS,
    FLIPPED,
    HARMLESS,
    LEARNERS,
    NONE,
    PATTERN,
    SEEN,
    STEP,
    UNTRAINED,
    WHOLE,
    BlindCase,
    cases,
    for_preset,
)
from blindspace.experiments.parts import Kept, Parts, Settings
from blindspace.experiments.verdicts import checked
from blindspace.networks import harmless

S = replace(for_preset("cpu", 0), learners=(("linear", (2, 4, 8)), ("mlp", (2, 4, 8)), ("convnet", (4,))))


def made(accuracies: dict[str, float], step: float = 1e-30, of: tuple[str, ...] = ("mnist", "fashion-mnist")) -> Parts:
    """Parts with given accuracies on some data sets, 0.05 where none is given."""
    done = {}
    for case in cases(S):
        students = {}
        for learner in S.learns(case):
            for cell in CELLS:
                accuracy = accuracies.get(cell, 0.05) if case.dataset in of else 0.05
                students[f"{learner}/{cell}"] = {"test": [0.5, accuracy + case.seed / 1000]}
        values = {
            "network": {},
            "accuracy": 0.9,
            "harmless": 0.75,
            "sets": {WHOLE: {"success": 0.9}},
            "shares": {STEP: step, **dict.fromkeys(ATTACKS, 0.2)},
            "moved": {"logits": 1e-14, "labels": 0.0},
            "students": students,
        }
        done[case.part] = Kept(values)
    return done


def test_first_networks_read_some_dimensions_of_every_patch() -> None:
    network = blind_network("mnist", 4, 0, Settings("smoke"))
    space = harmless(network)
    assert space.dim == 49 * 12
    digits = samples("mnist")
    assert float((network.labels(digits.tensor()) == digits.targets()).double().mean()) > 0.5
    state = torch.get_rng_state()
    other = untrained_behind(network, 1)
    assert torch.equal(state, torch.get_rng_state())
    assert harmless(other).energy(space.sample(3, torch.Generator().manual_seed(0))).min() > 1 - 1e-9
    x = digits.tensor()[:5]
    assert not torch.equal(other.outputs(x), network.outputs(x))
    assert torch.equal(other.outputs(x), untrained_behind(network, 1).outputs(x))


def test_what_is_added_has_equal_norms_and_lies_where_it_should() -> None:
    s, case = for_preset("smoke", 0), BlindCase("mnist", 4, 0)
    network = blind_network("mnist", 4, 0, Settings("smoke"))
    space = harmless(network)
    x = samples("mnist").tensor()[:12]
    targets = torch.arange(12) % 4
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    added = _added(s, case, network, space, x, targets, d)
    assert list(added) == list(CELLS)
    size = space.project(d).flatten(1).norm(dim=1)
    for cell in CELLS:
        expected = torch.zeros(12).double() if cell in (WHOLE, SEEN, NONE) else torch.ones(12).double()
        if cell != NONE:
            torch.testing.assert_close(added[cell].flatten(1).norm(dim=1), size)
        if cell != WHOLE:
            energy = space.energy(added[cell])
            torch.testing.assert_close(energy.nan_to_num(), expected, atol=1e-12, rtol=0)
    assert torch.equal(added[FLIPPED], -added[HARMLESS])
    unit = added[PATTERN] / added[PATTERN].flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(unit[0], unit[4])
    assert float((unit[0] * unit[1]).sum().abs()) < 0.5


def test_verdict() -> None:
    def answer(accuracies: dict[str, float], of: tuple[str, ...] = ("mnist", "fashion-mnist")) -> str | None:
        (verdict,) = checked("lfp-harmless", verdicts(S, made(accuracies, of=of)))
        return verdict.answer

    assert answer({HARMLESS: 0.3}) == "holds"
    assert answer({HARMLESS: 0.3}, ("mnist",)) == "depends"
    for control in CONTROLS:
        assert answer({HARMLESS: 0.3, control: 0.3}) == "does not hold"
    assert answer({ALONE: 0.3, FLIPPED: 0.3, WHOLE: 0.9}) == "does not hold"


def test_rows_claims_and_picture(tmp_path: Path) -> None:
    done = made({HARMLESS: 0.3, FLIPPED: 0.2, ALONE: 0.15, WHOLE: 0.5, SEEN: 0.5, UNTRAINED: 0.07})
    assert [claim.holds for claim in claims(S, done)] == [True] * 7
    assert not claims(S, made({}, step=1e-9))[0].holds
    by_name = {(row.case, row.quantity): row for row in rows(S, done)}
    row = by_name["MNIST, 2, 4, 8 of 16 kernels, MLP, x + h", "accuracy on clean test images"]
    assert row.ours == pytest.approx(0.301)
    assert row.reference == pytest.approx(0.615)
    assert by_name["MNIST, 4 of 16 kernels, ConvNet, x", "accuracy on clean test images"].control
    groups = pooled(S, done)
    assert [len(group.kept) for group in groups] == [9, 9, 3] * 2
    assert {group.case.kind for group in groups} == set(LEARNERS)
    nearest, of = groups[0].least_over_controls(HARMLESS)
    assert nearest == UNTRAINED
    assert low(of) == pytest.approx(0.23)
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "harmless.png").stat().st_size < 500_000


def test_smoke_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    s = replace(for_preset("smoke", 0), images=40, tests=40, learners=(("linear", (4,)),))
    (part,) = parts(s)
    kept = part.run(lambda *_: None)
    assert list(kept.values["students"]) == [f"linear/{cell}" for cell in CELLS]
    assert kept.values["shares"][STEP] < 1e-12 < min(kept.values["shares"][attack] for attack in ATTACKS)
    assert kept.values["moved"]["logits"] < 1e-9
    assert kept.values["moved"]["labels"] == 0
