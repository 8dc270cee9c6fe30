"""Extreme eigenvalues by the Lanczos iteration, beside those of the whole matrix."""

from __future__ import annotations

import pytest
import torch

from blindspace.maps import Convolution
from blindspace.maps.lanczos import extreme_ritz


@pytest.mark.parametrize("smallest", [False, True])
def test_both_ends_of_a_spectrum_are_found(smallest: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(60, 90, generator=generator, dtype=torch.float64)
    matrix = rows @ rows.T
    values, vectors = torch.linalg.eigh(matrix)
    start, basis = torch.randn(60, generator=generator, dtype=torch.float64), torch.empty(300, 60, dtype=torch.float64)
    found, v = extreme_ritz(lambda v: matrix @ v, start, 300, lambda value, rest: rest < 1e-9 * value, smallest, basis)
    end = 0 if smallest else -1
    assert found == pytest.approx(float(values[end]), rel=1e-12)
    assert v is not None
    assert abs(float(v @ vectors[:, end])) / float(v.norm()) == pytest.approx(1, abs=1e-12)
    alone, none = extreme_ritz(lambda v: matrix @ v, start, 300, lambda value, rest: rest < 1e-9 * value, smallest)
    assert (alone, none) == (found, None)


def test_the_iteration_ends_where_the_krylov_space_does() -> None:
    assert extreme_ritz(lambda v: 0 * v, torch.ones(4), 10, lambda value, rest: False)[0] == 0
    basis = torch.empty(10, 4)
    found, v = extreme_ritz(lambda v: 3 * v, torch.ones(4), 10, lambda value, rest: False, basis=basis)
    assert found == 3
    assert v is not None
    assert torch.equal(v.abs(), torch.full((4,), 0.5))


@pytest.mark.parametrize(("least", "products"), [(1, 5), (12, 15), (50, 20)])
def test_no_fewer_products_than_are_asked_for(least: int, products: int) -> None:
    scale, taken = torch.arange(1.0, 41.0), 0

    def product(v: torch.Tensor) -> torch.Tensor:
        nonlocal taken
        taken += 1
        return scale * v

    extreme_ritz(product, torch.ones(40), 20, lambda value, rest: True, least=least)
    assert taken == products


def test_the_norm_of_a_large_map_has_three_digits() -> None:
    """A convolution of one tap, whose norm is that of its kernels."""
    weight = torch.randn(7, 5, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norm = float(torch.linalg.svdvals(weight[:, :, 0, 0])[0])
    for kernels in (weight, weight.transpose(0, 1)):
        large = Convolution(kernels, (kernels.shape[1], 80, 80), (1, 1), ((0, 0), (0, 0)), (1, 1))
        assert 0.999 * norm < large.norm() < (1 + 1e-12) * norm
    assert Convolution(0 * weight, (5, 80, 80), (1, 1), ((0, 0), (0, 0)), (1, 1)).norm() == 0
