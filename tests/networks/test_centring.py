"""What normalisations and softmax read is centred: the front grows by it where nothing else reads the same value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import TooLargeError
from blindspace.maps import Centring, Convolution, Dense, Diagonal, Gather, Kronecker, Padding, Rearrange, compose
from blindspace.networks import Network, ends


class Code(nn.Module):
    """A network of one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.precision = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def seeded(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


KERNELS, TOKEN, WEIGHT, PLACES = seeded(6, 3, 4, 4), seeded(1, 1, 6), seeded(5, 8), seeded(1, 5, 6)
FOUR, EIGHT, TABLE, SMALL = seeded(4), seeded(8), seeded(4, 8), seeded(2, 3, 3, 3)


def tokens(x: Tensor) -> Tensor:
    """A patch embedding with a class token and positions."""
    patches = F.conv2d(x, KERNELS, stride=4).flatten(2).transpose(1, 2)
    return torch.cat([TOKEN, patches], 1) + PLACES


def by_hand(x: Tensor) -> Tensor:
    """A layer norm over channels, written in code."""
    y = F.conv2d(x, KERNELS, stride=4)
    centred = y - y.mean(1, keepdim=True)
    return centred / (centred.pow(2).mean(1, keepdim=True) + 1e-6).sqrt()


def by_hand_twice(x: Tensor) -> Tensor:
    """The same, with the deviations computed twice."""
    y = F.conv2d(x, KERNELS, stride=4)
    u = y.mean(1, keepdim=True)
    return (y - u) / ((y - u).pow(2).mean(1, keepdim=True) + 1e-6).sqrt()


@dataclass(frozen=True)
class Case:
    """A network of one function, and the dimension of its harmless space; None if the oracle computes it."""

    function: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    dim: int | None = None


CASES = {
    "layer norm": Case(lambda x: F.layer_norm(x, (8,)), (3, 8), 3),
    "layer norm over two axes": Case(lambda x: F.layer_norm(x, (4, 8), TABLE, TABLE), (3, 4, 8), 3),
    "layer norm twice": Case(lambda x: F.layer_norm(x, (8,)).relu() + F.layer_norm(x, (8,)).sin(), (3, 8), 3),
    "two layer norms": Case(lambda x: F.layer_norm(x, (8,)).relu() + F.layer_norm(x, (4, 8)).sin(), (3, 4, 8), 3),
    "skip": Case(lambda x: x.sin() + F.layer_norm(x, (8,)), (3, 8), 0),
    "affine skip of one row": Case(lambda x: x[:, :1] * 2 + F.layer_norm(x, (8,)), (3, 8), 2),
    "late skip": Case(lambda x: F.layer_norm(x @ WEIGHT.T, (5,)) + (x @ WEIGHT.T + 1).exp(), (3, 8), 9),
    "weight that depends on the input": Case(lambda x: F.layer_norm(x, (8,), x[0, 0].sin()), (3, 8), None),
    "group norm of one group": Case(lambda x: F.group_norm(x, 1), (4, 3, 5), 1),
    "group norm of two groups": Case(lambda x: F.group_norm(x, 2, FOUR, FOUR), (4, 3, 5), 2),
    "group norm of every channel": Case(lambda x: F.group_norm(x, 4), (4, 3, 5), 4),
    "group norm of frames": Case(lambda x: F.group_norm(x.transpose(1, 2)[0], 2), (4, 3, 5), 6),
    "instance norm of sound": Case(nn.InstanceNorm1d(4), (4, 9), 4),
    "instance norm of images": Case(lambda x: F.instance_norm(x), (4, 5, 3), 4),
    "instance norm of volumes": Case(nn.InstanceNorm3d(2, affine=True), (2, 3, 2, 3), 2),
    "softmax over channels": Case(lambda x: x.softmax(1), (4, 5, 3), 15),
    "log_softmax of a linear classifier": Case(lambda x: F.log_softmax(x @ WEIGHT.T, -1), (8,), 4),
    "variance": Case(lambda x: x.var((1, 2)), (4, 5, 3), 3),
    "deviation": Case(lambda x: x.std(-1), (4, 5, 3), 20),
    "variance of a pair": Case(lambda x: torch.var_mean(x, (1, 2))[0], (4, 5, 3), 3),
    "variance and mean": Case(lambda x: torch.cat(torch.var_mean(x, (1, 2), keepdim=True)).sin(), (4, 5, 3), 0),
    "mean of a layer norm": Case(
        lambda x: torch.native_layer_norm(x, (8,), None, None, 1e-5)[1].sin() + F.layer_norm(x, (8,)), (3, 8), 0
    ),
    "deviation of a layer norm": Case(lambda x: torch.native_layer_norm(x, (8,), None, None, 1e-5)[2], (3, 8), 3),
    "means of a group norm": Case(
        lambda x: torch.native_group_norm(x, None, None, 1, 4, 15, 2, 1e-5)[1].sin(), (4, 3, 5), None
    ),
    "patches": Case(lambda x: F.layer_norm(F.conv2d(x, KERNELS, stride=4).movedim(1, -1), (6,)), (3, 8, 8), 172),
    "patches by group": Case(lambda x: F.group_norm(F.conv2d(x, KERNELS, stride=4), 2), (3, 8, 8), 170),
    "tokens": Case(lambda x: F.layer_norm(tokens(x), (6,)), (3, 8, 8), 172),
    "tokens with a skip": Case(lambda x: tokens(x).sin() + F.layer_norm(tokens(x), (6,)), (3, 8, 8), 168),
    "pool": Case(lambda x: F.layer_norm(F.avg_pool2d(x, 2).movedim(1, -1), (3,)), (3, 8, 8), 160),
    "overlapping": Case(
        lambda x: F.layer_norm(F.conv2d(x, SMALL, stride=2, padding=1).movedim(1, -1), (2,)), (3, 8, 8), 176
    ),
    "scaled": Case(lambda x: F.layer_norm(x * 3 - 1, (8,)), (3, 8), 3),
    "scaled apart": Case(lambda x: F.layer_norm(x * EIGHT, (8,)), (3, 8), 3),
    "by hand": Case(by_hand, (3, 8, 8), 172),
    "by hand twice": Case(by_hand_twice, (3, 8, 8), 172),
    "one value": Case(lambda x: F.layer_norm(x[..., None], (1,)) + x.sin()[..., None], (3, 8), 0),
    "root mean square norm": Case(lambda x: F.rms_norm(x, (8,)), (3, 8), 0),
    "softmax of a square": Case(lambda x: (x * x).softmax(-1), (3, 8), 0),
    "batch norm of the batch": Case(lambda x: F.batch_norm(x, None, None, training=True), (4, 5, 3), 0),
}


def network(case: Case) -> Network:
    return Network("code", Code(case.function).double().eval(), case.shape)


def nullity(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> int:
    """The dimension of the directions in which central differences vanish at several points."""
    generator = torch.Generator().manual_seed(0)
    size = int(np.prod(shape))
    steps = 1e-4 * torch.eye(size, dtype=torch.float64).reshape(size, 1, *shape)
    rows = []
    with torch.no_grad():
        for _ in range(4):
            x = torch.randn(1, *shape, generator=generator, dtype=torch.float64)
            columns = [(function(x + step) - function(x - step)).flatten() / 2e-4 for step in steps]
            rows.append(torch.stack(columns, 1))
    sigma = torch.linalg.svdvals(torch.cat(rows))
    return size - int((sigma > 1e-6 * sigma[0]).sum())


@pytest.mark.parametrize("name", CASES)
def test_the_front_is_what_is_read(name: str) -> None:
    case = CASES[name]
    module = network(case)
    space = bs.harmless(module)
    true = nullity(case.function, case.shape)
    assert space.dim <= true
    if case.dim is not None:
        assert space.dim == case.dim
    assert space.certificate.kind != "undecided"
    generator = torch.Generator().manual_seed(1)
    x, noise = (torch.randn(3, *case.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    harmless = space.project(noise)
    with torch.no_grad():
        for image, delta, other in zip(x, harmless, noise - harmless, strict=True):
            before = case.function(image[None])
            assert float((case.function((image + delta)[None]) - before).abs().max()) < 1e-9
            assert float((case.function((image + other)[None]) - before).abs().max()) > 1e-6


def test_images_of_a_batch_stay_apart() -> None:
    """A normalisation over the batch reads the mean of several images, which one of them moves."""
    for case in (CASES["batch norm of the batch"], Case(lambda x: x.softmax(0), (4, 5)), Case(lambda x: x.var(), (4,))):
        assert ends(network(case)).keys() == {"input"}


def test_where_the_front_ends() -> None:
    assert ends(network(CASES["layer norm"])) == {"input, centred": ["native_layer_norm"]}
    assert ends(network(CASES["skip"])) == {"input": ["sin"]}


def test_a_centring_is_taken_into_the_kernels() -> None:
    factors = bs.front(network(CASES["tokens"])).factors
    assert [type(factor) for factor in factors] == [Convolution, Gather]
    assert factors[-1].out_shape == (20,)  # the class token does not depend on the input
    for name in ("by hand", "by hand twice"):
        first, *others = bs.front(network(CASES[name])).factors
        assert (type(first), first.out_shape) == (Convolution, (5, 2, 2))
        assert all(operator.in_dim <= operator.out_dim for operator in others)


# --- the map -----------------------------------------------------------------------------------------------


def test_a_matrix_beyond_memory_is_refused_before_any_is_taken() -> None:
    operator = Centring((3, 64, 1024), [2, 1])
    with pytest.raises(TooLargeError, match=r"the sparse matrix of .* needs about 288"):
        operator.to_scipy()


CENTRINGS = [Centring((5,), [0]), Centring((4, 3, 5), [1]), Centring((4, 3, 5), [0, -1]), Centring((1, 2), [0, 1])]


@pytest.mark.parametrize("operator", CENTRINGS, ids=repr)
def test_the_map_subtracts_the_mean(operator: Centring) -> None:
    bs.testing.check_map(operator)
    matrix = operator.to_dense()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix), dtype=torch.float64), rtol=0, atol=1e-14)
    x = seeded(*operator.in_shape)
    expected = x - x.mean(operator.axes, keepdim=True)
    torch.testing.assert_close(operator.T @ (operator @ x), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.as_tensor(operator.to_scipy().toarray()), matrix, rtol=0, atol=1e-15)
    space = bs.nullspace(operator)
    assert (space.solver, space.dim) == ("diagonal", operator.in_dim - operator.out_dim)
    torch.testing.assert_close(space.project(x), x.mean(operator.axes, keepdim=True).expand_as(x), rtol=0, atol=1e-14)
    bs.testing.check_subspace(space)


@pytest.mark.parametrize(("shape", "axes"), [((3,), []), ((3,), [1]), ((3, 1), [1]), ((), [0])])
def test_axes_that_cannot_be_centred(shape: tuple[int, ...], axes: list[int]) -> None:
    with pytest.raises(bs.errors.ShapeError):
        Centring(shape, axes)


CONVOLUTION = Convolution(seeded(4, 3, 2, 2), (3, 6, 6), (2, 2), [(0, 0)] * 2, (1, 1))
POOLS = Kronecker([seeded(2, 5), seeded(3, 4)], (3, 5, 4))

COMPOSED = {
    "matrix": (Dense(seeded(4, 3), (2,)), [1], [Dense]),
    "convolution": (CONVOLUTION, [0], [Convolution, Rearrange]),
    "matrices of other axes": (POOLS, [0], [Centring, Rearrange, Kronecker, Rearrange]),
    "transposed": (Rearrange((3, 2, 5), (5, 3, 2), order=(2, 0, 1)), [1], [Centring, Gather]),
    "transposed within": (Rearrange((3, 2, 5), (2, 3, 5), order=(1, 0, 2)), [0, 1], [Rearrange, Centring]),
    "padded": (Padding((3, 4, 2), [(1, 2), (0, 0)]), [2], [Centring, Gather]),
    "cropped": (Padding((3, 4, 2), [(-1, 0), (0, 0)]), [0], [Centring, Gather]),
    "padded along": (Padding((3, 4, 2), [(1, 2), (0, 0)]), [1], [Padding, Centring]),
    "scaled": (Diagonal(seeded(3, 1), (3, 2)), [1], [Centring, Diagonal]),
    "scaled along": (Diagonal(seeded(3, 1), (3, 2)), [0], [Diagonal, Centring]),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_compositions_stay_the_same(name: str) -> None:
    inner, axes, kinds = COMPOSED[name]
    centring = Centring(inner.out_shape, axes)
    found = compose(inner, centring)
    torch.testing.assert_close(found.to_dense(), centring.to_dense() @ inner.to_dense(), rtol=0, atol=1e-13)
    assert [type(factor) for factor in found.factors] == kinds
