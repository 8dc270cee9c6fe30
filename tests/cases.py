"""The registry of affine modules with seeded weights that the tests of maps, solvers and subspaces run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import pi
from typing import Any, Literal
from zlib import crc32

import torch
from torch import Tensor, nn

from blindspace.networks import CentreCrop, Normalise, Resize

Shape = tuple[int, ...]
Kind = Literal["exact", "numerical"]


@dataclass(frozen=True)
class Case:
    """One module at one input shape.

    Attributes:
        id: Name of the case.
        build: Function that makes the module, with weights from torch's global generator.
        in_shape: Shape of one input.
        dim: Dimension of the nullspace if it follows from theory; None if only the oracle can compute it.
        kind: Kind of the certificate if it follows from theory.
        solver: Name of the solver that must serve the module; None for any.
    """

    id: str
    build: Callable[[], nn.Module]
    in_shape: Shape
    dim: int | None = None
    kind: Kind | None = None
    solver: str | None = None

    def make(self) -> tuple[nn.Module, Shape]:
        """The module in eval mode, with the same weights on every call, and the input shape."""
        with torch.random.fork_rng():
            torch.manual_seed(crc32(self.id.encode()))
            module = self.build().eval()
        return module.requires_grad_(False), self.in_shape


def weighted(module: Any, weight: Tensor) -> nn.Module:
    """The module with its random weight replaced."""
    assert module.weight.shape == weight.shape
    module.weight = nn.Parameter(weight.to(module.weight.dtype))
    built: nn.Module = module
    return built


def kernels_kept(module: Any, change: Callable[[Tensor], None]) -> nn.Module:
    """The module after an in-place change of its weight."""
    with torch.no_grad():
        change(module.weight)
    built: nn.Module = module
    return built


def gabors(count: int, size: int) -> Tensor:
    """Smooth, oriented, strongly correlated RGB kernels, like those of a trained stem, ``(count, 3, size, size)``."""
    at = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(at, at, indexing="ij")
    kernels = []
    for i in range(count):
        angle, phase = pi * i / count, 2 * pi * i / count
        along = x * torch.cos(torch.tensor(angle)) + y * torch.sin(torch.tensor(angle))
        wave = torch.exp(-2 * (x**2 + y**2)) * torch.cos(3 * along + phase)
        kernels.append(torch.stack([wave, wave * (0.5 + 0.1 * i), wave * 0.25 + 0.05 * i]))
    return torch.stack(kernels)


def luminance(count: int, size: int) -> Tensor:
    """Kernels that weigh the three colours by powers of two, ``(count, 3, size, size)``, hence without rounding."""
    return torch.randn(count, 1, size, size) * torch.tensor([0.25, 0.5, 0.125])[:, None, None]


def whole_numbers(rows: int, columns: int, rank: int) -> Tensor:
    """A matrix of exactly that rank: a product of matrices of small integers."""
    return torch.randint(-4, 5, (rows, rank)).float() @ torch.randint(-4, 5, (rank, columns)).float()


def falling(rows: int, columns: int, last: float) -> Tensor:
    """A matrix whose singular values fall geometrically from 1 to ``last``."""
    left = torch.linalg.qr(torch.randn(rows, rows, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(columns, rows, dtype=torch.float64)).Q
    sigma = last ** (torch.arange(rows, dtype=torch.float64) / (rows - 1))
    matrix: Tensor = (left * sigma) @ right.T
    return matrix


def normed(module: Any) -> nn.Module:
    """A batch norm with statistics and weights as after training; the gamma of the second channel is 0."""
    with torch.no_grad():
        module.running_mean.normal_()
        module.running_var.uniform_(0.2, 3)
        module.weight.normal_(1, 0.3)
        module.bias.normal_()
        module.weight[1] = 0
    built: nn.Module = module
    return built


def alive(module: Any) -> nn.Module:
    """A batch norm as after training, with all gammas nonzero."""
    with torch.no_grad():
        module.running_mean.normal_()
        module.running_var.uniform_(0.2, 3)
        module.weight.uniform_(0.5, 1.5)
    built: nn.Module = module
    return built


def unread(weight: Tensor) -> None:
    """Set every third column to 0."""
    weight[:, ::3] = 0


def all_zero(weight: Tensor) -> None:
    """Set all kernels to 0."""
    weight.zero_()


def some_zero(weight: Tensor) -> None:
    """Set every other kernel to 0."""
    weight[::2] = 0


def duplicates(weight: Tensor) -> None:
    """Make the second half of the kernels twice the first half."""
    half = len(weight) // 2
    weight[half:] = weight[:half] * 2


def box_blur() -> nn.Module:
    """The mean over 3 × 3 pixels."""
    return weighted(nn.Conv2d(1, 1, 3, 1, 1), torch.full((1, 1, 3, 3), 1 / 9))


LINEAR = [
    Case("linear-wide", lambda: nn.Linear(60, 25), (60,), 35, "exact", "patchwise"),
    Case("linear-tall", lambda: nn.Linear(30, 80), (30,), 0, "exact", "patchwise"),
    Case("linear-tokens", lambda: nn.Linear(12, 5), (3, 7, 12), 147, "exact", "patchwise"),
    Case(
        "linear-rank-deficient",
        lambda: weighted(nn.Linear(40, 20), whole_numbers(20, 40, 6)),
        (40,),
        34,
        "exact",
        "patchwise",
    ),
    Case("linear-falling", lambda: weighted(nn.Linear(50, 30), falling(30, 50, 1e-4)), (50,), 20, "exact"),
    Case("linear-unread", lambda: kernels_kept(nn.Linear(40, 10), unread), (40,), 30, "exact"),
]

CONVOLUTIONS = [
    Case("conv1d-strided", lambda: nn.Conv1d(3, 4, 5, 2, 2), (3, 40), 40),
    Case("conv1d-dilated-reflect", lambda: nn.Conv1d(3, 2, 3, 1, 4, 4, padding_mode="reflect"), (3, 25)),
    Case("conv1d-same-even", lambda: nn.Conv1d(2, 1, 4, padding="same"), (2, 50)),
    Case("conv2d-stem", lambda: nn.Conv2d(3, 4, 7, 2, 3), (3, 14, 14)),
    Case("conv2d-rectangular-valid", lambda: nn.Conv2d(3, 2, (3, 5), padding="valid"), (3, 9, 17), 277),
    Case("conv2d-same-circular", lambda: nn.Conv2d(2, 1, 4, padding="same", padding_mode="circular"), (2, 9, 12)),
    Case("conv2d-dilated", lambda: nn.Conv2d(3, 2, 3, (1, 2), (2, 1), (2, 3)), (3, 12, 14)),
    Case("conv2d-reflect", lambda: nn.Conv2d(3, 2, 5, 2, 2, padding_mode="reflect"), (3, 13, 10)),
    Case("conv2d-replicate", lambda: nn.Conv2d(2, 3, 3, 2, (1, 2), padding_mode="replicate"), (2, 11, 14)),
    Case("conv2d-depthwise", lambda: nn.Conv2d(4, 4, 3, 2, 1, groups=4), (4, 11, 11), 4 * (121 - 36)),
    Case("conv2d-groups", lambda: nn.Conv2d(6, 4, 3, 1, 1, groups=2), (6, 8, 9)),
    Case("conv2d-overdetermined", lambda: nn.Conv2d(2, 5, 3, 1, 1), (2, 10, 10), 0, "exact"),
    # For two kernels a and b, b∗(a∗x) − a∗(b∗x) = 0 makes 4 of the 32 outputs depend on the others.
    Case("conv2d-tied", lambda: nn.Conv2d(1, 2, 3), (1, 6, 6), 8, "exact"),
    Case("conv2d-wide-padding", lambda: nn.Conv2d(2, 2, 3, 2, 4), (2, 7, 7)),
    Case("conv2d-1x1", lambda: nn.Conv2d(8, 3, 1), (8, 6, 7), 5 * 42, "exact", "patchwise"),
    Case("conv2d-1x1-strided", lambda: nn.Conv2d(3, 2, 1, 2), (3, 10, 13), 390 - 70, "exact", "patchwise"),
    Case("conv2d-1x1-padded", lambda: nn.Conv2d(4, 2, 1, 1, 1), (4, 6, 6), 72, "exact", "patchwise"),
    Case("conv2d-patches", lambda: nn.Conv2d(3, 5, 4, 4), (3, 12, 15), 540 - 45, "exact", "patchwise"),
    Case("conv2d-patches-tall", lambda: nn.Conv2d(2, 40, 4, 4), (2, 8, 8), 0, "exact", "patchwise"),
    Case("conv2d-patches-grouped", lambda: nn.Conv2d(6, 9, 3, 3, groups=3), (6, 9, 9), 486 - 81, "exact", "patchwise"),
    Case("conv2d-patches-padded", lambda: nn.Conv2d(2, 6, 3, 3, 1), (2, 11, 13), None, "exact", "patchwise"),
    Case("conv2d-below-stride", lambda: nn.Conv2d(2, 3, 2, 3, 1), (2, 13, 10), None, "exact", "patchwise"),
    Case(
        "conv2d-below-stride-dilated", lambda: nn.Conv2d(2, 3, 2, 4, 0, 3), (2, 13, 17), 442 - 36, "exact", "patchwise"
    ),
    Case("conv2d-patches-circular", lambda: nn.Conv2d(2, 3, 3, 3, 1, padding_mode="circular"), (2, 10, 10)),
    Case("conv2d-all-dead", lambda: kernels_kept(nn.Conv2d(3, 4, 3, 2, 1), all_zero), (3, 8, 8), 192, "exact"),
    Case("conv2d-some-dead", lambda: kernels_kept(nn.Conv2d(3, 4, 3, 2, 1), some_zero), (3, 10, 10), 250),
    Case(
        "conv2d-patches-dead",
        lambda: kernels_kept(nn.Conv2d(3, 6, 2, 2), some_zero),
        (3, 8, 8),
        144,
        "exact",
        "patchwise",
    ),
    Case(
        "conv2d-duplicates",
        lambda: kernels_kept(nn.Conv2d(3, 4, 3, 2, 1), duplicates),
        (3, 12, 12),
        432 - 72,
        "exact",
    ),
    Case(
        "conv2d-luminance",
        lambda: weighted(nn.Conv2d(3, 5, 5, 2, 2), luminance(5, 5)),
        (3, 13, 13),
        2 * 169,
        "exact",
    ),
    Case("conv2d-gabor", lambda: weighted(nn.Conv2d(3, 4, 7, 2, 3), gabors(4, 7)), (3, 14, 14)),
    Case("conv2d-box-blur", box_blur, (1, 32, 32), 63, "exact"),
    Case("conv3d-strided", lambda: nn.Conv3d(2, 2, 3, (1, 2, 2), 1), (2, 4, 8, 8)),
    Case("conv3d-patches", lambda: nn.Conv3d(2, 3, 2, 2), (2, 4, 6, 8), 384 - 72, "exact", "patchwise"),
    Case("conv3d-groups-circular", lambda: nn.Conv3d(2, 2, 3, 2, 1, 1, 2, padding_mode="circular"), (2, 5, 6, 7)),
]

TRANSPOSED = [
    Case("transpose1d", lambda: nn.ConvTranspose1d(4, 2, 5, 2, 1, 1), (4, 30)),
    Case("transpose2d-up", lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), (4, 6, 7)),
    Case("transpose2d-lossy", lambda: nn.ConvTranspose2d(8, 2, 3, 1, 1), (8, 8, 8)),
    Case("transpose2d-groups", lambda: nn.ConvTranspose2d(6, 2, (3, 2), (2, 3), 1, 1, 2, dilation=2), (6, 6, 5)),
    Case("transpose3d", lambda: nn.ConvTranspose3d(4, 1, 2, (1, 2, 1), 0, 0), (4, 4, 3, 5)),
]

POOLS = [
    Case("avgpool1d", lambda: nn.AvgPool1d(3, 2, 1), (2, 31), 2 * 15, "exact"),
    Case("avgpool2d-ceil", lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), (2, 12, 13)),
    Case("avgpool2d-counted", lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 12, 9)),
    Case("avgpool2d-divisor", lambda: nn.AvgPool2d((2, 4), divisor_override=5), (3, 10, 12), 360 - 45, "exact"),
    Case("avgpool3d", lambda: nn.AvgPool3d(2, 2), (1, 6, 8, 4), 192 - 24, "exact"),
    Case("adaptive-global", lambda: nn.AdaptiveAvgPool2d(1), (5, 8, 9), 355, "exact"),
    Case("adaptive-uneven", lambda: nn.AdaptiveAvgPool2d((3, None)), (2, 10, 7), 2 * 7 * 7, "exact"),
]

RESIZES = [
    Case("resize-bilinear-down", lambda: nn.Upsample((5, 7), mode="bilinear"), (2, 12, 13), 242, "exact", "separable"),
    Case("resize-bilinear-up", lambda: nn.Upsample((11, 8), mode="bilinear"), (2, 7, 5), 0, "exact", "separable"),
    # One axis grows, which is injective, and the other shrinks.
    Case("resize-bicubic-both", lambda: nn.Upsample((14, 6), mode="bicubic"), (2, 9, 11), 90, "exact", "separable"),
    Case("resize-bicubic-factor", lambda: nn.Upsample(scale_factor=(0.6, 0.7), mode="bicubic"), (2, 11, 12)),
    Case("resize-bilinear-corners", lambda: nn.UpsamplingBilinear2d(scale_factor=2), (2, 5, 6), 0, "exact"),
    Case("resize-nearest-down", lambda: nn.UpsamplingNearest2d((4, 5)), (2, 9, 7), 126 - 40, "exact", "separable"),
    Case("resize-nearest-exact", lambda: nn.Upsample(scale_factor=0.45, mode="nearest-exact"), (2, 11, 9)),
    Case("resize-area", lambda: nn.Upsample((4, 3), mode="area"), (2, 10, 7), 140 - 24, "exact", "separable"),
    Case("resize-linear-1d", lambda: nn.Upsample(17, mode="linear"), (2, 40), 46, "exact", "separable"),
    Case("resize-trilinear", lambda: nn.Upsample((3, 5, 2), mode="trilinear"), (1, 5, 4, 6), 96, "exact", "separable"),
    Case("resize-antialiased", lambda: Resize((5, 6)), (2, 13, 16), 416 - 60, "exact", "separable"),
    Case("resize-antialiased-bicubic", lambda: Resize((5, 9), "bicubic"), (2, 14, 11), 308 - 90, "exact", "separable"),
    # Along each axis the nullspace is smaller than the row space.
    Case("resize-slightly", lambda: Resize((13, 14)), (2, 15, 16), 480 - 364, "exact", "separable"),
    *(
        Case(
            f"resize-pil-{mode}",
            partial(Resize, (6, 7), mode, convention="pil"),
            (2, 15, 11),
            246,
            "exact",
            "separable",
        )
        for mode in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    ),
    Case("resize-pil-up", lambda: Resize((13, 12), "lanczos", convention="pil"), (2, 8, 11), 0, "exact", "separable"),
    Case(
        "resize-crop-normalise",
        lambda: nn.Sequential(Resize(8, "bicubic", convention="pil"), CentreCrop(7), Normalise([0.5] * 3, [0.2, 1, 3])),
        (3, 12, 15),
        540 - 147,
        "exact",
        "separable",
    ),
    Case("resize-pool", lambda: nn.Sequential(Resize((9, 8)), nn.AvgPool2d(2)), (2, 13, 14), 332, "exact", "separable"),
    Case("resize-down-up", lambda: nn.Sequential(Resize((4, 5)), Resize((9, 9))), (2, 9, 9), 122, "exact", "separable"),
    Case(
        "resize-conv",
        lambda: nn.Sequential(Resize((9, 10)), Normalise([0.5] * 3, [0.2, 0.3, 0.4]), nn.Conv2d(3, 4, 3, 2, 1)),
        (3, 14, 13),
        546 - 100,
    ),
]

MOVES = [
    Case("batchnorm-dead-channel", lambda: normed(nn.BatchNorm2d(3)), (3, 5, 6), 30, "exact", "diagonal"),
    Case("pad-zeros", lambda: nn.ZeroPad2d((1, 2, 0, 3)), (2, 5, 6), 0, "exact", "diagonal"),
    Case("crop-and-pad", lambda: nn.ConstantPad2d((-2, 1, -1, -1), 0.5), (2, 6, 7), 84 - 40, "exact", "diagonal"),
    Case("pad-reflect", lambda: nn.ReflectionPad2d((2, 1, 0, 3)), (2, 5, 6), 0, "exact", "diagonal"),
    Case("pad-circular", lambda: nn.CircularPad1d((3, 5)), (2, 6), 0, "exact", "diagonal"),
    Case("flatten", lambda: nn.Flatten(), (3, 4, 5), 0, "exact", "diagonal"),
    Case("unflatten", lambda: nn.Unflatten(1, (3, 4)), (12,), 0, "exact", "diagonal"),
    Case("pixel-shuffle", lambda: nn.PixelShuffle(2), (8, 3, 5), 0, "exact", "diagonal"),
    Case("pixel-unshuffle", lambda: nn.PixelUnshuffle(3), (2, 6, 9), 0, "exact", "diagonal"),
]

SEQUENCES = [
    Case(
        "norm-conv-1x1",
        lambda: nn.Sequential(alive(nn.BatchNorm2d(3)), nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 8, 1)),
        (3, 12, 12),
        None,
    ),
    Case(
        "dead-norm-conv",
        lambda: nn.Sequential(normed(nn.BatchNorm2d(3)), nn.Conv2d(3, 2, 3, 2, 1), alive(nn.BatchNorm2d(2))),
        (3, 10, 10),
        250,
    ),
    Case(
        "flatten-linear", lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, 20)), (3, 6, 6), 88, "exact", "patchwise"
    ),
    Case(
        "pad-patches-norm",
        lambda: nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 4, 4, 4), alive(nn.BatchNorm2d(4))),
        (3, 10, 10),
        300 - 36,
        "exact",
    ),
    Case(
        "unshuffle-1x1",
        lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 5, 1)),
        (3, 8, 8),
        192 - 80,
        "exact",
        "patchwise",
    ),
    Case(
        "conv-conv",
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Dropout(), nn.Conv2d(3, 1, 3, 2)),
        (2, 9, 9),
        153,
        "exact",
    ),
    Case(
        "pool-flatten-linear", lambda: nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, 10)), (3, 8, 8), 182
    ),
]

CASES = [*LINEAR, *CONVOLUTIONS, *TRANSPOSED, *POOLS, *RESIZES, *MOVES, *SEQUENCES]

BIG_CASES = [
    Case("stem-f2", lambda: nn.Conv2d(3, 10, 7, 2, 3), (3, 32, 32), 512, "exact"),
    Case("resnet18-layer2.0.conv1", lambda: nn.Conv2d(64, 128, 3, 2, 1, bias=False), (64, 8, 8), 2048, "exact"),
    Case("odd-31", lambda: nn.Conv2d(3, 11, 3, 2, 1), (3, 31, 31), 100, "exact"),
    Case("luminance-32", lambda: weighted(nn.Conv2d(3, 5, 7, 2, 3), luminance(5, 7)), (3, 32, 32), 2048, "exact"),
    Case("patches-padded-16", lambda: nn.Conv2d(3, 32, 4, 4, 1), (3, 16, 16), 261, "exact", "patchwise"),
]
