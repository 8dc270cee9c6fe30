from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import ShapeError, TooLargeError, ValueRangeError
from blindspace.maps import Dense
from blindspace.perturbations import feasibility
from blindspace.perturbations._largest import largest
from blindspace.perturbations.douglas_rachford import ascend, largest_bound
from blindspace.perturbations.feasibility import into_box
from blindspace.perturbations.repeated import Repeated, repeated, with_basis
from blindspace.perturbations.vertex_step import parts, vertex_step
from blindspace.subspaces import Subspace


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def space_of(module: nn.Module, shape: tuple[int, ...]) -> Subspace:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for weight in module.parameters():
            nn.init.normal_(weight)
    return bs.nullspace(module, shape)


SPACES = {
    "stem": lambda: space_of(nn.Conv2d(3, 6, 5, 2, 2), (3, 8, 8)),
    "patches": lambda: space_of(nn.Conv2d(3, 20, 4, 4), (3, 8, 8)),
    "patches that leave a border": lambda: space_of(nn.Conv2d(3, 20, 4, 4), (3, 9, 10)),
    "linear": lambda: space_of(nn.Linear(12, 5), (12,)),
    "two layers": lambda: space_of(nn.Sequential(nn.Conv2d(3, 5, 4, 2, 1), nn.Conv2d(5, 9, 3, 1, 1)), (3, 6, 6)),
}


SMALL_STEM = nn.Conv2d(3, 6, 5, 2, 2)


@pytest.fixture(scope="module", params=list(SPACES))
def space(request: pytest.FixtureRequest) -> Subspace:
    return SPACES[request.param]()


def natural(count: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Random images with one value in fifty black and one white, to the last bit."""
    drawn = torch.rand(count, *shape, generator=seeded(seed), dtype=torch.float64)
    return (1.04 * drawn - 0.02).clamp(0, 1)


def vertices(basis: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """All vertices of {c : low ≤ basis c ≤ high} by trying every choice of d values at their limits, ``(k, n)``."""
    n, d = basis.shape
    found = []
    for chosen in map(list, {tuple(c) for c in product(range(n), repeat=d) if list(c) == sorted(set(c))}):
        if np.linalg.cond(basis[chosen]) > 1e8:
            continue
        for sides in product((0, 1), repeat=d):
            limits = np.where(sides, high[chosen], low[chosen])
            point = basis @ np.linalg.solve(basis[chosen], limits)
            if (point >= low - 1e-9).all() and (point <= high + 1e-9).all():
                found.append(point)
    return np.array(found)


# --- what is promised of every result ---------------------------------------------------------------------


def assert_harmless(space: Subspace, x: Tensor, y: Tensor) -> None:
    """Inside [0, 1] with no tolerance, and in x + N(A) to rounding, by the dense matrix."""
    assert y.dtype == torch.float64
    assert float(y.min()) >= 0
    assert float(y.max()) <= 1
    matrix = space.annihilator().to_dense(limit=None)
    delta = (y - x).flatten(1)
    moved = (delta @ matrix.T).norm(dim=1)
    assert bool((moved <= 1e-14 * float(torch.linalg.matrix_norm(matrix, 2)) * delta.norm(dim=1)).all())


def test_inside_the_box_and_the_space(space: Subspace) -> None:
    x = natural(4, space.shape)
    found = largest(space, x, seeded(1), iterations=150)
    assert_harmless(space, x, found.images)
    torch.testing.assert_close(found.msc, (found.images - x).square().flatten(1).mean(1))
    assert bool((found.msc > 0).all())
    assert bool((found.msc <= found.bound).all())
    assert float(found.residual.max()) < 1e-14
    assert found.gap is None


@pytest.mark.parametrize("vertex_steps", [0, 2])
def test_black_white_and_half_of_each(space: Subspace, vertex_steps: int) -> None:
    x = natural(5, space.shape)
    x[0], x[1] = 0, 1
    x[2, ..., : space.shape[-1] // 2] = 1
    x[3, ..., space.shape[-1] // 2 :] = 0
    x[4] = x[4].round()
    found = largest(space, x, seeded(2), iterations=60, vertex_steps=vertex_steps)
    assert_harmless(space, x, found.images)
    assert bool((found.residual <= 1e-12).all())


def test_where_nothing_is_possible_the_image_stays() -> None:
    mean = bs.nullspace(Dense(torch.ones(1, 6, dtype=torch.float64)))  # what leaves the mean of a black image is 0
    x = torch.zeros(2, 6, dtype=torch.float64)
    x[1, 2:] = 0.5
    found = largest(mean, x, seeded(0), iterations=50)
    assert torch.equal(found.images[0], x[0])
    assert float(found.residual[0]) == 0
    assert float(found.bound[0]) < 1e-12
    assert float(found.msc[1]) > 0
    # Black values have to stay where others must make up for them: x₁ + x₂ = 0 pins both, the rest is free.
    rows = torch.zeros(2, 6, dtype=torch.float64)
    rows[0, :2], rows[1, 2:] = 1, 1
    found = largest(bs.nullspace(Dense(rows)), x, seeded(1), iterations=200, starts=4)
    assert torch.equal(found.images[1, :2], x[1, :2])
    assert float(found.msc[1]) == pytest.approx(4 * 0.25 / 6, rel=1e-3)  # two up to 1, two down to 0


def test_better_than_where_it_starts_and_than_a_straight_line(space: Subspace) -> None:
    x = 0.2 + 0.6 * natural(6, space.shape)
    found = largest(space, x, seeded(3), iterations=300)
    start = space.project(torch.randn(x.shape, generator=seeded(3), dtype=torch.float64))
    room = torch.where(start > 0, 1 - x, -x) / start
    line = room.flatten(1).amin(1).square() * start.square().flatten(1).mean(1)
    assert bool((found.msc > line).all())
    settled = into_box(repeated(space), start, -x, 1 - x).square().flatten(1).mean(1)
    assert float(found.msc.mean()) > 1.2 * float(settled.mean())


def test_seeds(space: Subspace) -> None:
    x = natural(3, space.shape)
    first, again, other = (largest(space, x, seeded(seed), iterations=40).images for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    own = [largest(space, x[i : i + 1], generators=[seeded(i)], iterations=40).images[0] for i in range(3)]
    together = largest(space, x, generators=[seeded(i) for i in range(3)], iterations=40).images
    torch.testing.assert_close(torch.stack(own), together, atol=1e-9, rtol=0)


def test_more_starts_are_never_worse() -> None:
    space = SPACES["stem"]()
    x = natural(4, space.shape)
    generator = seeded(7)
    one = largest(space, x, generator, iterations=60).msc
    two = largest(space, x, generator, iterations=60).msc
    both = largest(space, x, seeded(7), iterations=60, starts=2)
    torch.testing.assert_close(both.msc, torch.maximum(one, two), atol=1e-9, rtol=0)
    assert both.starts == 2


def test_batches_are_split_by_memory() -> None:
    space = SPACES["patches"]()
    x = natural(5, space.shape)
    calls: list[tuple[int, int, str]] = []
    whole = largest(space, x, generators=[seeded(i) for i in range(5)], iterations=30)
    split = largest(
        space,
        x,
        generators=[seeded(i) for i in range(5)],
        iterations=30,
        progress=lambda *call: calls.append(call),
        at_once=8 * 2 * space.ambient_dim,
    )
    torch.testing.assert_close(whole.images, split.images, atol=1e-9, rtol=0)
    assert [done for done, _, _ in calls] == list(range(1, 91))
    assert {total for _, total, _ in calls} == {90}


def test_no_images_and_the_dictionary() -> None:
    space = SPACES["stem"]()
    none = largest(space, torch.empty(0, *space.shape))
    assert none.images.shape == (0, *space.shape)
    some = largest(space, natural(2, space.shape).float(), seeded(0), iterations=20).to_dict()
    assert [len(some[name]) for name in ("msc", "bound", "residual")] == [2, 2, 2]
    assert (some["iterations"], some["starts"], some["gap"]) == (20, 1, None)


def test_what_is_refused() -> None:
    space = SPACES["linear"]()
    x = natural(2, (12,))
    with pytest.raises(ValueRangeError, match=r"outside \[0, 1\]"):
        largest(space, 255 * x)
    with pytest.raises(ValueRangeError, match="NaN"):
        largest(space, x * torch.nan)
    with pytest.raises(ShapeError, match="as many generators"):
        largest(space, x, generators=[seeded(0)])
    with pytest.raises(ShapeError):
        largest(space, x[:, :5])
    with pytest.raises(ValueRangeError, match="least 1"):
        largest(space, x, iterations=0)
    with pytest.raises(ValueRangeError, match="least harmful"):
        largest(bs.nullspace(nn.Linear(4, 9), (4,)), x[:, :4])


# --- the best there is, by trying every vertex ------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_best_of_all_vertices(seed: int) -> None:
    rows = torch.randn(5, 8, generator=seeded(seed), dtype=torch.float64)
    space, x = bs.nullspace(Dense(rows)), natural(1, (8,), seed)
    all_of_them = vertices(scipy.linalg.null_space(rows.numpy()), -x[0].numpy(), 1 - x[0].numpy())
    best = float(np.square(all_of_them).mean(1).max())
    found = largest(space, x, seeded(seed), iterations=300, starts=8, vertex_steps=5)
    assert float(found.msc[0]) == pytest.approx(best, rel=1e-6)
    assert best <= float(found.bound[0]) * (1 + 1e-12)


@pytest.mark.parametrize("name", ["linear", "patches"])
def test_a_linear_programme_finds_the_best_vertex(name: str) -> None:
    """Against the vertices of one part with few dimensions, and weak duality for all."""
    rows = torch.randn(6, 9, generator=seeded(1), dtype=torch.float64)
    part = parts(Dense(rows))[0]
    values = natural(1, (9,))[0].numpy()
    slope = np.random.default_rng(0).standard_normal(9)
    corners = vertices(scipy.linalg.null_space(rows.numpy()), -values, 1 - values)
    assert slope @ part.highest(slope, -values, 1 - values) == pytest.approx((corners @ slope).max(), abs=1e-6)
    space = SPACES[name]()
    x = natural(1, space.shape)
    start = into_box(Repeated(space), torch.randn(x.shape, generator=seeded(2), dtype=torch.float64), -x, 1 - x)
    step = vertex_step(space, start, -x, 1 - x, steps=30)
    assert float(step.gap) == 0
    assert float(step.value.norm()) > float(start.norm())
    # No member of the space and the box lies higher along it.
    others = into_box(Repeated(space), space.sample(200, seeded(3)), -x.expand(200, *space.shape), 1 - x)
    assert float((others * step.value).flatten(1).sum(1).max()) <= float(step.value.square().sum()) * (1 + 1e-6)


def test_a_local_maximum_is_a_vertex() -> None:
    space = SPACES["patches"]()
    x = natural(2, space.shape)
    found = largest(space, x, seeded(0), iterations=100, vertex_steps=30)
    assert found.gap is not None
    assert float(found.gap.max()) == 0
    y = found.images
    at_limits = ((y < 1e-6) | (y > 1 - 1e-6)).flatten(1).sum(1)
    assert bool((at_limits >= space.dim).all())
    before = largest(space, x, seeded(0), iterations=100)
    assert bool((found.msc >= before.msc).all())


def test_parts_are_those_of_the_matrix() -> None:
    space = SPACES["patches that leave a border"]()
    pieces = parts(space.annihilator())
    values = np.concatenate([part.values for part in pieces])
    assert sorted(values.tolist()) == list(range(space.ambient_dim))
    dims = [part.null.shape[1] if part.null is not None else len(part.values) - part.row.shape[1] for part in pieces]  # type: ignore[union-attr]
    assert sum(dims) == space.dim
    assert max(len(part.values) for part in pieces) == 48  # 3 × 4 × 4


def test_too_large_programmes_are_refused() -> None:
    space = SPACES["stem"]()
    with pytest.raises(TooLargeError, match="192 values"):
        largest(space, natural(1, space.shape), iterations=5, vertex_steps=1, largest_part=100)


# --- the pieces -------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 12),
    rank=st.integers(1, 11),
    black=st.integers(0, 6),
    white=st.integers(0, 6),
    seed=st.integers(0, 1000),
)
def test_into_box_always_ends_inside_both(n: int, rank: int, black: int, white: int, seed: int) -> None:
    rows = torch.randn(min(rank, n - 1), n, generator=seeded(seed), dtype=torch.float64)
    space = bs.nullspace(Dense(rows))
    x = torch.rand(3, n, generator=seeded(seed), dtype=torch.float64)
    x[:, :black], x[:, n - white :] = 0, 1
    delta = into_box(Repeated(space), 3 * space.sample(3, seeded(seed)), -x, 1 - x)
    assert bool((delta >= -x).all())
    assert bool((delta <= 1 - x).all())
    assert bool((delta @ rows.T).norm(dim=1).le(1e-11 * torch.linalg.matrix_norm(rows, 2) * delta.norm(dim=1)).all())


def test_what_is_inside_stays() -> None:
    space = SPACES["stem"]()
    x = 0.3 + 0.4 * natural(2, space.shape)
    delta = space.sample(2, seeded(0))
    delta = 0.2 * delta / delta.abs().amax()
    torch.testing.assert_close(into_box(Repeated(space), delta, -x, 1 - x), delta, atol=1e-15, rtol=0)


@pytest.mark.parametrize(("made", "count"), [(Repeated, 3), (with_basis, 5)])  # by iteration, and by a basis
def test_pinned_values_stay_and_the_rest_is_nearest(made: Callable[[Subspace], Repeated], count: int) -> None:
    space = SPACES["stem"]()
    project = made(space)
    v = torch.randn(5, *space.shape, generator=seeded(0), dtype=torch.float64)
    pinned = torch.rand(v.shape, generator=seeded(1)) < torch.tensor([0.0, 0.05, 0.15, 0.9, 0.0]).view(5, 1, 1, 1)
    pinned[4, :, :3] = True  # whole rows of pixels, among which the network's values are dependent
    if project.rows is None:
        found = feasibility._leaving(project, v[:count], pinned[:count]).flatten(1)
    else:
        moved = [feasibility.moved_by(project.rows, values) for values in pinned]
        found = project.project_without(v, moved).flatten(1)
    for i in range(count):
        matrix = space.annihilator().to_dense(limit=None)
        both = torch.cat([matrix, torch.eye(space.ambient_dim, dtype=torch.float64)[pinned[i].flatten()]])
        null = torch.from_numpy(scipy.linalg.null_space(both.numpy()))
        torch.testing.assert_close(found[i], null @ (null.T @ v[i].flatten()), atol=1e-9, rtol=0)


@pytest.mark.parametrize("count", [0, 4, 8, 20, 26, 32])
@pytest.mark.parametrize("repeat", [False, True])
def test_combinations_that_move_pinned_values(count: int, repeat: bool) -> None:
    """With few pinned values and with more than there are rows, dependent on one another or not."""
    rows = torch.zeros(10, 32, dtype=torch.float64)
    for some, block in ((slice(6), slice(20)), (slice(6, 10), slice(20, 32))):  # 20 values that four of the rows leave
        shape = rows[some, block].shape
        rows[some, block] = torch.linalg.qr(torch.randn(*shape, generator=seeded(0), dtype=torch.float64).T).Q.T
    if repeat:
        rows[:6, 1:4] = rows[:6, :1]
        rows = torch.linalg.qr(rows.T).Q.T
    pinned = torch.arange(32) < count
    moving = feasibility.moved_by(rows, pinned)
    columns = rows[:, pinned].numpy()
    wanted = torch.from_numpy(scipy.linalg.orth(columns)) if count else torch.zeros(10, 0, dtype=torch.float64)
    assert moving.shape == wanted.shape
    torch.testing.assert_close(moving @ moving.T, wanted @ wanted.T, atol=1e-9, rtol=0)


def test_perturbations_at_a_wall() -> None:
    """A white wall is pinned; in what is left of the subspace a point of the box is found, the same in any batch."""
    space = SPACES["stem"]()
    project = with_basis(space)
    x = natural(5, space.shape).clamp(0.1, 0.9)
    x[:4, :, :6] = 1
    drawn = space.sample(5, seeded(0))
    delta = 1.5 * drawn / drawn.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    found = into_box(project, delta, -x, 1 - x)
    assert bool((found >= -x).all())
    assert bool((found <= 1 - x).all())
    assert bool(space.contains(found, 1e-10).all())
    assert bool((found.flatten(1).norm(dim=1) > 0.5 * delta.flatten(1).norm(dim=1)).all())
    for n in range(5):
        assert torch.equal(into_box(project, delta[n : n + 1], -x[n : n + 1], 1 - x[n : n + 1])[0], found[n])


def test_the_climb_ends_near_the_box(space: Subspace) -> None:
    x = natural(3, space.shape)
    start = torch.randn(x.shape, generator=seeded(0), dtype=torch.float64)
    steps: list[int] = []
    climbed = ascend(Repeated(space), start, -x, 1 - x, 200, steps.append)
    assert steps == list(range(1, 201))
    assert bool(space.contains(climbed).all())
    assert float(torch.maximum(-x - climbed, climbed - 1 + x).max()) < 0.1


def test_the_bound_where_it_is_known() -> None:
    everything = bs.nullspace(Dense(torch.zeros(1, 5, dtype=torch.float64)))
    x = torch.tensor([[0.0, 0.2, 0.5, 0.9, 1.0]], dtype=torch.float64)
    assert float(largest_bound(everything, -x, 1 - x)) == pytest.approx(1 + 0.64 + 0.25 + 0.81 + 1)
    # All of grey: the ball around the centre is the one around 0, and reaches the corners.
    grey = torch.full((1, 5), 0.5, dtype=torch.float64)
    alternating = bs.nullspace(Dense(torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)))
    assert float(largest_bound(alternating, -grey, 1 - grey)) == pytest.approx(5 / 4)
    assert float(largest(alternating, grey, seeded(0), iterations=200, starts=4).msc) == pytest.approx(1 / 4, rel=1e-3)


def test_the_bound_is_reached_where_only_the_mean_is_seen() -> None:
    mean = bs.nullspace(Dense(torch.ones(1, 4, dtype=torch.float64)))
    dark = torch.full((1, 4), 0.25, dtype=torch.float64)  # one value to 1, three to 0
    assert float(largest_bound(mean, -dark, 1 - dark)) == pytest.approx(0.75)
    found = largest(mean, dark, seeded(0), iterations=200, starts=6, vertex_steps=3)
    assert float(found.msc) == pytest.approx(0.75 / 4, rel=1e-6)


def test_a_basis_projects_as_the_space_does() -> None:
    space = bs.nullspace(SMALL_STEM, (3, 8, 8), solver="krylov")
    v = torch.randn(2, *space.shape, generator=seeded(0), dtype=torch.float64)
    project = repeated(space)
    assert project.rows is not None
    torch.testing.assert_close(project.project(v), space.project(v), atol=1e-12, rtol=0)
    patches = SPACES["patches"]()
    assert repeated(patches).rows is None
    v = patches.sample(2)
    torch.testing.assert_close(repeated(patches).project(v), patches.project(v), atol=1e-14, rtol=0)


def test_a_trained_network_reads_the_protected_images_alike() -> None:
    from blindspace.data import samples

    network = bs.load("cifar-resnet")
    x = torch.as_tensor(samples("cifar10").images[:3]).double() / 255
    space = bs.harmless(network)
    found = largest(space, x, seeded(0), iterations=60)
    assert float(found.images.min()) >= 0
    assert float(found.images.max()) <= 1
    assert float(found.msc.min()) > 0.02
    evidence = bs.verify(network, x, found.images)
    assert evidence.labels_changed == 0
    assert evidence.relative_residual < 1e-14


def test_where_nothing_was_found_the_grey_pixels_serve() -> None:
    space = bs.nullspace(SMALL_STEM, (3, 8, 8), solver="krylov")
    project = repeated(space)
    x = natural(3, space.shape).clone()
    x[:, :, 2:4, 1:5], x[:, 0, 6] = 0, 1
    drawn = torch.randn(x.shape, generator=seeded(0), dtype=torch.float64)
    made = torch.zeros_like(x)
    made[1] = 0.25  # found before: stays
    found = feasibility.where_saturated(project, made, x, lambda inner, n: inner.project(drawn[n]))
    assert torch.equal(found[1], made[1])
    a = space.annihilator().to_dense(limit=None)
    for i in (0, 2):
        fixed = ((x[i] == 0) | (x[i] == 1)).flatten()
        both = torch.cat([a, torch.eye(space.ambient_dim, dtype=torch.float64)[fixed]])
        null = torch.from_numpy(scipy.linalg.null_space(both.numpy()))
        torch.testing.assert_close(found[i].flatten(), null @ (null.T @ drawn[i].flatten()), atol=1e-9, rtol=0)
        assert not found[i].flatten()[fixed].any()
        assert null.shape[1] > 0
    # Where a basis would be large nothing more is tried.
    assert feasibility.where_saturated(Repeated(space), made, x, lambda inner, n: inner.project(drawn[n]), 0) is made
