"""The networks that the host of the app offers, loaded and certified before anybody is served."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..errors import FileError, ShapeError, UnknownNameError
from ..evidence import Reference
from ..evidence._inspect import embedded_images
from ..manifolds import Manifold, manifold
from ..networks import AUTOENCODERS, BUILTIN, Named, Network, harmless, load
from ..progress import Progress
from ..subspaces import Subspace
from .session import Upload
from .uploads import pixels_of


@dataclass(frozen=True)
class Answer:
    """What a network says of one image.

    Attributes:
        label: Name of the class; a dash where there is none.
        confidence: Probability that the network gives it; None where it gives none.
    """

    label: str
    confidence: float | None

    def __str__(self) -> str:
        return self.label if self.confidence is None else f"{self.label}, {self.confidence:.2%}"


@dataclass(eq=False)
class Hosted:
    """One network, read-only for all users.

    Attributes:
        network: The network, under the name that users see.
        space: Its harmless subspace.
        surface: An embedded manifold of the images that it was trained on; None if there is none.
    """

    network: Network
    space: Subspace
    surface: Manifold | None
    _reference: Reference | None = None
    _learning: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """The name that users see."""
        return self.network.name

    def pixels(self, upload: Upload, pixel_range: bool = True) -> tuple[Tensor, str]:
        """An upload as ``pixels_of`` reads it, on the device of the network."""
        x, done = pixels_of(upload, self.network.input_shape, pixel_range)
        return x.to(self.network.device), done

    def answers(self, images: Tensor) -> list[Answer]:
        """What the network says of images ``(B, C, H, W)``, in its own precision."""
        found = self.network.answers(images)
        if found.labels is None:
            return [Answer("no label", None) for _ in images]
        chances = self.network.labelling.probabilities(found.outputs)
        return [
            Answer(self.network.class_name(label), None if chances is None else float(chances[index, label]))
            for index, label in enumerate(found.labels.tolist())
        ]

    def reference(self, progress: Progress) -> Reference:
        """What clean images look like, learnt from the embedded ones once for all users.

        Raises:
            FileError: No images of this size are embedded.
        """
        try:
            clean = embedded_images(self.network.input_shape)
        except FileError as error:
            raise FileError(
                f"no clean images of the size that {self.name} reads are embedded, to compare with; the command line "
                "takes a folder of them: blindspace inspect --reference FOLDER"
            ) from error
        while not self._learning.acquire(timeout=0.2):
            progress(0, 1, "another user's reference")
        try:
            if self._reference is None:
                self._reference = Reference.fit(self.space, clean.to(self.network.device), progress=progress)
            return self._reference
        finally:
            self._learning.release()


def host(
    given: Sequence[Named | Network], device: torch.device | None = None, progress: Progress | None = None
) -> dict[str, Hosted]:
    """The built-in networks, and those that are given, by the names that users see.

    Args:
        given: Networks; of files and folders users see the name alone.
        device: Device that all networks are on; that of each if None.
        progress: Called before each network.

    Raises:
        ShapeError: A network does not read pictures.
        UnknownNameError: Two networks have one name.
        BlindspaceError: A network cannot be loaded or followed.
    """
    offered: list[Named | Network] = [*given, *(Named(name) for name in BUILTIN)]
    found: dict[str, Hosted] = {}
    for index, each in enumerate(offered):
        if progress is not None:
            progress(index, len(offered), each.model if isinstance(each, Named) else each.name)
        network = load(each if isinstance(each, Network) else _loaded(each), device=device)
        if network.name in found:
            if network.name in BUILTIN:
                continue
            raise UnknownNameError(f"two networks are called {network.name}; users could not choose between them")
        shape = network.input_shape
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ShapeError(f"the app shows pictures (1 or 3, height, width), and {network.name} reads {shape}")
        space = harmless(network)
        ready = Hosted(network, space, _surface(network))
        ready.answers(
            torch.zeros(1, *shape, dtype=torch.float64, device=network.device)
        )  # whatever is computed once is computed now
        found[network.name] = ready
    return found


def _loaded(named: Named) -> Network:
    network = named.load()
    return load(network, name=Path(named.model).name) if Path(named.model).exists() else network


def _surface(network: Network) -> Manifold | None:
    for name, autoencoder in AUTOENCODERS.items():
        if autoencoder.recipe.dataset == network.dataset and autoencoder.input_shape == network.input_shape:
            return manifold(name)
    return None
