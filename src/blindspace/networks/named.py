"""A network by all that finds it: small, plain values, to be sent to other processes and kept with results."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import sha256
from ._load import load
from .network import Network


@dataclass(frozen=True)
class Named:
    """A network by the arguments of ``load``.

    Attributes:
        model: Name of the network, or its file.
        input_shape: Shape of one input; that of the network if None.
        weights: File of the network's weights.
        preprocess: Preprocessing in front of the network.
        random_weights: Whether the network is an architecture with random weights.
        choices: What is asked for of the network's inputs, outputs, labels and session, as arguments of ``load``;
            files that hold inputs by their paths.
        device: Device of the images that are made or read for the network, such as cpu or cuda.
    """

    model: str
    input_shape: tuple[int, ...] | None = None
    weights: str | None = None
    preprocess: str | None = None
    random_weights: bool = False
    choices: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def load(self, input_shape: tuple[int, ...] | None = None) -> Network:
        """Load the network, for inputs of another shape if one is given. Raises as ``load``."""
        return load(
            self.model,
            input_shape or self.input_shape,
            weights=None if self.weights is None else Path(self.weights),
            preprocess=self.preprocess,
            random_weights=self.random_weights,
            device=self.device,
            **self.choices,
        )

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file that is named."""
        named = [self.model, self.weights, *(str(value) for value in self.choices.get("fix", {}).values())]
        return {name: sha256(name) for name in named if name is not None and Path(name).is_file()}
