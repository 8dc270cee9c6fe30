"""The harmless set of a non-linear layer at the values that it reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ShapeError, UnsupportedLayerError, first_line, real
from ..maps.floating import as_floating
from ..networks.following.aten_call import Call
from .activation_sets import HarmlessSet
from .set_rules import RULES, Reading, harmless_set_of
from .watch import watching


def harmless_set(layer: nn.Module, z: Tensor, tol: float = 0.0) -> HarmlessSet:
    """What may change in the values that a non-linear layer reads without changing its output.

    For ReLU, ReLU6, hardtanh, clamp, hard-sigmoid, hard-swish, shrinkage and thresholds, units on a plateau may move
    along it. Max pooling lets units below the maxima of all their windows move up to the least of these. LayerNorm,
    GroupNorm and InstanceNorm let a constant be added to each group of values, and where their ε is 0 or ``tol`` allows
    for it, a group be scaled about its mean; RMSNorm has the scaling alone, softmax the constant. Leaky ReLU, GELU,
    sigmoid, tanh, SiLU, ELU and their like let nothing move: the set is {0}; ``rounds`` of it says which outputs do not
    move in the precision of z, by rounding.

    Args:
        layer: A torch module of one such operation, which is put in eval.
        z: The values that it reads, ``(B, *shape)``, floating point.
        tol: Largest change of a normalised output, relative to it, that a scaling may make; 0 for what is exact.

    Returns:
        The set {δ : layer(z + δ) = layer(z)}, or the convex part of it around 0 that ``reason`` names.

    Raises:
        UnsupportedLayerError: The module is none of these, or consists of several.
        ShapeError: z is not a floating-point tensor, or the layer cannot read it.

    Examples:
        >>> import torch, blindspace as bs
        >>> z = torch.tensor([[-2.0, 1.0]])
        >>> found = bs.harmless_set(torch.nn.ReLU(), z)  # a unit that is off may fall as far as it likes, and rise by 2
        >>> found.project(torch.tensor([[5.0, 5.0]]))
        tensor([[2., 0.]])
    """
    if not isinstance(layer, nn.Module):
        raise UnsupportedLayerError(f"the layer must be a torch module such as nn.ReLU(), got {type(layer).__name__}")
    tol, values = real(tol, "tol"), as_floating(z, "values").detach().contiguous().clone()
    if not values.ndim:
        raise ShapeError("the values must have shape (B, *shape), got a single number")
    found: list[HarmlessSet | None] = []

    def see(_: str, call: Call) -> None:
        if call.name not in RULES or not call.dependent:
            return
        same = call.dependent[0].data_ptr() == values.data_ptr() and call.dependent[0].numel() == values.numel()
        read = harmless_set_of(Reading(call, tol)) if same else None
        found.append(read if read is None else read.reshaped(values))

    layer.eval()
    try:
        with watching(layer, see):
            layer(values)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ShapeError(f"{type(layer).__name__} cannot read values {tuple(z.shape)}: {first_line(error)}") from error
    sets = [each for each in found if each is not None]
    if len(found) != 1 or not sets:
        known = "ReLU and its like, max pooling, normalisations, softmax and smooth activations"
        raise UnsupportedLayerError(
            f"{type(layer).__name__} is not one non-linear operation whose harmless set is known; there are {known}"
        )
    sets[0].z = torch.as_tensor(z).detach()
    return sets[0]
