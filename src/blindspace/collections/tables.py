"""Parquet tables with pictures in their columns: as bytes in any layout, in base64, in structs of bytes and path.

Which columns hold pictures is decided by all of their rows, before the work begins. The other columns of a table, its
order and its metadata are kept. A cell with a picture that cannot be protected, or with something in which pictures may
be stored, becomes empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.embedded import LEAST
from ..data.recognition import Holds
from ..errors import FileError, first_line
from ..files import readable, writing
from .cells import ADVICE, NAMED, PIXELS, SPREAD, Found, contents, found_in, replaced, spread, survey
from .columns import arrow, column_of, is_bytes, is_number, is_text, leaves, type_of_results
from .source import PORTION, Picture, Place, Portion, Shard, with_suffix

ROW_GROUP = 64 << 20
"""Number of bytes after which a row group is written."""

TRIED = 64
"""Number of rows that are examined at once."""

_CARRIED = "carried"
"""Form of a column that holds pictures and is copied as it is, because the user named others."""

_LOST = ""
"""Stands in the place of a column's name with the reason why a row group is not read."""


class Tables:
    """Pictures in Parquet files, one row group per shard.

    Args:
        columns: Columns that hold pictures; determined from all rows if empty.
    """

    holds = Holds.PARQUET
    suffixes: tuple[str, ...] = (".parquet",)

    def __init__(self, columns: Sequence[str] = ()) -> None:
        self.columns = tuple(columns)

    def plan(self, root: Path, names: Sequence[str], suffix: str) -> Iterator[Shard]:
        """One row group a shard; a file of several becomes as many files.

        Raises:
            FileError: A column is missing, or of a type that holds no pictures.
        """
        groups: dict[str, int] = {}
        forms: dict[str, dict[str, str]] = {}
        damaged: dict[str, dict[int, str]] = {}
        for name in names:
            groups[name], forms[name], damaged[name] = 1, {}, {}
            try:
                with arrow().parquet.ParquetFile(root / name) as table:
                    groups[name] = max(1, int(table.num_row_groups))
                    forms[name] = self._forms(table, root / name, damaged[name])
            except _damage() as error:
                damaged[name][0] = first_line(error)
        plain = {name: readable(name) for name in names}
        plain = {name: new if new.endswith(".parquet") else with_suffix(new, ".parquet") for name, new in plain.items()}
        outputs = {
            name: [with_suffix(plain[name], f"-{part:05d}.parquet") for part in range(count)]
            if count > 1
            else [plain[name]]
            for name, count in groups.items()
        }
        taken = Counter(output for several in outputs.values() for output in several)
        for name, several in outputs.items():
            for part, output in enumerate(several):
                free = output if taken[output] == 1 else f"{readable(name)}-{part:05d}.parquet"
                lost = damaged[name].get(part)
                yield Shard.of(root, "table", [name], [free], part, forms[name] if lost is None else {_LOST: lost})

    def _forms(self, table: Any, path: Path, damaged: dict[int, str]) -> dict[str, str]:
        """The form of each leaf that holds pictures, by its path; damaged row groups are added to ``damaged``."""
        schema = table.schema_arrow
        missing = [name for name in self.columns if name not in schema.names]
        if missing:
            raise FileError(f"{path} has no column {missing[0]!r}; it has {', '.join(schema.names)}")
        forms: dict[str, str] = {}
        for number, field in enumerate(schema):
            name = _unique(schema, number)
            kinds = dict(leaves(field.type, name))
            named: dict[str, str] = {}
            if field.name in self.columns:
                named = _named(kinds)
                if not named:
                    raise FileError(f"the column {field.name!r} of {path} holds {field.type}, not pictures")
            if kinds:
                found = survey((cells[0] for cells in _batches(table, [number], damaged)), field.type, name)
                is_left = self.columns and field.name not in self.columns
                forms |= dict.fromkeys(found, _CARRIED) if is_left else found | named
        numbers = [n for n, field in enumerate(schema) if is_number(field.type) and field.name not in self.columns]
        if len(numbers) >= LEAST:
            names = [_unique(schema, number) for number in numbers]
            parts = (dict(zip(names, cells, strict=True)) for cells in _batches(table, numbers, damaged))
            forms |= dict.fromkeys(spread(parts), _CARRIED if self.columns else SPREAD)
        return forms

    def read(self, root: Path, shard: Shard) -> Iterator[Portion]:
        """A row group in batches; the rows before the damage if it is damaged."""
        pa = arrow()
        path, name, part = root / shard.inputs[0], readable(shard.inputs[0]), shard.part or 0
        forms = {leaf: form for leaf, form in shard.forms.items() if form != _CARRIED}
        carried = tuple(f"{name}/{leaf}" for leaf, form in shard.forms.items() if form == _CARRIED and not part)
        if _LOST in shard.forms:
            yield _lost(name, part, shard.forms[_LOST])
            return
        try:
            with pa.parquet.ParquetFile(path) as table:
                groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)][: part + 1]
                if not sum(group.num_rows for group in groups):
                    yield Portion((), (pa.RecordBatch.from_pylist([], table.schema_arrow), {}, forms), carried)
                    return
                row = sum(group.num_rows for group in groups[:-1])
                rows = max(1, PORTION * groups[-1].num_rows // max(1, groups[-1].total_byte_size))
                for batch in table.iter_batches(rows, row_groups=[part], use_threads=False):
                    yield _portion(name, batch, forms, row, carried)
                    row += len(batch)
                    carried = ()
        except _damage() as error:
            yield _lost(name, part, first_line(error))

    @contextmanager
    def writer(self, target: Path, shard: Shard, suffix: str) -> Iterator[_Table]:
        """A table with the same columns, in row groups of bounded size; no file if no row could be read."""
        path = target / shard.outputs[0]
        with writing(path) as temporary:
            table = _Table(temporary, shard.outputs[0], suffix)
            yield table
            table.close()
        if table.file is None:
            path.unlink()

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """Every leaf that may be a picture.

        Raises:
            FileError: The table is damaged.
        """
        try:
            with arrow().parquet.ParquetFile(path) as table:
                schema = table.schema_arrow
                row = 0
                for batch in table.iter_batches(TRIED, use_threads=False):
                    for number, field in enumerate(schema):
                        name = _unique(schema, number)
                        if any(is_bytes(kind) or is_text(kind) for _, kind in leaves(field.type, name)):
                            for at, cell in enumerate(_values(batch.column(number)), row):
                                yield from ((_member(at, place), c) for place, c in contents(cell, field.type, name))
                    row += len(batch)
        except _damage() as error:
            raise FileError(f"{path} is damaged: {first_line(error)}") from error


class _Table:
    def __init__(self, path: Path, output: str, suffix: str) -> None:
        self.path = path
        self.output = output
        self.suffix = suffix
        self.file: Any = None
        self.held: list[Any] = []
        self.rows = 0

    def write(self, portion: Portion, contents: Sequence[bytes | None]) -> list[Place]:
        if portion.rest is None:
            return [Place(self.output, "") for _ in contents]
        pa = arrow()
        batch, found, forms = portion.rest
        places: list[Place] = []
        rest = iter(contents)
        schema = batch.schema
        for number in range(len(schema)):
            field, name = schema.field(number), _unique(schema, number)
            if forms.get(name) == SPREAD:
                batch = batch.set_column(number, field.with_nullable(True), pa.nulls(len(batch), field.type))
                continue
            new = type_of_results(field.type, name, forms)
            if number in found:
                cells = [
                    replaced(cell, field.type, name, forms, one, rest, self.suffix)
                    for cell, one in zip(_values(batch.column(number)), found[number], strict=True)
                ]
                column = column_of(cells, new)
                for row, leaves_of_cell in enumerate(found[number]):
                    taken = (one for one in leaves_of_cell if one is not None)
                    places += [Place(self.output, _member(self.rows + row, one.place)) for one in taken]
            elif _is_of(name, field.type, forms):
                column = column_of([], new)  # a table without rows
            else:
                continue
            # A picture that is left out leaves an empty cell.
            batch = batch.set_column(number, field.with_type(new).with_nullable(True), column)
        self.rows += len(batch)
        self.held.append(batch)
        if sum(batch.nbytes for batch in self.held) >= ROW_GROUP or self.file is None:
            self._flush()
        # Pictures spread over columns are themselves listed, after the others.
        return places + [Place(self.output, "")] * (len(contents) - len(places))

    def _flush(self) -> None:
        pa = arrow()
        if not self.held:
            return
        if self.file is None:
            self.file = pa.parquet.ParquetWriter(self.path, self.held[0].schema)
        self.file.write_table(pa.Table.from_batches(self.held))
        self.held = []

    def close(self) -> None:
        """Write the rows that are held."""
        self._flush()
        if self.file is not None:
            self.file.close()


def _portion(name: str, batch: Any, forms: Mapping[str, str], first: int, carried: tuple[str, ...]) -> Portion:
    pictures: list[Picture] = []
    found: dict[int, list[list[Found | None]]] = {}
    for number in range(len(batch.schema)):
        column, kind = _unique(batch.schema, number), batch.schema.field(number).type
        if not _is_of(column, kind, forms):
            continue
        found[number] = [found_in(cell, kind, column, forms) for cell in _values(batch.column(number))]
        for row, leaves_of_cell in enumerate(found[number], first):
            taken = [one for one in leaves_of_cell if one is not None]
            # A cell is kept or emptied as a whole.
            group = _member(row, column) if len(taken) > 1 else ""
            names = (f"{name}/{_member(row, one.place)}" for one in taken)
            pictures += [Picture(at, one.content, one.reason, group) for at, one in zip(names, taken, strict=True)]
    pixels = [column for column, form in forms.items() if form == SPREAD]
    for row in range(first, first + len(batch)) if pixels else ():
        reason = f"its pixels are in {len(pixels)} columns; {ADVICE}"
        pictures.append(Picture(f"{name}/{_member(row, pixels[0])}", None, reason))
    return Portion(tuple(pictures), (batch, found, dict(forms)), carried)


def _named(kinds: Mapping[str, Any]) -> dict[str, str]:
    """The forms of a column that the user says holds pictures: its bytes are, or without bytes its text and numbers."""
    bytes_alone = {leaf: NAMED for leaf, kind in kinds.items() if is_bytes(kind)}
    return bytes_alone or {leaf: NAMED if is_text(kind) else PIXELS for leaf, kind in kinds.items()}


def _lost(name: str, part: int, why: str) -> Portion:
    reason = f"the table is damaged, the rest of its row group {part} is lost: {why}"
    return Portion((Picture(name if part == 0 else f"{name}/{part}", None, reason),))


def _batches(table: Any, numbers: Sequence[int], damaged: dict[int, str]) -> Iterator[list[list[Any]]]:
    """The cells of some columns, in parts of some rows; a damaged row group is noted and left."""
    schema = table.schema_arrow
    names = [schema.field(number).name for number in numbers]
    # A name selects every column of that name, and the parts of structs that it is a path to.
    many = any(schema.names.count(name) > 1 or "." in name for name in names)
    for group in range(table.num_row_groups):
        try:
            columns = None if many else names
            for batch in table.iter_batches(TRIED, row_groups=[group], columns=columns, use_threads=False):
                yield [_values(batch.column(number if many else n)) for n, number in enumerate(numbers)]
        except _damage() as error:
            damaged[group] = first_line(error)


def _stored(column: Any) -> Any:
    """A column as its extension type stores it."""
    while isinstance(column, arrow().ExtensionArray):
        column = column.storage
    return column


def _values(column: Any) -> list[Any]:
    values: list[Any] = _stored(column).to_pylist()
    return values


def _unique(schema: Any, number: int) -> str:
    """The name of a column, with its number if others have the same."""
    name = str(schema.field(number).name)
    return name if schema.names.count(name) == 1 else f"{name}#{number}"


def _is_of(name: str, kind: Any, forms: Mapping[str, str]) -> bool:
    """Whether a column holds pictures."""
    return any(leaf in forms for leaf, _ in leaves(kind, name))


def _member(row: int, place: str) -> str:
    return f"{row:08d}/{place}"


def _damage() -> tuple[type[Exception], ...]:
    """Exceptions of pyarrow for damaged tables and for values that have no form in Python."""
    return (arrow().ArrowException, OSError, ValueError, TypeError, OverflowError)
