"""dmm-onoff: parts made by hand that obey theory, and that break it; measurements against dense linear algebra."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import FileError
from blindspace.experiments.common.networks_of_others import resnet20_of_others
from blindspace.experiments.dmm_onoff import measure
from blindspace.experiments.dmm_onoff.answers import verdicts
from blindspace.experiments.dmm_onoff.found import Group, found
from blindspace.experiments.dmm_onoff.measure import Places
from blindspace.experiments.dmm_onoff.pictures import draw
from blindspace.experiments.dmm_onoff.predictions import ARCHITECTURE, BOTH, DATA, NEITHER, by_training, claims, sign
from blindspace.experiments.dmm_onoff.report import rows
from blindspace.experiments.dmm_onoff.settings import (
    ANOTHER,
    BOXED,
    FILE,
    PCA,
    RANDOM,
    RANDOM_100,
    TANGENT,
    TRAININGS,
    Case,
    OnOffSettings,
    for_preset,
    groups,
    spaces_of,
)
from blindspace.experiments.parts import Kept, Parts
from figures import drawn

S = OnOffSettings(
    "cpu",
    0,
    kinds=("mlp", "resnet20"),
    seeds=2,
    colour_seeds=2,
    adversarial=("mlp",),
    adversarial_seeds=2,
    draws=3,
    attacked_draws=2,
)
COUNT = 12


def shares(case: Case, space: str) -> float:
    """Shares of the gradient as they were measured before: the data decide, and training decides what is local."""
    k, n = (128, 3072) if case.dataset == "cifar10" else (100 if space == RANDOM_100 else 16, 784)
    if space in (RANDOM, RANDOM_100):
        return k / n
    if case.dataset == "cifar10" and not case.adversarial:
        return 0.2 * k / n
    if case.adversarial:
        return {TANGENT: 0.48, ANOTHER: 0.15}.get(space, 0.4)
    return {PCA: 0.55, TANGENT: 0.30, ANOTHER: 0.29}.get(space, 0.2)


def part(s: OnOffSettings, case: Case, **changed: float) -> Kept:
    """A part that obeys the laws; ``on`` or ``off`` multiply the norms of adversarially trained networks."""
    spread = torch.linspace(0.8, 1.2, COUNT, dtype=torch.float64)[None]
    arrays: dict[str, Tensor] = {"plain": spread}
    for space in spaces_of(s, case):
        draws = s.draws if space in (RANDOM, RANDOM_100) else 1
        share = shares(case, space)
        arrays[f"{space}/share"] = torch.full((draws, COUNT), share, dtype=torch.float64)
        arrays[f"{space}/share of the perturbation"] = arrays[f"{space}/share"]
        if not case.adversarial:
            arrays[f"{space}/initial share"] = torch.full((1, COUNT), 0.02, dtype=torch.float64)
        factor = changed if case.adversarial else {}
        arrays[f"{space}/on"] = spread.expand(draws, -1) / sqrt(share) * factor.get("on", 1)
        arrays[f"{space}/off"] = spread.expand(draws, -1) / sqrt(1 - share) * factor.get("off", 1)
    values: dict[str, Any] = {
        "network": {"test_accuracy": 0.6},
        "images": COUNT,
        "of": COUNT,
        "n": 3072 if case.dataset == "cifar10" else 784,
        "k": 128 if case.dataset == "cifar10" else 16,
    }
    if case.seed == 0 and not (case.adversarial or case.training):
        values["residual with the pixel range"] = 1e-11
        arrays["boxed/plain"] = spread[0]
        for space in BOXED:
            for way in ("on", "off"):
                arrays[f"boxed/{space}/{way}"] = torch.full((COUNT,), float("inf" if way == "on" else 1.1))
                arrays[f"boxed/{space}/{way} feasible"] = torch.full((COUNT,), float(way == "off"))
    return Kept(values, arrays)


def parts(s: OnOffSettings = S, **changed: float) -> Parts:
    return {case.part: part(s, case, **changed) for group in groups(s) for case in group}


BROKEN = parts(off=0.8)


def with_shares(shares: dict[str, float]) -> list[Group]:
    """The trainings of ResNet-20, with given shares over chance in the first principal components."""
    groups = [group for group in found(S, parts()) if group.case.kind == "resnet20" and group.case.dataset == "cifar10"]
    for group in groups:
        for kept in group.kept:
            kept.arrays[f"{PCA}/share"] = torch.full((1, COUNT), shares[group.case.training] * 128 / 3072)
    return groups


def test_what_more_training_does() -> None:
    assert by_training(with_shares(dict.fromkeys(("", *TRAININGS), 3))) == ""
    said = by_training(with_shares({"": 3, TRAININGS[0]: 2, TRAININGS[1]: 1.5, TRAININGS[2]: 0.5}))
    assert "training: 3.00 usually, test accuracy 60.0%; 2.00 translated, test" in said
    assert said.endswith("0.50 longer, translated, test accuracy 60.0%")


def holding(done: Parts, words: str, s: OnOffSettings = S) -> list[bool | None]:
    return [claim.holds for claim in claims(s, done) if words in claim.text]


def test_the_random_control_must_obey_theory() -> None:
    assert holding(BROKEN, "the random control obeys") == [True]
    wrong = dict(BROKEN)
    case = groups(S)[0][0]
    for each in groups(S)[0]:
        kept = part(S, each)
        kept.arrays[f"{RANDOM}/on"] *= 1.2
        wrong[each.part] = kept
    assert case.kind == "mlp"
    assert holding(wrong, "the random control obeys") == [False]
    assert holding(wrong, "and in the other networks") == [True]


def test_laws_are_obeyed_and_broken() -> None:
    assert holding(BROKEN, "standard networks obey") == [True]
    assert holding(BROKEN, "adversarially trained networks break") == [True]
    assert holding(parts(), "adversarially trained networks break") == [False]
    group = found(S, BROKEN)[0]
    assert group.law(TANGENT, "on").value == pytest.approx(0, abs=1e-12)
    assert group.law(TANGENT, "off").value == pytest.approx(0, abs=1e-12)
    broken = next(g for g in found(S, BROKEN) if g.case.adversarial)
    assert broken.law(TANGENT, "off").value == pytest.approx(-0.2)


def test_the_local_manifold() -> None:
    assert holding(BROKEN, "standard networks do not know") == [True]
    assert holding(BROKEN, "adversarially trained networks know") == [True]


@pytest.mark.parametrize(
    ("above", "cause"),
    [((1, 1, 0, 0), DATA), ((1, 0, 1, 0), ARCHITECTURE), ((1, 0, 0, 1), BOTH), ((1, 1, 1, 1), NEITHER)],
)
def test_the_two_by_two(above: tuple[int, ...], cause: str) -> None:
    s = replace(S, datasets=("mnist", "cifar10"), adversarial=())
    done = dict(parts(s))
    corners = [(d, k) for d in s.datasets for k in s.kinds]
    for (dataset, kind), more in zip(corners, above, strict=True):
        for group in groups(s):
            for case in group:
                if (case.dataset, case.kind) == (dataset, kind):
                    chance = done[case.part].values["k"] / done[case.part].values["n"]
                    done[case.part].arrays[f"{PCA}/share"].fill_((2 if more else 0.5) * chance)
    assert sign(s, found(s, done), PCA)[1] == cause
    assert (holding(done, f"is {cause}", s)[0]) is (cause in (DATA, ARCHITECTURE))


def test_rows_say_what_was_expected() -> None:
    made = {(row.case, row.quantity): row for row in rows(S, BROKEN)}
    row = made["MNIST MLP, first principal components", "‖P g‖/‖g‖"]
    assert row.ours == pytest.approx(sqrt(0.55))
    assert row.reference == 0.744
    assert row.control
    ratio = made["MNIST MLP, autoencoder tangent", "on / plain"]
    assert ratio.ours == pytest.approx(1 / sqrt(0.3))
    assert "+0.0%" in ratio.reason
    boxed = made["MNIST MLP, autoencoder tangent, within the pixel range", "on / plain"]
    assert boxed.ours == float("inf")
    assert "is {0}" in boxed.reason


def test_verdicts_follow_from_the_figures() -> None:
    answers = {v.question: (v.answer, v.on) for v in verdicts(S, BROKEN)}
    assert answers["data-or-architecture"] == ("holds", "")
    assert answers["perpendicular"] == ("depends", DATA)
    assert answers["local-manifold"] == ("holds", "")
    small = replace(S, preset="smoke")
    assert all(verdict.answer is None for verdict in verdicts(small, BROKEN))
    assert all(claim.holds is None for claim in claims(small, BROKEN))


def test_the_picture(tmp_path: Path) -> None:
    with drawn() as pictures:
        draw(S, BROKEN, tmp_path)
    pictures.check("onoff.png")


def test_measurements_of_a_linear_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares and norms of a network whose margins are linear, against the basis."""
    draw_, n, k = torch.Generator().manual_seed(0), 12, 4
    weight = torch.randn(2, n, generator=draw_)
    module = nn.Sequential(nn.Flatten(), nn.Linear(n, 2, bias=False))
    module.load_state_dict({"1.weight": weight})
    network = bs.load(module, input_shape=(3, 2, 2))
    x = torch.rand(9, 3, 2, 2, generator=draw_)
    bases = torch.linalg.qr(torch.randn(9, n, k, generator=draw_, dtype=torch.float64)).Q.mT.reshape(9, k, 3, 2, 2)
    tangent = bs.subspaces.tangent_spaces(bases, x)
    known = bs.data.PrincipalComponents.of(torch.rand(40, 3, 2, 2, generator=draw_))
    places = Places(x, network.labels(x), k, known, tangent, tangent)
    monkeypatch.setattr(measure, "_network", lambda *_, **__: network)
    monkeypatch.setattr(measure, "places", lambda *_: places)
    s = replace(S, boxed=3, counts=(9, 9, 9))
    kept = measure._measure(s, Case("cifar10", "convnet", 0, False), lambda *_: None)
    slope = (weight[0] - weight[1]).double()
    share = (bases.flatten(2) @ slope).square().sum(1) / slope.square().sum()
    torch.testing.assert_close(kept.arrays[f"{TANGENT}/share"][0], share)
    ratio = kept.arrays[f"{TANGENT}/on"] / kept.arrays["plain"]
    torch.testing.assert_close(ratio[0], share.rsqrt(), rtol=1e-3, atol=0)
    assert kept.values["residual"] < 1e-12
    assert kept.values["residual with the pixel range"] <= 1e-9
    assert kept.arrays[f"{RANDOM}/share"].shape == (3, 9)


def test_the_weights_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BLINDSPACE_MODELS", str(tmp_path))
    with pytest.raises(FileError, match="BLINDSPACE_MODELS"):
        resnet20_of_others()
    torch.save({"state_dict": {"module.conv1.weight": torch.zeros(16, 3, 3, 3)}}, tmp_path / FILE)
    with pytest.raises(FileError, match="ResNet-20"):
        resnet20_of_others()
    assert for_preset("cpu", 0).present == (FILE,)
