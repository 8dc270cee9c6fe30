"""Parquet tables with pictures in their columns: raw bytes, or the struct of bytes and path of Hugging Face datasets.

The other columns of a table, its order and its metadata are kept. A picture that cannot be protected leaves an empty
cell.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from ..errors import FileError, MissingExtraError, first_line
from ..files import writing
from .source import PORTION, Picture, Place, Portion, Shard, with_suffix

ROW_GROUP = 64 << 20
"""Number of bytes after which a row group is written."""

TRIED = 64
"""Number of rows that are examined to determine which columns hold pictures."""


def _pyarrow() -> Any:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("Parquet tables need pyarrow; pip install 'blindspace[collections]'") from error
    return pyarrow


class Tables:
    """Pictures in Parquet files, one row group per shard.

    Args:
        columns: Columns that hold pictures; determined from the first rows if empty.
    """

    suffixes: tuple[str, ...] = (".parquet",)

    def __init__(self, columns: Sequence[str] = ()) -> None:
        self.columns = tuple(columns)

    def plan(self, root: Path, names: Sequence[str], suffix: str) -> Iterator[Shard]:
        """One row group a shard; a file of several becomes as many files.

        Raises:
            FileError: A column is missing, or may hold pictures in a form that is not supported.
        """
        pa = _pyarrow()
        groups = {}
        for name in names:
            try:
                with pa.parquet.ParquetFile(root / name) as table:
                    groups[name] = max(1, int(table.num_row_groups))
                    self._chosen(table, root / name)
            except (pa.ArrowException, OSError):
                groups[name] = 1  # when it is read, it is listed with the reason
        outputs = {
            name: [with_suffix(name, f"-{part:05d}.parquet") for part in range(count)] if count > 1 else [name]
            for name, count in groups.items()
        }
        taken = Counter(output for several in outputs.values() for output in several)
        for name, several in outputs.items():
            for part, output in enumerate(several):
                free = output if taken[output] == 1 else f"{name}-{part:05d}.parquet"
                yield Shard.of(root, "table", [name], [free], part)

    def _chosen(self, table: Any, path: Path) -> list[str]:
        """The columns that hold pictures."""
        schema = table.schema_arrow
        if self.columns:
            missing = [name for name in self.columns if name not in schema.names]
            if missing:
                raise FileError(f"{path} has no column {missing[0]!r}; it has {', '.join(schema.names)}")
            unfit = [name for name in self.columns if not _holds_bytes(schema.field(name).type)]
            if unfit:
                raise FileError(f"the column {unfit[0]!r} of {path} holds {schema.field(unfit[0]).type}, not pictures")
            return list(self.columns)
        for field in schema:
            if not _holds_bytes(field.type) and _hides_bytes(field.type):
                raise FileError(
                    f"the column {field.name!r} of {path} holds {field.type}, in which pictures would stay as they "
                    "are; name the columns to protect (--pictures image), and it is carried over"
                )
        columns = [field.name for field in schema if _holds_bytes(field.type)]
        first = next(table.iter_batches(TRIED, columns=columns, use_threads=False), None) if columns else None
        if first is None:
            return columns
        return [name for name in columns if any(_is_picture(_bytes_of(cell)) for cell in first[name].to_pylist())]

    def read(self, root: Path, shard: Shard) -> Iterator[Portion]:
        """A row group in batches; the rows before the damage if it is damaged."""
        pa = _pyarrow()
        name, part = shard.inputs[0], shard.part or 0
        try:
            with pa.parquet.ParquetFile(root / name) as table:
                columns = self._chosen(table, root / name)
                groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)][: part + 1]
                if not sum(group.num_rows for group in groups):
                    yield Portion((), (pa.RecordBatch.from_pylist([], table.schema_arrow), columns))
                    return
                row = sum(group.num_rows for group in groups[:-1])
                rows = max(1, PORTION * groups[-1].num_rows // max(1, groups[-1].total_byte_size))
                for batch in table.iter_batches(rows, row_groups=[part], use_threads=False):
                    yield _portion(name, batch, columns, row)
                    row += len(batch)
        except (pa.ArrowException, OSError) as error:
            reason = f"the table is damaged, the rest of its row group {part} is lost: {first_line(error)}"
            yield Portion((Picture(name if part == 0 else f"{name}/{part}", None, reason),))

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
        """Every cell that may hold a picture.

        Raises:
            FileError: The table is damaged.
        """
        pa = _pyarrow()
        try:
            with pa.parquet.ParquetFile(path) as table:
                columns = [field.name for field in table.schema_arrow if _holds_bytes(field.type)]
                row = 0
                for batch in table.iter_batches(TRIED, columns=columns, use_threads=False):
                    for column in columns:
                        cells = enumerate(map(_bytes_of, batch[column].to_pylist()), row)
                        yield from ((_member(number, column), cell) for number, cell in cells if cell is not None)
                    row += len(batch)
        except (pa.ArrowException, OSError) as error:
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
        pa = _pyarrow()
        batch, columns = portion.rest
        places: list[Place] = []
        rest = iter(contents)
        for column in columns:
            index = batch.schema.get_field_index(column)
            field = batch.schema.field(index)
            cells = []
            for number, cell in enumerate(batch.column(index).to_pylist()):
                cells.append(None if cell is None else self._cell(cell, next(rest)))
                if cell is not None:
                    places.append(Place(self.output, _member(self.rows + number, column)))
            # A picture that is left out leaves an empty cell.
            batch = batch.set_column(index, field.with_nullable(True), pa.array(cells, field.type))
        self.rows += len(batch)
        self.held.append(batch)
        if sum(batch.nbytes for batch in self.held) >= ROW_GROUP or self.file is None:
            self._flush()
        return places

    def _cell(self, cell: Any, content: bytes | None) -> Any:
        if content is None or not isinstance(cell, dict):
            return content
        path = cell.get("path")
        return {**cell, "bytes": content, **({"path": with_suffix(path, self.suffix)} if path else {})}

    def _flush(self) -> None:
        pa = _pyarrow()
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


def _portion(name: str, batch: Any, columns: Sequence[str], first: int) -> Portion:
    pictures = []
    for column in columns:
        for row, cell in enumerate(batch[column].to_pylist(), first):
            if cell is not None:
                content = _bytes_of(cell)
                reason = "the table holds a path in the place of its bytes" if content is None else ""
                pictures.append(Picture(f"{name}/{_member(row, column)}", content, reason))
    return Portion(tuple(pictures), (batch, list(columns)))


def _member(row: int, column: str) -> str:
    return f"{row:08d}/{column}"


def _bytes_of(cell: Any) -> bytes | None:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return content if isinstance(content, bytes) else None


def _is_bytes(kind: Any) -> bool:
    types = _pyarrow().types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _holds_bytes(kind: Any) -> bool:
    """Whether a column holds bytes, or structs with a field named ``bytes``."""
    if _pyarrow().types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and _is_bytes(kind.field(i).type) for i in range(kind.num_fields))
    return _is_bytes(kind)


def _hides_bytes(kind: Any) -> bool:
    """Whether the type contains bytes at any depth."""
    return _is_bytes(kind) or any(_hides_bytes(kind.field(i).type) for i in range(kind.num_fields))


def _is_picture(content: bytes | None) -> bool:
    if content is None:
        return False
    try:
        with Image.open(io.BytesIO(content)):
            return True
    except UnidentifiedImageError:
        return False
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return True  # one that is damaged
