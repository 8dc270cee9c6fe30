"""A model as attacks see it: a function from images to scores of classes, whatever the form of its outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..errors import BlindspaceError, UnsupportedLayerError, first_line
from ..networks.labels import Facts, Labelling, decide
from ..networks.last_operation import last_operation
from ..networks.network import Network
from ..networks.outputs import Found, picked, side_by_side
from ..subspaces._arguments import described

Model = Callable[[Tensor], Tensor]
"""A function of images ``(B, *shape)`` in [0, 1] that returns logits ``(B, K)``; normalisation happens inside."""


def scored(model: Model | Network, dtype: torch.dtype) -> Model:
    """A model as a function of images to scores ``(B, K)``, K ≥ 2, the largest of which is that of the label.

    The outputs of a module or function follow the rule of ``networks/labels.py``, decided at the first ones; the single
    number of a function is taken for a logit. A network or module reads images in its own precision, or in float64 if
    it can and they are.

    Args:
        model: A ``Network``, a torch module, or a function.
        dtype: Dtype of the images.

    Returns:
        The function. It raises ``ValueRangeError`` where the outputs have no scores of classes, and
        ``UnsupportedLayerError`` where the model does not read the images.

    Raises:
        BlindspaceError: The model is something else.
    """
    if isinstance(model, Network):
        network = model
        own = torch.float64 if dtype == torch.float64 and network.runs_in_float64 else network.dtype
        return _for_none(lambda x: network.class_scores(network.run(x, own)))
    if not callable(model) or isinstance(model, type | ExportedProgram):
        raise BlindspaceError(f"the model must be a Network or a function of images, got {described(model)}")
    return _for_none(_Scored(model))


def _for_none(model: Model) -> Model:
    """The same function for empty batches too, which most modules do not read."""
    return lambda x: model(x) if len(x) else model(x.new_zeros(1, *x.shape[1:]))[:0]


class _Scored:
    """A module or function of others, whose outputs are looked at when it first runs."""

    def __init__(self, model: Model) -> None:
        self.model = model
        read = [p.dtype for p in model.parameters() if p.is_floating_point()] if isinstance(model, nn.Module) else []
        self.dtype = read[0] if read else None
        self.labelling: Labelling | None = None

    def __call__(self, x: Tensor) -> Tensor:
        outputs = self._run(x)
        if isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] > 1 and len(outputs) == len(x):
            return outputs
        found = Found(picked(outputs))
        if self.labelling is None:
            self.labelling = decide(
                found, len(x), Facts(tuple(x.shape[1:]), last_operation=lambda name: self._last(x, name))
            )
        return self.labelling.scores(side_by_side(found.compared, len(x)))

    def _run(self, x: Tensor) -> object:
        try:
            return self.model(x if self.dtype is None else x.to(self.dtype))
        except BlindspaceError:
            raise
        except Exception as error:  # code of others may raise anything
            raise UnsupportedLayerError(
                f"the model cannot run on images of shape {tuple(x.shape)}: {first_line(error)}"
            ) from error

    def _last(self, x: Tensor, name: str) -> str:
        """The operation that makes an output; of a function, whose queries may count, that of a logit."""
        if not isinstance(self.model, nn.Module):
            return "linear"
        with torch.inference_mode(False), torch.enable_grad():
            return last_operation(picked(self._run(x[:1].detach().clone().requires_grad_()))[name])
