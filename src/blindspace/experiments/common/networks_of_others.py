"""Networks for CIFAR-10 that others trained and several experiments measure, where ``BLINDSPACE_MODELS`` has them.

The ResNet-20 has the weights of ``pytorch_resnet_cifar10`` (Idelbayev 2018), 91.5 % on CIFAR-10. The vision transformer
is of the verification benchmarks, trained by interval bounds (Shi et al. 2021).
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import FileError
from ...networks import Network, Normalise, load
from ...networks.preprocessing_modules import ResidualBlock
from .models import of_others

RESNET20, VIT = "resnet20-12fca82f.th", "ibp_3_3_8.onnx.gz"
"""File names."""

RESNET20_NAME = "resnet20 of others"
"""Name of the network of that file."""

VIT_READS = "normalise 0.4914 0.4822 0.4465 / 0.2023 0.1994 0.2010"
"""The preprocessing that the vision transformer was trained with."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WIDTHS = (16, 16, 32, 64)


class Padded(nn.Module):
    """The skip connection without weights of He et al. 2016, option A: every second pixel, new channels of zeros.

    Args:
        channels: Number of new channels on either side.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, C, H, W)`` to ``(B, 2 C, H/2, W/2)``."""
        return F.pad(x[..., ::2, ::2], (0, 0, 0, 0, self.channels, self.channels))


def resnet20_of_others() -> Network:
    """The network, which reads images in [0, 1].

    Raises:
        FileError: The file is missing, or holds other weights.
    """
    path = _path(RESNET20)
    layers: list[tuple[str, nn.Module]] = [
        ("normalise", Normalise(MEAN, STD)),
        ("conv1", nn.Conv2d(3, 16, 3, 1, 1, bias=False)),
        ("bn1", nn.BatchNorm2d(16)),
        ("relu", nn.ReLU()),
    ]
    for stage in (1, 2, 3):
        before, after = WIDTHS[stage - 1], WIDTHS[stage]
        blocks = [ResidualBlock(before if i == 0 else after, after, 2 if i == 0 and stage > 1 else 1) for i in range(3)]
        if stage > 1:
            blocks[0].skip = Padded(before // 2)
        layers.append((f"layer{stage}", nn.Sequential(*blocks)))
    layers += [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("linear", nn.Linear(64, 10))]
    module = nn.Sequential(OrderedDict(layers))
    weights = {
        name.removeprefix("module."): value
        for name, value in torch.load(path, map_location="cpu", weights_only=True)["state_dict"].items()
    }
    try:
        module.load_state_dict({**weights, "normalise.mean": torch.tensor(MEAN), "normalise.std": torch.tensor(STD)})
    except RuntimeError as error:
        raise FileError(f"{path} does not hold the weights of a ResNet-20 for CIFAR-10") from error
    return load(module.eval(), (3, 32, 32), name=RESNET20_NAME)


def vit_of_others() -> Network:
    """The vision transformer, which reads images in [0, 1].

    Raises:
        FileError: The file is missing.
    """
    return load(_path(VIT), (3, 32, 32), preprocess=VIT_READS)


def _path(file: str) -> Path:
    path = of_others(file)
    if path is None:
        raise FileError(f"{file} is missing: name its folder in BLINDSPACE_MODELS")
    return path
