"""Exact manifold: settings and names."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

SIDE = 32
"""Side of the images, to which MNIST is padded."""

SHAPE = (1, SIDE, SIDE)

EXACT, LEARNED = "exact tangent space", "learned tangent space"
ANOTHER, PCA, PERMUTED, RANDOM = "another image", "first principal components", "permuted pixels", "random"
SPACES = (EXACT, LEARNED, ANOTHER, PCA, PERMUTED, RANDOM)
"""Subspaces of equal dimension; the last four are controls (``manifolds.controls``)."""

RECONSTRUCTED, SAMPLED = "reconstructed", "sampled"
"""How digits are generated: from latent variables that the encoder draws for real digits, as the published ones are;
or from the normal distribution of these, which also gives what is between two digits."""

WAYS = ("standard", "adversarial")
"""How a network is trained."""


@dataclass(frozen=True)
class ExactSettings(Settings):
    """Settings of the experiment.

    Attributes:
        sources: How digits are generated.
        latent: Number of latent variables of the decoder.
        digits: Real images that the decoder and the labeller are trained on.
        batch: Samples of one step of any training.
        decoder_epochs: Epochs of the decoder, and of the autoencoder of the generated images.
        generated: Generated images to train on.
        seeds: Networks of each kind.
        epochs: Epochs of standard training.
        adversarial_epochs: Epochs of adversarial training.
        eps: L2 radius of the adversary, in units of the pixel range.
        count: Generated test images, of which those that both networks classify correctly are measured.
        attacked: Test images that are attacked.
        draws: Random subspaces.
        attacked_draws: Those that attacks are confined to.
        steps: Largest number of steps of an attack.
    """

    sources: tuple[str, ...] = (RECONSTRUCTED, SAMPLED)
    latent: int = 10
    digits: int = 60_000
    batch: int = 64
    decoder_epochs: int = 5
    generated: int = 12_000
    seeds: int = 5
    epochs: int = 4
    adversarial_epochs: int = 4
    eps: float = 1.5
    count: int = 500
    attacked: int = 24
    draws: int = 10
    attacked_draws: int = 1
    steps: int = 50


def for_preset(preset: Preset, seed: int) -> ExactSettings:
    """The settings of a preset; smoke trains for an instant on the embedded digits."""
    if preset == "smoke":
        return ExactSettings(
            preset,
            seed,
            (RECONSTRUCTED,),
            digits=200,
            batch=10,
            decoder_epochs=5,
            generated=200,
            seeds=1,
            epochs=4,
            adversarial_epochs=4,
            count=20,
            attacked=2,
            draws=2,
            attacked_draws=1,
            steps=8,
        )
    if preset == "paper":
        return ExactSettings(
            preset, seed, decoder_epochs=60, generated=60_000, epochs=10, adversarial_epochs=10, count=2000,
            attacked=500, attacked_draws=10,
        )  # fmt: skip
    return ExactSettings(preset, seed)
