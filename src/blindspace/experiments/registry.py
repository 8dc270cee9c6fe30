"""All experiments by name. A module or folder of this package is an experiment if it declares ``EXPERIMENT``.

Names are read from the files without importing them, so that the command line can list them at no cost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from .experiment import Experiment

_DECLARED = re.compile(r"^(EXPERIMENT\b|from \S+ import EXPERIMENT\b)", re.MULTILINE)

_NUMBERED = re.compile(r"(fig|table)\d")
"""Experiments that are called as a figure or a table of a paper is."""


def declared(folder: Path) -> tuple[str, ...]:
    """Names of the experiments in a folder of modules: those named by a number in a paper first, then by alphabet.

    Args:
        folder: Folder with one module, or one package, per experiment.
    """
    files = {path.stem: path for path in folder.glob("*.py")} | {p.parent.name: p for p in folder.glob("*/__init__.py")}
    found = [name.replace("_", "-") for name, path in files.items() if _DECLARED.search(path.read_text("utf-8"))]
    return tuple(sorted(found, key=lambda name: (not _NUMBERED.match(name), name)))


NAMES = declared(Path(__file__).parent)


def experiment(name: str) -> Experiment[Any]:
    """The experiment of a given name, imported.

    Raises:
        UnknownNameError: No experiment has this name; the message lists the names.
    """
    if name not in NAMES:
        near = did_you_mean(name, NAMES)
        raise UnknownNameError(f"no experiment is called {name!r}{near}; give all, or some of {', '.join(NAMES)}")
    found: Experiment[Any] = import_module(f".{name.replace('-', '_')}", __package__).EXPERIMENT
    return found


def chosen(names: Sequence[str]) -> list[Experiment[Any]]:
    """The experiments of the given names, each once; ``all`` stands for all of them.

    Raises:
        UnknownNameError: No experiment has one of the names.
    """
    given: object = names
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise UnknownNameError(
            f"experiments are given by their names, all or some of {', '.join(NAMES)}, not as {given!r}"
        )
    wanted = [each for name in names for each in (NAMES if name == "all" else (name,))]
    return [experiment(name) for name in dict.fromkeys(wanted)]
