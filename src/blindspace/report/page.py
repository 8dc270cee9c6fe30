"""Self-contained HTML pages: templates filled by jinja2, with numbers, pictures and charts formatted for a page."""

from __future__ import annotations

import base64
import io
import re
from functools import cache
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .._html import number, percent, size
from ..errors import MissingExtraError, ShapeError

if TYPE_CHECKING:
    from jinja2 import Environment

_COLOURS = ("ink", "muted", "rule", "harmless", "own", "gaussian", "shuffled")

STAND_INS = {name: f"#0000{index + 1:02x}" for index, name in enumerate(_COLOURS)}
"""Colours to draw a chart with; ``inline_svg`` replaces each by the page's CSS variable of that name."""

THRESHOLDS = (1e-3, 1e-2, 1e-1)
"""Thresholds, in units of ‖A‖, of the ε-nullity that a report shows."""

QUICK = 20_000
"""Number of input values up to which the spectrum is computed without being asked for."""


def render(template: str, values: dict[str, Any]) -> str:
    """Fill a template of ``report/templates``; every value is escaped.

    Args:
        template: file name, such as ``demo.html``.
        values: values of the template's names; a missing one is an error.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    require("jinja2")
    return _environment().get_template(template).render(values)


def require(package: str) -> None:
    """Check that an optional package is installed.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import_module(package)
    except ImportError as error:
        raise MissingExtraError(f"a page needs {package}: pip install 'blindspace[report]'") from error


@cache
def _environment() -> Environment:
    """The templates of this package, with the functions below as filters."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("blindspace.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, percent=percent, size=size, picture=picture, signed_picture=signed_picture)
    return made


def picture(pixels: Tensor) -> str:
    """Encode an image as a data URI, one pixel per value, for ``image-rendering: pixelated``.

    Args:
        pixels: ``(C, H, W)`` with C 1 or 3; values outside [0, 1] are clipped, which the page must say.

    Raises:
        ShapeError: the image has another shape.
    """
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise ShapeError(f"a picture has shape (1 or 3, H, W), got {tuple(pixels.shape)}")
    whole = (pixels.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    content = whole[0] if len(whole) == 1 else np.ascontiguousarray(whole.transpose(1, 2, 0))
    buffer = io.BytesIO()
    Image.fromarray(content).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def signed_picture(delta: Tensor) -> str:
    """Encode a perturbation as ``picture`` does: 0 is grey, plus and minus its largest value are white and black."""
    largest = delta.abs().max()
    return picture(0.5 + delta / (2 * largest) if largest > 0 else torch.full_like(delta, 0.5))


def inline_svg(svg: str, name: str, description: str) -> str:
    """Turn a chart of matplotlib into an element of the page, with the page's fonts and its light or dark colours.

    Args:
        svg: the content of the file, with text kept as text, drawn in the colours of ``STAND_INS``.
        name: prefix of every id, unique on the page.
        description: text for readers who cannot see the chart.
    """
    box = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 :].strip()
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for colour, stand_in in STAND_INS.items():
        body = body.replace(stand_in, f"var(--{colour})")
    return f'<svg {box[0] if box else ""} role="img" aria-label="{escape(description)}">{body}'
