"""The input perturbations that leave the outputs of a network's first non-linear operations unchanged at an image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ShapeError, UnsupportedLayerError
from ..maps import Identity, LinearMap
from ..networks.affine_graph import maps_of
from ..networks.arguments import NetworkLike, as_network
from ..networks.following.aten_call import Call
from ..networks.network import Network
from ..networks.onnx.network import OnnxNetwork
from ..subspaces._mask_argument import MaskLike
from .activation_sets import HarmlessSet, Intervals
from .network_sets import watched_module
from .onnx_sets import RULES as RULES_OF_NODES
from .onnx_sets import OnnxSets
from .polyhedron import Bounds, Polyhedron
from .set_rules import RULES, Reading, harmless_set_of
from .watch import watching

ONNX = {"Relu": "relu", "Clip": "clamp", "MaxPool": "max_pool2d", "HardSigmoid": "hardsigmoid"}
"""Operations of ONNX that are one of ATen."""

Read = list[tuple[Tensor, Intervals | None]]
"""The values that each operation with a rule reads, flattened, and its set; None where the set is not of intervals."""


class Reader(NamedTuple):
    """What gives the values that operations read at an image.

    Attributes:
        read: From one image ``(1, *input_shape)`` float64.
        rules: Names of the operations that it gives.
        step: Standard deviation of the step after which they are read again.
        agrees: Largest difference, relative to the largest one, of what a map of the front predicts and what is read.
    """

    read: Callable[[Tensor], Read]
    rules: Collection[str]
    step: float
    agrees: float


def harmless_polyhedron(
    network: NetworkLike, x: Tensor, in_range: bool = False, mask: MaskLike | None = None
) -> Polyhedron:
    """The perturbations of one image that change no output of the first non-linear operations, for any later layers.

    With the front A x + b, and units that are on or off at x, these are {δ : (A δ)_on = 0, (A δ)_off ≤ −(A x + b)_off},
    and the like for units that saturate, and for max pooling. The set contains the nullspace of the front; its span is
    the nullspace of the rows of units that are on. What smooth activations, normalisations and operations without a
    rule read is held as a whole.

    Args:
        network: A network that runs in float64, an ONNX network, or a torch module. What the nodes of an ONNX network
            read is computed in float64 where torch knows all of its operations, and else by the runtime, whose
            rounding decides which units are off where they are next to their thresholds.
        x: One image, of the network's input shape, on any device; the set lies on the CPU, where it is computed.
        in_range: Whether perturbed images stay in [0, 1] too; ``dim`` does not count that.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none.

    Returns:
        The set; ``dim`` minus that of ``harmless(network)`` is what the non-linear operations add.

    Raises:
        ShapeError: x is not one image of the network's input shape, or the mask does not fit it.
        UnsupportedLayerError: The network cannot be followed.
        PrecisionError: The network does not run in float64.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> bs.harmless_polyhedron(network, x[0]).dim > bs.harmless(network).dim
        True
    """
    network = as_network(network, x.shape if isinstance(x, Tensor) else None)
    image = network.check(x).detach().cpu().double()
    if len(image) != 1:
        raise ShapeError(f"the set belongs to one image, got {len(image)}; take one after the other")
    reader = _reader(network)
    step = reader.step * torch.randn(image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    runs = [reader.read(point) for point in (image, image + step)]
    front = network.record().graph.front
    maps = maps_of(network.record().graph, front)
    bounds = [
        _bounds(operator, readers, reader, step, *runs) for operator, readers in zip(maps, front.values(), strict=True)
    ] or [_held(network.front)]
    if in_range:
        bounds.append(Bounds(Identity(network.input_shape), -image[0], 1 - image[0]))
    return Polyhedron(bounds, mask)


def _reader(network: Network) -> Reader:
    """What reads the values: torch in float64, or the runtime for an ONNX network that torch does not compute."""
    try:
        module = watched_module(network, torch.float64)
    except UnsupportedLayerError:
        if not isinstance(network, OnnxNetwork):
            raise
        sets = OnnxSets(network)

        def of_nodes(image: Tensor) -> Read:
            return [(z.flatten().double(), _intervals(found)) for _, z, found in sets.every(image)]

        return Reader(of_nodes, RULES_OF_NODES, 0.1, 1e-4)

    def of_operations(image: Tensor) -> Read:
        run: Read = []

        def see(_: str, call: Call) -> None:
            if call.name in RULES:
                intervals = _intervals(harmless_set_of(Reading(call)))
                run.extend((tensor.detach().clone().flatten(), intervals) for tensor in call.dependent)

        with watching(module, see):
            module(image)
        return run

    return Reader(of_operations, RULES, 1e-3, 1e-9)


def _intervals(found: HarmlessSet | None) -> Intervals | None:
    return found if isinstance(found, Intervals) else None


def _bounds(
    operator: LinearMap, readers: Sequence[str], reader: Reader, step: Tensor, first: Read, second: Read
) -> Bounds:
    """The bounds of one value of the front: those of the operations that read it, which are known by what they read.

    An operation reads the value if the difference of what it reads at two points is what the map says.
    """
    change = operator.forward(step).flatten()
    size = reader.agrees * (1 + float(change.abs().max()))
    found = [
        intervals
        for (z, intervals), (other, _) in zip(first, second, strict=False)
        if z.numel() == operator.out_dim and float((other - z - change).abs().max()) <= size
    ]
    names = [name.split()[0] for name in readers]
    known = all(name in reader.rules or ONNX.get(name) in reader.rules for name in names)
    if not found or not known or any(each is None for each in found):
        return _held(operator)
    low, high = torch.full_like(change, -torch.inf), torch.full_like(change, torch.inf)
    for each in found:
        assert each is not None
        low = torch.maximum(low, each.low.flatten().double())
        high = torch.minimum(high, each.high.flatten().double())
    return Bounds(operator, low.view(operator.out_shape), high.view(operator.out_shape))


def _held(operator: LinearMap) -> Bounds:
    zero = torch.zeros(operator.out_shape, dtype=torch.float64)
    return Bounds(operator, zero, zero)
