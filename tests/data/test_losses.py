"""Pictures are turned as their files say; frames, pages, transparency and colour profiles that are dropped are told."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from blindspace.data import read_image
from blindspace.data.picture_files import decoded

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def coded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("value", range(10))
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_orientation_is_applied_as_pillow_does(value: int, file_format: str, tmp_path: Path) -> None:
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = coded(Image.fromarray(RGB), file_format, exif=orientation(value), **options)
    found = decoded(content, "a")
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    assert np.array_equal(found.pixels, expected.transpose(2, 0, 1) / 255)
    assert found.dropped == ()
    (tmp_path / "a.x").write_bytes(content)
    assert np.array_equal(read_image(tmp_path / "a.x"), found.pixels)


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_of_deep_pictures(value: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    stream = io.BytesIO()
    tifffile.imwrite(stream, RGB.astype(np.uint16) * 257, photometric="rgb", extratags=[(274, "H", 1, value, True)])
    plain = coded(Image.fromarray(RGB), "TIFF", exif=orientation(value))
    assert np.array_equal(decoded(stream.getvalue(), "a").pixels, decoded(plain, "b").pixels)


FRAMES = [Image.fromarray(RGB), Image.fromarray(255 - RGB), Image.fromarray(RGB // 2)]


@pytest.mark.parametrize(
    ("file_format", "word"),
    [("GIF", "frames"), ("WEBP", "frames"), ("PNG", "frames"), ("TIFF", "pages"), ("MPO", "frames")],
)
def test_frames_and_pages(file_format: str, word: str) -> None:
    content = coded(FRAMES[0], file_format, save_all=True, append_images=FRAMES[1:])
    assert decoded(content, "a").dropped == (f"{word}: 2",)
    assert decoded(coded(FRAMES[0], "PNG" if file_format == "MPO" else file_format), "a").dropped == ()


def test_pages_of_deep_pictures() -> None:
    tifffile = pytest.importorskip("tifffile")
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for _ in range(3):
            file.write(np.zeros((5, 7, 4), np.uint16), photometric="rgb", extrasamples=["unassalpha"])
    assert decoded(stream.getvalue(), "a").dropped == ("pages: 2", "transparency")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_transparency(mode: str) -> None:
    image = Image.fromarray(RGB).convert("RGBA")
    file_format = "TIFF" if mode == "PA" else "PNG"
    if mode == "P":
        image = image.convert("RGB").quantize()
        opaque, clear = coded(image, "PNG", transparency=b"\xff\xff"), coded(image, "PNG", transparency=b"\xff\x80")
    else:
        opaque = coded(
            image.convert("RGB").quantize().convert("PA") if mode == "PA" else image.convert(mode), file_format
        )
        alpha = Image.fromarray(np.where(RGB[:, :, 0] > 99, 255, 254).astype(np.uint8))
        image = image.convert("RGB").quantize().convert("PA") if mode == "PA" else image.convert(mode)
        image.putalpha(alpha)
        clear = coded(image, file_format)
    assert decoded(opaque, "a").dropped == ()
    assert decoded(clear, "a").dropped == ("transparency",)


def test_transparency_of_one_colour() -> None:
    image = Image.fromarray(RGB)
    assert decoded(coded(image, "PNG", transparency=tuple(map(int, RGB[0, 0]))), "a").dropped == ("transparency",)


def test_colour_profiles() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for file_format in ("PNG", "JPEG", "WEBP", "TIFF"):
        assert decoded(coded(FRAMES[0], file_format, icc_profile=srgb), "a").dropped == ()
        assert decoded(coded(FRAMES[0], file_format, icc_profile=other), "a").dropped == ("colour profile",)


def test_damage_in_what_is_not_read_changes_nothing() -> None:
    gif = coded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:])
    for end in range(len(gif) - 60, len(gif)):
        assert np.array_equal(decoded(gif[:end], "a").pixels, decoded(gif, "a").pixels)
    exif = coded(FRAMES[0], "JPEG", exif=b"Exif\0\0" + b"\xff" * 30)
    assert decoded(exif, "a").pixels.shape == (3, 5, 7)
