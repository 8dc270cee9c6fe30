"""What target and source class explain of perturbations, by least squares: d = mean + a(target) + b(source) + rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class ClassParts:
    """The parts of perturbations that depend on the classes alone.

    Attributes:
        of_target: a, one per class, which sum to 0, float64 ``(K, *shape)``.
        of_source: b, the same.
        explained: Share of the squared deviations from the mean that a and b explain together, in [0, 1].
        cosine: Mean over the classes of the cosine between a and b; −1 if perturbations take away from the source what
            they add of the target.
    """

    of_target: Tensor
    of_source: Tensor
    explained: float
    cosine: float


def class_parts(d: Tensor, targets: Tensor, sources: Tensor, classes: int) -> ClassParts:
    """Explain perturbations by their classes.

    Args:
        d: Perturbations, ``(N, *shape)``.
        targets: Target classes, int64 ``(N,)``.
        sources: True classes, int64 ``(N,)``.
        classes: Number of classes K; each occurs as a target and as a source.
    """
    flat = d.flatten(1).double()
    design = torch.cat([F.one_hot(each, classes) for each in (targets, sources)], 1).double()
    # The two halves of the design have one sum, so that the solution is fixed only up to a shift between them.
    found = torch.linalg.lstsq(design, flat, driver="gelsd").solution
    a, b = (half - half.mean(0) for half in found.split(classes))
    rest, all_of_it = flat - design @ found, flat - flat.mean(0)
    explained = 1 - float(rest.square().sum() / all_of_it.square().sum().clamp(min=1e-30))
    cosine = float(F.cosine_similarity(a, b, dim=1).mean())
    shape = (classes, *d.shape[1:])
    return ClassParts(a.view(shape), b.view(shape), explained, cosine)
