"""The web app without a browser: what its tabs show and what they keep, as a user presses one button after another."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

import blindspace as bs
from blindspace.web.hosting import host
from blindspace.web.page import build
from blindspace.web.session import Session, Upload
from blindspace.web.splitting import CHANGED, FGSM, MINIMAL, PGD

NETWORK = "mnist-mlp"

_DATA = re.compile(r"data:[a-z/-]+;base64,[^'\"]*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


def of_tabs(exact: bool) -> Callable[[Tensor], Any]:
    """What all tabs show: the words, and where ``exact`` the numbers in them too."""

    def compute(x: Tensor) -> Any:
        shown = [_DATA.sub("", str(each)) for each in _pressed(x)]
        numbers = [[float(number) for number in _NUMBER.findall(each)] for each in shown] if exact else []
        return [[_NUMBER.sub("", each) for each in shown], numbers]

    return compute


def _pressed(x: Tensor) -> list[Any]:
    """What a user sees who sends two digits to a page on the device of x, and presses every button."""
    os.environ["GRADIO_TEMP_DIR"] = tempfile.gettempdir()
    page = build(host([], x.device))
    functions: dict[str, list[Callable[..., Any]]] = {}
    for each in page.fns.values():
        if each.fn is not None:
            functions.setdefault(each.fn.__name__, []).append(each.fn)
    user = Session(upload=_digit(0), other=_digit(1))
    usual = (user, NETWORK, 0.0)
    (again,), (make,), (slide,), (compare,), (inspected,), (split,) = (
        functions[name] for name in ("again", "make", "slide", "compare", "inspected", "split")
    )
    keep_change, keep_clean = functions["save"]
    paint = np.zeros((336, 336, 4), np.uint8)
    paint[:300, :300, 3] = 255
    seen = [
        again(*usual),
        make(*usual, "Noise", True, "", None, {"layers": [paint]}, "", 1.0, _silent),
        slide(user, NETWORK, 0.5),
        keep_change(user, _silent),
        compare(*usual, _silent),
        inspected(*usual, "The image above", _silent),
        keep_clean(user, _silent),
        *(split(*usual, kind, _silent) for kind in (MINIMAL, PGD, FGSM, CHANGED)),
    ]
    assert user.change is not None
    assert user.cleaned is not None
    assert {user.change.changed.device, user.cleaned[2].device} == {x.device}
    return seen


def _digit(number: int) -> Upload:
    content = io.BytesIO()
    Image.fromarray(bs.data.samples("mnist").images[number, 0]).save(content, "PNG")
    return Upload(f"{number}.png", content.getvalue())


def _silent(*_: object, **__: object) -> None:
    """A bar of progress that shows none."""
