"""Harmless sets of non-linear layers, against the layers themselves run on z + δ, their Jacobians and scipy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from blindspace.errors import BlindspaceError, ShapeError, UnsupportedLayerError
from blindspace.invariances import Directions, Intervals, harmless_set
from blindspace.invariances.maxima import adaptive_windows, pooling_windows

PLATEAUS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "relu6": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(-0.5, 0.25),
    "hardsigmoid": nn.Hardsigmoid(),
    "hardshrink": nn.Hardshrink(0.4),
    "softshrink": nn.Softshrink(0.4),
    "threshold": nn.Threshold(0.1, -20.0),
    "leaky, slope 0": nn.LeakyReLU(0.0),
    "rrelu, slope 0": nn.RReLU(0.0, 0.0),
}
INJECTIVE = {
    "leaky": nn.LeakyReLU(), "prelu": nn.PReLU(), "gelu": nn.GELU(), "silu": nn.SiLU(), "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(), "elu": nn.ELU(), "selu": nn.SELU(), "softplus": nn.Softplus(), "mish": nn.Mish(),
    "log-sigmoid": nn.LogSigmoid(),
}  # fmt: skip
POOLS: dict[str, nn.Module] = {
    "3, 2, 1": nn.MaxPool2d(3, 2, 1),
    "2": nn.MaxPool2d(2),
    "ceil": nn.MaxPool2d(2, 2, ceil_mode=True),
    "dilated": nn.MaxPool2d(2, 1, dilation=2),
    "oblong": nn.MaxPool2d((3, 1), (1, 2)),
    "adaptive": nn.AdaptiveMaxPool2d((2, 3)),
    "everything": nn.AdaptiveMaxPool2d(1),
}
GROUPS: dict[str, nn.Module] = {
    "layer norm": nn.LayerNorm(7, eps=0.1),
    "layer norm, two axes": nn.LayerNorm((5, 7), eps=0.1),
    "layer norm without ε": nn.LayerNorm(7, eps=0.0),
    "group norm": nn.GroupNorm(2, 4, eps=0.1),
    "instance norm": nn.InstanceNorm2d(4, eps=0.1),
    "RMS norm": nn.RMSNorm(7, eps=0.1),
    "softmax": nn.Softmax(1),
    "log-softmax": nn.LogSoftmax(-1),
}
ALL = PLATEAUS | POOLS | GROUPS | INJECTIVE | {"hardswish": nn.Hardswish()}


def values(seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def doubled(layer: nn.Module) -> nn.Module:
    return layer.double().eval().requires_grad_(False)


def outputs(layer: nn.Module, z: Tensor) -> Tensor:
    found: Tensor = layer(z.clone())  # a ReLU may work in place
    return found


@pytest.mark.parametrize("name", ALL)
def test_what_is_drawn_from_a_set_changes_no_output(name: str) -> None:
    layer, z = doubled(ALL[name]), values()
    found = harmless_set(layer, z)
    drawn = found.sample(20, torch.Generator().manual_seed(1), scale=4.0)
    assert drawn.shape == (20, *z.shape)
    before = outputs(layer, z)
    for delta in drawn:
        assert float((outputs(layer, z + delta) - before).abs().max()) <= (1e-9 if name in GROUPS else 0)
    assert bool(found.contains(drawn).all())


@pytest.mark.parametrize("name", [*PLATEAUS, *POOLS])
def test_nothing_moves_in_single_precision_either(name: str) -> None:
    layer, z = ALL[name].float(), values(dtype=torch.float32)
    for delta in harmless_set(layer, z).sample(20, torch.Generator().manual_seed(1), scale=4.0):
        assert torch.equal(outputs(layer, z + delta), outputs(layer, z))


@pytest.mark.parametrize("name", ALL)
def test_the_dimension_is_what_the_jacobian_lacks_in_rank_and_what_the_samples_span(name: str) -> None:
    layer, z = doubled(ALL[name]), values(2)[:1]
    found = harmless_set(layer, z)
    jacobian = torch.autograd.functional.jacobian(lambda x: outputs(layer, x).flatten(), z).flatten(1)
    assert int(found.dim) == z.numel() - int(torch.linalg.matrix_rank(jacobian, rtol=1e-10))
    spanned = found.sample(z.numel() + 5, torch.Generator().manual_seed(3)).flatten(1)
    assert int(torch.linalg.matrix_rank(spanned, rtol=1e-10)) == int(found.dim)
    assert int(found.free.sum()) >= int(found.dim)


@pytest.mark.parametrize("name", PLATEAUS)
def test_a_unit_is_in_its_interval_if_and_only_if_its_output_stays(name: str) -> None:
    layer, z = doubled(PLATEAUS[name]), values(4)
    found = harmless_set(layer, z)
    for delta in 3 * torch.randn(30, *z.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64):
        stays = outputs(layer, z + delta) == outputs(layer, z)
        assert torch.equal(found.project(delta) == delta, stays)


def test_hard_swish_is_constant_below_minus_three_and_elsewhere_only_at_single_points() -> None:
    z = torch.tensor([[-4.0, -3.0, -1.0, 0.0, 5.0]], dtype=torch.float64)
    found = harmless_set(nn.Hardswish(), z)
    assert isinstance(found, Intervals)
    assert found.free.tolist() == [[True, True, False, False, False]]
    assert found.high.tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]]


# --- maxima -----------------------------------------------------------------------------------------------


def naive_windows(layer: nn.Module, height: int, width: int) -> list[set[int]]:
    """The units that each output of a pooling reads: those whose rise changes it."""
    low = torch.zeros(1, 1, height, width, dtype=torch.float64)
    read: list[set[int]] = [set() for _ in range(layer(low).numel())]
    for unit in range(height * width):
        risen = low.clone()
        risen.view(-1)[unit] = 1
        for window, rises in enumerate((layer(risen) != layer(low)).flatten().tolist()):
            if rises:
                read[window].add(unit)
    return read


@pytest.mark.parametrize("name", POOLS)
def test_windows_are_those_of_torch(name: str) -> None:
    layer = POOLS[name]
    expected = naive_windows(layer, 5, 7)
    out = layer(torch.zeros(1, 1, 5, 7)).shape[2:]
    if isinstance(layer, nn.AdaptiveMaxPool2d):
        table = adaptive_windows((5, 7), out)
    else:
        pairs: Any = [
            (n, n) if isinstance(n, int) else n
            for n in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        ]
        table = pooling_windows((5, 7), out, *pairs)
    assert [{unit for unit in row if unit >= 0} for row in table.tolist()] == expected


@pytest.mark.parametrize("name", POOLS)
def test_a_change_is_in_the_set_if_and_only_if_the_maxima_stay_where_and_what_they_are(name: str) -> None:
    layer, z = POOLS[name], values(6)[:1, :1]
    found = harmless_set(layer, z)
    read = naive_windows(layer, 5, 7)
    flat = z.flatten()
    places = [max(window, key=lambda unit: float(flat[unit])) for window in read if window]
    generator = torch.Generator().manual_seed(7)
    inside = found.sample(20, generator, 3.0)
    for delta in (*inside, *(inside + 0.3 * torch.randn(inside.shape, generator=generator, dtype=torch.float64))):
        moved = (z + delta).flatten()
        stay = all(
            moved[place] == flat[place] and all(moved[unit] <= flat[place] for unit in window)
            for place, window in zip(places, filter(None, read), strict=True)
        )
        assert bool(found.contains(delta)) == stay


@pytest.mark.parametrize("name", ["3, 2, 1", "dilated", "adaptive"])
def test_the_nearest_point_is_that_of_a_quadratic_programme(name: str) -> None:
    layer, z = POOLS[name], values(8)[:1, :1, :4, :4]
    found = harmless_set(layer, z)
    v = 2 * torch.randn(z.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    read, flat = naive_windows(layer, 4, 4), z.flatten().numpy()
    rows, high = [], []
    held = set()
    for window in filter(None, read):
        top = max(flat[unit] for unit in window)
        held.add(max(window, key=lambda unit: flat[unit]))
        for unit in window:
            rows.append(np.eye(16)[unit])
            high.append(top - flat[unit])
    target = v.flatten().numpy()
    best = scipy.optimize.minimize(
        lambda d: 0.5 * float((d - target) @ (d - target)),
        np.zeros(16),
        jac=lambda d: d - target,
        constraints=[
            {"type": "eq", "fun": lambda d: d[sorted(held)]},
            {"type": "ineq", "fun": lambda d: np.array(high) - np.array(rows) @ d},
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    ).x
    assert np.abs(found.project(v).flatten().numpy() - best).max() <= 1e-6


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_tied_maxima_are_held_by_few_units_that_serve_all_windows(seed: int) -> None:
    layer = nn.MaxPool2d(2, 1)
    z = torch.randint(0, 2, (1, 1, 3, 4), generator=torch.Generator().manual_seed(seed)).double()
    found = harmless_set(layer, z)
    for delta in found.sample(5, torch.Generator().manual_seed(seed), 2.0):
        assert torch.equal(layer(z + delta), layer(z))
    flat = z.flatten()
    sets = [{unit for unit in window if flat[unit] == max(flat[list(window)])} for window in naive_windows(layer, 3, 4)]
    fewest = next(
        size
        for size in range(1, 13)
        if any(all(each & set(chosen) for each in sets) for chosen in combinations(range(12), size))
    )
    held = 12 - int(found.dim)
    assert fewest <= held <= fewest + 2  # greedy


def test_a_maximum_over_axes_is_one_window() -> None:
    class Amax(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.amax((1, 3))

    z = values(10)
    found = harmless_set(Amax(), z)
    assert found.dim.tolist() == [4 * 5 * 7 - 5] * 2
    for delta in found.sample(5, torch.Generator().manual_seed(0), 3.0):
        assert torch.equal((z + delta).amax((1, 3)), z.amax((1, 3)))


# --- groups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["layer norm", "group norm", "instance norm", "RMS norm"])
@pytest.mark.parametrize("tol", [1e-3, 0.2])
def test_a_scaling_changes_normalised_outputs_by_at_most_the_tolerance_and_by_all_of_it(name: str, tol: float) -> None:
    layer, z = doubled(GROUPS[name]), values(11)
    found = harmless_set(layer, z, tol)
    assert isinstance(found, Directions)
    assert bool(found.scales.all())
    before = layer(z)
    for end in (found.low, found.high.clamp(max=1e6)):
        after = layer(z + (end * found.ray).reshape(z.shape))
        change = (after / before - 1).abs()
        assert float(change.max()) <= tol * (1 + 1e-6)
        if bool((found.high < 1e6).all()) or end is found.low:
            assert float((change - tol).abs().max()) <= 1e-6


@pytest.mark.parametrize("name", ["layer norm", "layer norm without ε", "RMS norm", "softmax"])
def test_the_nearest_point_of_a_group_is_that_of_least_squares(name: str) -> None:
    layer = doubled(GROUPS[name])
    z = torch.randn(1, 7, generator=torch.Generator().manual_seed(12), dtype=torch.float64)
    found = harmless_set(layer, z, tol=0.05)
    assert isinstance(found, Directions)
    v = 3 * torch.randn(4, 1, 7, generator=torch.Generator().manual_seed(13), dtype=torch.float64)
    columns, low, high = [], [], []
    if found.shift:
        columns.append(np.ones(7))
        low.append(-np.inf)
        high.append(np.inf)
    if bool(found.scales.all()):
        columns.append(found.ray.flatten().numpy())
        low.append(float(found.low))
        high.append(float(found.high))
    matrix = np.stack(columns, 1)
    for each, point in zip(v, found.project(v), strict=True):
        best = scipy.optimize.lsq_linear(matrix, each.flatten().numpy(), (low, high), tol=1e-14)
        assert np.abs(matrix @ best.x - point.flatten().numpy()).max() <= 1e-7


def test_values_that_a_mask_takes_out_are_no_obstacle() -> None:
    z = torch.tensor([[0.5, -torch.inf, 2.0]], dtype=torch.float64)
    delta = harmless_set(nn.Softmax(1), z).project(torch.ones(1, 3, dtype=torch.float64))
    assert delta.tolist() == [[1.0, 1.0, 1.0]]


def test_a_group_of_equal_values_has_only_the_shift() -> None:
    found = harmless_set(nn.LayerNorm(4, eps=0.0), torch.ones(1, 3, 4))
    assert found.dim.tolist() == [3]


# --- rounding, shapes and errors --------------------------------------------------------------------------


def test_a_smooth_activation_lets_nothing_move_but_says_what_rounding_hides() -> None:
    z = torch.tensor([[-200.0, -1.0, 0.5, 30.0]])
    found = harmless_set(nn.Tanh(), z)
    assert isinstance(found, Intervals)
    assert found.dim.tolist() == [0]
    assert found.rounds is not None
    assert found.rounds.tolist() == [[True, False, False, True]]


@given(st.lists(st.integers(1, 4), min_size=0, max_size=3), st.integers(1, 3), st.sampled_from(["relu", "relu6"]))
@settings(max_examples=20, deadline=None)
def test_values_of_any_shape_and_batches_of_perturbations(shape: list[int], batch: int, name: str) -> None:
    z = 4 * torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))
    found = harmless_set(PLATEAUS[name].float(), z)
    assert found.dim.shape == (batch,)
    v = torch.randn(2, 3, *z.shape)
    projected = found.project(v)
    assert projected.shape == v.shape
    assert found.contains(v).shape == (2, 3, batch)
    assert torch.equal(found.project(projected), projected)


@pytest.mark.parametrize("limit", [0.1, 6.0, 1e-3])
def test_bounds_survive_rounding(limit: float) -> None:
    z = limit - 10 ** torch.linspace(-12, 6, 500)[None]
    found = harmless_set(nn.Threshold(limit, -1.0), z)
    assert isinstance(found, Intervals)
    assert bool((z + found.high <= limit).all())
    assert bool(
        (z + torch.nextafter(found.high, torch.full_like(z, torch.inf)) >= torch.tensor(limit) * (1 - 1e-6)).all()
    )


WRONG: dict[str, tuple[Callable[[], object], type[BlindspaceError]]] = {
    "convolution": (lambda: harmless_set(nn.Conv2d(4, 1, 1).double(), values()), UnsupportedLayerError),
    "two layers": (
        lambda: harmless_set(nn.Sequential(nn.Linear(7, 7).double(), nn.ReLU()), values()),
        UnsupportedLayerError,
    ),
    "two operations": (lambda: harmless_set(nn.Sequential(nn.ReLU(), nn.Tanh()), values()), UnsupportedLayerError),
    "batch norm": (lambda: harmless_set(nn.BatchNorm2d(4).double(), values()), UnsupportedLayerError),
    "no module": (lambda: harmless_set(torch.relu, values()), UnsupportedLayerError),  # type: ignore[arg-type]
    "unreadable": (lambda: harmless_set(nn.LayerNorm(3), values()), ShapeError),
    "integers": (lambda: harmless_set(nn.ReLU(), torch.zeros(2, 2, dtype=torch.int64)), ShapeError),
    "no axis": (lambda: harmless_set(nn.ReLU(), torch.tensor(1.0)), ShapeError),
    "tolerance": (lambda: harmless_set(nn.ReLU(), values(), -1.0), BlindspaceError),
    "perturbation": (lambda: harmless_set(nn.ReLU(), values()).project(values()[0]), ShapeError),
    "samples": (lambda: harmless_set(nn.ReLU(), values()).sample(-1), BlindspaceError),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused_in_one_line(name: str) -> None:
    call, error = WRONG[name]
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_set_as_plain_values_and_in_words() -> None:
    found = harmless_set(nn.ReLU(), values())
    assert found.to_dict()["shape"] == [4, 5, 7]
    assert found.to_dict()["dim"] == (values() <= 0).flatten(1).sum(1).tolist()
    assert "relu" in repr(found)
