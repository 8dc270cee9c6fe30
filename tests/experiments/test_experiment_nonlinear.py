"""nonlinear: shuffled pixels, ranks against dense Jacobians, and what follows from parts made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import blindspace as bs
from blindspace.experiments.nonlinear.measure import ranks, shuffle_pixels
from blindspace.experiments.nonlinear.report import claims, draw, rows, verdicts
from blindspace.experiments.nonlinear.settings import CONDITIONS, TRAINED, UNTRAINED, for_preset, groups
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked

S = for_preset("cpu", 0)
NAMES = ["0 Linear", "1 ReLU", "2 Linear", "3 ReLU", "4 Linear"]


def counts(off: float, dead: int) -> dict[str, Any]:
    row = {"units": 100, "mean_dim": 100 * off, "always_off": dead, "never_free": 0}
    return {"images": 1000, "nonlinearities": [row, row]}


def made(learnt: bool = True, wide_gain: int = 0, dead: int = 0) -> Parts:
    """Finished parts: narrow first layers of the MLPs gain 50 to 52 dimensions, the others ``wide_gain``."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        narrow = "mlp" in case.kind
        values: dict[str, Any] = {"network": {}}
        arrays = {}
        for condition in CONDITIONS:
            more = 0.2 if condition != UNTRAINED and learnt else 0.0
            front, gain = (528, 50) if narrow else (0, wide_gain)
            values[condition] = {
                "units": counts(0.5 + more + 0.001 * case.seed, dead),
                "front": front,
                "inputs": 784,
                "outputs": 256 if narrow else 3136,
                "dims": [front + gain + index * narrow for index in range(3)],
                "kinds": ["exact"] * 3,
            }
            if case.dataset == "mnist":
                values[condition]["layers"] = NAMES
                arrays[f"ranks/{condition}"] = torch.tensor([[256, 156, 150, 100, 10]] * 2)
        if narrow:
            figures = {"size": 0.5, "beyond": 0.3, "change": 1e-15, "own": 1e-7, "other": 0.1}
            values["proof"] = {key: [value] * 3 for key, value in figures.items()} | {"optimality": 1e-8}
        done[case.part] = Kept(values, arrays)
    return done


def test_every_pixel_keeps_its_channels() -> None:
    x = torch.arange(2 * 3 * 4 * 4).float().view(2, 3, 4, 4)
    y = shuffle_pixels(x, torch.Generator().manual_seed(0))
    assert not torch.equal(x, y)
    assert torch.equal(x.flatten(2).sort(-1).values, y.flatten(2).sort(-1).values)
    assert torch.equal(y[:, 1] - y[:, 0], torch.full_like(y[:, 0], 16.0))
    assert not torch.equal(y[0] - x[0], y[1] - x[1])


def test_ranks_are_those_of_jacobians() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 9), nn.ReLU(), nn.Linear(9, 4))
    network = bs.load(model.requires_grad_(False), (1, 6, 6))
    x = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    names, found = ranks(network, x)
    assert names == ["0 Conv2d", "1 ReLU", "3 Linear", "4 ReLU", "5 Linear"]
    for end, rank in zip((1, 2, 4, 5, 6), found.tolist(), strict=True):
        part = network.double[:end]  # type: ignore[index]
        jacobian = torch.autograd.functional.jacobian(lambda z, part=part: part(z[None]).flatten(), x).flatten(1)
        assert rank == int(torch.linalg.matrix_rank(jacobian))


def test_rows_have_every_network_and_its_controls() -> None:
    found = rows(S, made())
    values = {(row.case, row.quantity): row.ours for row in found}
    assert values["MNIST MLP", "dimensions added by the first ReLUs at an image"] == 51
    assert values["CIFAR-10 ResNet-20", "dimensions added by the first ReLUs at an image"] == 0
    assert values["MNIST MLP", "dimensions that layer 1 ReLU hides beyond those before it"] == 100
    assert values["MNIST MLP", "dimensions that layer 0 Linear hides beyond those before it"] == 528
    assert {row.case for row in found if row.control} >= {"MNIST MLP, untrained weights", "MNIST MLP, at another image"}


def test_claims_and_verdicts_follow_from_the_figures() -> None:
    assert [claim.holds for claim in claims(S, made())] == [True, True, True, True, True, True]
    assert [claim.holds for claim in claims(S, made(learnt=False, wide_gain=3, dead=5))] == [
        True, False, True, True, False, False,
    ]  # fmt: skip
    adds, learnt = checked("nonlinear", verdicts(S, made()))
    assert (adds.answer, learnt.answer) == ("depends", "holds")
    adds, learnt = checked("nonlinear", verdicts(S, made(learnt=False, wide_gain=3)))
    assert (adds.answer, learnt.answer) == ("holds", "does not hold")
    smoke = for_preset("smoke", 0)
    some = {key: kept for key, kept in made().items() if key in {"mnist.mlp.0", "mnist.mlp.1", "mnist.mnist-mlp.0"}}
    assert [verdict.answer for verdict in checked("nonlinear", verdicts(smoke, some))] == [None, None]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw(S, made(), tmp_path)
    assert (tmp_path / "nonlinear.png").stat().st_size < 500_000
    assert TRAINED in CONDITIONS
