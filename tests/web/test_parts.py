"""The parts of the web app without a browser: uploads, names of networks, the end of work, files, the command."""

from __future__ import annotations

import io
import json
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import blindspace as bs
from blindspace.cli.app import named
from blindspace.data.channels import fewer_channels
from blindspace.data.picture_files import dimensions
from blindspace.networks import Named
from blindspace.networks.labels import Labelling
from blindspace.web.hosting import host
from blindspace.web.saving import pair
from blindspace.web.session import Session, Stopped, Upload
from blindspace.web.showing import text
from blindspace.web.uploads import LARGEST_FILE, LARGEST_PICTURE, pixels_of, taken
from page_network import network
from processes import start

SHAPE = (3, 32, 32)


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return content.getvalue()


def photo(width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 24, 50), (1, 90, 7)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P", "1", "LA"])
def test_a_picture_of_any_kind_comes_to_the_size_of_the_network(mode: str, shape: tuple[int, int, int]) -> None:
    content = encoded(photo().convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    x, done = pixels_of(Upload("picture", content), shape)
    assert x.shape == (1, *shape)
    assert x.dtype == torch.float64
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    assert torch.equal((x * 255).round() / 255, x), "an eight-bit file holds it exactly"
    assert done.startswith("60 × 40 pixels, its middle resized to")


def test_the_middle_is_kept_and_the_size_that_fits_is_left_alone() -> None:
    image = Image.new("RGB", (96, 32), (255, 0, 0))
    image.paste((0, 255, 0), (32, 0, 64, 32))
    x, _ = pixels_of(Upload("wide.png", encoded(image)), SHAPE)
    assert torch.equal(x[0], torch.tensor([0.0, 1, 0], dtype=torch.float64)[:, None, None].expand(SHAPE))
    whole = photo(32, 32)
    x, done = pixels_of(Upload("whole.png", encoded(whole)), SHAPE)
    assert np.array_equal((x[0] * 255).permute(1, 2, 0).numpy(), np.asarray(whole, np.float64))
    assert done == "32 × 32 pixels"


def test_a_picture_is_turned_as_its_camera_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = photo(32, 32)
    turned, _ = pixels_of(Upload("a.png", encoded(image, exif=exif)), SHAPE)
    expected, _ = pixels_of(Upload("b.png", encoded(image.rotate(-90))), SHAPE)
    assert torch.equal(turned, expected)


def test_the_size_of_a_picture_is_known_before_it_is_decoded() -> None:
    content = encoded(photo())
    assert dimensions(content[:60], "head.png") == (60, 40)
    for broken in (content[:20], b"", b"no picture"):
        with pytest.raises(bs.BlindspaceError):
            dimensions(broken, "head.png")
    side = int(LARGEST_PICTURE**0.5) + 1
    with pytest.raises(bs.BlindspaceError, match="pixels, more than"):
        pixels_of(Upload("large.png", encoded(Image.new("1", (side, side)))), SHAPE)


def test_grey_is_what_pillow_makes_of_colours() -> None:
    image = photo()
    grey = fewer_channels(np.asarray(image, np.float64).transpose(2, 0, 1) / 255, 1)
    assert np.abs(grey[0] * 255 - np.asarray(image.convert("L"), np.float64)).max() <= 0.51
    assert fewer_channels(grey, 1) is grey


def test_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(1, *SHAPE))
    np.savez(tmp_path / "x.npz", images=x)
    upload = Upload("x.npz", (tmp_path / "x.npz").read_bytes())
    with pytest.raises(bs.BlindspaceError, match="needed is 0 to 1"):
        pixels_of(upload, SHAPE)
    assert np.array_equal(pixels_of(upload, SHAPE, pixel_range=False)[0].numpy(), x)
    with pytest.raises(bs.BlindspaceError, match="one image"):
        pixels_of(upload, (1, 28, 28))


def test_an_upload_is_deleted_once_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "files"))
    file = tmp_path / "files" / "some" / "x.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"content")
    assert taken(str(file)) == Upload("x.png", b"content")
    assert not file.exists()
    file.write_bytes(bytes(LARGEST_FILE + 1))
    with pytest.raises(bs.BlindspaceError, match="larger than 20 MB"):
        taken(str(file))
    assert not file.exists()
    other = tmp_path / "x.png"
    other.write_bytes(b"content")
    for path in (other, file.parent / ".." / ".." / "x.png"):
        with pytest.raises(bs.BlindspaceError, match="not a file that was sent"):
            taken(str(path))
    assert other.exists()


def test_work_ends_at_the_next_report_once_it_is_stopped() -> None:
    session, shown = Session(), []
    report = session.reporting(lambda *given, **options: shown.append(given))
    report(1, 2, "first")
    session.stop()
    with pytest.raises(Stopped):
        report(2, 2, "second")
    session.reporting(lambda *given, **options: shown.append(given))(0, 0, "later work goes on")
    assert shown == [((1, 2),), ((0, 1),)]


def test_text_of_users_is_no_html_and_no_template() -> None:
    shown = text("<img src=x onerror=alert(1)> '\" ${1+1} {{x}} `")
    assert not set(shown) & set("<>'\"${}`")


def test_networks_have_names_without_folders(tmp_path: Path) -> None:
    file = tmp_path / "secret-folder" / "net.pt2"
    file.parent.mkdir()
    torch.export.save(torch.export.export(network(), (torch.zeros(1, *SHAPE),)), file)
    offered = host([Named(str(file))])
    assert list(offered) == ["net.pt2", "cifar-resnet", "mnist-mlp"]
    assert offered["net.pt2"].space.dim == 3072 - 384
    assert offered["mnist-mlp"].surface is not None
    assert offered["net.pt2"].surface is None
    with pytest.raises(bs.BlindspaceError, match="two networks are called"):
        host([Named(str(file)), Named(str(file))])
    flat = bs.load(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), (8,))
    with pytest.raises(bs.BlindspaceError, match=r"reads \(8,\)"):
        host([flat])


def test_probabilities() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 5.0]])
    several = Labelling("argmax", "", None, 3)
    found = several.probabilities(scores)
    assert found is not None
    assert torch.allclose(found, scores.double().softmax(1))
    own = several.probabilities(scores.softmax(1))
    assert own is not None
    assert torch.allclose(own, scores.softmax(1).double())
    one = Labelling("sign", "", None, 2).probabilities(torch.tensor([[2.0]]))
    assert one is not None
    assert torch.allclose(one[:, 1], torch.tensor([2.0]).sigmoid().double())
    assert Labelling("sign", "", None, 2, threshold=0.5).probabilities(torch.tensor([[0.7]])) is None
    assert Labelling("none", "").probabilities(scores) is None


def test_files_hold_what_they_say(tmp_path: Path) -> None:
    made = bs.load(network(), SHAPE)
    space = bs.harmless(made)
    x = (torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 255).round() / 255
    changed = bs.perturb(x, space, "noise", size=0.2, in_range=True).images
    files, lines = pair(made, space, x, changed, {"kind": "noise"}, "changed")
    read = {}
    for name, content, _ in files:
        (tmp_path / name).write_bytes(content)
        read[name] = bs.data.read_images([tmp_path / name])[0].pixels
    assert list(read) == ["original.npz", "changed.npz", "original.png", "changed.png"]
    assert np.array_equal(read["original.npz"], x[0].numpy())
    assert np.array_equal(read["original.png"], x[0].numpy())
    assert np.array_equal(read["changed.npz"], changed[0].numpy())
    moved = bs.verify(made, x, torch.from_numpy(read["changed.png"])).max_output_change
    assert f"{moved:.1e}" in lines[-1]
    files, lines = pair(made, space, x, changed + 2, {}, "changed")
    assert [name for name, *_ in files] == ["original.npz", "changed.npz", "original.png"]
    assert "outside [0, 1]" in lines[-1]


def test_options_of_several_networks() -> None:
    found = named(["a.onnx", "b=w.safetensors"], ["resize 8"], ["3x8x8", "3x9x9"], True)
    assert [(each.model, each.weights, each.preprocess, each.input_shape, each.random_weights) for each in found] == [
        ("a.onnx", None, "resize 8", (3, 8, 8), True),
        ("b", "w.safetensors", "resize 8", (3, 9, 9), False),
    ]
    assert named([], [], [], False) == []
    for steps in (["x", "y", "z"], ["x", "y"]):
        with pytest.raises(bs.BlindspaceError, match="give it once"):
            named(["a"], steps, [], False)
    with pytest.raises(bs.BlindspaceError):
        named([], ["resize 8"], [], False)


def test_the_command_serves_until_ctrl_c(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed")
    result = tmp_path / "app.json"
    program = start("app", "--json", result)
    while not result.exists():
        assert program.poll() is None, program.communicate()
        time.sleep(0.05)
    found = json.loads(result.read_text())
    assert found["networks"] == ["cifar-resnet", "mnist-mlp"]
    assert found["url"].startswith("http://127.0.0.1:")
    with urllib.request.urlopen(found["url"]) as page:
        assert b"Blindspace" in page.read()
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert (program.returncode, err) == (0, b"")
    assert b"Ctrl-C ends it" in out
