"""Figure 5a: the network cut in two, the attack on features, the readings; claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from blindspace.errors import UnsupportedLayerError
from blindspace.experiments.common.features import cut, feature_pgd
from blindspace.experiments.common.magnitudes import FIELDS, Reading, Readings, labels_of, read, ulp
from blindspace.experiments.fig5a.report import claims, draw, rows
from blindspace.experiments.fig5a.settings import CONTROLS, Case, Fig5a, cases, for_preset
from blindspace.experiments.parts import Kept
from blindspace.networks import Network, harmless, layers
from blindspace.networks.paper_networks import SKIPPED, convolutional
from blindspace.perturbations.controls import shuffled
from blindspace.subspaces import nullspace
from figures import drawn


def small() -> Network:
    """A sequence of nested blocks of convolutions, as in a ResNet."""
    torch.manual_seed(0)
    stage = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 2, 3, 2, 1), nn.ReLU()))
    return Network("small", nn.Sequential(stage, nn.Flatten(), nn.Linear(32, 3)).eval(), (4, 8, 8))


@pytest.mark.parametrize("block", ["0.1", "0.1.1", "1", "2"])
def test_both_halves_are_the_network(block: str) -> None:
    network, x = small(), torch.rand(3, 4, 8, 8)
    halves = cut(network, block)
    seen: list[Tensor] = []
    network.module.get_submodule(block).register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    whole = network.outputs(x)
    read = seen[-1]
    features = halves.head.outputs(x)
    assert torch.equal(features, read)
    assert torch.equal(halves.tail.outputs(features), whole)
    assert halves.tail.input_shape == features.shape[1:]


def test_what_is_not_in_a_row_is_not_cut() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.second(self.first(x)) + x
            return out

    network = Network("skipping", Skipping().eval(), (4,))
    with pytest.raises(UnsupportedLayerError, match="cannot be cut at second"):
        cut(network, "second")
    with pytest.raises(UnsupportedLayerError, match="no part called 'third'"):
        cut(network, "third")


def test_without_the_skip_connection_a_layers_nullspace_is_the_networks() -> None:
    """With the skip connection, part of the perturbation bypasses the layer (appendix F.2)."""
    if find_spec("timm") is None:
        pytest.skip("the extra [timm] is not installed")
    torch.manual_seed(0)
    block, layer = SKIPPED["resnet50"]
    for skip in (False, True):
        module = convolutional("resnet50", skip=skip).eval()
        tail = cut(Network("resnet50", module, (3, 32, 32)), block).tail
        space = nullspace(module.get_submodule(f"{block}.{layer}"), tail.input_shape)
        delta = space.sample(2, torch.Generator().manual_seed(1))
        z = torch.rand(2, *tail.input_shape, dtype=torch.float64)
        clean, mixed = tail.outputs(z, torch.float64), shuffled(delta, torch.Generator().manual_seed(2))
        change = float((tail.outputs(z + delta, torch.float64) - clean).abs().max())
        assert (
            float((tail.outputs(z + mixed, torch.float64) - clean).abs().max()) > 1e-3
        )  # the block affects the output
        assert space.dim == 12288
        assert harmless(tail).dim == (0 if skip else 12288)
        assert layers(tail)[0].harmless_for_network is not skip
        assert change > 1e-3 if skip else change < 1e-12


def test_the_attack_on_features_follows_the_gradients_sign() -> None:
    """On a linear network the sign of the gradient is constant, so every step has the same direction up to the ball."""
    torch.manual_seed(0)
    linear = nn.Linear(6, 2, bias=False)
    network = Network("linear", linear, (6,))
    features, labels = torch.rand(5, 6), torch.tensor([0, 1, 0, 1, 0])
    size = torch.rand(5, 1) + 0.5
    away = (linear.weight[1] - linear.weight[0]).sign() * torch.where(labels == 0, 1.0, -1.0)[:, None]
    for steps, share in ((4, 0.5), (20, 1.0)):
        found = feature_pgd(network, features, labels, size, steps, random_start=0.0)
        torch.testing.assert_close(found, share * size * away)
    started = feature_pgd(network, features, labels, size, 1, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(started, size / 8 * away + 0.001 * noise * size * 255 / 8)


def test_ulp_is_the_distance_to_the_next_number() -> None:
    values = torch.tensor([0.0, 1.0, -1.0, 8.03, 3e-5])
    found = torch.nextafter(values, torch.tensor([1.0, 2.0, -2.0, 9.0, 1.0])) - values
    assert torch.equal(ulp(values), found.abs())
    assert float(ulp(torch.ones(1))) == torch.finfo(torch.float32).eps
    assert float(ulp(torch.ones(1, dtype=torch.float64))) == torch.finfo(torch.float64).eps


def test_readings_are_what_outputs_say() -> None:
    network, x = small(), torch.rand(6, 4, 8, 8, dtype=torch.float64)
    found, magnitudes = Readings(), (1.0, 30.0)
    delta = torch.randn_like(x)
    for part in (slice(0, 4), slice(4, 6)):
        clean = network.outputs(x[part], torch.float64)
        found.add("noise", read(network, (x[part] + m * delta[part] for m in magnitudes), clean))
        found.keep("clean", labels_of(clean))
    arrays = found.arrays()
    got = Reading(*(arrays[f"noise/{field}"] for field in FIELDS))
    clean = network.outputs(x, torch.float64)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    for index, m in enumerate(magnitudes):
        outputs = network.outputs(x + m * delta, torch.float64)
        for image in range(6):
            change = outputs[image] - clean[image]
            assert float(got.largest[index, image]) == pytest.approx(float(change.abs().max()))
            assert float(got.rmse[index, image]) == pytest.approx(float(change.square().mean().sqrt()))
        assert got.right(targets)[index] == int((outputs.argmax(1) == targets).sum())
        assert got.changed(arrays["clean"])[index] == int((outputs.argmax(1) != clean.argmax(1)).sum())


N = 200
SMALL = replace(for_preset("cpu", 0), architectures=("resnet18",), magnitudes=(1, 16, 256))


def faked(case: Case, wrong: int = 0, own: int = 0, floor: int = 0, noticed: bool = True) -> Kept:
    """A network that is correct on 150 of 200 images; ``wrong`` and ``own`` labels change at the largest magnitude."""
    clean = torch.zeros(N, dtype=torch.int16)
    targets = (torch.arange(N) >= 150).long()

    def at(changed: int, all_magnitudes: bool = False) -> dict[str, Tensor]:
        labels = clean.repeat(3, 1)
        labels[0 if all_magnitudes else 2 :, :changed] = 2
        return {"labels": labels, "largest": torch.full((3, N), 1e-14), "rmse": torch.full((3, N), 1e-15)}

    kinds = {"harmless/own": at(150 if case.place == "kept" else own), "one ulp/own": at(floor)}
    kinds |= {kind: at(140 if noticed else 0) for kind in CONTROLS}
    if case.flat:
        kinds |= {"harmless/exact": at(wrong), "one ulp/exact": at(0)}
    arrays = {f"{kind}/{field}": value for kind, fields in kinds.items() for field, value in fields.items()}
    arrays |= {"clean/own": clean, "clean/exact": clean, "targets": targets}
    arrays |= {"residual": torch.full((N,), 1e-17), "outside": torch.rand(3, N), "energy": torch.rand(N)}
    kept = case.place == "kept"
    dim = {"images": 512, "both": 1024}.get(case.place, 2048)
    return Kept({"dim": dim, "kind": "exact", "alone": not kept, "left": 1024 if kept else None}, arrays)


def everything(s: Fig5a = SMALL, **changes: Kept) -> dict[str, Kept]:
    """All parts, some of them replaced."""
    return {case.part: faked(case) for case in cases(s)} | {name.replace("_", "-"): k for name, k in changes.items()}


def test_claims_hold_where_nothing_changes() -> None:
    found = claims(SMALL, everything())
    assert [claim.holds for claim in found] == [True] * 6
    assert "0 of 600 predictions" in found[0].text
    assert "from 75.0% to 0.0%; 1024 of the 2048 dimensions" in found[5].text


def test_one_changed_prediction_is_enough() -> None:
    done = everything(removed_resnet18=faked(Case("removed", "resnet18"), wrong=1))
    assert [claim.holds for claim in claims(SMALL, done)] == [True, False, True, True, True, True]


def test_a_network_that_notices_nothing_shows_nothing() -> None:
    done = everything(images_resnet18=faked(Case("images", "resnet18"), noticed=False))
    found = claims(SMALL, done)
    assert found[0].holds is None
    assert found[4].holds is False  # the controls do not lower its accuracy


def test_float32_is_measured_by_its_rounding() -> None:
    """Three labels beside four that unrelated rounding changes are rounding; sixty are not."""
    for own, floor, holds in ((3, 4, True), (60, 4, False)):
        done = everything(images_resnet18=faked(Case("images", "resnet18"), own=own, floor=floor))
        claim = claims(SMALL, done)[3]
        assert claim.holds is holds
        assert f"{own} of 600 images" in claim.text
        assert f"does so to {floor}" in claim.text


def test_an_undecided_dimension_is_not_certified() -> None:
    part = faked(Case("both", "resnet18"))
    done = everything(both_resnet18=Kept({**part.values, "kind": "undecided"}, part.arrays))
    assert claims(SMALL, done)[2].holds is False


def test_the_smoke_preset_is_too_small_to_tell_of_accuracy() -> None:
    s = replace(SMALL, preset="smoke")
    assert [claim.holds for claim in claims(s, everything())] == [True, True, True, True, None, None]


def test_rows_and_picture(tmp_path: Path) -> None:
    done = everything(removed_resnet18=faked(Case("removed", "resnet18"), wrong=10))
    found = {(row.case, row.quantity): row for row in rows(SMALL, done)}
    assert len(found) == len(rows(SMALL, done))
    flat = found["ResNet-18, images, α = 256", "change in accuracy"]
    assert (flat.ours, flat.reference) == (0.0, 0.0)
    assert found["ResNet-18, features, skip removed, α = 256", "change in accuracy"].ours == -10 / N
    assert found["ResNet-18, features, skip kept, α = 256", "change in accuracy"].reference is None
    assert found["ResNet-18, images", "dimension of the harmless subspace"].difference == 0
    control = found["ResNet-18, images, shuffled, α = 256", "accuracy"]
    assert control.control
    assert control.ours == 10 / N
    assert control.reason == "α = 1 … 256: 75.0%, 75.0%, 5.0%"
    pytest.importorskip("matplotlib")
    with drawn() as pictures:
        draw(SMALL, done, tmp_path)
    pictures.check("fig5a.png")
    assert {*CONTROLS, "harmless", "harmless for the layer"} <= pictures.texts("fig5a.png")
