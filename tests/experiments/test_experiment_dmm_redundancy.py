"""Redundant dimensions: the theory of initial weights, norms known in closed form, and claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from blindspace.data import PrincipalComponents
from blindspace.experiments.dmm_redundancy import EXPERIMENT
from blindspace.experiments.dmm_redundancy.measure import _reads, parts
from blindspace.experiments.dmm_redundancy.report import claims, compared, predicted, rows, verdicts
from blindspace.experiments.dmm_redundancy.settings import (
    INITS,
    DmmRedundancy,
    Kind,
    for_preset,
    kinds,
    toy_part,
)
from blindspace.experiments.parts import Kept

SETTINGS = DmmRedundancy("cpu", 0, 8, 6, (6, 40), 12, 60, steps=400, components=(3,))


@cache
def toys() -> dict[str, Kept]:
    return {part.name: part.run(lambda *_: None) for part in parts(SETTINGS) if part.name.startswith("toy")}


@pytest.mark.parametrize("init", INITS)
def test_the_gradient_off_the_data_is_that_of_the_initial_weights(init: str) -> None:
    found = toys()[f"toy-{init.replace(' ', '-')}-40"].arrays
    assert not bool(found["unfinished"].any())
    assert float((found["off gradient"] / found["theory"]).mean()) == pytest.approx(1, abs=0.08)
    assert float(found["moved off"].max()) < 1e-13
    nearest = torch.minimum(found["on"], found["off"])
    assert float((found["plain"] <= nearest * 1.05).double().mean()) > 0.9


def test_both_scales_agree_where_nothing_is_redundant() -> None:
    one, other = (toys()[toy_part(init, 6)].arrays for init in INITS)
    for name in ("plain", "on gradient"):
        torch.testing.assert_close(one[name], other[name])
    assert "off" not in one
    assert float(one["off gradient"].max()) == 0


def test_what_networks_read() -> None:
    x = torch.rand(50, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    components = PrincipalComponents.of(x)
    read = {reads: _reads(Kind(reads, 3), components)(x) for reads in ("pixels", "projected", "codes", "whitened")}
    assert [tuple(each.shape) for each in read.values()] == [(50, 12), (50, 12), (50, 3), (50, 3)]
    for values in read.values():
        torch.testing.assert_close(values.mean(0), torch.zeros_like(values[0]))
    torch.testing.assert_close(read["whitened"].T.cov(), torch.eye(3, dtype=torch.float64))
    gram = read["projected"] @ read["projected"].T
    torch.testing.assert_close(gram, read["codes"] @ read["codes"].T)  # an isometry


# --- claims ------------------------------------------------------------------------------------------------


def fake(s: DmmRedundancy) -> dict[str, Kept]:
    draw = torch.Generator().manual_seed(3)

    def spread(mean: float, seeds: int = s.seeds) -> torch.Tensor:
        return mean * (1 + 0.05 * torch.rand(seeds, 12, generator=draw, dtype=torch.float64))

    done = {}
    for init, off in zip(INITS, (1.0, 3.0), strict=True):
        for n in s.dims:
            redundant = n > s.manifold
            arrays = {
                "theory": spread(off * redundant),
                "on gradient": spread(2),
                "off gradient": spread(off * redundant),
                "moved off": torch.full((s.seeds,), 1e-16),
                "steps": torch.full((s.seeds,), 60.0),
                "unfinished": torch.zeros(s.seeds, dtype=torch.bool),
                "plain": spread((1 + (off * redundant / 2) ** 2) ** -0.5),
                "on": spread(1),
            }
            done[toy_part(init, n)] = Kept({}, arrays | ({"off": spread(2 / off)} if redundant else {}))
    for kind in kinds(s):
        norms = {"norms plain": spread(1 if kind.reads == "pixels" else 1.9, s.networks)}
        norms |= {f"norms {side} {k}": spread(1.8, s.networks) for side in ("on", "off") for k in s.components}
        done[kind.part] = Kept({"explained": 0.5}, {"accuracy": torch.full((s.networks,), 0.9), **norms})
    return done


def test_every_part_is_asked_for_by_its_name() -> None:
    assert [part.name for part in parts(SETTINGS)] == list(fake(SETTINGS))
    assert all(set(part.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for part in parts(for_preset("cpu", 0)))


SPOILED: dict[int, tuple[str, str, float]] = {
    0: ("toy-per-weight-40", "off gradient", 4.0),
    1: ("toy-per-layer-40", "moved off", 1e-9),
    2: ("toy-per-weight-40", "plain", 1.2),
    3: ("toy-per-layer-40", "plain", 1.2),
    4: ("whitened-3", "norms plain", 1.2),
}


@pytest.mark.parametrize("index", SPOILED)
def test_claims_hold_and_can_fail(index: int) -> None:
    done = fake(SETTINGS)
    done["toy-per-layer-40"].arrays["plain"] /= 2
    assert [claim.holds for claim in claims(SETTINGS, done)] == [True] * 5
    part, key, value = SPOILED[index]
    done[part].arrays[key] = torch.full_like(done[part].arrays[key], value)
    assert [claim.holds for claim in claims(SETTINGS, done)] == [each != index for each in range(5)]


def test_verdicts() -> None:
    done = fake(SETTINGS)
    answers = {verdict.question: verdict.answer for verdict in verdicts(SETTINGS, done)}
    assert answers == {"redundancy": "depends", "extra-dimension": "does not hold", "reduction": "does not hold"}
    done["toy-per-layer-40"].arrays["plain"] /= 2
    done["toy-per-weight-40"].arrays["steps"] /= 2
    done["codes-3"].arrays["norms plain"] /= 2
    answers = {verdict.question: verdict.answer for verdict in verdicts(SETTINGS, done)}
    assert answers == {"redundancy": "holds", "extra-dimension": "depends", "reduction": "depends"}


def test_rows() -> None:
    done = fake(SETTINGS)
    found = {(row.case, row.quantity): row for row in rows(SETTINGS, done)}
    fallen = found["toy, variance fixed per weight, n = 40", "smallest norm over that at n = 6"]
    assert fallen.ours == pytest.approx(1 / (1 + 1.5**2) ** 0.5, rel=0.05)
    assert predicted(done, "per weight", 40) == pytest.approx(fallen.ours, rel=0.05)
    share = found["toy, variance fixed per layer, n = 40", "share of the gradient on it over chance"]
    assert share.ours == pytest.approx(0.8 * 40 / 6, rel=0.05)
    assert found["MNIST, codes, k = 3", "smallest norm over that of pixels"].ours == pytest.approx(1.9, rel=0.1)


def test_images_that_one_of_two_networks_misclassifies_are_left_out() -> None:
    above, below = torch.tensor([[2.0, 0.0, 4.0, 2.0]]), torch.tensor([[1.0, 5.0, 0.0, 1.0]])
    assert compared(above, below).value == 2


def test_pictures(tmp_path: Any) -> None:
    s = replace(SETTINGS, dims=(6, 20, 40))
    EXPERIMENT.draw(s, fake(s), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mnist.png", "toy.png"]
