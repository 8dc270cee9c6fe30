"""``blindspace mislabel MODEL IMAGES --out DIR``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..learning import ATTACKS, OfTarget, SetSettings, mislabel_set
from .options import (
    AddressOption,
    Engine,
    EngineOption,
    JsonOption,
    MaskOption,
    NetworkOptions,
    SeedOption,
    WorkersOption,
    with_network,
    writable_folder,
)
from .output import console, progress, write_json


class TargetName(StrEnum):
    """The classes that perturbed samples carry."""

    random = "random"
    next = "next"


@with_network
def mislabel(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Attack this network; audit --help says how it is named.")
    ],
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES",
            help="Perturb the training images of a data set, such as mnist, or its mnist:test or mnist:samples; "
            "samples, "
            "the embedded ones of the data set that MODEL was trained on; uniform or "
            "gaussian, which is noise; or a file or folder, whose classes are those that MODEL sees.",
        ),
    ],
    reader: NetworkOptions,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Write the set to this folder; an interrupted run is resumed there.",
            callback=writable_folder,
        ),
    ],
    targets: Annotated[
        TargetName, typer.Option(help="Label the samples as another class at random, or as the next one.")
    ] = TargetName.random,
    attack: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Attack by one of these: "
            + "; ".join(f"{rule.name}, {rule.summary}" for rule in ATTACKS.values())
            + ".",
        ),
    ] = "l2",
    eps: Annotated[
        float | None,
        typer.Option(
            help="Attack within this radius, in units of the image range, or with L0 this number of values; if "
            "not given "
            "2, 0.3 and 10 for images of one channel, else 0.5, 0.1 and 150."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Take this number of steps; 10 if not given, and one per value for L0.", min=1)
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(help="Take this number of images, the first ones; all if not given, and 10,000 of noise.", min=1),
    ] = None,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="Compute gradients in bfloat16: faster on processors that have it.")
    ] = False,
    mask: MaskOption = None,
    per_shard: Annotated[int, typer.Option(help="Write this number of images to one file.", min=1)] = 1000,
    workers: WorkersOption = None,
    engine: EngineOption = Engine.local,
    address: AddressOption = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Make a data set of perturbed samples with wrong labels, resumable at any moment.

    DIR gets files of samples, and manifest.json with success and distances for each target class. learn trains a
    network on it.
    """
    settings = SetSettings(
        network=reader.named(),
        source=images,
        count=count,
        targets=targets.value,
        attack=attack,
        eps=eps,
        steps=steps,
        seed=seed,
        per_shard=per_shard,
        bfloat16=bfloat16,
        mask=mask,
    )
    with progress("perturbing") as report:
        summary = mislabel_set(settings, out, workers=workers, engine=engine.value, address=address, report=report)
    screen = console(json)
    screen.print(f"[bold]{summary.samples}[/bold] perturbed samples in {out}", markup=True)
    if summary.done_before:
        screen.print(f"  done before  {summary.done_before} of {summary.shards} shards")
    if summary.images_per_second:
        screen.print(f"  speed        {summary.images_per_second:.3g} samples per second")
    screen.print(f"  success      {summary.success:.1%} are seen as their target\n")
    screen.print("  target  samples  success    median L0       L2      L∞")
    for each in summary.by_target:
        screen.print(_line(each))
    write_json(summary.to_dict(), json)


def _line(of: OfTarget) -> str:
    return f"  {of.target:>6}  {of.count:>7}  {of.success:>7.1%}  {of.l0:>11g}  {of.l2:>7.3f}  {of.linf:>6.3f}"
