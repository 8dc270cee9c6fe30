"""PyTorch code followed while it runs: every operation against differences of the code's own outputs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blindspace as bs
from blindspace.maps import Convolution, Gather, LinearMap, Padding
from blindspace.networks import Network, ends
from blindspace.networks.affine_graph import front_values
from followed import Function, seeded
from followed import network as followed

IMAGE = (3, 8, 6)


def network(function: Function, shape: tuple[int, ...] = IMAGE) -> Network:
    return followed(function, shape)


def differences(net: Network) -> Tensor:
    """The matrix of affine code, one unit vector after the other, ``(m, n)``."""
    units = torch.eye(torch.Size(net.input_shape).numel(), dtype=torch.float64).reshape(-1, 1, *net.input_shape)
    start = net.double(torch.zeros(1, *net.input_shape, dtype=torch.float64)).flatten()
    return torch.stack([net.double(unit).flatten() - start for unit in units], 1).detach()


def in_place(x: Tensor) -> Tensor:
    y = x * 2
    y += 1
    y.mul_(3).sub_(x)
    y -= 0.5 * x
    return y


def copied(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y.copy_(x[:, :1])
    return y


AFFINE: dict[str, Function] = {
    "nothing": lambda x: x,
    "scaled": lambda x: 3 * x / 4 - 1,
    "channels scaled": lambda x: (x - seeded(3, 1, 1)) / seeded(3, 1, 1),
    "from a number": lambda x: 1 - x,
    "negated": lambda x: -x,
    "grown by a constant": lambda x: x[:, :1] * seeded(4, 1, 1) + seeded(4, 8, 1),
    "added to itself": lambda x: x + x,
    "added with a factor": lambda x: torch.add(x, x.flip(2), alpha=0.5),
    "subtracted, broadcast": lambda x: x - x.mean(1, keepdim=True),
    "mean of axes": lambda x: x.mean((2, 3)),
    "mean of all": lambda x: x.mean(),
    "sum, kept": lambda x: x.sum((1, 3), keepdim=True),
    "slices": lambda x: x[:, 1:, ::2, 1:-1],
    "slice of one axis": lambda x: x[:, :, 2:7],
    "one channel": lambda x: x[:, 1],
    "listed channels": lambda x: x[:, [2, 0, 2]],
    "gathered": lambda x: x.gather(3, torch.arange(6).flip(0).expand(1, 3, 8, 6)),
    "turned": lambda x: x.permute(0, 2, 3, 1).transpose(1, 2),
    "flattened": lambda x: x.flatten(1).view(-1, 12, 12).squeeze(0),
    "joined": lambda x: torch.cat([x[:, :2], seeded(1, 1, 8, 6), x], 1),
    "stacked": lambda x: torch.stack([x, 2 * x], 1),
    "chunks": lambda x: torch.cat(x.chunk(3, 1)[::-1], 2),
    "expanded": lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 2, 3),
    "repeated": lambda x: x.repeat(1, 2, 1, 1),
    "rolled": lambda x: x.roll((1, 2), (2, 3)),
    "padded": lambda x: F.pad(x, (1, 2, 0, 3)),
    "padded by a number": lambda x: F.pad(x, (1, 2, 0, 3), value=0.7),
    "padded by reflection": lambda x: F.pad(x, (1, 2, 0, 3), mode="reflect"),
    "padded by replication": lambda x: F.pad(x, (1, 2, 0, 3), mode="replicate"),
    "cropped by padding": lambda x: F.pad(x, (-1, 2, 0, -3)),
    "unshuffled": lambda x: F.pixel_unshuffle(x, 2),
    "shuffled": lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2).flip(1), 2),
    "windows": lambda x: F.unfold(x, 3, stride=2, padding=1),
    "windows and back": lambda x: F.fold(F.unfold(x, 3, padding=1), (8, 6), 3, padding=1),
    "convolution": lambda x: F.conv2d(x, seeded(4, 3, 3, 3), seeded(4), 2, 1),
    "convolution in groups": lambda x: F.conv2d(x, seeded(6, 1, 3, 2), None, 1, (1, 0), (2, 1), groups=3),
    "transposed convolution": lambda x: F.conv_transpose2d(x, seeded(3, 2, 3, 3), seeded(2), 2, 1, 1),
    "convolution of rows": lambda x: F.conv1d(x.flatten(2), seeded(4, 3, 5), None, 3),
    "convolution in 3-D": lambda x: F.conv3d(x[:, None], seeded(2, 1, 2, 3, 3)),
    "windows as a batch": lambda x: F.conv2d(x.reshape(3, 1, 8, 6), seeded(2, 1, 3, 3)),
    "batch norm": lambda x: F.batch_norm(x, seeded(3), seeded(3).abs() + 0.1, seeded(3), seeded(3)),
    "average pool": lambda x: F.avg_pool2d(x, 3, 2, 1, True, False),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "global pool": lambda x: F.adaptive_avg_pool2d(x, 1),
    "bilinear": lambda x: F.interpolate(x, (5, 9), mode="bilinear"),
    "bilinear, corners": lambda x: F.interpolate(x, (5, 9), mode="bilinear", align_corners=True),
    "bicubic, antialiased": lambda x: F.interpolate(x, (5, 4), mode="bicubic", antialias=True),
    "nearest, by a factor": lambda x: F.interpolate(x, scale_factor=1.5),
    "linear": lambda x: F.linear(x, seeded(4, 6), seeded(4)),
    "matrix on the left": lambda x: seeded(5, 8) @ x[0, 0],
    "matrix on the right": lambda x: x[0, 0] @ seeded(6, 5),
    "einsum of channels": lambda x: torch.einsum("bchw,dc->bdhw", x, seeded(4, 3)),
    "einsum of rows": lambda x: torch.einsum("bchw,hk->bckw", x, seeded(8, 3)),
    "batched matrices": lambda x: x[0] @ seeded(3, 6, 2),
    "as a bias": lambda x: torch.addmm(x[0, 0], seeded(8, 2), seeded(2, 6), alpha=2, beta=0.5),
    "running sum": lambda x: x.cumsum(3),
    "masked": lambda x: torch.where(seeded(8, 6) > 0, x, torch.zeros(1, dtype=x.dtype)),
    "masked to a number": lambda x: x.masked_fill(seeded(8, 6) > 0, 0.3),
    "triangle": lambda x: x.tril(),
    "in place": in_place,
    "copied": copied,
    "another precision": lambda x: x.to(torch.float64) * 2,
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
    "Inception's input": lambda x: torch.cat([x[:, i : i + 1] * (0.4 + i) - 0.1 for i in range(3)], 1),
    "blocks with skips": lambda x: (lambda y: y + F.conv2d(y, seeded(3, 3, 3, 3), padding=1))(x + 0.5 * x.flip(3)),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_code_is_followed_to_its_end(name: str) -> None:
    net = network(AFFINE[name])
    front = bs.front(net)
    assert list(ends(net).values()) == [["output"]]
    expected = differences(net)
    found = front.to_dense(limit=None)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max() + 1))
    y = seeded(2, *front.out_shape)
    back = (y.flatten(1) @ found).reshape(2, *front.in_shape)
    torch.testing.assert_close(front.adjoint(y), back, rtol=0, atol=1e-10)


def kernel(x: Tensor, out: int = 4, stride: int = 2) -> Tensor:
    return F.conv2d(x, seeded(out, x.shape[1], 3, 3), None, stride, 1)


def through_a_view(x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y[:, :2] = x[:, :2]
    y[:, 2:] = 2 * x[:, 2:]
    return kernel(y).relu()


def beside_a_view(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :1] = x[:, :1]
    return torch.cat([kernel(y).relu(), kernel(x[:, 1:2]).relu()], 1)


def overwritten(x: Tensor) -> Tensor:
    y = kernel(x)
    z = y.view(-1)
    y.relu_()
    return z + kernel(x).flatten()


def nested(x: Tensor) -> Tensor:
    y = x * 1
    rows = y[:, :, ::2]
    rows.abs_()
    return y.sum((2, 3))


NOT_AFFINE: dict[str, Function] = {
    "squared": lambda x: x * x,
    "divided by": lambda x: 1 / (x + 2),
    "by itself": lambda x: x @ x.transpose(2, 3),
    "ReLU in place": lambda x: kernel(x).relu_(),
    "branches": lambda x: torch.cat([kernel(x).relu(), kernel(x, 2).tanh()], 1),
    "branches of an affine trunk": lambda x: kernel(x[:, :2] * 2, 3).relu() + kernel(x[:, :2] * 2, 3).tanh(),
    "affine beside": lambda x: kernel(x, 2).relu() + x.mean(1, keepdim=True)[:, :, ::2, ::2],
    "softmax": lambda x: kernel(x).flatten(2).softmax(2),
    "layer norm": lambda x: F.layer_norm(kernel(x), (4, 3)),
    "largest": lambda x: F.max_pool2d(kernel(x), 2),
    "norm of the batch": lambda x: F.batch_norm(kernel(x), None, None, training=True),
    "written through a view": through_a_view,
    "written beside a view": beside_a_view,
    "overwritten under a view": overwritten,
    "squared where it is added": lambda x: torch.addcmul(torch.ones(1, dtype=x.dtype), kernel(x), kernel(x) * 2),
    "sum of squares": lambda x: (lambda y: torch.addcmul(torch.ones(1, dtype=x.dtype), y, y))(kernel(x)).sum((1, 2, 3)),
    "written into a part": nested,
    "clamped": lambda x: kernel(x).clamp(-1, 1),
    "rounded": lambda x: kernel(x).round(),
    "sorted": lambda x: kernel(x).flatten(1).sort(1).values,
    "chosen by itself": lambda x: torch.where(x > 0.5, x, 0 * x),
    "noise of its own": lambda x: kernel(x) * torch.rand(1),
    "indexed by itself": lambda x: seeded(10)[(kernel(x) * 3).long().clamp(0, 9)],
}


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_what_is_harmless_for_the_front_is_harmless_for_the_code(name: str) -> None:
    net = network(NOT_AFFINE[name])
    space = bs.harmless(net)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, *IMAGE, generator=generator, dtype=torch.float64)
    delta = 10 * space.sample(3, generator)
    for image, change in zip(x, delta, strict=True):
        torch.manual_seed(0)
        before = net.double(image[None])
        torch.manual_seed(0)
        torch.testing.assert_close(net.double((image + change)[None]), before, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("branches", 144 - 6 * 12),
        ("branches of an affine trunk", 144 - 3 * 12),
        ("affine beside", 144 - 2 * 12 - 12),
        ("ReLU in place", 144 - 48),
        ("clamped", 144 - 48),
    ],
)
def test_the_front_is_as_large_as_it_can_be(name: str, dim: int) -> None:
    assert bs.harmless(network(NOT_AFFINE[name])).dim == dim


def low_pass(x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft2(x)
    back: Tensor = torch.fft.irfft2(spectrum * (torch.arange(4) < 2), s=(8, 6))
    return back


def spectrogram(x: Tensor) -> Tensor:
    window = torch.hann_window(8, dtype=x.dtype)
    bands = torch.stft(x.flatten(1), 8, 8, 8, window, center=False, return_complex=True)
    return torch.view_as_real(bands[:, 1:3]).relu()


def filtered(x: Tensor) -> Tensor:
    """A convolution by way of Fourier space, as a Fourier neural operator does it, of four of its frequencies."""
    weight = torch.complex(seeded(2, 3, 2, 2), seeded(3, 2, 2, 2).reshape(2, 3, 2, 2))
    back: Tensor = torch.fft.irfft2(torch.einsum("bixy,oixy->boxy", torch.fft.rfft2(x)[..., :2, :2], weight), s=(8, 6))
    return back.relu()


LENS = torch.from_numpy(np.random.default_rng(9).uniform(-1, 1, (1, 4, 4, 2)))
GRAPH = torch.where(seeded(8, 5).T > 0.4, seeded(5, 8), torch.zeros(1, dtype=torch.float64))
MASK = torch.arange(6) > 2

ENDING_LATE: dict[str, Function] = {
    "one row from the left": lambda x: (torch.ones(1, 8, dtype=x.dtype) @ x[0, 0]).relu(),
    "a vector from the left": lambda x: (seeded(8) @ x[0, 0]).relu(),
    "a chain of matrices": lambda x: torch.linalg.multi_dot([seeded(2, 8), x[0, 0], seeded(6, 3)]).relu(),
    "a scaled mean of all": lambda x: kernel(x - 0.9 * x.mean()).relu(),
    "a sum of all and back": lambda x: (x.sum() / 7 + x[:, :1, :1].sum() * torch.ones(3, dtype=x.dtype)).relu(),
    "Caffe's means": lambda x: F.avg_pool2d(
        x - torch.tensor([104.0, 117, 123], dtype=x.dtype)[:, None, None], 2
    ).relu(),
    "frames as a batch": lambda x: F.interpolate(x.transpose(0, 1), (4, 3), mode="bilinear").relu(),
    "rows pooled as a batch": lambda x: F.avg_pool1d(x[0].transpose(0, 1), 3).relu(),
    "a mask and a mirror image": lambda x: F.avg_pool2d(torch.where(MASK, x, x.flip(3)), 2).relu(),
    "a mask and a blur": lambda x: kernel(torch.where(MASK, x, F.avg_pool2d(x, 3, 1, 1))).relu(),
    "halfway to a mirror image": lambda x: F.avg_pool2d(torch.lerp(x, x.flip(3), 0.5), 2).relu(),
    "part of the way": lambda x: kernel(torch.lerp(x, x.mean((2, 3), keepdim=True), seeded(6))).relu(),
    "two products added": lambda x: torch.addmm(x[0, 0, :, :2], x[0, 1], seeded(6, 2)).relu(),
    "a lens": lambda x: F.grid_sample(x, LENS, align_corners=False).relu(),
    "the nearest pixels": lambda x: F.grid_sample(x, LENS, "nearest", align_corners=False).relu(),
    "a rotation": lambda x: F.grid_sample(
        x, F.affine_grid(torch.tensor([[[0.8, -0.6, 0], [0.6, 0.8, 0]]], dtype=x.dtype), [1, 3, 3, 3]), "bicubic"
    ).relu(),
    "a graph": lambda x: torch.sparse.mm(GRAPH.to_sparse(), x[0, 0]).relu(),
    "a graph by rows": lambda x: (GRAPH.to_sparse_csr() @ x[0, 0]).relu(),
    "a low pass": lambda x: low_pass(x).relu(),
    "a spectrogram": spectrogram,
    "a Fourier neural operator": filtered,
    "chosen pixels": lambda x: x.masked_select(seeded(3, 8, 6) > 0.5).relu(),
    "pixels put into another image": lambda x: (
        torch.zeros(8, 6, dtype=x.dtype).index_put((torch.tensor([1, 4]), torch.tensor([2, 2])), x[0, 0, 0, :2]).relu()
    ),
    "pixels scattered": lambda x: (
        torch.zeros(1, 9, dtype=x.dtype).scatter(1, torch.tensor([[7, 0, 2]]), x[0, :1, 0, :3]).relu()
    ),
    "means of superpixels": lambda x: (
        torch.zeros(3, 5, dtype=x.dtype)
        .scatter_reduce(1, (torch.arange(48) % 4).expand(3, 48), x[0].flatten(1), "mean", include_self=False)
        .relu()
    ),
    "running sums": lambda x: F.avg_pool2d(x.cumsum(2).cumsum(3), 2).relu(),
    "a linear system": lambda x: torch.linalg.solve(seeded(8, 8), x[0, 0])[:4].relu(),
    "a factored system": lambda x: torch.linalg.lu_solve(*torch.linalg.lu_factor(seeded(8, 8)), x[0, 0])[:4].relu(),
    "the inverse of a part": lambda x: torch.linalg.inv(x[0, 0, :2, :2] + 9 * torch.eye(2, dtype=x.dtype)).relu(),
    "a matrix to be solved": lambda x: torch.linalg.solve(
        x[0, 0, :2, :2] + 9 * torch.eye(2, dtype=x.dtype), seeded(2, 3)
    ),
}
"""Code whose harmless space is the nullspace of the derivative of all its outputs at any point."""


@pytest.mark.parametrize("name", ENDING_LATE)
def test_the_front_does_not_end_early(name: str) -> None:
    net = network(ENDING_LATE[name])
    x = torch.rand(1, *IMAGE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = [c * x for c in (1.0, -1.0, 1e3, -1e3)]  # where a ReLU is 0 at one point it is not at the other
    rows = [torch.autograd.functional.jacobian(net.double, p, vectorize=False).reshape(-1, x.numel()) for p in points]
    expected = x.numel() - int(torch.linalg.matrix_rank(torch.cat(rows)))
    assert bs.nullspace(bs.front(net)).dim == expected


def factors(operator: LinearMap) -> list[type[LinearMap]]:
    return [type(factor) for factor in operator.factors]


STRUCTURED: dict[str, tuple[Function, list[type[LinearMap]]]] = {
    "padding goes into the convolution": (lambda x: kernel(F.pad(x, (0, 1, 0, 1))).relu(), [Convolution]),
    "branches of one geometry": (
        lambda x: (kernel(x) + F.conv2d(x, seeded(4, 3, 1, 1), stride=2)).relu(),
        [Convolution],
    ),
    "Inception's input": (lambda x: kernel(AFFINE["Inception's input"](x)).relu(), [Convolution]),
    "focus": (
        lambda x: kernel(torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2]], 1), stride=1).relu(),
        [Gather, Convolution],
    ),
    "crop": (lambda x: kernel(x[..., 1:7, 1:5]).relu(), [Padding, Convolution]),
    "queries and keys": (lambda x: x @ seeded(6, 2) @ (x @ seeded(6, 2)).transpose(2, 3), []),
}


@pytest.mark.parametrize("name", STRUCTURED)
def test_structure_that_the_fast_solvers_look_for(name: str) -> None:
    function, kinds = STRUCTURED[name]
    front = bs.front(network(function))
    assert not kinds or factors(front) == kinds
    dense = torch.linalg.matrix_rank(front.to_dense(limit=None))
    assert bs.nullspace(front).dim == front.in_dim - int(dense)


def test_what_reads_the_front_is_named() -> None:
    net = bs.load(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), IMAGE)
    assert ends(net) == {"1": ["relu in 2"]}


def test_a_network_is_recorded_once() -> None:
    net = network(kernel)
    assert net.record() is net.record()
    assert net.front is net.front is bs.front(net)


def test_values_that_others_determine_are_left_out() -> None:
    def function(x: Tensor) -> Tensor:
        y = kernel(x)
        return y.relu().sum() + y.mean().tanh() + (2 * y + 1).sigmoid().sum()

    values = front_values(network(function).record().graph)
    assert [value.shape for value in values] == [(4, 4, 3)]


def test_traced_code_is_followed() -> None:
    """Traced code calls convolutions by another name than modules do."""
    module = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, torch.rand(1, 3, 8, 8))
    assert bs.harmless(bs.load(traced, (3, 8, 8))).dim == bs.harmless(bs.load(module, (3, 8, 8))).dim == 192 - 16
