"""``blindspace perturb IMAGES``."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.markup import escape
from torch import Tensor

from ..attacks import pgd
from ..data import write_png
from ..data.encoding import FORMATS
from ..errors import ValueRangeError
from ..evidence import verify
from ..networks import Network, front, harmless, load
from ..perturbations import Key, Recipe, keyed_noise, least_harmful, rescale
from ..perturbations.recipe import KINDS
from ..subspaces import Subspace, nearest
from .images import check_finite, load_images, stack
from .options import (
    ImagesArgument,
    InputShapeOption,
    JsonOption,
    ModelOption,
    PreprocessOption,
    RandomWeightsOption,
    SeedOption,
    WeightsOption,
    writable_folder,
)
from .output import console, progress, write_json
from .saving import check_out, saved
from .secrets import KeyFileOption, SaltOption, read_key


class Kind(str, Enum):
    """What is added to an image."""

    noise = "noise"
    parallel = "parallel"
    least_harmful = "least-harmful"
    largest = "largest"
    decoy = "decoy"
    keyed = "keyed"
    family = "family"


ALWAYS_IN_RANGE = (Kind.largest, Kind.decoy)


class NormName(str, Enum):
    """How the size of a perturbation is measured."""

    linf = "linf"
    l2 = "l2"


def perturb(
    images: ImagesArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="A .npz or .safetensors file for all of them, or a folder for one file each."),
    ],
    model: ModelOption = "cifar-resnet",
    also: Annotated[
        list[str] | None, typer.Option("--also", metavar="MODEL", help="A further network that shall notice nothing.")
    ] = None,
    weights: WeightsOption = None,
    random_weights: RandomWeightsOption = False,
    input_shape: InputShapeOption = None,
    preprocess: PreprocessOption = None,
    kind: Annotated[
        Kind,
        typer.Option(
            help="Random harmless noise; the harmless part of a PGD attack; the least harmful one; the largest within "
            "[0, 1]; a decoy that people take for a text or picture; noise from a key; or several perturbations with "
            "the effect of one PGD attack."
        ),
    ] = Kind.noise,
    size: Annotated[float, typer.Option(help="Of each perturbation, in units of the image range.", min=0)] = 0.5,
    norm: Annotated[NormName, typer.Option(help="How the size is measured.")] = NormName.linf,
    in_range: Annotated[
        bool, typer.Option("--in-range", help="Keep every pixel in [0, 1]; may come out smaller.")
    ] = False,
    text: Annotated[str | None, typer.Option(help="What people shall read in a decoy.")] = None,
    target: Annotated[str | None, typer.Option(metavar="IMAGE", help="What people shall see in a decoy.")] = None,
    key_file: KeyFileOption = None,
    salt: SaltOption = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take keyed noise off again, where it was added without --in-range.")
    ] = False,
    members: Annotated[int, typer.Option(help="Of a family, for each image.", min=1)] = 4,
    format: Annotated[
        str, typer.Option(help=f"Of the files in a folder: {', '.join(FORMATS)}. png has eight bits.")
    ] = "png",
    preview: Annotated[
        Path | None,
        typer.Option(help="Folder for 8-bit PNGs to look at (rounded: no evidence).", callback=writable_folder),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Add perturbations that the network cannot notice, and measure in the files written that it does not."""
    in_range = in_range or kind in ALWAYS_IN_RANGE
    check_out(out, format, in_range)
    if remove and kind != Kind.keyed:
        raise ValueRangeError(f"--remove takes keyed noise off, not {kind.value}; add --kind keyed")
    if remove and in_range:
        raise ValueRangeError("noise kept within [0, 1] cannot be taken off; leave --in-range out")
    if (text or target) and kind != Kind.decoy:
        raise ValueRangeError(f"--text and --target are of a decoy, not of {kind.value}; add --kind decoy")
    # The kinds that need the network itself share the other settings.
    recipe = Recipe(kind.value if kind.value in KINDS else "noise", size, norm.value, in_range, seed)  # type: ignore[arg-type]
    recipe = recipe if text is None else replace(recipe, text=text)
    key, salt_used = read_key(key_file, salt, fresh=not remove) if kind == Kind.keyed else (None, None)
    network = load(model, input_shape, weights=weights, preprocess=preprocess, random_weights=random_weights)
    others = [load(name, input_shape, preprocess=preprocess) for name in also or ()]
    named = load_images(images, network, pixel_range=not remove)
    x, names = stack(named), [image.name for image in named]
    picture = None if target is None else stack(load_images([target], network))[0]
    with progress("perturb") as report:
        report(0, 3, "what the network cannot see")
        space = harmless(network, *others)
        report(1, 3, "perturbations")
        if remove:
            perturbed = x - keyed_noise(space, _given(key), names, size, norm.value)
        elif kind.value in KINDS:
            perturbed = recipe.make(space, x, names, key, picture, report)
        else:
            x, names, perturbed = _from_network(kind, network, space, x, names, members, recipe)
        report(2, 3, "measuring what they change")
        settings: dict[str, Any] = {
            "model": network.name,
            "also": [other.name for other in others],
            "kind": kind.value,
            "size": size,
            "norm": norm.value,
            "in_range": in_range,
            "seed": seed,
            "salt": salt_used,
        }
        if not in_range:  # what overflows is not written
            check_finite(verify(network, x, perturbed), f"a perturbation of size {size:g}")
        perturbed = saved(out, format, space, x, perturbed, names, settings)
        evidence = [verify(each, x, perturbed) for each in (network, *others)]
    unchanged = int((perturbed == x).flatten(1).all(1).sum())
    if preview is not None:
        for name, image in zip(names, perturbed, strict=True):
            write_png(preview / f"{name}.png", image.clamp(0, 1).numpy())
    screen = console(json)
    screen.print(f"{len(names)} perturbed image{'s' * (len(names) != 1)} in {escape(str(out))}")
    if salt_used is not None and not remove:
        # What was moved to keep the pixel range is not the noise alone.
        use = "recognise the noise" if in_range else "take the noise off"
        screen.print(f"  salt                   {salt_used}: no secret, needed beside the key to {use}")
    screen.print(f"  largest pixel change   {evidence[0].max_perturbation:.3g} of the image range")
    screen.print(f"  mean squared change    {float((perturbed - x).square().mean()):.4f}")
    for each, other in zip(evidence, (network, *others), strict=True):
        of = f" of {escape(other.name)}" if others else ""
        screen.print(f"  largest output change  {each.output_change()}{of}")
        screen.print(f"  labels changed         {each.labels_changed} of {each.pairs}")
    if unchanged and size > 0:
        screen.print(f"  left as they were      {unchanged} of {len(names)}: nothing harmless was found within [0, 1]")
    result = {"out": str(out), "names": names, **settings, "unchanged": unchanged, **evidence[0].to_dict()}
    if others:
        result["others"] = [{"model": o.name, **e.to_dict()} for o, e in zip(others, evidence[1:], strict=True)]
    write_json(result, json)


def _given(key: Key | None) -> Key:
    assert key is not None  # read for this kind
    return key


def _from_network(
    kind: Kind, network: Network, space: Subspace, x: Tensor, names: list[str], members: int, recipe: Recipe
) -> tuple[Tensor, list[str], Tensor]:
    """What needs the network itself, and so is no recipe for collections.

    Returns:
        The images to start from, their names, and the perturbed ones. A family starts from attacked images, each once
        a member.
    """
    if kind == Kind.least_harmful:
        direction = least_harmful(front(network)).directions.expand(len(x), *space.shape)
        return x, names, _kept(x, direction, space if space.dim else None, recipe)
    if space.dim == 0:
        raise ValueRangeError(f"the space of harmless perturbations is {{0}}; take --kind {Kind.least_harmful.value}")
    generator = torch.Generator().manual_seed(recipe.seed)
    attack = pgd(network.module, x.to(network.dtype), network.labels(x), generator=generator)
    delta = attack.perturbation.double()
    if kind == Kind.parallel:
        return x, names, _kept(x, space.project(delta), space, recipe)
    # All members have the orthogonal component of one attack, and with it one effect (theorem 4).
    start = (x + delta).clamp(0, 1).repeat_interleave(members, 0)
    names = [f"{name}-{member}" for name in names for member in range(members)]
    return start, names, _kept(start, space.sample(len(start), generator), space, recipe)


def _kept(x: Tensor, direction: Tensor, space: Subspace | None, recipe: Recipe) -> Tensor:
    delta = rescale(direction, recipe.size, recipe.norm)
    if not recipe.in_range:
        return x + delta
    return (x + nearest(delta, space, -x, 1 - x, recipe.size, recipe.norm).value).clamp(0, 1)
