"""Non-linear operations and their units against hooks on modules; polyhedra of inputs against dense algebra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import BlindspaceError, ShapeError, UnsupportedLayerError, ValueRangeError
from blindspace.invariances import Bounds, Polyhedron, harmless_polyhedron, nonlinearities, units
from blindspace.maps import Dense
from blindspace.networks import Network

SHAPE = (2, 6, 6)


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build().eval().requires_grad_(False)


class Residual(nn.Module):
    """Operations in code, in place, on constants, and a skip connection around a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        x = x + F.relu6(x) + torch.relu(torch.ones(4, 1, 1))
        x = self.act(x * 2)
        x = self.act(x - 0.3)
        x = F.max_pool2d(x, 2)
        x = F.layer_norm(x, x.shape[1:])
        found: Tensor = self.last(F.gelu(x).amax((2, 3)))
        return found


def network(build: Callable[[], nn.Module], shape: tuple[int, ...] = SHAPE) -> Network:
    return bs.load(seeded(build), shape)


def images(count: int = 5, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def test_operations_are_listed_with_their_modules_and_whether_anything_else_reads_their_values() -> None:
    found = nonlinearities(network(Residual))
    listed = [(each.name, each.kind, each.occurrence, each.shape, each.harmless_for_network) for each in found]
    assert listed == [
        ("", "hardtanh", 1, (4, 6, 6), False),  # the skip connection reads them too
        ("act", "relu", 1, (4, 6, 6), True),
        ("act", "relu", 2, (4, 6, 6), True),
        ("", "max_pool2d_with_indices", 1, (4, 6, 6), True),
        ("", "native_layer_norm", 1, (4, 3, 3), True),
        ("", "gelu", 1, (4, 3, 3), True),
        ("", "amax", 1, (4, 3, 3), True),
    ]
    assert found[2].label == "act (relu), 2"
    assert found[2].to_dict()["shape"] == [4, 6, 6]


def test_the_operations_of_a_transformer_are_seen() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), nn.Flatten())

    with torch.inference_mode():
        found = nonlinearities(network(build, (5, 8)))
        counted = units(network(build, (5, 8)), images(3, (5, 8)))
    kinds = ["_safe_softmax", "native_layer_norm", "relu", "native_layer_norm"]
    assert [each.kind for each in found] == [row.kind for row in counted.rows] == kinds
    assert counted.rows[0].dims.tolist() == [2 * 5] * 3


def plain() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(16, 9), nn.Tanh()
    )


@pytest.mark.parametrize("batch_size", [2, 64])
def test_units_are_counted_as_by_hooks(batch_size: int) -> None:
    model, x = network(plain), images(7)
    model.module[2].bias.fill_(-3.0)  # type: ignore[index]
    read: dict[str, Tensor] = {}
    for name in ("1", "3"):
        model.module.get_submodule(name).register_forward_pre_hook(
            lambda _, args, name=name: read.update({name: args[0].clone()})
        )
    model.module(x)
    first, second = read["1"], read["3"]
    found = units(bs.load(model.module, SHAPE), x, batch_size=batch_size)
    assert found.images == 7
    relu, relu6, tanh = found.rows
    assert relu.dims.tolist() == (first <= 0).flatten(1).sum(1).tolist()
    assert relu.off is not None
    assert torch.equal(relu.off, (first <= 0).sum(0))
    assert relu.always_off == int((first <= 0).all(0).sum())
    assert relu.never_free == int((first > 0).all(0).sum())
    assert relu6.always_off == int((second <= 0).all(0).sum())
    assert relu6.always_saturated == int((second >= 6).all(0).sum())
    assert relu6.share == pytest.approx(float(((second <= 0) | (second >= 6)).double().mean()))
    assert tanh.dims.tolist() == [0] * 7
    assert tanh.rounds is not None
    row = found.to_dict()["nonlinearities"][0]
    assert (row["units"], row["least_dim"]) == (48, int(relu.dims.min()))


def test_one_bound_for_units_found_in_one_state_in_all_images() -> None:
    found = units(network(plain), images(3))
    assert scipy.stats.binom.cdf(2, 3, found.bound) == pytest.approx(0.95)


def test_operations_that_put_the_images_elsewhere_are_read_image_by_image() -> None:
    found = units(network(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.InstanceNorm2d(3), nn.ReLU())), images(4))
    assert found.rows[0].dims.tolist() == [3] * 4
    assert found.rows[0].off is None
    assert found.rows[0].always_off is None


# --- polyhedra --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [50, 0])  # 0 leaves all to the least-distance programme
@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_point_of_a_polyhedron_is_that_of_sequential_quadratic_programming(
    seed: int, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindspace.invariances.polyhedron.ROUNDS", rounds)
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(11, 7, generator=generator, dtype=torch.float64)
    high = torch.rand(11, generator=generator, dtype=torch.float64)
    low = torch.where(torch.rand(11, generator=generator) < 0.5, -torch.inf, -high / 2)
    low[:2] = high[:2] = 0
    v = 2 * torch.randn(1, 7, generator=generator, dtype=torch.float64)
    polyhedron = Polyhedron([Bounds(Dense(a), low, high)])
    found = polyhedron.nearest(v)
    rows, target = a.numpy(), v[0].numpy()
    limits: list[dict[str, Any]] = [{"type": "eq", "fun": lambda d: rows[:2] @ d}]
    limits += [{"type": "ineq", "fun": lambda d: high.numpy()[2:] - rows[2:] @ d}]
    there = low[2:].isfinite().numpy()
    limits += [{"type": "ineq", "fun": lambda d: (rows[2:] @ d - low.numpy()[2:])[there]}]
    best = scipy.optimize.minimize(
        lambda d: 0.5 * float((d - target) @ (d - target)), np.zeros(7), jac=lambda d: d - target,
        constraints=limits, method="SLSQP", options={"ftol": 1e-15, "maxiter": 1000},
    ).x  # fmt: skip
    assert polyhedron.dim == 5
    assert np.abs(found.value[0].numpy() - best).max() <= 1e-6
    assert found.optimality <= 1e-6
    assert bool(polyhedron.contains(found.value, 1e-11))
    assert bool(polyhedron.contains(v)) == bool(np.abs(best - target).max() < 1e-9)


def test_more_bounds_may_meet_in_a_point_than_there_are_dimensions() -> None:
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    high = (a > 0).double().sum(1) / 20 * (torch.rand(60, generator=generator) < 0.5)
    polyhedron = Polyhedron([Bounds(Dense(a), torch.full_like(high, -torch.inf), high)])
    for v in 3 * torch.randn(6, 5, generator=generator, dtype=torch.float64):
        found = polyhedron.nearest(v[None])
        rows, rest = np.vstack([-a.numpy().T, (a @ v - high).numpy()]), np.eye(6)[5]
        residual = rows @ scipy.optimize.nnls(rows, rest)[0] - rest
        assert np.abs(v.numpy() - residual[:5] / residual[5] - found.value[0].numpy()).max() <= 1e-7
        assert found.optimality <= 1e-6


FRONTS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.Sequential(nn.Conv2d(2, 3, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.ReLU()),
    "relu6": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 30), nn.ReLU6(), nn.Linear(30, 4)),
    "max pooling": lambda: nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.MaxPool2d(3, 2), nn.ReLU()),
    "max pooling first": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 4)),
}


@pytest.mark.parametrize("name", FRONTS)
def test_points_of_the_polyhedron_leave_the_outputs_unchanged_and_its_dimension_is_that_of_a_dense_svd(
    name: str,
) -> None:
    model = network(FRONTS[name])
    x = images(1)[0].double()
    found = harmless_polyhedron(model, x)
    jacobian = _first_non_linear_jacobian(model, x)
    assert found.dim == 72 - int(torch.linalg.matrix_rank(jacobian))
    assert found.dim > bs.harmless(model).dim
    drawn = found.sample(4, torch.Generator().manual_seed(2), 3.0)
    assert bool(found.contains(drawn).all())
    before = model.outputs(x[None], torch.float64)
    assert float((model.outputs(x + drawn, torch.float64) - before).abs().max()) <= 1e-12
    assert float(bs.harmless(model).energy(drawn).max()) < 0.999
    other = images(2)[1:].double()
    moved = model.outputs(other + drawn, torch.float64) - model.outputs(other, torch.float64)
    assert float(moved.abs().max()) > 1e-4
    outside = found.space.sample(4, torch.Generator().manual_seed(3)) * 50
    assert not bool(found.contains(outside).any())


def _first_non_linear_jacobian(model: Network, x: Tensor) -> Tensor:
    parts = list(model.double.children())  # of a Sequential
    end = next(i for i, part in enumerate(parts) if isinstance(part, nn.ReLU | nn.ReLU6 | nn.MaxPool2d)) + 1
    first = nn.Sequential(*parts[:end])
    found: Tensor = torch.autograd.functional.jacobian(lambda z: first(z[None]).flatten(), x).flatten(1)
    return found


def test_a_point_may_be_kept_in_the_pixel_range() -> None:
    model, x = network(FRONTS["relu"]), images(1)[0].double()
    x[0, :3] = 0.0
    found = harmless_polyhedron(model, x, in_range=True)
    point = found.project(torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(4), dtype=torch.float64))
    assert float(point.abs().max()) > 0.05
    assert float((x + point).min()) >= -1e-12
    assert float((x + point).max()) <= 1 + 1e-12


class Square(nn.Module):
    """A product of values besides a ReLU of the same values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return F.relu(x) + x * x


@pytest.mark.parametrize(
    "build",
    [
        Square,
        lambda: nn.Sequential(nn.Conv2d(2, 1, 3), nn.GELU()),
        lambda: nn.Sequential(nn.Conv2d(2, 1, 3), nn.LeakyReLU()),
        lambda: nn.Conv2d(2, 1, 3),
    ],
)
def test_what_anything_else_reads_is_held(build: Callable[[], nn.Module]) -> None:
    model = network(build)
    found = harmless_polyhedron(model, images(1)[0])
    assert (found.dim, found.free) == (bs.harmless(model).dim, 0)


class Branches(nn.Module):
    """Two branches, each with units of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 1, 3), nn.Conv2d(2, 1, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.relu(self.a(x)).flatten(1), F.relu6(self.b(x)).flatten(1)], 1)


def test_every_branch_has_bounds_of_its_own() -> None:
    model, x = network(Branches), images(1)[0].double()
    found = harmless_polyhedron(model, x)
    jacobian = torch.autograd.functional.jacobian(lambda z: model.double(z[None]).flatten(), x).flatten(1)
    assert found.dim == 72 - int(torch.linalg.matrix_rank(jacobian))
    drawn = found.sample(3, torch.Generator().manual_seed(0), 2.0)
    assert float((model.double(x + drawn) - model.double(x[None])).abs().max()) <= 1e-12


WRONG: dict[str, tuple[Callable[[], object], type[BlindspaceError]]] = {
    "two images": (lambda: harmless_polyhedron(network(plain), images(2)), ShapeError),
    "other shape": (lambda: harmless_polyhedron(network(plain), images(1, (1, 6, 6))[0]), ShapeError),
    "no image": (lambda: units(network(plain), images(0)), ValueRangeError),
    "no network": (lambda: units("mnist-mlp", images(1)), UnsupportedLayerError),  # type: ignore[arg-type]
    "batch size": (lambda: units(network(plain), images(1), batch_size=0), ValueRangeError),
    "tolerance": (
        lambda: harmless_polyhedron(network(FRONTS["relu"]), images(1)[0]).contains(images(1), -1),
        ValueRangeError,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused_in_one_line(name: str) -> None:
    call, error = WRONG[name]
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
