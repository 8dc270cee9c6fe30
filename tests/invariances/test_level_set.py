"""Paths along level sets: level, inside the pixel range, and as near to the target as a dense oracle says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import blindspace as bs
from blindspace.invariances.level import Level
from blindspace.invariances.linearised import Matrix, Products, nearest_on_level, stacked
from blindspace.invariances.refining import refined
from blindspace.invariances.vertices import Vertices, chunks
from blindspace.invariances.walking import STRIDE, Walker

SHAPE = (1, 6, 6)


def network(*, smooth: bool = False, outputs: int = 3, softmax: bool = False) -> bs.Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bend: nn.Module = nn.Tanh() if smooth else nn.ReLU()
        layers = [nn.Flatten(), nn.Linear(36, 24), bend, nn.Linear(24, 16), bend, nn.Linear(16, outputs)]
        return bs.load(nn.Sequential(*layers, *([nn.Softmax(1)] if softmax else [])).eval(), SHAPE)


def images(seed: int = 0, count: int = 2) -> Tensor:
    drawn = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (1.6 * drawn - 0.3).clamp(0, 1)  # some pixels black or white to the last bit


# --- the nearest point on a linearised level ---------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(m=st.integers(1, 4), n=st.integers(5, 12), seed=st.integers(0, 10**6), twice=st.booleans())
def test_nearest_on_level_is_the_quadratic_programme(m: int, n: int, seed: int, twice: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(m, n, generator=generator, dtype=torch.float64)
    rows = torch.cat([rows, rows[:1]]) if twice else rows  # outputs that depend on one another
    inside = torch.rand(n, generator=generator, dtype=torch.float64)
    point = inside + torch.randn(n, generator=generator, dtype=torch.float64)
    jacobian, wanted = Matrix(rows), rows @ inside
    found = nearest_on_level(point[None], jacobian, wanted[None])[0]
    assert bool(((found >= 0) & (found <= 1)).all())
    assert torch.allclose(rows @ found, wanted, atol=1e-10)
    solved = scipy.optimize.minimize(
        lambda z: ((z - point.numpy()) ** 2).sum(),
        inside.numpy(),
        jac=lambda z: 2 * (z - point.numpy()),
        bounds=[(0, 1)] * n,
        constraints={"type": "eq", "fun": lambda z: rows[:m].numpy() @ z - wanted[:m].numpy()},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert float((found - point).norm()) <= np.linalg.norm(solved.x - point.numpy()) + 1e-6
    assert np.allclose(found.numpy(), solved.x, atol=1e-4)


def test_products_give_what_the_matrix_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(4, 20, generator=generator, dtype=torch.float64)
    points = torch.randn(3, 20, generator=generator, dtype=torch.float64)
    inside = torch.rand(3, 20, generator=generator, dtype=torch.float64)
    dense, products = Matrix(rows), Products(lambda v: v @ rows.T, lambda w: w @ rows, 20)
    wanted = dense.forward(inside)
    by_matrix, by_products = (nearest_on_level(points, jacobian, wanted) for jacobian in (dense, products))
    assert torch.allclose(by_matrix, by_products, atol=1e-9)
    both = stacked([dense, products], 20)
    assert torch.allclose(both.forward(points), torch.cat([dense.forward(points)] * 2, 1))
    assert torch.allclose(both.adjoint(both.forward(points)), 2 * dense.adjoint(dense.forward(points)))


def test_where_no_point_of_the_box_is_on_the_level_the_result_is_in_the_box() -> None:
    rows = torch.ones(1, 5, dtype=torch.float64)
    found = nearest_on_level(torch.rand(1, 5, dtype=torch.float64), Matrix(rows), torch.tensor([[9.0]]).double())
    assert bool(((found >= 0) & (found <= 1)).all())


# --- corrections and refinement ------------------------------------------------------------------------------


def test_corrections_reach_the_level_from_beside_it() -> None:
    x = images()[0]
    level = Level(network(), "outputs", x)
    beside = (x.flatten() + 0.02 * torch.randn(5, 36, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    found, values = level.correct(beside.double(), level.linearised(x.reshape(1, -1)), 1e-10)
    assert float(level.changes(values).max()) <= 1e-10
    assert torch.allclose(level.values(found), values, atol=1e-13)
    assert bool(((found >= 0) & (found <= 1)).all())


def test_refined_segments_are_level_in_between() -> None:
    x = images()[0]
    net = network(smooth=True)
    level = Level(net, "outputs", x)
    away = bs.level_set(net, *images(), tolerance=1e-2, steps=5).vertices[-1].flatten()
    end, _ = level.correct(away[None], level.linearised(away[None]), 1e-9)
    vertices, values, between = refined(level, x.flatten(), end[0], level.linearised(x.reshape(1, -1)), 1e-6, 1e-8)
    path = torch.cat([x.reshape(1, -1), vertices])
    assert torch.allclose(values, level.values(vertices), atol=1e-13)
    assert torch.equal(path[-1], end[0])
    assert len(vertices) == len(between) > 2
    for share in (0.1, 0.25, 0.5, 0.6):
        inner = torch.lerp(path[:-1], path[1:], share)
        assert float(level.changes(level.values(inner)).max()) <= 1.2e-6
    # The order along the path is kept: each step leads on.
    along = (path - path[0]) @ (path[-1] - path[0])
    assert bool((along.diff() > 0).all())


@torch.no_grad()
def test_steps_beside_the_line_are_level_and_lead_along_it() -> None:
    x, target = images()
    start, end = x.flatten(), target.flatten()
    level = Level(network(), "outputs", x)
    points = torch.stack(Walker(level, 1e-8, 1000, lambda *_: None).beside(start, end))
    assert float(level.changes(level.values(points)).max()) <= 1e-8
    assert float(points.min()) >= 0
    assert float(points.max()) <= 1
    steps = points.diff(dim=0).square().mean(1).sqrt()
    assert float(steps.max()) < 2.5 * STRIDE
    way = (points - start) @ (end - start) / (end - start).square().sum()
    assert bool((way.diff() > 0).all())
    off = points - torch.lerp(start, end, way[:, None])
    assert float(off.square().mean(1).sqrt().max()) < 0.6 * float((end - start).square().mean().sqrt())


def test_nearly_dependent_outputs_do_not_hold_up_the_quadratic_programme() -> None:
    """Logits of trained networks nearly sum to a constant: one singular value is a ten-thousandth of the others."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(4, 60, generator=generator, dtype=torch.float64)
    rows[3] = rows[:3].sum(0) + 1e-4 * rows[3]
    inside, point = torch.rand(2, 60, generator=generator, dtype=torch.float64)
    found = nearest_on_level(point[None], Matrix(rows), (rows @ inside)[None])[0]
    assert torch.allclose(rows @ found, rows @ inside, atol=1e-11)


def test_vertices_are_those_that_were_added(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.rand(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = Vertices(5)
    for some in rows.split(3):
        kept.add(some)
    found = kept.tensor()
    del kept  # the file has no name, and lives as long as the map
    assert torch.equal(found, rows)
    monkeypatch.setattr("blindspace.invariances.vertices.AT_ONCE", 80)
    assert [len(part) for part in chunks(found)] == [2, 2, 2, 1]
    assert torch.equal(torch.cat([part.diff(dim=0) for part in chunks(found, 1)]), rows.diff(dim=0))
    assert [len(part) for part in chunks(found[:1], 1)] == [1]


# --- whole paths ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smooth", [False, True])
def test_a_path_is_level_inside_the_range_and_nearer_to_the_target(smooth: bool) -> None:
    net, (x, target) = network(smooth=smooth), images()
    path = bs.level_set(net, x, target)
    with torch.no_grad():
        wanted = net.double(x[None])
        for share in (0.0, 0.3, 0.5):
            points = torch.lerp(path.vertices[:-1], path.vertices[1:], share)
            change = (net.double(points) - wanted).abs().max() / wanted.abs().max()
            assert float(change) <= 1.2e-6  # measured in the middle and at quarters, with room for what lies between
    assert path.level
    assert float(path.vertices.min()) >= 0
    assert float(path.vertices.max()) <= 1
    assert torch.equal(path.vertices[0], x)
    assert float(path.rmse[-1]) < 0.5 * float(path.rmse[0])
    assert bool((path.rmse[path.anchors].diff() < 0.02).all())
    assert path.own_change is not None
    assert path.own_change < 1e-5
    assert path.length >= float((x - path.end).square().mean().sqrt())
    assert torch.allclose(path.at([0.0, 1.0]), torch.stack([x, path.end]), atol=1e-12)
    along = path.at(torch.linspace(0, 1, 7).tolist())
    steps = along.diff(dim=0).flatten(1).square().mean(1).sqrt()
    assert bool((steps <= path.length / 6 * (1 + 1e-6)).all())


def test_a_smooth_network_stops_where_the_oracle_finds_the_nearest_point() -> None:
    net, (x, target) = network(smooth=True), images()
    path = bs.level_set(net, x, target, tolerance=1e-5)
    assert "stationary" in path.reason
    assert path.tangential < 2e-3
    module = net.double
    with torch.no_grad():
        wanted = module(x[None])[0].numpy()

    def outputs(z: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = module(torch.from_numpy(z).reshape(1, *SHAPE))[0].numpy() - wanted
        return found

    solved = scipy.optimize.minimize(
        lambda z: ((z - target.numpy().ravel()) ** 2).sum(),
        path.end.numpy().ravel(),
        jac=lambda z: 2 * (z - target.numpy().ravel()),
        bounds=[(0, 1)] * 36,
        constraints={"type": "eq", "fun": outputs},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 300},
    )
    nearest = np.sqrt(((solved.x - target.numpy().ravel()) ** 2).mean())
    assert float(path.rmse[-1]) == pytest.approx(nearest, rel=1e-3)


def test_a_target_on_the_level_set_is_reached() -> None:
    net, (x, target) = network(), images()
    end = bs.level_set(net, x, target, tolerance=1e-3, steps=20).end
    path = bs.level_set(net, x, end, tolerance=1e-3)
    assert "reaches the target" in path.reason
    assert float(path.rmse[-1]) < 1e-3


def test_outputs_that_depend_on_one_another_and_values_that_a_layer_reads() -> None:
    x, target = images()
    assert bs.level_set(network(softmax=True), x, target, tolerance=1e-3, steps=20).level
    path = bs.level_set(network(), x, target, layer="3", tolerance=1e-3, steps=20)
    assert path.level
    assert path.outputs.shape[1] == 24
    assert path.own_change is None


def test_a_level_set_of_one_point_is_said_to_be_one() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = bs.load(nn.Sequential(nn.Flatten(), nn.Linear(36, 40), nn.Tanh()).eval(), SHAPE)
    path = bs.level_set(net, *images())
    assert len(path.vertices) == 1
    assert "stationary" in path.reason
    assert path.tangential < 1e-6
    assert path.max_change <= 1e-6


def test_what_is_refused() -> None:
    net, (x, target) = network(), images()
    with pytest.raises(bs.BlindspaceError, match="one image"):
        bs.level_set(net, images(), target)
    with pytest.raises(bs.BlindspaceError, match="tolerance"):
        bs.level_set(net, x, target, tolerance=0.0)
    with pytest.raises(bs.BlindspaceError, match=r"outside \[0, 1\]"):
        bs.level_set(net, x + 1, target)
    with pytest.raises(bs.BlindspaceError, match="nowhere"):
        bs.level_set(net, x, target, layer="nowhere")
    with pytest.raises(bs.BlindspaceError, match="one image"):
        bs.local(net, images())
    with pytest.raises(bs.BlindspaceError, match="k must be at most"):
        bs.local(net, x, k=37)


def test_an_onnx_network_leads_where_the_same_network_in_torch_does(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    torch_network = network()
    linear = [layer for layer in torch_network.module.modules() if isinstance(layer, nn.Linear)]
    nodes, value = [onnx.helper.make_node("Flatten", ["x"], ["v0"])], "v0"
    weights = []
    for i, layer in enumerate(linear):
        for name, parameter in (("w", layer.weight), ("b", layer.bias)):
            weights.append(onnx.numpy_helper.from_array(parameter.detach().float().numpy(), f"{name}{i}"))
        nodes.append(onnx.helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"h{i}"], transB=1))
        value = f"h{i}"
        if i + 1 < len(linear):
            nodes.append(onnx.helper.make_node("Relu", [value], [f"r{i}"]))
            value = f"r{i}"
    x, y = (onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", ["n", *SHAPE]), (value, None)))
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], weights)
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 22)])
    onnx.save(model, tmp_path / "m.onnx")
    runtime = bs.load(str(tmp_path / "m.onnx"))
    start, goal = images()
    found, slow = bs.local(runtime, start, k=3), bs.local(torch_network, start, k=3)
    assert found.nullity == slow.nullity
    assert found.most.sigma.tolist() == pytest.approx(slow.most.sigma.tolist(), rel=1e-6)
    path = bs.level_set(runtime, start, goal, steps=20)
    beside = bs.level_set(torch_network, start, goal, steps=20)
    assert path.level == beside.level
    assert float(path.rmse[-1]) == pytest.approx(float(beside.rmse[-1]), rel=0.02)
    assert path.own_change is not None  # as the runtime computes it
    exact = torch_network.outputs(path.vertices, torch.float64) - torch_network.outputs(start[None], torch.float64)
    assert float(exact.abs().max()) <= 2 * float(path.changes.max()) * float(path.outputs[0].abs().max())
