"""``blindspace perturb IMAGES``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..data import write_png
from ..data.encoding import FORMATS
from ..errors import ValueRangeError
from ..evidence import verify
from ..perturbations import kind_named, kinds
from ..perturbations import perturb as make
from ..subspaces._mask_argument import as_mask
from .images import check_finite, load_images, stack
from .options import (
    FontOption,
    ImagesArgument,
    JsonOption,
    MaskOption,
    NetworkOptions,
    SeedOption,
    with_network,
    writable_folder,
)
from .output import console, progress, write_json
from .removal import check_mask, check_networks, digest_of, show_left, stated_salt, with_noise
from .saving import check_out, saved
from .secrets import KeyFileOption, SaltOption, read_key


class NormName(StrEnum):
    """How the size of a perturbation is measured."""

    linf = "linf"
    l2 = "l2"


@with_network
def perturb(
    images: ImagesArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Write all of them to this .npz or .safetensors file, or one file each to this folder."
        ),
    ],
    reader: NetworkOptions,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="MODEL[=FILE]",
            help="Let this further network notice nothing either, perhaps with a file of weights; may be repeated.",
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Add one of these: " + "; ".join(f"{k.name}, {k.summary}" for k in kinds()) + ".",
        ),
    ] = "noise",
    size: Annotated[
        float | None,
        typer.Option(
            help="Give each perturbation this size, in units of the image range, 0.5 unless given; through a layer, as "
            "a share of the image, 0.1 unless given.",
            min=0,
        ),
    ] = None,
    norm: Annotated[NormName, typer.Option(help="Measure the size in this norm.")] = NormName.linf,
    in_range: Annotated[
        bool, typer.Option("--in-range", help="Keep every pixel in [0, 1]; perturbations may come out smaller.")
    ] = False,
    text: Annotated[str | None, typer.Option(help="Let people read this text in a decoy.")] = None,
    font: FontOption = None,
    target: Annotated[str | None, typer.Option(metavar="IMAGE", help="Let people see this picture in a decoy.")] = None,
    through: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help="Hide the change from this layer; the kind is then through. An image costs tens to thousands of "
            "runs of the network.",
        ),
    ] = None,
    mask: MaskOption = None,
    key_file: KeyFileOption = None,
    salt: SaltOption = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove keyed noise that was added without --in-range, if it is there.")
    ] = False,
    members: Annotated[int, typer.Option(help="Make this number of perturbations per image in a family.", min=1)] = 4,
    file_format: Annotated[
        str,
        typer.Option("--format", help=f"Write the files in a folder as {', '.join(FORMATS)}; png has eight bits."),
    ] = "png",
    preview: Annotated[
        Path | None,
        typer.Option(
            help="Write 8-bit PNGs to look at to this folder; they are rounded, and no evidence.",
            callback=writable_folder,
        ),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Add perturbations that the network cannot notice, and measure in the files written that it does not.

    With --remove, exit code 1 if an image does not contain the noise; such images are not written.
    """
    kind = "through" if through is not None and kind == "noise" else kind
    chosen = kind_named(kind)
    in_range, size = in_range or chosen.always_in_range, chosen.size if size is None else size
    check_out(out, file_format, in_range)
    if remove and "key" not in chosen.settings:
        raise ValueRangeError(f"--remove takes keyed noise off, not {kind}; add --kind keyed")
    if remove and in_range:
        raise ValueRangeError("noise kept within [0, 1] cannot be removed; leave --in-range out")
    for option, given in (("text", text), ("font", font), ("target", target)):
        if given and option not in chosen.settings:
            raise ValueRangeError(f"--{option} belongs to a decoy, not to {kind}; add --kind decoy")
    if through is not None and "through" not in chosen.settings:
        raise ValueRangeError(f"--through is a kind of its own, not {kind}; leave --kind out")
    if remove:
        salt = stated_salt(images, {"kind": kind, "size": size, "norm": norm.value}, salt)
    key, salt_used = read_key(key_file, salt, fresh=not remove) if "key" in chosen.settings else (None, None)
    network = reader.load()
    others = [reader.load_other(name) for name in also or ()]
    inside = None if mask is None else as_mask(mask, network.input_shape)
    named = load_images(images, network, pixel_range=not remove)
    left: dict[str, str] = {}
    if remove and key is not None:
        check_networks(images, network, others)
        check_mask(images, inside)
        total = len(named)
        named, left = with_noise(named, network, others, key, size, norm.value, inside)
        if left:
            show_left(console(json), left, total)
        if not named:
            write_json({"out": None, "names": [], "not_removed": left}, json)
            raise typer.Exit(1)
    with progress("perturb") as report:
        report(0, 3, "perturbations")
        made = make(
            stack(named, network),
            network,
            kind,
            size=size,
            norm=norm.value,
            in_range=in_range,
            seed=seed,
            names=[image.name for image in named],
            target=None if target is None else stack(load_images([target], network), network)[0],
            text=text,
            font=None if font is None else str(font),
            key=key,
            members=members,
            through=through,
            remove=remove,
            also=others,
            mask=mask,
            progress=report,
        )
        report(2, 3, "measuring what they change")
        x, names = made.originals, list(made.names)
        settings: dict[str, Any] = {
            "model": network.name,
            "also": [other.name for other in others],
            "kind": kind,
            "size": size,
            "norm": norm.value,
            "in_range": in_range,
            "seed": seed,
            "salt": salt_used,
            **({} if inside is None else {"mask": mask, "mask_sha256": digest_of(inside)}),
            **({"through": through} if through is not None else {}),
            **({"removed": True} if remove else {}),
        }
        if not in_range:  # what overflows is not written
            check_finite(verify(network, x, made.images), f"a perturbation of size {size:g}")
        perturbed = saved(out, file_format, made, settings).to(x.device)
        evidence = [verify(each, x, perturbed) for each in (network, *others)]
    unchanged = int((perturbed == x).flatten(1).all(1).sum())
    if preview is not None:
        for name, image in zip(names, perturbed, strict=True):
            write_png(preview / f"{name}.png", image.clamp(0, 1).cpu().numpy())
    screen = console(json)
    many, without = "s" * (len(names) != 1), " without their keyed noise" * remove
    screen.print(f"{len(names)} {'' if remove else 'perturbed '}image{many}{without} in {escape(str(out))}")
    if salt_used is not None and not remove:
        # What was moved to keep the pixel range is not the noise alone.
        use = "recognise the noise" if in_range else "take the noise off"
        screen.print(f"  salt                   {salt_used}: no secret, needed beside the key to {use}")
    if inside is not None:
        changed = int((perturbed != x).flatten(1).any(0).cpu().reshape(inside.shape)[~inside].sum())
        screen.print(
            f"  within the mask        {int(inside.sum())} of {inside.numel()} values; {changed} others changed"
        )
    screen.print(f"  largest pixel change   {evidence[0].max_perturbation:.3g} of the image range")
    screen.print(f"  mean squared change    {float((perturbed - x).square().mean()):.4f}")
    for each, other in zip(evidence, (network, *others), strict=True):
        of = f" of {escape(other.name)}" if others else ""
        screen.print(f"  largest output change  {each.output_change()}{of}")
        screen.print(f"  labels changed         {each.labels()}")
    if unchanged and size > 0:
        screen.print(f"  left as they were      {unchanged} of {len(names)}: nothing harmless was found within [0, 1]")
    result = {"out": str(out), "names": names, **settings, "unchanged": unchanged, **evidence[0].to_dict()}
    if others:
        result["others"] = [{"model": o.name, **e.to_dict()} for o, e in zip(others, evidence[1:], strict=True)]
    if remove:
        result["not_removed"] = left
    write_json(result, json)
    if left:
        raise typer.Exit(1)
