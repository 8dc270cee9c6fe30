"""Clinging and dimpling: the toy problems, and the part of classifiers' gradients on the manifold during training."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...data import PrincipalComponents
from ...manifolds import PCA, manifold
from ...progress import Progress
from ..common.ensembles import Ensemble, descend, ensemble
from ..common.models import images, tensors
from ..parts import Kept, Part, seed_of
from .settings import TOYS, DmmPhases, Run
from .toys import toy_part

DIM = 16
"""Dimension of the manifolds of images."""

RANDOM_DRAWS = 10

SUBSPACES = ("autoencoder", "PCA", "random", "constant pixels")
"""Subspaces that gradients are projected on; the last one is missing where no pixel is constant."""


def parts(s: DmmPhases) -> list[Part]:
    """One part per toy problem and surgery, and one per data set and training."""
    toys = [Part(toy_name(toy.name, scale), partial(toy_part, s, toy, scale)) for toy in TOYS for scale in toy.surgery]
    return [
        *toys,
        *(Part(f"{dataset}-{run.name}", partial(_images, s, dataset, run)) for dataset in s.datasets for run in s.runs),
    ]


def toy_name(toy: str, scale: float) -> str:
    """Name of the part of a toy problem."""
    return f"{toy}-{scale:g}"


def _images(s: DmmPhases, dataset: str, run: Run, progress: Progress) -> Kept:
    """Fractions ‖P g‖/‖g‖ of cross-entropy gradients, ``(T, S, N)`` per subspace, and accuracies ``(T, S)``."""
    train, test = (images(dataset, s.preset, split=split) for split in ("train", "test"))
    (pixels, classes), (tests, answers) = tensors(train, s), tensors(test, s)
    pixels, points, truth = pixels.flatten(1), tests[: s.images], answers[: s.images]
    constant = (pixels == pixels[0]).all(0)
    project = _projections(s, dataset, train.tensor(), points)
    mean = 0.5 if run.centred else 0.0

    def read(x: Tensor) -> Tensor:
        return (x - mean) / (1 - mean)

    seeds = [seed_of(s.seed, dataset, seed) for seed in range(s.image_seeds)]
    networks = ensemble(seeds, (pixels.shape[1], *s.widths, 10), "default", dtype=torch.float32, device=s.device)
    networks.weights[0] = networks.weights[0] / run.divisor
    parameters = networks.trained().parameters
    adam = run.optimiser == "Adam"
    optimiser = torch.optim.Adam(parameters, 1e-3, fused=True) if adam else torch.optim.SGD(parameters, 0.1)
    generator = s.generator("batches", dataset)
    found: dict[str, list[Tensor]] = {"accuracy": []}
    for step in range(s.snapshots[-1] + 1):
        if step in s.snapshots:
            progress(step, s.snapshots[-1], "training")
            exact = networks.copy(torch.float64)
            gradient = _gradients(exact, read(points.double()).flatten(1), truth)
            found["accuracy"].append(_accuracy(networks, read(tests.flatten(1)), answers))
            for name, basis in project.items():
                found.setdefault(name, []).append(_fraction(gradient, basis))
            if constant.any():
                inside = torch.linalg.vector_norm(gradient[..., constant], dim=-1)
                found.setdefault("constant pixels", []).append(inside / torch.linalg.vector_norm(gradient, dim=-1))
        batch = torch.randint(len(pixels), (s.batch,), generator=generator)
        if step < s.snapshots[-1]:
            out = networks(read(pixels[batch]))
            labels = classes[batch].expand(len(out), -1)
            descend(optimiser, cross_entropy(out.mT, labels, reduction="none").mean(1))
    return Kept(
        {"constant": int(constant.sum()), "ambient": pixels.shape[1]},
        {name: torch.stack(values) for name, values in found.items()},
    )


def _projections(s: DmmPhases, dataset: str, train: Tensor, points: Tensor) -> dict[str, Tensor]:
    """Orthonormal bases by name: one per image ``(N, k, n)``, one for all ``(1, k, n)``, or several draws of those."""
    n = points[0].numel()
    autoencoder = manifold(f"{dataset.removesuffix('-mnist')}-autoencoder")
    pca = PCA(PrincipalComponents.of(train), DIM)
    draws = torch.randn(RANDOM_DRAWS, n, DIM, generator=s.generator("random"), dtype=torch.float64)
    return {
        "autoencoder": autoencoder.tangent(points).basis().flatten(2),
        "PCA": pca.tangent(points).basis()[:1].flatten(2),
        "random": torch.linalg.qr(draws)[0].mT[:, None].to(s.device),
    }


def _fraction(gradient: Tensor, basis: Tensor) -> Tensor:
    """‖P g‖/‖g‖ of gradients ``(S, N, n)``, ``(S, N)``; the mean over draws for a basis ``(draws, 1, k, n)``."""
    if basis.ndim == 4:
        return torch.stack([_fraction(gradient, one) for one in basis]).mean(0)
    one_for_all = len(basis) == 1
    inside = gradient @ basis[0].mT if one_for_all else torch.einsum("sni,nki->snk", gradient, basis)
    fraction: Tensor = torch.linalg.vector_norm(inside, dim=-1) / torch.linalg.vector_norm(gradient, dim=-1)
    return fraction


def _gradients(networks: Ensemble, x: Tensor, truth: Tensor) -> Tensor:
    def loss(out: Tensor) -> Tensor:
        return cross_entropy(out.mT, truth.expand(len(out), -1), reduction="none")

    return networks.gradients(x, loss)


def _accuracy(networks: Ensemble, x: Tensor, truth: Tensor) -> Tensor:
    with torch.no_grad():
        right = [
            (networks(some).argmax(-1) == of).double().sum(1)
            for some, of in zip(x.split(1000), truth.split(1000), strict=True)
        ]
    return torch.stack(right).sum(0) / len(x)
