"""The command line: its exit codes, each with one line at most that says why."""

from __future__ import annotations

import gc
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import (
    BlindspaceError,
    BlindspaceWarning,
    WithdrawnError,
    did_you_mean,
    first_line,
    is_out_of_memory,
)
from .commands import OnDemand, Runnable, load_command
from .completion import PROGRAM, is_asked_for, stand_in
from .first_steps import first_steps

NO = 1
"""The exit code where the answer is no, and of nothing else."""

BAD_INPUT = 2
"""The exit code on bad input, on what the machine cannot do, and on an interruption."""

UNEXPECTED = 70
"""The exit code of a fault of the program itself, as in the C library's ``sysexits.h``."""

INTERRUPTED = 130
"""The code by which Typer reports Ctrl-C; no command here exits with it."""

NO_READER = 141
"""The exit code when what reads the output has ended, such as ``head``: that of a program ended by the signal PIPE."""

DEBUG = "--debug"

app = typer.Typer(
    cls=OnDemand,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    help="Find, prove and use what a neural network cannot see.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"blindspace {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Print the traceback of an error before its line; goes with every command.")
    ] = False,
) -> None:
    """Find, prove and use what a neural network cannot see."""
    if context.invoked_subcommand is None:
        print(first_steps())


def run(arguments: Sequence[str] | None = None, load: Callable[[str], Runnable] = load_command) -> int:
    """Run one command.

    Args:
        arguments: arguments of the command line, without the program's name; those of the process if None.
        load: gives the command of a name.

    Returns:
        The exit code: 0 on success, 1 where the answer is no, 2 on bad input or an interruption, 70 on an error that
        nobody expected, 141 where nobody reads the output any more.
    """
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    given, debug = _without_debug(list(sys.argv[1:] if arguments is None else arguments))
    try:
        if is_asked_for(given):
            return _completion(given)
        code = int(app(given, standalone_mode=False, obj=load, prog_name=PROGRAM) or 0)
    except typer.Exit as stop:
        code = int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (Exception, SystemExit) as error:  # code of others that a command runs may end the process
        if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
            error = error.__context__  # Rich, by which the help is printed, makes the one of the other
        if debug and not _is_usage(error):
            traceback.print_exception(error)
        return _failure(error)
    if code == INTERRUPTED:
        return _fail("interrupted; nothing is half-written, and what can be resumed resumes with the same command")
    return code


def _completion(arguments: list[str]) -> int:
    """What Typer does about completion, after which it would end the process."""
    try:
        app(arguments, standalone_mode=False, obj=stand_in, prog_name=PROGRAM)
    except SystemExit as end:
        return BAD_INPUT if end.code else 0
    return 0


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without ``--debug``, which may stand before and after the command, and whether it was there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    rest = [word for word in arguments[:end] if word != DEBUG]
    return rest + arguments[end:], len(rest) < end


def _failure(error: BaseException) -> int:
    """Print the line of an error and return its exit code."""
    match error:
        case WithdrawnError():
            return _fail(str(error), NO)
        case BlindspaceError():
            return _fail(str(error))
        case BrokenPipeError():
            # What is still held for the reader would be written at the end of the process, and fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return NO_READER
        case OSError():
            return _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
        case _ if is_out_of_memory(error):
            return _fail("out of memory; take a smaller input or fewer images")
    if _is_usage(error):
        message = _usage(error)
        return _fail(message) if message else 0  # a group of commands alone: its help has been shown
    what = f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
    return _fail(
        f"unexpected error, {what}; please report it with what the same command prints under {DEBUG}", UNEXPECTED
    )


def _usage(error: Any) -> str:
    """What is wrong with the words of a command line, and what would do."""
    message = str(error.format_message())
    if error.ctx is None:
        return message
    if message.startswith("Missing"):
        return f"{message.rstrip('.')}; {error.ctx.command_path} --help explains it"
    if not hasattr(error, "possibilities"):
        return message
    known = [name for each in error.ctx.command.params for name in (*each.opts, *each.secondary_opts)]
    near = did_you_mean(error.option_name, known)
    return f"there is no option {error.option_name}{near}; {error.ctx.command_path} --help lists them all"


def _is_usage(error: BaseException) -> bool:
    """Whether an error is of the command-line parser, which is Typer's own copy of Click or Click itself."""
    return hasattr(error, "format_message")


def _fail(message: str, code: int = BAD_INPUT) -> int:
    print("blindspace: " + " ".join(message.split()), file=sys.stderr)
    return code


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    if issubclass(category, BlindspaceWarning):
        print(f"blindspace: warning: {message}", file=sys.stderr)


def main() -> None:
    """Entry point of the ``blindspace`` program."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 for the rest of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without σ gets an escape, not a traceback
    code = run()
    gc.freeze()  # the process ends, and looking for garbage among all that was imported would take half a second
    sys.exit(code)


if __name__ == "__main__":
    main()
