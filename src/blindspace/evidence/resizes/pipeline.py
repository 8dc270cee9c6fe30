"""What stands in front of a network: steps that make of a photograph of any size the picture that the network reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import UnsupportedLayerError
from ...maps import LinearMap, from_module
from ...maps.resizing.registry import resizer
from ...networks import Network
from ...networks.arguments import as_network
from ...networks.devices import on_device
from ...networks.preprocessing_modules import ChannelsLast, FlipChannels, Multiply, Normalise, Resize
from ...networks.sources.preprocessing import parse

PER_PIXEL = (Normalise, Multiply, FlipChannels, ChannelsLast)
"""Steps that change the numbers of a picture, or their order, but not what it shows."""

Readable = Network | str
"""A network with its preprocessing, or a preprocessing as ``--preprocess`` spells it."""


@dataclass(frozen=True)
class Pipeline:
    """Preprocessing, with the network behind it if there is one.

    Attributes:
        name: Name of the network, or the preprocessing as spelled.
        steps: The preprocessing, for photographs in [0, 1] of any size.
        network: What reads the result; None if there is none.
        source: The network as it was loaded, which knows its labels; None if there is none.
    """

    name: str
    steps: tuple[nn.Module, ...]
    network: nn.Module | None = None
    source: Network | None = None

    @classmethod
    def of(cls, given: Readable) -> Pipeline:
        """The pipeline of a network, or the one that is spelled.

        Raises:
            UnsupportedLayerError: There is no resize, or more than one, or the network's library does it by code of
                its own, which cannot be exchanged.
            UnknownNameError, ValueRangeError: The preprocessing cannot be read.
        """
        if isinstance(given, str):
            found = cls(given, parse(given))
        else:
            given = as_network(given)
            parts = dict(given.module.named_children())
            if not {"preprocessing", "network"} <= set(parts):
                raise UnsupportedLayerError(
                    f"{given.name} has no preprocessing; load it with one, such as "
                    "preprocess='resize 256 bicubic, center-crop 224, normalise imagenet'"
                )
            found = cls(given.name, tuple(parts["preprocessing"].children()), parts["network"], given)
        count = sum(isinstance(step, Resize) for step in found.steps)
        if count != 1:
            raise UnsupportedLayerError(
                f"the preprocessing of {found.name} has {count} resizes that can be exchanged, not one; spell it out, "
                "such as 'resize 256 bicubic, center-crop 224, normalise imagenet'"
            )
        return found

    @property
    def resize(self) -> Resize:
        """Its resize."""
        return next(step for step in self.steps if isinstance(step, Resize))

    @property
    def resizer(self) -> str:
        """Name of its resizer."""
        return self.resize.resizer

    def with_resizer(self, name: str) -> Pipeline:
        """The same with another resizer to the same size.

        Raises:
            UnknownNameError: There is no such resizer.
        """
        if name == self.resizer:
            return self
        chosen = resizer(name)

        def exchanged(step: nn.Module) -> nn.Module:
            return Resize(step.size, chosen.mode, convention=chosen.library) if isinstance(step, Resize) else step

        return Pipeline(self.name, tuple(map(exchanged, self.steps)), self.network, self.source)

    def map(self, shape: Sequence[int]) -> LinearMap:
        """From photographs ``(C, H, W)`` in [0, 1] to the pictures that the network reads, in [0, 1] too.

        Raises:
            ShapeError: The preprocessing cannot read such a photograph.
        """
        seen = [step for step in self.steps if not isinstance(step, PER_PIXEL)]
        return from_module(nn.Sequential(*seen), tuple(shape))

    def labels(self, photographs: Sequence[Tensor]) -> Tensor | None:
        """The label of each photograph ``(C, H, W)``, ``(B,)``; None without a network that has labels."""
        if self.network is None or self.source is None:
            return None
        whole = on_device(nn.Sequential(*self.steps, self.network).eval(), self.source.device, self.name)
        found = []
        with torch.no_grad():
            for photograph in photographs:
                answer = whole(photograph[None].to(self.source.device, self.source.dtype))
                if not isinstance(answer, Tensor):
                    return None
                labels = self.source.labelling.labels(answer)
                if labels is None:
                    return None
                found.append(labels)
        return torch.cat(found)
