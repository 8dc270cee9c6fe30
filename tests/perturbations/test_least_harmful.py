"""The least harmful directions against the dense SVD, and at sizes where there is none."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch import nn

import blindspace as bs
from blindspace.errors import TooLargeError, ValueRangeError
from blindspace.maps import LinearMap, compose, from_module
from blindspace.maps.operations import resize
from blindspace.solvers.projectors.krylov import NotConvergedError
from blindspace.solvers.spectra.smallest_triplets import eigen_iteration, inverses, smallest_triplets

# Above the limit of LAPACK's SVD, each by another inverse.
CASES: dict[str, Callable[[], LinearMap]] = {
    "linear": lambda: from_module(nn.Linear(64, 128), (64,)),
    "small convolution": lambda: from_module(nn.Conv2d(3, 16, 3, 1, 1), (3, 8, 8)),
    "stem": lambda: from_module(nn.Conv2d(3, 64, 7, 2, 3), (3, 20, 20)),
    "groups": lambda: from_module(nn.Conv2d(4, 32, 3, 1, 1, groups=2), (4, 18, 18)),
    "circular": lambda: from_module(nn.Conv2d(3, 8, 3, 1, 1, padding_mode="circular"), (3, 20, 20)),
    "tokens": lambda: from_module(nn.Linear(64, 96), (20, 64)),
    "wide linear": lambda: from_module(nn.Linear(1100, 1300), (1100,)),
    "adjoint": lambda: from_module(nn.Conv2d(12, 2, 3, 1, 1), (12, 24, 24)).T,
    "enlarging resize": lambda: resize((3, 19, 19), (25, 23)),
    "composed": lambda: compose(resize((3, 20, 20), (24, 24)), from_module(nn.Conv2d(3, 8, 3, 1, 1), (3, 24, 24))),
}


def made(name: str) -> LinearMap:
    torch.manual_seed(sorted(CASES).index(name))
    return CASES[name]()


@lru_cache(maxsize=1)
def dense_svd(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Singular values and right singular vectors by LAPACK, for one name after the other."""
    _, sigma, vt = torch.linalg.svd(made(name).to_dense(limit=None), full_matrices=False)
    return sigma, vt


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("name", CASES)
def test_against_the_dense_svd(name: str, k: int) -> None:
    operator = made(name)
    found = bs.least_harmful(operator, k=k)
    sigma, vt = dense_svd(name)
    torch.testing.assert_close(found.sigma, sigma.flip(0)[:k], rtol=1e-10, atol=1e-12)
    flat = found.directions.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(k, dtype=torch.float64), rtol=0, atol=1e-12)
    assert float(found.relative_residual.max()) <= 1e-10
    # All of each direction lies among singular vectors of nearly its σ.
    near = (sigma[:, None] - found.sigma).abs() <= 1e-6 * sigma[0]
    inside = ((vt @ flat.T) ** 2 * near).sum(0)
    torch.testing.assert_close(inside, torch.ones_like(inside), rtol=0, atol=1e-6)


@pytest.mark.parametrize("inverse", ["embedded", "cholesky", "fourier"])
def test_every_inverse_finds_the_same(inverse: str) -> None:
    operator = made("stem")
    found = eigen_iteration(
        operator, 3, dict(zip(["embedded", "cholesky", "fourier"], inverses(operator), strict=True))[inverse]
    )
    expected = torch.linalg.svdvals(operator.to_dense()).flip(0)[:3]
    torch.testing.assert_close(found.sigma, expected, rtol=1e-10, atol=0)


def test_harmless_directions_come_first() -> None:
    torch.manual_seed(0)
    module, shape = nn.Conv2d(3, 2, 3, 2, 1), (3, 24, 24)
    found = bs.least_harmful(module, shape, 3)
    assert bool(bs.nullspace(module, shape).contains(found.directions, 1e-12).all())
    assert float(found.sigma.max()) <= 1e-12


def test_beyond_the_harmless_ones_come_the_least_harmful() -> None:
    """More are asked for than the nullspace has: three free directions, then the smallest σ above 0."""
    torch.manual_seed(0)
    weight = torch.randn(8, 3, 3, 3)
    weight[:, 2] = weight[:, 0]  # two channels are seen as their sum: their difference is not seen at all
    module = nn.Conv2d(3, 8, 3, 1, 1)
    module.weight = nn.Parameter(weight)
    operator = from_module(module, (3, 20, 20))
    k = 404
    sigma = torch.linalg.svdvals(operator.to_dense(limit=None)).flip(0)[:k]
    assert int((sigma < 1e-12).sum()) == 400
    again = smallest_triplets(operator, 4, bs.nullspace(operator).project(_basis(operator)))
    torch.testing.assert_close(again.sigma, sigma[400:], rtol=1e-9, atol=0)
    torch.testing.assert_close(bs.least_harmful(operator, k=k).sigma, sigma, rtol=1e-9, atol=1e-12)


def _basis(operator: LinearMap) -> torch.Tensor:
    null = torch.zeros(400, 3, 400, dtype=torch.float64)
    at = torch.arange(400)
    null[at, 0, at], null[at, 2, at] = 0.5**0.5, -(0.5**0.5)
    return null.reshape(400, *operator.in_shape)


def test_a_large_stem_against_lanczos() -> None:
    """σ by ARPACK, on A Aᵀ shifted upside down, as a second method at a size that no SVD serves."""
    torch.manual_seed(0)
    operator = from_module(nn.Conv2d(3, 64, 7, 2, 3), (3, 64, 64))
    found = bs.least_harmful(operator)
    top, n = operator.norm() ** 2 * 1.001, operator.in_dim

    def flipped(v: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(v.copy()).reshape(1, *operator.in_shape)
        left: np.ndarray = (top * x - operator.adjoint(operator.forward(x))).reshape(-1).numpy()
        return left

    upside_down = scipy.sparse.linalg.LinearOperator((n, n), matvec=flipped, dtype="float64")
    largest = scipy.sparse.linalg.eigsh(upside_down, 1, ncv=60, tol=1e-9, return_eigenvectors=False)[0]
    assert float(found.sigma[0]) == pytest.approx((top - float(largest)) ** 0.5, rel=1e-7)
    assert float(found.relative_residual[0]) <= 1e-10


def test_a_residual_that_is_not_reached_is_reported() -> None:
    with pytest.raises(NotConvergedError, match=r"after 2 steps .* take fewer"):
        smallest_triplets(made("stem"), 1, limit=2)


def test_least_harmful_refuses() -> None:
    with pytest.raises(ValueRangeError, match="between 1 and"):
        bs.least_harmful(nn.Linear(4, 9), (4,), 5)
    with pytest.raises(TooLargeError, match="GiB"):
        bs.least_harmful(nn.Conv2d(3, 64, 7, 2, 3), (3, 224, 224), 2000)
