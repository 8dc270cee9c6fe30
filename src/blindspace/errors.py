"""What can go wrong, said in one line: what was given, and what would do."""

from __future__ import annotations


class BlindspaceError(Exception):
    """Base of every error the package raises on purpose; its message is one line fit for a user."""


class ShapeError(BlindspaceError):
    """A tensor, image or layer has another shape than the one that is needed."""


class ValueRangeError(BlindspaceError):
    """A number is not finite or outside its range."""


class UnsupportedLayerError(BlindspaceError):
    """A module is not affine in its input, or of a kind with no linear map here."""


class TooLargeError(BlindspaceError):
    """A computation would need more memory than is allowed; the message holds the figures."""


class FileError(BlindspaceError):
    """A file or folder is missing, damaged, of the wrong kind or cannot be written."""


class MissingExtraError(BlindspaceError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class UnknownNameError(BlindspaceError):
    """A name (of a network, a data set, an attack) is not known; the message lists those that are."""


class PrecisionError(BlindspaceError):
    """A network cannot run in the precision that is asked for."""


class BlindspaceWarning(UserWarning):
    """A result that cannot be met as promised, such as an undecided rank; the message holds the figures."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line; of a headline that ends in a colon what it leads to, too."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
