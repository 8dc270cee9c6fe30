"""The page: an image and a network at the top, below them one tab per question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from . import change, compare, inspection, see, splitting
from .common import AT_ONCE, PRIVATE, WORKERS, Shared
from .handling import handler
from .hosting import Hosted
from .session import Session
from .uploads import ENDINGS, LARGEST_FILE, LARGEST_PICTURE, taken

IDLE = 3600
"""Seconds after which the work of a user who has closed the page is forgotten, and files on their way are deleted."""

WAITING = 32
"""Largest number of requests that wait; further ones are refused."""

HEAD = """<header><h1>Blindspace</h1>
<p>What a neural network sees of an image, and what it cannot see. A change that it cannot see changes none of its
answers, however large the change is.</p></header>"""


def build(hosted: Mapping[str, Hosted]) -> gr.Blocks:
    """Build the page for some networks."""
    page: gr.Blocks
    with gr.Blocks(title="Blindspace", analytics_enabled=False, delete_cache=(IDLE // 6, IDLE)) as page:
        session = gr.State(Session(), time_to_live=None, delete_callback=Session.stop)
        gr.HTML(HEAD)
        with gr.Row(equal_height=False):
            upload = gr.File(label="Image", file_types=ENDINGS, height=130, scale=2)
            with gr.Column(scale=3):
                network = gr.Radio(list(hosted), value=next(iter(hosted)), label="Network")
                seed = gr.Number(
                    0, label="Seed", info="Of everything random; one seed gives one result.", precision=0, minimum=0
                )
        gr.HTML(
            f"<p class='bs-limits'>A picture of up to {LARGEST_FILE >> 20} MB and {LARGEST_PICTURE >> 20} million "
            "pixels, or an .npz file at the network's size. It is kept in the memory of the host while this page is "
            "open, is shown to nobody else, and leaves the host for nowhere.</p>"
        )
        shared = Shared(hosted, session, network, seed)
        with gr.Tabs():
            with gr.Tab("See"):
                shown, look = see.tab(shared)
            with gr.Tab("Change"):
                canvas, under = change.tab(shared)
            with gr.Tab("Compare"):
                compare.tab(shared)
            with gr.Tab("Inspect"):
                inspection.tab(shared)
            if any(each.surface is not None for each in hosted.values()):
                with gr.Tab("Manifold"):
                    splitting.tab(shared)

        def arrive(session: Session, path: str, name: str, seed: float | None) -> tuple[str, Any]:
            session.upload = taken(path)
            try:
                return look(session, name, seed), under(session, name)
            except Exception:
                session.upload = None  # a file that cannot be read is not kept
                raise

        def again(session: Session, name: str, seed: float | None) -> tuple[str, Any]:
            if session.upload is None:
                return see.EMPTY, None
            return look(session, name, seed), under(session, name)

        def forget(session: Session) -> tuple[str, None]:
            session.upload = None
            return see.EMPTY, None

        several: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": WORKERS, **PRIVATE}
        both = [shown, canvas]
        upload.upload(handler(arrive), [session, upload, network, seed], both, show_progress_on=shown, **several)
        upload.clear(handler(forget), session, both, **AT_ONCE, **PRIVATE)
        network.change(handler(again), [session, network, seed], both, show_progress_on=shown, **several)
    page.queue(api_open=False, max_size=WAITING, default_concurrency_limit=WORKERS)
    return page
