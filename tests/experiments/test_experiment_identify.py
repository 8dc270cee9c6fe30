"""Identification: queries, what follows from labels alone, modified copies, and claims that can fail."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blindspace.evidence import identify, probe
from blindspace.experiments.identify.modified_copies import (
    changed,
    eight_bit,
    fine_tuned,
    half_precision,
    half_pruned,
    restemmed,
)
from blindspace.experiments.identify.querying import (
    EIGHT_BIT,
    WAYS,
    by_labels,
    nearest,
    query,
    verdict,
    way,
    within_range,
)
from blindspace.experiments.identify.report import claims, rows
from blindspace.experiments.identify.settings import KEPT, MOVED, SHIPPED, STRANGER, Identify
from blindspace.experiments.parts import Kept
from blindspace.networks import Network

N = 6


def patches(seed: int) -> Network:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(3, 7, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(28, 5))
    return Network(f"net-{seed}", module.eval(), (3, 8, 8))


def noise(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_asking_image_by_image_is_the_packages_identification() -> None:
    crowd = [patches(seed) for seed in range(3)]
    x = torch.rand(N, 3, 8, 8, generator=noise(0), dtype=torch.float64)
    probes = [probe(each, x, 1.0, noise(i)) for i, each in enumerate(crowd)]
    for network in (*crowd, patches(9)):
        assert verdict(probes, [query(network, of) for of in probes]) == identify(network, probes)
    # A constant network reveals nothing, and is not identified.
    constant = Network("constant", nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), (3, 8, 8))
    nn.init.zeros_(constant.module[1].weight)  # type: ignore[index]
    silent = [query(constant, of) for of in probes]
    assert not bool(silent[0].change.isfinite().any())
    assert verdict(probes, silent) == identify(constant, probes)
    assert verdict(probes, silent).match is None


def test_what_happens_on_the_way_happens_to_all_three() -> None:
    network = patches(0)
    of = probe(network, torch.rand(N, 3, 8, 8, generator=noise(0), dtype=torch.float64), 1.0, noise(1))
    assert float(query(network, of).change.max()) < 1e-5
    assert torch.allclose(query(network, of, lambda v: v.flip(3).flip(3)).change, query(network, of).change)
    assert float(query(network, of, lambda v: (v * 8).round() / 8).change.max()) > 1e-3


def test_ways_and_the_probe_that_fits() -> None:
    network = patches(0)
    of = within_range(probe(network, torch.rand(N, 3, 8, 8, dtype=torch.float64), 1.0, noise(1)), 0.25)
    assert 0 <= float(of.harmless.min()) < float(of.harmless.max()) <= 1
    assert float((of.harmless - of.images).abs().max()) == pytest.approx(0.25)
    assert float(query(network, of).change.max()) < 1e-5
    draw = noise(2)
    for name in WAYS:
        first, second = (way(name, draw)(of.images) for _ in range(2))
        assert torch.equal(first, second) is (not name.startswith("noise"))
        assert torch.equal(first, of.images) is (name == "nothing")
        assert torch.allclose(first * 255, (first * 255).round()) is (name == EIGHT_BIT or name.startswith("JPEG"))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_labels_alone_by_counting_all_choices(n: int) -> None:
    label = torch.tensor([1, 0, 0, 0, 1, 0]).bool()
    control = torch.tensor([1, 1, 0, 0, 0, 1]).bool()
    choices = [list(c) for c in itertools.combinations(range(N), n)]
    taken = [not bool(label[c].any()) and bool(control[c].any()) for c in choices]
    assert by_labels(label, control, n) == pytest.approx(sum(taken) / len(choices))
    assert by_labels(torch.zeros(N).bool(), control, N) == 1


def test_nearest() -> None:
    # Networks, probes, images: the own probe is nearest on the first image, for both networks.
    changes = torch.tensor([[[0.1, 0.9], [0.5, 0.2]], [[0.05, 0.7], [0.02, 0.9]]])
    assert nearest(changes) == (2, 4)


@pytest.mark.parametrize("change", [eight_bit, half_precision, half_pruned])
def test_copies_leave_the_original_alone(change: Any) -> None:
    network = patches(0)
    before = [p.clone() for p in network.module.parameters()]
    whole, kept = changed(network, "whole", change), changed(network, "kept", change, stem=False)
    assert all(torch.equal(p, q) for p, q in zip(before, network.module.parameters(), strict=True))
    assert torch.equal(_stem(kept), _stem(network))
    assert not torch.equal(_stem(whole), _stem(network))
    assert torch.equal(_last(whole), _last(kept))
    assert not torch.equal(_last(kept), _last(network))


def _stem(network: Network) -> Tensor:
    return network.module.get_parameter("0.weight").detach()


def _last(network: Network) -> Tensor:
    return network.module.get_parameter("3.weight").detach()


def test_copies_are_modified_as_named() -> None:
    network = patches(0)
    weight = _stem(network)
    quantised = _stem(changed(network, "", eight_bit))
    for old, new in zip(weight, quantised, strict=True):
        step = float(old.abs().max()) / 127
        assert torch.allclose(new / step, (new / step).round(), atol=1e-3)
        assert float((new - old).abs().max()) <= step * 0.501
    pruned = _stem(changed(network, "", half_pruned))
    assert int((pruned == 0).sum()) == weight.numel() // 2
    assert float(weight.abs()[pruned == 0].max()) <= float(weight.abs()[pruned != 0].min())
    near = _stem(restemmed(network, "", noise(0), 0.01))
    assert float((near - weight).norm() / weight.norm()) == pytest.approx(0.01, rel=1e-3)
    random = _stem(restemmed(network, "", noise(5)))
    assert float(random.norm()) == pytest.approx(float(weight.norm()))
    assert abs(float(torch.corrcoef(torch.stack([random.flatten(), weight.flatten()]))[0, 1])) < 0.3


def test_fine_tuning_trains_all_but_the_stem() -> None:
    network = patches(0)
    x, y = torch.rand(40, 3, 8, 8, generator=noise(0)), torch.arange(40) % 5
    kept = fine_tuned(network, "", x, y, noise(1), stem=False, batch=10)
    whole = fine_tuned(network, "", x, y, noise(1), batch=10)
    assert torch.equal(_stem(kept), _stem(network))
    assert not torch.equal(_last(kept), _last(network))
    assert not torch.equal(_stem(whole), _stem(network))
    again = fine_tuned(network, "", x, y, noise(1), batch=10)
    assert torch.equal(_stem(again), _stem(whole))
    assert not whole.module.training


SETTINGS = Identify("cpu", paper=(), count=N, impostors=3, drifts=(1e-6, 1e-2))


def fake() -> dict[str, Kept]:
    """Values with which every claim holds: two candidates, one copy of each kind, a stranger."""
    asked = [
        {"name": SHIPPED, "kind": "candidate", "match": SHIPPED, "change": [1e-6, 1.0]},
        {"name": "other", "kind": "candidate", "match": "other", "change": [0.9, 1e-6]},
        {"name": "tuned", "kind": KEPT, "match": SHIPPED, "change": [1e-6, 1.0]},
        {"name": "rounded", "kind": MOVED, "match": None, "change": [1e-2, 1.0]},
        {"name": "nobody", "kind": STRANGER, "match": None, "change": [0.8, 1.1]},
    ]
    changes = torch.ones(2, 2, N)
    changes[0, 0] = changes[1, 1] = 0.01
    ways = {f"way {name}": changes.clone() for name in WAYS}
    impostors = {
        "own": torch.full((N,), 1e-6),
        "own label": torch.zeros(N).bool(),
        "own control": torch.ones(N).bool(),
        "drift": torch.tensor([[1e-6] * N, [1e-2] * N]),
        "change": torch.ones(3, N),
        "label": torch.ones(3, N).bool(),
        "control": torch.ones(3, N).bool(),
    }
    return {
        "matrix": Kept({"candidates": [SHIPPED, "other"], "queried": asked}, ways),
        "impostors": Kept({}, impostors),
    }


def test_claims_hold_and_fail() -> None:
    assert all(claim.holds for claim in claims(SETTINGS, fake()))
    for who, match, index in ((1, SHIPPED, 0), (2, None, 1), (3, "other", 2), (4, SHIPPED, 2)):
        done = fake()
        done["matrix"].values["queried"][who]["match"] = match
        assert [claim.holds for claim in claims(SETTINGS, done)].index(False) == index
    done = fake()
    done["matrix"].values["queried"][3]["match"] = SHIPPED  # a stem that is hardly changed
    assert all(claim.holds for claim in claims(SETTINGS, done))
    done["matrix"].values["queried"][3]["change"] = [2, 1]
    assert claims(SETTINGS, done)[2].holds is False
    done = fake()
    done["impostors"].arrays["change"][1, 2] = 1e-4
    assert claims(SETTINGS, done)[3].holds is False
    done = fake()
    done["matrix"].arrays[f"way {EIGHT_BIT}"][0, 0] = 2
    assert claims(SETTINGS, done)[4].holds is False
    done = fake()
    done["matrix"].arrays["way JPEG 75"][0, 0] = 2  # no claim is made about this
    assert all(claim.holds for claim in claims(SETTINGS, done))


def test_rows() -> None:
    done = fake()
    done["impostors"].arrays["change"][1, 2] = 1e-4
    done["impostors"].arrays["label"][0] = False
    found = {(row.case, row.quantity): row for row in rows(SETTINGS, done)}
    assert found["nobody", "least change by another's probe"].ours == 0.8
    assert found["nobody", "least change by another's probe"].control
    assert found["tuned", f"change by the probe of {SHIPPED}, share of the control's"].ours == 1e-6
    assert found["3 networks with random stems", "false identification, one image"].ours == pytest.approx(1 / 18)
    assert found["3 networks with random stems", f"false identification, {N} images"].ours == 0
    # The probe changes no label of one of three networks, though the controls do.
    assert found["labels alone, 5 images", "false identification"].ours == pytest.approx(1 / 3)
    assert found["labels alone, 1 images", "right identification"].ours == 1
    assert found["stem changed by 1e-06", "change by its probe"].reason == f"identified as {SHIPPED}"
    assert found["stem changed by 1e-02", "change by its probe"].reason == "not identified"
