"""The tab *Change*: an image changed where the network cannot see, its labels beside it, and files to keep."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr
import torch.nn.functional as F
from torch import Tensor, from_numpy, stack

from ..errors import ValueRangeError
from ..evidence import verify
from ..perturbations import perturb
from .common import AT_ONCE, PRIVATE, Shared, buttons, given, runs, seed_from
from .handling import handler
from .hosting import Hosted
from .saving import pair
from .session import Change, Session, Upload
from .showing import enlarged, figures, files, image, sentences
from .uploads import ENDINGS, taken
from .verdict import told

KINDS = {
    "Noise": "noise",
    "The largest change": "largest",
    "Decoy: people see a text": "text",
    "Decoy: people see a picture": "picture",
}
"""Kinds as the page has them; noise is of the size of the whole image range at full strength."""

EMPTY = sentences(["Drop an image above, choose what to add, and press “Make the change”."])

NOTHING = (
    "Nothing harmless was found that keeps every pixel between black and white, so that the image is as it was; take "
    "that switch off, or another image."
)


def tab(shared: Shared) -> tuple[gr.ImageEditor, Callable[[Session, str], dict[str, Any] | None]]:
    """Build the tab.

    Returns:
        The canvas that a mask is painted on, and the function that puts the image under it.
    """
    target = gr.State(None)
    kind = gr.Radio(list(KINDS), value="Noise", label="What to add")
    in_range = gr.Checkbox(
        True, label="Keep every pixel between black and white", info="Needed for PNG; the change may be smaller."
    )
    words = gr.Textbox("cat", label="Text that people see", max_length=60, visible=False)
    drop = gr.File(label="Picture that people see", file_types=ENDINGS, visible=False, height=110)
    with gr.Accordion("Change a part of the image only", open=False):
        gr.Markdown("Paint over the part that may change. Without paint, and without a box, all of it may.")
        canvas = gr.ImageEditor(
            label="Mask brush",
            type="numpy",
            format="png",
            sources=(),
            transforms=(),
            layers=False,
            brush=gr.Brush(colors=["#ff2d55"], color_mode="fixed", default_size=32),
            height=440,
            buttons=[],
            elem_id="bs-canvas",
        )
        box = gr.Textbox(label="Or a box of pixels", info="x0,y0,x1,y1, counted at the network's size", max_length=40)
    start, stop = buttons("Make the change")
    size = gr.Slider(0, 1, 1, step=0.01, label="Size of the change", info="1 is all of it; drag, and watch the labels.")
    shown = gr.HTML(EMPTY, elem_id="bs-change")
    keep, end = buttons("Make files of it")
    kept = gr.HTML(elem_id="bs-change-files")

    def fields(which: str) -> tuple[Any, Any]:
        return gr.update(visible=KINDS.get(which) == "text"), gr.update(visible=KINDS.get(which) == "picture")

    def make(
        session: Session,
        network: str,
        seed: float | None,
        which: str,
        inside: bool,
        said: str | None,
        picture: Upload | None,
        painted: dict[str, Any] | None,
        corners: str | None,
        share: float | None,
        progress: gr.Progress = gr.Progress(),
    ) -> tuple[str, str]:
        hosted, x, _ = shared.image(session, network)
        if which not in KINDS:
            raise ValueRangeError(f"choose what to add: {', '.join(KINDS)}")
        report = session.reporting(progress)
        options: dict[str, Any] = {"kind": KINDS[which]}
        if KINDS[which] == "text":
            options = {"kind": "decoy", "text": said or ""}
        elif KINDS[which] == "picture":
            wanted = given(picture, "the picture that people shall see")
            options = {"kind": "decoy", "target": hosted.pixels(wanted)[0][0]}
        mask = _box(corners) if corners and corners.strip() else _painted(painted, x)
        report(0, 1, "harmless change")
        made = perturb(
            x,
            hosted.space,
            size=1.0,
            in_range=bool(inside),
            seed=seed_from(seed),
            mask=mask,
            progress=report,
            **options,
        )
        report(1, 1, "measuring")
        settings = {"kind": made.recipe.kind, "seed": made.recipe.seed, "in_range": made.recipe.in_range}
        session.change = Change(hosted.name, x, made.images, made.space, settings)
        return _shown(session, hosted, share), ""

    def slide(session: Session, network: str, share: float | None) -> tuple[str, str]:
        if session.change is None:
            return EMPTY, ""
        return _shown(session, shared.chosen(session.change.network), share), ""

    def save(session: Session, progress: gr.Progress = gr.Progress()) -> str:
        change = session.change
        if change is None:
            raise ValueRangeError("make a change first")
        report = session.reporting(progress)
        report(0, 1, "files")
        settings = {**change.settings, "share": change.share}
        network = shared.chosen(change.network).network
        made, lines = pair(network, change.space, change.original, change.shown, settings, "changed", report)
        return files(made) + sentences(lines)

    kind.change(handler(fields), kind, [words, drop], **AT_ONCE, **PRIVATE)
    drop.upload(handler(taken), drop, target, **PRIVATE)
    drop.clear(lambda: None, None, target, **AT_ONCE, **PRIVATE)
    runs(
        start,
        stop,
        shared,
        make,
        inputs=[*shared.inputs, kind, in_range, words, target, canvas, box, size],
        outputs=[shown, kept],
        show_progress_on=shown,
    )
    size.change(
        handler(slide),
        [shared.session, shared.network, size],
        [shown, kept],
        trigger_mode="always_last",
        show_progress="hidden",
        concurrency_limit=4,
        **PRIVATE,
    )
    runs(keep, end, shared, save, inputs=[shared.session], outputs=[kept])

    def under(session: Session, network: str) -> dict[str, Any] | None:
        _, x, _ = shared.image(session, network)
        background = (enlarged(x)[0].permute(1, 2, 0).cpu().numpy() * 255).round().astype("uint8")
        return {"background": background, "layers": [], "composite": None}

    return canvas, under


def _shown(session: Session, hosted: Hosted, share: float | None) -> str:
    """The image and its change, at a share of the change."""
    assert session.change is not None
    change = session.change = replace(session.change, share=min(max(float(share or 0), 0.0), 1.0))
    before, after = hosted.answers(change.original)[0], hosted.answers(change.shown)[0]
    lines, same = told(verify(hosted.network, change.original, change.shown))
    verdict: bool | None = same
    if bool((change.changed == change.original).all()):
        lines, verdict = [NOTHING], None
    pictures = [image("Original", change.original, before), image("Changed", change.shown, after)]
    return figures(pictures) + sentences(lines, verdict)


def _box(text: str) -> list[int]:
    """A box of pixels; nothing else is read, above all no path."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*,\s*(\d{1,5})\s*,\s*(\d{1,5})\s*", text)
    if found is None:
        raise ValueRangeError("a box is four numbers of pixels, x0,y0,x1,y1, such as 8,8,24,24")
    return [int(number) for number in found.groups()]


def _painted(value: dict[str, Any] | None, x: Tensor) -> Tensor | None:
    """The mask that was painted, bool ``(H, W)``; None without paint."""
    layers = [layer for layer in (value or {}).get("layers") or () if layer is not None and layer.ndim == 3]
    if not any(layer[..., 3].any() for layer in layers):
        return None
    paint = stack([from_numpy(layer[..., 3]) for layer in layers]).amax(0)
    return F.adaptive_avg_pool2d(paint[None].double(), (x.shape[2], x.shape[3]))[0] >= 127.5
