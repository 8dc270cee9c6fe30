"""The black-box experiment: its subspaces against dense projectors, and claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from math import prod, sqrt

import pytest
import torch
from torch import Tensor, nn

from blindspace.experiments.blackbox.queries import bootstrap, needed, ratio
from blindspace.experiments.blackbox.report import claims, rows
from blindspace.experiments.blackbox.settings import CONTROLS, Blackbox, for_preset, kinds_of, part_name, parts_of
from blindspace.experiments.common.confinement import (
    behind,
    everything,
    kept_by,
    outside,
    permuted,
    random_frequencies,
)
from blindspace.experiments.common.victims import ROBUST
from blindspace.experiments.parts import Kept
from blindspace.manifolds.controls import low_frequency
from blindspace.maps.operations import resize
from blindspace.subspaces import Spanned, Subspace, nullspace

SHAPE = (2, 6, 6)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrix(space: Subspace) -> Tensor:
    n = prod(space.shape)
    return space.project(torch.eye(n, dtype=torch.float64).view(n, *space.shape)).flatten(1)


def kernel() -> nn.Conv2d:
    layer = nn.Conv2d(2, 1, 3, 1, 1, bias=False).double()
    layer.weight.data = torch.randn(layer.weight.shape, generator=seeded(4), dtype=torch.float64)
    return layer


def made() -> dict[str, Subspace]:
    basis = torch.linalg.qr(torch.randn(72, 9, generator=seeded(), dtype=torch.float64)).Q.T.reshape(9, *SHAPE)
    return {
        "spanned": Spanned(basis),
        "less": outside(basis, everything(SHAPE)),
        "low": low_frequency(SHAPE, 31),
        "random": random_frequencies(SHAPE, 31, seeded(1)),
        "permuted": permuted(low_frequency(SHAPE, 31), seeded(2)),
        "kept": kept_by(resize((2, 9, 9), (6, 6), antialias=True)),
    }


@pytest.mark.parametrize("name", list(made()))
def test_they_are_orthogonal_projectors_of_their_dimension(name: str) -> None:
    space = made()[name]
    p = matrix(space)
    torch.testing.assert_close(p, p.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(p @ p, p, rtol=0, atol=1e-12)
    assert float(p.trace()) == pytest.approx(space.dim, abs=1e-9)
    assert space.project(torch.zeros(1, *space.shape)).dtype == torch.float32
    v = torch.randn(3, *space.shape, generator=seeded(), dtype=torch.float64)
    assert space.contains(space.project(v)).all()
    assert not space.contains(v).any()


def test_behind_a_resize_it_is_the_row_space_of_both() -> None:
    shrink, layer = resize((2, 9, 9), (6, 6), antialias=True), kernel()
    unseen = nullspace(layer, SHAPE)
    space = behind(shrink, unseen.basis())
    n = 2 * 81
    a = layer(shrink.forward(torch.eye(n, dtype=torch.float64).view(n, 2, 9, 9))).flatten(1).T.detach()
    _, sigma, right = torch.linalg.svd(a, full_matrices=False)
    right = right[sigma > 1e-9 * sigma[0]]
    assert space.dim == len(right) == 36
    torch.testing.assert_close(matrix(space), right.T @ right, rtol=0, atol=1e-8)


def test_random_subspaces_have_no_preferred_direction() -> None:
    v = torch.ones(1, *SHAPE, dtype=torch.float64)
    shares = torch.stack([random_frequencies(SHAPE, 24, seeded(i)).energy(v)[0] for i in range(200)])
    assert float(shares.mean()) == pytest.approx(1 / 3, abs=0.03)


def test_the_bootstrap_is_that_of_the_mean() -> None:
    x = torch.randn(400, generator=seeded(), dtype=torch.float64)
    found = bootstrap(lambda chosen: x[chosen].mean(1), 400, 4000, seeded())
    assert found is not None
    half = 1.96 * float(x.std()) / 20
    assert found[0] == pytest.approx(float(x.mean()) - half, abs=0.01)
    assert found[1] == pytest.approx(float(x.mean()) + half, abs=0.01)
    assert bootstrap(lambda chosen: x[chosen].mean(1), 1, 10, seeded()) is None


S = replace(for_preset("cpu", 0), networks=("cifar-resnet@96",), count=30, draws=300)


def faked(s: Blackbox, gain: float = 1.0, control: float = 1.0, hit: bool = False) -> dict[str, Kept]:
    """Queries that the theory predicts, up to a factor."""
    n, d = 27648, 2560
    base = 200 + 800 * torch.rand(s.seeds, s.count, generator=seeded(9), dtype=torch.float64)
    done = {}
    for name, attack, kind in parts_of(s):
        confined = kind not in ("unconfined", "pixels", "cosines")
        share = {"random subspace": d / n, "permuted": d / n}.get(kind, 1.0)
        factor = sqrt(d / n / share) if confined else 1.0
        factor *= control if kind in CONTROLS else gain if confined else 1.0
        success = torch.full(base.shape, kind != "harmless" or hit)
        arrays = {
            "queries": (factor * base).long(),
            "success": success,
            "norm": base * 0 + 1,
            "share": torch.full((s.count,), share, dtype=torch.float64) if confined else torch.zeros(0),
        }
        values = {"n": n, "d": d if confined else None, "effective": d, "most": 50, "outside": 0.0}
        done[part_name(name, attack, kind)] = Kept(values, arrays)
    return done


def holding(s: Blackbox, done: dict[str, Kept]) -> list[bool | None]:
    return [claim.holds for claim in claims(s, done)]


def test_claims_hold_where_the_theory_does_and_fail_where_it_does_not() -> None:
    assert holding(S, faked(S)) == [True] * 5
    assert holding(S, faked(S, gain=1.3))[2] is False  # not as predicted
    assert holding(S, faked(S, gain=4.0))[:2] == [False, False]  # no gain
    assert holding(S, faked(S, control=0.8))[3] is False  # controls gain
    assert holding(S, faked(S, hit=True))[4] is False  # a harmless attack succeeds
    small = replace(S, preset="smoke")
    assert holding(small, faked(small)) == [None] * 4 + [True]


def test_rows_compare_with_the_unconfined_attack() -> None:
    found = rows(S, faked(S))
    ratios = {row.case: row for row in found if row.quantity == "mean queries, of unconfined"}
    own = next(row for case, row in ratios.items() if "SimBA, effective" in case)
    assert own.ours == pytest.approx(sqrt(2560 / 27648), rel=0.02)
    assert own.interval is not None
    assert own.ours is not None
    assert own.interval[0] <= own.ours <= own.interval[1]
    assert all(row.control == any(kind in row.case for kind in CONTROLS) for row in found)
    assert any("knowing the resize alone" in row.case for row in found)


def test_failures_count_with_the_whole_budget() -> None:
    kept = Kept({}, {"success": torch.tensor([[True, False]]), "queries": torch.tensor([[7, 90]])})
    assert needed(kept, 2000).tolist() == [[7, 2000]]
    done = faked(S)
    free, own = (done[part_name("cifar-resnet@96", "nes", kind)] for kind in ("unconfined", "effective"))
    value, _ = ratio(S, done, "cifar-resnet@96", "nes", "effective")
    assert value == pytest.approx(float(needed(own, 2000).mean() / needed(free, 2000).mean()))


def test_networks_that_are_not_here_are_said_not_to_be_run() -> None:
    s = replace(S, networks=(ROBUST, *S.networks), present=())
    row = rows(s, faked(s))[0]
    assert row.ours is None
    assert "not run" in row.reason
    assert "guessed" not in kinds_of(ROBUST, ("effective", "guessed"))
