"""How the functions behind the buttons end: with a result, with one sentence, or because they were stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from html import escape
from typing import Any

import gradio as gr

from ..errors import BlindspaceError, is_out_of_memory
from .session import Stopped


def handler(work: Callable[..., Any]) -> Callable[..., Any]:
    """A function behind a button, whose errors the user sees as one sentence, without a traceback or a path."""

    @wraps(work)
    def run(*given: Any) -> Any:
        try:
            return work(*given)
        except Stopped:
            gr.Info("The work was stopped; what was there before has stayed.")
            return gr.skip()
        except BlindspaceError as error:
            raise _shown(str(error)) from error
        except Exception as error:
            if is_out_of_memory(error):
                raise _shown("The memory of the host does not suffice; take a smaller image or network.") from error
            logging.getLogger(__name__).exception("a function of the web app failed")
            raise _shown("That is a fault of the program; the log of the host has the details.") from error

    return run


def _shown(sentence: str) -> gr.Error:
    return gr.Error(escape(sentence), duration=None, print_exception=False)
