"""The commands, each imported when it runs or when its own help is asked for."""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import UnknownNameError, did_you_mean

PURPOSES = {
    "Find what a network cannot see": ("demo", "audit", "local", "units", "level-set", "manifold"),
    "Use it on images": ("perturb", "protect", "export-clean", "app"),
    "Prove and check": ("verify", "inspect", "exposure", "identify", "leakage"),
    "Research": ("reproduce", "mislabel", "learn", "train", "bench", "data"),
}
"""The commands by what they are for, in the order of the help."""

NAMES = tuple(name for names in PURPOSES.values() for name in names)
"""The commands, each a function or a group in the module of its name, with _ for -."""

_PURPOSE = {name: purpose for purpose, names in PURPOSES.items() for name in names}

Runnable = TyperCommand | TyperGroup


def help_line(name: str) -> str:
    """The first paragraph of a command's docstring, read without importing the command."""
    module = name.replace("-", "_")
    source = files(__package__).joinpath(f"{module}.py").read_text(encoding="utf-8")
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    told = next(ast.get_docstring(node) for node in functions if node.name.lstrip("_") == module)
    return " ".join((told or "").split("\n\n")[0].split())


def load_command(name: str) -> Runnable:
    """Import the module of a command and give the command, or the group of commands, that it defines."""
    gc.disable()  # nothing that is imported is garbage, and looking for it takes a tenth of the time
    try:
        module = import_module(f".{name.replace('-', '_')}", __package__)
    finally:
        gc.enable()
    return as_command(getattr(module, name.replace("-", "_")), name)


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
        return list(NAMES)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """A stand-in with the command's line of help; None if there is no such command."""
        if cmd_name not in NAMES:
            return None
        return TyperCommand(cmd_name, help=help_line(cmd_name), rich_help_panel=_PURPOSE[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name, imported now by the loader in ``ctx.obj``.

        Raises:
            UnknownNameError: There is no such command.
        """
        if args[0] not in NAMES and not ctx.resilient_parsing:
            near = did_you_mean(args[0], NAMES)
            raise UnknownNameError(f"no command is called {args[0]!r}{near}; blindspace --help lists them all")
        name, known, rest = super().resolve_command(ctx, args)
        return name, known and ctx.obj(known.name), rest
