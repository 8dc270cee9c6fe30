"""Compression onto the manifold: its parts on small images, and claims and verdicts that can fail."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from blindspace.experiments.dmm_compress import EXPERIMENT
from blindspace.experiments.dmm_compress.measure import _compressions, _others, parts, scores
from blindspace.experiments.dmm_compress.report import claims, gained, remains, rows, verdicts
from blindspace.experiments.dmm_compress.settings import (
    ATTACKS,
    AUTOENCODER,
    PCA,
    RANDOM,
    SCORES,
    WAYS,
    DmmCompress,
    for_preset,
    groups,
)
from blindspace.experiments.parts import Kept

SETTINGS = DmmCompress("cpu", 0, ("mnist", "cifar10"), seeds=2)


def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# --- measurements ------------------------------------------------------------------------------------------


def test_compressions_are_projections_of_equal_dimension() -> None:
    s = for_preset("smoke", 0)
    manifold, found, ways = _compressions(s, "mnist")
    x = torch.rand(4, 1, 28, 28, generator=drawn(), dtype=torch.float64)
    for name in WAYS[1:]:
        once = ways[name](x)
        torch.testing.assert_close(ways[name](once), once)
        assert float((x - once).norm()) < float((x - found.mean).norm())
    errors = [float((ways[name](x) - x).square().mean()) for name in (PCA, RANDOM)]
    rows = found.components[: manifold.dim].flatten(1)
    flat = (x - found.mean).flatten(1)
    assert errors[0] == pytest.approx(float((flat - flat @ rows.T @ rows).square().mean()))


def test_scores_are_distances() -> None:
    s = for_preset("smoke", 0)
    manifold, *_ = _compressions(s, "mnist")
    x = torch.rand(3, 1, 28, 28, generator=drawn())
    read = scores(s, "mnist", x)
    assert list(read) == list(SCORES)
    left = x.double() - manifold.project(x).double()
    torch.testing.assert_close(read[SCORES[0]], left.flatten(1).norm(dim=1))
    basis = manifold.tangent(x).basis().flatten(2)
    off = left.flatten(1) - torch.einsum("bkn,bk->bn", basis, torch.einsum("bkn,bn->bk", basis, left.flatten(1)))
    torch.testing.assert_close(read[SCORES[1]], off.norm(dim=1))
    assert bool((read[SCORES[2]] <= read[SCORES[3]]).all())


def test_images_of_another_data_set_take_the_shape_of_this_one() -> None:
    x = _others(for_preset("smoke", 0), "mnist", 5)
    assert tuple(x.shape) == (5, 1, 28, 28)
    assert 0 <= float(x.min()) < float(x.max()) <= 1


# --- claims ------------------------------------------------------------------------------------------------


def fake(s: DmmCompress) -> dict[str, Kept]:
    draw = drawn()

    def spread(mean: float, count: int = 30) -> Tensor:
        return mean * (1 + 0.1 * torch.rand(count, generator=draw, dtype=torch.float64))

    def scored(kind: str, mean: float) -> dict[str, Tensor]:
        return {f"{kind}/{score}": spread(1 if score == SCORES[-1] else mean) for score in SCORES}

    done = {}
    for dataset in s.datasets:
        values: dict[str, Any] = {"k": 4, "n": 100, "variance": 0.1, "kinds": ["clean", "images of another", "blur 1"]}
        for way, error in zip(WAYS, (0.01, 0.02, 0.05, 0.09), strict=True):
            values |= {f"{way}/test": error, f"{way}/train": 0.9 * error}
        arrays = {
            k: v for kind, mean in zip(values["kinds"], (1, 3, 2), strict=True) for k, v in scored(kind, mean).items()
        }
        done[f"{dataset}.images"] = Kept(values, arrays)
        for case in (case for group in groups(s) for case in group if case.dataset == dataset):
            arrays = {"accuracy": torch.ones(200, dtype=torch.float64)}
            for attack, mean in zip(ATTACKS, (1, 2, 1.1), strict=True):
                arrays |= {f"norms/{attack}": spread(mean), **scored(attack, 2), **scored(f"noise like {attack}", 1)}
                arrays |= {f"recovered/{attack}/{way}": torch.ones(30, dtype=torch.float64) for way in WAYS}
            for way, gain in zip(WAYS, (2.5, 1.5, 1.2, 0.5), strict=True):
                arrays |= {f"norms/through {way}": spread(gain)}
                arrays[f"accuracy/{way}"] = torch.ones(200, dtype=torch.float64)
            done[case.part] = Kept({"images": 30}, arrays | scored("clean", 1))
    return done


def test_every_part_is_asked_for_by_its_name() -> None:
    assert [part.name for part in parts(SETTINGS)] == list(fake(SETTINGS))
    names = [part.name for part in parts(for_preset("cpu", 0))]
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for name in names)


def spoil(done: dict[str, Kept], index: int) -> None:
    match index:
        case 0:
            done["cifar10.images"].values[f"{AUTOENCODER}/test"] = 0.03
        case 1:
            for seed in (0, 1):
                done[f"mnist.mlp.{seed}"].arrays[f"accuracy/{AUTOENCODER}"][:9] = 0
        case 2:
            for seed in (0, 1):
                done[f"mnist.mlp.{seed}"].arrays["norms/on"] *= 2
        case 3:
            for seed in (0, 1):
                done[f"mnist.mlp.{seed}"].arrays[f"norms/through {PCA}"] *= 3
        case 4:
            for seed in (0, 1):
                done[f"mnist.mlp.{seed}"].arrays["norms/through low frequencies"] *= 3
        case 5:
            kept = done["mnist.images"].arrays
            kept[f"blur 1/{SCORES[0]}"] = kept[f"clean/{SCORES[0]}"].clone()
        case 6:
            for seed in (0, 1):
                arrays = done[f"mnist.mlp.{seed}"].arrays
                arrays[f"plain/{SCORES[0]}"] = arrays[f"clean/{SCORES[0]}"].clone()


@pytest.mark.parametrize("index", range(7))
def test_claims_hold_and_can_fail(index: int) -> None:
    done = fake(SETTINGS)
    assert [claim.holds for claim in claims(SETTINGS, done)] == [True] * 7
    spoil(done, index)
    assert [claim.holds for claim in claims(SETTINGS, done)] == [each != index for each in range(7)]


def test_verdicts() -> None:
    done = fake(SETTINGS)
    assert [each.answer for each in verdicts(SETTINGS, done)] == ["holds"] * 3
    for index, question in ((1, 0), (2, 1), (5, 2)):
        spoil(done, index)
        assert verdicts(SETTINGS, done)[question].answer == "depends"
    assert [each.answer for each in verdicts(for_preset("smoke", 0), done)] == [None] * 3


def test_rows() -> None:
    done = fake(SETTINGS)
    found = {(row.case, row.quantity): row for row in rows(SETTINGS, done)}
    assert found[
        "MNIST, MLP", f"norm of attacks through the compression over that without it, {PCA}"
    ].ours == pytest.approx(1.5, rel=0.05)
    area = found["MNIST, MLP", f"area under the ROC, plain, {SCORES[0]}"]
    assert (area.ours, area.control) == (1.0, False)
    assert found["MNIST, MLP", f"area under the ROC, noise like plain, {SCORES[0]}"].control
    (group, *_) = groups(SETTINGS)
    done["mnist.mlp.0"].arrays["norms/plain"][:5] = 0  # misclassified
    assert gained(done, group, AUTOENCODER).value == pytest.approx(2.5, rel=0.05)
    done["mnist.mlp.0"].arrays[f"accuracy/{AUTOENCODER}"][:100] = 0
    assert remains(done, group, AUTOENCODER)[0] == 0.75


def test_pictures(tmp_path: Any) -> None:
    EXPERIMENT.draw(SETTINGS, fake(SETTINGS), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["compression.png"]
