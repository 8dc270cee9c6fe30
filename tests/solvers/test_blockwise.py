"""Sums, stacks and compositions that fall into small blocks, beside the dense solver."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from blindspace.errors import UnsupportedLayerError
from blindspace.maps import Convolution, Dense, Gather, LinearMap, Rearrange, Summed, VStack, compose
from blindspace.solvers import BlockwiseSolver, choose
from blindspace.solvers.projectors.dense import DenseSolver
from oracle import Reference, check_figures


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def colours(side: int) -> LinearMap:
    """Two sums of three channels, written channel by channel."""
    plane = side * side
    parts = []
    for channel, weights in enumerate(random(3, 2)):
        read = Gather((3, side, side), (1, side, side), channel * plane + torch.arange(plane))
        parts.append(
            compose(read, Convolution(weights.reshape(2, 1, 1, 1), (1, side, side), (1, 1), [(0, 0)] * 2, (1, 1)))
        )
    return Summed(parts)


def patches(side: int) -> LinearMap:
    """A matrix over 4×4 patches, the first row of pixels left out."""
    cells = side // 4
    view = (1, cells, 4, cells, 4)
    cut = Gather((1, side + 1, side), (1, side, side), side + torch.arange(side * side))
    cells_first = Rearrange((1, side, side), (cells * cells, 16), view, (0, 1, 3, 2, 4))
    return compose(cut, cells_first, Dense(random(5, 16), (cells * cells,)))


def stacked(side: int) -> LinearMap:
    """Differences within pairs of values, twice, so that rows depend on one another; one value is in no pair."""
    pairs = Gather((2 * side + 1,), (side, 2), torch.arange(2 * side))
    once = compose(pairs, Dense(torch.tensor([[1.0, -1.0]]), (side,)))
    return VStack([once, compose(once, Dense(torch.tensor([[2.0]]), (side,)))])


CASES = {"colours": colours(12), "patches": patches(12), "stacked": stacked(30)}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_whole_matrix(name: str) -> None:
    operator = CASES[name]
    solver, dense = BlockwiseSolver(operator), DenseSolver(operator)
    x = random(3, *operator.in_shape)
    torch.testing.assert_close(solver.project(x), dense.project(x))
    assert solver.project(x.float()).dtype == torch.float32
    assert solver.dim == dense.dim
    assert solver.certificate.kind == ("numerical" if name == "stacked" else "exact")
    check_figures(solver.certificate, Reference(operator.to_dense().numpy()))
    assert len(solver.copies) == 1
    b = random(2, *operator.out_shape)
    if name == "stacked":
        with pytest.raises(UnsupportedLayerError, match="singular"):
            solver.gram_inverse(b)
    else:
        torch.testing.assert_close(operator._forward(operator._adjoint(solver.gram_inverse(b))), b)


def test_large_maps_are_taken_apart_without_being_asked() -> None:
    solver = choose(colours(60))
    assert (solver.name, solver.dim, solver.reason) == (
        "blockwise",
        3600,
        "it falls into 3600 blocks, 1 of them different",
    )


def test_blocks_of_several_sizes_and_values() -> None:
    matrix = torch.block_diag(random(2, 3), random(1, 1), random(2, 3, seed=1), random(2, 3), torch.zeros(1, 2))
    operator = compose(Dense(matrix[:, torch.randperm(12, generator=torch.Generator().manual_seed(0))]))
    solver = BlockwiseSolver(VStack([operator, operator]))
    assert sorted(len(each.rows) for each in solver.copies) in ([1, 1, 1, 1], [1, 1, 2])
    x = random(2, 12)
    torch.testing.assert_close(solver.project(x), DenseSolver(operator).project(x))


def test_what_does_not_fall_apart() -> None:
    conv = Convolution(random(4, 3, 3, 3), (3, 40, 40), (2, 2), [(1, 1)] * 2, (1, 1))
    with pytest.raises(UnsupportedLayerError, match="does not fall into small blocks"):
        BlockwiseSolver(VStack([conv, conv]))
