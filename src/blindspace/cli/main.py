"""The command line. Bad input gets one line and exit code 2; a 'no' gets exit code 1."""

from __future__ import annotations

import gc
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from .. import __version__
from ..errors import BlindspaceError, BlindspaceWarning, WithdrawnError
from .commands import OnDemand, Runnable, load_command

INTERRUPTED = 130
"""The code by which Typer reports Ctrl-C; no command here exits with it."""

app = typer.Typer(
    cls=OnDemand,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find, prove and use what a neural network cannot see.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"blindspace {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find, prove and use what a neural network cannot see."""


def run(arguments: Sequence[str] | None = None, load: Callable[[str], Runnable] = load_command) -> int:
    """Run one command.

    Args:
        arguments: arguments of the command line, without the program's name; those of the process if None.
        load: gives the command of a name.

    Returns:
        The exit code: 0 on success, 1 where the answer is no, 2 on bad input or an interruption.
    """
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        code = int(app(arguments, standalone_mode=False, obj=load) or 0)
    except typer.Exit as stop:
        code = int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except WithdrawnError as error:
        return _fail(str(error), 1)
    except BlindspaceError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except MemoryError:
        return _fail("out of memory; take a smaller input or fewer images")
    except Exception as error:
        # Usage errors of the command-line parser, which is Typer's own copy of Click or Click itself.
        if not hasattr(error, "format_message"):
            raise
        message = str(error.format_message())
        return _fail(message) if message else 0  # no arguments at all: the help has been shown
    if code == INTERRUPTED:
        return _fail("interrupted; nothing is half-written, and what can be resumed resumes with the same command")
    return code


def _fail(message: str, code: int = 2) -> int:
    print("blindspace: " + " ".join(message.split()), file=sys.stderr)
    return code


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    if issubclass(category, BlindspaceWarning):
        print(f"blindspace: warning: {message}", file=sys.stderr)


def main() -> None:
    """Entry point of the ``blindspace`` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without σ gets an escape, not a traceback
    code = run()
    gc.freeze()  # the process ends, and looking for garbage among all that was imported would take half a second
    sys.exit(code)


if __name__ == "__main__":
    main()
