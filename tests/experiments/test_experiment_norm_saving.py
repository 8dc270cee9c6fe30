"""Norm-saving: measurements of an attack compared with dense linear algebra, and claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import ValueRangeError
from blindspace.experiments.experiment import Row
from blindspace.experiments.norm_saving import EXPERIMENT
from blindspace.experiments.norm_saving.attacks import WAYS, unclipped
from blindspace.experiments.norm_saving.measure import measure, parts
from blindspace.experiments.norm_saving.models import ModelUnderTest
from blindspace.experiments.norm_saving.report import SIGNS, claims, rows
from blindspace.experiments.norm_saving.settings import CONTROLS, CUTS, KINDS, NormSaving, for_preset, part_name
from blindspace.experiments.parts import Kept, Parts
from blindspace.perturbations import smallest
from blindspace.subspaces import nullspace
from blindspace.subspaces.box import Norm

COUNT = 30
DRAW = torch.Generator().manual_seed(0)


@cache
def small() -> ModelUnderTest:
    """A network with 12 inputs and 5 independent first-layer outputs."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3)).eval()
    network = bs.load(module, input_shape=(3, 2, 2))
    x = torch.rand(COUNT, 3, 2, 2)
    return ModelUnderTest(network, bs.harmless(network), x, network.labels(x), torch.full((COUNT, 1, 1, 1), 0.1), {})


def dense(a: ModelUnderTest) -> Tensor:
    """The projector onto the nullspace, from the weights."""
    weight = a.network.double.get_parameter("1.weight").detach()
    projector: Tensor = torch.eye(12, dtype=torch.float64) - torch.linalg.pinv(weight) @ weight
    return projector


# --- mathematics -------------------------------------------------------------------------------------------


def test_measure_against_dense_projections() -> None:
    a = small()
    attacked = (a.x.double() + 0.3 * torch.randn(a.x.shape, generator=DRAW, dtype=torch.float64)).clamp(0, 1)
    found = measure(a, attacked, ranged=4)
    delta = (attacked - a.x).flatten(1)
    inside = delta @ dense(a)
    torch.testing.assert_close(found["share"], inside.square().sum(1) / delta.square().sum(1), rtol=1e-9, atol=0)
    torch.testing.assert_close(found["l2"], delta.norm(dim=1))
    torch.testing.assert_close(found["rest l2"], (delta - inside).norm(dim=1))
    torch.testing.assert_close(found["rest linf"], (delta - inside).abs().amax(1))
    assert float(found["change"].max()) < 1e-14 < float(found["share"].min())
    assert float(found["ranged change"].max()) < 1e-13
    assert bool((found["ranged l2"] >= found["rest l2"][:4] * (1 - 1e-9)).all())
    assert bool((found["ranged l2"] <= found["l2"][:4]).all())
    assert torch.equal(found["success"], a.network.labels(attacked) != a.y)
    assert "ranged l2" not in measure(a, attacked + 1, ranged=4)


def test_the_smallest_in_range_against_a_general_solver() -> None:
    a = small()
    x = a.x[:3].double()
    attacked = (x + 0.4 * torch.randn(x.shape, generator=DRAW, dtype=torch.float64)).clamp(0, 1)
    found = smallest(a.space, attacked - x, x)
    basis = torch.linalg.svd(dense(a)).U[:, :7].numpy()
    for one, image, delta in zip(found, x.flatten(1).numpy(), (attacked - x).flatten(1).numpy(), strict=True):
        slow = minimize(
            lambda c, d=delta: ((d + basis @ c) ** 2).sum(),
            np.zeros(7),
            jac=lambda c, d=delta: 2 * basis.T @ (d + basis @ c),
            method="SLSQP",
            constraints=[
                {"type": "ineq", "fun": lambda c, d=delta, i=image: i + d + basis @ c},
                {"type": "ineq", "fun": lambda c, d=delta, i=image: 1 - (i + d + basis @ c)},
            ],
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert float(one.norm()) == pytest.approx(float(np.sqrt(slow.fun)), rel=1e-4)
    assert bool(((x + found >= 0) & (x + found <= 1)).all())
    assert bool((found.flatten(1).norm(dim=1) > a.space.reject(attacked - x).flatten(1).norm(dim=1)).any())
    with pytest.raises(ValueRangeError, match=r"\[0, 1\]"):
        smallest(a.space, attacked - x + 1, x)


def test_gradients_have_no_harmless_part_and_signs_have_one() -> None:
    a = small()
    shares = {}
    norms: tuple[Norm, ...] = ("l2", "linf")
    for norm in norms:
        attacked = unclipped(a.network, a.x, a.y, a.ball, 5, norm)
        shares[norm] = a.space.energy(attacked - a.x)
        sizes = (attacked - a.x).flatten(1).norm(2 if norm == "l2" else float("inf"), 1)
        assert float(sizes.max()) <= 0.1 + 1e-7
    assert float(shares["l2"].max()) < 1e-26
    assert float(shares["linf"].min()) > 1e-3


def test_signs_of_noise_in_a_row_space() -> None:
    """The law behind the control: the signs of independent Gaussian values have a share 1 − 2/π orthogonal to them."""
    space = nullspace(torch.nn.Conv2d(3, 6, 8, 4, bias=False).double(), (3, 32, 32))
    noise = space.reject(torch.randn(200, 3, 32, 32, generator=DRAW, dtype=torch.float64))
    share = float(space.energy(noise.sign()).mean())
    assert share == pytest.approx(SIGNS * space.dim / space.ambient_dim, rel=0.03)


# --- rows and claims ---------------------------------------------------------------------------------------


def plain(**changed: Any) -> NormSaving:
    layer = next(iter(CUTS))
    plan = (("cifar-resnet", (("gradient", COUNT), ("foolbox", COUNT))), (layer, (("features", COUNT),)))
    return replace(for_preset("cpu", 0), plan=plan, confined=(("cifar-resnet", COUNT),), budgets=(0.25, 0.5), **changed)


def measured(way: str, moved: str, ranged: bool) -> dict[str, Tensor]:
    spread = 1 + 0.1 * torch.rand(COUNT, generator=DRAW, dtype=torch.float64)
    share = {"gradient": 1e-4, "sign": 0.05}[moved] * spread
    share = 1e-31 * spread if way == "gradient steps, unclipped" else share
    success = torch.arange(COUNT) > 2
    found = {
        "share": share,
        "l2": spread,
        "linf": spread / 10,
        "rest l2": spread * (1 - share).sqrt(),
        "rest linf": spread / 9,
        "change": 1e-15 * spread,
        "floor": 2e-15 * spread,
        **{f"{kind}success": success for kind in ("", "rest ", "ulp ")},
        "delta": torch.rand(3, 4, 4, generator=DRAW),
        "harmless": torch.rand(3, 4, 4, generator=DRAW),
    }
    if ranged:
        found |= {"ranged l2": 0.98 * spread[:5], "ranged change": 1e-14 * spread[:5], "ranged success": success[:5]}
    return {f"{way}|{key}": value for key, value in found.items()}


def fake(s: NormSaving) -> dict[str, Kept]:
    done = {}
    for name, groups in s.plan:
        for group, _ in groups:
            arrays = {"x": torch.rand(3, 4, 4)}
            for way in WAYS[group]:
                ranged = way.moved == "sign" and "unclipped" not in way.name and group != "features"
                arrays |= measured(way.name, way.moved, ranged)
            if group == "features":
                arrays |= {"Gaussian|carried": torch.rand(COUNT), "PGD-20 L∞ on images|carried": torch.rand(COUNT)}
            done[part_name(name, group)] = Kept({"dim": 512, "n": 3072}, arrays)
        done[part_name(name, "controls")] = Kept({}, {kind: torch.full((COUNT,), 1 / 6) for kind in CONTROLS})
    success = torch.arange(COUNT) > 9
    kinds = dict(zip(KINDS, (success, success, success, torch.zeros(COUNT, dtype=torch.bool)), strict=True))
    arrays = {f"{kind}|{budget}": kinds[kind] for kind in KINDS for budget in s.budgets}
    done["cifar-resnet.confined"] = Kept({"dim": 2560, "n": 3072}, arrays)
    return done


def test_every_part_is_asked_for_by_its_name() -> None:
    s = plain()
    assert [part.name for part in parts(s)] == list(fake(s))
    assert all(set(part.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for part in parts(for_preset("cpu", 0)))


def row(done: Parts, case: str, quantity: str) -> Row:
    (found,) = (r for r in rows(plain(), done) if r.case == case and r.quantity.startswith(quantity))
    return found


def test_rows_are_of_the_attacks_that_succeed() -> None:
    done = fake(plain())
    arrays = done["cifar-resnet.gradient"].arrays
    arrays["FGSM|share"][:3] = 1.0  # where it does not succeed
    assert float(row(done, "cifar-resnet: FGSM", "harmless share").ours or 0) == pytest.approx(0.0525, abs=0.002)
    assert row(done, "cifar-resnet: FGSM", "L2 saved at equal outputs, within").ours == pytest.approx(0.02)
    assert row(done, "cifar-resnet: FGSM", "‖δ⊥‖∞").ours == pytest.approx(10 / 9)
    assert "27 of 30 succeed, 27" in row(done, "cifar-resnet: FGSM", "harmless share").reason
    arrays["FGSM|success"][:] = False
    assert row(done, "cifar-resnet: FGSM", "attack success").ours == 0
    assert all(r.control for r in rows(plain(), done) if any(kind in r.case for kind in CONTROLS))


def test_a_network_that_is_not_here_is_not_run() -> None:
    s = for_preset("cpu", 0)
    s = replace(s, present=())
    assert not [part.name for part in parts(s) if part.name.startswith("ibp")]
    assert [part.name for part in parts(replace(s, present=("ibp_3_3_8.onnx.gz",))) if part.name.startswith("ibp")]


SPOILED = {
    0: ("cifar-resnet.gradient", "gradient steps, unclipped|share", 1e-20),
    1: ("cifar-resnet.gradient", "sign steps, unclipped|share", 0.0),
    2: ("cifar-resnet.foolbox", "foolbox L2DeepFool|change", 1e-10),
    3: ("cifar-resnet.gradient", "FGSM|rest success", False),
    4: ("cifar-resnet.gradient", "PGD-20 L∞|ranged l2", 2.0),
    5: ("cifar-resnet.confined", "harmless|0.5", True),
}


@pytest.mark.parametrize("index", SPOILED)
def test_claims_hold_and_can_fail(index: int) -> None:
    s, done = plain(), fake(plain())
    assert [claim.holds for claim in claims(s, done)] == [True] * len(SPOILED)
    part, key, value = SPOILED[index]
    done[part].arrays[key] = torch.full_like(done[part].arrays[key], value)
    assert [claim.holds for claim in claims(s, done)] == [each != index for each in SPOILED]


def test_a_confined_attack_may_not_fall_behind() -> None:
    s, done = plain(), fake(plain())
    for budget in s.budgets:
        done["cifar-resnet.confined"].arrays[f"effective|{budget}"] = torch.arange(COUNT) > 19
    assert claims(s, done)[-1].holds is False


def test_pictures(tmp_path: Any) -> None:
    EXPERIMENT.draw(plain(), fake(plain()), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confined.png", "norm-saving.png", "parts.png"]
