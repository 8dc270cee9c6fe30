"""What every tab is built from: the parts of the page that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from torch import Tensor

from ..errors import ValueRangeError, seed_of
from .handling import handler
from .hosting import Hosted
from .session import Session, Upload

WORKERS = 2
"""Number of users whose work is done at the same time; others wait in a queue."""


@dataclass(frozen=True)
class Shared:
    """The parts of the page that all tabs read.

    Attributes:
        hosted: The networks by name.
        session: State with the user's work.
        network: The choice of a network.
        seed: The seed.
    """

    hosted: Mapping[str, Hosted]
    session: gr.State
    network: gr.Radio
    seed: gr.Number

    @property
    def inputs(self) -> list[Any]:
        """What every function behind a button reads first: the session, the network and the seed."""
        return [self.session, self.network, self.seed]

    def chosen(self, name: object) -> Hosted:
        """The network of a name; users can name no other than those that are offered.

        Raises:
            ValueRangeError: There is no such network.
        """
        if not isinstance(name, str) or name not in self.hosted:
            raise ValueRangeError("choose one of the networks that this page offers")
        return self.hosted[name]

    def image(self, session: Session, name: object) -> tuple[Hosted, Tensor, str]:
        """The network, the user's image as it reads it, and what was done to it."""
        hosted = self.chosen(name)
        return hosted, *hosted.pixels(given(session.upload, "an image at the top of the page"))


def given(upload: Upload | None, what: str) -> Upload:
    """An upload that must be there.

    Raises:
        ValueRangeError: It is not.
    """
    if upload is None:
        raise ValueRangeError(f"drop {what} first")
    return upload


def seed_from(value: object) -> int:
    """The seed as the page has it, where an empty field is 0."""
    return seed_of(int(value) if isinstance(value, float) and value == int(value) else value or 0)


def buttons(label: str, stoppable: bool = True) -> tuple[gr.Button, gr.Button | None]:
    """A button that starts work, and one that stops it."""
    with gr.Row(elem_classes="bs-buttons"):
        start = gr.Button(label, variant="primary")
        return start, gr.Button("Stop") if stoppable else None


def runs(start: gr.Button, stop: gr.Button | None, shared: Shared, work: Callable[..., Any], **given: Any) -> Any:
    """Wire a button to work, and another one that ends it at its next report of progress."""
    event = start.click(handler(work), concurrency_id="work", concurrency_limit=WORKERS, **PRIVATE, **given)
    if stop is not None:
        stop.click(handler(Session.stop), shared.session, None, cancels=[event], **AT_ONCE, **PRIVATE)
    return event


AT_ONCE: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}
"""For functions that take no time, and wait for no other."""

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""No function of the page is offered as an interface for programs."""
