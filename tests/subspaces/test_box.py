"""The nearest point of subspace and pixel range against Lawson and Hanson's least-distance programme, and its bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from blindspace.subspaces import nearest, norms, nullspace
from blindspace.subspaces.box import Metric
from blindspace.subspaces.davis_yin import MEMORY, Memory
from oracle import Array, matrix_of


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return build().eval()


def averaging() -> nn.Module:
    """A layer without harmless change of a black image: means of values of at least 0 vanish only if all values do."""
    layer = nn.Conv2d(1, 1, 2, 2, bias=False)
    nn.init.constant_(layer.weight, 0.25)
    return layer


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "stem": (seeded(lambda: nn.Conv2d(2, 3, 3, 2, 1)), (2, 7, 7)),
    "patches": (seeded(lambda: nn.Conv2d(2, 3, 3, 3)), (2, 6, 6)),
    "resize": (nn.Upsample((4, 4), mode="bilinear"), (1, 8, 8)),
    "linear": (seeded(lambda: nn.Linear(40, 10)), (40,)),
    "means": (averaging(), (1, 6, 6)),
}

each_layer = pytest.mark.parametrize("name", LAYERS)


def draw(shape: tuple[int, ...], seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def saturated(shape: tuple[int, ...], share: float) -> Tensor:
    """Images of which a share of the pixels is black or white to the last bit."""
    x = draw(shape, 1)
    return torch.where(draw(shape, 2) < share, x.round(), x)


IMAGES: dict[str, Callable[[tuple[int, ...]], Tensor]] = {
    "grey": lambda shape: 0.25 + draw(shape, 1) / 2,
    "a tenth black or white": lambda shape: saturated(shape, 0.1),
    "two fifths black or white": lambda shape: saturated(shape, 0.4),
    "black": lambda shape: torch.zeros(2, *shape, dtype=torch.float64),
    "white": lambda shape: torch.ones(2, *shape, dtype=torch.float64),
}

each_kind = pytest.mark.parametrize("kind", IMAGES)


def nearest_by_programme(matrix: Array, v: Array, low: Array, high: Array, metric: Array | None = None) -> Array:
    """The nearest point by non-negative least squares (Lawson & Hanson, Solving Least Squares Problems, chapter 23).

    δ = N c with N a basis of the nullspace; u = R c − R⁻ᵀNᵀH v with RᵀR = NᵀHN makes the distance ‖u‖.
    """
    basis = scipy.linalg.null_space(matrix)
    weighted = basis.T if metric is None else basis.T @ metric
    root = np.linalg.cholesky(weighted @ basis).T
    best = np.linalg.solve(root.T, weighted @ v)
    rows = np.linalg.solve(root.T, basis.T).T
    constraints = np.concatenate([rows, -rows])
    least = np.concatenate([low - rows @ best, rows @ best - high])
    target = np.zeros(len(best) + 1)
    target[-1] = 1
    equations = np.concatenate([constraints.T, least[None]])
    y, _ = scipy.optimize.nnls(equations, target, maxiter=10_000)
    rest = equations @ y - target
    return np.asarray(rows @ (best - rest[:-1] / rest[-1]))


def programme(name: str, v: Tensor, x: Tensor, metric: Array | None = None) -> Tensor:
    layer, shape = LAYERS[name]
    matrix = matrix_of(layer, shape)
    centres, low, high = (t.flatten(1).numpy() for t in (v, -x, 1 - x))
    found = [nearest_by_programme(matrix, centres[i], low[i], high[i], metric) for i in range(len(v))]
    return torch.from_numpy(np.stack(found)).reshape(v.shape)


def length(v: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return lengths


@each_layer
@each_kind
@pytest.mark.parametrize("scale", [0.3, 100])
def test_nearest_is_the_programme_s_solution(name: str, kind: str, scale: float) -> None:
    """The result is as near as the bound states, in the box to the last bit and in the subspace to the last digits."""
    layer, shape = LAYERS[name]
    x, v = IMAGES[kind](shape), scale * torch.randn(2, *shape, generator=torch.Generator().manual_seed(3)).double()
    space = nullspace(layer, shape)
    found = nearest(v, space, -x, 1 - x, iterations=200)
    assert ((found.value >= -x) & (found.value <= 1 - x)).all()
    assert found.residual <= 2e-14
    error = (length(found.value - programme(name, v, x)) / length(v)).max()
    assert float(error) <= found.optimality + 1e-9
    assert found.optimality <= (
        1e-5 if scale < 1 else 0.01
    )  # the projection of a target far beyond the box is a vertex


@each_layer
@pytest.mark.parametrize("kind", ["grey", "two fifths black or white"])
def test_far_targets_do_not_end_the_iteration_early(name: str, kind: str) -> None:
    """Moves that are small beside a target a hundred boxes away may be large beside the result."""
    layer, shape = LAYERS[name]
    x, v = IMAGES[kind](shape), 100 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(3)).double()
    expected = programme(name, v, x)
    for tolerance in (1e-4, 1e-6):
        found = nearest(v, nullspace(layer, shape), -x, 1 - x, tolerance=tolerance, iterations=2000)
        assert float((length(found.value - expected) / length(expected)).max()) <= tolerance**0.5
        assert found.optimality <= tolerance**0.5


@each_layer
def test_images_half_black_are_changed(name: str) -> None:
    """Plain splitting converges too slowly here, and 0 would be returned."""
    layer, shape = LAYERS[name]
    x = saturated(shape, 0.4)
    v = nullspace(layer, shape).sample(2, torch.Generator().manual_seed(4))
    expected = length(programme(name, v, x))
    found = length(nearest(v, nullspace(layer, shape), -x, 1 - x).value)
    assert (found >= 0.999 * expected).all()
    assert (expected > 0.01).any()


@each_kind
def test_zero_is_proved_optimal_if_no_harmless_change_is_in_range(kind: str) -> None:
    layer, shape = LAYERS["means"]
    x = IMAGES[kind](shape)
    v = 0.5 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(3)).double()
    found = nearest(v, nullspace(layer, shape), -x, 1 - x)
    assert bool((found.value == 0).all()) == (kind in ("black", "white"))
    assert found.optimality <= 1e-6


@pytest.mark.parametrize("name", ["stem", "patches"])
@pytest.mark.parametrize("iterations", [1, 2, 5, 12])
def test_the_bound_holds_after_any_number_of_iterations(name: str, iterations: int) -> None:
    layer, shape = LAYERS[name]
    x, v = saturated(shape, 0.2), 0.5 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(6)).double()
    expected = programme(name, v, x)
    bounds = []
    for allowed in (iterations, 500):
        found = nearest(v, nullspace(layer, shape), -x, 1 - x, tolerance=1e-3, iterations=allowed)
        error = length(found.value - expected) / length(v)
        assert float(error.max()) <= found.optimality + found.residual
        bounds.append(found.optimality)
    assert bounds[1] < 0.05  # 1e-3 is loose
    assert iterations > 5 or bounds[0] > bounds[1]


def symmetric(size: int) -> Array:
    """A metric with eigenvalues from 0.1 to 1."""
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))
    return np.asarray(q * np.linspace(0.1, 1, size) @ q.T)


@each_layer
@pytest.mark.parametrize("share", [0, 0.2])
def test_another_metric(name: str, share: float) -> None:
    layer, shape = LAYERS[name]
    x, v = saturated(shape, share), torch.randn(2, *shape, generator=torch.Generator().manual_seed(7)).double()
    matrix = symmetric(v[0].numel())
    metric = Metric(lambda e: (e.flatten(1) @ torch.from_numpy(matrix)).reshape(e.shape), 0.1)
    found = nearest(v, nullspace(layer, shape), -x, 1 - x, metric=metric)
    expected = programme(name, v, x, matrix)
    error = float((length(found.value - expected) / length(v)).max())
    assert error <= min(1e-6, found.optimality)
    assert found.optimality <= 1e-5
    plain = nearest(v, nullspace(layer, shape), -x, 1 - x).value
    assert (length(plain - expected) > 1e-3).all()


def test_each_of_a_batch_is_found_by_itself() -> None:
    """The result does not depend on the other images of the batch, nor on their order."""
    layer, shape = LAYERS["stem"]
    space = nullspace(layer, shape)
    x = torch.cat([IMAGES["grey"](shape), saturated(shape, 0.4), IMAGES["black"](shape)])
    v = torch.randn(6, *shape, generator=torch.Generator().manual_seed(8)).double()
    found = nearest(v, space, -x, 1 - x)
    together, longest = found.value, 0
    for i in range(6):
        alone = nearest(v[i : i + 1], space, -x[i : i + 1], 1 - x[i : i + 1])
        torch.testing.assert_close(alone.value, together[i : i + 1], rtol=0, atol=1e-8)
        longest = max(longest, alone.iterations)
    assert found.iterations <= 1.3 * longest
    order = torch.arange(5, -1, -1)
    turned = nearest(v[order], space, -x[order], 1 - x[order]).value
    torch.testing.assert_close(turned[order], together, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("radius", "norm"), [(0.1, "linf"), (0.5, "l2"), (0.0, "l2")])
def test_ball_box_and_dtype_to_the_last_bit(dtype: torch.dtype, radius: float, norm: Any) -> None:
    layer, shape = LAYERS["stem"]
    x = saturated(shape, 0.3).to(dtype)
    v = torch.randn(2, *shape, generator=torch.Generator().manual_seed(9), dtype=dtype)
    found = nearest(v, nullspace(layer, shape), -x, 1 - x, radius, norm)
    assert found.value.dtype == dtype
    assert ((x + found.value >= 0) & (x + found.value <= 1)).all()
    assert (norms(found.value, norm) <= radius).all()
    assert found.residual <= (2e-14 if dtype == torch.float64 else 1e-6)
    assert found.optimality <= 1e-4


@settings(max_examples=10)
@given(
    st.tuples(st.integers(1, 2), st.integers(4, 7), st.integers(4, 7)),
    st.integers(1, 3),
    st.floats(0, 1),
    st.sampled_from([0.01, 1.0, 1000.0]),
    st.integers(0, 99),
)
def test_any_result_is_in_box_and_subspace(
    shape: tuple[int, ...], kernels: int, share: float, scale: float, seed: int
) -> None:
    layer = seeded(lambda: nn.Conv2d(shape[0], kernels, 3, 2, 1))
    x = torch.where(draw(shape, seed) < share, draw(shape, seed + 1).round(), draw(shape, seed + 1))
    v = scale * torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed)).double()
    found = nearest(v, nullspace(layer, shape), -x, 1 - x, iterations=200)
    assert ((found.value >= -x) & (found.value <= 1 - x)).all()
    assert ((x + found.value >= 0) & (x + found.value <= 1)).all()
    assert found.residual <= 1e-6
    # 0 lies in all sets, so that the nearest point is no further from v than 0.
    assert (length(found.value - v) <= length(v) * (1 + 2 * found.optimality)).all()


def test_a_trivial_nullspace_gives_zero() -> None:
    layer = seeded(lambda: nn.Conv2d(1, 2, 1))
    x, v = draw((1, 4, 4), 1), 100 * draw((1, 4, 4), 2)
    found = nearest(v, nullspace(layer, (1, 4, 4)), -x, 1 - x)
    assert (float(found.value.abs().max()), found.residual, found.optimality) == (0, 0, 0)


def test_acceleration_accelerates() -> None:
    layer, shape = LAYERS["stem"]
    x, v = saturated(shape, 0.4), 0.3 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(3)).double()
    quick = nearest(v, nullspace(layer, shape), -x, 1 - x, iterations=2000)
    slow = nearest(v, nullspace(layer, shape), -x, 1 - x, iterations=2000, memory=0)
    torch.testing.assert_close(quick.value, slow.value, rtol=0, atol=1e-8)
    assert quick.iterations < 0.6 * slow.iterations


def test_acceleration_solves_a_least_squares_problem_per_image() -> None:
    memory = Memory(torch.zeros(3, 20, dtype=torch.float64))
    steps, changes = draw((3, 20), 1, 11), draw((3, 20), 2, 11)
    for taken, change in zip(steps, changes, strict=True):
        memory.add(taken, change)
    memory.keep(torch.tensor([False, True, True]))
    move = draw((20,), 3)
    correction = memory.correction(move)
    for i in (1, 2):
        last = slice(11 - MEMORY, 11)
        share = np.linalg.lstsq(changes[last, i].numpy().T, move[i - 1].numpy())[0]
        expected = share @ (steps + changes)[last, i].numpy()
        np.testing.assert_allclose(correction[i - 1].numpy(), expected, atol=1e-6)
