"""Local analysis beside the dense Jacobian of torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.invariances import _local
from blindspace.solvers.projectors.krylov import NotConvergedError

SHAPE = (2, 5, 5)
X = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def network(*widths: int) -> bs.Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in zip((50, *widths), widths, strict=False):
            layers += [nn.Linear(inputs, outputs), nn.Tanh()]
        return bs.load(nn.Sequential(*layers[:-1]).eval(), SHAPE)


def oracle(net: bs.Network) -> Tensor:
    found: Tensor = torch.autograd.functional.jacobian(lambda x: net.double(x[None])[0], X)
    return found.flatten(1)


@pytest.mark.parametrize("widths", [(30, 6), (30, 80), (50,)], ids=["few outputs", "rank 30 of 80", "square"])
@pytest.mark.parametrize("formed", [True, False], ids=["formed", "iterated"])
def test_both_ends_are_those_of_the_dense_jacobian(
    widths: tuple[int, ...], formed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not formed:
        monkeypatch.setattr(_local, "FORMED", 0)
    net = network(*widths)
    matrix = oracle(net)
    sigma = torch.linalg.svdvals(matrix)
    rank = int((sigma > 1e-10 * sigma[0]).sum())
    found = bs.local(net, X, k=4)
    padded = torch.cat([sigma, sigma.new_zeros(50 - len(sigma))]) if len(sigma) < 50 else sigma
    assert torch.allclose(found.most.sigma, sigma[:4], rtol=1e-8)
    assert torch.allclose(found.least.sigma, padded.flip(0)[:4], atol=2e-4 * float(sigma[0]))
    for end in (found.least, found.most):
        rows = end.directions.flatten(1)
        assert torch.allclose(rows @ rows.T, torch.eye(4).double(), atol=1e-8)
        assert torch.allclose((rows @ matrix.T).norm(dim=1), end.sigma, atol=1e-8 * float(sigma[0]))
        assert float(end.residual.max()) <= 1e-8
        assert bool(((sigma[:, None] - end.sigma).abs().amin(0) <= end.bound + 1e-9).all() or rank < 50)
    if formed:
        assert found.nullity == 50 - rank
        assert found.space is not None
        assert found.space.dim == 50 - rank
        inside = found.space.sample(3).flatten(1)
        assert float((inside @ matrix.T).norm()) <= 1e-10 * float(sigma[0] * inside.norm())
        assert found.above == pytest.approx(float(sigma[rank - 1] / sigma[0]))
        assert found.products == min(len(matrix), 50) + 2 * 2 * 4
    else:
        assert found.nullity is None


def test_an_iteration_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_local, "FORMED", 0)
    monkeypatch.setattr(_local, "KRYLOV", 12)
    with pytest.raises(NotConvergedError, match="with 12 vectors"):
        bs.local(network(60), X, k=4)


def test_a_jacobian_of_zero_is_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(50, 4), nn.ReLU(), nn.Linear(4, 2))
    module[1].bias.data.fill_(-100.0)  # type: ignore[operator]
    with pytest.raises(bs.BlindspaceError, match="the Jacobian is 0"):
        bs.local(bs.load(module.eval(), SHAPE), X)
