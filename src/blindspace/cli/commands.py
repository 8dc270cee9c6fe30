"""The commands, each imported when it runs or when its own help is asked for."""

from __future__ import annotations

import gc
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

HELP = {
    "audit": "What a network cannot see: the nullspaces of its affine front and of its linear layers, certified.",
    "perturb": "Add perturbations that the network cannot notice, and measure in the files written that it does not.",
    "protect": "Protect a collection of pictures, resumable at any moment; exit code 1 if one could not be, or is "
    "read otherwise.",
    "verify": "Whether a network reads two sets of images alike; exit code 1 if a label or an output changes.",
    "leakage": "What attackers recover from protected images, with the network's weights and without.",
    "inspect": "Whether images hide something where the network cannot see; exit code 1 if one of them is suspicious.",
    "identify": "Which of several networks answers, by perturbations that only one cannot see; exit code 1 if none.",
    "train": "Train a built-in network or one of the paper's; interrupted, it resumes at the last finished epoch.",
    "reproduce": "Reproduce tables and figures of the papers; interrupted, the same command goes on where it stopped.",
    "bench": "What a projection costs, as a ratio to one forward and one adjoint of the layer (LB), float64.",
    "demo": "Audit cifar-resnet on real images and write one page that shows what it cannot see.",
    "data": "Data sets.",
}
"""The line of help of each command, in the order of the help: the first paragraph of the command's docstring."""

Runnable = TyperCommand | TyperGroup


def load_command(name: str) -> Runnable:
    """Import the module of a command and give the command, or the group of commands, that it defines."""
    gc.disable()  # nothing that is imported is garbage, and looking for it takes a tenth of the time
    try:
        module = import_module(f".{name}", __package__)
    finally:
        gc.enable()
    return as_command(getattr(module, name), name)


def as_command(target: Callable[..., None] | typer.Typer, name: str) -> Runnable:
    """A function, or a ``Typer`` application with several, as the parser runs it."""
    if not isinstance(target, typer.Typer):
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name)(target)
        target = alone
    made = typer.main.get_command(target)
    assert isinstance(made, TyperCommand | TyperGroup)
    made.name = name
    return made


class OnDemand(TyperGroup):
    """A group that knows its commands by name and one line of help until one of them runs."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, in the order of the help."""
        return list(HELP)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """A stand-in with the command's line of help; None if there is no such command."""
        return TyperCommand(cmd_name, help=HELP[cmd_name]) if cmd_name in HELP else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name, imported now by the loader in ``ctx.obj``."""
        name, known, rest = super().resolve_command(ctx, args)
        return name, known and ctx.obj(known.name), rest
