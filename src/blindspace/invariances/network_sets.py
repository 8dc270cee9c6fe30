"""The harmless sets of all non-linear operations of a network at a batch of images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import UnsupportedLayerError
from ..networks.devices import CPU
from ..networks.following.aten_call import Call
from ..networks.network import Network
from ..networks.onnx.network import OnnxModule, OnnxNetwork
from .activation_sets import HarmlessSet
from .onnx_sets import OnnxSets
from .set_rules import RULES, Reading, harmless_set_of
from .watch import watching


def reader(network: Network, dtype: torch.dtype) -> Callable[[Tensor, float], list[tuple[str, HarmlessSet]]]:
    """What gives the harmless sets for a batch and a tolerance."""
    if isinstance(network, OnnxNetwork):
        sets = OnnxSets(network)
        return sets.read
    return lambda x, tol: read_sets(watched_module(network, dtype, x.device), x, tol)


def read_sets(module: nn.Module, x: Tensor, tol: float = 0.0) -> list[tuple[str, HarmlessSet]]:
    """The harmless sets of a network's operations for one batch, each with the name of its module."""
    found: list[tuple[str, HarmlessSet]] = []

    def see(name: str, call: Call) -> None:
        read = harmless_set_of(Reading(call, tol)) if call.name in RULES else None
        if read is not None:
            found.append((name, read))

    with watching(module, see):
        module(x)
    return found


def watched_module(network: Network, dtype: torch.dtype | None = None, device: torch.device = CPU) -> nn.Module:
    """The module that a network runs in a precision, the finest one if None, on a device, with every value in sight.

    Raises:
        UnsupportedLayerError: onnxruntime runs it.
        PrecisionError: It does not run in that precision.
    """
    module = network.differentiable(dtype, device)
    if any(isinstance(part, OnnxModule) for part in module.modules()):
        raise UnsupportedLayerError(
            f"onnxruntime runs {network.name} and does not show its values in float64; load the network in PyTorch"
        )
    return module
