"""Subliminal learning: a first network, and students that share more or less of its start."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data import SHAPES
from ...learning.perturbed import mislabel
from ...learning.targets import any_targets, noise, random_targets
from ...learning.training import Labelled, learn
from ...networks import Recipe
from ...networks.small_networks import mlp
from ...networks.training import accuracy
from ...networks.training_loop import Loss, run
from ...progress import Progress
from ..common.learning import CLASSES, kept_set, labelled_images
from ..parts import Kept, Part, seed_of
from .settings import BOTH, IMAGES, LOGITS, NOISE, SHARED, UNPERTURBED, SubliminalSettings

AUXILIARY = 3
"""Outputs beside those of the classes, which the first network never trains."""

RATE = 3e-4
"""Learning rate of the first networks and of imitation (Adam), as in Cloud et al.'s experiment on MNIST."""


def parts(s: SubliminalSettings) -> list[Part]:
    """One part per first network."""
    return [Part(f"seed-{seed}", partial(_measure, s, seed)) for seed in range(s.seeds)]


def _measure(s: SubliminalSettings, seed: int, progress: Progress) -> Kept:
    """The accuracies of the first network, of its students, and of the controls."""
    train, test = (labelled_images("mnist", s, *each) for each in ((s.images, "train"), (s.tests, "test")))
    told = partial(_told, progress, len(SHARED) * 3 + 3)
    told(0, "first network")
    first = _first(s, seed, train)
    values: dict[str, object] = {"first": accuracy(_classes(first), *test)}

    auxiliary = noise("uniform", s.images, SHAPES["mnist"], s.generator("noise to imitate", seed)).to(s.device)
    wanted = _outputs(first, auxiliary)[:, CLASSES:].softmax(1)
    for done, (name, shares) in enumerate(SHARED.items(), 1):
        told(done, f"imitation, {name}")
        student = _start(s, seed, *shares)
        _imitate(s, seed, student, auxiliary, wanted)
        values[f"{LOGITS}/{name}"] = accuracy(_classes(student), *test)

    made, sets = _perturbed(s, seed, first, train)
    recipe = Recipe(
        "mnist",
        s.perturbed_epochs,
        s.perturbed_batch,
        learning_rate=1e-3,
        weight_decay=0.0,
        optimiser="adam",
        schedule="constant",
        seed=seed_of(s.seed, seed, "order") % 2**31,
    )
    cells = [(IMAGES, name) for name in SHARED] + [(NOISE, name) for name in SHARED]
    cells += [(control, BOTH) for control in UNPERTURBED.values()]
    for done, (what, name) in enumerate(cells, len(SHARED) + 1):
        told(done, f"{what}, {name}")
        start = _classes(_start(s, seed, *SHARED[name]))
        values[f"{what}/{name}"] = learn(start, *made[what], recipe, test).last
    return Kept({**values, "sets": sets})


def _told(progress: Progress, total: int, done: int, what: str) -> None:
    progress(done, total, what)


def _start(s: SubliminalSettings, seed: int, hidden: bool = True, readout: bool = True) -> nn.Sequential:
    """A network with its initial weights: those of the first network where it shares them, else others."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed_of(s.seed, "hidden layers", seed, hidden) % 2**31)
        module = mlp("mnist")
        torch.manual_seed(seed_of(s.seed, "readout", seed, readout) % 2**31)
        module[-1] = nn.Linear(_readout(module).in_features, CLASSES + AUXILIARY)
    return module.to(s.device)


def _classes(module: nn.Sequential) -> nn.Sequential:
    """The network without its auxiliary outputs, with weights of its own."""
    last = _readout(module)
    cut = nn.Linear(last.in_features, CLASSES).to(last.weight.device)
    with torch.no_grad():
        cut.weight.copy_(last.weight[:CLASSES])
        cut.bias.copy_(last.bias[:CLASSES])
    return nn.Sequential(*list(module)[:-1], cut)


def _readout(module: nn.Sequential) -> nn.Linear:
    last = module[-1]
    assert isinstance(last, nn.Linear)
    return last


def _first(s: SubliminalSettings, seed: int, train: Labelled) -> nn.Sequential:
    """The first network, trained on the outputs of the classes alone."""
    module, (x, y) = _start(s, seed), train

    def loss(chosen: Tensor, generator: torch.Generator) -> Tensor:
        return F.cross_entropy(module(x[chosen])[:, :CLASSES], y[chosen])

    return _trained(s, module, loss, len(x), seed_of(s.seed, seed, "first"))


def _imitate(s: SubliminalSettings, seed: int, module: nn.Sequential, x: Tensor, wanted: Tensor) -> None:
    """Train the auxiliary outputs alone, by the Kullback-Leibler divergence from the first network's."""

    def loss(chosen: Tensor, generator: torch.Generator) -> Tensor:
        found = module(x[chosen])[:, CLASSES:].log_softmax(1)
        return F.kl_div(found, wanted[chosen], reduction="batchmean")

    _trained(s, module, loss, len(x), seed_of(s.seed, seed, "imitation"))


def _trained(s: SubliminalSettings, module: nn.Sequential, loss: Loss, count: int, order: int) -> nn.Sequential:
    recipe = Recipe(
        "mnist",
        s.epochs,
        min(s.batch, count),
        learning_rate=RATE,
        weight_decay=0.0,
        optimiser="adam",
        schedule="constant",
        seed=order % 2**31,
    )
    run(module, loss, count, recipe, None, "", None, lambda: None)
    return module.eval()


@torch.no_grad()
def _outputs(module: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([module(part) for part in x.split(2000)])


def _perturbed(
    s: SubliminalSettings, seed: int, first: nn.Sequential, train: Labelled
) -> tuple[dict[str, Labelled], dict[str, object]]:
    """What students learn from, by name, and what is kept of the sets."""
    model, (x, y) = _classes(first).eval(), (each[: s.perturbed] for each in train)
    blank = noise("uniform", s.perturbed, SHAPES["mnist"], s.generator("noise to perturb", seed)).to(s.device)
    targets = {
        IMAGES: random_targets(y, CLASSES, s.generator("targets of images", seed)),
        NOISE: any_targets(len(blank), CLASSES, s.generator("targets of noise", seed)).to(s.device),
    }
    made: dict[str, Labelled] = {}
    sets: dict[str, object] = {}
    for name, given in ((IMAGES, x), (NOISE, blank)):
        found = mislabel(model, given, targets[name], "l2", s.eps, s.steps)
        made |= {name: (found.images, targets[name]), UNPERTURBED[name]: (given, targets[name])}
        sets[name] = kept_set(found)
    return made, sets
