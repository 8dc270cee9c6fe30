"""dmm-karner: the reproduction's attack step by step, its selection, and claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.experiments.dmm_karner.measure import walk
from blindspace.experiments.dmm_karner.report import claims, draw, rows, selected, share_selected, verdicts
from blindspace.experiments.dmm_karner.settings import PCA, RANDOM, SPACES, TANGENT, WAYS, Karner, Way, part_name
from blindspace.experiments.parts import Kept, Parts
from blindspace.subspaces import Spanned
from blindspace.subspaces.tangent import TangentBases
from figures import drawn

S = Karner("cpu", 0, count=100, seeds=1)


def network() -> bs.Network:
    torch.manual_seed(1)
    return bs.load(nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)), input_shape=(1, 4, 4))


def slow(net: bs.Network, x: Tensor, y: int, basis: Tensor | None, way: Way, limit: int) -> tuple[float, Tensor]:
    """One image, one step after the other, by the dense projector."""
    shift = torch.zeros_like(x)
    for count in range(1, limit + 1):
        at = (x + shift).requires_grad_()
        logits = net.module(at[None])[0]
        slope = torch.autograd.grad(logits.mean() - logits[y], at)[0].flatten()
        slope = slope if basis is None else basis.flatten(1).T @ (basis.flatten(1) @ slope)
        shift = shift + (way.step / 2 * slope / slope.norm()).view_as(x)
        if shift.norm() > way.eps / 2:
            shift = shift * (way.eps / 2 / shift.norm())
        shift = (x + shift).clamp(0, 1) - x
        if int(net.labels((x + shift)[None])[0]) != y:
            return count, shift
    return inf, shift


@pytest.mark.parametrize("confined", [False, True])
def test_the_attack_image_by_image(confined: bool) -> None:
    net, x = network(), torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    y, way = net.labels(x), Way(0.8, 0.1, 60)
    noise = torch.randn(12, 16, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    bases = torch.linalg.qr(noise).Q.mT.reshape(12, 5, 1, 4, 4)
    found = walk(net, x, y, TangentBases(bases, x) if confined else None, way, 60)
    for i in range(12):
        count, shift = slow(net, x[i], int(y[i]), bases[i].float() if confined else None, way, 60)
        assert float(found.iterations[i]) == count
        torch.testing.assert_close(found.perturbation[i], shift, rtol=1e-4, atol=1e-5)
    assert 0 < int(found.iterations.isinf().sum()) < 12


def test_the_clamp_leaves_the_subspace() -> None:
    net, x = network(), torch.zeros(3, 1, 4, 4)
    space = Spanned(torch.eye(16, dtype=torch.float64)[:2].reshape(2, 1, 4, 4))
    found = walk(net, x, net.labels(x), space, Way(2.0, 0.2, 10), 10)
    assert bool((found.perturbation >= 0).all())
    assert float(space.reject(found.perturbation).abs().max()) == 0  # single pixels are clipped one by one


def part(first: float = 0.1) -> Kept:
    """100 images, of which the plain attack reaches a share within its limit."""
    arrays = {}
    easy = int(100 * first)
    plain = torch.cat([torch.linspace(28, 34, easy), torch.linspace(150, 250, 100 - easy)]).double()
    ratio = {TANGENT: (2.0, 1.18), PCA: (1.3, 1.5), RANDOM: (6.6, 1.0)}
    arrays["plain/iterations"], arrays["plain/smallest"] = plain, torch.linspace(1, 3, 100).double()
    for space, (on, off) in ratio.items():
        for way, factor in (("on", on), ("off", off)):
            arrays[f"{space}/{way}/iterations"] = (plain * factor * 0.02 / WAYS[way].step).ceil()
            arrays[f"{space}/{way}/smallest"] = arrays["plain/smallest"] * factor
            arrays[f"{space}/{way}/outside"] = torch.full((100,), 0.4, dtype=torch.float64)
    for name in [name for name in arrays if name.endswith("/iterations")]:
        base, way = name.removesuffix("/iterations"), name.split("/")[-2]
        arrays[f"{base}/path"] = arrays[name] * WAYS[way].step
        arrays[f"{base}/norm"] = arrays[f"{base}/path"]
    return Kept({"network": {}, "images": 100}, arrays)


def parts(first: float = 0.05) -> Parts:
    return {part_name(0): part(first)}


def test_selection() -> None:
    kept = part(0.05)
    assert int(selected(kept, TANGENT).sum()) == 5
    kept.arrays[f"{TANGENT}/on/iterations"][0] = inf
    assert int(selected(kept, TANGENT).sum()) == 4
    assert share_selected(S, parts(), PCA) == (5, 100)


def test_claims_and_verdict() -> None:
    assert [claim.holds for claim in claims(S, parts())] == [True] * 4
    assert claims(S, parts(0.06))[0].holds is False
    (verdict,) = verdicts(S, parts())
    assert verdict.answer == "holds"
    many = parts(0.9)
    assert claims(S, many)[0].holds is False
    assert claims(S, many)[2].holds is False
    assert verdicts(S, many)[0].answer == "does not hold"
    none = parts(0.0)
    assert claims(S, none)[1].holds is False


def test_rows_and_picture(tmp_path: Path) -> None:
    made = {(row.case, row.quantity): row for row in rows(S, parts())}
    plain = made[f"{TANGENT}, images selected", "plain: path length"]
    assert plain.reference == 0.63
    assert plain.ours == pytest.approx(0.62, abs=0.01)
    assert made[TANGENT, "images selected"].ours == 0.05
    assert made[RANDOM, "on / plain, smallest norms of all images"].ours == pytest.approx(6.6)
    empty = [row for row in rows(S, parts(0.0)) if row.reason == "no image is selected"]
    assert len(empty) == 2 * 3 * len(SPACES)  # path length and smallest norm, three ways
    with drawn() as pictures:
        draw(S, parts(), tmp_path)
    pictures.check("karner.png")


def test_smoke_decides_nothing() -> None:
    small = replace(S, preset="smoke")
    assert {claim.holds for claim in claims(small, parts())} == {None}
    assert verdicts(small, parts())[0].answer is None
