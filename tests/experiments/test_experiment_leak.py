"""The leak: the small networks, what is kept of every attacker, and claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from test_experiment_fig1 import patches

from blindspace.data import samples
from blindspace.evidence._leakage import ANYONE, MEAN_IN_RANGE
from blindspace.experiments.leak import EXPERIMENT
from blindspace.experiments.leak.measure import measure, principal_patches, protected_by
from blindspace.experiments.leak.settings import (
    ATTEMPTS,
    CONTROLS,
    FILTERS,
    ORIGINAL,
    PATCHES,
    PRINCIPAL,
    READ,
    SSIM,
    STEM,
    Leak,
)
from blindspace.experiments.parts import Kept
from blindspace.networks import harmless
from figures import drawn

needs_metrics = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torchmetrics", "stlpips_pytorch", "skimage")),
    reason="the extra metrics is not here",
)


def test_principal_patches() -> None:
    """Orthonormal, and the principal components of patches that are cut out one by one."""
    x = samples("cifar10").tensor(torch.float64)[:20]
    found = principal_patches(x).flatten(1)
    assert torch.allclose(found @ found.T, torch.eye(FILTERS, dtype=torch.float64), atol=1e-10)
    cut = [each[:, i : i + 8, j : j + 8].flatten() for each in x for i in range(0, 32, 8) for j in range(0, 32, 8)]
    rows = torch.stack(cut)
    rows = rows - rows.mean(0)
    held = float((rows @ found.T).square().sum())
    assert held == pytest.approx(float(torch.linalg.svdvals(rows)[:FILTERS].square().sum()), rel=1e-10)


def test_small_networks() -> None:
    """Reproducible, and without effect on the global random state."""
    s = Leak("smoke", 5, learned=20)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    for case, dim in ((PATCHES, 2304), (PRINCIPAL, 2304), (STEM, 512)):
        network = protected_by(case, s)
        again = protected_by(case, s)
        assert harmless(network).dim == dim
        weights = zip(network.module.state_dict().values(), again.module.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights)
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture(scope="module")
def made() -> tuple[Leak, dict[str, Kept]]:
    s = Leak("smoke", 3, (PATCHES,), ("reader",), count=2, iterations=20)
    return s, {PATCHES: measure(s, PATCHES, patches(), lambda done, total, what: None)}


@needs_metrics
def test_what_is_kept(made: tuple[Leak, dict[str, Kept]], tmp_path: Path) -> None:
    s, done = made
    part = done[PATCHES]
    assert [*part.values["methods"]] == [*ATTEMPTS][1:]
    x = samples("cifar10").tensor(torch.float64)[:2]
    reader = patches()
    right = reader.labels(x) == torch.tensor(samples("cifar10").labels[:2])
    assert torch.equal(part.arrays[f"{READ} {ORIGINAL}"], right)
    assert float(part.arrays[f"{SSIM} {MEAN_IN_RANGE}"].mean()) > float(part.arrays[f"{SSIM} {ANYONE}"].mean())
    hidden = part.arrays["picture"][1].double()
    space = harmless(protected_by(PATCHES, s))
    original = x[part.values["example"]]
    assert float(space.reject((hidden - original)[None]).abs().max()) < 1e-6  # the picture is in float32
    rows = EXPERIMENT.rows(s, done)
    assert len({(row.case, row.quantity) for row in rows}) == len(rows)
    assert sum(row.control for row in rows) == 3 * len(CONTROLS) - 2  # the original has no distance from itself
    with drawn() as pictures:
        EXPERIMENT.draw(s, done, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"leak.png", "leak-read.png"} == pictures.files.keys()
    for name in pictures.files:
        pictures.check(name)
    assert {ATTEMPTS[ANYONE], ATTEMPTS[MEAN_IN_RANGE], "chance"} <= pictures.texts("leak-read.png")


@needs_metrics
@pytest.mark.parametrize(("name", "value"), [("visible", 1e-3), ("labels changed", 1), ("", 0.0)])
def test_claims_can_fail(made: tuple[Leak, dict[str, Kept]], name: str, value: float) -> None:
    s, done = made
    part = done[PATCHES]
    values = {**part.values, name: value} if name else part.values
    assert EXPERIMENT.claims(s, {PATCHES: replace(part, values=values)})[0].holds is (name == "")
    alike = {**part.arrays, "picture": torch.zeros_like(part.arrays["picture"])}
    assert EXPERIMENT.claims(s, {PATCHES: Kept(part.values, alike)})[0].holds is False


@needs_metrics
def test_content_claim_needs_a_clear_difference(made: tuple[Leak, dict[str, Kept]]) -> None:
    s, done = made
    s, part = replace(s, preset="cpu"), done[PATCHES]
    for hidden, completed, holds in ((10, 60, True), (10, 15, False), (60, 10, False)):
        counts = {ANYONE: hidden, MEAN_IN_RANGE: completed}
        arrays = {f"{READ} {attempt}": torch.arange(100) < counts.get(attempt, 50) for attempt in ATTEMPTS}
        claims = EXPERIMENT.claims(s, {PATCHES: Kept(part.values, {**part.arrays, **arrays})})
        assert claims[1].holds is holds
