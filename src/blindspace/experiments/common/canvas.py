"""Chromium's canvas in a process of its own, for the library itself to resize images.

A process of its own, because playwright allows one browser per thread, and the tests of pages have theirs.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from shutil import which
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

DRAW = """([pixels, width, height, outWidth, outHeight, quality]) => {
    const [from, to] = [[width, height], [outWidth, outHeight]].map(([w, h]) => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [w, h];
        return canvas.getContext("2d", {willReadFrequently: true});
    });
    const image = from.createImageData(width, height);
    pixels.forEach((value, at) => image.data.set([value, value, value, 255], 4 * at));
    from.putImageData(image, 0, 0);
    to.imageSmoothingEnabled = quality !== "off";
    if (quality !== "off") to.imageSmoothingQuality = quality;
    to.drawImage(from.canvas, 0, 0, outWidth, outHeight);
    return Array.from(to.getImageData(0, 0, outWidth, outHeight).data.filter((_, at) => at % 4 === 0));
}"""
"""Draws one canvas on another, by software, and returns the red values."""


def version() -> str:
    """The version of Chromium.

    Raises:
        ImportError: Chromium or playwright is not installed.
    """
    found: str = _ask(None)
    return found


def draw(pixels: Sequence[int], before: tuple[int, int], after: tuple[int, int], quality: str) -> list[int]:
    """A grey image of eight bits drawn to another size.

    Args:
        pixels: Values row by row.
        before: (height, width) of the image.
        after: (height, width) after resizing.
        quality: "off" for no smoothing, or low, medium, high.

    Raises:
        ImportError: Chromium or playwright is not installed.
    """
    found: list[int] = _ask([list(pixels), before[1], before[0], after[1], after[0], quality])
    return found


def _ask(question: object) -> Any:
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise ImportError("Chromium ended before it answered")
    return json.loads(answer)


@lru_cache(maxsize=1)
def _process() -> subprocess.Popen[str]:
    program = next(filter(None, map(which, BROWSERS)), None)
    if program is None or find_spec("playwright") is None:
        raise ImportError("Chromium and playwright are needed: apt-get install chromium, pip install playwright")
    command = [sys.executable, __file__, program]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    return process


def _serve(program: str) -> None:
    """Answers one line of JSON per line of JSON until the input ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        for line in sys.stdin:
            question = json.loads(line)
            answer = browser.version if question is None else page.evaluate(DRAW, question)
            print(json.dumps(answer), flush=True)
        browser.close()


if __name__ == "__main__":
    _serve(sys.argv[1])
