"""Formula: settings, and the groups of layers."""

from __future__ import annotations

from dataclasses import dataclass

from ...networks import BUILTIN
from ..common.models import of_others, training, where
from ..parts import Preset, Settings
from .layers import DEPLOYED

USUAL, ANY, LINEAR = "random convolutions, usual options", "random convolutions, any options", "random fully-connected"
BY_HAND, TRAINED, OTHERS = "filters made by hand", "networks trained here", "networks trained by others"
SMALLEST, FILTERS = "pruned: smallest weights", "pruned: whole filters"
GROUPS = (USUAL, ANY, LINEAR, BY_HAND, TRAINED, SMALLEST, FILTERS, OTHERS)
RANDOM = (USUAL, ANY, LINEAR)


@dataclass(frozen=True)
class Formula(Settings):
    """Settings of the survey.

    Attributes:
        count: Number of random layers per kind.
        most: Largest number of inputs of a random layer.
        designed: Largest number of inputs of a filter made by hand.
        checked: Number of inputs up to which an SVD of a random layer is computed too.
        work: Floating-point operations that a layer may take; larger layers are not measured.
        networks: Networks trained here that are surveyed.
        pruned: Networks trained here that are pruned.
        weights: Shares of every layer's weights that are pruned.
        filters: Shares of every layer's filters that are pruned.
        deployed: Files found in the folder ``BLINDSPACE_MODELS``.
    """

    count: int = 100
    most: int = 2048
    designed: int = 4000
    checked: int = 500
    work: float = 2.1e10
    networks: tuple[str, ...] = ("cifar-resnet", "mnist-mlp")
    pruned: tuple[str, ...] = ("cifar-resnet", "mnist-mlp")
    weights: tuple[float, ...] = (0.5, 0.9, 0.99)
    filters: tuple[float, ...] = (0.1, 0.3)
    deployed: tuple[str, ...] = ()


def for_preset(preset: Preset, seed: int) -> Formula:
    """The settings of a preset."""
    if preset == "smoke":
        return Formula(preset, seed, 20, 400, 1000, 200, 1e8, ("mnist-mlp",), ("mnist-mlp",), (0.9,), (0.1,))
    names = ("resnet18-ten", "resnet50-ten") if preset == "paper" else ("resnet18-ten",)
    here = [name for name in names if preset == "paper" or _kept(name, preset)]
    found = tuple(each.file for each in DEPLOYED if of_others(each.file))
    networks = (*BUILTIN, *here)
    return Formula(preset, seed, 400 if preset == "cpu" else 3000, networks=networks, deployed=found)


def _kept(name: str, preset: Preset) -> bool:
    """Whether a network has been trained before; none is trained for this."""
    return (where(name, preset, training(name, preset)) / f"{name}.safetensors").is_file()
