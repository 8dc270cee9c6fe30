"""The harmless subspace and the manifold: overlaps against dense projectors, and claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from blindspace.experiments.dmm_harmless import EXPERIMENT
from blindspace.experiments.dmm_harmless.measure import TANGENT, _of_images, overlap, parts
from blindspace.experiments.dmm_harmless.report import claims, rows, verdicts
from blindspace.experiments.dmm_harmless.settings import OTHERS, DmmHarmless, cases, for_preset
from blindspace.experiments.parts import Kept
from blindspace.manifolds import CONTROLS
from blindspace.manifolds.controls import random_subspace
from blindspace.subspaces import nullspace, tangent_spaces

SHAPE = (2, 3, 3)


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=drawn(seed), dtype=torch.float64)


def test_overlaps_against_dense_projectors() -> None:
    linear = torch.nn.Linear(18, 7).double()
    space = nullspace(torch.nn.Sequential(torch.nn.Flatten(), linear), SHAPE)
    vectors = noise(4, 3, *SHAPE)
    vectors[1, 2] = vectors[1, 0]  # two dimensions there
    vectors[2, 0] = space.project(vectors[2, 0])  # one direction is harmless there
    tangents = tangent_spaces(vectors, noise(4, *SHAPE))
    share, largest = overlap(space, tangents)
    weight = linear.weight.detach()
    p = torch.eye(18, dtype=torch.float64) - torch.linalg.pinv(weight) @ weight
    for i in range(4):
        flat = vectors[i].flatten(1)
        t = torch.linalg.pinv(flat, rtol=1e-10) @ flat
        assert float(share[i]) == pytest.approx(float((p @ t).trace()) / (2 if i == 1 else 3))
        assert float(largest[i]) == pytest.approx(float(torch.linalg.norm(p @ t, 2) ** 2))
    assert float(largest[2]) == pytest.approx(1)
    other = random_subspace(SHAPE, 5, drawn())
    alone, _ = overlap(space, other)
    back, _ = overlap(other, space)
    assert float(alone) * 5 == pytest.approx(float(back) * space.dim)


def test_networks_that_read_images_in_another_shape() -> None:
    column = nullspace(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(18, 7)).double(), (18, 1))
    v = noise(3, *SHAPE)
    seen = _of_images(column, SHAPE).project(v)
    torch.testing.assert_close(seen.flatten(1), column.project(v.view(3, 18, 1)).flatten(1))
    assert _of_images(column, (18, 1)) is column


# --- claims ------------------------------------------------------------------------------------------------

SETTINGS = replace(for_preset("cpu", 0), seeds=1, present=tuple(file for file, *_ in OTHERS))


def fake(s: DmmHarmless) -> dict[str, Kept]:
    done = {}
    for case in cases(s):
        spread = 1 + 0.05 * torch.rand(12, generator=drawn(), dtype=torch.float64)
        ours = 0.3 * spread if case.trained else 0.62 * spread
        arrays = {f"{name}/share": 0.6 * spread[None, :1] for name in CONTROLS}
        arrays |= {"random/share": 0.63 * spread[:5, None], f"{TANGENT}/share": ours[None]}
        arrays[f"{TANGENT}/largest"] = 0.8 * spread[None]
        for name in ("difference of two images", "what the autoencoder leaves out", "L∞ attack"):
            arrays[name] = ours[None]
        done[case.part] = Kept({"n": 100, "dim": 63, "k": 10, "kind": "exact"}, arrays)
    return done


def test_every_part_is_asked_for_by_its_name() -> None:
    assert [part.name for part in parts(SETTINGS)] == list(fake(SETTINGS))
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for name in fake(SETTINGS))


SPOILED = {
    0: ("cifar10.cifar-resnet.halved", f"{TANGENT}/share", 0.65),
    1: ("mnist.mlp.untrained.0", f"{TANGENT}/share", 0.3),
    2: ("mnist.mnist-mlp.built-in", f"{TANGENT}/largest", 1.0),
}


@pytest.mark.parametrize("index", SPOILED)
def test_claims_hold_and_can_fail(index: int) -> None:
    done = fake(SETTINGS)
    assert [claim.holds for claim in claims(SETTINGS, done)] == [True] * 3
    part, key, value = SPOILED[index]
    done[part].arrays[key] = torch.full_like(done[part].arrays[key], value)
    assert [claim.holds for claim in claims(SETTINGS, done)] == [each != index for each in range(3)]


def test_the_verdict() -> None:
    done = fake(SETTINGS)
    (found,) = verdicts(SETTINGS, done)
    assert (found.answer, found.on) == ("holds", "")
    assert found.rows[0].ours == pytest.approx(0.3 / 0.63, rel=0.05)
    part, key, value = SPOILED[0]
    done[part].arrays[key][:] = value
    (found,) = verdicts(SETTINGS, done)
    assert (found.answer, found.on) == ("depends", "the network")
    for kept in done.values():
        kept.arrays[key][:] = value
    assert verdicts(SETTINGS, done)[0].answer == "does not hold"


def test_rows() -> None:
    made = [row for row in rows(SETTINGS, fake(SETTINGS)) if row.case == "MNIST, built-in MLP"]
    found = {row.quantity: row.ours for row in made}
    on, off = found["harmless share along the manifold"], found["harmless share off the manifold"]
    assert on is not None
    assert off is not None
    assert 10 * on + 90 * off == pytest.approx(63)
    assert {row.quantity for row in made if row.control} == {
        "random over chance",
        *(f"over random, {name}" for name in CONTROLS if name != "random"),
    }


def test_pictures(tmp_path: Any) -> None:
    EXPERIMENT.draw(SETTINGS, fake(SETTINGS), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["harmless.png"]
