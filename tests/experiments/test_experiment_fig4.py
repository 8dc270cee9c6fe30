"""Figure 4: grids of two components, deviations from flat and proportional rows, and that each claim can fail."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from blindspace.experiments.fig4.measure import CONTROLS, PARALLEL, deviations, directions, examined, grids
from blindspace.experiments.fig4.report import claims, rows
from blindspace.experiments.fig4.settings import FIRST, LAST, WHOLE, Contour
from blindspace.experiments.parts import Kept
from blindspace.maps import Dense
from blindspace.subspaces import nullspace

ALPHA, BETA = torch.tensor([-1.0, 0, 1, 2]).double(), torch.tensor([-16.0, 0, 16]).double()


def layer() -> Dense:
    return Dense(torch.randn(4, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


def noise(n: int, seed: int) -> Tensor:
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_grids_are_the_combinations() -> None:
    a, change = layer(), noise(1, 1)
    pinv = torch.linalg.pinv(a.matrix)
    orthogonal = change @ (pinv @ a.matrix).T
    parallel = change - orthogonal
    other = noise(1, 2)
    found = grids(nullspace(a), a, change, {"other": other}, ALPHA, BETA)
    for i, j in itertools.product(range(4), range(3)):
        base = ALPHA[i] * orthogonal / orthogonal.norm()
        assert torch.allclose(found[PARALLEL][i, j], (base + BETA[j] * parallel / parallel.norm())[0], atol=1e-12)
        assert torch.allclose(found["other"][i, j], (base + BETA[j] * other)[0], atol=1e-12)


def test_a_short_parallel_component_leaves_no_more_than_rounding() -> None:
    a = layer()
    space = nullspace(a)
    change = space.reject(noise(1, 1)) + 1e-6 * space.project(noise(1, 2))
    outputs = a.forward(grids(space, a, change, {}, ALPHA, BETA)[PARALLEL].flatten(0, 1)).view(4, 3, -1)
    assert deviations(outputs, ALPHA, outputs[2, 1])[0] < 1e-13


def test_deviations() -> None:
    reference = torch.tensor([1.0, -4.0]).double()
    flat = (ALPHA.view(-1, 1, 1) * reference).expand(4, 3, 2)
    assert deviations(flat, ALPHA, reference) == (0, 0)
    bent = flat.clone()
    bent[2, 1, 0] += 2
    assert deviations(bent, ALPHA, reference) == (0.25, 0.25)
    # Flat, but not proportional, as behind a non-linearity.
    within, off = deviations(flat.relu(), ALPHA, reference.relu())
    assert within == 0
    assert off == 1.0  # 4 at α = −1, where 0 would be proportional


def test_directions_are_those_of_all_pairs() -> None:
    a, changes = layer(), noise(5, 3)
    space = nullspace(a)
    found = directions(space, a, changes)
    expected = []
    for u, v in itertools.combinations(space.reject(changes), 2):
        difference = u / u.norm() - v / v.norm()
        expected.append(float((a.matrix @ difference).norm() / difference.norm()))
    assert found.tolist() == pytest.approx(expected)
    assert float(found.min()) >= float(torch.linalg.svdvals(a.matrix)[-1])


def test_rows_are_flat_for_the_parallel_component_alone() -> None:
    a = layer()
    pairs = [(torch.zeros(1, 12, dtype=torch.float64), change[None]) for change in noise(3, 4)]
    found = examined(nullspace(a), a, a.forward, pairs, (ALPHA, BETA), 5, torch.Generator().manual_seed(0))
    assert float(found[PARALLEL].max()) < 1e-13
    assert 0 < float(found["one ulp"].max()) < 1e-13
    assert all(float(found[name][:, 0].min()) > 0.1 for name in CONTROLS)
    assert found["parallel map"].shape == (5, 5)
    assert float((found["parallel map"].amax(1) - found["parallel map"].amin(1)).max()) < 1e-12
    assert float((found["random subspace map"].amax(1) - found["random subspace map"].amin(1)).min()) > 0.1


def fake() -> dict[str, Kept]:
    """Values with which every claim holds."""
    arrays: dict[str, Tensor] = {}
    for level in (LAST, FIRST, WHOLE):
        arrays[f"{level}, {PARALLEL}"] = torch.full((3, 2), 2e-15, dtype=torch.float64)
        arrays[f"{level}, one ulp"] = torch.full((3, 2), 1e-15, dtype=torch.float64)
        arrays |= {f"{level}, {name}": torch.ones(3, 2, dtype=torch.float64) for name in CONTROLS}
        arrays[f"{level}, directions"] = torch.tensor([0.5, 0.6, 0.7]).double()
    arrays[f"{WHOLE}, {PARALLEL}"][:, 1] = 0.3
    arrays[f"{WHOLE}, float32"] = torch.full((3,), 1e-6)
    arrays[f"{WHOLE}, labels"] = torch.zeros(3, dtype=torch.int64)
    return {name: Kept({"sigma": 0.2}, arrays) for name in ("last", "first")}


def test_claims_hold_and_fail() -> None:
    s = Contour("cpu", orthogonal=(-1, 0, 1), parallel=(-1, 0, 1))
    holds = [claim.holds for claim in claims(s, fake())]
    assert len(holds) == 8
    assert all(holds)
    for name, where, value, index in (
        (f"{LAST}, {PARALLEL}", (0, 0), 1e-12, 0),  # no longer flat
        (f"{LAST}, {PARALLEL}", (1, 1), 1e-12, 1),  # nor proportional
        (f"{FIRST}, Gaussian", (2, 0), 1e-15, 2),  # a control is flat too
        (f"{WHOLE}, {PARALLEL}", (0, 0), 0.1, 4),
        (f"{LAST}, directions", (1,), 0.1, 5),  # below the smallest singular value
        (f"{FIRST}, directions", (1,), 0.1, 6),
        (f"{WHOLE}, {PARALLEL}", (0, 1), 0.0, 7),  # a linear network
    ):
        done = fake()
        done["first"].arrays[name][where] = value
        found = [claim.holds for claim in claims(s, done)]
        assert found[index] is False, name
        assert sum(each is False for each in found) == 1


def test_rows() -> None:
    s, done = Contour("cpu", orthogonal=(-1, 0, 1), parallel=(-1, 0, 1)), fake()
    done["first"].arrays[f"{WHOLE}, labels"][1] = 2
    found = {(row.case, row.quantity): row for row in rows(s, done)}
    assert found[WHOLE, "rows of more than one label, float32"].ours == pytest.approx(2 / 9)
    assert found[LAST, "largest difference within a row"].ours == 2e-15
    assert found[WHOLE, "largest deviation from proportional"].reference is None
    control = found[f"{FIRST}, shuffled for parallel", "difference within a row, mean"]
    assert control.control
    assert control.ours == 1
