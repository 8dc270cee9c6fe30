"""The Fourier solver against the dense one, and on layers that no dense matrix could hold."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from blindspace.errors import TooLargeError, UnsupportedLayerError
from blindspace.maps import Convolution, LinearMap, from_module
from blindspace.solvers import choose
from blindspace.solvers._choose import first_to_serve
from blindspace.solvers.dense_algebra.gmres import gmres
from blindspace.solvers.dense_algebra.quasidefinite import (
    QuasidefiniteInverse,
    inverse_factor,
    inverse_of,
    lower_panels,
)
from blindspace.solvers.fourier import direct_capacitance, pruned_transforms
from blindspace.solvers.fourier.border_products import BorderProducts
from blindspace.solvers.fourier.capacitance import Strip
from blindspace.solvers.fourier.circulant_embedding import CirculantEmbedding, multiply
from blindspace.solvers.fourier.direct_capacitance import DirectCapacitance, elimination
from blindspace.solvers.fourier.iterative_capacitance import IterativeCapacitance
from blindspace.solvers.fourier.pruned_transforms import PrunedTransforms
from blindspace.solvers.fourier.solver import FourierSolver, Method
from blindspace.solvers.fourier.symbol_products import SymbolProducts
from blindspace.solvers.projectors.delegating import OnDemandSolver
from blindspace.solvers.projectors.dense import DenseSolver
from blindspace.solvers.projectors.krylov import KrylovSolver
from blindspace.solvers.rank.window_certificate import full_row_rank

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "stem": (lambda: nn.Conv2d(3, 10, 7, 2, 3), (3, 16, 12)),
    "stride 1": (lambda: nn.Conv2d(3, 2, 3, 1, 1), (3, 9, 8)),
    "square": (lambda: nn.Conv2d(4, 4, 3, 1, 1), (4, 8, 8)),
    "dilated, stride 3": (lambda: nn.Conv2d(3, 4, 5, 3, 2, dilation=2), (3, 17, 14)),
    "unpadded": (lambda: nn.Conv2d(3, 2, 3, 2, 0), (3, 9, 8)),
    "no boundary": (lambda: nn.Conv2d(3, 2, 1, 1, 0), (3, 5, 4)),
    "kernel above the image": (lambda: nn.Conv2d(3, 4, 11, 2, 5), (3, 8, 9)),
    "even kernel, same": (lambda: nn.Conv2d(3, 2, 4, 1, padding="same"), (3, 6, 7)),
    "two strides": (lambda: nn.Conv2d(2, 5, (3, 5), (2, 3), (1, 2)), (2, 9, 14)),
    "one row": (lambda: nn.Conv2d(2, 3, (1, 3), (1, 2), (0, 1)), (2, 1, 12)),
    "1-D": (lambda: nn.Conv1d(2, 3, 4, 2, 1), (2, 13)),
    "3-D": (lambda: nn.Conv3d(2, 3, 3, 2, 1), (2, 5, 4, 6)),
}


def layer(name: str) -> Convolution:
    torch.manual_seed(sorted(LAYERS).index(name))
    build, shape = LAYERS[name]
    operator = from_module(build(), shape)
    assert isinstance(operator, Convolution)
    return operator


def noise(operator: LinearMap, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, *operator.in_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def residual(operator: LinearMap, p: torch.Tensor, x: torch.Tensor) -> float:
    return float((operator.forward(p).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)).max()) / operator.norm()


def agrees(operator: LinearMap, solver: FourierSolver) -> None:
    dense, x = DenseSolver(operator), noise(operator)
    assert solver.dim == dense.dim == operator.in_dim - operator.out_dim
    assert solver.certificate.sigma_above == pytest.approx(dense.certificate.sigma_above, rel=0.03)
    assert solver.certificate.sigma_max >= dense.certificate.sigma_max * (1 - 1e-12)
    p = solver.project(x)
    assert float((p - dense.project(x)).abs().max()) <= 1e-13 * float(x.abs().max()) * 4
    assert residual(operator, p, x) <= 1e-15
    assert float((solver.project(p) - p).abs().max()) <= 1e-13
    assert residual(operator, solver.project(x.float()).double(), x) <= 1e-6
    assert solver.project(x.float()).dtype == torch.float32


@pytest.mark.parametrize("name", LAYERS)
def test_agrees_with_the_dense_solver(name: str) -> None:
    solver = FourierSolver(layer(name), capacitance="direct")
    agrees(layer(name), solver)
    assert solver.certificate.kind == "exact"


@pytest.mark.parametrize("window", [60, 3000])
@pytest.mark.parametrize("name", sorted(LAYERS.keys() - {"square"}))
def test_an_iterated_capacitance_system_agrees_too(name: str, window: int) -> None:
    solver = FourierSolver(layer(name), capacitance="iterative", window=window, iterations=400)
    agrees(layer(name), solver)
    assert solver.certificate.kind == ("exact" if full_row_rank(layer(name)) else "numerical")


@pytest.mark.parametrize("method", ["direct", "iterative"])
def test_single_precision_inside_reaches_the_same_residual(method: Method) -> None:
    operator = layer("stem")
    solver = FourierSolver(operator, capacitance=method, inner=torch.float32)
    agrees(operator, solver)
    whole = FourierSolver(operator, capacitance=method)
    assert solver.capacitance.inverse.matrices.nbytes * 2 == whole.capacitance.inverse.matrices.nbytes


def test_factors_that_fit_in_single_precision_alone() -> None:
    operator = layer("stem")
    embedding = CirculantEmbedding(operator)
    double, single = (DirectCapacitance.memory(embedding, each) for each in (torch.float64, torch.float32))
    solver = FourierSolver(operator, direct_limit=(double + single) // 2)
    assert isinstance(solver.capacitance, DirectCapacitance)
    assert solver.inner == torch.float32
    assert "single precision" in solver.reason
    agrees(operator, solver)
    b = torch.randn(2, *operator.out_shape, dtype=torch.float64)
    torch.testing.assert_close(operator.forward(operator.adjoint(solver.gram_inverse(b))), b, rtol=0, atol=1e-11)
    assert isinstance(FourierSolver(operator, direct_limit=0).capacitance, IterativeCapacitance)


def test_a_basis_for_large_batches_is_made_for_the_first() -> None:
    torch.manual_seed(0)
    operator = from_module(nn.Conv2d(3, 10, 7, 2, 3), (3, 34, 34))
    solver = choose(operator)
    assert isinstance(solver, OnDemandSolver)
    assert "_basis" not in vars(solver)
    x = torch.randn(solver.dim // 16 + 1, *operator.in_shape, dtype=torch.float64)
    few = solver.project(x[:1])
    assert "_basis" not in vars(solver)
    many = solver.project(x)
    assert "_basis" in vars(solver)
    assert float((few - many[:1]).abs().max()) <= 1e-14 * float(x.abs().max()) * 10
    assert torch.equal(solver.project(x[:1]), few), "what was projected before changes nothing"
    assert residual(operator, many, x) <= 1e-15
    assert solver.project(x.float()).dtype == torch.float32
    torch.testing.assert_close(solver.project(many), many, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", ["direct", "iterative"])
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.Conv2d(3, 16, 5, 2, 2), (3, 12, 10)),
        (lambda: nn.Conv2d(2, 4, 3, 1, 1), (2, 7, 8)),
        (lambda: nn.Conv1d(1, 4, 5, 2), (1, 31)),
    ],
)
def test_the_adjoint_of_an_injective_layer(
    build: Callable[[], nn.Module], shape: tuple[int, ...], method: Method
) -> None:
    """Full row rank of its adjoint proves a layer with more outputs than inputs injective."""
    torch.manual_seed(0)
    operator = from_module(build(), shape).T
    agrees(operator, FourierSolver(operator, capacitance=method))


@pytest.mark.parametrize("method", ["direct", "iterative"])
@pytest.mark.parametrize("seed", range(8))
def test_a_pixel_that_no_kernel_reads_is_noticed(seed: int, method: Method) -> None:
    torch.manual_seed(seed)
    operator = from_module(nn.Conv1d(1, 4, 5, 2), (1, 30)).T  # no kernel reaches the last pixel
    with pytest.raises(UnsupportedLayerError, match=r"rank|boundary|frequency"):
        FourierSolver(operator, capacitance=method)


@pytest.mark.parametrize("method", ["direct", "iterative"])
@pytest.mark.parametrize("name", ["stem", "dilated, stride 3", "3-D"])
def test_the_capacitance_matrix_is_what_is_applied(name: str, method: Method) -> None:
    operator = layer(name)
    solver = FourierSolver(operator, capacitance=method)
    system, embedding = solver.capacitance, solver.capacitance.embedding
    places = torch.arange(len(embedding.rows.boundary) + len(embedding.columns.boundary))
    (matrix,) = system.blocks((places, places))
    applied = system.apply(torch.eye(system.z + system.f, dtype=torch.float64))
    torch.testing.assert_close(matrix, applied, rtol=0, atol=1e-12)
    r = torch.randn(system.z + system.f, 3, dtype=torch.float64)
    torch.testing.assert_close(matrix @ system.solve(r, 1e-13 * r.norm(dim=0)), r, rtol=0, atol=1e-9)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", ["stem", "dilated, stride 3", "kernel above the image", "3-D"])
def test_products_at_the_border_are_those_of_the_symbol(name: str, transposed: bool) -> None:
    embedding = CirculantEmbedding(layer(name).T if transposed else layer(name))
    rows, columns, border = embedding.rows, embedding.columns, BorderProducts(embedding)
    f = torch.randn(columns.unknowns, 2, dtype=torch.float64)
    image = multiply(embedding.symbol, embedding.transform(columns.write_boundary(f)))
    torch.testing.assert_close(rows.split(border.forward(f)), embedding.inverse_transform(image), rtol=0, atol=1e-12)
    y = torch.randn(2, rows.channels, *embedding.grid, dtype=torch.float64)
    back = multiply(embedding.symbol.mH, embedding.transform(y))
    wanted = columns.read_boundary(embedding.inverse_transform(back))
    torch.testing.assert_close(border.adjoint(rows.join(y)), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", ["stem", "dilated, stride 3", "kernel above the image", "3-D"])
def test_products_through_the_symbol_and_by_strips_agree(name: str, transposed: bool) -> None:
    embedding = CirculantEmbedding(layer(name).T if transposed else layer(name))
    strips, symbol = BorderProducts(embedding), SymbolProducts(embedding)
    for dtype, limit in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        f = torch.randn(embedding.columns.unknowns, 2, dtype=dtype)
        g = torch.randn(embedding.rows.unknowns, 2, dtype=dtype)
        torch.testing.assert_close(symbol.spread(g, f), strips.spread(g, f), rtol=0, atol=10 * limit)
        field = torch.randn(2, embedding.rows.channels, *embedding.grid, dtype=dtype)
        v = embedding.transform(field)
        torch.testing.assert_close(symbol.collect(v), strips.collect(v), rtol=0, atol=limit)


@pytest.mark.parametrize("narrow", [0.0, float("inf")])
@pytest.mark.parametrize("name", ["stem", "dilated, stride 3", "two strides", "3-D"])
def test_products_beside_some_axes_are_parts_of_whole_ones(
    name: str, narrow: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = CirculantEmbedding(layer(name))
    whole = BorderProducts(embedding)
    monkeypatch.setattr(pruned_transforms, "NARROW", narrow)
    border, ends = BorderProducts(embedding), (embedding.rows, embedding.columns)
    assert (border.pruned is None) is (narrow == 0)
    *first, last = range(len(embedding.grid))
    beside = [torch.stack([end.beside(axis) for axis in first]).any(0).repeat_interleave(end.shape[0]) for end in ends]
    v = embedding.transform(torch.randn(2, embedding.rows.channels, *embedding.grid, dtype=torch.float64))
    for axes, (g, f) in ((first, beside), ([last], [~some for some in beside])):
        at_g, at_f = (torch.randn(len(some), 2, dtype=torch.float64) * some[:, None] for some in (g, f))
        torch.testing.assert_close(border.spread(at_g, at_f, axes), whole.spread(at_g, at_f), rtol=0, atol=1e-12)
        some = torch.cat([g, f])
        torch.testing.assert_close(border.collect(v, axes)[some], whole.collect(v)[some], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("grid", "counts"), [((9, 8), (2, 3)), ((6, 7), (0, 1)), ((5, 6, 4), (2, 1, 1)), ((4, 9), (4, 0))]
)
def test_pruned_transforms_are_whole_ones_where_they_matter(grid: tuple[int, ...], counts: tuple[int, ...]) -> None:
    positions = [torch.arange(m - k // 2 - 1, m - k // 2 - 1 + k) % m for m, k in zip(grid, counts, strict=True)]
    matters = torch.zeros(grid, dtype=torch.bool)
    for axis, some in enumerate(positions):
        matters.index_fill_(axis, some, True)
    field = torch.randn(2, 3, *grid, dtype=torch.float64)
    dims, pruned = tuple(range(2, 2 + len(grid))), PrunedTransforms(grid, positions)
    whole = torch.fft.rfftn(field * matters, dim=dims).flatten(2)
    torch.testing.assert_close(pruned.transform(field * matters), whole, rtol=0, atol=1e-12)
    back = pruned.inverse_transform(torch.fft.rfftn(field, dim=dims).flatten(2))
    torch.testing.assert_close(back, field * matters, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("side", "whole"), [(16, True), (32, True), (224, False)])
def test_small_systems_are_inverted_as_a_whole(side: int, whole: bool) -> None:
    """The form that takes fewer operations is chosen, for the boundary and for the capacitance matrix."""
    embedding = CirculantEmbedding(from_module(nn.Conv2d(3, 10, 7, 2, 3), (3, side, side)))
    eliminated, unknowns = elimination(embedding)
    assert bool(eliminated.any()) is not whole
    assert (SymbolProducts.operations(embedding) < BorderProducts(embedding).operations) is whole
    if whole:
        system = FourierSolver(embedding.operator).capacitance
        assert isinstance(system, DirectCapacitance)
        assert system.eliminated is None
        assert len(system.rest) == int(unknowns.sum())
        assert isinstance(system.border, SymbolProducts)


@pytest.mark.parametrize("name", LAYERS)
def test_both_forms_of_the_direct_system_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the form, the solver agrees with the dense one."""
    for slower in (0.0, float("inf")):
        monkeypatch.setattr(direct_capacitance, "SLOWER", slower)
        agrees(layer(name), FourierSolver(layer(name), capacitance="direct"))


@pytest.mark.parametrize(("size", "positive", "batch"), [(3, 0, 1), (40, 40, 2), (700, 300, 1), (700, 300, 3)])
def test_quasidefinite_matrices_are_inverted(size: int, positive: int, batch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(size, size, generator=generator, dtype=torch.float64) / size**0.5
    matrix = matrix + matrix.mT + torch.diag(torch.where(torch.arange(size) < positive, 4.0, -4.0).double())
    b = torch.randn(size, batch, generator=generator, dtype=torch.float64)
    factor, _ = inverse_factor(matrix.clone(), positive)
    found = QuasidefiniteInverse(size, positive, lower_panels(factor)) @ b
    torch.testing.assert_close(found, torch.linalg.solve(matrix, b), rtol=0, atol=1e-10)
    torch.testing.assert_close(inverse_of(factor, positive) @ b, found, rtol=0, atol=1e-10)
    with pytest.raises(UnsupportedLayerError, match="full row rank"):
        inverse_factor(-matrix, positive)


@pytest.mark.parametrize("name", ["stem", "square", "3-D"])
@pytest.mark.parametrize("inner", [torch.float64, torch.float32])
def test_projections_in_float32_are_those_in_float64_rounded(name: str, inner: torch.dtype) -> None:
    """Refinement ends earlier, where nothing of it would be left after rounding."""
    operator = layer(name)
    solver, x = FourierSolver(operator, inner=inner), noise(operator).float()
    exact = solver.project(x.double())
    in_double = solver.passes
    found = solver.project(x)
    assert solver.passes <= in_double
    error = (found.double() - exact).flatten(1).norm(dim=1) / x.double().flatten(1).norm(dim=1)
    assert float(error.max()) <= torch.finfo(torch.float32).eps / 2


@pytest.mark.parametrize("around", [(1,), (5,), (6,), (3, 4)])
@pytest.mark.parametrize("batch", [1, 3])
def test_products_with_a_strip_are_those_with_its_block_circulant_matrix(around: tuple[int, ...], batch: int) -> None:
    d, cells = 2, list(product(*map(range, around)))
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randn(*around, d, d, generator=generator, dtype=torch.float64)
    spectrum = torch.fft.rfftn(blocks, dim=tuple(range(len(around)))).reshape(-1, d, d)
    strip = Strip(torch.arange(len(cells) * d).reshape(-1, d), spectrum, around, d)
    rows = [
        torch.cat([blocks[tuple((i - j) % m for i, j, m in zip(a, b, around, strict=True))] for b in cells], 1)
        for a in cells
    ]
    e = torch.randn(len(cells) * d, batch, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(strip @ e, torch.cat(rows) @ e, rtol=0, atol=1e-13)
    torch.testing.assert_close(strip.to(torch.float32) @ e.float(), (torch.cat(rows) @ e).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["stem", "3-D"])
def test_gram_inverse_inverts_the_gram_matrix(name: str) -> None:
    operator = layer(name)
    b = torch.randn(4, *operator.out_shape, dtype=torch.float64)
    back = operator.forward(operator.adjoint(FourierSolver(operator).gram_inverse(b)))
    torch.testing.assert_close(back, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["stem", "dilated, stride 3", "one row", "3-D"])
def test_both_ends_embed_and_extract(name: str) -> None:
    """The circular map between the embedded image and the selected outputs is the layer itself."""
    operator = layer(name)
    embedding, x = CirculantEmbedding(operator), noise(operator)
    columns = embedding.columns
    assert torch.equal(columns.extract(columns.embed(x)), x)
    image = multiply(embedding.symbol, embedding.transform(columns.embed(x)))
    y = embedding.rows.extract(embedding.inverse_transform(image))
    torch.testing.assert_close(y, operator.forward(x), rtol=0, atol=1e-12)
    values = torch.randn(columns.unknowns, 2, dtype=torch.float64)
    assert torch.equal(columns.read_boundary(columns.write_boundary(values)), values)
    assert not columns.extract(columns.write_boundary(values)).any()


@given(size=st.integers(1, 12), batch=st.integers(1, 4), seed=st.integers(0, 99))
def test_gmres_solves_what_is_regular(size: int, batch: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, size, generator=generator, dtype=torch.float64) + 4 * torch.eye(size)
    b = torch.randn(size, batch, generator=generator, dtype=torch.float64)
    b[:, 0] = 0
    x, steps = gmres(lambda v: matrix @ v, lambda v: v / 4, b, torch.full((batch,), 1e-12), 3 * size)
    assert steps <= size + 1
    torch.testing.assert_close(matrix @ x, b, rtol=0, atol=1e-10)


def test_a_stem_too_large_for_any_dense_matrix() -> None:
    """At 96×96 the projector's matrix would take 5.7 GB; at 224×224, 181 GB."""
    torch.manual_seed(0)
    operator = from_module(nn.Conv2d(3, 10, 7, 2, 3), (3, 96, 96))
    solver = choose(operator)
    assert solver.name == "fourier"
    assert solver.dim == 3 * 96 * 96 - 10 * 48 * 48
    x = noise(operator, 2)
    p = solver.project(x)
    assert residual(operator, p, x) <= 1e-15
    # x − P x lies in the row space: orthogonal to every harmless perturbation, another one's projection above all.
    other = solver.project(torch.randn(2, *operator.in_shape, dtype=torch.float64))
    assert float(((x - p) * other).sum().abs()) <= 1e-12 * float(x.norm() * other.norm())


def test_empty_batches_and_chunks() -> None:
    operator = layer("stem")
    x = noise(operator, 5)
    whole = FourierSolver(operator).project(x)
    solver = FourierSolver(operator, chunk=2 * 8 * operator.in_dim)
    torch.testing.assert_close(solver.project(x), whole, rtol=0, atol=1e-14)
    assert solver.project(x[:0]).shape == x[:0].shape


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 4, 3, 1, 1, groups=2),
        nn.Conv2d(4, 4, 3, 1, 1, padding_mode="circular"),
        nn.Conv2d(4, 8, 3, 1, 1),
    ],
)
def test_what_it_does_not_serve(module: nn.Module) -> None:
    operator = from_module(module, (4, 8, 8))
    assert not FourierSolver.applies(operator)
    with pytest.raises(UnsupportedLayerError, match="not a zero-padded convolution"):
        FourierSolver(operator)


def box_blur() -> Convolution:
    """Rank-deficient by its zeros in Fourier space, where the side is 2 more than a multiple of 3."""
    return Convolution(torch.full((1, 1, 3, 3), 1 / 9), (1, 11, 11), (1, 1), ((1, 1), (1, 1)), (1, 1))


def duplicates() -> Convolution:
    weight = torch.randn(1, 3, 5, 5, dtype=torch.float64).expand(4, -1, -1, -1)
    return Convolution(weight, (3, 12, 12), (2, 2), ((2, 2), (2, 2)), (1, 1))


def border_loss() -> Convolution:
    """Independent kernels whose rank is lost at the border alone (random 3→11 at 31×31 is another)."""
    torch.manual_seed(0)
    operator = from_module(nn.Conv2d(3, 5, 2, 4, 1), (3, 11, 13))
    assert isinstance(operator, Convolution)
    return operator


def far_padding() -> Convolution:
    """Outputs that read nothing but padding."""
    operator = from_module(nn.Conv1d(4, 3, 3, 1, 4), (4, 60))
    assert isinstance(operator, Convolution)
    return operator


@pytest.mark.parametrize("deficient", [box_blur, duplicates, border_loss, far_padding])
def test_deficient_layers_are_refused_and_served_by_others(deficient: Callable[[], Convolution]) -> None:
    operator = deficient()
    with pytest.raises(UnsupportedLayerError, match=r"rank|frequency"):
        FourierSolver(operator)
    solver, x = first_to_serve(operator, [FourierSolver, DenseSolver, KrylovSolver]), noise(operator)
    assert solver.dim == DenseSolver(operator).dim
    assert residual(operator, solver.project(x), x) <= 1e-15


def test_memory_is_estimated_before_it_is_taken() -> None:
    operator = from_module(nn.Conv2d(256, 64, 3, 1, 1), (256, 56, 56))
    with pytest.raises(TooLargeError, match=r"needs about \d+\.\d GiB, above the limit of 2\.0 GiB"):
        FourierSolver(operator, limit=2 << 30)


def test_duplicate_and_luminance_kernels_go_to_fourier_space_reduced() -> None:
    torch.manual_seed(0)
    twice = torch.randn(1, 1, 7, 7, dtype=torch.float64).expand(8, 3, -1, -1)
    operator = Convolution(twice, (3, 96, 96), (2, 2), ((3, 3), (3, 3)), (1, 1))
    solver, x = choose(operator), noise(operator)
    assert solver.name == "fourier"
    assert solver.dim == 3 * 96 * 96 - 48 * 48
    assert "1 of the 8 kernels" in solver.reason
    assert "1 of 3 directions" in solver.reason
    assert residual(operator, solver.project(x), x) <= 1e-15


def test_a_large_injective_layer_is_proved_injective() -> None:
    operator = from_module(nn.Conv2d(3, 16, 3, 2, 1), (3, 64, 64))
    solver = choose(operator, "fourier")
    assert (solver.name, solver.dim, solver.certificate.kind) == ("fourier", 0, "exact")
    assert not solver.project(noise(operator)).any()


def test_the_factors_are_kept_for_a_second_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_CACHE_SECONDS", "0")
    operator, x = layer("stem"), noise(layer("stem"))
    first = FourierSolver(operator).project(x)
    monkeypatch.setattr(DirectCapacitance, "_invert", lambda self: pytest.fail("inverted again"))
    assert torch.equal(FourierSolver(operator).project(x), first)
