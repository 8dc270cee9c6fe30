"""``blindspace perturb IMAGES``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.markup import escape
from torch import Tensor

from ..attacks import pgd
from ..data import write_images, write_png
from ..errors import FileError, ValueRangeError
from ..evidence import verify
from ..networks import Network, front, load
from ..perturbations import harmless_noise, least_harmful, rescale
from ..subspaces import Subspace, nearest, nullspace
from .output import (
    InputShapeOption,
    JsonOption,
    ModelOption,
    PreprocessOption,
    RandomWeightsOption,
    SeedOption,
    WeightsOption,
    check_finite,
    console,
    load_images,
    progress,
    stack,
    writable_file,
    writable_folder,
    write_json,
)


class Kind(str, Enum):
    """What is added to an image."""

    noise = "noise"
    parallel = "parallel"
    least_harmful = "least-harmful"


class NormName(str, Enum):
    """How the size of a perturbation is measured."""

    linf = "linf"
    l2 = "l2"


def perturb(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES", help="Pictures, .npz, .npy or .safetensors files, folders; or the word samples."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="File for the perturbed images: .npz or .safetensors.", callback=writable_file
        ),
    ],
    model: ModelOption = "cifar-resnet",
    weights: WeightsOption = None,
    random_weights: RandomWeightsOption = False,
    input_shape: InputShapeOption = None,
    preprocess: PreprocessOption = None,
    kind: Annotated[
        Kind, typer.Option(help="Random harmless noise, the harmless part of a PGD attack, or the least harmful one.")
    ] = Kind.noise,
    size: Annotated[float, typer.Option(help="Of each perturbation, in units of the image range.", min=0)] = 0.5,
    norm: Annotated[NormName, typer.Option(help="How the size is measured.")] = NormName.linf,
    in_range: Annotated[
        bool, typer.Option("--in-range", help="Keep every pixel in [0, 1]; may come out smaller.")
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option(help="Folder for 8-bit PNGs to look at (rounded: no evidence).", callback=writable_folder),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Add perturbations that the network cannot notice, and measure that it does not."""
    if out.suffix not in (".npz", ".safetensors"):
        raise FileError(f"{out} must end in .npz or .safetensors, which keep every digit; PNG rounds to 8 bits")
    network = load(model, input_shape, weights=weights, preprocess=preprocess, random_weights=random_weights)
    named = load_images(images, network)
    x = stack(named)
    generator = torch.Generator().manual_seed(seed)
    with progress("perturb") as report:
        report(0, 3, "what the network cannot see")
        space = nullspace(front(network))
        report(1, 3, "perturbations")
        delta = _perturbation(kind, network, space, x, size, norm.value, generator)
        if in_range:
            delta = nearest(delta, space if space.dim else None, -x, 1 - x, size, norm.value).value
        perturbed = (x + delta).clamp(0, 1) if in_range else x + delta
        report(2, 3, "measuring what they change")
        evidence = verify(network, x, perturbed)
    check_finite(evidence, f"a perturbation of size {size:g}")
    unchanged = int((perturbed == x).flatten(1).all(1).sum())
    settings: dict[str, Any] = {
        "model": network.name,
        "kind": kind.value,
        "size": size,
        "norm": norm.value,
        "in_range": in_range,
        "seed": seed,
    }
    names = [image.name for image in named]
    write_images(
        out, perturbed.numpy(), metadata={**{k: str(v) for k, v in settings.items()}, "names": " ".join(names)}
    )
    if preview is not None:
        for name, image in zip(names, perturbed, strict=True):
            write_png(preview / f"{name}.png", image.clamp(0, 1).numpy())
    screen = console(json)
    screen.print(f"{len(named)} perturbed image{'s' * (len(named) != 1)} in {escape(str(out))}")
    screen.print(f"  largest pixel change   {evidence.max_perturbation:.3g} of the image range")
    screen.print(f"  largest output change  {evidence.output_change()}")
    screen.print(f"  labels changed         {evidence.labels_changed} of {evidence.pairs}")
    if unchanged and size > 0:
        screen.print(
            f"  left as they were      {unchanged} of {evidence.pairs}: nothing harmless was found within [0, 1]"
        )
    write_json({"out": str(out), "names": names, **settings, "unchanged": unchanged, **evidence.to_dict()}, json)


def _perturbation(
    kind: Kind, network: Network, space: Subspace, x: Tensor, size: float, norm: Any, generator: torch.Generator
) -> Tensor:
    if kind == Kind.least_harmful:
        direction = least_harmful(front(network)).directions
        return rescale(direction, size, norm).expand(len(x), *space.shape)
    if kind == Kind.noise:
        return harmless_noise(space, len(x), size, norm, generator)
    if space.dim == 0:
        raise ValueRangeError(f"the space of harmless perturbations is {{0}}; take --kind {Kind.least_harmful.value}")
    attack = pgd(network.module, x.to(network.dtype), network.labels(x), generator=generator)
    return rescale(space.project(attack.perturbation.double()), size, norm)
