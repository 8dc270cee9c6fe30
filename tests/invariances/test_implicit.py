"""Equations by products alone beside the Jacobian as a matrix, products counted; a bound by linear programming."""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.invariances.box_bound import norm_bound
from blindspace.invariances.demands import Demands
from blindspace.invariances.implicit import Implicit, Spending
from blindspace.networks import Network


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(3)
    layers = [nn.Conv2d(2, 6, 3, stride=2), nn.Tanh(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)]
    return bs.load(nn.Sequential(*layers).eval(), input_shape=(2, 9, 9))


def images(count: int) -> Tensor:
    return 0.1 + 0.8 * torch.rand(count, 2, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def test_products_are_those_of_the_jacobian_and_are_counted(network: Network) -> None:
    x, demands = images(3), Demands(network, "2", 0)
    scale = demands.scale(demands(x))
    assert demands.operator is not None
    weight = demands.operator.to_dense().double()
    dense = [
        scale[i][:, None] * (weight @ torch.func.jacrev(demands._values._flat)(x[i : i + 1]).detach().reshape(-1, 162))
        for i in range(3)
    ]
    beside = torch.linalg.qr(torch.randn(162, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0].T
    spent = torch.zeros(5, dtype=torch.int64)
    norms: dict[int, float] = {}
    made = Implicit(demands, x, scale, beside, torch.tensor([4, 0, 2]), Spending(spent, 10**6), norms)
    assert spent.tolist() == [6, 0, 6, 0, 6]  # of the power method
    part = made.at(torch.tensor([2, 1]))
    v = torch.randn(2, 162, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    w = torch.randn(2, demands.dim + 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for row, (i, number) in enumerate(((2, 2), (1, 0))):
        whole = torch.cat([dense[i], norms[number] * beside])
        assert norms[number] == pytest.approx(float(torch.linalg.matrix_norm(dense[i], 2)), rel=0.3)
        torch.testing.assert_close(part.jacobian.forward(v)[row], whole @ v[row])
        torch.testing.assert_close(part.jacobian.adjoint(w)[row], w[row] @ whole)
    assert spent.tolist() == [10, 0, 10, 0, 6]
    left = made.along(v.repeat(2, 1)[:3])
    for i in range(3):
        whole = torch.cat([dense[i], norms[[4, 0, 2][i]] * beside])
        assert float((whole @ left[i]).norm()) <= 3e-3 * float((whole @ v.repeat(2, 1)[i]).norm())
        exact = v.repeat(2, 1)[i] - torch.linalg.pinv(whole, rtol=1e-10) @ (whole @ v.repeat(2, 1)[i])
        torch.testing.assert_close(left[i], exact, atol=0.05 * float(v.norm()), rtol=0)


def test_no_more_products_than_are_allowed(network: Network) -> None:
    found = bs.through(network, "2").find(images(2), 0.2, beyond_front=True, largest=1, products=20)
    assert all(count <= 80 for count in found.products)
    assert all(why for why in found.reasons)
    assert max(found.kept) <= 1e-9


@pytest.mark.parametrize("layer", ["2", "5", "outputs"])
def test_by_products_as_by_rows(network: Network, layer: str) -> None:
    x = images(3)
    tool = bs.through(network, layer)
    formed, by_products = (tool.find(x, 0.15, beyond_front=True, largest=largest) for largest in (4096, 1))
    assert formed.reasons == by_products.reasons == ("", "", "")
    for found in (formed, by_products):
        assert min(found.beyond) >= 0.15
        assert max(found.kept) <= 1e-9
        assert torch.equal(found.images, found.images.clamp(0, 1))
    assert max(by_products.output_change) <= 1e-8


def test_what_products_show_where_the_jacobian_may_have_full_column_rank() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 40), nn.Softplus(), nn.Linear(40, 40))
    found = bs.through(bs.load(module.eval(), input_shape=(1, 4, 4)), "3").find(
        torch.full((1, 1, 4, 4), 0.5), largest=1, products=3000
    )
    assert found.size == (0.0,)
    assert "the Jacobian" in found.reasons[0]


def test_a_bound_by_linear_programme_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    loose = 0
    for _ in range(20):
        n, k = 14, 9
        rows = torch.linalg.qr(torch.randn(n, k, generator=generator, dtype=torch.float64))[0].T.contiguous()
        low, high = -torch.rand(2, n, generator=generator, dtype=torch.float64)
        high = -high
        low[:9], high[9:11] = 0, 0
        bound = norm_bound(rows, low, high)
        limits = np.stack([low.numpy(), high.numpy()], 1)
        for _vertex in range(10):  # vertices of the polytope in random directions
            c = torch.randn(n, generator=generator, dtype=torch.float64).numpy()
            vertex = scipy.optimize.linprog(c, A_eq=rows.numpy(), b_eq=np.zeros(k), bounds=limits).x
            assert np.linalg.norm(vertex) <= bound + 1e-6
            loose += int(np.linalg.norm(vertex) > 1e-3)
    assert loose  # or the test shows nothing
    assert norm_bound(rows[:2], torch.full((n,), -1.0), torch.full((n,), 1.0)) == float("inf")
