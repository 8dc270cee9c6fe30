"""Figure 2: settings, and the networks of the sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch import nn

from ...errors import FileError
from ...networks.paper_networks import Stem, convolutional, mlp5
from ..common.models import NAMED, images
from ..parts import Preset, Settings

SETS = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN"}
Sweep = tuple[tuple[str, int, int, tuple[int, ...]], ...]
Widths = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Fig2(Settings):
    """Settings of figure 2.

    Attributes:
        convolutions: Architecture, size and stride of the first layer's kernels, and their numbers C_out; padding 1.
        widths: Data sets, and the numbers of neurons N_out of the first layer of MLP-5.
        steps: Training steps of the convolutional networks.
        mlp_steps: Training steps of MLP-5.
        batch: Images per step.
        samples: Number of training images that are used; all if None.
        checked: Points at which all singular values are computed too.
        missing: Missing data sets, and how to get them.
    """

    convolutions: Sweep = ()
    widths: Widths = ()
    steps: int = 20
    mlp_steps: int = 100
    batch: int = 128
    samples: int | None = None
    checked: tuple[str, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)


def for_preset(preset: Preset, seed: int) -> Fig2:
    """The settings of a preset."""
    if preset == "smoke":
        few: Sweep = (("resnet18", 3, 2, (6, 10, 13)),)
        return Fig2(preset, seed, few, (("mnist", (392, 784, 980)),), 1, 1, 20, 20, ("mlp5-mnist-784",))
    thirds, fifths, plenty = (2, 6, 9, 11, 12, 13, 16), (8, 24, 40, 47, 48, 49, 56), preset == "paper"
    sweep: Sweep = (
        *((name, 3, 2, tuple(range(1, 17)) if plenty else thirds) for name in ("resnet18", "resnet50", "efficientnet")),
        ("resnet18", 5, 4, tuple(range(4, 65, 4)) if plenty else fifths),
        ("vgg16", 3, 1, (1, 2, 3, 4, 6)),
    )
    pixels = (384, 1152, 1920, 2688, 3072, 3456)
    widths: Widths = (("mnist", (98, 294, 490, 686, 784, 882)), *((name, pixels) for name in list(SETS)[1:]))
    checked = ("resnet18-3-2-11", "resnet18-3-2-12", "resnet18-3-2-13", "resnet18-5-4-48", "vgg16-3-1-3")
    return Fig2(
        preset,
        seed,
        sweep,
        widths,
        steps=60 * 390 if plenty else 20,
        mlp_steps=60 * 390 if plenty else 100,
        samples=None if plenty else 12_800,
        checked=(*checked, "mlp5-mnist-784", "mlp5-cifar10-384"),
        missing=_missing(preset),
    )


def _missing(preset: Preset) -> dict[str, str]:
    """The data sets that cannot be downloaded, where they have not been put by hand."""
    found = {}
    for name in ("cifar100", "svhn"):
        try:
            images(name, preset, 1, "train")
        except FileError as error:
            found[name] = str(error).replace(str(Path.home()), "~")
    return found


@dataclass(frozen=True)
class Point:
    """One network of the sweep: its first layer has ``width`` kernels or neurons."""

    part: str
    family: str
    width: int
    dataset: str
    build: Callable[[], nn.Module]
    steps: int


def points(s: Fig2) -> list[Point]:
    """All networks of the sweep whose data set is available."""
    made = []
    for name, size, stride, widths in s.convolutions:
        family = f"{NAMED[name]}, K {size}, S {stride}"
        for width in widths:
            build = partial(convolutional, name, "cifar10", Stem(width, size, stride, 1))
            made.append(Point(f"{name}-{size}-{stride}-{width}", family, width, "cifar10", build, s.steps))
    for dataset, widths in s.widths:
        for width in widths if dataset not in s.missing else ():
            family, build_mlp = f"MLP-5, {SETS[dataset]}", partial(mlp5, dataset, width)
            made.append(Point(f"mlp5-{dataset}-{width}", family, width, dataset, build_mlp, s.mlp_steps))
    return made
