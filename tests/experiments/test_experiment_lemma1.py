"""lemma1: one real layer, and rows, claims, verdicts and pictures from parts made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blindspace.experiments.common.networks_of_others import VIT
from blindspace.experiments.lemma1.measure import part_name, parts
from blindspace.experiments.lemma1.report import CONTROL, SIZE, claims, draw, rows, verdicts
from blindspace.experiments.lemma1.settings import ANY, BEYOND, Case, for_preset
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked

S = replace(for_preset("cpu", 0), cases=(Case("one", "mnist-mlp", "mnist", 2), Case("two", "mnist-mlp", "mnist", 2)))
FULL = "the Jacobian has full column rank 256 there: its smallest singular value is at least 1e-2 of the largest"
ENDED = "20 Jacobians were computed; more may lead further"


def layer(size: float, beyond: float, change: float = 1e-9, why: str = "", control: float = 1.0) -> Kept:
    """A part in which every image has the same figures, ``size`` anywhere and ``beyond`` outside the front's space."""
    arrays = {"image": torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))}
    for way, (whole, outside) in {ANY: (size, 0.0), BEYOND: (beyond, beyond)}.items():
        figures = {"size": whole, "beyond": outside, "output_change": change}
        figures |= {f"{place} distance": change for place in ("layer", "outputs")}
        figures |= {f"{place} {which}": control for place in ("layer", "outputs") for which in ("shuffled", "gaussian")}
        for name, value in figures.items():
            arrays[f"{way}/{name}"] = torch.full((2,), value, dtype=torch.float64)
        for name in ("in box", "layer accepted", "outputs accepted"):
            arrays[f"{way}/{name}"] = torch.ones(2, dtype=torch.bool)
        arrays[f"{way}/image"] = arrays["image"] * 0.9
    kinds = {"layer": ["rounding of float64"] * 2, "outputs": ["rounding of float32"] * 2}
    return Kept(
        {
            "network": {},
            "layer": "5.conv1",
            "read": 20,
            "dim": 10,
            "demands": ["what 5.conv1 computes", "relu, which is read beside 5.conv1"],
            "reasons": {ANY: [why] * 2, BEYOND: [why] * 2},
            "kinds": {ANY: kinds, BEYOND: kinds},
        },
        arrays,
    )


def made(*layers: Kept, name: str = "one") -> Parts:
    return {f"{name}.{index:02d}": each for index, each in enumerate(layers)}


def test_sizes_count_only_where_the_outputs_stay() -> None:
    done = made(layer(0.12, 0.11), layer(0.12, 0.0, why=FULL), layer(0.5, 0.5, change=2e-6, why=ENDED))
    by_name = {(row.case, i): row for i, row in enumerate(rows(S, done)) if row.quantity == SIZE}
    assert [row.ours for row in by_name.values()] == pytest.approx([0.12, 0.11, 0.12, 0, 0, 0])
    first, *_, last = by_name.values()
    assert first.reason == "nullity 10 of 20, 1 values beside it stay; 2 of 2 images"
    assert last.reason == f"0 of 2 images; 2 × {ENDED}"
    assert [claim.holds for claim in claims(S, done)] == [False, False, True, True]
    assert [claim.holds for claim in claims(S, made(layer(0.12, 0.0, why=FULL)))][:2] == [True, True]


def test_paths_that_end_at_kinks_are_said_to() -> None:
    kinks = "a path ends so, 1.0e-03 of the image's norm at most was a step that corrections brought back"
    claim = claims(S, made(layer(0.12, 0.11), layer(0.0, 0.0, why=kinks), layer(0.0, 0.0, why=FULL)))[0]
    assert claim.holds
    assert "for 2 there is a measured reason" in claim.text
    assert "at 1 of them that every path followed to its end stops at kinks" in claim.text


def test_reasons_that_differ_by_their_number_are_one() -> None:
    kept = layer(0, 0)
    kept.values["reasons"][ANY] = [FULL.replace("1e-2", "1.0e-02"), FULL.replace("1e-2", "3.0e-05")]
    assert rows(S, made(kept))[0].reason.endswith(f"2 × {FULL.replace('1e-2', '3.0e-05')}")


def test_a_perturbation_out_of_the_box_is_none() -> None:
    kept = layer(0.12, 0.11)
    kept.arrays[f"{ANY}/in box"][0] = False
    assert rows(S, made(kept))[0].ours == pytest.approx(0.06)


def test_controls_that_change_as_little_refute_it() -> None:
    good, poor = made(layer(0.12, 0.11)), made(layer(0.12, 0.11, control=1e-8))
    assert claims(S, good)[2].holds
    assert not claims(S, poor)[2].holds
    assert [row.ours for row in rows(S, good) if row.quantity == CONTROL] == pytest.approx([1e9, 1e9])


def test_verdicts() -> None:
    def answers(done: Parts) -> list[str | None]:
        return [verdict.answer for verdict in checked("lemma1", verdicts(S, done))]

    assert answers(made(layer(0.12, 0.11), layer(0.12, 0.11))) == ["holds", "holds"]
    assert answers(made(layer(0.12, 0.0), layer(0.12, 0.11))) == ["holds", "depends"]
    assert answers(made(layer(0, 0))) == ["does not hold", "does not hold"]
    first, second = verdicts(S, made(layer(0.12, 0.0)))
    assert [row.ours for row in (*first.rows, *second.rows)] == [1, 0]
    small = replace(S, preset="smoke")
    assert [each.answer for each in verdicts(small, made(layer(0.12, 0.11)))] == [None, None]


def test_what_is_missing_is_said_not_to_be_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BLINDSPACE_MODELS", str(tmp_path))
    s = for_preset("cpu", 0)
    missing = [row for row in rows(s, {}) if row.ours is None]
    assert [row.case for row in missing][:2] == ["ResNet-20", "ViT"]
    assert f"has no {VIT}" in missing[1].reason
    assert not any(part.name.startswith("ViT") for part in parts(replace(s, cases=s.cases[-1:])))


def test_pictures(tmp_path: Path) -> None:
    done = {**made(layer(0.12, 0.11), layer(0.12, 0.0)), **made(layer(0.12, 0.11), name="two")}
    draw(S, done, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look-one.png", "look-two.png", "sizes.png"]


def test_a_layer_is_measured_as_it_is() -> None:
    """The last layer of an MLP: its perturbations are beyond the front, and the network does not notice them."""
    case = Case("mlp", "mnist-mlp", "mnist", 1)
    s = replace(for_preset("smoke", 0), cases=(case,), every=100, size=0.02, reference=30, pairs=50)
    names = {part.name: part for part in parts(s)}
    assert list(names) == ["mlp.00", "mlp.outputs"]
    kept = names[part_name(case, -1)].run(lambda *_: None)
    assert kept.values["front"] == 528
    assert kept.values["demands"] == ["the outputs of the network"]
    for way in (ANY, BEYOND):
        assert bool(kept.arrays[f"{way}/in box"].all())
        assert float(kept.arrays[f"{way}/output_change"].max()) < 1e-6
        moved = float((kept.arrays[f"{way}/image"] - kept.arrays["image"]).norm() / kept.arrays["image"].norm())
        assert float(kept.arrays[f"{way}/size"][0]) == pytest.approx(moved, rel=1e-4)
    assert float(kept.arrays[f"{BEYOND}/beyond"][0]) > 0.01
