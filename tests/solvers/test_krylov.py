"""Conjugate gradients against the dense oracle: ill-conditioned, singular, tall and composed maps; their limits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from blindspace.errors import BlindspaceWarning, TooLargeError, UnsupportedLayerError
from blindspace.maps import Convolution, Dense, Kronecker, LinearMap, VStack, compose, from_module
from blindspace.maps.operations import average_pool
from blindspace.solvers import Certificate, Solver
from blindspace.solvers.projectors import krylov
from blindspace.solvers.projectors.delegating import FactorPreconditioner
from blindspace.solvers.projectors.dense import DenseSolver
from blindspace.solvers.projectors.krylov import KrylovSolver, NotConvergedError, memory, pcg
from blindspace.solvers.rank.inertia import certify
from cases import all_zero, box_blur, duplicates, falling, gabors, kernels_kept, luminance, weighted
from oracle import Reference

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "strided": (lambda: nn.Conv2d(3, 4, 5, 2, 2), (3, 12, 10)),
    "dilated": (lambda: nn.Conv2d(3, 2, 3, (1, 2), (2, 1), (2, 3)), (3, 9, 11)),
    "reflect": (lambda: nn.Conv2d(3, 2, 5, 2, 2, padding_mode="reflect"), (3, 11, 10)),
    "circular": (lambda: nn.Conv2d(2, 1, 4, padding="same", padding_mode="circular"), (2, 9, 8)),
    "replicate, 1-D": (lambda: nn.Conv1d(3, 2, 5, 2, 3, padding_mode="replicate"), (3, 21)),
    "groups, 3-D": (lambda: nn.Conv3d(2, 2, 3, 2, 1, groups=2), (2, 5, 4, 6)),
    "gabor": (lambda: weighted(nn.Conv2d(3, 4, 7, 2, 3), gabors(4, 7)), (3, 10, 10)),
    "tall": (lambda: nn.Conv2d(2, 5, 3, 1, 1), (2, 6, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), (4, 5, 4)),
    "box blur": (box_blur, (1, 14, 14)),
    "luminance": (lambda: weighted(nn.Conv2d(3, 5, 5, 2, 2), luminance(5, 5)), (3, 11, 11)),
    "duplicates": (lambda: kernels_kept(nn.Conv2d(3, 4, 3, 2, 1), duplicates), (3, 10, 10)),
    "tall and singular": (lambda: nn.ConvTranspose2d(6, 2, (3, 2), (2, 3), 1, 1, 2, dilation=2), (6, 5, 4)),
    "dead": (lambda: kernels_kept(nn.Conv2d(3, 4, 3, 2, 1), all_zero), (3, 8, 8)),
    "conv of pooling": (lambda: nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3, 2, 1)), (3, 16, 12)),
    "conv of conv": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 3, 2)), (2, 9, 9)),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def layer(name: str) -> LinearMap:
    torch.manual_seed(sorted(LAYERS).index(name))
    build, shape = LAYERS[name]
    return from_module(build().requires_grad_(False), shape)


def noise(shape: tuple[int, ...], batch: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def residuals(operator: LinearMap, p: Tensor, x: Tensor) -> Tensor:
    """‖A p‖ / (‖A‖ ‖x‖) of each image; 0 for a zero map."""
    ratios: Tensor = flat(operator.forward(p)).norm(dim=1) / flat(x).norm(dim=1) / (operator.norm() or 1)
    return ratios


class CholeskySolver(Solver):
    """The solver of a factor, with the inverse of A Aᵀ as a matrix."""

    def __init__(self, operator: LinearMap) -> None:
        super().__init__(operator)
        a = operator.to_dense()
        self.factor = torch.linalg.cholesky(a @ a.T)

    def _project(self, x: Tensor) -> Tensor:
        return x - self.operator._adjoint(self.gram_inverse(self.operator._forward(x)))

    def gram_inverse(self, b: Tensor) -> Tensor:
        return torch.cholesky_solve(flat(b).T, self.factor).T.reshape(b.shape)


def close_to_oracle(operator: LinearMap, solver: Solver, x: Tensor, condition: float) -> None:
    expected = Reference(operator.to_dense().numpy()).project(flat(x).numpy()).astype(float)
    error = (flat(solver.project(x)) - torch.from_numpy(expected)).norm(dim=1)
    assert bool((error <= 1e-15 * condition * flat(x).norm(dim=1)).all()), error


@each_layer
def test_agrees_with_the_oracle(name: str) -> None:
    operator = layer(name)
    solver, oracle = KrylovSolver(operator), Reference(operator.to_dense().numpy())
    x = noise(operator.in_shape)
    condition = oracle.sigma[0] / oracle.sigma[oracle.rank - 1] if oracle.rank else 1
    close_to_oracle(operator, solver, x, max(4 * condition, 10))
    p, other = solver.project(x), noise(operator.in_shape, seed=2)
    assert float(residuals(operator, p, x).max()) <= 1e-15
    assert float((solver.project(p) - p).norm() / x.norm()) <= 1e-15 * max(condition, 10)
    left, right = (solver.project(other) * x).sum(), (other * p).sum()
    assert float((left - right).abs() / x.norm() / other.norm()) <= 1e-15 * max(condition, 10)
    assert float((p * (x - p)).sum().abs() / x.norm() ** 2) <= 1e-15 * max(condition, 10)


@each_layer
def test_row_space_is_removed_and_nullspace_kept(name: str) -> None:
    operator = layer(name)
    solver = KrylovSolver(operator, inner=torch.float64)
    row = operator.adjoint(noise(operator.out_shape))
    null = solver.project(noise(operator.in_shape))
    assert float(solver.project(row).norm()) <= 1e-13 * float(row.norm())
    torch.testing.assert_close(solver.project(null), null, rtol=0, atol=1e-13)
    both = torch.cat([row, null])
    torch.testing.assert_close(solver.project(both), torch.cat([0 * row, null]), rtol=0, atol=1e-12)


@each_layer
def test_float32_stays_float32(name: str) -> None:
    operator = layer(name)
    x = noise(operator.in_shape)
    p = KrylovSolver(operator).project(x.float())
    assert p.dtype == torch.float32
    assert float(residuals(operator, p.double(), x).max()) <= 1e-6
    assert KrylovSolver(operator).project(x.half()).dtype == torch.float16


def test_every_image_has_its_own_scale() -> None:
    """Images of very different magnitudes, zero among them, are projected as if each were alone."""
    operator = layer("strided")
    solver = KrylovSolver(operator)
    sizes = torch.tensor([1e-200, 1, 0, 1e-9, 1e200], dtype=torch.float64).reshape(-1, 1, 1, 1)
    x = noise(operator.in_shape, 1).expand(5, -1, -1, -1)
    alone = solver.project(x[:1])
    p = solver.project(x * sizes)
    torch.testing.assert_close(p, alone * sizes, rtol=1e-12, atol=0)
    assert not p[2].any()
    sizes = torch.tensor([1e-30, 1, 0, 1e-9, 1e30]).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(solver.project(x.float() * sizes), alone.float() * sizes, rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_a_map_of_any_scale(size: float) -> None:
    """The squares of these weights are beyond float32."""
    operator = layer("strided")
    assert isinstance(operator, Convolution)
    scaled = Convolution(
        operator.weight * size, operator.in_shape, operator.stride, operator.padding, operator.dilation
    )
    x = noise(operator.in_shape)
    expected = KrylovSolver(operator).project(x)
    torch.testing.assert_close(KrylovSolver(scaled).project(x), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(KrylovSolver(scaled).project(x.float()), expected.float(), rtol=0, atol=1e-4)


def test_images_leave_the_batch_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = layer("strided")
    solver, parts = KrylovSolver(operator), KrylovSolver(operator, chunk=8 * operator.in_dim)
    seen: list[int] = []
    forward = operator._forward

    def counted(x: Tensor) -> Tensor:
        seen.append(len(x))
        return forward(x)

    monkeypatch.setattr(operator, "_forward", counted)
    null = solver.project(noise(operator.in_shape, 2))
    x = torch.cat([noise(operator.in_shape, 1), null])
    seen.clear()
    whole = solver.project(x)
    assert seen[0] == 3
    assert set(seen[1:]) == {1}
    assert solver.iterations > 10
    torch.testing.assert_close(parts.project(x), whole, rtol=0, atol=1e-14)
    assert max(seen[-10:]) == 1
    assert solver.project(x[:0]).shape == x[:0].shape


def test_float64_takes_over_where_float32_gains_nothing() -> None:
    torch.manual_seed(0)
    operator = Dense(falling(8, 12, 1e-5))  # in between, the residual grows by a factor of some thousands
    solver, x = KrylovSolver(operator), noise((12,))
    worked: list[torch.dtype] = []
    gram = solver._gram
    solver._gram = lambda u: worked.append(u.dtype) or gram(u)  # type: ignore[method-assign, func-returns-value]
    p = solver.project(x)
    assert float(residuals(operator, p, x).max()) <= 1e-15
    assert worked[0] == torch.float32
    assert worked[-1] == torch.float64


def test_a_residual_that_has_to_grow_first() -> None:
    """One σ far below the others: the residual rises by about the condition before it falls."""
    weight = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    operator = Convolution(weight, (1, 4, 4), (2, 2), ((1, 1), (1, 1)), (1, 1))
    assert DenseSolver(operator).certificate.condition > 1e5
    x = noise(operator.in_shape)
    assert float(residuals(operator, KrylovSolver(operator).project(x), x).max()) <= 1e-15


def test_a_residual_that_is_not_met_is_reported_with_figures() -> None:
    torch.manual_seed(0)
    operator = Dense(falling(60, 90, 1e-6))
    x = noise((90,))
    with pytest.raises(NotConvergedError, match=r"stays at \d\.\de-\d\d, above 8\.9e-16, after 40 iterations"):
        KrylovSolver(operator, limit=40).project(x)
    with pytest.raises(NotConvergedError, match=r"stays at \d\.\de-\d\d, above 4\.8e-07, after 40 iterations"):
        KrylovSolver(operator, limit=40).project(x.float())
    rough = compose(Dense(torch.randn(30, 40, dtype=torch.float64)), Dense(torch.randn(5, 30, dtype=torch.float64)))
    solver = KrylovSolver(rough)
    solver.norm *= 1e-3  # as if ‖B ∘ R‖ were far below ‖B‖ ‖R‖, by which the rounding errors go
    with pytest.warns(BlindspaceWarning, match=r"stays at \d\.\de-1\d, above 8\.9e-16, after \d+ iterations; no more"):
        solver.project(noise((40,)))


def test_a_preconditioner_that_is_not_positive_definite() -> None:
    operator = layer("strided")
    with pytest.warns(BlindspaceWarning, match="stays at"):
        KrylovSolver(operator, lambda b: 0 * b).project(noise(operator.in_shape))


def test_tolerance() -> None:
    operator = layer("gabor")
    x = noise(operator.in_shape)
    rough, fine = KrylovSolver(operator, tolerance=1e-6), KrylovSolver(operator)
    assert 1e-15 < float(residuals(operator, rough.project(x), x).max()) <= 1e-6
    fine.project(x)
    assert rough.iterations < fine.iterations


@pytest.mark.parametrize("name", ["strided", "reflect", "gabor", "conv of pooling"])
def test_gram_inverse(name: str) -> None:
    operator = layer(name)
    b = noise(operator.out_shape)
    u = KrylovSolver(operator).gram_inverse(b)
    assert float((operator.forward(operator.adjoint(u)) - b).norm()) <= 1e-14 * float(
        operator.norm() ** 2 * u.norm() + b.norm()
    )
    torch.testing.assert_close(u, CholeskySolver(operator).gram_inverse(b), rtol=0, atol=1e-9 * float(u.abs().max()))


def test_no_gram_inverse_below_full_row_rank() -> None:
    operator = layer("duplicates")
    with pytest.raises(UnsupportedLayerError, match="no inverse: the rank is 50, below 100"):
        KrylovSolver(operator, certificate=DenseSolver(operator).certificate).gram_inverse(noise(operator.out_shape))


def test_certificates() -> None:
    operator = layer("strided")
    dense = DenseSolver(operator).certificate
    assert KrylovSolver(operator, certificate=dense).certificate is dense
    counted = KrylovSolver(operator).certificate
    assert (counted.rank, counted.kind) == (operator.out_dim, "undecided")
    assert dense.sigma_above is not None
    assert counted.sigma_above is not None
    assert dense.sigma_above * (1 - 1e-9) <= counted.sigma_above <= 3 * dense.sigma_above
    zero = KrylovSolver(layer("dead"))
    assert (zero.certificate.rank, zero.certificate.kind) == (0, "exact")
    unread = Dense(torch.tensor([[1.0, 0, 0], [1, 0, 0]]))
    assert KrylovSolver(unread).certificate.rank == 1


def test_a_proved_injective_map_needs_no_iteration() -> None:
    operator = layer("tall")
    certificate = DenseSolver(operator).certificate
    assert certificate.kind == "exact"
    solver = KrylovSolver(operator, certificate=certificate)
    assert not solver.project(noise(operator.in_shape)).any()
    assert solver.iterations == 0
    doubtful = KrylovSolver(operator, certificate=replace(certificate, kind="undecided"))
    doubtful.project(noise(operator.in_shape))
    assert doubtful.iterations > 0


# --- preconditioners --------------------------------------------------------------------------------------


def resize(out: int, size: int) -> Tensor:
    """Linear interpolation without antialiasing, ``(out, size)``."""
    at = ((torch.arange(out, dtype=torch.float64) + 0.5) * size / out - 0.5).clamp(0, size - 1)
    return (1 - (at[:, None] - torch.arange(size)).abs()).clamp(min=0)


def chain(seed: int = 0) -> list[LinearMap]:
    """A resize, a convolution, and a convolution again, each of full row rank."""
    torch.manual_seed(seed)
    small = Kronecker([resize(16, 24), resize(14, 23)], (3, 24, 23))
    first = from_module(nn.Conv2d(3, 4, 7, 2, 3), (3, 16, 14))
    return [small, first, from_module(nn.Conv2d(4, 2, 3, 1, 1), first.out_shape)]


@pytest.mark.parametrize("factors", [2, 3])
def test_factors_precondition_their_composition(factors: int) -> None:
    parts = chain()[:factors]
    operator = compose(*parts)
    preconditioner = FactorPreconditioner(*(CholeskySolver(part) for part in parts))
    b, c = noise(operator.out_shape, 2), noise(operator.out_shape, 2, seed=5)
    assert float(((preconditioner(b) * c).sum() - (b * preconditioner(c)).sum()).abs()) <= 1e-9 * float(
        b.norm() * c.norm()
    )
    assert bool(((preconditioner(b) * b).flatten(1).sum(1) > 0).all())
    plain, helped = KrylovSolver(operator), KrylovSolver(operator, preconditioner)
    x = noise(operator.in_shape)
    p = helped.project(x)
    torch.testing.assert_close(p, plain.project(x), rtol=0, atol=1e-12)
    assert float(residuals(operator, p, x).max()) <= 1e-15
    assert helped.iterations < plain.iterations / 3
    assert float(residuals(operator, helped.project(x.float()).double(), x).max()) <= 1e-6


def test_factors_that_have_the_inverse_need_one_step() -> None:
    """Where the outer factor is invertible the preconditioner is the inverse."""
    torch.manual_seed(0)
    inner, outer = Dense(torch.randn(5, 9, dtype=torch.float64)), Dense(torch.randn(5, 5, dtype=torch.float64))
    operator = compose(inner, outer)
    preconditioner = FactorPreconditioner(CholeskySolver(inner), KrylovSolver(outer))
    b = noise((5,))
    torch.testing.assert_close(preconditioner(b), CholeskySolver(operator).gram_inverse(b), rtol=1e-6, atol=0)
    assert preconditioner(b.float()).dtype == torch.float32


def test_a_stack() -> None:
    operator = VStack([layer("strided"), from_module(nn.AvgPool2d(2), (3, 12, 10))])
    x = noise(operator.in_shape)
    close_to_oracle(operator, KrylovSolver(operator), x, 500)


# --- the iteration itself ---------------------------------------------------------------------------------


def test_pcg_solves_singular_systems_and_returns_its_best() -> None:
    torch.manual_seed(0)
    half = torch.randn(12, 7, dtype=torch.float64)
    gram = half @ half.T
    b = torch.randn(4, 7, dtype=torch.float64) @ half.T
    b[1] = 0
    u, iterations = pcg(lambda v: v @ gram, b, None, torch.full((4,), 1e-9, dtype=torch.float64), 100)
    assert iterations <= 14
    assert float((u @ gram - b).norm()) <= 1e-8
    assert not u[1].any()
    short, iterations = pcg(lambda v: v @ gram, b, None, torch.zeros(4, dtype=torch.float64), 3)
    assert iterations == 3
    assert bool(((short @ gram - b).norm(dim=1) <= b.norm(dim=1)).all())


def test_pcg_ends_when_rounding_blows_up() -> None:
    """Rounding errors outside the range of a singular G grow without bound; the best before that is returned."""
    torch.manual_seed(0)
    low_rank = torch.randn(60, 20, dtype=torch.float64) @ falling(20, 80, 1e-3)
    low_rank /= torch.linalg.matrix_norm(low_rank, 2)
    a = low_rank.float()
    b = torch.randn(2, 80).double() @ low_rank.T
    b = (b / b.norm(dim=1, keepdim=True)).float()
    u, iterations = pcg(lambda v: (v @ a) @ a.T, b, None, torch.zeros(2), 5000)
    assert iterations < 5000
    assert float((u.double() @ low_rank @ low_rank.T - b).norm()) <= 1e-2


def test_memory_is_estimated() -> None:
    """Torch unfolds 7 × 7 pixels for each output in float64; a larger batch is processed in parts."""
    conv = Convolution(torch.randn(10, 3, 7, 7), (3, 224, 224), (2, 2), ((3, 3), (3, 3)), (1, 1))
    one = memory(conv)
    assert 8 * 147 * 112 * 112 < one < 8 * 400 * 112 * 112
    assert memory(compose(conv, average_pool(conv.out_shape, (2, 2)))) > 8 * 147 * 112 * 112
    assert memory(conv, 10_000) < 100 * one + 2 * 8 * 10_000 * conv.in_dim


@settings(max_examples=25, deadline=None)
@given(
    axes=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.integers(3, 5),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    mode=st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    batch=st.integers(0, 3),
    seed=st.integers(0, 10),
)
def test_any_convolution(
    axes: int,
    channels: tuple[int, int],
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    mode: str,
    batch: int,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(channels[1], channels[0], *[kernel] * axes, generator=generator, dtype=torch.float64)
    shape = (channels[0], *[size] * axes)
    operator = Convolution(weight, shape, [stride] * axes, [(padding, padding)] * axes, [1] * axes, 1, mode)
    dense = DenseSolver(operator)
    assume(dense.certificate.condition < 1e3)  # beyond, it may take as many iterations as the limit allows
    x = noise(operator.in_shape, batch)
    p = KrylovSolver(operator).project(x)
    assert p.shape == x.shape
    if batch:
        assert float(residuals(operator, p, x).max()) <= 1e-15
        torch.testing.assert_close(p, dense.project(x), rtol=0, atol=1e-10)


# --- maps with as many independent rows as they read inputs -----------------------------------------------


@pytest.mark.parametrize(("weight", "kind"), [(1.0, "numerical"), (0.0, "undecided")])
def test_a_tall_map_is_inverted_on_what_it_reads(weight: float, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proof is within reach; the last row and column of the image are never read."""

    def refuse(operator: LinearMap) -> Certificate:
        raise TooLargeError("too large")

    monkeypatch.setattr(krylov, "certify", refuse)
    kernels = torch.randn(40, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernels[:, 1] = kernels[:, 0] + weight * kernels[:, 1]  # dependent columns if the weight is 0
    operator = Convolution(kernels, (2, 12, 10), (2, 2), [(0, 0), (0, 0)], (1, 1))
    solver = KrylovSolver.build(operator)
    assert (solver.certificate.kind, solver.dim) == (kind, 2 * (12 + 9))
    if kind == "numerical":
        x = noise(operator.in_shape)
        expected = x.clone()
        expected[:, :, :11, :9] = 0
        assert torch.equal(solver.project(x), expected)


def test_figures_are_finite_where_singular_values_fall_through_every_tolerance() -> None:
    operator = from_module(nn.Conv2d(3, 12, 3, 2, 1), (3, 40, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in (KrylovSolver(operator).certificate, certify(operator)):
            assert found.kind == "undecided"
            figures = (found.sigma_above, found.sigma_below, found.tolerance, found.sigma_max)
            assert all(figure is None or math.isfinite(figure) for figure in figures)
