"""Gathering maps: matrix, coisometry and nullspace of any pattern of positions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blindspace.errors import ShapeError
from blindspace.maps import Gather, Rearrange, gather
from blindspace.maps.properties import is_coisometric
from blindspace.solvers import choose
from blindspace.solvers.projectors.dense import DenseSolver
from blindspace.testing import check_map


@given(st.data())
@settings(max_examples=60)
def test_a_gathering_map_has_the_matrix_of_its_positions(data: st.DataObject) -> None:
    n, m = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    read = torch.tensor(data.draw(st.lists(st.integers(-1, n - 1), min_size=m, max_size=m)))
    operator = Gather((n,), (m,), read)
    expected = torch.zeros(m, n, dtype=torch.float64)
    for row, position in enumerate(read.tolist()):
        if position >= 0:
            expected[row, position] = 1
    check_map(operator, tolerance=1e-12)
    assert torch.equal(operator.to_dense(), expected)
    assert is_coisometric(operator) == torch.equal(expected @ expected.T, torch.eye(m, dtype=torch.float64))
    space = choose(operator)
    assert space.dim == n - int(torch.linalg.matrix_rank(expected))
    x = torch.randn(2, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    torch.testing.assert_close(space.project(x), DenseSolver(operator).project(x), rtol=0, atol=1e-12)


def test_the_simplest_form_and_what_is_refused() -> None:
    assert isinstance(gather((4,), (2, 2), torch.arange(4)), Rearrange)
    for read in (torch.tensor([4]), torch.tensor([-2]), torch.tensor([0, 1])):
        with pytest.raises(ShapeError, match="positions"):
            Gather((4,), (1,), read)
