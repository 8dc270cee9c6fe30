"""The non-linear operations of a network whose harmless sets are known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..maps import Shape
from ..networks.arguments import NetworkLike, as_network
from ..networks.following.aten_call import Call, tensors_in
from ..networks.following.tensor_values import memory_of
from ..networks.onnx.network import OnnxNetwork
from .activation_sets import HarmlessSet
from .network_sets import watched_module
from .onnx_sets import OnnxSets
from .set_rules import RULES, Reading, harmless_set_of
from .watch import watching


@dataclass(frozen=True)
class Nonlinearity(Shown):
    """A non-linear operation at its place in a network.

    Attributes:
        name: Name of the module that it happens in.
        kind: Name of the operation in ATen, such as ``relu``.
        occurrence: 1 for the first operation of that kind in that module, 2 for the next.
        shape: Shape of the values that it reads, without the batch.
        harmless_for_network: Whether nothing else reads these values, so that what does not change the operation's
            output does not change the network's.
        reason: What its harmless sets are, in words.
    """

    name: str
    kind: str
    occurrence: int
    shape: Shape
    harmless_for_network: bool
    reason: str

    @property
    def label(self) -> str:
        """Name, kind, and the occurrence if it is not the first."""
        return label(self.name, self.kind, self.occurrence)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "occurrence": self.occurrence,
            "shape": list(self.shape),
            "harmless_for_network": self.harmless_for_network,
            "reason": self.reason,
        }


def label(name: str, kind: str, occurrence: int) -> str:
    """A non-linear operation in a table."""
    said = f"{name} ({kind})" if name else kind
    return said if occurrence == 1 else f"{said}, {occurrence}"


@torch.inference_mode(False)
def nonlinearities(network: NetworkLike, input_shape: Shape | None = None) -> list[Nonlinearity]:
    """The non-linear operations whose harmless sets are known, in the order in which they happen.

    The network runs once. Other operations that are not affine, such as products of values, are not listed.

    Args:
        network: A network, or a torch module together with its input shape.
        input_shape: Shape of one input without the batch; a module needs it.

    Examples:
        >>> import torch, blindspace as bs
        >>> [(each.name, each.kind) for each in bs.nonlinearities(bs.load("mnist-mlp"))][:2]
        [('3', 'relu'), ('5', 'relu')]
    """
    network = as_network(network, input_shape)
    if isinstance(network, OnnxNetwork):
        sets = OnnxSets(network)
        image = torch.rand(1, *network.input_shape, generator=torch.Generator().manual_seed(0))
        known = dict(sets.read(image))
        places = [call.node.name or call.node.output[0] for call in sets.nodes]
        return [
            Nonlinearity(name, known[name].kind, 1, tuple(known[name].z.shape[1:]) or (1,), alone, known[name].reason)
            for name, alone in zip(places, sets.harmless_for_network, strict=True)
            if name in known
        ]
    found: list[tuple[str, Call, tuple[int, int], HarmlessSet]] = []
    readers: Counter[tuple[int, int]] = Counter()
    alive: list[Tensor] = []  # so that no memory is given to another tensor

    def see(name: str, call: Call) -> None:
        alive.extend(call.dependent)
        if not any(each.alias_info is not None and not each.alias_info.is_write for each in call.func._schema.returns):
            readers.update({_place(tensor) for tensor in call.dependent})
        read = harmless_set_of(Reading(call)) if call.name in RULES else None
        if read is not None:
            found.append((name, call, _place(call.dependent[0]), read))

    x = torch.rand(1, *network.input_shape, generator=torch.Generator().manual_seed(0))
    module = watched_module(network, network.dtype)
    with watching(module, see):
        out = module(x.to(network.dtype))
    readers.update({_place(tensor) for tensor in tensors_in(out)})
    seen: Counter[tuple[str, str]] = Counter()
    listed = []
    for name, call, place, read in found:
        seen[name, call.name] += 1
        shape = tuple(read.z.shape[1:]) or (1,)
        occurrence = seen[name, call.name]
        listed.append(Nonlinearity(name, call.name, occurrence, shape, readers[place] == 1, read.reason))
    return listed


def _place(tensor: Tensor) -> tuple[int, int]:
    """Where a tensor holds its values, and how often that memory has been written into."""
    return memory_of(tensor), int(tensor._version)
