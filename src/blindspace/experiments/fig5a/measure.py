"""Figure 5a: networks under harmless perturbations of any magnitude, of images and of features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...attacks import pgd
from ...networks import Network, harmless, layers
from ...networks.paper_networks import SKIPPED
from ...perturbations.controls import gaussian, in_random_subspace, shuffled
from ...progress import Progress
from ...subspaces import Subspace, norms, nullspace
from ..common.features import cut, feature_pgd
from ..common.magnitudes import Readings, labels_of, read, ulp
from ..common.models import images, tensors, trained
from ..parts import Kept, Part, about
from .settings import EPSILON, SUFFIX, Case, Fig5a, cases


def parts(s: Fig5a) -> list[Part]:
    """One part per line."""
    return [Part(case.part, partial(_measure, s, case)) for case in cases(s)]


@dataclass(frozen=True)
class ModelUnderTest:
    """A network, and the place in it that is perturbed.

    Attributes:
        whole: The network.
        head: Its part up to the features; None where images are perturbed.
        reader: Its part that takes what is perturbed.
        space: Subspace harmless for the layer or, for the place ``both``, for everything that reads the features.
        alone: Whether nothing but the layer reads them.
    """

    whole: Network
    head: Network | None
    reader: Network
    space: Subspace
    alone: bool

    def inputs(self, x: Tensor) -> Tensor:
        """The values that are perturbed, for given images, in float64."""
        return x if self.head is None else self.head.outputs(x, torch.float64)

    def attack(self, z: Tensor, y: Tensor, steps: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """PGD in the model's own precision: the perturbation and the radius eps of each sample."""
        own = z.to(self.reader.dtype)
        if self.head is None:
            size = torch.full_like(norms(z, "linf"), EPSILON)
            return pgd(
                self.reader.differentiable(own.dtype, own.device), own, y, EPSILON, steps, generator=draw
            ).perturbation.double(), size
        size = EPSILON * norms(z, "linf")
        return feature_pgd(self.reader, own, y, size.to(own.dtype), steps, generator=draw).double(), size


def _model_under_test(s: Fig5a, case: Case, progress: Progress) -> ModelUnderTest:
    network = trained(case.architecture + SUFFIX[case.place], s, progress)
    if case.place == "images":
        return ModelUnderTest(network, None, network, harmless(network), layers(network)[0].harmless_for_network)
    block, layer = SKIPPED[case.architecture]
    halves = cut(network, block)
    reader = halves.tail
    module = network.module.get_submodule(f"{block}.{layer}")
    space = harmless(reader) if case.place == "both" else nullspace(module, reader.input_shape)
    return ModelUnderTest(network, halves.head, reader, space, layers(reader)[0].harmless_for_network)


def _measure(s: Fig5a, case: Case, progress: Progress) -> Kept:
    """All measurements of one line."""
    model = _model_under_test(s, case, progress)
    chosen = images("cifar10", s.preset, s.count)
    x, y = tensors(chosen, s, torch.float64)
    draw = s.generator(case.part)
    found, a = Readings(), model.space.annihilator()
    for start in range(0, len(x), s.batch):
        progress(start, len(x), "images")
        some, targets = x[start : start + s.batch], y[start : start + s.batch]
        z = model.inputs(some)
        attacked, size = model.attack(z, targets, s.steps, draw)
        parallel = model.space.project(attacked)
        delta = parallel * size / norms(parallel, "linf")
        residual = a.forward(delta).flatten(1).norm(dim=1) / (a.norm() * norms(delta, "l2").flatten())
        found.keep("residual", residual)
        found.keep("energy", (norms(parallel, "l2") / norms(attacked, "l2")).flatten() ** 2)
        controls = {
            "shuffled": shuffled(delta, draw),
            "random subspace": in_random_subspace(delta, model.space.dim, draw),
            "Gaussian": gaussian(delta, draw),
        }
        found.keep("targets", targets)
        _read(s, case, model.reader, z, delta, controls, draw, found)
    values = {
        "network": about(model.whole),
        "dim": model.space.dim,
        "kind": model.space.certificate.kind,
        "alone": model.alone,
        "left": harmless(model.reader).dim if case.place == "kept" and s.preset != "smoke" else None,
    }
    return Kept(values, found.arrays())


def _read(
    s: Fig5a,
    case: Case,
    reader: Network,
    z: Tensor,
    delta: Tensor,
    controls: dict[str, Tensor],
    draw: torch.Generator,
    found: Readings,
) -> None:
    """One batch: the harmless perturbation in both precisions, the rounding floors and the controls."""
    sign = torch.randint(0, 2, z.shape, generator=draw, dtype=torch.float64).to(z) * 2 - 1
    own = reader.outputs(z)
    found.keep("clean/own", labels_of(own))
    for kind, value in {"harmless/own": delta, **controls}.items():
        found.add(kind, read(reader, (z + m * value for m in s.magnitudes), own))
    rounded = z.to(own.dtype)
    floor = (rounded + sign.to(own.dtype) * ulp((z + m * delta).to(own.dtype)) for m in s.magnitudes)
    found.add("one ulp/own", read(reader, floor, own))
    low, high = (0, 1) if case.place == "images" else (0, torch.inf)
    outside = [((v < low) | (v > high)).double().flatten(1).mean(1) for v in (z + m * delta for m in s.magnitudes)]
    found.keep("outside", torch.stack(outside))
    if case.flat:
        exact = reader.outputs(z, torch.float64)
        found.keep("clean/exact", labels_of(exact))
        found.add("harmless/exact", read(reader, (z + m * delta for m in s.magnitudes), exact))
        found.add("one ulp/exact", read(reader, [z + sign * ulp(z + s.magnitudes[-1] * delta)], exact))
