"""Cards: the facts about a trained network, stored beside its weights."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

from .._html import Shown


@dataclass(frozen=True, kw_only=True)
class Card(Shown):
    """Facts about a trained network.

    Attributes:
        name: Name of the network.
        dataset: Data set of the training.
        test_images: Number of images of the test split.
        parameters: Number of trained values.
        recipe: Settings, as in ``Recipe.to_dict``; of adversarial training also the adversary's, as ``adversary``.
        sha256: Hash of the weights file.
        torch: Version of torch.
        machine: Processor architecture.
        minutes: Wall-clock time of the last uninterrupted stretch of training.
    """

    name: str
    dataset: str
    test_images: int
    parameters: int
    recipe: dict[str, Any]
    sha256: str
    torch: str
    machine: str
    minutes: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @property
    @abstractmethod
    def measured(self) -> str:
        """What was measured on the test images, in words."""


@dataclass(frozen=True, kw_only=True)
class ClassifierCard(Card):
    """Facts about a trained classifier.

    Attributes:
        test_accuracy: Share of the test split classified correctly, in [0, 1].
    """

    test_accuracy: float

    @property
    def measured(self) -> str:
        """The accuracy in words."""
        return f"{self.test_accuracy:.2%} of {self.test_images} {self.dataset} test images"


@dataclass(frozen=True, kw_only=True)
class AutoencoderCard(Card):
    """Facts about a trained autoencoder; errors are mean squared differences per pixel, of images in [0, 1].

    Attributes:
        dim: Number of latent variables.
        test_mse: Error on the test split.
        train_mse: Error on the training images.
        pca_test_mse: Error on the test split of principal components of the training images, of equal number.
        beats_pca: Whether ``test_mse`` is below ``pca_test_mse``. Otherwise PCA is the better manifold.
    """

    dim: int
    test_mse: float
    train_mse: float
    pca_test_mse: float
    beats_pca: bool

    @property
    def measured(self) -> str:
        """The errors in words."""
        return (
            f"{self.dim} latent variables, mean squared error {self.test_mse:.4f} on {self.test_images} {self.dataset} "
            f"test images ({self.train_mse:.4f} on training images, PCA of equal dimension {self.pca_test_mse:.4f}"
            f"{'' if self.beats_pca else ', which is the better manifold'})"
        )
