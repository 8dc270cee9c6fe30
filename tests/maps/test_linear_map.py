"""What every linear map can do: operators, shapes, single inputs, SciPy, devices; and its structural properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import BlindspaceError, ShapeError, TooLargeError, ValueRangeError
from blindspace.maps import (
    Adjoint,
    Composed,
    Convolution,
    Dense,
    Diagonal,
    Gather,
    Identity,
    Jacobian,
    Kronecker,
    LinearMap,
    Padding,
    Rearrange,
    Summed,
    VStack,
    compose,
    from_module,
)
from blindspace.maps.content_key import map_key
from blindspace.maps.operations import resize
from blindspace.maps.properties import (
    MOVES,
    is_coisometric,
    is_identity,
    is_injective,
    is_uniform,
    isometry_constant,
    monomial,
    positions,
    reads_disjoint_patches,
)
from blindspace.testing import check_map
from cases import CASES


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def stem() -> LinearMap:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return from_module(nn.Conv2d(3, 4, 3, 2, 1, padding_mode="reflect"), (3, 8, 6))


def every_kind() -> dict[str, LinearMap]:
    shape = (3, 8, 6)
    conv, padding = stem(), Padding(shape, [(1, -1), (0, 2)], "replicate")
    shrunk = resize(shape, (4, 4), antialias=True)
    return {
        "conv": conv,
        "adjoint": conv.T,
        "dense": Dense(random(5, 6), (3, 8)),
        "diagonal": Diagonal(random(3, 1, 1), shape),
        "padding": padding,
        "resize": shrunk,
        "gather": Gather((4,), (3,), torch.tensor([-1, 2, 0])),
        "rearrange": Rearrange(shape, (6, 24), (24, 6), (1, 0)),
        "composed": Composed(shrunk, Diagonal(random(3, 1, 1), shape)),
        "summed": Summed([Identity(shape), Diagonal(random(8, 6), shape)]),
        "stack": VStack([conv, padding, Composed(shrunk, Diagonal(random(6), shape))]),
    }


KINDS = every_kind()
each_kind = pytest.mark.parametrize("name", KINDS)


@each_kind
def test_single_inputs_are_batches_of_one(name: str) -> None:
    A = KINDS[name]
    x, y = random(*A.in_shape), random(*A.out_shape)
    for single, batch in ((A @ x, A(x[None])), (A.forward(x), A @ x[None]), (A.adjoint(y), A.T @ y[None])):
        assert torch.equal(single[None], batch)
    assert torch.equal(A.T @ y, A.adjoint(y))


def test_the_shape_is_that_of_the_matrix() -> None:
    for A in KINDS.values():
        assert A.shape == A.to_dense().shape == A.as_linear_operator().shape == A.T.shape[::-1]


@each_kind
def test_scipy_gets_vectors_matrices_and_adjoints(name: str) -> None:
    A = KINDS[name]
    operator, dense = A.as_linear_operator(), A.to_dense().numpy()
    assert operator.dtype == np.float64
    x, y = random(A.in_dim, 3).numpy(), random(A.out_dim, 2).numpy()
    for ours, expected in (
        (operator @ x[:, 0], dense @ x[:, 0]),
        (operator.matvec(x[:, :1]), dense @ x[:, :1]),
        (operator @ x, dense @ x),
        (operator.rmatvec(y[:, 0]), dense.T @ y[:, 0]),
        (operator.T @ y, dense.T @ y),
        ((operator.H @ operator) @ x, dense.T @ dense @ x),
        (operator @ np.ones(A.in_dim, dtype=np.int64), dense.sum(1)),
    ):
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-11)
    with pytest.raises(BlindspaceError, match="real and the imaginary"):
        operator @ (1j * x[:, 0])


def test_scipy_computes_with_the_operator() -> None:
    A = stem()
    largest = scipy.sparse.linalg.svds(A.as_linear_operator(), k=1, return_singular_vectors=False)
    assert largest[0] == pytest.approx(A.norm(), rel=1e-6)
    target = A.to_dense().numpy() @ np.ones(A.in_dim)
    solution = scipy.sparse.linalg.lsqr(A.as_linear_operator(), target, atol=1e-12, btol=1e-12)[0]
    np.testing.assert_allclose(A.to_dense().numpy() @ solution, target, atol=1e-8)


@pytest.mark.parametrize(
    ("product", "named"),
    [
        (lambda A: A @ 3, "A @ x takes a LinearMap or a tensor, got int"),
        (lambda A: A @ "x", "got str"),
        (lambda A: A @ np.zeros((3, 8, 6)), "got ndarray; as_linear_operator is for NumPy"),
        (lambda A: A @ torch.zeros(8, 6), r"\(B, 3, 8, 6\) or \(3, 8, 6\), got \(8, 6\)"),
        (lambda A: A @ torch.zeros(3, 8, 6, dtype=torch.int64), "floating-point"),
        (lambda A: A.T @ torch.zeros(3, 8, 6), "the input must have shape"),
        (lambda A: 3 @ A, "int @ .* is not defined; write A.T @ x"),
        (lambda A: torch.zeros(3, 8, 6) @ A, "Tensor @ .* is not defined"),
        (lambda A: np.zeros(4) @ A, "is not defined"),
        (lambda A: A @ A, "shapes differ"),
        (lambda A: A.to("nowhere"), "there is no device 'nowhere'"),
        (lambda A: A.to(torch.float32), "there is no device torch.float32"),
        (lambda A: compose(), "at least one map"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(product: Any, named: str) -> None:
    with pytest.raises(BlindspaceError, match=named) as caught:
        product(stem())
    assert "\n" not in str(caught.value)


def tensors(value: Any) -> list[Tensor]:
    """Every tensor that a map stores, in its parts too."""
    match value:
        case Tensor():
            return [value]
        case LinearMap():
            return tensors(vars(value))
        case dict():
            return [tensor for item in value.values() for tensor in tensors(item)]
        case list() | tuple():
            return [tensor for item in value for tensor in tensors(item)]
    return []


@each_kind
def test_parameters_move_to_a_device(name: str) -> None:
    A = KINDS[name]
    A.forward(random(1, *A.in_shape))  # fills the caches that must not move along
    assert A.to("cpu") is A
    moved = A.to("meta")
    assert type(moved) is type(A)
    assert moved.device == torch.device("meta")
    assert {tensor.device.type for tensor in tensors(moved)} <= {"meta"}
    assert {tensor.device.type for tensor in tensors(A)} <= {"cpu"}
    assert moved.T.device == torch.device("meta")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@each_kind
def test_a_map_on_a_gpu_is_the_same_map(name: str) -> None:
    A = KINDS[name]
    there = A.to("cuda")
    x, y = random(2, *A.in_shape), random(2, *A.out_shape)
    torch.testing.assert_close((there @ x.cuda()).cpu(), A @ x, rtol=0, atol=1e-11)
    torch.testing.assert_close((there.T @ y.cuda()).cpu(), A.T @ y, rtol=0, atol=1e-11)
    torch.testing.assert_close(there @ x, A @ x, rtol=0, atol=1e-11)
    assert there.to_dense().is_cuda
    torch.testing.assert_close(there.to_dense().cpu(), A.to_dense(), rtol=0, atol=1e-11)
    assert abs(there.to_scipy() - A.to_scipy()).max() == 0
    assert A.to("cuda").norm() == pytest.approx(A.norm(), rel=1e-6)
    assert map_key(there) == map_key(A)
    v = np.ones(A.in_dim)
    np.testing.assert_allclose(there.as_linear_operator() @ v, A.as_linear_operator() @ v, atol=1e-11)
    space, same = bs.nullspace(there), bs.nullspace(A)
    assert space.dim == same.dim
    torch.testing.assert_close(space.project(x.cuda()).cpu(), same.project(x), rtol=0, atol=1e-10)


def conv(c_out: int = 4, size: int = 8) -> LinearMap:
    weight = random(c_out, 3, 3, 3)
    return Convolution(weight, (3, size, size), (2, 2), [(1, 1), (1, 1)], (1, 1))


def gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def test_the_adjoint_exchanges_forward_and_adjoint() -> None:
    a = conv()
    assert a.T.in_shape == a.out_shape
    assert a.T.out_shape == a.in_shape
    assert a.T.T is a
    assert torch.equal(a.T(random(2, *a.out_shape)), a.adjoint(random(2, *a.out_shape)))
    assert torch.equal(a.T.adjoint(random(2, *a.in_shape)), a(random(2, *a.in_shape)))


def test_the_composition_has_the_product_of_the_matrices() -> None:
    inner, outer = conv(), from_module(nn.Conv2d(4, 2, 3), (4, 4, 4))
    product = outer @ inner
    assert isinstance(product, Composed)
    assert gap(product.to_dense(), outer.to_dense() @ inner.to_dense()) <= 1e-14
    assert np.allclose(product.to_scipy().toarray(), product.to_dense(), rtol=0, atol=1e-15)
    check_map(product, tolerance=1e-12)
    longer = product @ inner.T
    assert isinstance(longer, Composed)
    assert [factor.in_shape for factor in longer.factors] == [(4, 4, 4), (3, 8, 8), (4, 4, 4)]
    with pytest.raises(ShapeError, match=r"\(3, 8, 8\).*shapes differ"):
        inner @ outer


def test_a_stack_has_the_matrices_one_above_the_other() -> None:
    parts = [conv(), conv(c_out=1), from_module(nn.AvgPool2d(2), (3, 8, 8))]
    vstack = VStack(parts)
    assert vstack.out_shape == (64 + 16 + 48,)
    assert torch.equal(vstack.to_dense(), torch.cat([part.to_dense() for part in parts]))
    assert np.array_equal(vstack.to_scipy().toarray(), vstack.to_dense().numpy())
    check_map(vstack, tolerance=1e-12)
    with pytest.raises(ShapeError, match=r"\(3, 8, 8\), \(3, 9, 9\)"):
        VStack([conv(), conv(size=9)])
    with pytest.raises(ShapeError, match="no maps"):
        VStack([])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (torch.zeros(2, 3, 8, 9), [r"\(B, 3, 8, 8\)", r"\(2, 3, 8, 9\)"]),
        (torch.zeros(3, 8, 9), [r"\(B, 3, 8, 8\) or \(3, 8, 8\)", r"\(3, 8, 9\)"]),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), ["floating", "int64"]),
        (np.zeros((1, 3, 8, 8), dtype=object), ["floating", "ndarray"]),
    ],
)
def test_inputs_of_another_shape_or_type_are_refused(given: Any, named: list[str]) -> None:
    with pytest.raises(ShapeError, match=f"^the input .*{'.*'.join(named)}"):
        conv().forward(given)
    with pytest.raises(ShapeError, match=r"^the output "):
        conv().adjoint(given)


def test_a_dense_matrix_above_the_limit_is_refused_with_the_figures() -> None:
    operator = from_module(nn.Conv2d(3, 10, 7, 2, 3), (3, 224, 224))
    with pytest.raises(TooLargeError, match=r"125440 × 150528 .* 140\.7 GiB.* 2\.0 GiB"):
        operator.to_dense()
    small = conv()
    assert small.to_dense(8 * small.in_dim * small.out_dim).shape == (64, 192)
    with pytest.raises(TooLargeError, match="64 × 192"):
        small.to_dense(8 * small.in_dim * small.out_dim - 1)


def test_a_jacobian_is_the_derivative() -> None:
    point = random(4)
    operator = Jacobian(lambda x: x.pow(3).cumsum(0).outer(x)[:, :2], (4,), point, "cubes")
    check_map(operator, tolerance=1e-12)
    expected = torch.autograd.functional.jacobian(operator.function, point).reshape(8, 4)
    torch.testing.assert_close(operator.to_dense(), expected)
    assert "cubes" in repr(operator)
    assert operator.forward(torch.zeros(0, 4)).shape == (0, 4, 2)


# --- properties --------------------------------------------------------------------------------------------


def examples() -> list[LinearMap]:
    made: list[LinearMap] = list(KINDS.values())
    made += [from_module(*case.make()) for case in CASES if "conv3d" not in case.id]
    made += [
        Identity((4,)),
        Diagonal(torch.tensor([2.0]), (5,)),
        Diagonal(torch.tensor([-2.0, 2.0]), (2,)),
        Diagonal(torch.zeros(1), (3,)),
        Padding((1, 4, 4), [(2, -2), (-1, 1)], "circular"),
        Padding((1, 4), [(4, 0)], "circular"),
        Padding((1, 4), [(-1, 0)]),
        Padding((1, 4), [(1, 0)]),
        Gather((3,), (3,), torch.tensor([2, 0, 1])),
        Gather((3,), (4,), torch.tensor([2, 0, 1, 1])),
        Gather((3,), (2,), torch.tensor([1, 1])),
        Kronecker([torch.eye(4)], (3, 4)),
    ]
    return made


def test_properties_hold_for_the_matrix_wherever_the_structure_shows_them() -> None:
    seen: dict[str, int] = {}
    for A in examples():
        matrix = A.to_dense()
        m, n = matrix.shape
        rank = int(torch.linalg.matrix_rank(matrix))
        shown = {
            "identity": is_identity(A),
            "uniform": is_uniform(A),
            "coisometric": is_coisometric(A),
            "injective": is_injective(A) is True,
            "not injective": is_injective(A) is False,
            "isometric": isometry_constant(A) is not None,
            "adjoint isometric": isometry_constant(A.T) is not None,
        }
        for name, holds in shown.items():
            seen[name] = seen.get(name, 0) + holds
        gram, outer = matrix.T @ matrix, matrix @ matrix.T
        assert not shown["identity"] or torch.equal(matrix, torch.eye(n, dtype=torch.float64))
        assert not shown["uniform"] or torch.equal(matrix, matrix[0, 0] * torch.eye(n, dtype=torch.float64))
        assert not shown["coisometric"] or torch.equal(outer, torch.eye(m, dtype=torch.float64))
        assert is_injective(A) in (None, rank == n)
        for one, square in ((A, gram), (A.T, outer)):
            constant = isometry_constant(one)
            if constant is not None:
                torch.testing.assert_close(square, constant**2 * torch.eye(len(square), dtype=torch.float64))
        entries = monomial(A)
        if entries is not None:
            read, weight = entries
            rebuilt = torch.zeros(m, n + 1, dtype=torch.float64)
            rebuilt[torch.arange(m), read] = weight
            assert torch.equal(rebuilt[:, :n], torch.where(read[:, None] >= 0, matrix, 0))
        if isinstance(A, Convolution) and reads_disjoint_patches(A):
            support = (matrix != 0).reshape(A.out_shape[0], -1, n).any(0).int()
            assert int(support.sum(0).max()) <= 1
            seen["patches"] = seen.get("patches", 0) + 1
    assert min(seen.values()) >= 1, seen
    assert isinstance(KINDS["adjoint"], Adjoint)


def test_moves_are_decided_both_ways() -> None:
    """On maps that only move or scale values the predicates are exact, not only sufficient."""
    for A in examples():
        if not isinstance(A, (*MOVES, Diagonal)):
            assert positions(A) is None
            continue
        matrix = A.to_dense()
        m, n = matrix.shape
        assert is_injective(A) == (int(torch.linalg.matrix_rank(matrix)) == n)
        if isinstance(A, MOVES):
            assert is_coisometric(A) == torch.equal(matrix @ matrix.T, torch.eye(m, dtype=torch.float64))
            read = positions(A)
            assert read is not None
            assert torch.equal(read, torch.where(matrix.any(1), matrix.argmax(1), -1))


def test_numpy_arrays_are_parameters_too() -> None:
    array = random(2, 3).numpy()
    assert np.array_equal(Dense(array).to_dense(), array)
    assert np.array_equal(Diagonal(array, (2, 3)) @ torch.ones(2, 3, dtype=torch.float64), array)
    assert Kronecker([array], (2, 3)).out_shape == (2, 2)


REFUSED: list[tuple[Callable[[], LinearMap], type[BlindspaceError], str]] = [
    (lambda: Identity((0, 3)), ShapeError, r"at least 1, got the shape \(0, 3\)"),
    (lambda: Identity(4), ShapeError, r"a shape is a sequence of integers such as \(3, 32, 32\), got 4"),  # type: ignore[arg-type]
    (lambda: Identity((2.5, 3)), ShapeError, "a shape is a sequence of integers"),  # type: ignore[arg-type]
    (lambda: Dense("x"), BlindspaceError, "the matrix must be a tensor or array of real numbers, got str"),  # type: ignore[arg-type]
    (lambda: Dense([[1.0]]), BlindspaceError, "the matrix must be a tensor or array .*, got list"),  # type: ignore[arg-type]
    (lambda: Dense(torch.ones(2, 2), 3), ShapeError, "a shape is a sequence of integers"),  # type: ignore[arg-type]
    (lambda: Dense(torch.ones(2, 2, dtype=torch.complex64)), BlindspaceError, "real numbers, got torch.complex64"),
    (lambda: Diagonal(torch.tensor(float("nan")), (2,)), ValueRangeError, "the weight of a linear map holds NaN"),
    (lambda: Kronecker([None], (2,)), BlindspaceError, "got NoneType"),  # type: ignore[list-item]
    (lambda: Padding(3, [(1, 1)]), ShapeError, "a shape is a sequence of integers"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "error", "named"), REFUSED, ids=range(len(REFUSED)))
def test_wrong_parameters_and_shapes_are_refused(
    make: Callable[[], LinearMap], error: type[BlindspaceError], named: str
) -> None:
    with pytest.raises(error, match=named):
        make()


@pytest.mark.parametrize("size", [1e-70, 1e-30, 1e-21, 1.0, 1e19, 1e30, 1e70])
def test_norm_of_a_large_map_of_any_size(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single precision serves where squares stay far inside its range, and double precision elsewhere."""
    monkeypatch.setattr("blindspace.maps.linear_map.LARGE", 20)
    matrix = torch.randn(30, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * size
    for each in (matrix, matrix.T):
        assert Dense(each).norm() == pytest.approx(float(torch.linalg.matrix_norm(each, 2)), rel=1e-3, abs=0)
    assert Dense(torch.zeros(30, 50)).norm() == 0
