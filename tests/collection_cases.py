"""Collections of every kind as tests make them, and what they find in a destination, without the package's readers."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

Array = npt.NDArray[Any]
Pictures = Sequence[Array] | Array

NAMES = ["0.png", "a/1.png", "a/2.png", "b/c/3.png", "b/c/4.png"]
PIXELS = np.random.default_rng(0).integers(60, 190, (len(NAMES), 28, 28)).astype(np.uint8)
HF = b'{"info": {"features": {"image": {"_type": "Image"}}}}'


def coded(pixels: Array, file_format: str = "PNG", mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(stream, file_format)
    return stream.getvalue()


def decoded(content: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(content)))


def folder(root: Path, pictures: Pictures = PIXELS) -> Path:
    for name, pixels in zip(NAMES, pictures, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(coded(pixels))
    return root


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(content), 1234567, 0o640
    archive.addfile(info, io.BytesIO(content))


def archive(root: Path, pictures: Pictures = PIXELS) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for shard, members in (("s0.tar", range(3)), ("s1.tar", range(3, 5))):
        with tarfile.open(root / shard, "w") as file:
            for n in members:
                add(file, f"k{n}.png", coded(pictures[n]))
                add(file, f"k{n}.cls", str(n).encode())
                add(file, f"k{n}.json", json.dumps({"n": n}).encode())
    return root


def table(root: Path, pictures: Pictures = PIXELS, struct: bool = False, row_group: int = 2) -> Path:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    root.mkdir(parents=True, exist_ok=True)
    contents = [coded(pixels) for pixels in pictures]
    cells: Any = [{"bytes": c, "path": f"p{n}.jpg"} for n, c in enumerate(contents)] if struct else contents
    data = pa.table({"image": cells, "label": list(range(len(NAMES))), "blob": [b"no picture"] * len(NAMES)})
    parquet.write_table(
        data.replace_schema_metadata({b"huggingface": HF}), root / "t.parquet", row_group_size=row_group
    )
    return root


KINDS: dict[str, Callable[..., Path]] = {
    "folder": folder,
    "archive": archive,
    "table": table,
    "struct": lambda root, pictures=PIXELS: table(root, pictures, struct=True),
}


def rows(target: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (target / "manifest.jsonl").read_text().splitlines()]


def stored(target: Path, row: dict[str, Any]) -> bytes:
    """The picture a manifest's line tells of, found without the package's readers."""
    path, member = target / str(row["output"]), row["member"]
    if path.suffix == ".tar":
        with tarfile.open(path) as file:
            found = file.extractfile(member)
            assert found is not None
            return bytes(found.read())
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        number, column = member.split("/")
        cell = parquet.read_table(path)[column][int(number)].as_py()
        return bytes(cell["bytes"] if isinstance(cell, dict) else cell)
    return path.read_bytes()


def tree(root: Path) -> dict[str, bytes]:
    """Everything in a destination but the lock."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != "lock"}


def results(root: Path) -> dict[str, bytes]:
    """What a destination is for: everything in it that is not the journal's."""
    return {name: content for name, content in tree(root).items() if not name.startswith(".blindspace")}
