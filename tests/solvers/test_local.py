"""Convolutions proved to determine what they read, window by window, beside the rank of the whole matrix."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from blindspace.errors import ShapeError, UnsupportedLayerError
from blindspace.maps import Convolution, from_module
from blindspace.solvers import DenseSolver, LocalSolver, choose
from blindspace.solvers.fourier.circulant_embedding import norm_bound
from blindspace.solvers.rank.modular_elimination import exact_rank
from blindspace.solvers.rank.sigma_bounds import at_least, at_most
from blindspace.solvers.rank.window_certificate import certificate, full_row_rank
from blindspace.solvers.rank.window_sweep import determines
from blindspace.solvers.rank.windows import windowed
from cases import CASES, CONVOLUTIONS, Case


def conv(module: nn.Module, shape: tuple[int, ...]) -> Convolution:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    operator = from_module(module, shape)
    assert isinstance(operator, Convolution)
    return operator


STEMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "alexnet": (lambda: nn.Conv2d(3, 64, 11, 4, 2), (3, 63, 63), 0),
    "squeezenet1_0": (lambda: nn.Conv2d(3, 96, 7, 2), (3, 32, 33), 3 * 33),
    "squeezenet1_1": (lambda: nn.Conv2d(3, 64, 3, 2), (3, 34, 34), 3 * 67),
    "cspnext": (lambda: nn.Conv2d(3, 12, 3, 2, 1), (3, 32, 32), 0),
    "resnet": (lambda: nn.Conv2d(3, 64, 7, 2, 3), (3, 32, 32), 0),
    "audio": (lambda: nn.Conv2d(1, 300, 16, 10), (1, 60, 58), 4 * 58 + 2 * 56),
    "video": (lambda: nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3)), (3, 5, 15, 15), 0),
    "waveform": (lambda: nn.Conv1d(1, 8, 10, 5), (1, 4000), 0),
    "dilated": (lambda: nn.Conv2d(2, 18, 3, 1, 2, 2), (2, 41, 40), 0),
}
"""First layers of well-known networks on small images: module, shape, number of values that they do not read."""


@pytest.mark.parametrize("name", STEMS)
def test_stems(name: str) -> None:
    build, shape, unread = STEMS[name]
    operator = conv(build(), shape)
    solver = choose(operator)
    assert (solver.name, solver.dim, solver.certificate.kind) == ("local", unread, "exact")
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = solver.project(x)
    seen = operator.adjoint(torch.randn(1, *operator.out_shape, dtype=torch.float64))[0] != 0
    assert torch.equal(p, x * ~seen)
    assert solver.project(x.float()).dtype == torch.float32


@given(
    geometry=st.lists(
        st.tuples(*(st.integers(*ends) for ends in ((1, 4), (1, 3), (1, 2), (-1, 2), (-1, 2), (4, 9)))),
        min_size=1,
        max_size=2,
    ),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 12)),
    values=st.sampled_from([1, 2, 100]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_what_is_proved_holds_for_the_whole_matrix(
    geometry: list[tuple[int, ...]], channels: tuple[int, int], values: int, seed: int
) -> None:
    kernel, stride, dilation, before, after, size = zip(*geometry, strict=True)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-values, values + 1, (channels[1], channels[0], *kernel), generator=generator).double()
    shape = (channels[0], *size)
    try:
        operator = Convolution(weight, shape, stride, list(zip(before, after, strict=True)), dilation)
    except ShapeError:
        return
    if not LocalSolver.serves(operator):
        return
    try:
        solver = LocalSolver(operator)
    except UnsupportedLayerError:
        return
    certificate = solver.certificate
    assert exact_rank(operator.to_scipy()).rank == certificate.rank
    sigma = torch.linalg.svdvals(operator.to_dense())
    assert float(sigma[0]) <= certificate.sigma_max * (1 + 1e-9)
    if certificate.sigma_above is not None:
        smallest, bound = float(sigma[certificate.rank - 1]), certificate.sigma_above
        if certificate.sigma_above_is == "≥":
            assert bound <= smallest * (1 + 1e-12)
        else:
            assert smallest <= bound * (1 + 1e-9) + 1e-12


def test_dependent_columns_are_never_determined() -> None:
    """A direction of two channels that no kernel reads, a checkerboard, too few outputs, and the same in one corner."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(16, 1, 3, 3, generator=generator, dtype=torch.float64)
    shape, no_padding = (2, 20, 20), ((0, 0), (0, 0))
    blind = Convolution(torch.cat([weight, -weight], 1), shape, (1, 1), no_padding, (1, 1))
    assert determines(blind) is None
    signs = torch.tensor([1.0, 1.0], dtype=torch.float64)
    checked = Convolution(signs.reshape(1, 1, 2).repeat(4, 1, 1), (1, 40), (1,), ((0, 0),), (1,))
    assert determines(checked) is None  # it maps 1, −1, 1, … to 0
    assert determines(Convolution(checked.weight, (1, 40), (1,), ((1, 0),), (1,))) == (1,)  # … but not at the padding
    square = conv(nn.Conv2d(4, 4, 3, 1, 1), (4, 30, 30))
    assert determines(square) is None
    with pytest.raises(UnsupportedLayerError, match="do not determine"):
        LocalSolver(square)


@pytest.mark.parametrize("padding", [(1, 0), (0, 1)])
def test_the_sweep_starts_at_the_end_where_padding_stands(padding: tuple[int, int]) -> None:
    weight = torch.randn(12, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    operator = Convolution(weight, (3, 16, 16), (2, 2), (padding, padding), (1, 1))
    assert determines(operator) == (1, 1)
    assert exact_rank(operator.to_scipy()).rank == operator.in_dim


def test_limits() -> None:
    alexnet = conv(nn.Conv2d(3, 64, 11, 4, 2), (3, 224, 224))
    assert determines(alexnet, columns=5000) is None
    assert determines(alexnet, work=1e6) is None


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv1d(3, 16, 7, 3), (3, 300)),
        (nn.Conv2d(3, 16, 5, 2, 2), (3, 40, 40)),
        (nn.Conv3d(2, 3, 3, 1, 1), (2, 14, 14, 14)),
    ],
)
def test_the_norm_bound_is_near(module: nn.Module, shape: tuple[int, ...]) -> None:
    operator = conv(module, shape)
    assert operator.norm() <= norm_bound(operator) <= 1.2 * operator.norm()


def test_the_same_dimension_as_the_whole_matrix() -> None:
    operator = conv(nn.Conv2d(2, 12, 3, 2), (2, 40, 41))
    local, dense = LocalSolver(operator), DenseSolver(operator)
    assert local.dim == dense.dim == 2 * 41
    assert dense.certificate.sigma_above is not None
    assert local.certificate.sigma_above is not None
    assert local.certificate.sigma_above_is == "≥"
    assert local.certificate.sigma_above <= dense.certificate.sigma_above <= 2 * local.certificate.sigma_above


geometries = st.lists(
    st.tuples(*(st.integers(*ends) for ends in ((1, 4), (1, 3), (1, 2), (-1, 2), (-1, 2), (4, 9)))),
    min_size=1,
    max_size=2,
)


def drawn(
    geometry: list[tuple[int, ...]], channels: tuple[int, int], seed: int, values: int = 100
) -> Convolution | None:
    """A convolution of whole weights; None if the kernel does not fit the image."""
    kernel, stride, dilation, before, after, size = zip(*geometry, strict=True)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-values, values + 1, (channels[1], channels[0], *kernel), generator=generator).double()
    with contextlib.suppress(ShapeError):
        return Convolution(weight, (channels[0], *size), stride, list(zip(before, after, strict=True)), dilation)
    return None


@given(geometry=geometries, channels=st.tuples(st.integers(1, 3), st.integers(1, 12)), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_windows_are_parts_of_the_whole_matrix(
    geometry: list[tuple[int, ...]], channels: tuple[int, int], seed: int
) -> None:
    """One window of all rows is the matrix itself, of the map and of its adjoint."""
    operator = drawn(geometry, channels, seed)
    if operator is None:
        return
    whole = operator.to_dense()
    for side, matrix in ((operator, whole), (operator.T, whole.T)):
        seen = windowed(side)
        tables = tuple(axis.table(0, axis.rows, np.arange(axis.columns)) for axis in seen.axes)
        assert torch.equal(seen.matrix(tables), matrix)
        assert seen.size(tables) == matrix.shape
        counts = [axis.counts(np.arange(axis.columns)) for axis in seen.axes]
        squares = seen.kernel.square().sum(0)
        for count in counts:
            squares = torch.tensordot(squares, torch.from_numpy(count).double(), ([1], [1]))
        assert torch.allclose(squares.flatten(), matrix.square().sum(0), rtol=1e-12)


@given(geometry=geometries, channels=st.tuples(st.integers(1, 12), st.integers(1, 12)), seed=st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_bounds_of_windows_enclose_the_smallest_singular_value(
    geometry: list[tuple[int, ...]], channels: tuple[int, int], seed: int
) -> None:
    """Of maps and adjoints alike, beside a dense SVD of the values that are read at all."""
    operator = drawn(geometry, channels, seed)
    if operator is None or not operator.weight.any():
        return
    for side in (operator, operator.T):
        matrix = side.to_dense()
        matrix = matrix[:, matrix.any(0)]
        sigma = torch.linalg.svdvals(matrix)
        independent = len(sigma) == matrix.shape[1]
        smallest = float(sigma[-1]) if independent else 0.0
        found = [at_least(side, enough) for enough in (0.0, float("inf"))]
        assert max(found) <= smallest * (1 + 1e-12)
        if independent and determines(side) is not None:
            assert smallest <= at_most(side) * (1 + 1e-9)


@given(geometry=geometries, channels=st.tuples(st.integers(1, 12), st.integers(1, 6)), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_wide_maps_are_proved_by_their_adjoint(
    geometry: list[tuple[int, ...]], channels: tuple[int, int], seed: int
) -> None:
    operator = drawn(geometry, channels, seed, values=2)
    if operator is None or (method := full_row_rank(operator)) is None:
        return
    assert method.endswith("inputs, of the adjoint")
    assert exact_rank(operator.to_scipy()).rank == operator.out_dim


def test_wide_layers() -> None:
    """Layers that halve the sides of the image: rows are independent, unless one kernel is the sum of two others."""
    layer = nn.Conv2d(8, 16, 3, 2, 1)
    operator = conv(layer, (8, 64, 64))
    found, reason = certificate(operator) or (None, "")
    assert found is not None
    assert (found.rank, found.kind, found.sigma_below) == (16 * 32 * 32, "exact", None)
    assert found.method == "elimination modulo a prime in windows of up to 2×2 inputs, of the adjoint"
    assert "show 16384 independent rows" in reason
    small = conv(layer, (8, 12, 12))
    dense = DenseSolver(small).certificate
    bounds = certificate(small) or (None, "")
    assert bounds[0] is not None
    assert dense.rank == bounds[0].rank
    weight = operator.weight.clone()
    weight[3] = weight[5] + weight[7]
    assert certificate(Convolution(weight, (8, 64, 64), (2, 2), ((1, 1), (1, 1)), (1, 1))) is None


def test_the_bound_is_near_at_the_stem_of_a_resnet() -> None:
    """The bound of a large image is within a factor of two of a small one's smallest singular value."""
    layer = nn.Conv2d(3, 64, 7, 2, 3)
    small, large = conv(layer, (3, 16, 16)), conv(layer, (3, 1024, 1024))
    sigma = float(torch.linalg.svdvals(small.to_dense())[-1])
    found = certificate(large)
    assert found is not None
    assert (found[0].rank, found[0].kind, found[0].sigma_above_is) == (large.in_dim, "exact", "≥")
    assert found[0].sigma_above is not None
    assert sigma / 2 <= found[0].sigma_above <= sigma
    assert "the smallest σ is between" in found[1]


def test_a_mutated_kernel_is_not_certified() -> None:
    """Two colours read alike but for one tap: by none nothing is proved, by a tiny one no bound but a tiny one."""
    weight = torch.randn(64, 3, 7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = (weight * 1024).round()
    weight[:, 1] = 3 * weight[:, 2]

    def made(weight: torch.Tensor) -> Convolution:
        return Convolution(weight, (3, 96, 96), (2, 2), ((3, 3), (3, 3)), (1, 1))

    assert certificate(made(weight)) is None
    assert at_least(made(weight), 1.0) == 0
    weight[:, 1, 3, 3] += 2.0**-30 * weight[:, 0, 2, 2]
    assert at_least(made(weight), 1.0) < 1e-4


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_registry(case: Case) -> None:
    """Every convolution of the registry that windows certify, beside the singular values of its matrix."""
    module, shape = case.make()
    operator = from_module(module, shape)
    found = certificate(operator, columns=1000, work=1e9)
    if found is None:
        return
    sigma = torch.linalg.svdvals(operator.to_dense())
    counted = found[0]
    assert counted.rank == int((sigma > 1e-10 * sigma[0]).sum())
    assert counted.sigma_above is not None
    smallest = float(sigma[counted.rank - 1])
    if counted.sigma_above_is == "≥":
        assert counted.sigma_above <= smallest * (1 + 1e-9)
    else:
        assert smallest <= counted.sigma_above * (1 + 1e-9)


def test_windows_certify_cases_of_either_side_of_the_registry() -> None:
    """So that the test above compares something."""
    methods = [certificate(from_module(*case.make()), 1000, 1e9) for case in CONVOLUTIONS]
    words = [found[0].method for found in methods if found is not None]
    assert any("adjoint" in method for method in words)
    assert any("adjoint" not in method for method in words)
