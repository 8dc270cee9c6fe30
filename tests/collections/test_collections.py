"""Whole collections: every kind, what cannot be read, and what is left after a run that was broken off."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tarfile
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import blindspace as bs
from blindspace.collections import Settings, check, protect, salt_of
from blindspace.collections.folders import Folders
from blindspace.collections.kinds import kinds, plan
from blindspace.collections.protector import Protector
from blindspace.collections.source import Picture, with_suffix
from blindspace.errors import BlindspaceError, FileError, MissingExtraError, UnknownNameError, ValueRangeError
from blindspace.jobs import Journal
from blindspace.perturbations._keyed import Key
from blindspace.perturbations.registry import Recipe
from collection_cases import (
    HF,
    KINDS,
    NAMES,
    PIXELS,
    add,
    archive,
    coded,
    decoded,
    folder,
    results,
    rows,
    stored,
    table,
    tree,
)

Array = npt.NDArray[Any]

NOISE = Settings("mnist-mlp", Recipe("noise", size=0.1), per_shard=2)
QUICK = replace(NOISE, file_format="npz")
"""Without the rounding, which has to be prepared for in each run."""

# --- every kind ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_is_protected_and_told_of(tmp_path: Path, kind: str) -> None:
    summary = protect(KINDS[kind](tmp_path / "src"), tmp_path / "dst", NOISE, workers=0)
    assert (summary.images, summary.protected, summary.labels_changed, summary.good) == (5, 5, 0, True)
    network = bs.load("mnist-mlp")
    space = bs.harmless(network)
    found = rows(tmp_path / "dst")
    assert len({row["name"] for row in found}) == len(found) == 5
    for row, pixels in zip(found, PIXELS, strict=True):
        before = torch.from_numpy(pixels.astype(np.float64))[None, None] / 255
        after = torch.from_numpy(decoded(stored(tmp_path / "dst", row)).astype(np.float64))[None, None] / 255
        change = (network.outputs(after) - network.outputs(before)).abs().max()
        assert row["max_output_change"] == pytest.approx(float(change), abs=1e-6)
        assert row["max_pixel_change"] == pytest.approx(float((after - before).abs().max()))
        assert row["max_pixel_change"] > 0.05
        assert row["label"] == row["label_after"] == int(network.labels(before))
        # The rest of the change is rounding.
        assert float(space.reject(after - before).abs().max()) < 2 / 255
    assert check(tmp_path / "dst").good
    assert check(tmp_path / "dst").pictures == 5


def test_folders_are_kept_and_what_is_no_picture_stays_behind(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    (source / "notes.txt").write_text("not for everyone")
    (source / ".hidden.png").write_bytes(b"left by some program")
    summary = protect(source, tmp_path / "dst", NOISE, workers=0)
    assert summary.others == ("notes.txt",)
    assert set(results(tmp_path / "dst")) == {*NAMES, "manifest.json", "manifest.jsonl"}


def test_archives_keep_their_other_members_and_their_order(tmp_path: Path) -> None:
    source = archive(tmp_path / "src")
    protect(source, tmp_path / "dst", NOISE, workers=0)
    for shard in ("s0.tar", "s1.tar"):
        with tarfile.open(source / shard) as old, tarfile.open(tmp_path / "dst" / shard) as new:
            assert old.getnames() == new.getnames()
            for before, after in zip(old.getmembers(), new.getmembers(), strict=True):
                assert (before.mtime, before.mode) == (after.mtime, after.mode)
                same = old.extractfile(before).read() == new.extractfile(after).read()  # type: ignore[union-attr]
                assert same != before.name.endswith(".png")


def test_webdataset_reads_what_was_written(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    protect(archive(tmp_path / "src"), tmp_path / "dst", NOISE, workers=0)
    shards = [str(tmp_path / "dst" / name) for name in ("s0.tar", "s1.tar")]
    samples = list(wds.WebDataset(shards, shardshuffle=False).to_tuple("png", "cls", "json"))
    assert [int(cls) for _, cls, _ in samples] == list(range(5))
    assert all(decoded(png).shape == (28, 28) for png, _, _ in samples)


@pytest.mark.parametrize("struct", [False, True])
@pytest.mark.parametrize("row_group", [2, 10])
def test_tables_keep_their_other_columns(tmp_path: Path, struct: bool, row_group: int) -> None:
    source = table(tmp_path / "src", struct=struct, row_group=row_group)
    parquet = pytest.importorskip("pyarrow.parquet")
    protect(source, tmp_path / "dst", NOISE, workers=0)
    parts = sorted((tmp_path / "dst").glob("*.parquet"))
    assert [part.name for part in parts] == (
        ["t.parquet"] if row_group == 10 else [f"t-{n:05d}.parquet" for n in range(3)]
    )
    new = parquet.read_table(parts)
    old = parquet.read_table(source / "t.parquet")
    assert new.schema.metadata[b"huggingface"] == HF
    assert new.column_names == old.column_names
    assert new.schema.types == old.schema.types
    for column in ("label", "blob"):
        assert new[column].to_pylist() == old[column].to_pylist()
    if struct:
        assert [cell["path"] for cell in new["image"].to_pylist()] == [f"p{n}.png" for n in range(5)]


def test_kinds_may_be_mixed(tmp_path: Path) -> None:
    source = table(archive(folder(tmp_path / "src")))
    assert protect(source, tmp_path / "dst", NOISE, workers=0).protected == 15
    assert check(tmp_path / "dst").good


@pytest.mark.parametrize("kind", ["archive", "struct"])
def test_a_single_file_is_a_collection(tmp_path: Path, kind: str) -> None:
    source = KINDS[kind](tmp_path / "src")
    one = next(path for path in sorted(source.iterdir()))
    assert protect(one, tmp_path / "dst", NOISE, workers=0).protected == (3 if kind == "archive" else 5)


@pytest.mark.parametrize("file_format", ["npz", "png16", "tiff", "safetensors"])
def test_other_formats_change_the_outputs_less(tmp_path: Path, file_format: str) -> None:
    source = archive(tmp_path / "src")
    eight = protect(source, tmp_path / "eight", NOISE, workers=0)
    try:
        summary = protect(source, tmp_path / "dst", replace(NOISE, file_format=file_format), workers=0)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert summary.max_output_change < eight.max_output_change / 20
    assert check(tmp_path / "dst").good


# --- no picture depends on its neighbours ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "struct"])
def test_a_result_depends_on_name_and_content_alone(tmp_path: Path, kind: str) -> None:
    source = KINDS[kind](tmp_path / "src")
    for per_shard in (1, 5):
        protect(source, tmp_path / str(per_shard), replace(NOISE, per_shard=per_shard), workers=0)
    one, five = ({r["name"]: decoded(stored(tmp_path / str(n), r)) for r in rows(tmp_path / str(n))} for n in (1, 5))
    if kind == "folder":
        alone = Protector(NOISE, batch_bytes=1).protect([Picture("a/1.png", coded(PIXELS[1]))])[0].content
        assert alone is not None
        one["a/1.png"] = decoded(alone)
    # Products of matrices round differently in other batches, and the search for a place within [0, 1] may then end a
    # step earlier or later; the noise is the same.
    apart = {name: float(np.abs(one[name].astype(float) - five[name].astype(float)).max()) for name in one}
    assert max(apart.values()) <= 8


def test_a_shard_of_a_folder_has_few_files_and_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindspace.collections.folders.PORTION", 10)
    names = []
    for number, size in enumerate((1, 1, 1, 1, 5, 5, 1, 30, 1, 9)):
        names.append(f"{number}.png")
        (tmp_path / names[-1]).write_bytes(b"x" * size)
    shards = [shard.inputs for shard in Folders(3).plan(tmp_path, names, ".png")]
    assert [len(inputs) for inputs in shards] == [3, 2, 2, 1, 2]  # 3 files, 6 bytes, 6 bytes, one of 30, 10 bytes
    assert [name for inputs in shards for name in inputs] == names


def test_the_seed_and_the_name_choose_the_noise(tmp_path: Path) -> None:
    picture = Picture("x.png", coded(PIXELS[0]))
    content = Protector(NOISE).protect([picture])[0].content
    other_seed = replace(NOISE, recipe=Recipe("noise", size=0.1, seed=1))
    assert Protector(other_seed).protect([picture])[0].content != content
    assert Protector(NOISE).protect([replace(picture, name="y.png")])[0].content != content


# --- what cannot be read -------------------------------------------------------------------------------------------


def test_unreadable_pictures_are_listed_and_the_others_done(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    jpeg = coded(PIXELS[0], "JPEG")
    (source / "a/cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (source / "a/text.png").write_text("this is text")
    (source / "empty.png").write_bytes(b"")
    (source / "large.png").write_bytes(coded(np.zeros((30, 28), np.uint8)))
    (source / "gone.png").symlink_to("nowhere")
    with pytest.raises(FileError, match=r"cannot read .*gone\.png"):
        protect(source, tmp_path / "dst", QUICK, workers=0)
    (source / "gone.png").unlink()
    summary = protect(source, tmp_path / "dst", QUICK, workers=0)
    assert (summary.images, summary.protected, summary.good) == (9, 5, False)
    assert set(summary.not_protected) == {"a/cut.jpg", "a/text.png", "empty.png", "large.png"}
    assert "(1, 30, 28)" in summary.not_protected["large.png"]
    assert not any("\n" in reason for reason in summary.not_protected.values())
    assert check(tmp_path / "dst").good
    assert not (tmp_path / "dst/a/text.npz").exists()


@cache
def of_colours() -> Protector:
    """One for all pictures: preparing it takes longer than protecting them."""
    return Protector(replace(QUICK, model="cifar-resnet"))


@pytest.mark.parametrize(
    "content",
    [
        coded(np.full((32, 32, 3), 100, np.uint8), "JPEG", "CMYK"),
        coded(np.full((32, 32), 30000, np.uint16)),
        coded(np.full((32, 32), 100, np.uint8)),
        coded(np.full((32, 32, 4), 100, np.uint8)),
        coded(np.full((32, 32, 3), 100, np.uint8), "WEBP"),
    ],
    ids=["CMYK", "16-bit", "greyscale", "transparent", "WebP"],
)
def test_other_modes_are_read_as_colours(content: bytes) -> None:
    outcome = of_colours().protect([Picture("x", content)])[0]
    assert outcome.content is not None, outcome.reason
    assert outcome.made["shape"] == [3, 32, 32]
    assert outcome.made["max_output_change"] < 1e-4


def test_pictures_of_other_sizes_go_through_the_preprocessing(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    shapes = [(40, 50), (64, 48), (40, 50), (10, 12), (80, 40)]
    pictures = [Picture(f"{n}", coded(rng.integers(60, 190, s).astype(np.uint8))) for n, s in enumerate(shapes)]
    protector = Protector(replace(QUICK, preprocess="resize 28x28"), spaces=2)
    outcomes = protector.protect(pictures)
    assert [outcome.made.get("shape") for outcome in outcomes] == [
        [1, *shape] if shape != (10, 12) else None for shape in shapes
    ]
    # Enlarged, a picture of 10 × 12 is seen whole.
    assert "sees every change" in outcomes[3].reason
    assert all(outcome.made["label"] == outcome.made["label_after"] for outcome in outcomes if outcome.content)
    assert len(protector._kept) == 2


@pytest.mark.parametrize("cut", [0, 5 * 512, 5 * 512 + 100, 6 * 512, 7 * 512 + 100])
def test_a_damaged_archive_gives_what_comes_before_the_damage(tmp_path: Path, cut: int) -> None:
    source = archive(tmp_path / "src")
    whole = (source / "s0.tar").read_bytes()
    (source / "s0.tar").write_bytes(whole[:cut] if cut else whole[:2560] + b"x" * 512 + whole[3072:])
    (source / "text.tar").write_text("no archive at all" * 100)
    summary = protect(source, tmp_path / "dst", QUICK, workers=0)
    assert set(summary.not_protected) == {"s0.tar", "text.tar"}
    assert all("damaged" in reason for reason in summary.not_protected.values())
    assert 2 <= summary.protected < 5
    assert check(tmp_path / "dst").good


def test_a_sample_is_kept_whole_or_left_out_whole(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with tarfile.open(tmp_path / "src/s.tar", "w") as file:
        add(file, "a.left.jpg", coded(PIXELS[0], "JPEG"))
        add(file, "a.right.png", b"no picture")
        add(file, "a.cls", b"1")
        add(file, "b.jpg", coded(PIXELS[1], "JPEG"))
        add(file, "b.png", coded(PIXELS[2]))
        add(file, "b.txt", b"2")
        add(file, "b.jpg", coded(PIXELS[3], "JPEG"))
        add(file, "c.jpg", coded(PIXELS[4], "JPEG"))
    summary = protect(tmp_path / "src", tmp_path / "dst", QUICK, workers=0)
    with tarfile.open(tmp_path / "dst/s.tar") as file:
        assert file.getnames() == ["c.npz"]
    assert (summary.images, summary.protected) == (6, 1)
    assert "sample" in summary.not_protected["s.tar/a.left.jpg"]
    assert check(tmp_path / "dst").good


def test_members_of_one_stem_keep_their_endings(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with tarfile.open(tmp_path / "src/s.tar.gz", "w:gz") as file:
        add(file, "x/a.jpg", coded(PIXELS[0], "JPEG"))
        add(file, "x/a.png", coded(PIXELS[1]))
        add(file, "x/a.seg.png", coded(PIXELS[2]))
    protect(tmp_path / "src", tmp_path / "dst", replace(QUICK, pictures=("jpg", "png")), workers=0)
    with tarfile.open(tmp_path / "dst/s.tar") as file:
        assert file.getnames() == ["x/a.jpg.npz", "x/a.png.npz", "x/a.seg.png"]
        assert file.extractfile("x/a.seg.png").read() == coded(PIXELS[2])  # type: ignore[union-attr]
    assert check(tmp_path / "dst").good


def test_cells_that_cannot_be_protected_become_empty(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    good = coded(PIXELS[0])
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": good, "path": None}, None, {"bytes": b"none", "path": "x"}, {"bytes": None, "path": "y.png"}]
    parquet.write_table(pa.table({"image": pa.array(cells, struct), "n": [0, 1, 2, 3]}), tmp_path / "src/t.parquet")
    parquet.write_table(
        pa.table({"image": pa.array([], struct), "n": pa.array([], pa.int64())}), tmp_path / "src/0.parquet"
    )
    summary = protect(tmp_path / "src", tmp_path / "dst", QUICK, workers=0)
    assert (summary.images, summary.protected) == (3, 1)
    new = parquet.read_table(tmp_path / "dst/t.parquet")
    assert [cell is None for cell in new["image"].to_pylist()] == [False, True, True, True]
    assert new["n"].to_pylist() == [0, 1, 2, 3]
    assert parquet.read_table(tmp_path / "dst/0.parquet").num_rows == 0
    assert check(tmp_path / "dst").good


def test_a_damaged_table_is_listed(tmp_path: Path) -> None:
    source = table(tmp_path / "src")
    (source / "u.parquet").write_bytes((source / "t.parquet").read_bytes()[:-100])
    whole = bytearray((source / "t.parquet").read_bytes())
    whole[20:400] = bytes(380)
    (source / "t.parquet").write_bytes(whole)
    summary = protect(source, tmp_path / "dst", QUICK, workers=0)
    assert "u.parquet" in summary.not_protected
    assert summary.protected < 5
    assert not (tmp_path / "dst/u.parquet").exists()
    assert check(tmp_path / "dst").good


def test_columns_that_are_named(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "src").mkdir()
    both = pa.table({"several": [[coded(PIXELS[0])]], "one": [coded(PIXELS[1])], "n": [1]})
    parquet.write_table(both, tmp_path / "src/t.parquet")
    for chosen in ("one", "several"):
        there = protect(tmp_path / "src", tmp_path / chosen, replace(QUICK, pictures=(chosen,)), workers=0)
        assert (there.images, there.protected, len(there.carried_over)) == (1, 1, 1)
    assert protect(tmp_path / "src", tmp_path / "both", QUICK, workers=0).protected == 2
    for wrong, why in (("two", "it has several, one"), ("n", "not pictures")):
        with pytest.raises(FileError, match=why):
            protect(tmp_path / "src", tmp_path / "new", replace(QUICK, pictures=(wrong,)), workers=0)


# --- bad arguments -------------------------------------------------------------------------------------------------


def test_bad_places(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    for src, dst, why in [
        (tmp_path / "missing", tmp_path / "dst", "does not exist"),
        (tmp_path / "empty", tmp_path / "dst", "there is no picture in"),
        (source, source, "apart from the source"),
        (source, source / "dst", "apart from the source"),
        (source / "a", source, "apart from the source"),
        (source, tmp_path / "file" / "dst", "cannot write"),
        (source, tmp_path / "file", "cannot write"),
        (source, tmp_path / "full", "holds something already"),
    ]:
        with pytest.raises(FileError, match=why) as caught:
            protect(src, dst, QUICK, workers=0)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "dst").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_bad_settings(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    for file_format in ("jpeg", "gif"):
        with pytest.raises(UnknownNameError):
            replace(QUICK, file_format=file_format)
    with pytest.raises(UnknownNameError, match="no network is called 'nonsense'"):
        protect(source, tmp_path / "dst", replace(QUICK, model="nonsense"), workers=0)
    with pytest.raises(UnknownNameError, match="no engine is called 'spark'"):
        protect(source, tmp_path / "dst", QUICK, engine="spark")
    with pytest.raises(ValueRangeError, match="needs a key"):
        protect(source, tmp_path / "dst", QUICK, Key(bytes(32)), workers=0)
    with pytest.raises(ValueRangeError, match="workers"):
        protect(source, tmp_path / "dst", QUICK, workers=-1)


def test_two_results_never_share_a_name(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name in ("a.png", "a.jpg", "b.jpg"):
        (source / name).write_bytes(coded(PIXELS[0], "PNG" if name == "a.png" else "JPEG"))
    protect(source, tmp_path / "dst", QUICK, workers=0)
    assert {"a.png.npz", "a.jpg.npz", "b.npz"} <= set(results(tmp_path / "dst"))
    (source / "a.jpg.tif").write_bytes(b"")
    with pytest.raises(FileError, match=r"would both become a\.jpg\.npz; rename"):
        protect(source, tmp_path / "dst", QUICK, workers=0)


@given(st.lists(st.from_regex(r"[ab]{1,2}(\.[ab])?\.(png|jpg)", fullmatch=True), unique=True, max_size=12))
@settings(max_examples=20)
def test_names_are_unique_or_refused(names: list[str]) -> None:
    outputs = [output for shard in _planned(sorted(names)) for output in shard]
    if len(set(outputs)) < len(outputs):
        # Only where a name looks like another with a suffix added.
        assert any(with_suffix(name, ".png") in {other + ".png" for other in names} for name in names)


def _planned(names: list[str]) -> list[tuple[str, ...]]:
    with TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / name).touch()
        return [shard.outputs for shard in Folders(3).plan(Path(folder), names, ".png")]


# --- what is left after a run that was broken off ------------------------------------------------------------------


class Stop(Exception):  # noqa: N818
    """Raised in the middle of a run, as if it were killed there."""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_done_is_not_done_again(tmp_path: Path, kind: str) -> None:
    source = KINDS[kind](tmp_path / "src")
    protect(source, tmp_path / "whole", QUICK, workers=0)

    def stop(done: int, total: int, what: str) -> None:
        if done == 1:
            raise Stop

    with pytest.raises(Stop):
        protect(source, tmp_path / "dst", QUICK, workers=0, report=stop)
    assert not (tmp_path / "dst/manifest.json").exists()
    with pytest.raises(FileError, match="no finished collection"):
        check(tmp_path / "dst")
    (tmp_path / "dst/.partial-half.png").write_bytes(b"half")
    (tmp_path / "dst/.blindspace/records/.partial-half.jsonl").write_bytes(b"half")
    summary = protect(source, tmp_path / "dst", QUICK, workers=0)
    assert summary.done_before == 1
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")
    again = protect(source, tmp_path / "dst", QUICK, workers=0)
    assert again.done_before == again.shards
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["changed", "deleted", "record cut", "record of another place", "no record"])
def test_records_count_only_with_their_results(tmp_path: Path, damage: str) -> None:
    source = folder(tmp_path / "src")
    protect(source, tmp_path / "whole", QUICK, workers=0)
    shutil.copytree(tmp_path / "whole", tmp_path / "dst")
    shard = plan(source, ".npz", kinds(per_shard=2)).shards[1]
    record = tmp_path / f"dst/.blindspace/records/{shard.id}.jsonl"
    victim = tmp_path / "victim.png"
    victim.write_bytes(b"of somebody else")
    if damage == "changed":
        (tmp_path / "dst" / shard.outputs[0]).write_bytes(b"changed")
    elif damage == "deleted":
        (tmp_path / "dst" / shard.outputs[1]).unlink()
    elif damage == "record cut":
        record.write_bytes(record.read_bytes()[:-20])
    elif damage == "record of another place":
        record.write_text(record.read_text().replace(f'"{shard.outputs[0]}": "', '"../victim.png": "'))
    else:
        record.unlink()
    summary = protect(source, tmp_path / "dst", QUICK, workers=0)
    assert summary.done_before == summary.shards - 1
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")
    assert victim.read_bytes() == b"of somebody else"


def test_a_source_that_changes_is_followed(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    protect(source, tmp_path / "dst", QUICK, workers=0)
    (source / "0.png").unlink()
    (source / "b/c/4.png").write_bytes(coded(255 - PIXELS[4]))
    protect(source, tmp_path / "dst", QUICK, workers=0)
    protect(source, tmp_path / "new", QUICK, workers=0)
    assert tree(tmp_path / "dst") == tree(tmp_path / "new")
    assert not (tmp_path / "dst/0.npz").exists()


def test_other_settings_are_refused_and_change_nothing(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    protect(source, tmp_path / "dst", QUICK, workers=0)
    before = tree(tmp_path / "dst")
    for other in (
        replace(QUICK, recipe=Recipe("noise", size=0.2)),
        replace(QUICK, per_shard=3),
        replace(QUICK, model="cifar-resnet"),
    ):
        with pytest.raises(FileError, match="was begun with") as caught:
            protect(source, tmp_path / "dst", other, workers=0)
        assert "\n" not in str(caught.value)
    assert tree(tmp_path / "dst") == before


def test_a_destination_in_use_is_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    with Journal(tmp_path / "dst").locked(), pytest.raises(FileError, match="another process is at work"):
        protect(source, tmp_path / "dst", QUICK, workers=0)
    assert protect(source, tmp_path / "dst", QUICK, workers=0).good


def test_the_key_is_asked_for_and_never_written_down(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    source = folder(tmp_path / "src")
    keyed = replace(QUICK, recipe=Recipe("keyed", size=0.1), salt="00" * 8)
    key, other = Key(b"sesame".ljust(32)), Key(b"barley".ljust(32))
    with pytest.raises(ValueRangeError, match="needs a key"):
        protect(source, tmp_path / "dst", keyed, workers=0)
    protect(source, tmp_path / "dst", keyed, key, workers=0)
    assert salt_of(tmp_path / "dst") == keyed.salt
    with pytest.raises(FileError, match="key_check"):
        protect(source, tmp_path / "dst", keyed, other, workers=0)
    everything = b"".join(tree(tmp_path / "dst").values())
    assert key.secret not in everything
    assert key.secret.hex().encode() not in everything
    protect(source, tmp_path / "other", keyed, other, workers=0)
    assert results(tmp_path / "dst")["0.npz"] != results(tmp_path / "other")["0.npz"]


# --- worker processes ------------------------------------------------------------------------------------------------


def test_worker_processes_make_the_same_and_may_be_killed(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    protect(source, tmp_path / "whole", replace(QUICK, per_shard=1), workers=0)
    killed: list[int] = []

    def kill(done: int, total: int, what: str) -> None:
        workers = multiprocessing.active_children()
        if done == 2 and workers and not killed:
            killed.append(workers[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    summary = protect(source, tmp_path / "dst", replace(QUICK, per_shard=1), workers=1, report=kill)
    assert killed
    assert summary.good
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")
    assert not multiprocessing.active_children()


def test_a_worker_that_always_dies_ends_the_run_in_one_line(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    ended = threading.Event()

    def kill_all() -> None:
        while not ended.wait(0.05):
            for worker in multiprocessing.active_children():
                if worker.pid:
                    os.kill(worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(BlindspaceError, match="3 times by signal 9"):
            protect(source, tmp_path / "dst", QUICK, workers=1)
    finally:
        ended.set()
        killer.join()


def test_what_a_worker_refuses_is_said_by_its_parent(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no network is called 'nonsense'"):
        protect(folder(tmp_path / "src"), tmp_path / "dst", replace(QUICK, model="nonsense"), workers=1)


# --- check ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_check_finds_what_is_missing_changed_or_added(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "dst"
    protect(KINDS[kind](tmp_path / "src"), target, QUICK, workers=0)
    assert check(target).good
    victim = target / rows(target)[-1]["output"]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert not check(target).good
    victim.unlink()
    assert "missing" in check(target).wrong.values()
    victim.write_bytes(whole)
    assert check(target).good
    (target / "more.png").write_bytes(whole)
    assert check(target).wrong == {"more.png": "not in the manifest"}


def test_check_finds_a_picture_that_is_there_twice(tmp_path: Path) -> None:
    target = tmp_path / "dst"
    protect(archive(tmp_path / "src"), target, QUICK, workers=0)
    with tarfile.open(target / "s1.tar", "a") as file:
        add(file, "k3.npz", stored(target, rows(target)[3]))
    found = check(target)
    assert found.wrong["s1.tar/k3.npz"] == "there twice"
    assert found.wrong["s1.tar"] == "changed"


def test_check_refuses_a_manifest_that_was_edited(tmp_path: Path) -> None:
    target = tmp_path / "dst"
    protect(folder(tmp_path / "src"), target, QUICK, workers=0)
    manifest = target / "manifest.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(FileError, match="not the file"):
        check(target)
    (target / "manifest.json").write_text("{")
    with pytest.raises(FileError, match="damaged"):
        check(target)


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    protect(folder(tmp_path / "src"), tmp_path / "dst", QUICK, workers=0, report=lambda d, t, _: told.append((d, t)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_the_manifest_does_not_tell_when(tmp_path: Path) -> None:
    source = folder(tmp_path / "src")
    protect(source, tmp_path / "one", QUICK, workers=0)
    time.sleep(0.01)
    protect(source, tmp_path / "two", QUICK, workers=0)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
