"""The map of every affine module, compared with torch's own module: products, matrix and norm; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from blindspace.errors import BlindspaceError, ShapeError, UnsupportedLayerError, ValueRangeError
from blindspace.maps import LinearMap, from_module, is_affine
from blindspace.testing import check_map
from cases import BIG_CASES, CASES, Case
from oracle import matrix_of, reference

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def map_of(case: Case) -> LinearMap:
    return from_module(*case.make())


def batch(shape: tuple[int, ...], count: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(dtype)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1e-300))


@pytest.mark.parametrize("case", [*CASES, *BIG_CASES], ids=lambda case: case.id)
def test_the_forward_product_is_the_module_without_its_bias(case: Case) -> None:
    module, shape = case.make()
    x = batch(shape)
    module.double()
    assert close(map_of(case).forward(x), module(x) - module(torch.zeros_like(x)))


@pytest.mark.parametrize("case", [*CASES, *BIG_CASES], ids=lambda case: case.id)
def test_every_map_keeps_the_contract(case: Case) -> None:
    check_map(map_of(case), tolerance=1e-12)


@every_case
def test_dense_and_sparse_matrix_equal_the_oracle(case: Case) -> None:
    operator, matrix = map_of(case), reference(case).matrix.astype(np.float64)
    ours = [operator.to_dense().numpy(), operator.to_scipy().toarray()]
    ours += [operator.T.to_dense().numpy().T, operator.T.to_scipy().toarray().T]
    for one in ours:
        assert one.shape == matrix.shape == (operator.out_dim, operator.in_dim)
        assert np.abs(one - matrix).max() <= 1e-15 * max(1, np.abs(matrix).max())
    assert (operator.to_scipy().data != 0).all()


@every_case
def test_the_norm_is_the_largest_singular_value(case: Case) -> None:
    assert map_of(case).norm() == pytest.approx(reference(case).norm, rel=1e-6)


# --- what is refused --------------------------------------------------------------------------------------


def refused(error: type[BlindspaceError], *parts: str) -> Any:
    """pytest.raises for a message of one line that contains all the parts."""
    return pytest.raises(error, match="^" + "".join(f"(?=.*{part})" for part in parts) + r".+\Z")


def spoiled(module: nn.Conv2d, value: float) -> nn.Module:
    with torch.no_grad():
        module.weight[0, 0, 0, 0] = value
    return module


REFUSED: list[tuple[nn.Module, tuple[int, ...], type[BlindspaceError], list[str]]] = [
    (nn.ReLU(), (3,), UnsupportedLayerError, ["ReLU", "Conv2d"]),
    (nn.Sequential(nn.Conv2d(3, 2, 3), nn.GELU()), (3, 5, 5), UnsupportedLayerError, ["GELU"]),
    (nn.BatchNorm2d(3).train(), (3, 4, 4), UnsupportedLayerError, ["BatchNorm2d", "eval"]),
    (nn.Dropout().train(), (3,), UnsupportedLayerError, ["Dropout", "eval"]),
    (spoiled(nn.Conv2d(3, 2, 3), float("nan")), (3, 5, 5), ValueRangeError, ["Conv2d.weight", "NaN"]),
    (spoiled(nn.Conv2d(3, 2, 3), float("inf")), (3, 5, 5), ValueRangeError, ["Conv2d.weight", "infinite"]),
    (nn.Conv2d(3, 2, 9, padding=1), (3, 5, 6), ShapeError, [r"\(9, 9\)", r"\(7, 8\)"]),
    (nn.Conv2d(3, 2, 3), (4, 5, 5), ShapeError, [r"\(4, 5, 5\)", "3 channels", "has 4"]),
    (nn.Conv2d(3, 2, 3), (3, 5), ShapeError, [r"\(3, 5\)", "2 spatial"]),
    (nn.Conv2d(3, 2, 3, 1, 5, padding_mode="reflect"), (3, 5, 5), ShapeError, ["reflect", "by 5", "5 pixels"]),
    (nn.Conv2d(3, 2, 3, 1, 6, padding_mode="circular"), (3, 5, 5), ShapeError, ["circular", "by 6", "5 pixels"]),
    (nn.ReflectionPad2d(6), (3, 5, 5), ShapeError, ["reflect", "by 6", "5 pixels"]),
    (nn.ZeroPad2d(-3), (3, 5, 5), ShapeError, ["3 and 3", "of 5"]),
    (nn.Linear(3, 4), (5,), ShapeError, ["3 features", r"\(5,\)"]),
    (nn.Linear(3, 4), (), ShapeError, ["linear layer", r"\(\)"]),
    (nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), (3, 5, 5), ShapeError, ["5 features", r"\(75,\)"]),
    (nn.ConvTranspose2d(3, 2, 3), (4, 5, 5), ShapeError, ["3 channels", r"\(4, 5, 5\)"]),
    (nn.BatchNorm2d(3).eval(), (4, 5, 5), ShapeError, ["3 channels", r"\(4, 5, 5\)"]),
    (nn.AvgPool2d(9), (3, 5, 5), ShapeError, ["window of 9", "axis of 5"]),
    (nn.Unflatten(1, (2, 5)), (12,), ShapeError, ["Unflatten", r"\(12,\)"]),
    (nn.PixelUnshuffle(2), (3, 5, 5), ShapeError, [r"\(3, 5, 5\)"]),
]


@pytest.mark.parametrize(
    ("module", "shape", "error", "named"),
    REFUSED,
    ids=[f"{i}-{type(row[0]).__name__}" for i, row in enumerate(REFUSED)],
)
def test_module_refused(
    module: nn.Module, shape: tuple[int, ...], error: type[BlindspaceError], named: list[str]
) -> None:
    with refused(error, *named):
        from_module(module, shape)


def test_is_affine() -> None:
    assert is_affine(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Sequential(nn.Flatten())))
    assert not is_affine(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()))


# --- modules of every kind ----------------------------------------------------------------------------------

Module = tuple[nn.Module, tuple[int, ...]]


def per_axis(draw: st.DrawFn, axes: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))


def kind(axes: int, *kinds: Any) -> Any:
    return kinds[axes - 1]


@st.composite
def convolutions(draw: st.DrawFn) -> Module:
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = draw(st.sampled_from(["same", "valid", None]))
    module = kind(axes, nn.Conv1d, nn.Conv2d, nn.Conv3d)(
        c_in := groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        per_axis(draw, axes, 1, 4),
        1 if padding == "same" else per_axis(draw, axes, 1, 4),
        padding or per_axis(draw, axes, 0, 3),
        per_axis(draw, axes, 1, 3),
        groups,
        padding_mode=draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"])),
    )
    return module, (c_in, *per_axis(draw, axes, 1, 7 if axes < 3 else 5))


@st.composite
def transposed_convolutions(draw: st.DrawFn) -> Module:
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    stride = per_axis(draw, axes, 1, 3)
    module = kind(axes, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)(
        c_in := groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        per_axis(draw, axes, 1, 3),
        stride,
        per_axis(draw, axes, 0, 2),
        tuple(draw(st.integers(0, s - 1)) for s in stride),
        groups,
        dilation=per_axis(draw, axes, 1, 3),
    )
    return module, (c_in, *per_axis(draw, axes, 1, 5))


@st.composite
def pools(draw: st.DrawFn) -> Module:
    axes = draw(st.integers(1, 3))
    shape = (2, *per_axis(draw, axes, 1, 8))
    if draw(st.booleans()):
        adaptive = kind(axes, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
        return adaptive(per_axis(draw, axes, 1, 9)), shape
    kernel = per_axis(draw, axes, 1, 4)
    options = {
        "stride": draw(st.none() | st.integers(1, 4)),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
        "count_include_pad": draw(st.booleans()),
    }
    if axes > 1:
        options["divisor_override"] = draw(st.none() | st.integers(1, 5))
    return kind(axes, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)(kernel, **options), shape


@st.composite
def paddings(draw: st.DrawFn) -> Module:
    axes, mode = draw(st.integers(1, 3)), draw(st.sampled_from(["Zero", "Reflection", "Replication", "Circular"]))
    amounts = per_axis(draw, 2 * axes, -2 if mode == "Zero" else 0, 4)
    return getattr(nn, f"{mode}Pad{axes}d")(amounts), (2, *per_axis(draw, axes, 1, 5))


@st.composite
def shuffles(draw: st.DrawFn) -> Module:
    factor = draw(st.integers(1, 3))
    shape = (factor**2 * draw(st.integers(1, 2)), *(factor * n for n in per_axis(draw, 2, 1, 3)))
    return draw(st.sampled_from([nn.PixelShuffle, nn.PixelUnshuffle]))(factor), shape


@settings(max_examples=400, deadline=None, derandomize=True)
@given(convolutions() | transposed_convolutions() | pools() | paddings() | shuffles())
def test_any_module(drawn: Module) -> None:
    module, shape = drawn
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(batch(tuple(parameter.shape), 1)[0])
    x = batch(shape).requires_grad_()
    try:
        out = module(x)
        assert out.numel() > 0
    except (RuntimeError, ValueError, AssertionError):
        with pytest.raises(BlindspaceError):
            from_module(module, shape)
        return
    operator = from_module(module, shape)
    y = batch(tuple(out.shape[1:]))
    (gradient,) = torch.autograd.grad((out * y).sum(), x)
    assert close(operator.forward(x.detach()), out.detach() - module(torch.zeros_like(x)).detach())
    assert close(operator.adjoint(y), gradient)
    assert np.allclose(operator.to_scipy().toarray(), matrix_of(module, shape), rtol=0, atol=1e-14)


def test_transpose_with_output_padding_above_the_stride() -> None:
    module = nn.ConvTranspose1d(2, 4, 3, stride=1, padding=1, output_padding=2, dilation=3)
    assert np.array_equal(from_module(module, (2, 4)).to_dense(), matrix_of(module, (2, 4)))


@pytest.mark.parametrize(("module", "shape"), [(nn.LazyLinear(3), (5,)), (nn.Linear(3, 2), 3)])
def test_an_unusable_module_or_shape_is_refused(module: nn.Module, shape: Any) -> None:
    with pytest.raises(BlindspaceError):
        from_module(module, shape)


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.ZeroPad2d((1, -1, 1, -1)), (5,)),
        (nn.Conv2d(3, 2, 3, dtype=torch.complex64), (3, 5, 5)),
        (nn.AvgPool2d(3, padding=2), (3, 5, 5)),
        (nn.BatchNorm2d(3).eval(), (3,)),
    ],
)
def test_what_torch_refuses_or_is_not_real_is_refused(module: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(BlindspaceError):
        from_module(module, shape)


class _Centred(nn.Conv2d):
    """A convolution of absolute values, which is not affine."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.abs())


class _Loud(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()  # type: ignore[no-any-return, no-untyped-call]


def test_a_subclass_with_its_own_forward_is_not_its_base_class() -> None:
    hooked = nn.Conv2d(3, 2, 3)
    hooked.register_forward_hook(lambda module, args, out: out.relu())
    for module in (_Centred(3, 2, 3), _Loud(nn.Conv2d(3, 2, 3)), hooked):
        assert not is_affine(module)
        with pytest.raises(UnsupportedLayerError, match=type(module).__name__):
            from_module(module, (3, 8, 8))
