"""From stored pictures to protected ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.channels import in_channels
from ..data.encoding import SUFFIX, encode
from ..data.picture_files import Decoded
from ..errors import ShapeError, TooLargeError, UnsupportedLayerError, ValueRangeError
from ..files import sha256
from ..maps import Shape
from ..networks import Named, Network, harmless
from ..perturbations._keyed import Key
from ..perturbations.registry import Recipe, kind_named, kinds
from ..subspaces import Subspace
from ..subspaces._mask_argument import mask_hash
from .decoding import BATCH_BYTES, Pixels, windows
from .kinds import PER_SHARD
from .new_files import LEVELS, new_files
from .source import Picture
from .treatment import Handle, Outcome, digest

VERSION = 3
"""Version of what is protected and how; work of another one is not continued."""

SPACES = 4
"""Number of picture shapes whose networks and subspaces are kept; the least recently used is dropped first."""


@dataclass(frozen=True)
class Settings:
    """Everything that the result of a picture depends on, apart from its name, its content and the key.

    Attributes:
        model: Model name, as for ``networks.load``.
        recipe: Settings of the perturbation.
        file_format: Format of the new files, one of ``data.encoding.FORMATS``.
        input_shape: Shape of the pictures; with a preprocessing, that of each picture.
        weights: File of the network's weights.
        preprocess: Preprocessing in front of the network.
        random_weights: Whether the network is an architecture with random weights.
        pictures: Columns and endings of members that hold pictures, as for ``kinds``.
        per_shard: Largest number of files of a folder per shard.
        salt: Salt of the key's derivation, in hexadecimal; it is not secret.
        choices: What is asked for of the network's inputs, outputs, labels and session, as arguments of
            ``networks.load``; files that hold inputs by their paths.
        device: Device that the work is done on, such as cpu or cuda.

    Raises:
        UnknownNameError: The format is unknown or loses too much.
        MissingExtraError: The format needs a library that is not installed.
        ValueRangeError: The kind of perturbation does not serve collections.
    """

    model: str
    recipe: Recipe
    file_format: str = "png"
    input_shape: tuple[int, ...] | None = None
    weights: str | None = None
    preprocess: str | None = None
    random_weights: bool = False
    pictures: tuple[str, ...] = ()
    per_shard: int = PER_SHARD
    salt: str = ""
    choices: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def __post_init__(self) -> None:
        encode(np.zeros((1, 1, 1)), self.file_format)  # refuses those that keep no promise or need a library
        if not kind_named(self.recipe.kind).protects:
            offered = ", ".join(kind.name for kind in kinds() if kind.protects)
            raise ValueRangeError(f"collections are protected by {offered}, not by {self.recipe.kind}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for JSON, with the hashes of the files that they name."""
        font = self.recipe.font
        hashes = {font: sha256(font)} if font is not None and Path(font).is_file() else {}
        files = {**self.network.hashes(), **hashes, **mask_hash(self.recipe.mask)}
        return {"version": VERSION, **asdict(self), "recipe": self.recipe.to_dict(), "files": files}

    @property
    def suffix(self) -> str:
        """Suffix of the new files."""
        return SUFFIX[self.file_format]

    @property
    def network(self) -> Named:
        """The network."""
        choices = dict(self.choices)
        return Named(
            self.model, self.input_shape, self.weights, self.preprocess, self.random_weights, choices, self.device
        )

    def digest(self) -> str:
        """Hash of the settings."""
        return digest(self.to_dict())


@dataclass(frozen=True)
class Protection:
    """The treatment: the settings, and the key of keyed noise."""

    settings: Settings
    key: Key | None = None

    def handle(self) -> Handle:
        """A protector of this process. As ``Protector``."""
        return Protector(self.settings, self.key).protect


class Protector:
    """Protects pictures of any sizes that a network can read.

    Args:
        settings: The settings of the protection.
        key: Key of keyed noise.
        batch_bytes: Bytes of float64 pixels that are processed together.
        spaces: Number of picture shapes whose networks are kept.
    """

    def __init__(
        self, settings: Settings, key: Key | None = None, batch_bytes: int = BATCH_BYTES, spaces: int = SPACES
    ) -> None:
        self.settings = settings
        self.key = key
        self.batch_bytes = batch_bytes
        self.spaces = spaces
        self._kept: OrderedDict[Shape, tuple[Network, Subspace]] = OrderedDict()
        self._refused: dict[Shape, str] = {}
        self._own: Network | None = None
        if settings.preprocess is None:
            self._own = settings.network.load()
            self._reader(self._own.input_shape)  # what is wrong with the network itself is said at once

    def protect(self, pictures: Sequence[Picture]) -> list[Outcome]:
        """Protect some pictures.

        Args:
            pictures: Pictures of any shapes.

        Returns:
            One outcome per picture, in their order, with the reason if it cannot be read or protected, and else with
            what ``new_files`` measures and what of the original was ``dropped``: as ``data.picture_files.Decoded``
            says, or ``depth``, if the new file's format has fewer levels than the original.

        Raises:
            BlindspaceError: The network itself cannot be loaded.
        """
        outcomes: dict[int, Outcome] = {}
        for read, unreadable in windows(pictures, self.batch_bytes):
            outcomes |= {number: Outcome(reason=reason) for number, reason in unreadable.items()}
            alike: dict[Shape, dict[int, tuple[str, Pixels]]] = {}
            for number, found in read.items():
                alike.setdefault(found.pixels.shape, {})[number] = (pictures[number].name, found.pixels)
            for shape, members in alike.items():
                outcomes |= self._protect_alike(shape, members)
            for number, found in read.items():
                if outcomes[number].content is not None:
                    outcomes[number].made["dropped"] = list(self._dropped(found))
        return [outcomes[number] for number in range(len(pictures))]

    def _dropped(self, found: Decoded) -> tuple[str, ...]:
        """What of an original is not in its new file."""
        levels = LEVELS.get(self.settings.file_format)
        return found.dropped if levels is None or _fits(found.pixels, levels) else (*found.dropped, "depth")

    def _protect_alike(self, shape: Shape, members: dict[int, tuple[str, Pixels]]) -> dict[int, Outcome]:
        """Protect pictures of one shape; if that fails, one by one, so that no result depends on its neighbours."""
        try:
            network, space = self._reader(shape)
            names = [name for name, _ in members.values()]
            alike = [in_channels(pixels, network.input_shape) for _, pixels in members.values()]
            images = torch.from_numpy(np.stack(alike)).to(network.device)
            made = self.settings.recipe.make(space, images, names, self.key)
            files = new_files(network, space, images, made, self.settings.file_format)
            return dict(zip(members, files, strict=True))
        except _OF_A_SHAPE as error:
            if len(members) == 1 or shape in self._refused:
                return dict.fromkeys(members, Outcome(reason=str(error)))
        alone = [self._protect_alike(shape, {number: member}) for number, member in members.items()]
        return {number: outcome for one in alone for number, outcome in one.items()}

    def _reader(self, shape: Shape) -> tuple[Network, Subspace]:
        """The network for pictures of a shape (greyscale as colours if it needs those), and its harmless subspace."""
        if shape in self._refused:
            raise ShapeError(self._refused[shape])
        if shape not in self._kept:
            try:
                network = self._network(shape)
                space = harmless(network)
                if space.dim == 0:
                    raise ShapeError(
                        f"{network.name} sees every change of a picture of shape {network.input_shape}: nothing can be "
                        "hidden in it; put the network's preprocessing in front (--preprocess), or take another network"
                    )
                space = space if self.settings.recipe.mask is None else space.within(self.settings.recipe.mask)
                if space.dim == 0:
                    raise ShapeError(f"{network.name} sees every change within the mask; take a larger one")
            except _OF_A_SHAPE as error:
                self._refused[shape] = str(error)
                raise
            self._kept[shape] = network, space
        self._kept.move_to_end(shape)
        while len(self._kept) > self.spaces:
            self._kept.popitem(last=False)
        return self._kept[shape]

    def _network(self, shape: Shape) -> Network:
        colours = (3, *shape[1:])
        if self._own is not None:
            if self._own.input_shape not in (shape, colours):
                raise ShapeError(
                    f"{self._own.name} reads pictures of shape {self._own.input_shape}, this one has {shape}; "
                    "put a preprocessing in front (--preprocess), or resize it first"
                )
            return self._own
        try:
            return self.settings.network.load(shape)
        except _OF_A_SHAPE:
            if shape == colours:
                raise
            return self.settings.network.load(colours)


_OF_A_SHAPE = (ShapeError, TooLargeError, UnsupportedLayerError)
"""A fault of some pictures that does not concern others."""


def _fits(pixels: Pixels, levels: int) -> bool:
    """Whether a format of so many levels can hold all values."""
    whole = pixels * (levels - 1)
    return bool((abs(whole - np.rint(whole)) < 1e-3).all())
