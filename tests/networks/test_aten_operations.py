"""Every operation of torch that counts as affine, alone, against differences of its own outputs; and what does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blindspace as bs
from blindspace.networks import Network, ends
from blindspace.networks.affine_graph import Value
from blindspace.networks.following.aten_affine import LINEAR, MOVES, VIEWS
from blindspace.networks.following.aten_call import Call, shape_of
from blindspace.networks.following.aten_operations import linear_part
from followed import Function, seeded
from followed import network as followed

ATEN = torch.ops.aten
SHAPE = (4, 6)


def network(function: Function, shape: tuple[int, ...] = SHAPE) -> Network:
    return followed(function, shape)


def reals(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def image(m: Tensor) -> Tensor:
    """The values as a batch of one image ``(1, 1, 4, 6)``."""
    return m[None, None]


def video(m: Tensor) -> Tensor:
    """The values as a batch of one video ``(1, 1, 2, 2, 6)``."""
    return m.reshape(1, 1, 2, 2, 6)


def cx(m: Tensor) -> Tensor:
    """The values as a complex matrix ``(4, 3)``."""
    return torch.view_as_complex(m.reshape(4, 3, 2))


I2, I4, I6 = torch.tensor([2, 0]), torch.tensor([2, 0, 3, 1]), torch.tensor([5, 0, 2, 1, 3, 4])
TWICE = torch.tensor([1, 0, 1, 3])
GRID = torch.from_numpy(np.random.default_rng(5).uniform(-1.2, 1.2, (1, 3, 3, 2)))
GRID3 = torch.from_numpy(np.random.default_rng(6).uniform(-1.2, 1.2, (1, 2, 2, 2, 3)))
POOLED = torch.tensor([[[[0, 3], [12, 9]]]])
SQUARE = seeded(4, 4) + 4 * torch.eye(4, dtype=torch.float64)
LU, PIVOTS = torch.linalg.lu_factor(SQUARE)
SPARSE = torch.where(seeded(5, 4) > 0.3, seeded(5, 4), torch.zeros(1, dtype=torch.float64))

TRIED: dict[str, Function] = {
    # moves
    "slice": lambda m: m[1:, ::2],
    "select": lambda m: m[2],
    "expand": lambda m: m[:, None].expand(4, 3, 6),
    "flip": lambda m: m.flip(1),
    "roll": lambda m: m.roll(2, 1),
    "unfold": lambda m: m.unfold(1, 3, 2),
    "unbind": lambda m: m.unbind(1)[4],
    "split": lambda m: m.split(4, 1)[1],
    "split_with_sizes": lambda m: ATEN.split_with_sizes(m, [2, 4], 1)[1],
    "index_select": lambda m: m.index_select(1, I2),
    "index": lambda m: m[I2, I2],
    "gather": lambda m: m.gather(1, I2.expand(4, 2)),
    "pixel_shuffle": lambda m: F.pixel_shuffle(m.reshape(1, 4, 2, 3), 2),
    "pixel_unshuffle": lambda m: F.pixel_unshuffle(image(m), 2),
    "channel_shuffle": lambda m: F.channel_shuffle(m[None], 2),
    "reflection_pad1d": lambda m: F.pad(m, (1, 2), mode="reflect"),
    "reflection_pad2d": lambda m: F.pad(image(m), (1, 2, 0, 1), mode="reflect"),
    "reflection_pad3d": lambda m: F.pad(video(m), (1, 2, 0, 1, 1, 0), mode="reflect"),
    "replication_pad1d": lambda m: F.pad(m, (1, 2), mode="replicate"),
    "replication_pad2d": lambda m: F.pad(image(m), (1, 2, 0, 1), mode="replicate"),
    "replication_pad3d": lambda m: F.pad(video(m), (1, 2, 0, 1, 1, 0), mode="replicate"),
    "constant_pad_nd": lambda m: F.pad(m, (1, -2), value=-7.0),
    "im2col": lambda m: F.unfold(image(m), 2, stride=2),
    "repeat": lambda m: m.repeat(2, 1),
    "diagonal": lambda m: m.diagonal(1),
    "take": lambda m: m.take(torch.tensor([3, 23, 3])),
    "rot90": lambda m: m.rot90(),
    "tril": lambda m: m.tril(1),
    "triu": lambda m: m.triu(),
    "permute": lambda m: ATEN.permute(m, [1, 0]),
    "transpose": lambda m: m.transpose(0, 1),
    "t": lambda m: m.t(),
    "diag_embed": lambda m: m.diag_embed(1),
    "as_strided": lambda m: (m * 1).as_strided((3, 4), (6, 1)),
    "_reshape_alias": lambda m: ATEN._reshape_alias(m * 1, [2, 12], [12, 1]),
    "unsafe_split": lambda m: m.unsafe_split(4, 1)[1],
    "unsafe_split_with_sizes": lambda m: m.unsafe_split_with_sizes([2, 4], 1)[0],
    "max_unpool2d": lambda m: F.max_unpool2d(image(m)[..., :2, :2], POOLED, (2, 2), output_size=(4, 4)),
    "max_unpool3d": lambda m: F.max_unpool3d(
        video(m)[..., :1, :2, :2], POOLED[:, None], (1, 2, 2), output_size=(1, 4, 4)
    ),
    "masked_select": lambda m: m.masked_select(seeded(4, 6) > 0),
    "_unsafe_index": lambda m: ATEN._unsafe_index(m, [I2, None]),
    "_unsafe_masked_index": lambda m: ATEN._unsafe_masked_index(m, I2 > 0, [I2, I2], 1),
    "view_as_real": lambda m: torch.view_as_real(cx(m)),
    "view_as_complex": cx,
    "_conj": lambda m: cx(m).conj(),
    "_conj_physical": lambda m: torch.conj_physical(cx(m)),
    "_neg_view": lambda m: cx(m).conj().imag,
    "_to_copy": lambda m: m.to(torch.complex128),
    "cat": lambda m: torch.cat([m, 2 * m, seeded(4, 6)], 1),
    "stack": lambda m: torch.stack([m, seeded(4, 6), m.flip(0)], 1),
    "block_diag": lambda m: torch.block_diag(m, seeded(2, 2), m[:2]),
    "_chunk_cat": lambda m: ATEN._chunk_cat([m, m.flip(1)], 0, 2),
    "masked_fill": lambda m: m.masked_fill(seeded(4, 6) > 0, -1e9),
    "index_fill": lambda m: m.index_fill(1, I2, 3.0),
    "where": lambda m: torch.where(seeded(6) > 0, m, m.flip(1) * 2),
    "slice_scatter": lambda m: m.slice_scatter(m[:2] * 3, 0, 1, 3),
    "select_scatter": lambda m: m.select_scatter(m[0] * 3, 0, 2),
    "diagonal_scatter": lambda m: m.diagonal_scatter(m[0, :4] * 3),
    "as_strided_scatter": lambda m: (m * 1).as_strided_scatter(m[:2, :2] * 3, (2, 2), (2, 1)),
    "scatter": lambda m: m.scatter(0, I2.expand(1, 2), m[1:] * 3),
    "index_put": lambda m: m.index_put((I2,), m[:2] * 3),
    "_index_put_impl": lambda m: ATEN._index_put_impl(m, [I2], m[:2] * 3),
    "_unsafe_index_put": lambda m: ATEN._unsafe_index_put(m, [I2], m[:2] * 3),
    "index_copy": lambda m: m.index_copy(0, I2, m[:2] * 3),
    "put": lambda m: m.put(I2, m[3, :2] * 3),
    "masked_scatter": lambda m: m.masked_scatter(seeded(4, 6) > 0, m * 3),
    "copy": lambda m: torch.zeros_like(m).copy_(m[0]),
    "fill": lambda m: torch.zeros_like(m).fill_(m.sum()),
    "complex": lambda m: torch.complex(m, 2 * m.flip(0)),
    "embedding": lambda m: F.embedding(I2, m),
    "lu_unpack": lambda m: torch.lu_unpack(m[:, :4], PIVOTS)[1],
    "slice_backward": lambda m: ATEN.slice_backward(m, [9, 6], 0, 1, 9, 2),
    "select_backward": lambda m: ATEN.select_backward(m[0], [3, 6], 0, 1),
    "slice_copy": lambda m: ATEN.slice_copy(m, 0, 1, 3),
    "permute_copy": lambda m: ATEN.permute_copy(m, [1, 0]),
    # linear
    "neg": lambda m: -m,
    "sum": lambda m: m.sum(1),
    "mean": lambda m: m.mean(0),
    "nansum": lambda m: m.nansum(1),
    "cumsum": lambda m: m.cumsum(1),
    "trace": lambda m: m.trace(),
    "col2im": lambda m: F.fold(m[None], (3, 4), 2),
    "div": lambda m: m / seeded(6),
    "deg2rad": lambda m: torch.deg2rad(m),
    "rad2deg": lambda m: torch.rad2deg(m),
    "xlogy": lambda m: torch.xlogy(m, seeded(6) ** 2),
    "special_xlog1py": lambda m: torch.special.xlog1py(m, seeded(6) ** 2),
    "ldexp": lambda m: torch.ldexp(m, I6),
    "avg_pool2d": lambda m: F.avg_pool2d(m.reshape(3, 2, 2, 2), 2, ceil_mode=True),
    "avg_pool3d": lambda m: F.avg_pool3d(video(m), (1, 2, 3)),
    "_adaptive_avg_pool2d": lambda m: F.adaptive_avg_pool2d(image(m), (3, 2)),
    "_adaptive_avg_pool3d": lambda m: F.adaptive_avg_pool3d(video(m), (1, 2, 4)),
    "upsample_nearest1d": lambda m: F.interpolate(m[None], 9),
    "upsample_nearest2d": lambda m: F.interpolate(image(m), (3, 9)),
    "upsample_nearest3d": lambda m: F.interpolate(video(m), (3, 2, 9)),
    "_upsample_nearest_exact1d": lambda m: F.interpolate(m[None], 9, mode="nearest-exact"),
    "_upsample_nearest_exact2d": lambda m: F.interpolate(image(m), (3, 9), mode="nearest-exact"),
    "_upsample_nearest_exact3d": lambda m: F.interpolate(video(m), (3, 2, 9), mode="nearest-exact"),
    "upsample_linear1d": lambda m: F.interpolate(m[None], 9, mode="linear"),
    "upsample_bilinear2d": lambda m: F.interpolate(m.reshape(2, 1, 2, 6), (3, 9), mode="bilinear"),
    "upsample_trilinear3d": lambda m: F.interpolate(video(m), (3, 2, 9), mode="trilinear"),
    "upsample_bicubic2d": lambda m: F.interpolate(image(m), (3, 9), mode="bicubic"),
    "_upsample_bilinear2d_aa": lambda m: F.interpolate(image(m), (3, 4), mode="bilinear", antialias=True),
    "_upsample_bicubic2d_aa": lambda m: F.interpolate(image(m), (3, 4), mode="bicubic", antialias=True),
    "_upsample_lanczos2d_aa": lambda m: ATEN._upsample_lanczos2d_aa(image(m), [3, 4], False),
    "_fft_r2c": lambda m: torch.fft.rfft2(m),
    "_fft_c2c": lambda m: torch.fft.ifft(cx(m)),
    "_fft_c2r": lambda m: torch.fft.irfft2(torch.fft.rfft2(m) * (torch.arange(4) < 2), s=(4, 6)),
    "cholesky_solve": lambda m: torch.cholesky_solve(m, SQUARE.tril()),
    "triangular_solve": lambda m: ATEN.triangular_solve(m, SQUARE)[0],
    "nll_loss_forward": lambda m: F.nll_loss(m, I4),
    "nll_loss2d_forward": lambda m: F.nll_loss(m.reshape(1, 4, 2, 3), I6.reshape(1, 2, 3) % 4),
    "mul": lambda m: m * torch.complex(seeded(6), seeded(4, 6)),
    "vdot": lambda m: torch.vdot(torch.complex(m[0], m[1]), torch.complex(seeded(6), seeded(3, 2)[0, 0])),
    "linalg_cross": lambda m: torch.linalg.cross(m[:3, :3], seeded(3, 3)),
    "add": lambda m: torch.add(m, torch.complex(m.flip(0), m), alpha=2) + 1j,
    "sub": lambda m: m - m.mean() * 0.9,
    "rsub": lambda m: 3 - m,
    "dot": lambda m: m[0] @ seeded(6),
    "mv": lambda m: SQUARE @ m[:, 0],
    "mm": lambda m: seeded(1, 4) @ m,
    "bmm": lambda m: seeded(2, 3, 2) @ m.reshape(2, 2, 6),
    "addmm": lambda m: torch.addmm(m, SQUARE, 2 * m, beta=0.5, alpha=3),
    "_sparse_addmm": lambda m: torch.sparse.mm(SPARSE.to_sparse(), m),
    "baddbmm": lambda m: torch.baddbmm(m.reshape(2, 2, 6), seeded(2, 2, 2), m.flip(1).reshape(2, 2, 6), beta=2),
    "addbmm": lambda m: torch.addbmm(m[:2], seeded(2, 2, 2), m.flip(1).reshape(2, 2, 6)),
    "addmv": lambda m: torch.addmv(m[:, 1], SQUARE, m[:, 0], alpha=3),
    "addr": lambda m: torch.addr(m, m[:, 0], seeded(6), alpha=2),
    "addcmul": lambda m: torch.addcmul(m, m.flip(0), seeded(6), value=0.5),
    "addcdiv": lambda m: torch.addcdiv(m, m.flip(0), seeded(6), value=0.5),
    "lerp": lambda m: torch.lerp(m, m.flip(1), seeded(6)),
    "_trilinear": lambda m: F.bilinear(m, seeded(4, 3), seeded(2, 6, 3)),
    "linear": torch.inference_mode()(lambda m: F.linear(m * 1, seeded(3, 6), seeded(3))),
    "convolution": lambda m: F.conv1d(seeded(1, 6, 9), m[..., None] if m.ndim == 2 else m),
    "native_batch_norm": lambda m: F.batch_norm(m[None], seeded(4), seeded(4) ** 2, None, seeded(4)),
    "_native_batch_norm_legit_no_training": lambda m: ATEN._native_batch_norm_legit_no_training(
        m[None], None, None, seeded(4), seeded(4) ** 2, 0.1, 1e-5
    )[0],
    "conv_tbc": lambda m: ATEN.conv_tbc(m.reshape(4, 1, 6), seeded(2, 6, 3), seeded(3), 1),
    "scatter_add": lambda m: m.scatter_add(0, TWICE[:, None].expand(4, 6), 2 * m),
    "scatter_reduce": lambda m: m.scatter_reduce(0, TWICE[:, None].expand(4, 6), 2 * m, "mean", include_self=False),
    "index_add": lambda m: m.index_add(0, TWICE, 2 * m),
    "index_reduce": lambda m: m.index_reduce(0, TWICE, 2 * m, "mean"),
    "_unsafe_masked_index_put_accumulate": lambda m: ATEN._unsafe_masked_index_put_accumulate(
        m, TWICE[:, None].expand(4, 6) > 0, [TWICE], 2 * m
    ),
    "_embedding_bag": lambda m: ATEN._embedding_bag(m, I4, I2.flip(0), mode=1)[0],
    "_embedding_bag_forward_only": lambda m: F.embedding_bag(I4[None], m),
    "segment_reduce": lambda m: torch.segment_reduce(m, "mean", lengths=torch.tensor([1, 3])),
    "grid_sampler_2d": lambda m: F.grid_sample(image(m), GRID, padding_mode="border", align_corners=False),
    "grid_sampler_3d": lambda m: F.grid_sample(video(m), GRID3, align_corners=True),
    "_prelu_kernel": lambda m: F.prelu(seeded(1, 4, 6), m[:, 0]),
    "native_layer_norm": lambda m: F.layer_norm(seeded(2, 6), (6,), m[0], m[1]),
    "native_group_norm": lambda m: F.group_norm(seeded(2, 6, 3), 2, m[0], m[1]),
    "polar": lambda m: torch.polar(m, seeded(6)),
    "_linalg_solve_ex": lambda m: torch.linalg.solve(SQUARE, m),
    "linalg_lu_solve": lambda m: torch.linalg.lu_solve(LU, PIVOTS, m),
    "linalg_solve_triangular": lambda m: torch.linalg.solve_triangular(SQUARE.triu(), m, upper=True),
    "unfold_backward": lambda m: ATEN.unfold_backward(m, [9], 0, 6, 1),
    "native_dropout_backward": lambda m: ATEN.native_dropout_backward(m, seeded(4, 6) > 0, 2.0),
    "_softmax_backward_data": lambda m: ATEN._softmax_backward_data(m, seeded(4, 6), 1, torch.float64),
    "_log_softmax_backward_data": lambda m: ATEN._log_softmax_backward_data(m, seeded(4, 6), 1, torch.float64),
    "embedding_dense_backward": lambda m: ATEN.embedding_dense_backward(m, TWICE, 5, -1, False),
}
"""One use of each operation, from a matrix ``SHAPE``; several read more than one tensor that depends on it."""


@pytest.mark.parametrize("name", TRIED)
def test_an_operation_is_followed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def recorded(call: Call) -> object:
        found = linear_part(call)
        if found is not None:
            seen.append(call.name)
        return found

    monkeypatch.setattr("blindspace.networks.following.recorder.linear_part", recorded)
    net = network(lambda x: reals(TRIED[name](x[0])))
    assert list(ends(net).values()) == [["output"]]
    assert name in seen
    front = bs.front(net)
    start = net.double(torch.zeros(1, *SHAPE, dtype=torch.float64)).flatten()
    units = torch.eye(front.in_dim, dtype=torch.float64).reshape(-1, 1, *SHAPE)
    expected = torch.stack([net.double(unit).flatten() - start for unit in units], 1)
    found = front.to_dense()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11 * float(expected.abs().max() + 1))
    y = seeded(2, *front.out_shape)
    back = (y.flatten(1) @ found).reshape(2, *front.in_shape)
    torch.testing.assert_close(front.adjoint(y), back, rtol=0, atol=1e-10)


def test_every_listed_operation_is_tried() -> None:
    """Cudnn runs on the GPU only; traced code alone calls the other name of a convolution."""
    assert {*MOVES, *LINEAR} - {*VIEWS} - {*TRIED} == {"cudnn_batch_norm", "_convolution"}


def halved(m: Tensor) -> Tensor:
    """The values, of which half are gone: a linear map with a nullspace."""
    return m[:, ::2] + m[:, 1::2]


INDEX = torch.tensor([[0, 1, 0], [1, 0, 1]])
HALF = seeded(3).half()

NOT_AFFINE: dict[str, Function] = {
    "divided and rounded": lambda m: torch.div(m, 4, rounding_mode="trunc"),
    "divided and rounded down": lambda m: torch.div(m, 4, rounding_mode="floor"),
    "divided by itself": lambda m: m / (m + 5),
    "cast to whole numbers": lambda m: m.long().double(),
    "cast to booleans": lambda m: m.bool().double(),
    "cast to half": lambda m: m.half().double(),
    "cast to bfloat16": lambda m: m.to(torch.bfloat16).double(),
    "cast to float8": lambda m: m.to(torch.float8_e4m3fn).double(),
    "summed in half": lambda m: m.sum(1, dtype=torch.float16).double(),
    "summed as whole numbers": lambda m: m.sum(1, dtype=torch.int64).double(),
    "averaged in half": lambda m: m.mean(1, dtype=torch.float16).double(),
    "cumulated as whole numbers": lambda m: m.cumsum(1, dtype=torch.int32).double(),
    "a number in the precision of half a vector": lambda m: (m.sum() * HALF).double(),
    "copied into whole numbers": lambda m: torch.zeros(4, 3, dtype=torch.int64).copy_(m).double(),
    "copied into half": lambda m: torch.zeros(4, 3, dtype=torch.float16).copy_(m).double(),
    "filled into half": lambda m: torch.zeros(4, dtype=torch.float16).fill_(m.sum()).double(),
    "complex half": lambda m: torch.view_as_real(torch.complex(m, m).to(torch.complex32)).double(),
    "largest of each index": lambda m: m.scatter_reduce(0, INDEX, 2 * m, "amax"),
    "product of each index": lambda m: m.scatter_reduce(0, INDEX, 2 * m, "prod"),
    "scattered by products": lambda m: m.scatter(0, INDEX, 2 * m[:2], reduce="multiply"),
    "largest by index": lambda m: m.index_reduce(0, I4, 2 * m, "amin"),
    "largest of segments": lambda m: torch.segment_reduce(m, "max", lengths=torch.tensor([1, 3])),
    "largest of bags": lambda m: F.embedding_bag(I4[None], m, mode="max"),
    "normalised by its batch": lambda m: F.batch_norm(m, None, None, training=True),
    "normalised by itself": lambda m: F.batch_norm(m, m.mean(0), m.var(0) + 1),
    "statistics of itself": lambda m: F.batch_norm(seeded(4, 3), m.mean(0), seeded(3) ** 2, m[0]),
    "weighed by itself": lambda m: torch.lerp(m, m.flip(1), m),
    "chosen by itself": lambda m: torch.where(m > 0, m, -m),
    "chosen by a part": lambda m: torch.where(m[:1] > 0, m, m.flip(0)),
    "masked by itself": lambda m: m.masked_fill(m < 0, 0.0),
    "added product of two parts": lambda m: torch.addcmul(m, m, m.flip(0), value=1e-9),
    "divided by a part": lambda m: torch.addcdiv(m, m, m.flip(0) + 5),
    "matrix of itself": lambda m: torch.addmm(m, m @ m.T, m),
    "bilinear in itself": lambda m: F.bilinear(m, m.flip(1), seeded(2, 3, 3)),
    "kernel of itself": lambda m: F.conv1d(m[None], m[None, :, :2].expand(2, 4, 2)),
    "sampled where it says": lambda m: F.grid_sample(seeded(1, 1, 9, 9), m.reshape(1, 2, 3, 2) / 2, align_corners=True),
    "positions of itself": lambda m: seeded(9)[m.long().clamp(0, 8)],
    "gathered where it says": lambda m: m.gather(1, m.argsort(1)),
    "matrix to be solved": lambda m: torch.linalg.solve(m[:3] + 9 * torch.eye(3, dtype=m.dtype), seeded(3, 2)),
    "angle": lambda m: torch.view_as_real(torch.polar(m, m)),
    "size of complex numbers": lambda m: torch.complex(m, m.flip(0)).abs(),
    "power spectrum": lambda m: torch.fft.rfft(m).abs() ** 2,
    "written twice in an order left open": lambda m: torch.zeros(4, 3, dtype=m.dtype).index_put((TWICE,), m),
}


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_what_changes_an_operation_ends_the_front(name: str) -> None:
    net = network(lambda x: NOT_AFFINE[name](halved(x[0])))
    assert ["output"] not in ends(net).values()
    space = bs.nullspace(bs.front(net))
    generator = torch.Generator().manual_seed(0)
    delta = space.sample(2, generator)
    x = torch.randn(2, *SHAPE, generator=generator, dtype=torch.float64)
    for size in (1e-3, 1.0, 1e3):
        for image_, change in zip(x, size * delta, strict=True):
            before, after = (net.double(y[None]) for y in (image_, image_ + change))
            torch.testing.assert_close(after, before, rtol=0, atol=1e-9 * max(1.0, size) ** 2)


PIECEWISE: dict[str, Function] = {
    "abs": torch.abs,
    "relu": torch.relu,
    "trunc": torch.trunc,
    "round": torch.round,
    "sign": torch.sign,
    "tanh": torch.tanh,
    "expm1": torch.expm1,
    "hardtanh": lambda x: F.hardtanh(x, -1e3, 1e3),
    "hardshrink": lambda x: F.hardshrink(x, 0.01),
    "softshrink": lambda x: F.softshrink(x, 1e-3),
    "threshold": lambda x: F.threshold(x, -900.0, 0.0),
    "sinh": lambda x: torch.sinh(1e-6 * x),
}


@pytest.mark.parametrize("name", PIECEWISE)
def test_the_check_finds_what_is_not_affine_even_if_it_were_listed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LINEAR, name, [["self"]])
    net = network(lambda x: PIECEWISE[name](x))
    assert ["output"] not in ends(net).values()


def test_a_constant_so_large_that_nothing_can_be_seen_beside_it_ends_the_front() -> None:
    assert list(ends(network(lambda x: x + 1e3)).values()) == [["output"]]
    assert list(ends(network(lambda x: x + 1e12)).values()) == [["add"]]
    assert list(ends(network(lambda x: x.masked_fill(seeded(4, 6) > 0, -torch.inf))).values()) == [["output"]]
    assert list(ends(network(lambda x: x * torch.inf)).values()) == [["mul"]]
    assert list(ends(network(lambda x: x + torch.full((6,), torch.nan)))) == ["input"]


@pytest.mark.parametrize("name", ["mul", "mm", "addcmul", "convolution", "where", "native_batch_norm"])
def test_a_constant_that_is_overwritten_later_counts_as_it_was(name: str) -> None:
    """A network may compute its weights in a buffer and use it again."""

    def function(x: Tensor) -> Tensor:
        c = seeded(6, 6).clone()
        made = {
            "mul": lambda: x[0] * c[0],
            "mm": lambda: x[0] @ c,
            "addcmul": lambda: torch.addcmul(c[0], x[0], c[0]),
            "convolution": lambda: F.conv1d(x.mT, c[..., None]),
            "where": lambda: torch.where(c[0] > 0, x[0], 2 * x[0]),
            "native_batch_norm": lambda: F.batch_norm(x.mT, c[0], c[1] ** 2, c[2]),
        }[name]()
        c.zero_()
        return made

    net = network(function)
    expected = net.double(seeded(1, *SHAPE)) - net.double(torch.zeros(1, *SHAPE, dtype=torch.float64))
    torch.testing.assert_close(bs.front(net) @ seeded(1, *SHAPE), expected.reshape(1, *bs.front(net).out_shape))


def test_adjoint_products_of_what_ran_in_inference_mode() -> None:
    @torch.inference_mode()
    def function(x: Tensor) -> Tensor:
        y = x * 1
        return torch.addcmul(y.flip(1), y, seeded(6).clone()).cumsum(1)

    net = network(function)
    matrix = bs.front(net).to_dense()
    torch.testing.assert_close(bs.front(net).adjoint(seeded(1, *SHAPE)).flatten(), seeded(1, *SHAPE).flatten() @ matrix)


def test_weights_of_a_bag_that_have_no_derivative_end_the_front() -> None:
    bags = I4.expand(4, 4)
    net = network(lambda x: F.embedding_bag(bags, seeded(4, 3), per_sample_weights=x[0, :, :4], mode="sum"))
    assert list(ends(net).values()) == [["_embedding_bag_forward_only"]]


def test_a_write_through_a_complex_view_ends_the_front() -> None:
    def function(x: Tensor) -> Tensor:
        z = cx(x[0] * 1)
        z[1:].mul_(2j)
        return torch.view_as_real(z)

    net = network(function)
    assert bs.nullspace(bs.front(net)).dim == 0


def test_bits_that_are_read_as_numbers_of_another_type_end_the_front() -> None:
    assert list(ends(network(lambda x: x.view(torch.float32))).values()) == [["view"]]
    assert list(ends(network(lambda x: x.view(torch.complex128))).values()) == [["view"]]


def test_an_operation_that_writes_into_an_argument_named_out_is_not_affine() -> None:
    a, out = torch.ones(2, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
    call = Call(ATEN.mul.out, (a, a), {"out": out}, {id(a): Value("a", shape_of(a))}, torch.float64)
    assert linear_part(call) is None


def test_the_precision_of_the_network_is_what_conversions_must_keep() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU()).bfloat16()
    assert Network("half", module.eval(), (6,)).front.out_shape == (4,)
