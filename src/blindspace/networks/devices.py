"""Modules on other devices: the work is done where the images lie, by a copy of the network for each device."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import fx, nn

from ..errors import UnsupportedLayerError, first_line
from .precisions import converted

CPU = torch.device("cpu")

_copies: WeakKeyDictionary[nn.Module, dict[torch.device, nn.Module]] = WeakKeyDictionary()


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's first parameter or buffer; the CPU if it has none."""
    return next((tensor.device for tensor in (*module.parameters(), *module.buffers())), CPU)


def on_device(module: nn.Module, device: torch.device, name: str = "the network") -> nn.Module:
    """The module itself if it lies on a device, else a copy of it there, which is kept as long as the module.

    Args:
        module: A module on the CPU.
        device: The device.
        name: Name of the network in the message.

    Raises:
        UnsupportedLayerError: The module does not let itself be copied to the device.
    """
    if device == device_of(module):
        return module
    copies = _copies.setdefault(module, {})
    if device not in copies:
        try:
            copies[device] = _copied(module, device)
        except Exception as error:  # code of others may raise anything
            reason = f"{name} does not let itself be copied to {device}, where the images lie: {first_line(error)}"
            raise UnsupportedLayerError(reason) from error
    return copies[device]


def _copied(module: nn.Module, device: torch.device) -> nn.Module:
    found = converted(module, lambda tensor: tensor.to(device))
    for part in found.modules():
        if isinstance(part, fx.GraphModule):
            _make_there(part, device)
    return found


def _make_there(module: fx.GraphModule, device: torch.device) -> None:
    """Let a graph that was recorded on the CPU make its new tensors on a device."""
    for node in module.graph.nodes:
        if node.kwargs.get("device") is not None:
            node.kwargs = {**node.kwargs, "device": device}
        node.args = tuple(device if arg == CPU and isinstance(arg, torch.device) else arg for arg in node.args)
    module.recompile()
