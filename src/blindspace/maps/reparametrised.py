"""Layers whose weights are computed from other tensors, as layers with these weights.

Weight norm (Salimans & Kingma 2016), spectral norm (Miyato et al. 2018) and pruning replace a weight by a function of
other parameters, which a hook or a property evaluates before every run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

HOOKS = (WeightNorm, SpectralNorm, BasePruningMethod)
"""The hooks of torch that compute a weight."""


def plain_layer(module: nn.Module) -> nn.Module:
    """A layer with the weights that are computed for it in eval; the layer itself if none are."""
    hooks = list(module._forward_pre_hooks.values())
    kind = type(module)
    if is_parametrized(module):
        kind = kind.__bases__[0]  # torch has made a class of its own for this layer
    elif not hooks:
        return module
    if not all(isinstance(hook, HOOKS) for hook in hooks):
        return module
    with torch.no_grad():
        computed = {**dict(_by_hook(module, hook) for hook in hooks), **_by_parametrisation(module)}
    found = object.__new__(kind)
    vars(found).update(
        {name: value.copy() if isinstance(value, dict) else value for name, value in vars(module).items()}
    )
    found._forward_pre_hooks.clear()
    found._modules.pop("parametrizations", None)
    for name, value in computed.items():
        vars(found).pop(name, None)
        found._parameters[name] = nn.Parameter(value.detach(), requires_grad=False)
    return found


def _by_hook(module: nn.Module, hook: Any) -> tuple[str, Tensor]:
    """The name and the value of the weight that a hook computes."""
    if isinstance(hook, BasePruningMethod):
        return hook._tensor_name, hook.apply_mask(module)
    if isinstance(hook, SpectralNorm):
        return hook.name, hook.compute_weight(module, do_power_iteration=False)
    return hook.name, hook.compute_weight(module)


def _by_parametrisation(module: nn.Module) -> dict[str, Tensor]:
    """The weights that parametrisations compute, by their names."""
    if not is_parametrized(module):
        return {}
    held: Any = module.parametrizations
    training = [part for part in held.modules() if part.training]
    held.eval()  # in training, a spectral norm changes its estimate
    try:
        return {name: getattr(module, name) for name in held}
    finally:
        for part in training:
            part.training = True
