"""Collections of every form: each picture is protected or listed, and no original is among the results."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from blindspace.cli.main import run
from blindspace.collections import Settings, Summary, check, protect
from blindspace.errors import FileError
from blindspace.perturbations.registry import Recipe

Array = npt.NDArray[Any]

SETTINGS = Settings(
    "small_network:network", Recipe("noise", size=0.1), input_shape=(3, 32, 32), random_weights=True, file_format="npz"
)
GENERATOR = np.random.default_rng(0)

EXIF = Image.Exif()
EXIF[0x0112] = 6
EXIF[0x010E] = "taken at home"


def pixels() -> Array:
    """Another smooth picture each time."""
    corners = GENERATOR.integers(60, 190, (4, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(corners).resize((32, 32), Image.Resampling.BICUBIC))


def coded(file_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels()).save(stream, file_format, **options)
    return stream.getvalue()


def frames(file_format: str) -> bytes:
    others = [Image.fromarray(pixels()) for _ in range(2)]
    return coded(file_format, save_all=True, append_images=others)


def grey() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels()).convert("L").save(stream, "JPEG")
    return stream.getvalue()


def transparent() -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels())
    image.putalpha(100)
    image.save(stream, "PNG")
    return stream.getvalue()


def saved(write: Any, *arrays: Any) -> bytes:
    stream = io.BytesIO()
    write(stream, *arrays)
    return stream.getvalue()


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.png", content)
    return stream.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as file:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return stream.getvalue()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + GENERATOR.bytes(300)


def read_here() -> dict[str, bytes]:
    """Pictures that are protected, by the names of their files."""
    found = {
        "plain.png": coded(),
        "photo.jfif": coded("JPEG"),
        "page.ppm": coded("PPM"),
        "wrong.txt": coded("WEBP"),
        "without": coded("BMP"),
        "old.tga": coded("TGA"),
        "turned.jpg": coded("JPEG", exif=EXIF),
        "moving.gif": frames("GIF"),
        "moving.webp": frames("WEBP"),
        "pages.tiff": frames("TIFF"),
        "clear.png.bak": transparent(),
        "grey.jpeg": grey(),
    }
    for name, file_format in (("a.avif", "AVIF"), ("a.jp2", "JPEG2000")):
        try:
            found[name] = coded(file_format)
        except (KeyError, OSError):
            continue  # this Pillow does not write it
    return found


def not_read_here() -> dict[str, bytes]:
    """What may hold pictures and is listed, by the names of the files."""
    picture = coded()
    return {
        "phone.heic": HEIC,
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0'/></svg>",
        "cut.png": coded()[:200],
        "text.jpg": b"this is text",
        "more.zip": zipped(picture),
        "more.npz": saved(np.savez, pixels()),
        "more.npy": saved(np.save, pixels()),
        "more.pkl": pickle.dumps(picture),
        "more.mp4": b"\0\0\0\x18ftypmp42" + GENERATOR.bytes(300),
        "more.pdf": b"%PDF-1.7\n" + picture,
        "more.bin": pixels().tobytes(),
        "more.gz": gzip.compress(picture),
        "more.jsonl": json.dumps({"image": base64.b64encode(picture).decode()}).encode(),
        "more.csv": b"\n".join(b",".join(b"%d" % value for value in row) for row in pixels().reshape(32, -1)),
        "more.html": b"<img src='data:image/png;base64," + base64.b64encode(picture) + b"'>",
    }


OTHERS = {"notes.md": b"# Notes", "labels.csv": b"name,label\na,1\n", "labels.npy": saved(np.save, np.arange(500) % 9)}


def table(root: Path, **options: Any) -> tuple[dict[str, bool], list[bytes]]:
    """A table with pictures in every form: the names of its pictures, with whether each is served; the originals."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = 70
    file = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    originals: list[bytes] = []

    def picture(file_format: str = "PNG") -> bytes:
        originals.append(coded(file_format))
        return originals[-1]

    def late(*cells: Any) -> list[Any]:
        """No picture in the first rows."""
        return [None] * (rows - len(cells)) + list(cells)

    def sized(*contents: bytes) -> list[Any]:
        width = max(map(len, contents))
        cells = [content.ljust(width, b"\0") for content in contents]
        originals.extend(cells)
        return [pa.binary(width), late(*cells)]

    def text(content: bytes) -> str:
        return base64.b64encode(content).decode()

    def shape(values: Array) -> Any:
        originals.append(np.rint(values * (1 if values.max() > 1 else 255)).astype(np.uint8).tobytes())
        return values.tolist()

    byte, integer = pa.uint8(), pa.int64()
    served: dict[str, Any] = {
        "raw": [pa.binary(), late(picture(), picture("AVIF") if "AVIF" in Image.SAVE else picture())],
        "large": [pa.large_binary(), late(picture())],
        "view": [pa.binary_view(), late(picture())],
        "dictionary": [pa.dictionary(pa.int32(), pa.binary()), late(picture(), picture())],
        "small_dictionary": [pa.dictionary(pa.int8(), pa.binary()), late(picture())],
        "fixed": sized(picture("BMP"), picture("BMP")),
        "file": [file, late({"bytes": picture(), "path": "a.jpg"}, {"bytes": picture(), "path": None})],
        "base64": [pa.string(), late(text(picture()), text(picture("JPEG")))],
        "uri": [pa.large_string(), late("data:image/jpeg;base64," + text(picture("JPEG")))],
        "lines": [pa.string(), late(base64.encodebytes(picture()).decode())],
        "coded_text": [pa.dictionary(pa.int32(), pa.string()), late(text(picture()))],
        "text_as_bytes": [pa.binary(), late(text(picture()).encode())],
        "nested": [
            pa.struct([("a", pa.struct([("b", pa.binary())])), ("n", integer)]),
            late({"a": {"b": picture()}, "n": 3}),
        ],
    }
    several: dict[str, Any] = {
        "several": [pa.list_(pa.binary()), late([picture(), picture()])],
        "files": [
            pa.large_list(file),
            late([{"bytes": picture(), "path": "x.png"}, {"bytes": picture(), "path": "y.png"}]),
        ],
        "map": [pa.map_(pa.string(), pa.binary()), late([("left", picture()), ("right", picture())])],
    }
    listed: dict[str, Any] = {
        "path": [file, late({"bytes": None, "path": "photos/a.jpg"})],
        "heic": [pa.binary(), late(HEIC)],
        "zip": [pa.binary(), late(zipped(picture()))],
        "raw_pixels": [pa.binary(), late(pixels().tobytes())],
        "json": [pa.string(), late(json.dumps({"image": text(picture())}))],
        "html": [pa.string(), late(f"<img src='data:image/png;base64,{text(picture())}'>")],
        "hex": [pa.string(), late(picture().hex())],
        "list": [pa.list_(integer), late(shape(pixels().ravel()))],
        "bytes_in_list": [pa.list_(byte), late(list(picture()))],
        "floats": [pa.list_(pa.float32()), late(shape(pixels().ravel() / 255))],
        "fixed_list": [pa.list_(byte, 3072), late(shape(pixels().ravel()))],
        "array": [pa.list_(pa.list_(pa.list_(byte))), late(shape(pixels()))],
        "planes": [pa.list_(pa.list_(pa.float64())), late((pixels()[:, :, 0] / 64.0 - 2).tolist())],
        "tensor": [pa.fixed_shape_tensor(byte, [32, 32, 3]), None],
    }
    columns = {name: pa.array(cells, kind) for name, (kind, cells) in (served | several | listed).items() if cells}
    tensor = [None] * (rows - 1) + [pixels().ravel().tolist()]
    storage = pa.array(tensor, pa.list_(byte, 3072))
    columns["tensor"] = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(byte, [32, 32, 3]), storage)
    columns |= {
        "label": pa.array(range(rows)),
        "words": pa.array([[n * 7 % 30000 for n in range(100)]] * rows),
        "mask": pa.array([[1] * 70 + [0] * 30] * rows),
        "embedding": pa.array([np.linspace(-1, 1, 128).tolist()] * rows),
        "caption": pa.array(
            ["a cat on a mat that is longer than any picture could be written in so few letters"] * rows
        ),
        "digest": pa.array([bytes(range(32))] * rows),
        "sound": pa.array([{"bytes": b"RIFF\x24\0\0\0WAVEfmt " + bytes(90), "path": "a.wav"}] * rows, file),
        "sound_alone": pa.array([{"bytes": None, "path": "a.wav"}] * rows, file),
    }
    data = pa.table(columns).replace_schema_metadata({b"huggingface": b'{"info": {}}'})
    parquet.write_table(data, root / "table.pq", **options)
    names: dict[str, bool] = {}
    for name, (_, cells) in (served | several | listed).items():
        for row in [rows - 1] if cells is None else [n for n, cell in enumerate(cells) if cell is not None]:
            for place in (
                (f"{name}/0", f"{name}/1") if name in several else (f"{name}/a/b",) if name == "nested" else (name,)
            ):
                names[f"table.pq/{row:08d}/{place}"] = name not in listed
    return names, originals


def every_form(root: Path) -> tuple[dict[str, bool], list[bytes], set[str]]:
    """A collection of every form: its pictures with whether each is served, the originals, and the other files."""
    root.mkdir()
    (root / "sub").mkdir()
    good, bad = read_here(), not_read_here()
    for name, content in (good | bad | OTHERS).items():
        (root / name).write_bytes(content)
    names, originals = table(root)
    names |= dict.fromkeys(good, True) | dict.fromkeys(bad, False)
    originals += [*good.values(), *bad.values()]
    for archive, mode in (("sub/shard.tar", "w"), ("sub/packed.tar.bz2", "w:bz2"), ("sub/unnamed", "w:xz")):
        good, bad = read_here(), not_read_here()
        members: dict[str, bytes] = {}
        for number, (name, content) in enumerate((good | bad).items()):
            member = f"{number:03d}.{name.partition('.')[2] or name}"
            members |= {member: content, f"{number:03d}.cls": b"%d" % number, f"{number:03d}.meta.json": b'{"a": 1}'}
            names[f"{archive}/{member}"] = name in good
        members |= {"900.png": coded(), "900.features.npy": saved(np.save, np.linspace(-1, 1, 512))}
        members |= {"901.png": coded(), "901.tar": tarred({"a.png": coded()})}
        names |= {f"{archive}/900.png": True, f"{archive}/901.png": False, f"{archive}/901.tar": False}
        originals += [content for name, content in members.items() if f"{archive}/{name}" in names]
        (root / archive).write_bytes(tarred(members, mode))
    return names, originals, set(OTHERS)


def everything(target: Path) -> Iterator[bytes]:
    """What a destination gives to those who read it."""
    parquet = pytest.importorskip("pyarrow.parquet")
    for path in target.rglob("*"):
        if path.suffix == ".parquet":
            yield from _flat(parquet.read_table(path).to_pydict())
        elif path.is_file():
            yield path.read_bytes()


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield value.encode()
        try:
            yield base64.b64decode(value.partition("base64,")[2] or value)
        except ValueError:
            return
    elif isinstance(value, dict):
        for part in value.values():
            yield from _flat(part)
    elif isinstance(value, list | tuple):
        numbers = list(_numbers(value))
        if numbers:
            yield np.rint(np.array(numbers) * (1 if max(numbers) > 1 else 255)).astype(np.uint8).tobytes()
        for part in value:
            yield from _flat(part)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, int | float):
        yield value


def rows(target: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (target / "manifest.jsonl").read_text().splitlines()]


def agrees(summary: Summary, target: Path, names: dict[str, bool]) -> None:
    """Every picture is told of once, protected or with the reason, and the counts add up."""
    found = rows(target)
    assert sorted(row["name"] for row in found) == sorted(names)
    assert {row["name"]: "output" in row for row in found} == names
    assert all(("reason" in row) != ("output" in row) for row in found)
    assert (summary.images, summary.protected) == (len(names), sum(names.values()))
    assert len(summary.not_protected) == min(20, summary.images - summary.protected)


def test_one_collection_of_every_form(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "dst"
    names, originals, others = every_form(source)
    summary = protect(source, target, SETTINGS, workers=0)
    agrees(summary, target, names)
    assert not summary.good
    assert set(summary.others) == others
    assert set(summary.dropped) == {"frames", "pages", "transparency"}
    assert summary.dropped["frames"] == 8
    there = list(everything(target))
    for original in originals:
        assert not any(original in content for content in there)
    assert not any(b"taken at home" in content for content in there)
    assert check(target).good
    assert check(target).pictures == summary.protected


def test_check_finds_a_swapped_original_in_every_form(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    source, target = tmp_path / "src", tmp_path / "dst"
    every_form(source)
    protect(source, target, SETTINGS, workers=0)
    kept = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}

    def wrong(path: Path, content: bytes) -> dict[str, str]:
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        found = check(target)
        path.unlink() if before is None else path.write_bytes(before)
        assert not found.good
        return found.wrong

    assert wrong(target / "plain.npz", (source / "plain.png").read_bytes())["plain.npz"] == "changed"
    assert wrong(target / "more.png", (source / "plain.png").read_bytes()) == {"more.png": "not in the manifest"}
    hidden = target / ".blindspace/records/original.png"
    assert wrong(hidden, (source / "plain.png").read_bytes()) == {
        ".blindspace/records/original.png": "not in the manifest"
    }
    with tarfile.open(target / "sub/shard.tar") as file:
        members = {info.name: file.extractfile(info).read() for info in file}  # type: ignore[union-attr]
    name = next(name for name in members if name.endswith(".npz"))
    found = wrong(target / "sub/shard.tar", tarred(members | {name: coded()}))
    assert found[f"sub/shard.tar/{name}"] == "changed"
    whole = parquet.read_table(target / "table.parquet")
    for column in ("raw", "fixed", "file", "base64", "several"):
        old = parquet.read_table(source / "table.pq")[column].to_pylist()[-1]
        at = whole.schema.get_field_index(column)
        cells = [*whole[column].to_pylist()[:-1], old]
        stream = io.BytesIO()
        parquet.write_table(
            whole.set_column(at, whole.schema.field(at), pa.array(cells, whole.schema.field(at).type)), stream
        )
        found = wrong(target / "table.parquet", stream.getvalue())
        assert any(name.startswith(f"table.parquet/00000069/{column}") for name in found)
    assert {path: path.read_bytes() for path in kept} == kept
    assert check(target).good


def test_tables_keep_what_they_can(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    names, _ = table(tmp_path / "src", row_group_size=30)
    target = tmp_path / "dst"
    agrees(protect(tmp_path / "src", target, replace(SETTINGS, file_format="png"), workers=0), target, names)
    parts = sorted(target.glob("*.parquet"))
    assert len(parts) == 3
    old, new = parquet.read_table(tmp_path / "src/table.pq"), parquet.read_table(parts)
    assert new.schema.metadata == old.schema.metadata
    assert new.column_names == old.column_names
    changed = {name for name in old.column_names if old.schema.field(name).type != new.schema.field(name).type}
    assert changed == {"fixed", "small_dictionary"}
    for column in ("label", "words", "mask", "embedding", "caption", "digest", "sound", "sound_alone"):
        assert new[column].to_pylist() == old[column].to_pylist()
    last = {name: new[name].to_pylist()[-1] for name in new.column_names}
    for cell in (last["raw"], last["fixed"], last["dictionary"], last["file"]["bytes"], last["files"][0]["bytes"]):
        assert Image.open(io.BytesIO(cell)).format == "PNG"
    for text in (last["base64"], last["lines"], last["coded_text"], last["text_as_bytes"]):
        assert Image.open(io.BytesIO(base64.b64decode(text))).format == "PNG"
    assert last["uri"].startswith("data:image/png;base64,")
    assert new["file"].to_pylist()[-2]["path"] == "a.png"
    assert [file["path"] for file in last["files"]] == ["x.png", "y.png"]
    assert last["nested"]["n"] == 3
    assert dict(last["map"]).keys() == {"left", "right"}
    assert all(last[name] is None for name in ("path", "heic", "json", "list", "array", "tensor", "planes"))


def test_one_lost_picture_empties_its_cell(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    cells = [[coded(), HEIC], [coded(), coded()], [], None, [b"", None]]
    parquet.write_table(pa.table({"several": pa.array(cells, pa.list_(pa.binary()))}), tmp_path / "src/t.parquet")
    summary = protect(tmp_path / "src", tmp_path / "dst", SETTINGS, workers=0)
    assert (summary.images, summary.protected) == (5, 2)
    assert "sample" in summary.not_protected["t.parquet/00000000/several/0"]
    new = parquet.read_table(tmp_path / "dst/t.parquet")["several"].to_pylist()
    assert [cell if cell is None else len(cell) for cell in new] == [None, 2, 0, None, None]


@pytest.mark.parametrize("chosen", ["left", "right"])
def test_what_the_user_does_not_name_is_copied_and_told(tmp_path: Path, chosen: str) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    contents = {"left": coded(), "right": coded()}
    data = pa.table({"left": [contents["left"]] * 3, "right": [[contents["right"]]] * 3, "n": [1, 2, 3]})
    parquet.write_table(data, tmp_path / "src/t.parquet")
    (tmp_path / "src/s.tar").write_bytes(tarred({f"0.{name}": content for name, content in contents.items()}))
    summary = protect(tmp_path / "src", tmp_path / "dst", replace(SETTINGS, pictures=(chosen,)), workers=0)
    assert summary.good
    assert (summary.images, summary.protected) == (4, 4)
    other = "right" if chosen == "left" else "left"
    assert set(summary.carried_over) == {
        f"s.tar/0.{other}",
        "t.parquet/right[]" if other == "right" else "t.parquet/left",
    }
    assert check(tmp_path / "dst").good


def test_bytes_of_no_picture_in_a_column_of_pictures_are_listed(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    data = pa.table(
        {"image": [b"none", coded(), b"", None], "text": ["", "a", base64.b64encode(coded()).decode(), None]}
    )
    parquet.write_table(data, tmp_path / "src/t.parquet")
    summary = protect(tmp_path / "src", tmp_path / "dst", SETTINGS, workers=0)
    assert (summary.images, summary.protected) == (4, 2)
    assert set(summary.not_protected) == {"t.parquet/00000000/image", "t.parquet/00000002/image"}
    assert parquet.read_table(tmp_path / "dst/t.parquet")["text"].to_pylist()[:2] == ["", "a"]


def test_links_in_archives_are_listed(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with tarfile.open(tmp_path / "src/s.tar", "w") as file:
        for name, kind in (("a.png", tarfile.REGTYPE), ("b.png", tarfile.SYMTYPE), ("c.png", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            content = coded() if kind == tarfile.REGTYPE else b""
            info.type, info.size, info.linkname = kind, len(content), "a.png"
            file.addfile(info, io.BytesIO(content))
    summary = protect(tmp_path / "src", tmp_path / "dst", SETTINGS, workers=0)
    assert (summary.images, summary.protected) == (3, 1)
    assert all("link" in reason for reason in summary.not_protected.values())


# --- nothing was protected -----------------------------------------------------------------------------------------


def test_nothing_protected_is_a_no(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    network = ["--model", "mnist-mlp", "--workers", "0"]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("text")
    (tmp_path / "table").mkdir()
    parquet.write_table(pa.table({"n": [1, 2]}), tmp_path / "table/t.parquet")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/s.tar").write_bytes(tarred({"0.cls": b"1"}))
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed/s.zip").write_bytes(zipped(coded()))
    for name in ("texts", "table", "archive", "closed"):
        assert run(["protect", str(tmp_path / name), str(tmp_path / f"{name}-dst"), *network]) == 1
        out, err = capsys.readouterr()
        assert err == ""
        assert "nothing was protected" in out
        written = json.loads((tmp_path / f"{name}-dst/manifest.json").read_text())
        assert (written["protected"], written["images"]) == (0, int(name == "closed"))
        assert run(["protect", "--check", str(tmp_path / f"{name}-dst")]) == 0
        capsys.readouterr()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="no file"):
        protect(tmp_path / "empty", tmp_path / "dst", SETTINGS, workers=0)


# --- what the commands read is what was protected --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:not read of 4 of 14 images")
def test_verify_reads_what_protect_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name, content in read_here().items():
        (source / name).write_bytes(content)
    network = ["--model", SETTINGS.model, "--random-weights", "--input-shape", "3x32x32"]
    assert run(["protect", str(source), str(tmp_path / "dst"), *network, "--workers", "0", "--size", "0.1"]) == 0
    out, _ = capsys.readouterr()
    for word in ("frames", "pages", "transparency"):
        assert f"dropped: {word}" in out
    assert run(["verify", str(source), str(tmp_path / "dst"), *network, "--tolerance", "0.1"]) == 0


def test_compressed_archives_are_served(tmp_path: Path) -> None:
    (tmp_path / "a.tar.bz2").write_bytes(bz2.compress(tarred({"0.png": coded(), "0.cls": b"1"})))
    assert protect(tmp_path / "a.tar.bz2", tmp_path / "dst", SETTINGS, workers=0).good
    assert (tmp_path / "dst/a.tar").exists()


# --- borders -------------------------------------------------------------------------------------------------------


def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names in other encodings, and names with control characters, are written down readably."""
    source = tmp_path / "src"
    source.mkdir()
    (source / os.fsdecode(b"caf\xe9.png")).write_bytes(coded())
    (source / "two\nlines.png").write_bytes(b"")
    (source / os.fsdecode(b"\xff.txt")).write_bytes(b"text")
    with tarfile.open(source / os.fsdecode(b"s\xe9.tar"), "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as file:
        info = tarfile.TarInfo("caf\u00e9.png")
        info.size = len(content := coded())
        file.addfile(info, io.BytesIO(content))
    network = ["--model", SETTINGS.model, "--random-weights", "--input-shape", "3x32x32", "--workers", "0"]
    assert run(["protect", str(source), str(tmp_path / "dst"), *network]) == 1
    out, _ = capsys.readouterr()
    assert r"two\nlines.png: " in out
    assert r"\xff.txt" in out
    assert {row["name"] for row in rows(tmp_path / "dst")} == {
        r"caf\xe9.png",
        r"s\xe9.tar/caf\xe9.png",
        "two\nlines.png",
    }
    assert check(tmp_path / "dst").good


def test_pixels_in_many_columns_are_listed(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    (tmp_path / "flags").mkdir()
    values = GENERATOR.integers(0, 256, (3, 784))
    data = {f"pixel{n}": values[:, n].astype(np.uint8) for n in range(784)} | {"id": [1000, 2000, 3000]}
    parquet.write_table(pa.table(data | {"image": [coded()] * 3}), tmp_path / "src/t.parquet")
    summary = protect(tmp_path / "src", tmp_path / "dst", SETTINGS, workers=0)
    assert (summary.images, summary.protected) == (6, 3)
    new = parquet.read_table(tmp_path / "dst/t.parquet")
    assert new["pixel0"].to_pylist() == new["pixel783"].to_pylist() == [None] * 3
    assert new["id"].to_pylist() == [1000, 2000, 3000]
    flags = {f"is{n}": [n % 2, 1, 0] for n in range(100)} | {"image": [coded()] * 3}
    parquet.write_table(pa.table(flags), tmp_path / "flags/t.parquet")
    assert protect(tmp_path / "flags", tmp_path / "kept", SETTINGS, workers=0).good


def test_columns_of_one_name_and_names_with_dots(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    arrays = [
        pa.array([{"b": coded()}]),
        pa.array([coded()]),
        pa.array([b"x"]),
        pa.array([coded()]),
        pa.array([coded()]),
    ]
    data = pa.Table.from_arrays(arrays, names=["a", "a.b", "c", "d", "d"])
    parquet.write_table(data, tmp_path / "src/t.parquet")
    summary = protect(tmp_path / "src", tmp_path / "dst", SETTINGS, workers=0)
    assert (summary.images, summary.protected) == (4, 4)
    assert check(tmp_path / "dst").good


def test_row_groups_that_cannot_be_examined_are_listed(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    buffers = pa.array([b"\xff\xfe" * 40, b"a", b"b", b"c"], pa.binary()).buffers()
    damaged = pa.Array.from_buffers(pa.string(), 4, buffers)
    data = pa.table({"text": damaged, "image": [coded() for _ in range(4)]})
    parquet.write_table(data, tmp_path / "src/t.parquet", row_group_size=2)
    summary = protect(tmp_path / "src", tmp_path / "dst", SETTINGS, workers=0)
    assert (summary.images, summary.protected) == (3, 2)
    assert set(summary.not_protected) == {"t.parquet"}
    assert [path.name for path in (tmp_path / "dst").glob("*.parquet")] == ["t-00001.parquet"]


def test_work_of_another_version_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(coded())
    protect(tmp_path / "a.png", tmp_path / "dst", SETTINGS, workers=0)
    monkeypatch.setattr("blindspace.collections.protector.VERSION", 1)
    with pytest.raises(FileError, match="was begun with version"):
        protect(tmp_path / "a.png", tmp_path / "dst", SETTINGS, workers=0)


def test_files_that_may_not_be_read_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    for name in ("a.png", "locked.png", "locked.dat"):
        (tmp_path / "src" / name).write_bytes(coded())
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name.startswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    summary = protect(tmp_path / "src", tmp_path / "dst", SETTINGS, workers=0)
    assert summary.protected == 1
    assert summary.not_protected == dict.fromkeys(("locked.png", "locked.dat"), "cannot be read: Permission denied")


@pytest.mark.parametrize("file_format", ["png", "npz"])
def test_depth_that_is_dropped_is_counted(tmp_path: Path, file_format: str) -> None:
    (tmp_path / "src").mkdir()
    grey = np.asarray(Image.fromarray(pixels()).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "src/eight.png")
    Image.fromarray(grey.astype(np.uint16) * 250).save(tmp_path / "src/sixteen.png")
    summary = protect(tmp_path / "src", tmp_path / "dst", replace(SETTINGS, file_format=file_format), workers=0)
    assert summary.dropped == ({"depth": 1} if file_format == "png" else {})
    assert [row["dropped"] for row in rows(tmp_path / "dst")] == [[], ["depth"] if file_format == "png" else []]


def test_a_named_column_keeps_what_stands_beside_its_pictures(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    cells = [{"bytes": coded(), "path": "a.jpg", "caption": "a cat", "box": [1, 2, 3, 4]}]
    texts = ["no picture", base64.b64encode(coded()).decode()]
    parquet.write_table(pa.table({"image": cells * 2, "text": texts}), tmp_path / "src/t.parquet")
    summary = protect(tmp_path / "src", tmp_path / "dst", replace(SETTINGS, pictures=("image", "text")), workers=0)
    assert (summary.images, summary.protected) == (4, 3)
    assert set(summary.not_protected) == {"t.parquet/00000000/text"}
    new = parquet.read_table(tmp_path / "dst/t.parquet")
    assert [(cell["path"], cell["caption"], cell["box"]) for cell in new["image"].to_pylist()] == [
        ("a.npz", "a cat", [1, 2, 3, 4])
    ] * 2


def test_short_lists_say_nothing_about_long_ones(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    data = pa.table({"pixels": [[-1], [999, 2], pixels().ravel().tolist()], "image": [coded()] * 3})
    parquet.write_table(data, tmp_path / "src/t.parquet")
    summary = protect(tmp_path / "src", tmp_path / "dst", SETTINGS, workers=0)
    assert set(summary.not_protected) == {"t.parquet/00000002/pixels"}
    assert parquet.read_table(tmp_path / "dst/t.parquet")["pixels"].to_pylist() == [[-1], [999, 2], None]
