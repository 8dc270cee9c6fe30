"""The web app as people use it, in a browser: one small network, one server, several users."""

from __future__ import annotations

import io
import json
import re
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

import blindspace as bs
from blindspace import web
from blindspace.cli.main import run
from blindspace.networks import Named
from browser import NARROW, WIDE, requests_elsewhere, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Locator, Page

if find_spec("gradio") is None:  # it is imported by the tests, since that takes a second
    pytest.skip("Gradio is not installed", allow_module_level=True)

NETWORK = "page_network:network"

GRADIOS = [("aria-prohibited-attr", ".image-container")]
"""Violations of Gradio's own, as rule and selector: the canvas of its image editor has a label, but no role."""


@pytest.fixture(scope="module")
def app() -> Iterator[web.App]:
    made = bs.app([Named(NETWORK, (3, 32, 32), random_weights=True)])
    yield made
    made.close()


@pytest.fixture
def visit(app: web.App, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page as a new user, who asks for nothing from elsewhere."""
    opened = []

    def open_page(**settings: Any) -> Page:
        page = browser.new_context(**{"viewport": WIDE, **settings}).new_page()
        page.set_default_timeout(120_000)  # the machine may be busy with other things
        opened.append((page, requests_elsewhere(page)))
        page.goto(app.url)
        page.get_by_label("Seed").wait_for()
        return page

    yield open_page
    for page, elsewhere in opened:
        page.context.close()
        assert elsewhere == []


def picture(folder: Path, seed: int, name: str = "picture.png", size: int = 40) -> Path:
    """A picture of coarse blocks, away from black and white."""
    blocks = np.random.default_rng(seed).uniform(70, 180, (size // 8, size // 8, 3))
    Image.fromarray(np.repeat(np.repeat(blocks, 8, 0), 8, 1).astype(np.uint8)).save(folder / name)
    return folder / name


def drop(page: Page, path: Any, which: int = 0) -> None:
    page.locator("input[type=file]").nth(which).set_input_files(path)


def figure(page: Page, title: str) -> Locator:
    return page.locator("figure:visible", has=page.get_by_text(title, exact=True))


def source(page: Page, title: str) -> str:
    return figure(page, title).locator("img").get_attribute("src") or ""


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def until(condition: Callable[[], bool], page: Page) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(20)


def refusal(page: Page) -> str:
    """The sentence of the error that is shown, which is then closed."""
    toast = page.locator(".toast-body").first
    toast.wait_for()
    text = toast.inner_text()
    toast.locator(".toast-close").click()
    toast.wait_for(state="detached")
    assert not any(word in text for word in ("Traceback", "/tmp", "gradio", "site-packages"))
    return text


def test_labels_stay_while_the_picture_changes(
    visit: Callable[..., Page], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = visit()
    drop(page, picture(tmp_path, 0))
    figure(page, "What the network sees").wait_for()
    assert page.get_by_text("cannot see 2688 of their 3072 dimensions").is_visible()
    tab(page, "Change")
    press(page, "Make the change")
    figure(page, "Changed").wait_for()
    label = figure(page, "Original").locator(".bs-label, .bs-confidence").all_inner_texts()
    assert len(label) == 2
    # From now on every state of that part of the page is noted.
    page.evaluate(
        """() => { const part = document.querySelector('#bs-change'); window.states = [];
        const note = () => { window.states.push([...part.querySelectorAll('.bs-label, .bs-confidence')]
            .map(e => e.textContent).join(' ')); };
        new MutationObserver(note).observe(part, {childList: true, subtree: true, characterData: true}); }"""
    )
    seen = {source(page, "Changed")}
    for share in ("0.6", "0.25", "0"):
        page.locator("input[type=range]:visible").fill(share)
        until(lambda: source(page, "Changed") not in seen, page)
        seen.add(source(page, "Changed"))
    assert source(page, "Changed") == source(page, "Original")
    assert set(page.evaluate("window.states")) == {" ".join(label * 2)}

    page.get_by_label("Decoy: people see a text").check()
    page.get_by_label("Text that people see").fill("BIG")
    page.locator("input[type=range]:visible").fill("1")
    press(page, "Make the change")
    until(lambda: source(page, "Changed") not in seen, page)
    assert page.get_by_text("Read alike").is_visible()
    assert figure(page, "Changed").locator(".bs-label, .bs-confidence").all_inner_texts() == label

    press(page, "Make files of it")
    page.locator(".bs-files a:visible").first.wait_for()
    files = {}
    for link in page.locator(".bs-files a:visible").all():
        with page.expect_download() as waiting:
            link.click()
        files[waiting.value.suggested_filename] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(files[waiting.value.suggested_filename])
    assert sorted(files) == ["changed.npz", "changed.png", "original.npz", "original.png"]
    network = ["--model", NETWORK, "--input-shape", "3x32x32", "--random-weights"]
    assert run(["verify", str(files["original.npz"]), str(files["changed.npz"]), *network]) == 0
    assert "read alike" in capsys.readouterr().out
    made = bs.load(NETWORK, (3, 32, 32), random_weights=True)
    before, after = (torch.from_numpy(bs.data.read_image(files[f"{name}.png"])) for name in ("original", "changed"))
    rounded = bs.verify(made, before, after)
    assert rounded.labels_changed == 0
    assert f"at most {rounded.max_output_change:.1e}" in page.locator("#bs-change-files").inner_text()
    assert float((after - before).abs().max()) > 0.1


def test_a_box_and_paint_confine_the_change(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit()
    drop(page, picture(tmp_path, 0))
    figure(page, "What the network sees").wait_for()
    tab(page, "Change")
    page.get_by_role("button", name="Change a part of the image only").click()

    def changed() -> Any:
        uris = (source(page, name) for name in ("Original", "Changed"))
        before, after = (np.asarray(Image.open(urllib.request.urlopen(uri)), np.int64) for uri in uris)
        return (before != after).any(2)

    page.get_by_label("Or a box of pixels").fill("/etc/hostname")
    press(page, "Make the change")
    assert "four numbers" in refusal(page)
    page.get_by_label("Or a box of pixels").fill("8, 0, 24, 16")
    press(page, "Make the change")
    figure(page, "Changed").wait_for()
    inside = np.zeros((32, 32), bool)
    inside[0:16, 8:24] = True
    assert not changed()[~inside].any()
    assert changed()[inside].any()

    first = source(page, "Changed")
    page.get_by_label("Or a box of pixels").fill("")
    canvas = page.locator("#bs-canvas canvas").first
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()
    assert area is not None
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x - 60, y)
    page.mouse.down()
    for step in range(12):
        page.mouse.move(x - 60 + 10 * step, y + 4 * (step % 2))
    page.mouse.up()
    press(page, "Make the change")
    until(lambda: source(page, "Changed") != first, page)
    rows = changed().any(1)
    assert rows.any()
    assert not rows[:8].any()
    assert not rows[-8:].any()


def png_of(width: int, height: int) -> bytes:
    """A PNG of one bit per pixel, all black: few bytes, whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(height * (1 + (width + 7) // 8)), 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def archived(array: Any) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, image=array)
    return content.getvalue()


def test_uploads_that_cannot_be_used(visit: Callable[..., Page], tmp_path: Path, app: web.App) -> None:
    page = visit()
    alerts: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        alerts.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    whole = picture(tmp_path, 0).read_bytes()
    cases: dict[str, tuple[bytes, str]] = {
        "broken.png": (whole[: len(whole) // 2], "broken.png"),
        "words.jpg": (b"no picture at all", "not a picture"),
        "wide.png": (png_of(6000, 6000), "6000 × 6000 pixels"),
        "<img src=x onerror=alert(1)>.png": (b"no picture", "not a picture"),
        "large.npz": (archived(np.zeros((3, 4096, 4096))), "unpacks to 384 MB"),
        "small.npz": (archived(np.zeros((3, 8, 8))), "(3, 8, 8)"),
        "pickle.npz": (archived(np.array([{}], dtype=object)), "unpickling"),
    }
    for name, (content, sentence) in cases.items():
        drop(page, {"name": name, "mimeType": "image/png", "buffer": content})
        assert sentence in refusal(page), name
        page.get_by_label("Clear").first.click()
        page.locator("input[type=file]").first.wait_for(state="attached")
    assert alerts == []
    drop(page, {"name": "huge.png", "mimeType": "image/png", "buffer": bytes(21 << 20)})
    assert "size" in refusal(page).lower()
    # Whoever goes around the page is refused by the server.
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + bytes(21 << 20)
    sent = urllib.request.Request(
        f"{app.url}/gradio_api/upload",
        body + b"\r\n--x--\r\n",
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(sent)
    drop(page, picture(tmp_path, 0))
    figure(page, "What the network sees").wait_for()


def test_stop_ends_the_work(visit: Callable[..., Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(*given: Any, progress: Callable[[int, int, str], None], **options: Any) -> None:
        try:
            while True:
                progress(1, 2, "working")
                begun.set()
                time.sleep(0.01)
        finally:
            ended.set()

    def has_begun() -> bool:  # the button does nothing until the page knows that the last run has ended
        press(page, "Make the change")
        page.wait_for_timeout(200)
        return begun.is_set()

    def made() -> bool:
        press(page, "Make the change")
        page.wait_for_timeout(200)
        return figure(page, "Changed").is_visible()

    page = visit()
    drop(page, picture(tmp_path, 0))
    figure(page, "What the network sees").wait_for()
    tab(page, "Change")
    with monkeypatch.context() as patch:
        patch.setattr("blindspace.web.change.perturb", endless)
        for _ in range(3):  # more often than there are workers: each is free again afterwards
            begun.clear()
            ended.clear()
            until(has_begun, page)
            press(page, "Stop")
            until(ended.is_set, page)
    until(made, page)


def test_two_users_at_once(visit: Callable[..., Page], tmp_path: Path) -> None:
    pages = [visit(), visit(viewport=NARROW)]
    for number, page in enumerate(pages):
        drop(page, picture(tmp_path, number, f"{number}.png"))
    for page in pages:
        figure(page, "What the network sees").wait_for()
        tab(page, "Change")
        press(page, "Make the change")
    for page in pages:
        figure(page, "Changed").wait_for()
    assert pages[1].evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    shown = [set(page.locator("figure img").evaluate_all("all => all.map(e => e.src)")) for page in pages]
    assert len(shown[0]) == len(shown[1]) >= 3
    assert not shown[0] & shown[1]
    third = visit()
    tab(third, "Change")
    press(third, "Make files of it")
    assert "make a change first" in refusal(third)
    assert third.locator("figure").count() == 0


def test_compare_inspect_and_split(visit: Callable[..., Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = bs.data.samples("cifar10").tensor(torch.float64)[:24]
    monkeypatch.setattr("blindspace.web.hosting.embedded_images", lambda shape: few)
    page = visit()
    space = bs.harmless(bs.load(NETWORK, (3, 32, 32), random_weights=True))
    x = bs.data.read_image(picture(tmp_path, 5, "small.png", 32))
    noise = space.sample(1, torch.Generator().manual_seed(0), torch.float64)[0].numpy()
    digit = bs.data.samples("mnist").tensor(torch.float64)[0].numpy()
    for name, array in (("a", x), ("b", x + 0.02 * noise / np.abs(noise).max()), ("digit", digit)):
        np.savez(tmp_path / f"{name}.npz", image=array)
    drop(page, tmp_path / "a.npz")
    figure(page, "What the network sees").wait_for()
    tab(page, "Compare")
    press(page, "Compare")
    assert "second image" in refusal(page)
    page.locator("input[type=file]").last.set_input_files(tmp_path / "b.npz")
    page.get_by_text("b.npz has arrived").wait_for()
    press(page, "Compare")
    figure(page, "Second image").wait_for()
    assert page.get_by_text("Read alike").is_visible()
    assert re.search(r"(100\.00|99\.99)\s% is harmless", page.locator("body").inner_text())

    tab(page, "Inspect")
    press(page, "Inspect and clean")
    figure(page, "Cleaned").wait_for()
    assert page.get_by_text("uspicious").first.is_visible()
    tab(page, "Manifold")
    press(page, "Split it")
    assert "no manifold is embedded" in refusal(page)
    page.get_by_label("mnist-mlp").check()
    assert "(3, 32, 32)" in refusal(page)  # the image has the size of the other network
    page.get_by_label("Clear").first.click()
    drop(page, tmp_path / "digit.npz")
    page.get_by_label("FGSM").check()
    press(page, "Split it")
    figure(page, "Off it").wait_for()
    assert page.get_by_text("mnist-autoencoder has 16 of 784 dimensions").is_visible()


def answer(url: str, data: dict[str, Any] | None = None) -> tuple[int, bytes]:
    body = None if data is None else json.dumps(data).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as found:
            return found.status, found.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_no_path_of_the_host_is_reachable(app: web.App, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret of the host")
    for path in (secret, Path(web.__file__), Path("/etc/hostname"), Path("pyproject.toml")):
        for address in (f"file={path}", f"file/{path}", f"file=x/../{path}", f"proxy=file://{path}"):
            status, content = answer(f"{app.url}/gradio_api/{address}")
            assert status in (403, 404), address
            assert b"secret of the host" not in content
    for address in ("info", "openapi.json", "api/see", "call/see", "deep_link?session_hash=a", "app_id", "run/predict"):
        assert answer(f"{app.url}/gradio_api/{address}")[0] == 404, address
    for address in ("monitoring", "docs", "openapi.json", "gradio_api/runs", "login_check"):
        assert answer(f"{app.url}/{address}")[0] == 404, address
    # An upload that was none: the path of a file of the host in place of what was sent.
    config = json.loads(answer(f"{app.url}/config")[1])
    uploads = [each for each in config["dependencies"] if any(event == "upload" for _, event in each["targets"])]
    assert len(uploads) == 3
    # Or an address, which Gradio would have the server fetch.
    for named in (str(secret), "https://192.0.2.1/x.png", "http:x", f"{secret}\0", "../x", "", 3, [str(secret)]):
        file = {"path": named, "orig_name": "secret.png", "meta": {"_type": "gradio.FileData"}}
        for each in uploads:
            target = each["targets"][0][0]
            data = [file if component == target else None for component in each["inputs"]]
            call = {"data": data, "fn_index": each["id"], "session_hash": "someone", "trigger_id": target}
            assert answer(f"{app.url}/gradio_api/queue/join", call)[0] == 400
    nested = {"data": [{"layers": [{"path": str(secret)}]}], "fn_index": 0, "session_hash": "someone"}
    assert answer(f"{app.url}/gradio_api/queue/join", nested)[0] == 400
    assert answer(f"{app.url}/gradio_api/file=https://192.0.2.1/x.png")[0] == 404
    assert secret.read_bytes() == b"secret of the host"


def test_the_browser_is_told_to_load_nothing_from_elsewhere(app: web.App) -> None:
    with urllib.request.urlopen(app.url) as found:
        policy = found.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(visit: Callable[..., Page], tmp_path: Path, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    drop(page, picture(tmp_path, 0))
    figure(page, "What the network sees").wait_for()
    found = [f"See: {line}" for line in violations(page, GRADIOS)]
    for name in ("Change", "Compare", "Inspect", "Manifold")[: 1 if scheme == "dark" else None]:
        tab(page, name)
        if name == "Change":
            press(page, "Make the change")
            figure(page, "Changed").wait_for()
            if scheme == "light":
                page.get_by_role("button", name="Change a part of the image only").click()
        found += [f"{name}: {line}" for line in violations(page, GRADIOS)]
    assert not found, "\n".join(found)
