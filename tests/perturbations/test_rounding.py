"""Rounding to levels: against every choice there is, against a slow second implementation, and by its promises."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import blindspace as bs
from blindspace.data import samples
from blindspace.errors import ShapeError, ValueRangeError
from blindspace.maps import Composed, Convolution, Dense, LinearMap, from_module
from blindspace.maps.operations import resize
from blindspace.perturbations import blocks
from blindspace.perturbations import error_feedback as feedback
from blindspace.perturbations.blocks import SIDE, WHOLE
from blindspace.perturbations.rounding import _plan, round_to_levels, rounding
from blindspace.subspaces import Subspace, nullspace


def pair(space: Subspace, n: int, seed: int = 0, margin: float = 0.0) -> tuple[Tensor, Tensor]:
    """Images and others that the space makes of them, all in [0, 1]; some values at the walls."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, *space.shape, generator=generator, dtype=torch.float64) * 0.5 + 0.25
    noise = space.sample(n, generator)
    noise = noise / noise.flatten(1).abs().amax(1).reshape(-1, *[1] * len(space.shape)).clamp(min=1e-300)
    perturbed = (images + (0.5 - margin) * noise).clamp(margin, 1 - margin)
    return images, perturbed


def stem(side: int) -> Convolution:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, 2, 1)
    smooth = torch.randn(8, 3, 3, 3).cumsum(2).cumsum(3)
    conv.weight.data = smooth
    made = from_module(conv, (3, side, side))
    assert isinstance(made, Convolution)
    return made


def patches(side: int = 32) -> LinearMap:
    torch.manual_seed(0)
    return from_module(nn.Conv2d(3, 24, 8, 8), (3, side, side))


MAPS: dict[str, Callable[[], LinearMap]] = {
    "stem": lambda: stem(16),
    "patches": lambda: patches(16),
    "resize": lambda: resize((3, 24, 20), (9, 8), "bicubic", antialias=True),
    "resize then stem": lambda: Composed(stem(12), resize((3, 21, 18), (12, 12), "bilinear", antialias=True)),
    "dense": lambda: Dense(torch.randn(5, 12, generator=torch.Generator().manual_seed(0)), (3,)),
}


@cache
def space_of(name: str) -> Subspace:
    return nullspace(MAPS[name]())


def ratio(space: Subspace, images: Tensor, perturbed: Tensor, whole: int = WHOLE, side: int = SIDE) -> float:
    found = rounding(space, images, perturbed, round_to_levels(space, images, perturbed, whole=whole, side=side))
    return float((found.plain / found.change).mean())


@pytest.mark.parametrize("n", [4, 6])
def test_close_to_the_best_of_all(n: int) -> None:
    """Every way to round to one of the four levels around each value is tried."""
    generator = torch.Generator().manual_seed(n)
    found = []
    for _ in range(12):
        space = nullspace(Dense(torch.randn(n - 2, n, generator=generator, dtype=torch.float64), ()))
        images, perturbed = pair(space, 1, int(torch.randint(1000, (), generator=generator)), margin=0.1)
        steps = torch.tensor(list(product((-1, 0, 1, 2), repeat=n)), dtype=torch.float64)
        all_of_them = ((perturbed * 15).floor() + steps) / 15
        best = space.annihilator().forward(all_of_them - images).norm(dim=1).min()
        result = rounding(space, images, perturbed, round_to_levels(space, images, perturbed, 16), 16)
        found.append([float(best), float(result.change), float(result.plain)])
    best, chosen, plain = torch.tensor(found).mean(0)
    assert chosen < 0.7 * plain
    assert chosen < 3 * best


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("levels", [2, 256, 65536])
def test_grid_box_and_never_worse(name: str, levels: int) -> None:
    space = space_of(name)
    images, perturbed = pair(space, 3)
    before = images.clone(), perturbed.clone()
    result = round_to_levels(space, images, perturbed, levels)
    whole = (result * (levels - 1)).round()
    assert result.dtype == torch.float64
    assert torch.equal(result, whole / (levels - 1))
    assert 0 <= whole.min() <= whole.max() <= levels - 1
    found = rounding(space, images, perturbed, result, levels)
    assert bool((found.change <= found.plain * (1 + 1e-12)).all())
    assert torch.equal(images, before[0])
    assert torch.equal(perturbed, before[1])


@settings(max_examples=25)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 12),
    batch=st.integers(0, 3),
    levels=st.integers(2, 300),
    seed=st.integers(0, 99),
)
def test_any_matrix(n: int, m: int, batch: int, levels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(m, n, generator=generator, dtype=torch.float64)
    matrix[:, torch.rand(n, generator=generator) < 0.3] = 0
    space = nullspace(Dense(matrix, ()))
    images, perturbed = torch.rand(2, batch, n, generator=generator, dtype=torch.float64)
    result = round_to_levels(space, images, perturbed, levels)
    assert result.shape == (batch, n)
    assert torch.equal(result, (result * (levels - 1)).round().clamp(0, levels - 1) / (levels - 1))
    found = rounding(space, images, perturbed, result, levels)
    assert bool((found.change <= found.plain * (1 + 1e-12)).all())


@pytest.mark.parametrize(
    ("name", "least"), [("stem", 6), ("patches", 20), ("resize", 40), ("resize then stem", 30), ("dense", 10)]
)
def test_the_network_sees_far_less(name: str, least: float) -> None:
    space = space_of(name)
    assert ratio(space, *pair(space, 4, margin=0.03)) > least


@pytest.mark.parametrize(("name", "least"), [("stem", 4), ("resize", 30), ("resize then stem", 15)])
def test_tiles(name: str, least: float) -> None:
    """Images too large for one cell are cut; every value belongs to one cell, and no two of a stage meet."""
    space = space_of(name)
    assert ratio(space, *pair(space, 3, margin=0.03), whole=50, side=5) > least
    a = space.annihilator()
    plan = _plan(a, whole=50, side=5)
    assert len(plan.stages) > 2
    flat = [value for stage in plan.stages for cell in stage for value in cell]
    assert sorted([*flat, *plan.unread]) == list(range(a.in_dim))
    dense = plan.operator.to_dense()
    for stage in plan.stages:
        touched = torch.stack([dense[:, cell].any(1) for cell in map(torch.from_numpy, stage)])
        assert int(touched.sum(0).max()) <= 1


def test_later_tiles_make_up_for_earlier_ones() -> None:
    """Each tile rounded as if it were alone does worse."""
    space = space_of("stem")
    images, perturbed = pair(space, 3, margin=0.05)
    together = rounding(space, images, perturbed, round_to_levels(space, images, perturbed, whole=50, side=5)).change
    dense = space.annihilator().to_dense()
    alone = perturbed.clone()
    for cell in (
        torch.from_numpy(cell) for stage in _plan(space.annihilator(), whole=50, side=5).stages for cell in stage
    ):
        gram = dense[:, cell].T @ dense[:, cell]
        form = feedback.quadratic(gram + 1e-3 * gram.trace() / len(cell) * torch.eye(len(cell)))
        v = perturbed.flatten(1)[:, cell] * 255
        alone.view(3, -1)[:, cell] = feedback.rounded(form, v, torch.zeros_like(v), 255) / 255
    assert bool((together < rounding(space, images, perturbed, alone).change).all())


@pytest.mark.parametrize("name", ["cifar-resnet"])
def test_real_images(name: str) -> None:
    """Walls and all: the front of a trained network moves at least half as little, its labels not at all."""
    network = bs.load(name)
    space = bs.harmless(network)
    images = samples("cifar10").tensor(torch.float64)[:8]
    noise = bs.harmless_noise(space, 8, 0.05, generator=torch.Generator().manual_seed(0))
    perturbed = (images + noise).clamp(0, 1)
    result = round_to_levels(space, images, perturbed)
    found = rounding(space, images, perturbed, result)
    assert float((found.plain / found.change).median()) > 3
    assert float((found.plain / found.change).min()) > 1.5
    assert float(found.drift.max()) < 4
    assert torch.equal(network.labels(result), network.labels(images))


def test_what_lies_on_the_grid_stays() -> None:
    space = space_of("patches")
    images = torch.randint(256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0)).double() / 255
    assert torch.equal(round_to_levels(space, images, images), images)


def test_an_inexact_perturbation_is_mended() -> None:
    """A (r − x) is what shrinks, not A (r − x̂)."""
    space = space_of("patches")
    images, perturbed = pair(space, 2, margin=0.1)
    off = perturbed + 0.3 / 255
    found = rounding(space, images, off, round_to_levels(space, images, off))
    assert float(found.change.max()) < 0.3 * float(
        space.annihilator().forward(off - images).flatten(1).norm(dim=1).min()
    )


def test_less_weight_on_drift_lets_the_network_see_less() -> None:
    space = space_of("patches")
    images, perturbed = pair(space, 4, margin=0.1)
    found = [
        rounding(space, images, perturbed, round_to_levels(space, images, perturbed, feedback=(share,)))
        for share in (1.0, 1e-2, 1e-4)
    ]
    assert found[0].change.mean() > found[1].change.mean() > found[2].change.mean()
    assert found[0].drift.mean() < found[1].drift.mean() < found[2].drift.mean()
    assert set(found[0].to_dict()) == {"change", "plain", "drift"}


def test_unread_values_are_rounded_to_the_nearest() -> None:
    crop = from_module(nn.Sequential(nn.ZeroPad2d(-2), nn.Conv2d(1, 2, 3)), (1, 9, 9))
    space = nullspace(crop)
    images, perturbed = pair(space, 2)
    result = round_to_levels(space, images, perturbed)
    assert torch.equal(result[:, :, :2], (perturbed[:, :, :2] * 255).round() / 255)


def test_a_contracting_tail_is_not_left_out() -> None:
    small = resize((1, 40, 40), (12, 12), "bilinear", antialias=True)
    torch.manual_seed(0)
    wide, narrow = (from_module(nn.Conv2d(1, n, 3, 2, 1), (1, 12, 12)) for n in (9, 2))
    assert blocks.narrowest(Composed(wide, small)).out_shape == (1, 12, 12)
    assert blocks.narrowest(Composed(narrow, small)).out_shape == narrow.out_shape
    assert blocks.narrowest(wide) is wide


@pytest.mark.parametrize("sizes", [(40, 30), (40, 6, 50), (9, 20, 5, 30, 8), (6, 300, 200)])
@pytest.mark.parametrize("density", [0.05, 1.0])
def test_gram_of_factors(sizes: tuple[int, ...], density: float) -> None:
    """From the narrowest place outwards, sparse or dense, it is that of the product."""
    random = np.random.default_rng(0)
    factors = [
        scipy.sparse.random_array((rows, columns), density=density, format="csr", random_state=random)
        for columns, rows in pairwise(sizes)
    ]
    product = np.linalg.multi_dot([*(f.toarray() for f in factors[::-1]), np.eye(sizes[0])])
    np.testing.assert_allclose(blocks.gram_of(factors), product.T @ product, atol=1e-11)


@pytest.mark.parametrize("seed", range(20))
def test_connected_values_by_the_whole_graph(seed: int) -> None:
    """Rows that read the same stand for one another, in every factor; rows that read nothing do not."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 14, random.integers(2, 5))
    factors = [
        scipy.sparse.csc_array(scipy.sparse.random_array((rows, columns), density=0.15, random_state=random))
        for columns, rows in pairwise(sizes)
    ]
    starts = np.cumsum([0, *sizes])
    joined = np.eye(starts[-1], dtype=bool)
    for i, factor in enumerate(factors):
        inputs, outputs = slice(starts[i], starts[i + 1]), slice(starts[i + 1], starts[i + 2])
        joined[outputs, inputs] = factor.toarray() != 0
        joined[inputs, outputs] = joined[outputs, inputs].T
    for _ in range(6):
        joined = joined @ joined
    labels = blocks._joined(factors)
    assert np.array_equal(labels[:, None] == labels, joined[: sizes[0], : sizes[0]])


def test_an_inexact_perturbation_does_not_touch_its_neighbours() -> None:
    """Where the layer sees nothing but rounding, no system is solved for it; others beside it change nothing."""
    space = space_of("patches")
    images, perturbed = pair(space, 3, margin=0.1)
    mixed = perturbed.clone()
    mixed[1] += 0.3 / 255
    result = round_to_levels(space, images, mixed)
    for n in range(3):
        assert torch.equal(result[n : n + 1], round_to_levels(space, images[n : n + 1], mixed[n : n + 1]))


def test_a_plan_is_kept_no_longer_than_its_map() -> None:
    operator = Dense(torch.eye(4, dtype=torch.float64)[:2], (4,))
    _plan(operator)
    gone = weakref.ref(operator)
    del operator
    gc.collect()
    assert gone() is None


def test_progress() -> None:
    calls: list[tuple[int, int, str]] = []
    space = space_of("patches")
    round_to_levels(space, *pair(space, 1), progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == list(range(1, calls[-1][1] + 1))


def definite(n: int, seed: int = 0) -> Tensor:
    a = torch.randn(n + 3, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a.T @ a


@pytest.mark.parametrize("n", [1, 7, 64, 65, 140])
def test_smallest_pivot_first(n: int) -> None:
    matrix = definite(n)
    order, lower = feedback.smallest_pivot_first(matrix)
    torch.testing.assert_close(lower @ lower.T, matrix[order][:, order])
    assert torch.equal(lower, lower.tril())
    rest, left, expected = matrix.clone(), list(range(n)), []
    for _ in range(n):
        i = int(rest.diagonal().argmin())
        expected.append(left.pop(i))
        keep = [k for k in range(len(rest)) if k != i]
        rest = rest[keep][:, keep] - rest[keep][:, [i]] @ rest[[i]][:, keep] / rest[i, i]
    assert order.tolist() == expected


@pytest.mark.parametrize("n", [5, 70, 130])
def test_feedback_against_one_value_after_another(n: int) -> None:
    """Each value is set to the whole number nearest to its best, the values still free being at theirs."""
    matrix = definite(n)
    form = feedback.quadratic(matrix, sort_up_to=100)  # both orders
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(2, n, generator=generator, dtype=torch.float64) * 7
    slope = torch.randn(2, n, generator=generator, dtype=torch.float64)
    result = feedback.rounded(form, values, slope, 7)
    aims = (values - torch.linalg.solve(matrix, slope.T).T).clamp(0, 7)
    for aim, r in zip(aims, result, strict=True):
        fixed: list[int] = []
        error = torch.zeros(n, dtype=torch.float64)
        for i in form.order.flip(0).tolist():
            free = [k for k in range(n) if k not in fixed]
            error[free] = torch.linalg.solve(matrix[free][:, free], -matrix[free][:, fixed] @ error[fixed])
            error[i] = (aim[i] + error[i]).round().clamp(0, 7) - aim[i]
            fixed.append(i)
        torch.testing.assert_close(r, aim + error)


def test_improved_leaves_no_better_step() -> None:
    matrix = definite(12)
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(5, 12, generator=generator, dtype=torch.float64) * 3
    slope = torch.randn(5, 12, generator=generator, dtype=torch.float64)

    def cost(whole: Tensor) -> Tensor:
        error = whole - values
        return ((error @ matrix) * error).sum(1) / 2 + (slope * error).sum(1)

    result = feedback.improved(matrix, values, slope, values.round(), 3)
    assert 0 <= result.min() <= result.max() <= 3
    assert bool((cost(result) < cost(values.round())).any())
    for i in range(12):
        for step in (-1, 1):
            other = result.clone()
            other[:, i] += step
            inside = (other[:, i] >= 0) & (other[:, i] <= 3)
            assert bool((cost(other) >= cost(result) - 1e-6)[inside].all())


def test_bad_input() -> None:
    space = space_of("patches")
    images, perturbed = pair(space, 2)
    with pytest.raises(ShapeError, match="no pairs"):
        round_to_levels(space, images[:1], perturbed)
    with pytest.raises(ShapeError, match="perturbed image must have shape"):
        round_to_levels(space, images, perturbed[:, :1])
    for levels in (1, 65537):
        with pytest.raises(ValueRangeError, match=f"got {levels}"):
            round_to_levels(space, images, perturbed, levels)
    for wrong in (perturbed + 1, perturbed * torch.nan):
        with pytest.raises(ValueRangeError, match=r"leaves \[0, 1\]"):
            round_to_levels(space, images, wrong)
    for shares in ((), (0.0,), (-1.0,), (float("nan"),)):
        with pytest.raises(ValueRangeError, match="feedback"):
            round_to_levels(space, images, perturbed, feedback=shares)
