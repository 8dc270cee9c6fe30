"""``blindspace app``."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape

from ..errors import ValueRangeError
from ..networks import Named
from ..web import app as start
from ..web._app import LOCAL
from .options import DeviceOption, JsonOption, read_shape, split_weights
from .output import console, progress, write_json


def app(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL[=FILE]",
            help="Offer this network beside the built-in ones, perhaps with a file of weights; may be repeated.",
        ),
    ] = None,
    preprocess: Annotated[
        list[str] | None,
        typer.Option(
            "--preprocess",
            metavar="SPEC",
            help="Put this preprocessing in front of MODEL, as audit takes it: one for all, or one per MODEL.",
        ),
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--input-shape",
            metavar="SHAPE",
            help="Take images of this shape, such as 3x480x640: one for all, or one each.",
        ),
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Take each MODEL without weights as an architecture alone.")
    ] = False,
    host: Annotated[
        str,
        typer.Option(help="Serve at this address; whoever reaches it may use the app, by default this machine alone."),
    ] = LOCAL,
    port: Annotated[
        int | None,
        typer.Option(help="Serve at this port; the first free one from 7860 if not given.", min=1, max=65535),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    device: DeviceOption = "cpu",
    json: JsonOption = None,
) -> None:
    """A web page on which people see, change, compare, inspect and split images; it runs until Ctrl-C."""
    given = named(models or [], preprocess or [], input_shape or [], random_weights)
    with progress("loading networks") as report:
        made = start(given, host=host, port=port, open_browser=open_browser, device=device, progress=report)
    signal.signal(signal.SIGTERM, lambda *_: made.close())
    console(json).print(f"The app is served at {escape(made.url)}; Ctrl-C ends it.", soft_wrap=True)
    write_json({**made.to_dict(), "host": host}, json)
    try:
        made.wait()
    except KeyboardInterrupt:
        pass
    finally:
        made.close()


def named(models: Sequence[str], preprocess: Sequence[str], shapes: Sequence[str], random: bool) -> list[Named]:
    """The networks that the options state.

    Raises:
        ValueRangeError: There are neither one preprocessing (or shape) for all networks nor one for each.
    """
    each_preprocess = _one_each(preprocess, len(models), "--preprocess")
    each_shape = _one_each(shapes, len(models), "--input-shape")
    found = []
    for text, steps, shape in zip(models, each_preprocess, each_shape, strict=True):
        model, weights = split_weights(text)
        size = read_shape(shape) if shape else None
        found.append(Named(model, size, weights, steps or None, random and weights is None))
    return found


def _one_each(given: Sequence[str], count: int, option: str) -> list[str]:
    if len(given) not in (0, 1, count) or (given and not count):
        raise ValueRangeError(f"{option} is given {len(given)} times for {count} networks; give it once, or once each")
    return list(given) * count if len(given) == 1 else list(given) or [""] * count
