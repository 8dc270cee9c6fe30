"""lfp-span: first networks and predicted sums, and verdicts from shares and accuracies made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blindspace.experiments.lfp_span.measure import _first, _predicted, _towards, built
from blindspace.experiments.lfp_span.report import claims, draw, found, rows, verdicts
from blindspace.experiments.lfp_span.settings import (
    BASE,
    CONV,
    DEEP,
    SMALL,
    Maker,
    compared_on,
    for_preset,
    makers_of,
    on_shuffled,
)
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked
from blindspace.learning.wide import derivative_kernel
from blindspace.subspaces import span

S = for_preset("cpu", 0)


def made(shares: dict[str, float], taught: dict[str, float]) -> Parts:
    """Parts with given shares, 0.95 where none is given and 0.1 before training, and accuracies by network."""
    done = {}
    for dataset, count in S.samples.items():
        for seed in range(S.seeds[dataset]):
            n = {"mnist": 784, "cifar10": 3072}[dataset]
            values: dict[str, object] = {"dim": count, "chance": count / n, "values": n, "nothing/taught": 0.02}
            arrays = {"noise/energy": torch.full((4,), count / n), "images/energy": torch.full((4,), 0.9)}
            for maker in makers_of(dataset):
                share = shares.get(maker.name, 0.95 if maker.epochs else 0.1) + 0.001 * seed
                arrays |= {f"{maker.name}/energy": torch.full((4,), share)}
                arrays |= {f"{maker.name}/energy elsewhere": torch.full((4,), 0.6 * share)}
                arrays |= {f"{maker.name}/cosine": torch.full((4,), 0.7 / maker.depth + 0.01 * seed)}
                values |= {f"{maker.name}/{split} accuracy": 0.8 for split in ("training", "test")}
                known = taught.get(maker.name, 0.08 if maker.shuffled else 0.5)
                values |= {f"{maker.name}/taught": known + 0.001 * seed, f"{maker.name}/success": 0.4}
            done[f"{dataset}.{seed}"] = Kept(values, arrays)
    return done


def answers(shares: dict[str, float], taught: dict[str, float]) -> dict[str, str | None]:
    return {each.question: each.answer for each in checked("lfp-span", verdicts(S, made(shares, taught)))}


def test_verdicts() -> None:
    assert answers({}, {}) == {"sum-of-samples": "holds", "span-proves-nothing": "holds"}
    assert answers({CONV: 0.5}, {})["sum-of-samples"] == "depends"
    assert answers(dict.fromkeys((BASE, SMALL, DEEP, CONV), 0.5), {})["sum-of-samples"] == "does not hold"
    assert answers({on_shuffled(BASE): 0.5}, {})["span-proves-nothing"] == "depends"
    assert answers({}, {on_shuffled(BASE): 0.4})["span-proves-nothing"] == "depends"  # shuffled labels teach
    assert (
        answers({}, dict.fromkeys(compared_on("mnist"), 0.05))["span-proves-nothing"] == "does not hold"
    )  # nothing teaches


def test_rows_and_claims(tmp_path: Path) -> None:
    done = made({CONV: 0.4, SMALL: 0.99, BASE: 0.7, on_shuffled(BASE): 0.72}, {})
    by_name = {(row.case, row.quantity): row for row in rows(S, done)}
    assert by_name["MNIST, Gaussian noise", "share in the span of its training samples"].reference == pytest.approx(
        100 / 784
    )
    assert by_name[f"CIFAR-10, {BASE}, true − shuffled labels", "difference of the shares"].ours == pytest.approx(
        -0.02, abs=1e-6
    )
    assert [claim.holds for claim in claims(S, done)] == [True] * 7
    assert [claim.holds for claim in claims(S, made({}, dict.fromkeys(compared_on("mnist"), 0.05)))][-1] is False
    assert found(S, done)[0].chance == pytest.approx(100 / 784)
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "span.png").stat().st_size < 500_000


def samples(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 28, 28, generator=draw), torch.randint(10, (n,), generator=draw)


def test_what_training_adds_to_the_first_layer_lies_in_the_span() -> None:
    """By SGD without weight decay; the rest of the gradient's energy comes from the start."""
    s = replace(for_preset("smoke", 0), length=1.0)
    x, y = samples(12)
    maker = Maker("some", width=16, depth=2, epochs=20)
    start, end = (_first(s, replace(maker, epochs=epochs), "mnist", 0, (x, y)) for epochs in (0, 20))
    assert isinstance(start, nn.Sequential)
    assert isinstance(end, nn.Sequential)
    added = end[2].get_parameter("weight") - start[2].get_parameter("weight")
    space = span((2 * x.double() - 1).flatten(1))
    assert float(space.energy(added.detach().double()).min()) > 1 - 1e-6
    adam = _first(s, replace(maker, optimiser="adam"), "mnist", 0, (x, y))
    assert isinstance(adam, nn.Sequential)
    moved = (adam[2].get_parameter("weight") - start[2].get_parameter("weight")).detach().double()
    assert float(space.energy(moved).mean()) < 0.99


@pytest.mark.parametrize("kind", ["mlp", "convnet"])
def test_networks_are_built_as_their_makers_say(kind: str) -> None:
    torch.manual_seed(0)
    module = built(Maker("some", kind, width=16, depth=3), "mnist")
    torch.manual_seed(0)
    small = built(Maker("some", kind, width=16, depth=3, scale=0.1), "mnist")
    layers = [[each for each in net if isinstance(each, nn.Linear | nn.Conv2d)] for net in (module, small)]
    assert len(layers[0]) == 4
    torch.testing.assert_close(layers[1][0].weight, 0.1 * layers[0][0].weight)
    torch.testing.assert_close(layers[1][1].weight, layers[0][1].weight)


def test_steps_lower_the_loss_and_have_unit_length() -> None:
    x, targets = samples(6)
    torch.manual_seed(0)
    network = built(Maker("some", width=16), "mnist")
    steps = _towards(network, x, targets)
    torch.testing.assert_close(steps.flatten(1).norm(dim=1), torch.ones(6))
    before, after = (F.cross_entropy(network(each), targets, reduction="none") for each in (x, x + 0.01 * steps))
    assert bool((after < before).all())


def test_predicted_sum() -> None:
    """The sum over samples, written out."""
    (x, y), (at, targets) = samples(7), samples(3, seed=1)
    torch.manual_seed(0)
    network = built(Maker("some", width=16), "mnist")
    found = _predicted(network, (x, y), at, targets)
    u, v = ((2 * each.double() - 1).flatten(1) for each in (at, x))
    kernel, p = derivative_kernel(28 * u, 28 * v), network(at).double().softmax(1)
    for i in range(3):
        terms = [(float(y[n] == targets[i]) - p[i, y[n]]) * kernel[i, n] * v[n] for n in range(7)]
        expected = 28 * torch.stack(terms).sum(0)
        torch.testing.assert_close(found[i], expected.detach())
