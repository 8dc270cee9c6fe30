"""Shell completion, which must not wait for torch: the parameters of all commands stand in ``completion.json``.

``python -m blindspace.cli.completion`` writes that file anew after a command has changed; a test says when it is due.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from .commands import NAMES, Runnable, as_command, load_command

FILE = Path(__file__).with_suffix(".json")

PROGRAM = "blindspace"

REQUEST = "_BLINDSPACE_COMPLETE"
"""The variable by which a shell asks for completions, as Typer's scripts set it."""

OPTIONS = ("--install-completion", "--show-completion")
"""Typer's options, which end the process themselves."""

Outline = dict[str, Any]
"""Of a command, its ``parameters``; of a group, its ``commands``."""


def is_asked_for(arguments: Sequence[str]) -> bool:
    """Whether a shell asks for completions, or a user for the script by which it does."""
    return REQUEST in os.environ or any(word.split("=")[0] in OPTIONS for word in arguments[:1])


def stand_in(name: str) -> Runnable:
    """A command with the parameters of another, which is not imported; it completes and does nothing else."""
    outlines: dict[str, Outline] = json.loads(FILE.read_text(encoding="utf-8"))
    return as_command(_target(outlines.get(name, {})), name)


def _target(outline: Outline) -> Callable[..., None] | typer.Typer:
    if "commands" not in outline:
        return _function(outline.get("parameters", []))
    group = typer.Typer(add_completion=False)
    group.callback()(lambda: None)
    for name, each in outline["commands"].items():
        group.command(name, help=each["help"])(_function(each["parameters"]))
    return group


def _function(parameters: Sequence[Outline]) -> Callable[..., None]:
    """A function from whose signature Typer makes the parameters."""

    def nothing(**_: object) -> None:
        pass

    shown = [
        Parameter(f"_{place}", Parameter.KEYWORD_ONLY, annotation=_annotation(each), default=None)
        for place, each in enumerate(parameters)
    ]
    nothing.__signature__ = Signature(shown)  # type: ignore[attr-defined]
    nothing.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return nothing


def _annotation(parameter: Outline) -> Any:
    if "flag" in parameter:
        return Annotated[bool, typer.Option(*parameter["flag"])]
    taken = list[str] if "repeated" in parameter else str
    complete = beginning_with(parameter.get("words", ()))
    if "option" in parameter:
        return Annotated[taken, typer.Option(*parameter["option"], autocompletion=complete)]
    return Annotated[taken, typer.Argument(autocompletion=complete)]


def beginning_with(words: Sequence[str]) -> Callable[[str], Iterator[str]]:
    """Completion by fixed words.

    A word that stands alone among files, such as ``samples``, waits for its first letter: the shell completes files
    where there is nothing else.
    """

    def complete(incomplete: str) -> Iterator[str]:
        return (word for word in words if word.startswith(incomplete) and (incomplete or len(words) > 1))

    return complete


# --- writing the file -------------------------------------------------------------------------------------


def outlines() -> dict[str, Outline]:
    """The parameters of all commands, each of which is imported."""
    words = _words()
    return {name: _outline(load_command(name), name, words) for name in NAMES}


def _outline(command: Any, path: str, words: dict[str, Iterable[str]]) -> Outline:
    if hasattr(command, "commands"):
        commands = command.commands.items()
        return {"commands": {n: {"help": c.help, **_outline(c, f"{path} {n}", words)} for n, c in commands}}
    types = {name: each.annotation for name, each in signature(command.callback, eval_str=True).parameters.items()}
    return {"parameters": [_parameter(each, types[each.name], f"{path} {each.name}", words) for each in command.params]}


def _parameter(parameter: Any, annotation: Any, path: str, words: dict[str, Iterable[str]]) -> Outline:
    names = list(parameter.opts)
    if parameter.secondary_opts:  # of a flag that can be switched off
        names = [f"{on}/{off}" for on, off in zip(parameter.opts, parameter.secondary_opts, strict=True)]
    if getattr(parameter, "is_flag", False):
        return {"flag": names}
    taken = words.get(path) or _values(annotation) or words.get(parameter.name, ())
    return {
        **({"option": names} if names[0].startswith("-") else {"argument": parameter.name}),
        **({"repeated": True} if parameter.nargs == -1 or getattr(parameter, "multiple", False) else {}),
        **({"words": list(taken)} if taken else {}),
    }


def _values(annotation: Any) -> list[str]:
    """The values of the enumeration in a type; none if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return next((found for part in get_args(annotation) if (found := _values(part))), [])


def _words() -> dict[str, Iterable[str]]:
    """What a parameter may be beside a file or a number, by its name, and by the command's too where that differs."""
    from ..data import NAMES as DATASETS
    from ..data import PACKAGES, SAMPLES_WORD
    from ..data.encoding import FORMATS
    from ..experiments.registry import NAMES as EXPERIMENTS
    from ..learning import ATTACKS
    from ..learning.controls import CONTROLS
    from ..manifolds.choice import FITTED
    from ..networks import AUTOENCODERS
    from ..networks.builtin import BUILTIN
    from ..networks.labels import CHOICES
    from ..networks.paper_networks import PAPER
    from ..networks.small_networks import SMALL
    from ..perturbations import kinds
    from ..solvers import NAMES as SOLVERS

    networks, samples = (*BUILTIN, *AUTOENCODERS), (SAMPLES_WORD,)
    return {
        **dict.fromkeys(("model", "models", "also", "among"), networks),
        **dict.fromkeys(("images", "image", "first"), samples),
        "kind": [kind.name for kind in kinds()],
        "protect kind": [kind.name for kind in kinds() if kind.protects],
        "manifold kind": (*AUTOENCODERS, *FITTED),
        "fit": DATASETS,
        "file_format": FORMATS,
        "solver": SOLVERS,
        "labels": CHOICES,
        "preprocess": ("timm", "hf", "torchvision"),
        "layer": ("outputs",),
        "mislabel images": (*DATASETS, "uniform", "gaussian", *samples),
        "attack": ATTACKS,
        "control": CONTROLS,
        "test": DATASETS,
        "network": [f"{name}@" for name in (*SMALL, *PAPER)],
        "train name": (*networks, *SMALL, *PAPER),
        "reproduce names": ("all", *EXPERIMENTS),
        "data get name": PACKAGES,
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(outlines(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
