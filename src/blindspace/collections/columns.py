"""The types of a table's columns: their leaves, walks through their cells, and the types of new cells.

Leaves are bytes, text and lists of numbers, inside structs, lists and maps of any depth.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from typing import Any

from ..extras import library

Visit = Callable[[Any, str, str, "str | None"], Any]
"""Called with a leaf, its path in the type, its place in the cell and the file path beside it; returns the new leaf."""


@cache
def arrow() -> Any:
    """The library pyarrow.

    Raises:
        MissingExtraError: It is not installed.
    """
    library("pyarrow.parquet", "collections", "a Parquet table")
    return library("pyarrow", "collections")


def plain(kind: Any) -> Any:
    """The type of the values, without the extension or the dictionary around them."""
    types = arrow().types
    while True:
        if isinstance(kind, arrow().BaseExtensionType):
            kind = kind.storage_type
        elif types.is_dictionary(kind):
            kind = kind.value_type
        else:
            return kind


def is_bytes(kind: Any) -> bool:
    """Whether values are bytes, in any layout."""
    types = arrow().types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def is_text(kind: Any) -> bool:
    """Whether values are text, in any layout."""
    types = arrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def is_number(kind: Any) -> bool:
    """Whether values are single numbers."""
    types = arrow().types
    return bool(types.is_integer(kind) or types.is_floating(kind))


def leaves(kind: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every leaf of a type that may hold a picture: its path, which begins with the column's name, and its type."""
    kind, types = plain(kind), arrow().types
    if is_bytes(kind) or is_text(kind) or _is_numbers(kind):
        yield path, kind
    elif types.is_struct(kind):
        for number in range(kind.num_fields):
            yield from leaves(kind.field(number).type, f"{path}.{kind.field(number).name}")
    elif types.is_map(kind):
        yield from leaves(kind.key_type, f"{path}{{}}")
        yield from leaves(kind.item_type, f"{path}[]")
    elif _is_list(kind):
        yield from leaves(kind.value_type, f"{path}[]")


def walk(cell: Any, kind: Any, path: str, place: str, visit: Visit, beside: str | None = None) -> Any:
    """Visit every leaf of a cell.

    Args:
        cell: The cell as a Python value.
        kind: Its type.
        path: Path in the type.
        place: Place in the row.
        visit: Called for each leaf.
        beside: Path of a file that stands beside the leaf.

    Returns:
        The cell with the new leaves.
    """
    kind, types = plain(kind), arrow().types
    if is_bytes(kind) or is_text(kind) or _is_numbers(kind):
        return visit(cell, path, place, beside)
    if cell is None:
        return None
    if types.is_struct(kind):
        names = [kind.field(number).name for number in range(kind.num_fields)]
        is_file = "bytes" in names and "path" in names
        new = dict(cell)
        for number, name in enumerate(names):
            own = is_file and name == "bytes"
            at = place if own else f"{place}/{name}"
            told = cell["path"] if own else None
            new[name] = walk(cell[name], kind.field(number).type, f"{path}.{name}", at, visit, told)
        return new
    if types.is_map(kind):
        return [
            (
                walk(key, kind.key_type, f"{path}{{}}", f"{place}/{number}/key", visit),
                walk(value, kind.item_type, f"{path}[]", f"{place}/{number}", visit),
            )
            for number, (key, value) in enumerate(cell)
        ]
    if _is_list(kind):
        parts = enumerate(cell)
        return [walk(part, kind.value_type, f"{path}[]", f"{place}/{number}", visit) for number, part in parts]
    return cell


def type_of_results(kind: Any, path: str, chosen: Collection[str]) -> Any:
    """The type of a column whose pictures are replaced: the same, but for layouts that new pictures do not fit into.

    Args:
        kind: The type as it was.
        path: Path of the type, at first the column's name.
        chosen: Paths of the leaves that are pictures.
    """
    pa = arrow()
    if not any(leaf in chosen for leaf, _ in leaves(kind, path)):
        return kind
    if isinstance(kind, pa.BaseExtensionType):
        new = type_of_results(kind.storage_type, path, chosen)
        return kind if new == kind.storage_type else new
    if pa.types.is_dictionary(kind):
        new = type_of_results(kind.value_type, path, chosen)
        # Each picture is another now, and may need a number of its own.
        return pa.dictionary(kind.index_type, new, kind.ordered) if kind.index_type.bit_width >= 32 else new
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        return pa.struct([one.with_type(type_of_results(one.type, f"{path}.{one.name}", chosen)) for one in fields])
    if pa.types.is_map(kind):
        values = type_of_results(kind.item_type, f"{path}[]", chosen)
        return pa.map_(type_of_results(kind.key_type, f"{path}{{}}", chosen), kind.item_field.with_type(values))
    if _is_list(kind) and not _is_numbers(kind):
        value = kind.value_field.with_type(type_of_results(kind.value_type, f"{path}[]", chosen))
        if pa.types.is_fixed_size_list(kind):
            return pa.list_(value, kind.list_size)
        return pa.large_list(value) if pa.types.is_large_list(kind) else pa.list_(value)
    return kind


def column_of(cells: Sequence[Any], kind: Any) -> Any:
    """A column of Python values."""
    pa = arrow()
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, column_of(cells, kind.storage_type))
    return pa.array(cells, kind)


def _is_list(kind: Any) -> bool:
    types = arrow().types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _is_numbers(kind: Any) -> bool:
    """Whether values are lists of numbers, of any depth."""
    types = arrow().types
    if not _is_list(kind):
        return False
    inner = plain(kind.value_type)
    return bool(
        types.is_integer(inner)
        or types.is_floating(inner)
        or types.is_decimal(inner)
        or types.is_boolean(inner)
        or _is_numbers(inner)
    )
