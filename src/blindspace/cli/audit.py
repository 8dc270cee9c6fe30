"""``blindspace audit MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..errors import ValueRangeError
from ..evidence import audit as run_audit
from ..networks import front
from ..report.audit import print_audit
from ..report.page import QUICK, THRESHOLDS
from ..report.spectrum import draw
from ..solvers import NAMES
from .images import load_images, stack
from .options import JsonOption, NetworkOptions, SeedOption, with_network, writable_page, writable_picture
from .output import console, progress, write_json


@with_network
def audit(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Audit this network: cifar-resnet or mnist-mlp, built in; timm:NAME, torchvision:NAME or hf:NAME; "
            "package.module:function, which is run; or a file: .onnx, .onnx.gz, .pt2.",
        ),
    ],
    reader: NetworkOptions,
    layers: Annotated[bool, typer.Option(help="Measure every linear layer at its own input too.")] = True,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Measure large layers with as many outputs as inputs too: minutes each.")
    ] = False,
    solver: Annotated[
        str | None,
        typer.Option(help=f"Solve the front by {', '.join(NAMES)}; chosen by structure and size if not given."),
    ] = None,
    soft: Annotated[
        str | None,
        typer.Option(
            metavar="ε,ε,…",
            help="Determine the ε-nullity of the front: directions that move it by less than these shares of ‖A‖.",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--spectrum",
            help="Draw the front's singular values to this file: .png, .svg or .pdf.",
            callback=writable_picture,
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            help="Write a page to this folder that answers in words and pictures what the network cannot see.",
            callback=writable_page,
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="IMAGES",
            help="Perturb these pictures, array files or folders on the page; may be repeated. If not given, those "
            "built in are taken where their shape fits, and synthetic ones elsewhere.",
        ),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """What a network cannot see: the nullspaces of its affine front and of its linear layers, certified."""
    bounds = _numbers(soft)
    if images and page is None:
        raise ValueRangeError("--images are what the page of --report perturbs; give --report DIR too")
    network = reader.load()
    shown = load_images(images, network) if images else None
    spectrum = picture is not None
    if page is not None and front(network).in_dim <= QUICK:
        spectrum, bounds = True, bounds or list(THRESHOLDS)
    with progress(f"auditing {model}") as report:
        result = run_audit(
            network,
            layers=layers,
            solver=solver,
            soft=bounds,
            spectrum=spectrum or (page is not None and bool(bounds)),
            thorough=thorough,
            seed=seed,
            progress=report,
        )
    if picture is not None and result.spectrum is not None:
        draw(result.spectrum, result.soft, picture)
    screen = console(json)
    print_audit(screen, result)
    write_json(result.to_dict(), json)
    if page is not None:
        from ..report.network_report import write_report  # needs the extra [report]

        with progress(f"report on {model}") as report:
            written = write_report(
                network,
                page,
                found=result,
                images=None if shown is None else stack(shown, network),
                names=[] if shown is None else [image.name for image in shown],
                seed=seed,
                options=reader.spelled(),
                progress=report,
            )
        screen.print(f"open [bold]{escape(str(written.page))}[/bold] in a browser")


def _numbers(text: str | None) -> list[float]:
    """The thresholds of ``--soft``."""
    try:
        return [float(word) for word in text.split(",")] if text else []
    except ValueError as error:
        raise ValueRangeError(f"--soft takes numbers above 0 such as 1e-3,1e-2, got {text!r}") from error
