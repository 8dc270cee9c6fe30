"""Networks of the paper on harmless perturbations, as modified in its appendix F, from the definitions of timm.

They read images in [0, 1] unnormalised, as in the paper. Weights are not shipped: ``blindspace train`` trains them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod

from torch import nn

from ..data import CLASSES, SHAPES
from ..errors import UnknownNameError
from ..extras import library
from ..maps import Shape
from .builtin import Builtin, Recipe

_TIMM = {
    "resnet18": ("resnet18", "conv1"),
    "resnet50": ("resnet50", "conv1"),
    "vgg16": ("vgg16", "features.0"),
    "efficientnet": ("efficientnet_b0", "conv_stem"),
}
"""Name in timm, and name of the first layer."""

_LEAST_SIDE = {"vgg16": 32}
"""Smallest side of the images for a network that halves them more often than smaller ones allow."""

SKIPPED = {"resnet18": ("layer2.0", "conv1"), "resnet50": ("layer1.1", "conv1")}
"""The block whose skip connection appendix F.2 removes, and its layer with fewer outputs than inputs."""


@dataclass(frozen=True)
class Stem:
    """Replacement of the first layer: a convolution with few kernels, then a 3×3 one to the usual channels.

    Attributes:
        kernels: Number of kernels of the first convolution, ``C_out`` of figure 2.
        size: Side of these kernels in pixels.
        stride: Stride of the first convolution.
        padding: Zero padding of the first convolution, in pixels.
    """

    kernels: int
    size: int
    stride: int
    padding: int


TEN = Stem(10, 7, 2, 3)
"""Appendix F.2 and F.3: 3·32·32 − 10·16·16 = 512 dimensions are harmless."""


def convolutional(
    architecture: str, dataset: str = "cifar10", stem: Stem | None = None, skip: bool = True
) -> nn.Module:
    """One of the paper's convolutional networks, with random weights.

    Args:
        architecture: ``resnet18``, ``resnet50``, ``vgg16`` or ``efficientnet``.
        dataset: Data set that determines the numbers of channels and of classes.
        stem: Replacement of the first layer (appendix F.1 to F.3).
        skip: Whether the block of ``SKIPPED`` keeps its skip connection (appendix F.2 removes it).

    Raises:
        UnknownNameError: There is no such architecture, or the paper does not remove its skip connection.
        MissingExtraError: Timm is not installed.
    """
    if architecture not in _TIMM or not (skip or architecture in SKIPPED):
        known = _TIMM if skip else SKIPPED
        raise UnknownNameError(f"the paper has no {architecture!r} of that kind; there are {', '.join(known)}")
    name, first = _TIMM[architecture]
    channels, classes = SHAPES[dataset][0], len(CLASSES[dataset])
    timm = library("timm", "timm")
    module: nn.Module = timm.create_model(name, num_classes=classes, in_chans=channels)
    if architecture == "vgg16":
        # 32×32 images have shrunk to one pixel here; the two wide layers for 7×7 would dominate the network.
        module.set_submodule("pre_logits", nn.Identity())
        module.set_submodule("head.fc", nn.Linear(512, classes))
    if stem is not None:
        old = module.get_submodule(first)
        assert isinstance(old, nn.Conv2d)
        bias = old.bias is not None
        examined = nn.Conv2d(channels, stem.kernels, stem.size, stem.stride, stem.padding, bias=bias)
        module.set_submodule(
            first, nn.Sequential(examined, nn.Conv2d(stem.kernels, old.out_channels, 3, 1, 1, bias=bias))
        )
    if not skip:
        block = SKIPPED[architecture][0]
        module.set_submodule(block, _without_skip(module.get_submodule(block)))
    return module


def _without_skip(block: nn.Module) -> nn.Sequential:
    """A residual block of timm without its skip connection."""
    # timm initialises the last batch norm with 0, so that a block is its skip connection; without one it would be 0.
    for part in block.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
    order = ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "conv3", "bn3", "act3")
    return nn.Sequential(OrderedDict((name, getattr(block, name)) for name in order if hasattr(block, name)))


def mlp5(dataset: str = "mnist", width: int = 512) -> nn.Sequential:
    """MLP-5 of figure 2: five fully-connected layers, the first of ``width`` neurons (N_out).

    The paper does not state the other widths; here they are 256, 256 and 128.
    """
    shape = SHAPES[dataset]
    widths = (prod(shape), width, 256, 256, 128, len(CLASSES[dataset]))
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


_BUILDS: dict[str, Callable[[str], nn.Module]] = {
    **{name: partial(convolutional, name) for name in _TIMM},
    **{f"{name}-ten": partial(convolutional, name, stem=TEN) for name in SKIPPED},
    **{f"{name}-noskip": partial(convolutional, name, skip=False) for name in SKIPPED},
    "mlp5": mlp5,
}

PAPER: tuple[str, ...] = tuple(_BUILDS)
"""``…-ten``: the stem of ten kernels (F.2, F.3). ``…-noskip``: one block without its skip connection (F.2)."""


def paper_recipe(dataset: str, epochs: int = 60, batch_size: int = 128) -> Recipe:
    """The paper's training: SGD 0.1, momentum 0.9, weight decay 5e-4; random translation and, for CIFAR, mirroring."""
    cifar = dataset.startswith("cifar")
    return Recipe(dataset, epochs, batch_size, crop_padding=4 if SHAPES[dataset][0] == 3 else 2, flip=cifar)


def paper_network(name: str) -> Builtin | None:
    """One of the paper's networks by a name of ``PAPER``, perhaps with ``@`` and a data set.

    None if it is no such name, or the images of the data set are smaller than the network can read.
    """
    base, at, dataset = name.partition("@")
    dataset = dataset if at else ("mnist" if base == "mlp5" else "cifar10")
    if base not in _BUILDS or dataset not in SHAPES or SHAPES[dataset][-1] < _LEAST_SIDE.get(base, 1):
        return None
    return Builtin(name, SHAPES[dataset], partial(_BUILDS[base], dataset), paper_recipe(dataset))


def feature_shape(architecture: str) -> Shape:
    """Input shape of the layer of ``SKIPPED`` for 32×32 images (appendix F.2)."""
    return {"resnet18": (64, 8, 8), "resnet50": (256, 8, 8)}[architecture]
