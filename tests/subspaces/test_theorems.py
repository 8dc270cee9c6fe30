"""One test a theorem, remark, corollary and lemma of the paper, on random, structured and trained layers."""

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.maps import Convolution, LinearMap, from_module
from blindspace.perturbations import contour_grid, decompose, family, relation, smallest
from blindspace.subspaces import Subspace


def _random() -> LinearMap:
    torch.manual_seed(0)
    return from_module(nn.Conv2d(3, 4, 5, 2, 2), (3, 12, 10))


def _structured() -> LinearMap:
    """Luminance-only kernels: the formula's dimension is wrong for them."""
    torch.manual_seed(1)
    luminance = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
    weight = torch.randn(5, 1, 3, 3, dtype=torch.float64) * luminance
    return Convolution(weight, (3, 10, 10), (2, 2), ((1, 1), (1, 1)), (1, 1))


def _trained() -> LinearMap:
    return from_module(bs.load("mnist-mlp").module[2], (784,))  # type: ignore[index]


@pytest.fixture(params=[_random, _structured, _trained], ids=["random", "structured", "trained"], scope="module")
def layer(request: pytest.FixtureRequest) -> LinearMap:
    operator: LinearMap = request.param()
    return operator


@pytest.fixture(scope="module")
def space(layer: LinearMap) -> Subspace:
    return bs.nullspace(layer)


@pytest.fixture(scope="module")
def delta(layer: LinearMap) -> Tensor:
    return torch.randn(1, *layer.in_shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def _size(v: Tensor) -> float:
    return float(v.norm())


def close(a: Tensor, b: Tensor, layer: LinearMap, scale: float = 1.0) -> bool:
    """Equal to rounding, relative to what the layer could do to a perturbation of that scale."""
    return bool(((a - b).abs() <= 1e-12 * layer.norm() * scale).all())


def test_theorem_1_dimension_is_inputs_less_rank(layer: LinearMap, space: Subspace) -> None:
    rank = int(torch.linalg.matrix_rank(layer.to_dense()))
    assert space.dim == layer.in_dim - rank
    assert space.basis().shape[0] == space.dim
    assert close(layer.forward(space.basis()), torch.zeros(()), layer)


def test_remark_1_independent_rows_give_n_less_m() -> None:
    layer = _random()
    assert layer.in_dim > layer.out_dim
    assert bs.nullspace(layer).dim == layer.in_dim - layer.out_dim


def test_remark_2_independent_columns_give_zero() -> None:
    torch.manual_seed(0)
    space = bs.nullspace(nn.Linear(20, 30), (20,))
    assert space.dim == 0
    assert not space.project(torch.randn(3, 20)).any()


def test_theorem_2_any_harmless_part_may_be_taken_out(layer: LinearMap, space: Subspace, delta: Tensor) -> None:
    for size in (0.1, 10.0, 1000.0):
        harmless = bs.harmless_noise(space, 1, size, generator=torch.Generator().manual_seed(1))
        parts = decompose(space, delta, harmless)
        assert torch.equal(parts.harmless + (delta - parts.harmless), parts.harmless + parts.harmful)
        assert close(layer.forward(parts.harmful), layer.forward(delta), layer, _size(parts.harmful))
    with pytest.raises(bs.BlindspaceError, match="not harmless"):
        decompose(space, delta, delta)


def test_theorem_3_orthogonal_decomposition_is_unique(layer: LinearMap, space: Subspace, delta: Tensor) -> None:
    split = space.split(delta)
    assert close(layer.forward(split.parallel), torch.zeros(()), layer, _size(delta))
    assert close(layer.forward(split.orthogonal), layer.forward(delta), layer, _size(delta))
    assert abs(float((split.parallel * split.orthogonal).sum())) <= 1e-12 * _size(delta) ** 2
    # Uniqueness: any other orthonormal basis U of the same space makes the same P = U (UᵀU)⁻¹ Uᵀ.
    turn = torch.linalg.qr(torch.randn(space.dim, space.dim, dtype=torch.float64)).Q
    other = turn @ space.basis().flatten(1)
    parallel = (delta.flatten(1) @ other.T @ other).reshape(delta.shape)
    torch.testing.assert_close(parallel, split.parallel, rtol=0, atol=1e-12 * _size(delta))
    assert split.residual <= 1e-15


def test_lemma_3_harmless_perturbations_give_zero(layer: LinearMap, space: Subspace) -> None:
    noise = bs.harmless_noise(space, 4, 100.0, generator=torch.Generator().manual_seed(2))
    assert bool(space.contains(noise).all())
    assert close(layer.forward(noise), torch.zeros(()), layer, _size(noise))


def test_lemma_2_least_harmful_is_the_smallest_eigenvector() -> None:
    torch.manual_seed(3)
    layer = from_module(nn.Conv2d(2, 8, 3, 1, 1), (2, 8, 8))
    assert bs.nullspace(layer).dim == 0
    direction, sigma = bs.least_harmful(layer)
    values, vectors = torch.linalg.eigh(layer.to_dense().T @ layer.to_dense())
    assert abs(float(sigma) - float(values[0].sqrt())) <= 1e-12 * layer.norm()
    assert abs(abs(float(direction.flatten() @ vectors[:, 0])) - 1) <= 1e-9
    others = torch.randn(200, *layer.in_shape, dtype=torch.float64)
    effects = layer.forward(others).flatten(1).norm(dim=1) / others.flatten(1).norm(dim=1)
    assert float(effects.min()) > float(sigma)


def test_lemma_4_without_nullspace_no_two_perturbations_agree() -> None:
    torch.manual_seed(4)
    layer = from_module(nn.Linear(20, 30), (20,))
    space = bs.nullspace(layer)
    assert space.dim == 0
    a, b = torch.randn(2, 1, 20, dtype=torch.float64)
    assert not relation(space, a, b).same
    sigma = bs.least_harmful(layer).sigma
    assert _size(layer.forward(a) - layer.forward(b)) >= float(sigma) * _size(a - b) * (1 - 1e-9)


def test_theorem_4_one_orthogonal_component_one_effect(layer: LinearMap, space: Subspace, delta: Tensor) -> None:
    members = family(space, delta, 5, size=50.0, generator=torch.Generator().manual_seed(3))
    assert close(layer.forward(members), layer.forward(delta), layer, _size(members))
    assert float((members[0] - members[1]).abs().max()) > 1
    assert relation(space, members[:1], delta).same


def test_lemma_5_proportional_components_proportional_effects(layer: LinearMap, space: Subspace, delta: Tensor) -> None:
    noise = bs.harmless_noise(space, 1, 3.0, generator=torch.Generator().manual_seed(4))
    scaled = -2.5 * space.reject(delta) + noise
    found = relation(space, scaled, delta)
    assert found.proportional
    assert not found.same
    assert found.factor == pytest.approx(-2.5, rel=1e-9)
    assert close(layer.forward(scaled), -2.5 * layer.forward(delta), layer, _size(scaled))


def test_lemma_6_other_directions_other_effects(layer: LinearMap, space: Subspace, delta: Tensor) -> None:
    other = torch.randn(delta.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    found = relation(space, delta, other)
    assert not found.same
    assert not found.proportional
    assert found.factor is None
    assert _size(layer.forward(delta) - layer.forward(other)) > 1e-6 * layer.norm()


def test_appendix_d_orthogonal_component_is_the_smallest(layer: LinearMap, space: Subspace, delta: Tensor) -> None:
    least = smallest(space, delta)
    assert close(layer.forward(least), layer.forward(delta), layer, _size(delta))
    for member in family(space, delta, 20, size=0.01, generator=torch.Generator().manual_seed(7)):
        assert _size(member) > _size(least)
    # The minimum-norm solution of A δ' = A δ, found another way.
    effect = layer.forward(delta).reshape(-1, 1)
    reference = torch.linalg.lstsq(layer.to_dense(), effect, driver="gelsd").solution
    torch.testing.assert_close(least.flatten(), reference.flatten(), rtol=0, atol=1e-9 * _size(delta))


def test_corollary_1_convolutions() -> None:
    torch.manual_seed(0)
    for channels in (1, 3, 6, 12, 14):
        conv = nn.Conv2d(3, channels, 3, 2, 1).double()
        conv.weight.data = torch.randn_like(conv.weight)
        formula = max(3 * 8 * 8 - channels * 4 * 4, 0)
        true = 3 * 8 * 8 - int(torch.linalg.matrix_rank(from_module(conv, (3, 8, 8)).to_dense()))
        dim = bs.nullspace(conv, (3, 8, 8)).dim
        assert dim == true
        if channels < 12:  # at 12, as many as n: borders may cost rank, and the formula is no certificate
            assert dim == formula


def test_corollary_2_fully_connected() -> None:
    torch.manual_seed(0)
    for width in (10, 39, 40, 41, 60):
        assert bs.nullspace(nn.Linear(40, width), (40,)).dim == max(40 - width, 0)


def test_appendix_e_matrix_is_the_convolution() -> None:
    conv = nn.Conv2d(2, 3, 3, 2, 1, bias=False).double()
    layer = from_module(conv, (2, 7, 6))
    x = torch.randn(1, 2, 7, 6, dtype=torch.float64)
    expected = conv(x).flatten().detach()
    torch.testing.assert_close(layer.to_dense() @ x.flatten(), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.from_numpy(layer.to_scipy() @ x.flatten().numpy()), expected, rtol=0, atol=1e-13)


def test_figure_4_rows_share_their_effect(layer: LinearMap, space: Subspace, delta: Tensor) -> None:
    alpha = torch.tensor([0.0, 1.0, 2.0, -4.0])
    grid = contour_grid(space, layer, delta, alpha, torch.tensor([-100.0, 0.0, 100.0]))
    effects = grid.effects
    assert effects.shape == (4, 3)
    assert float((effects - effects[:, 1:2]).abs().max()) <= 1e-12 * 100 * layer.norm()
    torch.testing.assert_close(effects[:, 1], alpha.abs().double() * effects[1, 1], rtol=1e-10, atol=1e-12)
