"""The registry of resizers: every way to resize images that is known, by its name, in a fixed order.

To add a library: write its file beside this one, with a tuple ``RESIZERS``, and add it here.
"""

from __future__ import annotations

from ...errors import UnknownNameError, did_you_mean
from . import chromium, imagemagick, libvips, onnx_standard, opencv, pillow, pytorch, scikit_image, tensorflow
from .base import Matrices, Resizer, Size

__all__ = ["LIBRARIES", "RESIZERS", "Matrices", "Resizer", "Size", "modes", "resizer"]

RESIZERS: dict[str, Resizer] = {
    each.name: each
    for library in (
        pillow,
        pytorch,
        onnx_standard,
        opencv,
        scikit_image,
        tensorflow,
        libvips,
        imagemagick,
        chromium,
    )
    for each in library.RESIZERS
}
"""Every resizer by its name."""

LIBRARIES = tuple(dict.fromkeys(each.library for each in RESIZERS.values()))
"""The libraries whose resizers are known."""


def resizer(name: str) -> Resizer:
    """The resizer of a given name.

    Raises:
        UnknownNameError: No resizer has this name; the message says what there is.

    Examples:
        >>> vertical, horizontal = resizer("pil bicubic").matrices((480, 640), (224, 224))
        >>> vertical.shape, horizontal.shape
        (torch.Size([224, 480]), torch.Size([224, 640]))
    """
    if name in RESIZERS:
        return RESIZERS[name]
    words = name.split() if isinstance(name, str) else []
    if words and words[0] in LIBRARIES:
        raise UnknownNameError(
            f"{words[0]} has no resize mode {' '.join(words[1:])!r}{did_you_mean(name, RESIZERS)}; "
            f"it has {', '.join(modes(words[0]))}"
        )
    raise UnknownNameError(
        f"no resizer is called {name!r}{did_you_mean(name, RESIZERS)}; give a library and one of its modes, "
        f"such as 'pil bicubic'; there are {', '.join(LIBRARIES)}"
    )


def modes(library: str) -> tuple[str, ...]:
    """Names of the modes of a library."""
    return tuple(each.mode for each in RESIZERS.values() if each.library == library)
