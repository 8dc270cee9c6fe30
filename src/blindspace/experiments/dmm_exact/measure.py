"""Exact manifold: the networks, their gradients and minimal norms."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ...attacks import minimal_norm
from ...attacks.gradient import ascent
from ...manifolds import Compared, controls_for
from ...networks import Network, load
from ...progress import Progress
from ...subspaces import Subspace, TangentSpaces
from ..common.gradients import slopes
from ..parts import Kept, Part
from .generated_digits import Digits, Training, classifier, digits, read
from .settings import ANOTHER, EXACT, LEARNED, PCA, PERMUTED, RANDOM, SHAPE, SPACES, WAYS, ExactSettings

SHOWN = 8
"""Generated images that are shown."""


def parts(s: ExactSettings) -> list[Part]:
    """One part about the images, and one per pair of networks."""
    found = []
    for source in s.sources:
        found.append(Part(f"{source}-digits", partial(_digits, s, source)))
        found += [Part(f"{source}-{seed}", partial(_pair, s, source, seed)) for seed in range(s.seeds)]
    return found


def _digits(s: ExactSettings, source: str, progress: Progress) -> Kept:
    made = digits(s, source, progress)
    tangents = made.test.tangent(slice(s.attacked))
    values = {
        "labeller": made.labeller,
        "classes": torch.bincount(made.train_labels, minlength=10).tolist(),
        "condition": float(tangents.condition.median()),
        "least rank": int(tangents.ranks.min()),
        "learned error": float(made.learned.reconstruction_error(made.test.images).mean()),
        "PCA error": made.components.error(made.test.images.cpu(), s.latent),
    }
    return Kept(values, {"images": made.test.images[:SHOWN], "labels": made.test_labels[:SHOWN]})


def _pair(s: ExactSettings, source: str, seed: int, progress: Progress) -> Kept:
    """A standard and an adversarially trained network, measured on the images that both classify correctly."""
    made = digits(s, source, progress)
    x, y = made.train.images, made.train_labels
    pair = {}
    for way, epochs, eps in zip(WAYS, (s.epochs, s.adversarial_epochs), (0.0, s.eps), strict=True):
        # Both begin with the same weights.
        how = Training(epochs, s.batch, s.generator("network", seed), progress, f"a {way} network")
        module = classifier(x, y, how, eps)
        pair[way] = load(module, SHAPE, name=f"ConvNet on generated digits, {way}")
    labels = {
        way: read(network.differentiable(torch.float32, made.test.images.device), made.test.images)
        for way, network in pair.items()
    }
    right = torch.stack([found == made.test_labels for found in labels.values()]).all(0).nonzero()[:, 0]
    spaces = _spaces(s, seed, made, right)
    arrays: dict[str, Tensor] = {}
    residual = 0.0
    for step, (way, network) in enumerate(pair.items()):
        progress(step, len(pair), f"measuring the {way} network")
        found, apart = _measured(s, network, made, right, spaces)
        residual = max(residual, apart)
        arrays |= {f"{way}/{name}": value for name, value in found.items()}
    errors = {f"{way} error": float((found != made.test_labels).double().mean()) for way, found in labels.items()}
    about = {"name": "ConvNet", "dataset": f"{source} digits", "epochs": s.epochs, "seed": seed, "sha256": None}
    about["test_accuracy"] = 1 - errors["standard error"]
    return Kept({"images": len(right), "residual": residual, "network": about, **errors}, arrays)


def _spaces(s: ExactSettings, seed: int, made: Digits, right: Tensor) -> dict[str, list[Subspace]]:
    """The subspaces of the images at given indices, by name; there are several random ones."""
    exact: TangentSpaces = made.test.tangent(right)
    learned = made.learned.tangent(made.test.images[right])
    found: dict[str, list[Subspace]] = {EXACT: [exact], LEARNED: [learned]}
    controls = (ANOTHER, PCA, PERMUTED, RANDOM)
    drawn = controls_for(Compared(s.latent, made.components, exact), s.generator("controls", seed), controls, s.draws)
    for name, space in drawn:
        found.setdefault(name, []).append(space)
    return found


def _measured(
    s: ExactSettings, network: Network, made: Digits, right: Tensor, spaces: dict[str, list[Subspace]]
) -> tuple[dict[str, Tensor], float]:
    """Shares of gradients and minimal norms, ``(draws, N)`` each, and the largest residual of an attack."""
    x, y = made.test.images[right], made.test_labels[right]
    gradients = {"share": slopes(network, x, y), "share of the logit": _logit_slopes(network, x, y)}
    attacked = torch.arange(min(s.attacked, len(x)))
    attack = partial(
        minimal_norm, network, x[attacked], y[attacked], boxed=False, classes=5, steps=s.steps, refinements=1
    )
    found, residual = {"plain": attack().norms}, 0.0
    for name in SPACES:
        for what, gradient in gradients.items():
            found[f"{name}/{what}"] = torch.stack([space.energy(gradient) for space in spaces[name]])
        if name == PERMUTED:
            continue
        for way in ("on", "off"):
            some = [space.at(attacked) for space in spaces[name][: s.attacked_draws]]
            made_of = [attack(space if way == "on" else space.complement) for space in some]
            residual = max(residual, *(each.residual for each in made_of))
            found[f"{name}/{way}"] = torch.stack([each.norms for each in made_of])
    return found, residual


def _logit_slopes(network: Network, x: Tensor, y: Tensor) -> Tensor:
    """Gradients of the label's logit, float64."""

    def alone(images: Tensor) -> Tensor:
        logit = network.run(images, torch.float64).gather(1, y[:, None])
        return torch.cat([logit, torch.zeros_like(logit)], 1)

    # The gradient of the cross-entropy of (logit, 0) is a multiple of that of the logit.
    return ascent(alone, x.double(), torch.zeros_like(y), targeted=False)
