"""Figures 6, 7 and 8: what a sweep measures, and claims that can fail."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from blindspace.experiments.common.gallery.measure import CONTROLS, Base, Gallery, _mark, sweep
from blindspace.experiments.common.gallery.report import exact_up_to, gallery_claims, gallery_rows
from blindspace.experiments.common.models import examples
from blindspace.experiments.parts import Kept
from blindspace.networks import Network, harmless
from blindspace.perturbations import harmless_noise

N, K = 12, 4


def settings(base: Base = "natural") -> Gallery:
    return Gallery("cpu", 0, base, shown=(8, 256), beyond=(2**20, 2**30), batch=5)


def test_sweep_against_one_image_at_a_time() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, K))
    network = Network("patches", module.eval(), (3, 8, 8))
    s, draw = settings(), torch.Generator().manual_seed(1)
    base = torch.rand(7, 3, 8, 8, generator=draw, dtype=torch.float64)
    unit = harmless_noise(harmless(network), len(base), 1 / 255, generator=draw)
    other = torch.randn(base.shape, generator=draw, dtype=torch.float64) / 100
    found = sweep(s, network, base, {"harmless": unit, "Gaussian": other}, lambda *_: None)
    # Computed image by image, without the network's own batching.
    for m, change, labels in zip(
        s.magnitudes, found["Gaussian float32 change"], found["Gaussian float32 label"], strict=True
    ):
        for i, x in enumerate(base):
            with torch.no_grad():
                before, after = (module(v[None].float())[0] for v in (x, x + m * other[i]))
            assert change[i] == pytest.approx(float((after - before).abs().max()), rel=1e-5)
            assert int(labels[i]) == int(after.argmax())
    assert "Gaussian float64 label" not in found
    # Harmless in float64 at any magnitude, within the effect of one ulp; in float32 not at the largest magnitude.
    assert bool((found["harmless float64 label"] == found["base float64 label"]).all())
    times = found["harmless float64 change"].amax(1) / found["one ulp float64 change"].amax(1)
    assert float(times.max()) < 100
    assert float(found["harmless float32 change"][-1].max()) > 1e4 * float(found["harmless float64 change"][-1].max())
    assert found["harmless float64 change"].shape == (4, 7)


def test_a_row_is_exact_up_to_the_first_change() -> None:
    s, none = settings(), torch.zeros(4, N, dtype=torch.bool)
    assert exact_up_to(s, none) == 2**30
    for first, expected in enumerate((0, 8, 256, 2**20)):
        some = none.clone()
        some[first, 3] = True
        some[3, 5] = True
        assert exact_up_to(s, some) == expected


def test_examples_are_the_first_of_each_class() -> None:
    truth = torch.tensor([1, 1, 0, 2, 0, 2])
    every = torch.ones(6, dtype=torch.bool)
    assert examples(truth, every, 3) == [0, 2, 3]
    assert examples(truth, truth != 0, 2) == [0, 3]
    assert examples(truth, truth == 1, 2) == [0, 1]
    assert [_mark(3, 3, 5), _mark(5, 3, 5), _mark(4, 3, 5)] == ["right", "as the base", "other"]


def fake(base: Base = "natural") -> dict[str, Tensor]:
    """A sweep with which every claim holds: an attack that always succeeds, noise that never does."""
    truth = torch.arange(N) % K
    wrong = (truth + 1) % K
    labels = {"natural": truth, "gaussian": truth, "adversarial": wrong}
    own = labels[base]
    arrays = {f"label {name}": value.clone() for name, value in labels.items()} | {"truth": truth}
    for precision, floor in (("float32", 1e-6), ("float64", 1e-15)):
        arrays[f"base {precision} label"] = own.clone()
        arrays[f"harmless {precision} label"] = own.expand(4, -1).clone()
        arrays[f"harmless {precision} change"] = torch.full((4, N), 2 * floor, dtype=torch.float64)
        arrays[f"one ulp {precision} change"] = torch.full((4, N), floor, dtype=torch.float64)
    for kind in CONTROLS:
        arrays[f"{kind} float32 label"] = ((own + 1) % K).expand(4, -1).clone()
        arrays[f"{kind} float32 change"] = torch.ones(4, N, dtype=torch.float64)
    return arrays


def holds(base: Base, arrays: dict[str, Tensor]) -> list[bool | None]:
    return [claim.holds for claim in gallery_claims(settings(base), {"sweep": Kept({}, arrays)})]


@pytest.mark.parametrize("base", ["natural", "adversarial", "gaussian"])
def test_claims_hold_of_what_the_paper_says(base: Base) -> None:
    assert all(holds(base, fake(base)))


def test_each_claim_fails_of_what_it_denies() -> None:
    arrays = fake()
    arrays["harmless float32 label"][1, 0] += 1
    assert holds("natural", arrays)[0] is False
    # Beyond the magnitudes of the picture float32 may change labels, float64 may not.
    arrays = fake()
    arrays["harmless float32 label"][2, 0] += 1
    assert all(holds("natural", arrays))
    arrays["harmless float64 label"][2, 0] += 1
    assert holds("natural", arrays)[0] is False
    arrays = fake()
    arrays["harmless float64 change"][0, 0] = 1e-13
    assert holds("natural", arrays)[1] is False
    arrays = fake()
    arrays["shuffled float32 label"] = arrays["harmless float32 label"].clone()
    assert holds("natural", arrays)[2] is False
    arrays = fake("adversarial")
    arrays["harmless float32 label"][1, 2] = arrays["truth"][2]
    assert holds("adversarial", arrays)[3] is False
    arrays = fake("gaussian")
    arrays["label gaussian"] = arrays["label adversarial"].clone()
    assert holds("gaussian", arrays)[4] is False


def test_rows_are_what_the_arrays_say() -> None:
    arrays = fake("adversarial")
    arrays["harmless float32 label"][1, :3] = arrays["truth"][:3]
    rows = {(row.case, row.quantity): row for row in gallery_rows(settings("adversarial"), {"sweep": Kept({}, arrays)})}
    assert rows["harmless, 256/255", "labels changed, float32"].ours == pytest.approx(3 / N)
    assert rows["harmless, 256/255", "images recognised before and not after"].ours == pytest.approx(9 / N)
    assert rows["harmless, 8/255", "largest change of an output, float64"].ours == 2e-15
    assert rows["PGD-20 alone, 8/255", "images recognised before and not after"].ours == 1
    assert rows["Gaussian noise alone, 8/255", "images recognised before and not after"].control
    controls = [row for row in rows.values() if row.case.startswith("shuffled")]
    assert len(controls) == 2
    assert all(row.control and row.ours == 1 for row in controls)
