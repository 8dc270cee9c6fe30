"""lfp-onoff: parts along every control at equal norm, and the verdict from accuracies made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blindspace.data import samples
from blindspace.experiments.common.image_manifolds import autoencoder
from blindspace.experiments.common.perturbation_parts import OFF, ON
from blindspace.experiments.lfp_onoff.measure import _base, _parts_of
from blindspace.experiments.lfp_onoff.report import PCA, RANDOM, claims, draw, rows, verdicts
from blindspace.experiments.lfp_onoff.settings import (
    ALONG,
    BASES,
    CELLS,
    IMAGES,
    NOISE,
    NONE,
    WHOLE,
    for_preset,
    groups,
)
from blindspace.experiments.parts import Kept, Parts, Settings
from blindspace.experiments.verdicts import checked

S = replace(for_preset("cpu", 0), makers=(("mnist", "mlp"), ("mnist", "convnet")))


def made(accuracies: dict[str, float]) -> Parts:
    """Parts with given accuracies, 0.05 where none is given."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        students = {}
        for name in (f"{base}/{cell}" for base in BASES for cell in CELLS):
            students[name] = {"test": [0.5, accuracies.get(name, 0.05) + case.seed / 1000]}
        sets = {base: {"success": 0.8} for base in BASES}
        values = {"network": {}, "sets": sets, "students": students, "chance": 16 / 784}
        done[case.part] = Kept(values, {f"{base}/share": torch.linspace(0.1, 0.3, 20).double() for base in BASES})
    return done


def test_parts_have_equal_norms_and_lie_where_they_should() -> None:
    s = for_preset("smoke", 0)
    case = groups(s)[0][0]
    manifold = autoencoder("mnist", Settings("smoke"))
    x = samples("mnist").tensor()[:9]
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    added, share = _parts_of(s, case, d, x, manifold)
    assert set(added) == set(CELLS)
    for cell, part in added.items():
        if cell != NONE:
            torch.testing.assert_close(part.flatten(1).norm(dim=1), d.flatten(1).norm(dim=1))
    tangent = manifold.tangent(x)
    torch.testing.assert_close(tangent.energy(added[ON]), torch.ones(9).double())
    torch.testing.assert_close(tangent.energy(added[OFF]), torch.zeros(9).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(share, tangent.energy(d))
    for name in ALONG.values():
        of = torch.nn.functional.cosine_similarity(added[name].flatten(1), d.flatten(1))
        assert float(of.min()) > 0
        assert float((added[name] - added[ON]).abs().max()) > 1e-3


def test_noise_has_any_targets_and_images_never_their_own() -> None:
    s = for_preset("smoke", 0)
    case = groups(s)[0][0]
    x, targets = _base(s, case, IMAGES)
    assert not bool((targets == samples("mnist").targets()[: len(x)]).any())
    z, of_noise = _base(s, case, NOISE)
    assert z.shape == x.shape
    assert 0 <= float(z.min()) <= float(z.max()) <= 1
    assert int(of_noise.max()) <= 9


def test_verdict() -> None:
    def answer(accuracies: dict[str, float]) -> str | None:
        (verdict,) = checked("lfp-onoff", verdicts(S, made({f"{IMAGES}/{k}": v for k, v in accuracies.items()})))
        return verdict.answer

    assert answer({ON: 0.6}) == "holds"
    assert answer({ON: 0.6, OFF: 0.3}) == "does not hold"
    assert answer({ON: 0.3, OFF: 0.6}) == "does not hold"
    assert answer({ON: 0.6, RANDOM: 0.6}) == "does not hold"


def test_rows_claims_and_picture(tmp_path: Path) -> None:
    given = {WHOLE: 0.7, ON: 0.3, OFF: 0.6, RANDOM: 0.2, PCA: 0.5}
    done = made({f"{base}/{cell}": accuracy for base in BASES for cell, accuracy in given.items()})
    assert [claim.holds for claim in claims(S, done)] == [True, True, True, False, True]
    by_name = {(row.case, row.quantity): row for row in rows(S, done)}
    row = by_name["MNIST MLP, images", "accuracy from the part off the manifold − from the part on it"]
    assert row.ours == pytest.approx(0.3)
    assert by_name[f"MNIST ConvNet, noise, {PCA}", "accuracy on clean test images"].control
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "onoff.png").stat().st_size < 500_000
