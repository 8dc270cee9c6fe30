"""Pictures and arrays given by users, valid and damaged."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from blindspace.data import check_pixels, read_image, read_images, write_images, write_png
from blindspace.data.picture_files import read_picture
from blindspace.errors import BlindspaceWarning, FileError, ShapeError, ValueRangeError

GENERATOR = np.random.default_rng(0)
RGB = GENERATOR.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = GENERATOR.integers(0, 256, (5, 7), dtype=np.uint8)
EXACT = RGB.transpose(2, 0, 1) / 255


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".PNG"])
def test_lossless_colour(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RGB).save(path)
    assert np.array_equal(read_image(path), EXACT)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_colour(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", (32, 16), (255, 0, 0)).save(path)
    pixels = read_image(path)
    assert pixels.shape == (3, 16, 32)
    assert pixels.dtype == np.float64
    assert np.allclose(pixels.mean((1, 2)), [1, 0, 0], atol=0.05)


def test_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(BlindspaceWarning, match=r"not read of 1 of 1 images: a \(frames: 1\)$"):
        assert read_image(tmp_path / "a.gif")[:, 0, 0].tolist() == [1, 0, 0]


def test_one_warning_for_all_that_is_not_read(tmp_path: Path) -> None:
    for name in "abcde":
        Image.new("RGBA", (4, 4), (0, 0, 0, 0 if name != "c" else 255)).save(tmp_path / f"{name}.png")
    with pytest.warns(BlindspaceWarning) as caught:
        assert len(read_images([tmp_path])) == 5
    told = "not read of 4 of 5 images: a (transparency), b (transparency), d (transparency), …"
    assert [str(warning.message) for warning in caught] == [told]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(GREY).save(path)
    assert np.array_equal(read_image(path), GREY[None] / 255)
    Image.fromarray(GREY.astype(np.uint16) * 257 - GREY).save(path)
    assert np.array_equal(read_image(path), (GREY[None] * 256.0) / 65535)
    Image.fromarray(GREY > 100).save(path)
    assert np.array_equal(read_image(path), (GREY > 100)[None].astype(float))


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("LA", 1), ("P", 3)])
def test_other_modes(tmp_path: Path, mode: str, channels: int) -> None:
    image = Image.fromarray(RGB).convert(mode)
    if mode == "RGBA":
        image.putalpha(0)
    if mode == "P":
        image.info["transparency"] = bytes(range(9))
    image.save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = read_picture(tmp_path / "a.png")
    assert pixels.shape == (channels, 5, 7)
    if mode == "RGBA":
        assert np.array_equal(pixels, EXACT)


def test_unknown_range(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 3), 2, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(FileError, match="unknown range"):
        read_image(tmp_path / "a.tif")
    Image.fromarray(np.full((3, 3), 70000, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(FileError, match="unknown range"):
        read_image(tmp_path / "a.tif")


def save(path: Path, **arrays: np.ndarray[Any, Any]) -> Path:
    if path.suffix == ".npy":
        np.save(path, next(iter(arrays.values())))
    elif path.suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]
    else:
        save_file({key: torch.tensor(array) for key, array in arrays.items()}, path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_arrays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"set{suffix}"
    floats = GENERATOR.normal(size=(3, 4, 5)).astype(np.float32)
    pixels = read_image(save(path, image=floats))
    assert pixels.dtype == np.float64
    assert np.array_equal(pixels, floats.astype(np.float64))
    assert np.array_equal(read_image(save(path, other=RGB)), RGB / 255)
    assert np.array_equal(read_image(save(path, other=RGB[None])), RGB / 255)
    found = read_images([save(path, images=np.stack([floats, -floats]))])
    assert [image.name for image in found] == ["set-0000", "set-0001"]
    assert np.array_equal(found[1].pixels, -floats.astype(np.float64))
    with pytest.raises(FileError, match="2 images"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_choice_of_array(tmp_path: Path, suffix: str) -> None:
    path, one, two = tmp_path / f"a{suffix}", np.zeros((1, 2, 2)), np.ones((1, 2, 2))
    assert read_image(save(path, image=two, images=one)).max() == 0
    assert read_image(save(path, image=one, z=two)).max() == 0
    with pytest.raises(FileError, match="'y', 'z'"):
        read_image(save(path, y=one, z=two))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_bad_arrays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for bad in (np.zeros((2, 2)), np.zeros((0, 1, 2, 2)), np.zeros((1, 2, 2), np.int64), np.zeros((1, 2, 2), bool)):
        with pytest.raises(FileError, match="needed"):
            read_image(save(path, images=bad))
    content = save(path, images=np.zeros((1, 9, 9))).read_bytes()
    for damaged in (b"", content[:5], content[:-100], content[:40], b"\x93NUMPY" + b"\xff" * 90):
        path.write_bytes(damaged)
        with pytest.raises(FileError, match=path.name) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_bfloat16(tmp_path: Path) -> None:
    save_file({"image": torch.full((1, 2, 2), 0.5, dtype=torch.bfloat16)}, tmp_path / "a.safetensors")
    assert read_image(tmp_path / "a.safetensors").max() == 0.5


def test_pickles_are_refused(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz"):
        objects = np.array([{}, "x"], dtype=object)
        if name == "a.npy":
            np.save(tmp_path / name, objects, allow_pickle=True)
        else:
            np.savez(tmp_path / name, images=objects)
        with pytest.raises(FileError, match="unpickling"):
            read_image(tmp_path / name)
    (tmp_path / "a.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(FileError, match="unpickling"):
        read_image(tmp_path / "a.npy")
    for suffix in (".pkl", ".pt", ".pth", ".bin"):
        (tmp_path / f"a{suffix}").write_bytes(pickle.dumps([1]))
        with pytest.raises(FileError, match=r"\.safetensors or \.npz"):
            read_image(tmp_path / f"a{suffix}")


def test_bad_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise = Image.fromarray(GENERATOR.integers(0, 256, (90, 90, 3), dtype=np.uint8))
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "a.gif"):
        path = tmp_path / name
        noise.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(FileError, match=name):
            read_image(path)
        path.write_bytes(b"this is text")
        with pytest.raises(FileError, match="is not a picture: it is text"):
            read_image(path)
    with pytest.raises(FileError, match="does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(FileError, match="is a folder"):
        read_image(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(FileError, match="is text, not a picture"):
        read_image(tmp_path / "a.txt")


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(FileError, match="too many pixels"):
        read_image(tmp_path / "a.png")


def test_folders_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FileError, match="no picture"):
        read_images([folder])
    for name in ("b.png", "a.bmp", "a.png", ".hidden.png"):
        Image.fromarray(RGB).save(folder / name)
    (folder / "notes.txt").write_text("x")
    names = [image.name for image in read_images([folder, folder / "b.png"])]
    assert names == ["a", "a-2", "b", "b-2"]
    assert read_images([]) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.5, np.nan], "1 pixels that are NaN"),
        ([np.inf, -np.inf], "2 pixels"),
        ([0, 255], "from 0 to 255; needed is 0 to 1.*divide them by 255"),
        ([-0.5, 1], "from -0.5 to 1; needed is 0 to 1$"),
        ([0, 1.001], "1.001; needed is 0 to 1$"),
        ([], "no pixels"),
    ],
)
def test_check_pixels(values: list[float], words: str) -> None:
    with pytest.raises(ValueRangeError, match=f"cat.*{words}"):
        check_pixels(np.array(values), "cat")


def test_check_pixels_passes() -> None:
    check_pixels(np.array([0.0, 1.0]), "cat")
    check_pixels(np.array([-2.0, 200.0]), "cat", -2, 200)


def test_write_npz(tmp_path: Path) -> None:
    images = RGB.transpose(2, 0, 1)[None].astype(np.float32)
    path = tmp_path / "new" / "a.npz"
    write_images(path, images, np.array([3]), {"seed": "1"}, {"predicted": np.array([4])})
    with np.load(path, allow_pickle=False) as content:
        assert np.array_equal(content["images"], images)
        assert content["images"].dtype == np.float32
        assert content["labels"].tolist() == [3]
        assert content["predicted"].tolist() == [4]
        assert json.loads(str(content["metadata"])) == {"seed": "1"}
    assert np.array_equal(read_images([path])[0].pixels, images[0])


def test_write_safetensors(tmp_path: Path) -> None:
    images = np.asfortranarray(GENERATOR.normal(size=(2, 3, 4, 5)))
    path = tmp_path / "a.safetensors"
    write_images(path, images, np.array([3, 1]), {"seed": "1"})
    with safe_open(path, framework="numpy") as content:
        assert content.metadata() == {"seed": "1"}
        assert content.get_tensor("labels").tolist() == [3, 1]
    assert np.array_equal(np.stack([image.pixels for image in read_images([path])]), images)
    assert [found.name for found in tmp_path.iterdir()] == ["a.safetensors"]


def test_write_refuses(tmp_path: Path) -> None:
    images = np.zeros((2, 1, 3, 3))
    with pytest.raises(FileError, match=r"\.npz or \.safetensors"):
        write_images(tmp_path / "a.pt", images)
    with pytest.raises(ShapeError, match="labels"):
        write_images(tmp_path / "a.npz", images, np.array([1]))
    with pytest.raises(ShapeError, match="images"):
        write_images(tmp_path / "a.npz", images[0])
    with pytest.raises(FileError, match="'images'"):
        write_images(tmp_path / "a.npz", images, extra={"images": images})
    assert list(tmp_path.iterdir()) == []


def test_write_png(tmp_path: Path) -> None:
    for pixels in (EXACT, EXACT[:1]):
        write_png(tmp_path / "a.png", pixels)
        assert np.array_equal(read_image(tmp_path / "a.png"), pixels)
    with pytest.raises(ValueRangeError):
        write_png(tmp_path / "b.png", EXACT * 2)
    with pytest.raises(ShapeError):
        write_png(tmp_path / "b.png", EXACT[:2])
    with pytest.raises(FileError):
        write_png(tmp_path / "b.jpg", EXACT)
    assert [found.name for found in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b c"], ["a", "b c"]),
        (["../a", "b"], ["x-0000", "x-0001"]),
        (["/a", "b"], ["x-0000", "x-0001"]),
        (["a"], ["x-0000", "x-0001"]),
        (["..", "b"], ["x-0000", "x-0001"]),
        (["", "b"], ["x-0000", "x-0001"]),
        ([1, 2], ["x-0000", "x-0001"]),
        ("ab", ["x-0000", "x-0001"]),
        (["a", "a"], ["a", "a-2"]),
    ],
)
def test_names_come_back_unless_they_would_lead_elsewhere(
    tmp_path: Path, suffix: str, names: object, expected: list[str]
) -> None:
    path = tmp_path / f"x{suffix}"
    write_images(path, np.zeros((2, 1, 4, 4)), metadata={"names": json.dumps(names)})
    assert [image.name for image in read_images([path])] == expected
