"""Training on given samples: the same steps as a plain loop, the curve, resuming, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blindspace.data import samples
from blindspace.errors import BlindspaceError, ShapeError, UnknownNameError, ValueRangeError
from blindspace.learning.training import learn
from blindspace.networks import Recipe

DIGITS = samples("mnist")
X, Y = DIGITS.tensor(), DIGITS.targets()
ADAM = Recipe("mnist", 5, 20, learning_rate=1e-3, optimiser="adam", schedule="constant", seed=3)


def test_seeded_and_learns() -> None:
    state = torch.get_rng_state()
    first, again = (learn("mlp@mnist", X, Y, ADAM).network for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    outputs = first.outputs(X)
    assert torch.equal(outputs, again.outputs(X))
    assert float((first.labels(X) == Y).double().mean()) > 0.8
    assert not torch.equal(outputs, learn("mlp@mnist", X, Y, replace(ADAM, seed=4)).network.outputs(X))


def test_same_as_a_plain_loop() -> None:
    """Two epochs of SGD, written out; the curve is what such a loop measures."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    start = [p.clone() for p in module.parameters()]
    recipe = Recipe("mnist", 2, 50, 0.1, momentum=0.5, weight_decay=0.0, schedule="constant", seed=7)
    test = X[:40], Y[:40]
    found = learn(module, X[40:], Y[40:], recipe, test)
    assert all(torch.equal(a, b) for a, b in zip(start, module.parameters(), strict=True))  # A copy was trained.

    w, b = (p.detach().clone().requires_grad_() for p in start)
    velocity = [torch.zeros_like(w), torch.zeros_like(b)]
    for epoch in range(2):
        order = torch.randperm(160, generator=torch.Generator().manual_seed(7 * 100_003 + epoch))[:150]
        losses, right = [], 0
        for chosen in order.split(50):
            outputs = X[40:][chosen].flatten(1) @ w.T + b
            loss = F.cross_entropy(outputs, Y[40:][chosen])
            losses.append(loss.item())
            right += int((outputs.argmax(1) == Y[40:][chosen]).sum())
            for p, v, g in zip((w, b), velocity, torch.autograd.grad(loss, (w, b)), strict=True):
                v.mul_(0.5).add_(g)
                p.data -= 0.1 * (g + 0.5 * v)
        answers = (test[0].flatten(1) @ w.T + b).argmax(1)
        assert found.curve[epoch].loss == pytest.approx(sum(losses) / 3, rel=1e-4)
        assert found.curve[epoch].training == pytest.approx(right / 150, abs=0.01)
        assert found.curve[epoch].test == pytest.approx(float((answers == test[1]).double().mean()), abs=0.03)
    torch.testing.assert_close(found.network.module[1].weight, w, rtol=1e-3, atol=1e-5)  # type: ignore[index]


def test_rows_of_features() -> None:
    """Samples need not be images, unless the recipe translates or mirrors them."""
    linear = nn.Linear(784, 10)
    rows, pictures = learn(linear, X.flatten(1), Y, ADAM), learn(nn.Sequential(nn.Flatten(), linear), X, Y, ADAM)
    assert [epoch.loss for epoch in rows.curve] == pytest.approx([epoch.loss for epoch in pictures.curve])
    with pytest.raises(ShapeError, match="leave crop_padding and flip out"):
        learn(linear, X.flatten(1), Y, replace(ADAM, flip=True))


def test_test_labels_choose_nothing() -> None:
    """The weights are the same whatever the test labels say; last and best are read off the curve."""
    found, other = (learn("mlp@mnist", X, Y, ADAM, (X, labels)) for labels in (Y, (Y + 1) % 10))
    assert torch.equal(found.network.outputs(X), other.network.outputs(X))
    accuracies = [epoch.test for epoch in found.curve]
    assert len(accuracies) == 5
    assert found.last == accuracies[-1] == float((found.network.labels(X) == Y).double().mean())
    assert found.best == max(each for each in accuracies if each is not None)
    assert other.best is not None
    assert other.best < 0.3
    without = learn("mlp@mnist", X, Y, replace(ADAM, epochs=1))
    assert (without.last, without.best) == (None, None)


def test_resumed(tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if done > 25:
            raise KeyboardInterrupt

    whole, file = learn("mlp@mnist", X, Y, ADAM, (X, Y)), tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        learn("mlp@mnist", X, Y, ADAM, (X, Y), stop, file)
    steps: list[int] = []
    resumed = learn("mlp@mnist", X, Y, ADAM, (X, Y), lambda done, *_: steps.append(done), file)
    assert steps[0] == 21
    assert resumed.curve == whole.curve
    assert torch.equal(resumed.network.outputs(X), whole.network.outputs(X))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"network": "mlp@emnist"}, UnknownNameError),
        ({"images": X.byte()}, ShapeError),
        ({"targets": Y[1:]}, ShapeError),
        ({"targets": Y.float()}, ShapeError),
        ({"images": X / 0}, ValueRangeError),
        ({"images": X[:0], "targets": Y[:0]}, ValueRangeError),
        ({"recipe": replace(ADAM, epochs=0)}, ValueRangeError),
        ({"network": nn.Linear(784, 10), "recipe": None}, ValueRangeError),
        ({"test": (X, Y[1:])}, ShapeError),
    ],
)
def test_refused(change: dict[str, object], error: type[BlindspaceError]) -> None:
    given = {"network": "mlp@mnist", "images": X, "targets": Y, "recipe": ADAM} | change
    with pytest.raises(error) as raised:
        learn(**given)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
