"""``blindspace export-clean MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..errors import ValueRangeError
from ..integrations import export_clean as export
from .options import JsonOption, NetworkOptions, with_network, writable_file
from .output import console, write_json


@with_network
def export_clean(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Take this network; audit --help says how it is named.")
    ],
    reader: NetworkOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write to this .onnx file.", callback=writable_file),
    ] = None,
    attach: Annotated[
        Path | None,
        typer.Option(
            "--attach",
            metavar="FILE",
            help="Put the operator in front of the model in this .onnx file, and write both as one.",
        ),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Leave the visible component alone, and do not fill in what is natural beside it."
        ),
    ] = False,
    opset: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Write an operator that stands alone in this ONNX operator set, from 7; 17 if not given."
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Write an ONNX graph to put in front of a network, which takes out of an image what the network cannot see."""
    if out is None:
        raise ValueRangeError("export-clean needs a file to write to: -o clean.onnx")
    found = export(reader.load(), out, attach, plain, opset=opset)
    what = "the visible component" if plain else "the most natural image that the network reads alike"
    screen = console(json)
    screen.print(
        f"{escape(str(out))} takes {found.dim} dimensions out of an image of {'×'.join(map(str, found.shape))}"
    )
    screen.print(f"  returns    {what}, as {found.form}; operator set {found.opset}, {found.size / 1e6:.1f} MB")
    screen.print(f"  changes    what the network sees by {found.residual:.1e} of the image, in float32 in onnxruntime")
    screen.print(f"  leaves     {found.remainder:.1e} of what is hidden where the network cannot see")
    if found.attached:
        screen.print(
            f"  attached   {escape(found.attached)}; its outputs change by {found.output_change:.1e} of the largest"
        )
    write_json(found.to_dict(), json)
