"""Exceptions of the package, each with a message of one line: what was given, and what would be accepted."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class BlindspaceError(Exception):
    """Base class of every error that the package raises on purpose; its message is one line fit for a user.

    Examples:
        >>> import torch, blindspace as bs
        >>> try:
        ...     bs.nullspace(torch.nn.Linear(4, 2))
        ... except bs.BlindspaceError as error:
        ...     print(type(error).__name__)
        ShapeError
    """


class ShapeError(BlindspaceError):
    """A tensor, image or layer has a shape or type other than the one that is needed."""


class ValueRangeError(BlindspaceError):
    """A number is not finite or outside its range."""


class UnsupportedLayerError(BlindspaceError):
    """A module is not affine in its input, or is of a type that no linear map is known for."""


class TooLargeError(BlindspaceError):
    """A computation would need more memory than is allowed; the message states the figures."""


class FileError(BlindspaceError):
    """A file or folder is missing, damaged, of the wrong kind or cannot be written."""


class MissingExtraError(BlindspaceError):
    """An optional dependency is not installed; the message names the extra that installs it."""


class UnknownNameError(BlindspaceError):
    """A name (of a network, a data set, an attack) is not known; the message lists those that are."""


class PrecisionError(BlindspaceError):
    """A network cannot run in the requested precision."""


class CheckFailedError(BlindspaceError, AssertionError):
    """A linear map or subspace does not keep its contract; the message names the property, the figure and the bound."""


class WithdrawnError(BlindspaceError):
    """A space was found harmless for a network whose outputs move along it; the message says how far, and where."""


class NotSeparableError(BlindspaceError):
    """No network of the assumed structure classifies all samples correctly."""


class BlindspaceWarning(UserWarning):
    """A result falls short of what is promised, such as an undecided rank; the message states the figures."""


def require_memory(what: str, needed: float, limit: float, instead: str) -> None:
    """Refuse a computation that would take more memory than is allowed, before any of it is taken.

    Args:
        what: Name of the computation, the subject of the message.
        needed: Bytes that it takes at its peak, estimated.
        limit: Bytes that it may take.
        instead: What would do instead.

    Raises:
        TooLargeError: It would take more than the limit.
    """
    if needed > limit:
        raise TooLargeError(
            f"{what} needs about {needed / 2**30:.1f} GiB, above the limit of {limit / 2**30:.1f} GiB; {instead}"
        )


@contextmanager
def within_memory(instead: str) -> Iterator[None]:
    """Turn an error of the system's that memory ran out into one of the package; also a decorator.

    Args:
        instead: What would do instead.

    Raises:
        TooLargeError: Memory ran out within the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TooLargeError(f"memory does not suffice ({first_line(error)}); {instead}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; if it ends in a colon, the next line is appended.

    Of a message that quotes a traceback, as that of TorchScript does, it is the last line, which has the reason.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if any(line.startswith("Traceback") for line in lines):
        return lines[-1]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch says so in the message of a RuntimeError."""
    text = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or ("allocat" in text and "memory" in text) or "size calculation" in text


def shown(value: object) -> str:
    """Return how a message repeats what a user gave: its ``repr`` if that is short and one line, else its type."""
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """The part of a message that names the known name nearest to an unknown one; empty if none is near."""
    from difflib import get_close_matches

    near = get_close_matches(given, list(known), 1) if isinstance(given, str) else []
    return f" (did you mean {near[0]}?)" if near else ""


def integer(value: object, name: str, least: int, most: int = 2**63 - 1) -> int:
    """Return an argument that must be an integer from ``least`` to ``most``; ``name`` is the subject of the message."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if not least <= number <= most or isinstance(value, bool):
        bounds = f"of at least {least}" if most == 2**63 - 1 else f"from {least} to {most}"
        raise ValueRangeError(f"{name} must be an integer {bounds}, got {shown(value)}")
    return number


def seed_of(value: object) -> int:
    """Return a seed, which every source of random numbers here takes if it is an integer of at least 0."""
    seed = integer(value, "the seed", 0)
    if seed >= 1 << 63:
        raise ValueRangeError(f"the seed must be below 2^63, got {seed}")
    return seed


def real(value: object, name: str, least: float = 0.0, above: bool = False) -> float:
    """Return an argument that must be a finite number of at least ``least``, or above it. As ``integer``."""
    try:
        number = float(value) if not isinstance(value, str) else float("nan")  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        number = float("nan")
    if not (least < number if above else least <= number) or number == float("inf"):
        raise ValueRangeError(
            f"{name} must be a finite number {'above' if above else 'of at least'} {least:g}, got {shown(value)}"
        )
    return number
