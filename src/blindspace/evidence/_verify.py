"""Verification of pairs of images: how far the network's front and output move between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .._html import table
from ..errors import ShapeError, ValueRangeError
from ..networks import front
from ..networks.arguments import NetworkLike, as_inputs, as_network
from ..networks.labels import count_changed, share


@dataclass(frozen=True)
class Evidence:
    """The measured difference between images x and x̂, the largest over all pairs.

    Attributes:
        pairs: number of pairs.
        max_front_change: largest |A x̂ − A x| of any front value, in the model's own precision.
        max_front_change_float64: the same in float64.
        max_output_change: largest change of any output, in the model's own precision.
        max_output_change_float64: the same in float64; None for a network that runs in its own precision only.
        relative_residual: ‖A δ‖ / (‖A‖ ‖δ‖) with δ = x̂ − x, float64; 0 if δ = 0.
        labels_changed: number of pairs with different labels, in the model's own precision; None if the network gives
            none.
        max_perturbation: largest |δ| of any pixel.
        dtype: the model's own precision.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> evidence = bs.verify(network, x, x + bs.harmless_noise(network, 4, 8.0))
        >>> evidence.labels_changed, evidence.max_output_change_float64 < 1e-10
        (0, True)
        >>> round(evidence.max_perturbation, 6)
        8.0
    """

    pairs: int
    max_front_change: float
    max_front_change_float64: float
    max_output_change: float
    max_output_change_float64: float | None
    relative_residual: float
    labels_changed: int | None
    max_perturbation: float
    dtype: str

    def harmless(self, tolerance: float = 1e-3) -> bool:
        """Whether no label changed and no output moved by more than ``tolerance`` in the model's own precision."""
        return not self.labels_changed and self.max_output_change <= tolerance

    def output_change(self) -> str:
        """The largest change of an output in words, in each precision that was measured."""
        double = self.max_output_change_float64
        own = f"{self.max_output_change:.1e} in the model's own {self.dtype}"
        return own if double is None else f"{double:.1e} in float64, {own}"

    def labels(self) -> str:
        """The labels that changed, in words; a dash where there are none."""
        return share(self.labels_changed, self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def _repr_html_(self) -> str:
        return table("Evidence", vars(self))


def verify(network: NetworkLike, images: Tensor, changed: Tensor, input_shape: Sequence[int] | None = None) -> Evidence:
    """Measure how far a network's front and outputs move between two sets of images.

    Args:
        network: a network that can be followed from its input, or a torch module with its ``input_shape``.
        images: the images x, ``(B, *input_shape)`` or one image, any floating dtype.
        changed: the changed images x̂ of the same shape; they may leave [0, 1].
        input_shape: shape of one input, needed for a torch module.

    Raises:
        ShapeError: the two differ in shape or the network cannot read them.
        ValueRangeError: a value is NaN or infinite.
        UnsupportedLayerError: the network's code cannot be followed.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> space = bs.harmless(network)
        >>> bs.verify(network, x, x + 100 * space.project(torch.randn_like(x))).labels_changed
        0
        >>> bs.verify(network, x, x + torch.randn_like(x)).labels_changed > 0
        True
    """
    network = as_network(network, input_shape)
    images, changed = (as_inputs(batch, network) for batch in (images, changed))
    if images.shape != changed.shape:
        raise ShapeError(f"pairs must have one shape, got {tuple(images.shape)} and {tuple(changed.shape)}")
    if not bool(images.isfinite().all() and changed.isfinite().all()):
        raise ValueRangeError("an image holds NaN or infinite values")
    own = network.dtype
    a = front(network)
    delta = changed.double() - images.double()
    front_own = a.forward(changed.to(own)) - a.forward(images.to(own))
    # Exactly A x̂ − A x, not A (x̂ − x): the claim is about the images as the network reads them.
    front_double = a.forward(changed.double()) - a.forward(images.double())
    own_answers = [network.answers(batch) for batch in (images, changed)]
    out_double = None
    if network.runs_in_float64:
        out_double = [network.outputs(batch, torch.float64) for batch in (images, changed)]
    size = delta.flatten(1).norm(dim=1) * a.norm()
    error = a.forward(delta).flatten(1).norm(dim=1)
    residual = torch.where(size > 0, error / size.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    return Evidence(
        pairs=len(images),
        max_front_change=_largest(front_own),
        max_front_change_float64=_largest(front_double),
        max_output_change=_largest(own_answers[1].outputs - own_answers[0].outputs),
        max_output_change_float64=None if out_double is None else _largest(out_double[1] - out_double[0]),
        relative_residual=_largest(residual),
        labels_changed=count_changed(*own_answers),
        max_perturbation=_largest(delta),
        dtype=str(own).removeprefix("torch."),
    )


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0
