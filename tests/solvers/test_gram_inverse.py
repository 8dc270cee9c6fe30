"""The inverse of A Aᵀ by the solvers of patches and tokens."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blindspace.errors import UnsupportedLayerError
from blindspace.maps import Convolution, from_module
from blindspace.solvers.projectors.patchwise import PatchwiseSolver, TokenSolver


@pytest.mark.parametrize(("groups", "padding", "kernels"), [(1, 0, 5), (2, 1, 4), (1, 1, 3)])
def test_patchwise_inverse_of_the_gram_matrix(groups: int, padding: int, kernels: int) -> None:
    torch.manual_seed(0)
    operator = from_module(nn.Conv2d(4, kernels, 3, (3, 4), padding, groups=groups), (4, 9, 11))
    assert isinstance(operator, Convolution)
    b = torch.randn(2, *operator.out_shape, dtype=torch.float64)
    a = operator.to_dense()
    expected = torch.linalg.solve(a @ a.T, b.flatten(1).T).T.reshape(b.shape)
    assert torch.allclose(PatchwiseSolver(operator).gram_inverse(b), expected, atol=1e-12)


def test_gram_inverse_of_tokens_and_of_a_singular_one() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(7, 4)
    operator = from_module(linear, (3, 7))
    b = torch.randn(2, 3, 4, dtype=torch.float64)
    a = operator.to_dense()
    expected = torch.linalg.solve(a @ a.T, b.flatten(1).T).T.reshape(b.shape)
    assert torch.allclose(TokenSolver(operator).gram_inverse(b), expected, atol=1e-12)  # type: ignore[arg-type]
    with torch.no_grad():
        linear.weight[1] = linear.weight[0]
    with pytest.raises(UnsupportedLayerError, match="the rank is 9 of 12"):
        TokenSolver(from_module(linear, (3, 7))).gram_inverse(b)  # type: ignore[arg-type]
