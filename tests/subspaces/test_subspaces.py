"""Subspaces against dense linear algebra: splitting, combining, and the nearest point within box and ball."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn

from blindspace.errors import BlindspaceError, ShapeError, TooLargeError, UnknownNameError, ValueRangeError
from blindspace.maps import Dense, VStack, from_module
from blindspace.subspaces import Subspace, nearest, norms, nullspace, rowspace, span
from oracle import Array, matrix_of, null_projector

SHAPE = (2, 6, 6)
SIZE = 72


def seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().eval()


def noise(count: int = 4, shape: tuple[int, ...] = SHAPE, seed: int = 3) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CONV = seeded(0, lambda: nn.Conv2d(2, 3, 3, 2, 1))
PATCHES = seeded(1, lambda: nn.Conv2d(2, 3, 2, 2))
FLAT = seeded(2, lambda: nn.Sequential(nn.Flatten(), nn.Linear(SIZE, 9)))
FULL = seeded(3, lambda: nn.Conv2d(2, 5, 3, 1, 1))
DEPENDENT = torch.cat([noise(5, seed=5), noise(5, seed=5)[:3] * 2])


def rows_of(*matrices: Array) -> Array:
    """The projector onto all rows of the matrices."""
    return np.eye(SIZE) - null_projector(np.concatenate(matrices))


def together(*projectors: Array) -> Array:
    """The projector onto the intersection, as the nullspace of all complements."""
    return null_projector(np.concatenate([np.eye(SIZE) - p for p in projectors]))


SPACES: dict[str, tuple[Callable[[], Subspace], Callable[[], Array]]] = {
    "conv": (lambda: nullspace(CONV, SHAPE), lambda: null_projector(matrix_of(CONV, SHAPE))),
    "patches": (lambda: nullspace(PATCHES, SHAPE), lambda: null_projector(matrix_of(PATCHES, SHAPE))),
    "linear": (lambda: nullspace(FLAT, SHAPE), lambda: null_projector(matrix_of(FLAT, SHAPE))),
    "zero": (lambda: nullspace(FULL, SHAPE), lambda: np.zeros((SIZE, SIZE))),
    "whole": (lambda: rowspace(FULL, SHAPE), lambda: np.eye(SIZE)),
    "conv-rows": (lambda: rowspace(CONV, SHAPE), lambda: rows_of(matrix_of(CONV, SHAPE))),
    "patches-rows": (lambda: rowspace(PATCHES, SHAPE), lambda: rows_of(matrix_of(PATCHES, SHAPE))),
    "span": (lambda: span(DEPENDENT), lambda: rows_of(DEPENDENT.flatten(1).numpy())),
    "conv-and-patches": (
        lambda: nullspace(CONV, SHAPE) & nullspace(PATCHES, SHAPE),
        lambda: null_projector(np.concatenate([matrix_of(CONV, SHAPE), matrix_of(PATCHES, SHAPE)])),
    ),
    "span-plus-rows": (
        lambda: span(DEPENDENT) + rowspace(FLAT, SHAPE),
        lambda: rows_of(DEPENDENT.flatten(1).numpy(), matrix_of(FLAT, SHAPE)),
    ),
    "conv-and-span": (
        lambda: nullspace(FLAT, SHAPE) & (rowspace(CONV, SHAPE) + span(DEPENDENT)),
        lambda: together(
            null_projector(matrix_of(FLAT, SHAPE)), rows_of(matrix_of(CONV, SHAPE), DEPENDENT.flatten(1).numpy())
        ),
    ),
}


@dataclass(frozen=True)
class Pair:
    """A subspace and its projector as a dense matrix."""

    space: Subspace
    matrix: Array

    def dense(self, v: Tensor) -> Tensor:
        projected: Array = v.flatten(1).numpy() @ self.matrix
        return torch.from_numpy(projected).reshape(v.shape)


@cache
def pair(name: str) -> Pair:
    space, matrix = SPACES[name]
    return Pair(space(), matrix())


every_space = pytest.mark.parametrize("name", SPACES)


def gap(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


def size(v: Tensor) -> Tensor:
    lengths: Tensor = v.flatten(1).norm(dim=1)
    return lengths


# --- one subspace -----------------------------------------------------------------------------------------


@every_space
def test_split_is_the_dense_projection(name: str) -> None:
    both, v = pair(name), noise()
    expected = both.dense(v)
    assert both.space.dim == round(np.trace(both.matrix))
    assert both.space.ambient_dim == SIZE
    assert gap(both.space.project(v), expected) <= 1e-13
    assert gap(both.space.reject(v), v - expected) <= 1e-13
    split = both.space.split(v)
    assert gap(split.parallel, expected) <= 1e-13
    assert gap(split.parallel + split.orthogonal, v) <= 1e-15 * 4
    assert split.residual == both.space.residual(v) <= 1e-15
    annihilator = both.space.annihilator()
    assert (size(annihilator.forward(expected)) <= 1e-13).all()
    assert annihilator.in_shape == SHAPE


@every_space
def test_energy_is_the_share_of_the_squared_length(name: str) -> None:
    both, v = pair(name), noise()
    assert gap(both.space.energy(v), size(both.dense(v)) ** 2 / size(v) ** 2) <= 1e-13
    assert both.space.energy(torch.zeros(1, *SHAPE)).tolist() == [0.0]
    inside = both.space.project(v)
    assert gap(both.space.energy(inside), (size(inside) > 0).double()) <= 1e-13


@every_space
def test_chance_is_the_mean_energy_of_gaussian_noise(name: str) -> None:
    space = pair(name).space
    assert space.chance + space.complement.chance == pytest.approx(1)
    energy = space.energy(noise(2000))
    # The energy follows a beta distribution, whose standard deviation is at most 1 / √(2 n).
    assert abs(float(energy.mean()) - space.chance) <= 5 / (2 * SIZE * 2000) ** 0.5


@every_space
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_contains_what_is_inside_and_nothing_else(name: str, dtype: torch.dtype) -> None:
    space = pair(name).space
    inside, outside = space.sample(3, torch.Generator().manual_seed(0), dtype), space.reject(noise()).to(dtype)
    assert space.contains(inside).all()
    assert space.contains(torch.zeros(2, *SHAPE, dtype=dtype)).all()
    if space.dim < SIZE:
        assert not space.contains(outside).any()
        mixed = inside[:1] + 1e-2 * size(inside[:1]).clamp(min=1).item() * outside[:1] / size(outside[:1]).item()
        assert not space.contains(mixed).any()
        assert space.contains(mixed, tol=1).all()


def test_contains_rejects_a_direction_whose_outputs_are_all_negative() -> None:
    """The published code compared A δ, not |A δ|, with the tolerance."""
    matrix = torch.rand(5, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    space, harmful = nullspace(Dense(matrix)), -matrix.sum(0, keepdim=True)
    assert (matrix @ harmful[0] < 0).all()
    assert not space.contains(harmful).any()
    assert not space.contains(harmful, tol=0.1).any()
    assert not nullspace(Dense(-matrix)).contains(-harmful).any()


@every_space
def test_samples_are_inside_seeded_and_of_no_preferred_direction(name: str) -> None:
    both = pair(name)
    samples = [both.space.sample(500, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert samples[0].shape == (500, *SHAPE)
    assert torch.equal(samples[0], samples[1])
    assert torch.equal(samples[0], samples[2]) == (both.space.dim == 0)
    assert gap(both.dense(samples[0]), samples[0]) <= 1e-13
    mean_square = float((size(samples[0]) ** 2).mean())
    assert mean_square == pytest.approx(both.space.dim, rel=0.1)
    assert both.space.sample(2, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("name", SPACES)
def test_basis_is_orthonormal_and_spans(name: str) -> None:
    both = pair(name)
    basis = both.space.basis()
    assert basis.shape == (both.space.dim, *SHAPE)
    flat = basis.flatten(1).numpy()
    assert np.abs(flat @ flat.T - np.eye(len(flat))).max(initial=0) <= 1e-13
    assert np.abs(flat.T @ flat - both.matrix).max() <= 1e-13


@every_space
def test_complement_takes_the_rest(name: str) -> None:
    both, v = pair(name), noise()
    other = both.space.complement
    assert other.dim == SIZE - both.space.dim
    assert gap(both.space.project(v) + other.project(v), v) <= 1e-13
    assert (both.space.project(v) * other.project(v)).flatten(1).sum(1).abs().max() <= 1e-13
    assert other.complement.dim == both.space.dim
    assert gap(other.complement.project(v), both.space.project(v)) <= 1e-13
    assert other.contains(both.space.reject(v)).all()


@every_space
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_other_precisions(name: str, dtype: torch.dtype, tolerance: float) -> None:
    both, v = pair(name), noise().to(dtype)
    split = both.space.split(v)
    for part in (both.space.project(v), both.space.reject(v), split.parallel, split.orthogonal, both.space.energy(v)):
        assert part.dtype == dtype
    assert gap(split.parallel.double(), both.dense(v.double())) <= tolerance
    assert gap(both.space.energy(v).double(), size(both.dense(v.double())) ** 2 / size(v.double()) ** 2) <= tolerance
    assert split.residual <= tolerance
    assert both.space.contains(split.parallel).all()


def test_plain_values() -> None:
    described = pair("conv").space.to_dict()
    assert described["shape"] == [2, 6, 6]
    assert described["dim"] == SIZE - 27
    assert described["certificate"]["kind"] == "exact"
    assert repr(pair("conv").space) == "Nullspace(dim 45 of 72, exact)"


# --- single perturbations, derivatives, devices -------------------------------------------------------------


@every_space
def test_a_single_perturbation_gives_single_results(name: str) -> None:
    space, v = pair(name).space, noise()
    for i, single in enumerate(v):
        # A batch of another size rounds otherwise.
        assert gap(space(single), space.project(v)[i]) <= 1e-14
        assert gap(space.reject(single), space.reject(v)[i]) <= 1e-14
        assert gap(space.split(single).parallel, space.split(v).parallel[i]) <= 1e-14
        assert gap(space.energy(single), space.energy(v)[i]) <= 1e-14
        assert space.contains(space(single)).shape == ()
        assert bool(space.contains(space(single)))
        assert space.residual(single) <= 1e-15
    with pytest.raises(ShapeError):
        space(v[0, 0])


@every_space
def test_projections_are_their_own_derivative(name: str) -> None:
    space, v = pair(name).space, noise(2).requires_grad_()
    assert torch.autograd.gradcheck(space.project, v, atol=1e-6, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: space.energy(x).sum(), v, atol=1e-5, fast_mode=True)
    assert torch.autograd.gradcheck(lambda x: space.split(x).orthogonal, v, atol=1e-6, fast_mode=True)
    single = noise(1)[0]
    jacobian = torch.func.jacrev(space.project)(single).reshape(SIZE, SIZE)
    assert np.abs(jacobian.numpy() - pair(name).matrix).max() <= 1e-13
    assert (
        gap(torch.func.vmap(space.project)(noise(6).unflatten(0, (3, 2))), space(noise(6)).unflatten(0, (3, 2))) < 1e-13
    )


def test_projections_are_silent_while_gradients_are_recorded() -> None:
    """The iterative solver converts tensors to numbers, which torch warns about if they require gradients."""
    space, v = nullspace(CONV, SHAPE, "krylov"), noise().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = space.split(v)
        assert space.contains(split.parallel).all()
    (split.parallel.square().sum() / 2).backward()
    assert v.grad is not None
    assert gap(v.grad, split.parallel.detach()) <= 1e-12


def test_devices() -> None:
    space = pair("conv").space
    moved = space.to("cpu")
    assert moved.device == torch.device("cpu")
    assert torch.equal(
        moved.sample(2, torch.Generator().manual_seed(0)), space.sample(2, torch.Generator().manual_seed(0))
    )
    with pytest.raises(BlindspaceError, match="'nowhere'"):
        space.to("nowhere")


def test_whatever_stands_for_a_linear_map_gives_a_nullspace() -> None:
    space, v = pair("conv").space, noise()
    assert nullspace(space) is space
    assert rowspace(space).dim == 27
    assert nullspace(space, solver="dense").solver == "dense"
    assert gap(nullspace(space, SHAPE, "dense")(v), space(v)) <= 1e-13
    assert (space & space.annihilator()).dim == space.dim
    assert gap(nullspace(space.complement.linear_map())(v), space.complement(v)) <= 1e-12
    with pytest.raises(ShapeError, match=r"\(2, 6, 6\)"):
        nullspace(space, (2, 6, 7))


# --- several subspaces ------------------------------------------------------------------------------------


def test_intersection_of_two_layers_is_the_nullspace_of_both_stacked() -> None:
    maps = [from_module(CONV, SHAPE), from_module(FLAT, SHAPE)]
    both, vstack, v = nullspace(maps[0]) & nullspace(maps[1]), nullspace(VStack(maps)), noise()
    assert both.dim == vstack.dim == SIZE - 27 - 9
    assert gap(both.project(v), vstack.project(v)) <= 1e-13
    for operator in maps:
        assert operator.forward(both.project(v)).abs().max() <= 1e-14
    assert gap((nullspace(maps[1]) & nullspace(maps[0])).project(v), both.project(v)) <= 1e-13


def test_the_subspace_sum_contains_both() -> None:
    a, b = span(noise(4, seed=1)), rowspace(FLAT, SHAPE)
    whole = a + b
    assert whole.dim == (b + a).dim == (a | b).dim == 13
    assert whole.contains(a.sample(3)).all()
    assert whole.contains(b.sample(3)).all()


def test_with_itself_and_with_its_complement() -> None:
    space = pair("conv").space
    assert (space & space).dim == (space + space).dim == space.dim
    assert (space & space.complement).dim == 0
    assert (space + space.complement).dim == SIZE


def test_span_of_dependent_vectors_and_of_zero() -> None:
    assert span(DEPENDENT).dim == 5
    assert span(torch.zeros(2, 3)).dim == 0
    assert span(torch.zeros(2, 3)).project(torch.ones(1, 3)).tolist() == [[0.0, 0.0, 0.0]]
    assert span(torch.eye(3, dtype=torch.float16)[:2]).project(torch.ones(1, 3)).tolist() == [[1.0, 1.0, 0.0]]
    mixed = noise(5, seed=5).flatten(1).T @ noise(5, (5,), 8).T
    assert gap(span(mixed.T.reshape(5, *SHAPE)).project(noise()), pair("span").space.project(noise())) <= 1e-12


def integers(rows: int) -> st.SearchStrategy[Array]:
    return st.integers(1, rows).flatmap(lambda k: arrays(np.float64, (k, 7), elements=st.integers(-2, 2).map(float)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(integers(6), integers(6))
def test_dimensions_of_sum_and_intersection(a: Array, b: Array) -> None:
    """dim(U + V) + dim(U ∩ V) = dim U + dim V."""
    assume(a.any() and b.any())
    u, v = span(torch.from_numpy(a)), span(torch.from_numpy(b))
    rank = int(np.linalg.matrix_rank(np.concatenate([a, b])))
    assert u.dim == np.linalg.matrix_rank(a)
    assert (u + v).dim == rank
    assert (u & v).dim == u.dim + v.dim - rank
    assert (u.complement & v.complement).dim == 7 - rank


# --- the nearest point of subspace, box and ball ----------------------------------------------------------

LAYER = seeded(7, lambda: nn.Conv2d(2, 1, 3, 2, 1))
IMAGE = (2, 5, 5)


def images(shape: tuple[int, ...] = IMAGE, black: int = 3, white: int = 2) -> Tensor:
    """Two images; in one row some pixels are black to the last bit, in another some are white."""
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, :, 0, :black] = 0
    x[:, :, 3, :white] = 1
    return x


BALLS = pytest.mark.parametrize(
    ("radius", "norm"), [(float("inf"), "linf"), (0.2, "linf"), (float("inf"), "l2"), (0.5, "l2"), (50.0, "l2")]
)


@BALLS
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_nearest_stays_inside_to_the_last_bit(radius: float, norm: Any, dtype: torch.dtype) -> None:
    space, x = nullspace(LAYER, IMAGE), images().to(dtype)
    v = noise(2, IMAGE).to(dtype)
    found = nearest(v, space, -x, 1 - x, radius, norm)
    assert found.value.dtype == dtype
    assert ((found.value >= -x) & (found.value <= 1 - x)).all()
    assert ((x + found.value >= 0) & (x + found.value <= 1)).all()
    assert (norms(found.value, norm) <= radius).all()
    assert (size(found.value) > 0.1).all()
    measured = (size(space.reject(found.value)) / size(found.value)).max()
    assert found.residual == pytest.approx(float(measured), rel=1e-3, abs=1e-12)
    assert found.residual <= (1e-10 if dtype == torch.float64 else 1e-3)


def quadratic_programme(v: Array, matrix: Array, low: Array, high: Array, radius: float, norm: str) -> Array:
    """The nearest point by sequential quadratic programming: A δ = 0 as equations, box as bounds, L2 as inequality."""
    if norm == "linf":
        low, high = low.clip(-radius), high.clip(max=radius)
    minimize: Any = scipy.optimize.minimize
    constraints: list[dict[str, Any]] = [{"type": "eq", "fun": lambda d: matrix @ d, "jac": lambda d: matrix}]
    if norm == "l2" and radius < np.inf:
        constraints.append({"type": "ineq", "fun": lambda d: radius**2 - d @ d, "jac": lambda d: -2 * d})
    found = minimize(
        lambda d: float((d - v) @ (d - v)) / 2,
        np.zeros(len(v)),
        jac=lambda d: d - v,
        bounds=list(zip(low, high, strict=True)),
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-16, "maxiter": 1000},
    )
    assert np.abs(matrix @ found.x).max() <= 1e-9
    return np.asarray(found.x)


def distance_to_programme(layer: nn.Module, x: Tensor, radius: float, norm: Any) -> float:
    """The largest difference of ``nearest`` from the quadratic programme."""
    shape = tuple(x.shape[1:])
    _, sigma, rows = np.linalg.svd(matrix_of(layer, shape))
    matrix = rows[: (sigma > 1e-12).sum()]  # independent rows: the programme wants a regular system
    v = noise(2, shape)
    found = nearest(v, nullspace(layer, shape), -x, 1 - x, radius, norm).value.flatten(1).numpy()
    low, high = -x.flatten(1).numpy(), 1 - x.flatten(1).numpy()
    expected = [quadratic_programme(v[i].flatten().numpy(), matrix, low[i], high[i], radius, norm) for i in range(2)]
    return float(np.abs(found - expected).max())


@BALLS
def test_nearest_is_the_quadratic_programme_s_solution(radius: float, norm: Any) -> None:
    assert distance_to_programme(LAYER, images(), radius, norm) <= 1e-6


def test_nearest_without_a_subspace_clips() -> None:
    x, v = images(), 5 * noise(2, IMAGE)
    clipped = nearest(v, None, -x, 1 - x, 0.3)
    assert torch.equal(clipped.value, torch.minimum(torch.maximum(v.clamp(-0.3, 0.3), -x), 1 - x))
    assert (clipped.residual, clipped.iterations) == (0.0, 0)


def test_nearest_of_an_admissible_point_is_itself() -> None:
    space = nullspace(LAYER, IMAGE)
    inside = space.sample(2, torch.Generator().manual_seed(0))
    wide = torch.full_like(inside, 100)
    found = nearest(inside, space, -wide, wide)
    assert gap(found.value, inside) <= 1e-12
    assert nearest(0 * inside, space, -wide, wide).value.abs().max() == 0
    assert nearest(inside, space, 0 * wide, 0 * wide).value.abs().max() == 0


# --- what is refused --------------------------------------------------------------------------------------


def test_refusals_name_what_was_given() -> None:
    space = pair("conv").space
    expected: list[tuple[type[BlindspaceError], str, Callable[[], object]]] = [
        (ShapeError, r"\(B, 2, 6, 6\).*\(1, 2, 6, 7\)", lambda: space.project(torch.zeros(1, 2, 6, 7))),
        (ShapeError, "floating.*int64", lambda: space.split(torch.zeros(1, *SHAPE, dtype=torch.int64))),
        (ShapeError, r"\(B, 2, 6, 6\)", lambda: space.contains(torch.zeros(2, 6))),
        (ShapeError, r"\(2, 6, 6\).*\(2, 5, 5\)", lambda: space & nullspace(LAYER, IMAGE)),
        (ShapeError, r"\(2, 6, 6\).*\(2, 5, 5\)", lambda: space + nullspace(LAYER, IMAGE)),
        (ShapeError, "Conv2d", lambda: nullspace(CONV)),
        (ShapeError, r"\(0, 3\)", lambda: span(torch.zeros(0, 3))),
        (ShapeError, r"floating.*\(2, 3\)", lambda: span(torch.zeros(2, 3, dtype=torch.int64))),
        (ValueRangeError, "NaN", lambda: span(torch.full((1, 3), float("nan")))),
        (TooLargeError, "45 vectors of 72", lambda: space.basis(limit=8 * 45 * 72 - 1)),
        (UnknownNameError, "'l7'.*linf and l2", lambda: norms(noise(), "l7")),  # type: ignore[arg-type]
        (ValueRangeError, "contain 0", lambda: nearest(noise(), space, noise() * 0 + 0.1, noise() * 0 + 1)),
    ]
    for error, named, call in expected:
        with pytest.raises(error, match=rf"^.*{named}.*\Z"):
            call()


@pytest.mark.parametrize(("factor", "dtype"), [(100, torch.float16), (1e-25, torch.float32)])
def test_energy_does_not_depend_on_scale(factor: float, dtype: torch.dtype) -> None:
    v = noise()
    energy = pair("conv").space.energy((factor * v).to(dtype))
    assert gap(energy.double(), pair("conv").space.energy(v)) <= 0.01


@pytest.mark.parametrize(("norm", "channels"), [("l1", 2), ("linf", 1)])
def test_nearest_refuses_an_unknown_norm_and_a_wrong_shape(norm: Any, channels: int) -> None:
    box = torch.ones(4, *SHAPE, dtype=torch.float64)
    with pytest.raises(BlindspaceError):
        nearest(noise(shape=(channels, 6, 6)), pair("conv").space, -box, box, 1.0, norm)


def test_no_samples() -> None:
    assert pair("conv").space.sample(0).shape == (0, *SHAPE)


def test_nearest_stays_in_sets_that_hardly_intersect() -> None:
    """With a third of the pixels black or white the splitting stalls, and the result is 0."""
    layer = seeded(7, lambda: nn.Conv2d(1, 2, 3, 2, 1))
    space, x = nullspace(layer, (1, 5, 5)), images((1, 5, 5), black=5, white=3)
    found = nearest(torch.randn(x.shape, dtype=torch.float64), space, -x, 1 - x)
    assert found.residual <= 1e-6
    assert float((x + found.value).min()) >= 0
    assert float((x + found.value).max()) <= 1
