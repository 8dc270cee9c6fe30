"""The affine front of a network: everything it does to an input before the first non-linear operation.

The nullspace of the front is harmless for the whole network. Where several branches leave, the front consists of all
values that they read, and its nullspace is the intersection of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.export import ExportedProgram

from ..errors import ShapeError, within_memory
from ..maps import LinearMap, Operator, as_linear_map, side_by_side
from ..solvers import SolverChoice
from ..subspaces import Subspace, nullspace
from ._load import load
from .affine_graph import front_values
from .claim import hold
from .network import Network


def front(network: Operator | ExportedProgram, input_shape: Sequence[int] | None = None) -> LinearMap:
    """The linear part of the affine front.

    Args:
        network: A ``Network``, a torch module, which is put in eval, or a program of ``torch.export``. The front of a
            ``LinearMap`` is the map itself, that of a ``Subspace`` its annihilator.
        input_shape: Shape of one input without the batch axis; a module needs it.

    Returns:
        One map from the input; the identity if the network begins with an operation that is not affine.

    Raises:
        UnsupportedLayerError: The network cannot be followed.
        ShapeError: A module comes without its input shape, or cannot read it.
        BlindspaceError: The object is of another type.

    Examples:
        >>> import torch, blindspace as bs
        >>> bs.front(bs.load("mnist-mlp")).shape
        (256, 784)
    """
    network = _loaded(network, input_shape)
    return network.front if isinstance(network, Network) else as_linear_map(network, input_shape)


def ends(network: Network) -> dict[str, list[str]]:
    """Where the front ends: the names of its values, each with the operations that read it and are not affine.

    Raises:
        UnsupportedLayerError: The network cannot be followed.
    """
    values = front_values(network.record().graph)
    return {value.name: list(dict.fromkeys(readers)) for value, readers in values.items()}


@within_memory("give a smaller input shape or network")
def harmless(
    network: Operator | ExportedProgram,
    *others: Operator | ExportedProgram,
    input_shape: Sequence[int] | None = None,
    solver: SolverChoice = None,
    check: bool = True,
) -> Subspace:
    """The harmless space of a network: the nullspace of its affine front (definition 1).

    The claim is measured on each network itself, which runs 18 times in each of two precisions (``claim.hold``).

    Args:
        network: As in ``front``. The result for a ``LinearMap`` is its nullspace, for a ``Subspace`` itself.
        others: Further networks for which the space is harmless too; they read inputs of the same shape.
        input_shape: Shape of one input without the batch axis; modules need it.
        solver: As in ``nullspace``; chosen by structure, size and memory if None.
        check: Whether the claim is measured.

    Returns:
        The harmless space; for several networks, the intersection of their harmless spaces.

    Raises:
        UnsupportedLayerError: A network cannot be followed.
        ShapeError: The networks read different shapes, or a module comes without its input shape.
        TooLargeError: No solver here serves a front of that size, or memory does not suffice.
        WithdrawnError: The outputs of a network move along the space that was found.
        BlindspaceError: An object is of another type.

    Examples:
        >>> import torch, blindspace as bs
        >>> space = bs.harmless(bs.load("cifar-resnet"))
        >>> space.dim, space.certificate.kind
        (512, 'exact')
    """
    models = [_loaded(model, input_shape) for model in (network, *others)]
    fronts = [front(model, input_shape) for model in models]
    if len({operator.in_shape for operator in fronts}) > 1:
        read = ", ".join(f"{_name(model)} {a.in_shape}" for model, a in zip(models, fronts, strict=True))
        raise ShapeError(f"the networks read different shapes: {read}; give all the same --input-shape")
    space = nullspace(side_by_side(fronts) if others else fronts[0], solver=solver)
    for model in models if check else ():
        if isinstance(model, Network):
            hold(model, space)
    return space


def _loaded(model: Operator | ExportedProgram, input_shape: Sequence[int] | None) -> Operator:
    """A module with its input shape, or an exported program, which knows its own, as a ``Network``."""
    if isinstance(model, ExportedProgram):
        return load(model, input_shape)
    return load(model, input_shape) if isinstance(model, nn.Module) and input_shape is not None else model


def _name(model: Operator) -> str:
    return model.name if isinstance(model, Network) else type(model).__name__
