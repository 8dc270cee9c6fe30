"""Pictures in the cells of a table: in which columns they are, in what form, and their replacement.

Each leaf of a cell is examined. In what form a column holds pictures is decided after all of its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.embedded import LEAST, Wrapped, in_range_of_pixels, looks_like_pixels, unwrapped
from ..data.recognition import Content, Holds, recognise
from .columns import leaves, walk
from .source import with_suffix

PICTURES = "pictures"
"""Form of leaves in one of which a picture was found: whatever bytes they hold are pictures."""

NAMED = "named"
"""Form of leaves that the user says hold pictures: whatever they hold is one."""

SOME = "some"
"""Form of leaves in which something was found that may hold pictures and is not read."""

PIXELS = "pixels"
"""Form of lists of numbers that look like pixels."""

SPREAD = "spread"
"""Form of single numbers that are pixels of a picture in many columns."""

ADVICE = "store pictures as the bytes of files, or name their columns (--pictures), and others are copied as they are"

_SHORT = 60
"""Number of letters in which no picture is written down."""

_SOUND = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac")
_MEDIA = {".png": "image/png", ".tif": "image/tiff"}


@dataclass(frozen=True)
class Found:
    """A leaf that is a picture, or may hold one.

    Attributes:
        place: Its place in the table's row.
        content: Bytes of the picture; None if they cannot be read.
        reason: Reason why they cannot be read.
        wrapped: The text that the picture is written as; None if it is stored as bytes.
        is_text: Whether the leaf is text.
    """

    place: str
    content: bytes | None
    reason: str = ""
    wrapped: Wrapped | None = None
    is_text: bool = False

    def leaf(self, content: bytes, suffix: str) -> Any:
        """The leaf with another picture in it, which as a file has this suffix."""
        if self.wrapped is None:
            return content
        text = self.wrapped.around(content, _MEDIA.get(suffix, "application/octet-stream"))
        return text if self.is_text else text.encode("ascii")


def survey(parts: Iterable[list[Any]], kind: Any, name: str) -> dict[str, str]:
    """In what form a column holds pictures.

    Args:
        parts: The cells of the column in parts, which are read until the answer is certain.
        kind: Its type.
        name: Its name.

    Returns:
        The form of each leaf that holds pictures, by its path; empty if the column holds none.
    """
    states = {path: _State() for path, _ in leaves(kind, name)}

    def examine(leaf: Any, path: str, _: str, beside: str | None) -> Any:
        states[path].see(leaf, beside)
        return leaf

    for cells in parts if states else ():
        for cell in cells:
            walk(cell, kind, name, name, examine)
        if all(state.is_certain for state in states.values()):
            break
    return {path: state.form for path, state in states.items() if state.form}


def spread(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Columns of single numbers that are the pixels of one picture per row.

    Args:
        parts: The numbers of every such column by its name, as arrays, in parts of some rows; None for an empty cell.

    Returns:
        Names of the columns; empty if there are fewer than a picture has.
    """
    narrow: dict[str, bool] = {}
    is_varied = False
    for part in parts:
        for name, numbers in part.items():
            values = np.array([value for value in numbers if value is not None], np.float64)
            narrow[name] = narrow.get(name, True) and in_range_of_pixels(values)
            is_varied = is_varied or bool(((values != 0) & (values != 1)).any() and narrow[name])
    found = [name for name, is_narrow in narrow.items() if is_narrow]
    return found if len(found) >= LEAST and is_varied else []


def found_in(cell: Any, kind: Any, name: str, forms: Mapping[str, str]) -> list[Found | None]:
    """What a cell holds, one entry per leaf in a column's forms; None for a leaf without a picture."""
    found: list[Found | None] = []

    def take(leaf: Any, path: str, place: str, beside: str | None) -> Any:
        if path in forms:
            found.append(_taken(leaf, forms[path], place, beside))
        return leaf

    walk(cell, kind, name, name, take)
    return found


def replaced(
    cell: Any,
    kind: Any,
    name: str,
    forms: Mapping[str, str],
    found: Sequence[Found | None],
    contents: Iterator[bytes | None],
    suffix: str,
) -> Any:
    """A cell with new pictures; None if one of them is left out.

    Args:
        cell: The cell as it was.
        kind: Its type.
        name: Name of its column.
        forms: Forms of the column.
        found: What ``found_in`` found in it.
        contents: The new files; as many are taken as there are pictures in the cell.
        suffix: Suffix of the new files.
    """
    new = [None if one is None else next(contents) for one in found]
    if any(one is not None and content is None for one, content in zip(found, new, strict=True)):
        return None
    left = iter(zip(found, new, strict=True))

    def put(leaf: Any, path: str, _: str, __: str | None) -> Any:
        one, content = next(left) if path in forms else (None, None)
        return leaf if one is None or content is None else one.leaf(content, suffix)

    return _with_new_paths(cell, walk(cell, kind, name, name, put), suffix)


def contents(cell: Any, kind: Any, name: str) -> list[tuple[str, bytes]]:
    """Every leaf of a cell that is a file, with its place in the row."""
    found: list[tuple[str, bytes]] = []

    def take(leaf: Any, path: str, place: str, beside: str | None) -> Any:
        if isinstance(leaf, bytes | str):
            content, wrapped = _file(leaf)
            if not isinstance(leaf, str) or wrapped is not None:
                found.append((place, content))
        return leaf

    walk(cell, kind, name, name, take)
    return found


@dataclass
class _State:
    """What is known of a leaf after some rows."""

    form: str = ""
    is_certain: bool = False

    def see(self, leaf: Any, beside: str | None) -> None:
        """Take another row into account."""
        if self.is_certain:
            return
        if isinstance(leaf, list):
            self._see_numbers(leaf)
        elif leaf is None:
            if beside and not beside.lower().endswith(_SOUND):
                self.form, self.is_certain = PICTURES, True
        else:
            holds = _judged(leaf)[0].holds
            if holds is Holds.PICTURE:
                self.form, self.is_certain = PICTURES, True
            elif holds is not Holds.NOTHING:
                self.form = SOME

    def _see_numbers(self, leaf: list[Any]) -> None:
        values, shape = _numbers(leaf)
        if looks_like_pixels(None, shape):
            self.form, self.is_certain = PIXELS, True
        elif looks_like_pixels(values, shape):
            self.form = PIXELS
        elif len(shape) == 1 and len(values) >= LEAST and (values.min() < 0 or values.max() > 255):
            self.form, self.is_certain = "", True  # such as the numbers of words


def _taken(leaf: Any, form: str, place: str, beside: str | None) -> Found | None:
    if leaf is None:
        return Found(place, None, "the table holds a path in the place of its bytes") if beside else None
    if isinstance(leaf, list):
        is_large = len(_numbers(leaf)[0]) >= LEAST
        return Found(place, None, f"its numbers look like pixels; {ADVICE}") if is_large else None
    judged, content, wrapped = _judged(leaf)
    text = isinstance(leaf, str)
    if judged.holds is Holds.PICTURE or form == NAMED or (form == PICTURES and not text):
        return Found(place, content, "", wrapped, text)
    if judged.holds is Holds.NOTHING:
        return None
    return Found(place, None, f"it is {judged.what}, in which pictures may be stored; {ADVICE}")


def _judged(leaf: bytes | str) -> tuple[Content, bytes, Wrapped | None]:
    """What a leaf holds, and the file that it is or is written as."""
    if len(leaf) < _SHORT and isinstance(leaf, str):
        return Content(Holds.NOTHING, "text"), leaf.encode(), None
    content, wrapped = _file(leaf)
    return recognise(content), content, wrapped


def _file(leaf: bytes | str) -> tuple[bytes, Wrapped | None]:
    """The file that a leaf is, or is written as in base64."""
    content = leaf.encode("utf-8", "surrogatepass") if isinstance(leaf, str) else leaf
    if len(content) >= _SHORT and content[:_SHORT].isascii():
        text = content.decode("ascii", "replace")
        wrapped = unwrapped(text)
        if wrapped is not None and (wrapped.prefix or _is_file(text, wrapped.content)):
            return wrapped.content, wrapped
    return content, None


def _is_file(text: str, content: bytes) -> bool:
    """Whether base64 is the notation of a file, and not a long word, a number or a hash."""
    has_all = any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text))
    return has_all and recognise(content).holds is not Holds.NOTHING


def _numbers(leaf: list[Any]) -> tuple[Any, tuple[int, ...]]:
    """The numbers of a list as a flat array, and their largest number along each axis."""
    shape, parts = [len(leaf)], leaf
    while outer := [part for part in parts if isinstance(part, list)]:
        shape.append(max(map(len, outer)))
        parts = [value for part in outer for value in part]
    return np.array([value for value in parts if value is not None], np.float64), tuple(shape)


def _with_new_paths(old: Any, new: Any, suffix: str) -> Any:
    """The new cell, where the path beside replaced bytes has the suffix of the new file."""
    if isinstance(new, dict):
        changed = {name: _with_new_paths(old[name], part, suffix) for name, part in new.items()}
        if new.get("path") and isinstance(new.get("bytes"), bytes) and new["bytes"] is not old["bytes"]:
            changed["path"] = with_suffix(new["path"], suffix)
        return changed
    if isinstance(new, list | tuple):
        return type(new)(_with_new_paths(a, b, suffix) for a, b in zip(old, new, strict=True))
    return new
