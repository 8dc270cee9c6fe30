"""``blindspace inspect IMAGES``."""

from __future__ import annotations

from json import dumps as json_text
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.markup import escape
from torch import Tensor

from ..data import SAMPLES, samples, write_images, write_png
from ..errors import FileError
from ..evidence._canonical import canonical
from ..evidence._fingerprint import fingerprint
from ..evidence._inspect import Reference, reference
from ..evidence._inspect import inspect as measure
from ..evidence._verify import verify
from ..evidence.detection import detect
from ..networks import Network, harmless, load
from ..report.inspect import detection_table, draw, table
from ..report.picture import check_picture
from ..subspaces import Subspace
from .output import (
    InputShapeOption,
    JsonOption,
    ModelOption,
    PreprocessOption,
    RandomWeightsOption,
    SeedOption,
    WeightsOption,
    console,
    load_images,
    progress,
    stack,
    writable_file,
    writable_folder,
    write_json,
)

SHOWN = 6
"""Images before and after cleaning in the picture."""


def inspect(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES", help="Pictures, .npz, .npy or .safetensors files, folders; or samples."),
    ],
    model: ModelOption = "cifar-resnet",
    weights: WeightsOption = None,
    random_weights: RandomWeightsOption = False,
    input_shape: InputShapeOption = None,
    preprocess: PreprocessOption = None,
    usual: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="FOLDER",
            help="Clean images like those to be inspected; the embedded ones if none, where their size is the model's.",
        ),
    ] = None,
    false_positives: Annotated[float, typer.Option(help="Rate at which clean images may be flagged.")] = 0.01,
    clean: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the images without what may be hidden in them there.", callback=writable_folder
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Try the score on half of the reference and draw what it finds there: .png, .svg or .pdf.",
            callback=writable_file,
        ),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Whether something is hidden where the network cannot see; exit code 1 if an image looks like it."""
    if picture is not None:
        check_picture(picture)
    network = load(model, input_shape, weights=weights, preprocess=preprocess, random_weights=random_weights)
    named = load_images(images, network, pixel_range=False)
    names, x = [image.name for image in named], stack(named)
    space = harmless(network)
    found: dict[str, Any] = {"model": network.name, "names": names}
    screen = console(json)
    clean_images = _usual(usual, network)
    with progress("learning what is usual") as report:
        expected = reference(space, clean_images, seed, report)
    result = measure(space, x, expected, false_positives, seed)
    prints = [fingerprint(space, image) for image in x]
    suspicious = int(result.suspicious.sum())
    verdict = f"[red]{suspicious} suspicious[/red]" if suspicious else "[green]none suspicious[/green]"
    screen.print(f"{len(names)} images: {verdict}")
    screen.print(
        f"  threshold   {result.threshold:.2f}, which {false_positives:.2%} of images like the {expected.images} of "
        "the reference reach, processed or not"
    )
    screen.print(table(result, names))
    found |= {"reference": expected.to_dict(), "fingerprints": prints, **result.to_dict()}
    if clean is not None:
        found["clean"] = _clean(network, space, x, names, clean, expected)
        screen.print(
            f"cleaned images in {escape(str(clean))}: {found['clean']['labels_changed']} of {len(names)} labels "
            f"change, outputs move by {found['clean']['max_output_change']:.1e} at most"
        )
    if picture is not None:
        found["detections"] = _picture(space, clean_images, picture, false_positives, seed, screen)
    write_json(found, json)
    if suspicious:
        raise typer.Exit(1)


def _usual(given: str | None, network: Network) -> Tensor:
    """The clean images to compare with, ``(B, C, H, W)``.

    Raises:
        FileError: none is given and none of that size is embedded.
    """
    if given is not None:
        return stack(load_images([given], network))
    for name in SAMPLES:
        embedded = samples(name).tensor(torch.float64)
        if tuple(embedded.shape[1:]) == network.input_shape:
            return embedded
    size = "×".join(map(str, network.input_shape))
    raise FileError(f"no images of {size} are embedded; give clean ones, a hundred or so: --reference FOLDER")


def _clean(
    network: Network, space: Subspace, images: Tensor, names: list[str], folder: Path, expected: Reference
) -> dict[str, Any]:
    """Write the canonical form of images, and measure that the network reads it alike."""
    made = canonical(space, images, expected.prior)
    write_images(
        folder / "images.npz", made.images.numpy(), metadata={"model": network.name, "names": json_text(names)}
    )
    for name, image in zip(names, made.images, strict=True):
        write_png(folder / f"{name}.png", image.numpy())
    evidence = verify(network, images, made.images)
    moved = {"residual": float(made.residual.max()), "mean_squared_change": made.moved.tolist()}
    return {"folder": str(folder), **moved, **evidence.to_dict()}


def _picture(
    space: Subspace, usual: Tensor, path: Path, false_positives: float, seed: int, screen: Any
) -> list[dict[str, Any]]:
    """Learn from every second reference image, mark the others, and draw what is found."""
    with progress("trying the score") as report:
        half = reference(space, usual[::2], seed)
        found = detect(space, usual[1::2], half, false_positives, seed, report)
    marked = next(kind for kind in found if kind.name == "largest")
    some, hidden = found[0].images[:SHOWN], marked.images[:SHOWN]
    rows = [
        ("clean", some),
        ("clean, cleaned", canonical(space, some, half.prior).images),
        ("largest harmless change", hidden),
        ("the same, cleaned", canonical(space, hidden, half.prior).images),
    ]
    draw(found, half.threshold(false_positives), rows, path, SHOWN)
    screen.print(detection_table(found))
    return [kind.to_dict() for kind in found]
