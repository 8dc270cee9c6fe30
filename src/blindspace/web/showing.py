"""Pictures, labels, sentences and files as HTML; pictures and files lie inside it, so that the server keeps none."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

from ..report.page import picture, signed_picture
from .hosting import Answer

SMALL = 128
"""Number of pixels of the longer side up to which pixels are shown as squares."""

_UNSAFE = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;"})
"""Letters that the page would read as its own templates."""


@dataclass(frozen=True)
class Figure:
    """One picture with its caption.

    Attributes:
        title: Its name.
        uri: The picture as a data URI.
        pixels: Number of pixels of its longer side.
        answer: What the network says of it; None if it is not asked.
        note: A further line.
    """

    title: str
    uri: str
    pixels: int
    answer: Answer | None = None
    note: str = ""


def image(title: str, x: Tensor, answer: Answer | None = None, note: str = "") -> Figure:
    """An image ``(1, C, H, W)``; what is outside [0, 1] is cut, and the caption says so."""
    low, high = float(x.min()), float(x.max())
    cut = f"values from {low:.2f} to {high:.2f}, shown from 0 to 1" if low < 0 or high > 1 else ""
    return Figure(title, picture(x[0]), max(x.shape[2:]), answer, note or cut)


def difference(title: str, delta: Tensor, note: str = "") -> Figure:
    """A difference ``(1, C, H, W)``: grey is none, and the largest is black or white."""
    largest = float(delta.abs().max())
    said = f"grey is none; black and white are {largest:.2g}" if largest else "none at all"
    return Figure(title, signed_picture(delta[0]), max(delta.shape[2:]), None, note or said)


def figures(shown: Sequence[Figure]) -> str:
    """Pictures side by side, as many as fit."""
    return f"<div class='bs-figures'>{''.join(map(_figure, shown))}</div>"


def _figure(each: Figure) -> str:
    sharp = " class='bs-pixels'" if each.pixels <= SMALL else ""
    lines = [f"<b>{text(each.title)}</b>"]
    if each.answer is not None:
        lines.append(f"<span class='bs-label'>{text(each.answer.label)}</span>")
        if each.answer.confidence is not None:
            share = each.answer.confidence
            lines.append(f"<span class='bs-confidence'>{share:.2%}</span>")
            lines.append(f"<span class='bs-bar' aria-hidden='true'><i style='width:{100 * share:.1f}%'></i></span>")
    if each.note:
        lines.append(f"<small>{text(each.note)}</small>")
    alternative = text(each.title) + ("" if each.answer is None else f": {text(str(each.answer))}")
    caption = "".join(lines)
    return f"<figure><img{sharp} src='{each.uri}' alt='{alternative}'><figcaption>{caption}</figcaption></figure>"


def sentences(lines: Sequence[str], verdict: bool | None = None) -> str:
    """Sentences, one per paragraph; the first one is marked as good or bad news if there is a verdict."""
    mark = "" if verdict is None else f" class='{'bs-good' if verdict else 'bs-bad'}'"
    first, *rest = lines
    return f"<div class='bs-text'><p{mark}>{text(first)}</p>{''.join(f'<p>{text(line)}</p>' for line in rest)}</div>"


def files(given: Sequence[tuple[str, bytes, str]]) -> str:
    """Links that save files: the name, the content, and what it is for."""
    rows = []
    for name, content, purpose in given:
        kind = "image/png" if name.endswith(".png") else "application/octet-stream"
        address = f"data:{kind};base64,{base64.b64encode(content).decode()}"
        link = f"<a download='{text(name)}' href='{address}'>{text(name)}</a>"
        rows.append(f"<li>{link} <span>{_size(len(content))}. {text(purpose)}</span></li>")
    return f"<ul class='bs-files'>{''.join(rows)}</ul>"


def text(value: str) -> str:
    """Text for HTML, in which no template of the page is looked for."""
    return escape(value, quote=True).translate(_UNSAFE)


def enlarged(x: Tensor, side: int = 320) -> Tensor:
    """An image ``(1, C, H, W)`` whose pixels are squares, large enough to paint on, ``(1, 3, H', W')``."""
    times = max(side // max(x.shape[2:]), 1)
    return x.clamp(0, 1).expand(-1, 3, -1, -1).repeat_interleave(times, 2).repeat_interleave(times, 3).to(torch.float32)


def _size(count: int) -> str:
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"
