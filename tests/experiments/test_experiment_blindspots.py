"""blindspots: the rule of one number against an obvious second one, one real pair, and what follows from the parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.data import samples
from blindspace.experiments.blindspots.measure import images_of, network_of, pairs_of, part_name, parts
from blindspace.experiments.blindspots.one_scalar import traverse
from blindspace.experiments.blindspots.report import CHANGE, PATH, RULE, WAY, claims, draw, rows, verdicts
from blindspace.experiments.blindspots.settings import Case, for_preset
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked
from blindspace.networks import SMALL

S = replace(for_preset("cpu", 0), cases=(Case("one", "mlp", "mnist", 2, 2), Case("two", "mlp", "cifar10", 1)))


def pair(path: float, rule: float, change: float = 1e-7, moved: float = 0.5, reason: str = "kinks") -> Kept:
    """A part whose paths end at those distances from the target; the image is at distance 1."""
    return Kept(
        {
            "network": {},
            "front": 5,
            "front rmse": 0.9,
            "path": {
                "level": change <= 1e-6,
                "max_change": change,
                "max_change_own_precision": 1e-6,
                "vertices": 100,
                "reason": f"a minimum at {reason} of the network",
            },
            "in box": True,
            "straight": 0.3,
            "rule": {
                "kept": 90,
                "change end": moved,
                "change largest": moved,
                "confidence start": 0.9,
                "confidence end": 0.7,
                "same label": True,
            },
            "rmse": {"start": 1.0, "path": path, "rule": rule},
            "ssim": {"start": 0.1, "path": 0.5, "rule": 0.6},
            "said": ["cat, 0.90"] * 6,
        },
        {"shown": torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))},
    )


def made(one: Kept, two: Kept) -> Parts:
    names = [part_name(S.cases[0], seed, index) for seed in range(2) for index in range(2)]
    return {**dict.fromkeys(names, one), part_name(S.cases[1], 0, 0): two}


def test_rows_and_claims() -> None:
    done = made(pair(0.2, 0.1), pair(0.8, 0.1, change=2e-6))
    found = {(row.case, row.quantity): row for row in rows(S, done)}
    assert found[f"one, {PATH}", WAY].ours == pytest.approx(0.8)
    assert found[f"one, {PATH}", WAY].reason == "4 of 4 end at a minimum of the distance at kinks of the network"
    assert found[f"two, {RULE}", WAY].ours == pytest.approx(0.9)
    assert found[f"two, {PATH}", CHANGE].ours == 2e-6
    assert found[f"one, {RULE}", CHANGE].ours == pytest.approx(0.5)
    assert [claim.holds for claim in claims(S, done)] == [False, False, True, True]
    assert "4 of 5 paths" in claims(S, done)[0].text
    assert [claim.holds for claim in claims(S, made(pair(0.2, 0.1), pair(0.3, 0.1)))] == [True] * 4


def test_verdicts() -> None:
    def answers(done: Parts) -> list[str | None]:
        return [verdict.answer for verdict in checked("blindspots", verdicts(S, done))]

    assert answers(made(pair(0.2, 0.1), pair(0.3, 0.1))) == ["holds", "holds", "holds"]
    assert answers(made(pair(0.2, 0.1), pair(0.8, 0.1, moved=0.01))) == ["holds", "depends", "depends"]
    assert answers(made(pair(0.8, 0.9), pair(0.8, 0.9))) == ["does not hold", "does not hold", "holds"]
    smoke = replace(S, preset="smoke")
    assert {each.answer for each in verdicts(smoke, made(pair(0.2, 0.1), pair(0.3, 0.1)))} == {None}


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw(S, made(pair(0.2, 0.1), pair(0.3, 0.1)), tmp_path)
    assert (tmp_path / "blindspots.png").stat().st_size < 500_000


def test_a_network_of_others_that_is_missing_is_said_not_to_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLINDSPACE_MODELS", raising=False)
    s = for_preset("paper", 0)
    assert [row.case for row in rows(s, {}) if row.ours is None] == ["ResNet-20"]
    assert not any(part.name.startswith("ResNet-20") for part in parts(s))
    left_out = [row.case for row in rows(for_preset("cpu", 0), {}) if row.ours is None]
    assert left_out == ["ResNet-20", "cifar-resnet on photographs"]


def linear(gain: float) -> bs.Network:
    """Two classes; the difference of the logits is the first pixel's value times the gain."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([[gain, 0, 0, 0], [0, 0, 0, 0]]))  # type: ignore[operator]
        module[1].bias.zero_()  # type: ignore[operator]
    return bs.load(module.requires_grad_(False), (1, 2, 2))


def test_the_rule_keeps_what_moves_the_confidence_and_no_more() -> None:
    """On a linear network the gradient has one direction, so that every pixel but the first goes to the target's."""
    x = torch.tensor([0.9, 0.2, 0.2, 0.2], dtype=torch.float64).view(1, 2, 2)
    target = torch.tensor([0.1, 0.8, 0.5, 0.2], dtype=torch.float64).view(1, 2, 2)
    s = replace(S, noise=0.0, push=0.0)
    found = traverse(s, linear(3.0), x, target, torch.Generator())
    share = 1 - (1 - s.scalar_step) ** s.scalar_steps
    expected = torch.lerp(x, target, share)
    expected[0, 0, 0] = x[0, 0, 0]
    assert torch.allclose(found.points[-1], expected, atol=1e-12)
    assert found.kept == s.scalar_steps
    assert float(found.changes.max()) < 1e-12


def test_the_rule_refuses_steps_that_cost_too_much_confidence() -> None:
    """Noise and no tolerance: whatever lowers the confidence is refused, and the image stays."""
    x = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    s = replace(S, noise=0.2, push=0.0, allowed=-0.9, scalar_steps=5)
    found = traverse(s, linear(3.0), x, 1 - x, torch.Generator().manual_seed(0))
    assert found.kept == 0
    assert torch.equal(found.points[1], found.points[5])
    pushed = traverse(replace(s, push=0.01, allowed=0.0, noise=0.0), linear(3.0), x, x, torch.Generator())
    assert float(pushed.confidence[-1]) > float(pushed.confidence[0])


def test_pairs_differ_in_both_classes() -> None:
    images = samples("mnist")
    network = bs.load("mnist-mlp")
    found = list(pairs_of(for_preset("smoke", 0), network, images))
    said = network.outputs(images.tensor()).argmax(1)
    assert len(found) > 2
    for first, second in found:
        assert second == first + 1
        assert images.labels[first] != images.labels[second]
        assert said[first] != said[second]


def test_one_pair_is_measured_as_it_is() -> None:
    case = Case("mlp", "mnist-mlp", "mnist", 1, steps=1)
    s = replace(for_preset("smoke", 0), cases=(case,), tolerance=1e-2, scalar_steps=4)
    (part,) = parts(s)
    kept = part.run(lambda *_: None)
    shown = kept.arrays["shown"].double()
    rmse = {
        name: float((shown[i] - shown[4]).square().mean().sqrt())
        for name, i in {"start": 0, "path": 3, "rule": 5}.items()
    }
    assert kept.values["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert kept.values["path"]["level"]
    assert kept.values["in box"]
    outputs = bs.load("mnist-mlp").outputs(shown[[0, 3]], torch.float64)
    assert float((outputs[1] - outputs[0]).abs().max() / outputs[0].abs().max()) < 1.1e-2
    assert kept.values["rmse"]["path"] < kept.values["rmse"]["start"]


def test_photographs_are_read_through_the_preprocessing() -> None:
    """Neighbours are a pair: they differ in what they show and in what the network takes them for."""
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    s = for_preset("paper", 0)
    (case,) = (case for case in s.cases if case.side and case.kind not in SMALL)
    some, network = images_of(s, case), network_of(s, case, 0)
    assert some.images.shape == (4, 3, case.side, case.side)
    assert network.input_shape == (3, case.side, case.side)
    assert next(iter(pairs_of(s, network, some))) == (0, 1)
    assert torch.allclose(
        network.outputs(some.tensor(), torch.float64),
        bs.load(case.kind).outputs(bs.networks.Resize(32)(some.tensor().double()), torch.float64),
        atol=1e-6,
    )
