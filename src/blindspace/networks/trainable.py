"""All networks that can be trained, by name."""

from __future__ import annotations

from ..data import SHAPES
from ..errors import UnknownNameError, did_you_mean, shown
from .autoencoders import AUTOENCODERS
from .builtin import BUILTIN, Builtin
from .paper_networks import PAPER, paper_network
from .small_networks import SMALL, small_network


def find_trainable(name: str) -> Builtin | None:
    """The network that ``trainable`` gives, or None."""
    name = str(name)
    return BUILTIN.get(name) or AUTOENCODERS.get(name) or small_network(name) or paper_network(name)


def trainable(name: str) -> Builtin:
    """A network to be trained.

    Args:
        name: A name of ``BUILTIN``, ``AUTOENCODERS``, ``SMALL`` or ``PAPER``, the last two also with a data set, such
            as ``resnet18-ten@cifar100``.

    Raises:
        UnknownNameError: There is no such network; the message lists the names.
    """
    found = find_trainable(name)
    if found is None:
        near = did_you_mean(name, (*BUILTIN, *AUTOENCODERS, *SMALL, *PAPER))
        raise UnknownNameError(
            f"no network to be trained is called {shown(name)}{near}; there are "
            f"{', '.join((*BUILTIN, *AUTOENCODERS))}, and, also with @ and one of {', '.join(SHAPES)}, "
            f"{', '.join((*SMALL, *PAPER))}"
        )
    return found
