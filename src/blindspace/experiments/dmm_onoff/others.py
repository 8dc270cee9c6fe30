"""The ResNet-20 of others, with the weights of ``pytorch_resnet_cifar10`` (Idelbayev 2018), 91.5 % on CIFAR-10."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import FileError
from ...networks import Network, Normalise, load
from ...networks.preprocessing_modules import ResidualBlock
from ..common.models import of_others
from .settings import FILE, OTHERS

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
    path = of_others(FILE)
    if path is None:
        raise FileError(f"{FILE} is missing: name its folder in BLINDSPACE_MODELS")
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
    return load(module.eval(), (3, 32, 32), name=OTHERS)
