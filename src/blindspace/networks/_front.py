"""The affine front of a network: everything it does to an input before the first non-linear operation.

Its nullspace is harmless for the whole network. Where branches leave, the front is all that they read, and its
nullspace the intersection of theirs.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from ..errors import ShapeError
from ..maps import LinearMap
from ..subspaces import Subspace, nullspace
from ..subspaces.combine import side_by_side
from .following.affine import front_map, front_values
from .following.recording import Recording
from .network import Network

_recorded: WeakKeyDictionary[Network, Recording] = WeakKeyDictionary()


def record(network: Network) -> Recording:
    """A network followed from its input; once, however often it is asked for.

    Raises:
        UnsupportedLayerError: it cannot be followed, with the operation and the reason.
    """
    if network not in _recorded:
        _recorded[network] = network.record()
    return _recorded[network]


def front(network: Network) -> LinearMap:
    """The linear part of the affine front.

    Args:
        network: of any code, as long as it runs.

    Returns:
        One map from the input, the identity where the network begins with something non-linear.

    Raises:
        UnsupportedLayerError: the network cannot be followed.
    """
    return front_map(record(network).graph)


def ends(network: Network) -> dict[str, list[str]]:
    """Where the front ends: the values that stand for it, and the operations that read them and are not affine.

    Raises:
        UnsupportedLayerError: the network cannot be followed.
    """
    values = front_values(record(network).graph)
    return {value.name: list(dict.fromkeys(readers)) for value, readers in values.items()}


def harmless(network: Network, *others: Network, solver: str | None = None) -> Subspace:
    """Every change of the input that the whole network cannot notice through its front (definition 1).

    Args:
        network: of any code, as long as it runs.
        others: further networks that shall not notice it either; they read inputs of the same shape.
        solver: one of ``solvers.NAMES``; by structure, size and memory if None.

    Returns:
        The nullspace of the affine front; of several networks the intersection.

    Raises:
        UnsupportedLayerError: a network cannot be followed.
        ShapeError: the networks read different shapes.
        TooLargeError: no solver here serves a front of that size.
    """
    fronts = [front(each) for each in (network, *others)]
    if len({operator.in_shape for operator in fronts}) > 1:
        read = ", ".join(f"{each.name} {each.input_shape}" for each in (network, *others))
        raise ShapeError(f"the networks read different shapes: {read}; give all the same --input-shape")
    return nullspace(side_by_side(fronts) if others else fronts[0], solver=solver)
