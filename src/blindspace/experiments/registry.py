"""All experiments by name, imported when they are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..errors import UnknownNameError
from .experiment import Experiment
from .harmless import NAMES as HARMLESS

ROOMS = {"harmless": HARMLESS}
"""Names by the folder their files are in."""

NAMES: tuple[str, ...] = tuple(name for names in ROOMS.values() for name in names)


def experiment(name: str) -> Experiment[Any]:
    """The experiment of that name.

    Raises:
        UnknownNameError: there is none; the message lists them.
    """
    for room, names in ROOMS.items():
        if name in names:
            module = import_module(f".{room}.{name.replace('-', '_')}", __package__)
            found: Experiment[Any] = module.EXPERIMENT
            return found
    close = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UnknownNameError(f"no experiment is called {name!r}{hint}; there are all, {', '.join(NAMES)}")


def chosen(names: Sequence[str]) -> list[Experiment[Any]]:
    """The experiments of those names, each once; ``all`` stands for all.

    Raises:
        UnknownNameError: there is none of a name.
    """
    wanted = [each for name in names for each in (NAMES if name == "all" else (name,))]
    return [experiment(name) for name in dict.fromkeys(wanted)]
