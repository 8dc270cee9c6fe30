"""The tab *Compare*: what differs between two images for the network, and what does not."""

from __future__ import annotations

import gradio as gr

from .._html import percent
from ..evidence import verify
from .common import AT_ONCE, PRIVATE, Shared, buttons, given, runs
from .handling import handler
from .session import Session
from .showing import difference, figures, image, sentences
from .uploads import ENDINGS, taken
from .verdict import told

EMPTY = sentences(["Drop an image above and a second one here, and press “Compare”."])


def tab(shared: Shared) -> None:
    """Build the tab."""
    drop = gr.File(label="Second image", file_types=ENDINGS, height=110)
    start, stop = buttons("Compare")
    shown = gr.HTML(EMPTY)

    def take(session: Session, path: str) -> str:
        session.other = taken(path)
        return sentences([f"{session.other.name} has arrived; press “Compare”."])

    def forget(session: Session) -> str:
        session.other = None
        return EMPTY

    def compare(session: Session, network: str, seed: float | None, progress: gr.Progress = gr.Progress()) -> str:
        session.reporting(progress)(0, 1, "comparing")
        hosted, x, done = shared.image(session, network)
        other, done_too = hosted.pixels(given(session.other, "a second image"), False)
        first, second = hosted.answers(x)[0], hosted.answers(other)[0]
        delta = other - x
        split = hosted.space.split(delta)
        lines, same = told(verify(hosted.network, x, other))
        lines.append(
            f"Of the energy of the difference {percent(float(hosted.space.energy(delta)), 2)} is harmless; of noise it "
            f"would be {percent(hosted.space.chance)}."
            if bool(delta.any())
            else "The two images are equal at the network's size."
        )
        pictures = [
            image("First image", x, first, done),
            image("Second image", other, second, done_too),
            difference("What differs for the network", split.orthogonal),
            difference("What differs, and it cannot see", split.parallel),
        ]
        return figures(pictures) + sentences(lines, same)

    drop.upload(handler(take), [shared.session, drop], shown, **PRIVATE)
    drop.clear(handler(forget), shared.session, shown, **AT_ONCE, **PRIVATE)
    runs(start, stop, shared, compare, inputs=shared.inputs, outputs=shown)
