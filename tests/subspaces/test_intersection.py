"""What several networks cannot see, and telling them apart by what one alone cannot see."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.errors import ShapeError, UnsupportedLayerError, ValueRangeError
from blindspace.evidence import identify, probe
from blindspace.maps import Composed, Convolution, Kronecker, Padding, VStack, from_module, side_by_side
from blindspace.networks import Network, front, harmless
from blindspace.solvers.projectors.patchwise import PatchwiseSolver, TokenSolver
from blindspace.subspaces import nullspace
from oracle import null_projector


def network(*layers: nn.Module, shape: tuple[int, ...] = (3, 8, 8), name: str = "net", seed: int = 0) -> Network:
    torch.manual_seed(seed)
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    return bs.load(nn.Sequential(*layers), shape, name=name)


def patches(size: int, width: int, seed: int = 0) -> Network:
    side = 8 // size
    layers = (nn.Conv2d(3, width, size, size), nn.ReLU(), nn.Flatten(), nn.Linear(width * side**2, 5))
    return network(*layers, name=f"patch-{size}", seed=seed)


def projector(matrix: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(null_projector(matrix.numpy()))


RESIZE = nn.Upsample(size=(8, 8), mode="bilinear")

PAIRS = {
    "patches of one size": (patches(4, 7), patches(4, 9, 1)),
    "patches of two sizes": (patches(4, 7), patches(2, 3, 1)),
    "patches and strides": (patches(4, 7), network(nn.Conv2d(3, 2, 3, 2, 1), nn.ReLU(), name="conv")),
    "one resize": tuple(
        network(RESIZE, nn.Conv2d(3, width, 4, 4), nn.ReLU(), shape=(3, 12, 10), seed=width) for width in (7, 9)
    ),
    "with padding behind": tuple(
        network(nn.Conv2d(3, width, 4, 4), nn.ZeroPad2d(1), nn.ReLU(), seed=width) for width in (7, 9)
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_intersection_is_that_of_the_dense_nullspaces(name: str) -> None:
    a, b = PAIRS[name]
    space = harmless(a, b)
    whole = projector(torch.cat([front(a).to_dense(), front(b).to_dense()]))
    assert space.dim == int(torch.linalg.matrix_rank(whole))
    v = torch.randn(3, *a.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = (v.flatten(1) @ whole).reshape(v.shape)
    assert (space.project(v) - expected).abs().max() <= 1e-11
    both = harmless(a) & harmless(b)
    assert (both.project(v) - expected).abs().max() <= 1e-11


def test_what_is_shared_is_done_once_and_patches_become_one_convolution() -> None:
    resized = [front(each) for each in PAIRS["one resize"]]
    together = side_by_side(resized)
    assert isinstance(together, Composed)
    assert isinstance(together.inner, Kronecker)
    assert isinstance(together.outer, Convolution)
    sizes = side_by_side([front(each) for each in PAIRS["patches of two sizes"]])
    assert isinstance(sizes, Convolution)
    assert sizes.stride == (4, 4)
    padded = side_by_side([front(each) for each in PAIRS["with padding behind"]])
    assert isinstance(padded, Convolution)
    # Two resizes that differ only in their numbers are two.
    one = from_module(nn.Upsample(size=(8, 8), mode="bilinear"), (3, 12, 10))
    other = from_module(nn.Upsample(size=(8, 8), mode="nearest"), (3, 12, 10))
    conv = from_module(nn.Conv2d(3, 2, 4, 4), (3, 8, 8))
    assert isinstance(side_by_side([Composed(conv, one), Composed(conv, other)]), VStack)
    # A crop loses values; it stays.
    crop = Padding((2, 2, 2), [(-1, 0), (0, 0)])
    assert side_by_side([Composed(crop, conv)]).out_shape == crop.out_shape


def test_networks_of_different_shapes_have_nothing_in_common() -> None:
    with pytest.raises(ShapeError, match=r"patch-4 \(3, 8, 8\), other \(3, 6, 6\)"):
        harmless(patches(4, 7), network(nn.Conv2d(3, 2, 3), nn.ReLU(), shape=(3, 6, 6), name="other"))


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


def test_patches_behind_a_resize_are_projected() -> None:
    """A vision transformer with its preprocessing: conjugate gradients preconditioned patch by patch."""
    one = PAIRS["one resize"][0]
    space = nullspace(front(one), solver="krylov")
    v = torch.randn(2, *one.input_shape, dtype=torch.float64)
    expected = (v.flatten(1) @ projector(front(one).to_dense())).reshape(v.shape)
    assert (space.project(v) - expected).abs().max() <= 1e-11
    assert space.residual(v) <= 1e-14


# --- identification ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd() -> list[Network]:
    layers = [(4, 7, 0), (4, 7, 1), (2, 3, 2)]
    return [Network(f"net-{seed}", patches(size, width, seed).module, (3, 8, 8)) for size, width, seed in layers]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_network_is_told_from_others(crowd: list[Network], index: int) -> None:
    x = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    probes = [probe(each, x, generator=torch.Generator().manual_seed(i)) for i, each in enumerate(crowd)]
    answer = identify(crowd[index], probes)
    assert answer.match == f"net-{index}"
    assert answer.change[index] <= 1e-5
    assert min(change for i, change in enumerate(answer.change) if i != index) >= 0.1
    # A function one can only call does as well.
    asked = identify(lambda images: crowd[index].outputs(images), probes)
    assert asked == answer
    assert answer.to_dict()["candidates"][index]["candidate"] == f"net-{index}"


def test_nobody_matches_a_stranger_and_two_of_one_front_are_not_told_apart(crowd: list[Network]) -> None:
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    probes = [probe(each, x, generator=torch.Generator().manual_seed(0)) for each in crowd]
    assert identify(patches(4, 7, seed=9), probes).match is None
    assert identify(crowd[0], [probes[0], probes[0]]).match is None
    # Whoever answers everything alike cannot be told from anybody, and matches nobody.
    assert identify(lambda images: torch.zeros(len(images), 5), probes).match is None


def test_the_control_has_the_norm_of_the_probe(crowd: list[Network]) -> None:
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    made = probe(crowd[0], x, size=2.0)
    norms = [(images - x).flatten(1).norm(dim=1) for images in (made.harmless, made.control)]
    assert torch.allclose(norms[0], norms[1])
    assert (made.harmless - x).abs().max() == pytest.approx(2.0)


def test_refusals(crowd: list[Network]) -> None:
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    with pytest.raises(ValueRangeError, match="at least one candidate"):
        identify(crowd[0], [])
    with pytest.raises(ValueRangeError, match="at least one image"):
        probe(crowd[0], x[:0])
    with pytest.raises(ShapeError):
        probe(crowd[0], torch.rand(3, 3, 9, 9))
    seeing = network(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), name="sees all")
    with pytest.raises(ValueRangeError, match=r"is \{0\}"):
        probe(seeing, x)
    with pytest.raises(ValueRangeError, match="NaN"):
        identify(lambda images: images * float("nan"), [probe(crowd[0], x)])
