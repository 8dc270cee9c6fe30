"""The tab *Inspect*: whether something is hidden where the network cannot see, and the image without it."""

from __future__ import annotations

import gradio as gr
from torch import Tensor

from .._html import percent
from ..errors import ValueRangeError
from ..evidence import canonical, inspect, verify
from .common import Shared, buttons, given, runs, seed_from
from .hosting import Hosted
from .saving import pair
from .session import Session
from .showing import difference, figures, files, image, sentences

UPLOADED, CHANGED = "The image above", "What the tab Change made of it"

RATE = 0.01
"""Rate at which images like the reference may be called suspicious."""

EMPTY = sentences(["Drop an image above and press “Inspect”. The first inspection learns what clean images look like."])


def tab(shared: Shared) -> None:
    """Build the tab."""
    which = gr.Radio([UPLOADED, CHANGED], value=UPLOADED, label="Which image")
    start, stop = buttons("Inspect and clean")
    shown = gr.HTML(EMPTY)
    keep, end = buttons("Make files of the cleaned image")
    kept = gr.HTML(elem_id="bs-clean-files")

    def inspected(
        session: Session, network: str, seed: float | None, whose: str, progress: gr.Progress = gr.Progress()
    ) -> tuple[str, str]:
        hosted, x = _chosen(shared, session, network, whose)
        report = session.reporting(progress)
        reference = hosted.reference(report)
        report(0, 2, "inspecting")
        found = inspect(hosted.space, x, reference, RATE, seed=seed_from(seed))
        report(1, 2, "cleaning")
        clean = canonical(hosted.space, x, reference.prior)
        report(2, 2, "measuring")
        session.cleaned = (hosted.name, x, clean.images)
        suspicious = bool(found.suspicious[0])
        moved = verify(hosted.network, x, clean.images)
        lines = [
            ("Suspicious: something seems to be hidden" if suspicious else "Not suspicious: nothing seems hidden")
            + f" where {hosted.name} cannot see.",
            f"The score is {float(found.scores[0]):.2f}, against a threshold of {found.threshold:.2f} that "
            f"{percent(RATE, 0)} of images like the {reference.images} of the reference reach; p-value "
            f"{float(found.p_values[0]):.2g}, {float(found.deviations[0]):.1f} standard deviations from their mean.",
            f"Cleaning replaces what the network cannot see by what it usually is: its outputs move by at most "
            f"{moved.max_output_change:.1e}.",
            f"Fingerprint of what the network sees: {found.fingerprints[0]}.",
        ]
        answers = [hosted.answers(each)[0] for each in (x, clean.images)]
        pictures = [
            image("Inspected", x, answers[0]),
            image("Cleaned", clean.images, answers[1]),
            difference("What cleaning took out", x - clean.images),
        ]
        return figures(pictures) + sentences(lines, not suspicious), ""

    def save(session: Session, progress: gr.Progress = gr.Progress()) -> str:
        if session.cleaned is None:
            raise ValueRangeError("inspect an image first")
        name, x, clean = session.cleaned
        hosted = shared.chosen(name)
        report = session.reporting(progress)
        report(0, 1, "files")
        made, lines = pair(hosted.network, hosted.space, x, clean, {"kind": "cleaned"}, "cleaned", report)
        return files(made) + sentences(lines)

    inputs = [*shared.inputs, which]
    runs(start, stop, shared, inspected, inputs=inputs, outputs=[shown, kept], show_progress_on=shown)
    runs(keep, end, shared, save, inputs=[shared.session], outputs=kept)


def _chosen(shared: Shared, session: Session, network: str, whose: str) -> tuple[Hosted, Tensor]:
    """The network and the image to inspect, which may leave [0, 1]."""
    if whose != CHANGED:
        hosted = shared.chosen(network)
        return hosted, hosted.pixels(given(session.upload, "an image at the top of the page"), False)[0]
    if session.change is None:
        raise ValueRangeError("make a change in the tab Change first")
    return shared.chosen(session.change.network), session.change.shown
