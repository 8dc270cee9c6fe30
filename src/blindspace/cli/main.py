"""The command line. Bad input gets one line and exit code 2; a 'no' gets exit code 1."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from ..errors import BlindspaceError, BlindspaceWarning
from .audit import audit
from .bench import bench
from .data import data
from .demo import demo
from .identify import identify
from .inspect import inspect
from .leakage import leakage
from .perturb import perturb
from .protect import protect
from .reproduce import reproduce
from .train import train
from .verify import verify

INTERRUPTED = 130
"""The code by which Typer tells of Ctrl-C; no command here exits with it."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find, prove and use what a neural network cannot see.",
)
for command in (audit, perturb, protect, verify, leakage, inspect, identify, train, reproduce, bench, demo):
    app.command()(command)
app.add_typer(data)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"blindspace {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which one.")
    ] = False,
) -> None:
    """Find, prove and use what a neural network cannot see."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line, without the program's name; those of the process if None.

    Returns:
        The exit code: 0 on success, 1 where the answer is no, 2 on bad input or an interruption.
    """
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        code = int(app(arguments, standalone_mode=False) or 0)
    except typer.Exit as stop:
        code = int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BlindspaceError as error:
        return _say(str(error))
    except OSError as error:
        return _say(f"{error.filename or 'the system'}: {error.strerror or error}")
    except MemoryError:
        return _say("out of memory; take a smaller input or fewer images")
    except Exception as error:
        # Usage errors of the command-line parser, which is Typer's own copy of Click or Click itself.
        if not hasattr(error, "format_message"):
            raise
        message = str(error.format_message())
        return _say(message) if message else 0  # no arguments at all: the help has been shown
    if code == INTERRUPTED:
        return _say("interrupted; nothing is half-written, and what can be resumed resumes with the same command")
    return code


def _say(message: str) -> int:
    print("blindspace: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    if issubclass(category, BlindspaceWarning):
        print(f"blindspace: warning: {message}", file=sys.stderr)


def main() -> None:
    """Entry point of the ``blindspace`` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without σ gets an escape, not a traceback
    sys.exit(run())


if __name__ == "__main__":
    main()
