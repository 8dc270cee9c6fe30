"""Attacks that see scores alone: their queries, constraints and directions."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from blindspace.attacks import Basis, Cosines, Directions, Pixels, Queried, Uniform, nes, simba
from blindspace.attacks.directions import by_frequency, frequencies, streams, waves
from blindspace.errors import ShapeError, ValueRangeError
from blindspace.subspaces import Subspace, nullspace

SHAPE = (2, 4, 5)
N = 40


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Counting(nn.Module):
    """A small network that keeps all queries."""

    def __init__(self, rank: int = 12, seed: int = 3) -> None:
        super().__init__()
        draw = seeded(seed)
        self.first = nn.Linear(N, rank).double()
        self.last = nn.Linear(rank, 4).double()
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=draw, dtype=torch.float64) * 0.5
        self.queries: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.queries.append(x.clone())
        scores: Tensor = self.last(torch.tanh(self.first(x.flatten(1))))
        return scores

    @property
    def space(self) -> Subspace:
        return nullspace(nn.Sequential(nn.Flatten(), self.first), SHAPE)


@pytest.fixture
def model() -> Counting:
    return Counting()


@pytest.fixture
def batch(model: Counting) -> tuple[Tensor, Tensor]:
    images = 0.3 + 0.4 * torch.rand(8, *SHAPE, generator=seeded(1), dtype=torch.float64)
    labels = model(images).argmax(1)
    model.queries.clear()
    return images, labels


ATTACKS = [
    partial(simba, eps=2.0, queries=120, step_size=0.3),
    partial(simba, eps=2.0, queries=120, step_size=0.3, directions=partial(Pixels, shape=SHAPE)),
    partial(simba, eps=2.0, queries=120, step_size=0.3, directions=partial(Cosines, shape=SHAPE, count=30)),
    partial(nes, eps=2.0, queries=120, pairs=4),
]
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=["uniform", "pixels", "cosines", "nes"])


@each_attack
def test_every_query_is_counted_and_the_budget_kept(attack, model, batch) -> None:  # type: ignore[no-untyped-def]
    found: Queried = attack(model, *batch, generator=seeded())
    assert int(found.queries.sum()) == sum(len(x) for x in model.queries)
    assert int(found.queries.max()) <= 120
    assert found.success.any()
    assert int(found.queries[found.success].min()) > 1
    assert torch.equal(found.success, model(found.images).argmax(1) != batch[1])


@each_attack
@pytest.mark.parametrize(("norm", "eps"), [("l2", 0.8), ("linf", 0.12)])
def test_queries_are_in_range_and_results_in_the_ball(attack, norm, eps, model, batch) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch
    images = images.clone()
    images[:, 0, 0] = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.5], dtype=torch.float64)
    found = attack(model, images, labels, eps=eps, norm=norm, generator=seeded())
    assert all(x.min() >= 0 and x.max() <= 1 for x in model.queries)
    flat = found.perturbation.flatten(1)
    measured = flat.norm(dim=1) if norm == "l2" else flat.abs().amax(1)
    assert float(measured.max()) <= eps * (1 + 1e-12)
    torch.testing.assert_close(found.images, images + found.perturbation, rtol=0, atol=1e-15)


def test_simba_equals_the_published_loop(model: Counting, batch: tuple[Tensor, Tensor]) -> None:
    """The published loop, written out for one image."""
    images, labels = batch
    found = simba(model, images, labels, 5.0, queries=150, step_size=0.2, generator=seeded(5))
    for index, random in enumerate(streams(len(images), seeded(5))):
        x, y, delta, count = images[index], int(labels[index]), torch.zeros(SHAPE, dtype=torch.float64), 1

        def margin(at: Tensor) -> float:
            scores = model(at[None])[0].detach()
            return float(scores[y] - max(scores[k] for k in range(4) if k != y))  # noqa: B023

        best, success = margin(x), False
        while count < 150 and not success:
            q = torch.randn(SHAPE, generator=random).double()
            q = q / q.norm()
            for sign in (1, -1):
                if count == 150:
                    break
                new = (x + delta + sign * 0.2 * q).clamp(0, 1) - x
                count += 1
                value = margin(x + new)
                if value < best:
                    best, delta, success = value, new, value < 0
                    break
        assert (bool(found.success[index]), int(found.queries[index])) == (success, count)
        torch.testing.assert_close(found.perturbation[index], delta, rtol=0, atol=1e-6)


def test_nes_estimates_the_gradient(model: Counting, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    x = images.clone().requires_grad_()
    scores = model(x)
    other = scores.scatter(1, labels[:, None], -torch.inf).amax(1)
    gradient = torch.autograd.grad((scores.gather(1, labels[:, None])[:, 0] - other).sum(), x)[0].flatten(1)
    found = nes(model, images, labels, 0.01, queries=2 + 2 * 1000, pairs=1000, sigma=1e-3, generator=seeded())
    cosine = -(found.perturbation.flatten(1) * gradient).sum(1) / (
        found.perturbation.flatten(1).norm(dim=1) * gradient.norm(dim=1)
    )
    assert float(cosine.min()) > 0.9  # √(m / (m + n)) = 0.98


@each_attack
def test_images_do_not_depend_on_the_rest_of_the_batch(attack, model, batch) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch
    whole = attack(model, images, labels, generator=seeded())
    wrong = labels.clone()
    wrong[0] = (labels[0] + 1) % 4  # this attack succeeds at once
    part = attack(model, images, wrong, generator=seeded())
    assert int(part.queries[0]) == 1
    assert float(part.perturbation[0].abs().max()) == 0
    assert torch.equal(whole.queries[1:], part.queries[1:])
    torch.testing.assert_close(whole.images[1:], part.images[1:], rtol=0, atol=1e-9)


@each_attack
def test_targets_are_reached(attack, model, batch) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch
    targets = (labels + 1) % 4
    found = attack(model, images, targets, eps=5.0, queries=1500, targeted=True, generator=seeded())
    assert torch.equal(found.success, model(found.images).argmax(1) == targets)
    assert float(found.success.double().mean()) >= 0.5


@each_attack
def test_attacks_confined_to_the_harmless_space_fail(attack, model, batch) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch
    found = attack(model, images, labels, eps=5.0, queries=20, subspace=model.space, generator=seeded())
    assert not found.success.any()
    assert found.residual <= 1e-7
    assert (found.queries >= 18).all()


@each_attack
def test_joint_projection_stays_in_the_subspace_at_the_edge_of_the_range(attack, model, batch) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch
    images = images.clone()
    images[:, :, :2] = 0
    found = attack(model, images, labels, queries=14, subspace=model.space.complement, generator=seeded())
    moved = found.perturbation.flatten(1).norm(dim=1) > 1e-3
    assert found.residual <= 1e-6
    assert moved.any()


def test_the_residual_measures_what_clipping_puts_outside_the_subspace(
    model: Counting, batch: tuple[Tensor, Tensor]
) -> None:
    images, labels = batch
    images = images.clone()
    images[:, :, :2] = 0
    space = model.space.complement
    found = simba(model, images, labels, 3.0, 60, 0.3, subspace=space, joint=False, generator=seeded())
    outside = space.reject(found.perturbation).flatten(1).norm(dim=1) / found.perturbation.flatten(1).norm(dim=1)
    assert found.residual == pytest.approx(float(outside.nan_to_num().max()), rel=1e-9)
    assert found.residual > 1e-3


def test_the_row_space_needs_fewer_queries() -> None:
    """With n/d = 10 about a third of the queries is needed, up to the variance of few images."""
    model = Counting(rank=4)
    images = 0.3 + 0.4 * torch.rand(64, *SHAPE, generator=seeded(1), dtype=torch.float64)
    labels = model(images).argmax(1)
    run = partial(simba, model, images, labels, 10.0, 500, 0.04)
    free, seen = run(generator=seeded()), run(subspace=model.space.complement, joint=False, generator=seeded())
    both = free.success & seen.success
    assert both.double().mean() > 0.7
    ratio = float(seen.queries[both].double().mean() / free.queries[both].double().mean())
    assert ratio == pytest.approx(0.1**0.5, abs=0.08)


def sources() -> list[Directions]:
    random = streams(3, seeded())
    basis = torch.linalg.qr(torch.randn(N, 7, generator=seeded(2))).Q.T.reshape(7, *SHAPE)
    return [Basis(random, basis), Pixels(random, SHAPE), Cosines(random, SHAPE, 11)]


@pytest.mark.parametrize("which", range(3))
def test_bases_are_orthonormal_and_drawn_without_replacement(which: int) -> None:
    source = sources()[which]
    count = (7, N, 11)[which]
    everyone = torch.arange(3)
    drawn = torch.stack([source.draw(everyone) for _ in range(count)], 1).flatten(2)  # (3, count, n)
    for vectors in drawn:
        torch.testing.assert_close(vectors @ vectors.T, torch.eye(count), rtol=0, atol=1e-5)
    assert not torch.equal(drawn[0], drawn[1])  # each image has an order of its own
    again = torch.stack([source.draw(everyone) for _ in range(count)], 1).flatten(2)
    span = drawn[0].T @ drawn[0]
    torch.testing.assert_close(again[0] @ span, again[0], rtol=0, atol=1e-5)


def test_uniform_directions_lie_in_the_subspace_and_are_paired(model: Counting) -> None:
    space = model.space
    free = Uniform(streams(4, seeded()), SHAPE).draw(torch.arange(4))
    inside = Uniform(streams(4, seeded()), SHAPE, space).draw(torch.tensor([3, 1]))
    torch.testing.assert_close(inside.flatten(1).norm(dim=1), torch.ones(2))
    expected = space.project(free[[3, 1]])
    torch.testing.assert_close(inside, expected / expected.flatten(1).norm(dim=1).view(-1, 1, 1, 1))


def test_cosines_are_the_lowest_frequencies() -> None:
    order = by_frequency(SHAPE)
    assert sorted(order.tolist()) == list(range(N))
    u, v = order % 20 // 5, order % 5
    squared = (u / 4) ** 2 + (v / 5) ** 2
    assert (squared.diff() >= -1e-6).all()
    x = torch.randn(2, *SHAPE, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(waves(frequencies(x)), x)
    flat = Cosines(streams(1, seeded()), SHAPE, 1).draw(torch.tensor([0]))[0]
    torch.testing.assert_close(flat[0], torch.full((4, 5), 20**-0.5))  # constant in the first channel
    assert float(flat[1].abs().max()) == 0


def test_attacks_refuse(model: Counting, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    for attack in (simba, nes):
        with pytest.raises(ShapeError, match="one label"):
            attack(model, images, labels[:3])
        with pytest.raises(ValueRangeError, match=r"queries.*at least 1"):
            attack(model, images, labels, queries=0)
        with pytest.raises(ValueRangeError, match=r"\[0, 1\]"):
            attack(model, images + 1, labels)
    with pytest.raises(ValueRangeError, match="step_size"):
        simba(model, images, labels, step_size=0.0)
    with pytest.raises(ValueRangeError, match="pair"):
        nes(model, images, labels, pairs=0)
    with pytest.raises(ValueRangeError, match="orthonormal"):
        Basis(streams(1, seeded()), torch.ones(2, *SHAPE))
    with pytest.raises(ShapeError, match="basis"):
        Basis(streams(1, seeded()), torch.ones(0, *SHAPE))
