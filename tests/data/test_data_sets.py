"""Every layout of every data set, written with few images, is read back unchanged."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from blindspace.data import CLASSES, NAMES, ImageSet, load, samples
from blindspace.data.cifar import read_pickles, read_sheets
from blindspace.data.idx import read_idx
from blindspace.data.pickle_parser import Call, read_pickled
from blindspace.errors import FileError, ShapeError, UnknownNameError, ValueRangeError

COUNT = 12
Array = np.ndarray[Any, Any]


def truth(channels: int, size: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(channels)
    images = generator.integers(0, 256, (COUNT, channels, size, size), dtype=np.uint8)
    return images, generator.permutation(COUNT) % 10


# --- writers of each layout -------------------------------------------------------------------------------


def idx_bytes(array: Array) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_ubytes(folder: Path, images: Array, labels: Array, zipped: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("train-images-idx3-ubyte", images[:, 0]), ("train-labels-idx1-ubyte", labels)):
        content = idx_bytes(array)
        path = folder / (name + ".gz" * zipped)
        path.write_bytes(gzip.compress(content) if zipped else content)


def write_sheets(folder: Path, images: Array, labels: Array) -> None:
    for i, part in enumerate(np.split(images, [2, 4, 6, 8]), 1):
        Image.fromarray(part.transpose(0, 2, 3, 1).reshape(-1, 1024, 3)).save(folder / f"data_batch_{i}.png")
    (folder / "train_lables.json").write_text(json.dumps(labels.tolist()))


def write_binaries(folder: Path, images: Array, labels: Array) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    records = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(COUNT, -1)], axis=1)
    for i, part in enumerate(np.split(records, [2, 4, 6, 8]), 1):
        part.tofile(folder / f"data_batch_{i}.bin")


def python2_pickle(images: Array, labels: Array, key: str) -> bytes:
    """The opcodes of the published files: Python 2, protocol 2."""

    def short(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    raw = images.tobytes()
    out = b"\x80\x02}q\x01(" + short(b"batch_label") + b"q\x02" + short(b"batch 1 of 5") + b"q\x03"
    out += short(key.encode()) + b"q\x04]q\x05"
    for chunk in (labels[:7], labels[7:11]):
        out += b"(" + b"".join(b"K" + bytes([label]) for label in chunk) + b"e"
    out += b"K" + bytes([labels[11]]) + b"a"
    out += short(b"data") + b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\t"
    out += short(b"b") + b"\x87Rq\n(K\x01K" + bytes([len(images)]) + b"M\x00\x0c\x86cnumpy\ndtype\nq\x0b"
    out += short(b"u1") + b"K\x00K\x01\x87Rq\x0c(K\x03" + short(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return out + b"\x89T" + struct.pack("<I", len(raw)) + raw + b"tbu."


def batch(images: Array, labels: Array, key: str = "labels") -> dict[str, Any]:
    return {"batch_label": "x", key: labels.tolist(), "data": images.reshape(len(images), -1), "filenames": ["a.png"]}


# --- layouts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("mnist", ""),
        ("mnist", "raw"),
        ("mnist", "MNIST/raw"),
        ("fashion-mnist", ""),
        ("fashion-mnist", "FashionMNIST/raw"),
    ],
)
def test_ubytes(tmp_path: Path, name: str, folder: str, zipped: bool) -> None:
    images, labels = truth(1, 28)
    write_ubytes(tmp_path / folder, images, labels, zipped)
    check(load(name, "train", tmp_path), name, images, labels)


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_cifar10_binaries(tmp_path: Path, folder: str) -> None:
    images, labels = truth(3, 32)
    write_binaries(tmp_path / folder, images, labels)
    check(load("cifar10", "train", tmp_path), "cifar10", images, labels)


def test_cifar10_sheets(tmp_path: Path) -> None:
    images, labels = truth(3, 32)
    write_sheets(tmp_path, images, labels)
    check(load("cifar10", "train", tmp_path), "cifar10", images, labels)


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-py"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5, "python2"])
def test_cifar10_pickles(tmp_path: Path, folder: str, protocol: int | str) -> None:
    images, labels = truth(3, 32)
    (tmp_path / folder).mkdir(exist_ok=True)
    path = tmp_path / folder / "test_batch"
    if isinstance(protocol, int):
        path.write_bytes(pickle.dumps(batch(images, labels), protocol))
    else:
        path.write_bytes(python2_pickle(images, labels, "labels"))
    check(load("cifar10", "test", tmp_path), "cifar10", images, labels)


def test_python2_pickle_of_the_tests_is_sound() -> None:
    images, labels = truth(3, 32)
    content = pickle.loads(python2_pickle(images, labels, "labels"), encoding="latin-1")
    assert np.array_equal(content["data"].reshape(images.shape), images)
    assert content["labels"] == labels.tolist()


@pytest.mark.parametrize("protocol", [2, 5])
def test_byte_keys(tmp_path: Path, protocol: int) -> None:
    images, labels = truth(3, 32)
    content = {key.encode(): value for key, value in batch(images, labels).items()}
    (tmp_path / "b").write_bytes(pickle.dumps(content, protocol))
    assert np.array_equal(read_pickles([tmp_path / "b"], "labels")[1], labels)


@pytest.mark.parametrize("kind", ["python", "binary", "python2"])
def test_cifar100(tmp_path: Path, kind: str) -> None:
    images, labels = truth(3, 32)
    labels = labels * 9 + 3
    folder = tmp_path / ("cifar-100-binary" if kind == "binary" else "cifar-100-python")
    folder.mkdir()
    if kind == "binary":
        coarse = np.full((COUNT, 1), 7, np.uint8)
        records = [coarse, labels[:, None].astype(np.uint8), images.reshape(COUNT, -1)]
        np.concatenate(records, axis=1).tofile(folder / "train.bin")
    elif kind == "python":
        content = {**batch(images, labels, "fine_labels"), "coarse_labels": [1] * COUNT}
        (folder / "train").write_bytes(pickle.dumps(content, 4))
    else:
        (folder / "train").write_bytes(python2_pickle(images, labels, "fine_labels"))
    check(load("cifar100", "train", tmp_path), "cifar100", images, labels)


def test_svhn(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    images, labels = truth(3, 32)
    stored = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": stored})
    check(load("svhn", "test", tmp_path), "svhn", images, labels)
    (tmp_path / "test_32x32.mat").write_bytes(b"no MATLAB file" * 50)
    with pytest.raises(FileError, match=r"test_32x32\.mat"):
        load("svhn", "test", tmp_path)


def check(found: ImageSet, name: str, images: Array, labels: Array) -> None:
    assert found.name == name
    assert found.classes == CLASSES[name]
    assert np.array_equal(found.images, images)
    assert np.array_equal(found.labels, labels)
    assert found.labels.dtype == np.int64


# --- what goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_nothing_there(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    remedy = "by hand" if name in ("cifar100", "svhn") else f"blindspace data get {name}"
    with pytest.raises(FileError, match=remedy) as caught:
        load(name, "test")
    assert str(tmp_path / "data" / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="cifar10, cifar100, mnist, fashion-mnist, svhn"):
        load("imagenet", "test", tmp_path)
    with pytest.raises(UnknownNameError, match="train, test"):
        load("mnist", "validation", tmp_path)  # type: ignore[arg-type]


def test_incomplete(tmp_path: Path) -> None:
    write_binaries(tmp_path, *truth(3, 32))
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(FileError, match=r"data_batch_3\.bin is missing"):
        load("cifar10", "train", tmp_path)


def test_label_without_class(tmp_path: Path) -> None:
    images, labels = truth(3, 32)
    write_binaries(tmp_path, images, labels + 1)
    with pytest.raises(FileError, match="1 to 10"):
        load("cifar10", "train", tmp_path)


GOOD_IDX = idx_bytes(np.zeros((2, 3, 4)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cut short"),
        (GOOD_IDX[:9], "cut short"),
        (GOOD_IDX[:-1], "only 23"),
        (GOOD_IDX + b"x", "holds more"),
        (b"\0\0\x0d\x03" + GOOD_IDX[4:], "00000d03"),
        (b"\0\0\x08\x01" + GOOD_IDX[4:], "00000803"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "no known set"),
    ],
)
def test_bad_idx(tmp_path: Path, content: bytes, words: str) -> None:
    for path, data in ((tmp_path / "a", content), (tmp_path / "a.gz", gzip.compress(content))):
        path.write_bytes(data)
        with pytest.raises(FileError, match=words):
            read_idx(path, 3)


def test_bad_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    whole = gzip.compress(GOOD_IDX)
    damaged = whole[:12] + bytes([whole[12] ^ 0xFF]) + whole[13:]
    for content in (whole[:-12], b"plain", damaged):
        path.write_bytes(content)
        with pytest.raises(FileError, match=r"a\.gz"):
            read_idx(path, 3)
    with pytest.raises(FileError, match="No such file"):
        read_idx(tmp_path / "none", 3)


def test_bad_sheets(tmp_path: Path) -> None:
    images, labels = truth(3, 32)
    write_sheets(tmp_path, images, labels)
    sheets, names = [tmp_path / f"data_batch_{i}.png" for i in range(1, 6)], tmp_path / "train_lables.json"
    for content in ("[1, 2]", "[[1], 2]", "nothing", '{"a": 1}', "[1.5]", "[" * 100000):
        names.write_text(content)
        with pytest.raises(FileError, match="train_lables"):
            read_sheets(sheets, names)
    for damaged in (sheets[0].read_bytes()[:3000], b"", b"no image"):
        sheets[0].write_bytes(damaged)
        with pytest.raises(FileError, match="data_batch_1"):
            read_sheets(sheets, names)
    Image.new("L", (1024, 1)).save(sheets[0])
    with pytest.raises(FileError, match="RGB of width 1024"):
        read_sheets(sheets, names)


class Trap:
    """An object that would create a folder if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_no_pickle_is_run(tmp_path: Path) -> None:
    images, labels = truth(3, 32)
    content = {**batch(images, labels), "data": Trap(tmp_path / "sprung")}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(FileError, match="mkdir"):
        load("cifar10", "test", tmp_path)
    assert isinstance(read_pickled(tmp_path / "test_batch")["data"], Call)
    assert not (tmp_path / "sprung").exists()


def pickled(**changes: Any) -> bytes:
    images, labels = truth(3, 32)
    return pickle.dumps({**batch(images, labels), **changes}, 4)


BAD_PICKLES = [
    b"",
    b"hello",
    b".",
    b"0.",
    pickled()[:-5],
    pickled()[:200],
    pickle.dumps([1, 2]),
    pickle.dumps({1: 2}),
    pickle.dumps({"labels": []}),
    pickled(labels=[1, 2]),
    pickled(labels=["a"] * COUNT),
    pickled(labels=[-1] * COUNT),
    pickled(labels=[True] * COUNT),
    pickled(labels=np.zeros(COUNT)),
    pickled(data=np.zeros((COUNT, 3072))),
    pickled(data=np.zeros((COUNT, 3071), np.uint8)),
    pickled(data=np.asfortranarray(np.zeros((COUNT, 3072), np.uint8))),
    pickled(data=[1, 2, 3]),
    pickled(data=io.BytesIO()),
    pickled(filenames={1, 2}),
]


@pytest.mark.parametrize("content", BAD_PICKLES, ids=range(len(BAD_PICKLES)))
def test_bad_pickles(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(FileError, match="test_batch") as caught:
        load("cifar10", "test", tmp_path)
    assert "\n" not in str(caught.value)


def test_cut_pickles_never_pass(tmp_path: Path) -> None:
    images, labels = truth(3, 32)
    content = python2_pickle(images, labels, "labels")
    path = tmp_path / "b"
    for length in (*range(0, 250, 7), len(content) - 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FileError):
            read_pickles([path], "labels")


# --- ImageSet and samples ---------------------------------------------------------------------------------


def test_image_set() -> None:
    images, labels = truth(3, 32)
    whole = ImageSet("x", images, labels, tuple("0123456789"))
    assert len(whole) == COUNT
    assert whole.tensor().dtype == torch.float32
    assert whole.tensor(torch.float64).mul(255).round().equal(torch.tensor(images).double())
    assert whole.targets().tolist() == labels.tolist()
    assert whole.targets().dtype == torch.int64
    assert np.array_equal(whole.take([3, 1, -1]).images, images[[3, 1, -1]])
    assert np.array_equal(whole.take(torch.tensor([2])).labels, labels[[2]])
    assert np.array_equal(whole.take(slice(2, 5)).labels, labels[2:5])
    assert len(whole.take([])) == 0
    for which in ([COUNT], [0.5], [[1]], np.ones(COUNT, bool)):
        with pytest.raises(ValueRangeError):
            whole.take(which)  # type: ignore[arg-type]
    with pytest.raises(ValueRangeError, match="floating"):
        whole.tensor(torch.int64)
    with pytest.raises(ShapeError):
        ImageSet("x", images.astype(float), labels, whole.classes)
    with pytest.raises(ShapeError):
        ImageSet("x", images, labels[1:], whole.classes)
    with pytest.raises(ValueRangeError):
        ImageSet("x", images, labels, ("a",))


@pytest.mark.parametrize(
    ("name", "shape", "first", "mean"),
    [("cifar10", (200, 3, 32, 32), [3, 8, 8, 0, 6], 122.6), ("mnist", (200, 1, 28, 28), [7, 2, 1, 0, 4], 30.3)],
)
def test_samples(name: str, shape: tuple[int, ...], first: list[int], mean: float) -> None:
    found = samples(name)
    assert found.images.shape == shape
    assert found.labels[:5].tolist() == first
    assert found.images.mean() == pytest.approx(mean, abs=0.1)
    assert set(found.labels) == set(range(10))


def test_unknown_samples() -> None:
    with pytest.raises(UnknownNameError, match="cifar10, mnist"):
        samples("svhn")
