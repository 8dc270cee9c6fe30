"""``blindspace learn DIR --network NAME --test DATA``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file

from ..errors import ValueRangeError, real
from ..files import sha256, writing
from ..learning import CONTROLS, Learnt, PerturbedSet, controlled, read_set
from ..learning import learn as run_learning
from ..learning.sources import labelled_images
from ..maps.linear_map import as_device
from ..networks import PAPER, SMALL
from ..networks.trainable import trainable
from .options import LARGEST_SEED, DeviceOption, JsonOption, writable_file
from .output import console, progress, write_json


def learn(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Train on the set in this folder, which mislabel made.")
    ],
    network: Annotated[
        str,
        typer.Option(
            "--network",
            "-n",
            metavar="NAME",
            help=f"Train this network, such as convnet@mnist: one of {', '.join((*SMALL, *PAPER))}, with @ and a "
            "data set whose images have the same shape.",
        ),
    ],
    test: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Measure the accuracy on the test images of this data set, such as mnist, after every epoch; it "
            "chooses "
            "nothing. mnist:samples are the 200 images that come with the package.",
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Put a control in the place of the perturbations: {', '.join(CONTROLS)}."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Train for this number of epochs; that of the network if not given.", min=1)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Train at this learning rate; that of the network if not given.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Take this number of samples per step; that of the network if not given.", min=1)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write the weights to this .safetensors file."),
    ] = None,
    device: DeviceOption = "cpu",
    json: JsonOption = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Draw initial weights and order from this seed; not that of the attacked network, as equal "
            "weights teach too.",
            min=0,
            max=LARGEST_SEED,
        ),
    ] = 1,
) -> None:
    """Train a network on perturbed samples with wrong labels, and see what it learns of clean images."""
    if out is not None and out.suffix != ".safetensors":
        raise ValueRangeError(f"weights are written to a .safetensors file, got {out}")
    writable_file(out)
    own, place = trainable(network).recipe, as_device(device)
    recipe = replace(
        own,
        epochs=epochs or own.epochs,
        learning_rate=own.learning_rate
        if learning_rate is None
        else real(learning_rate, "--learning-rate", above=True),
        batch_size=batch_size or own.batch_size,
        seed=seed,
        images=None,
    )
    clean = None if test is None else labelled_images(test, "test")
    found = read_set(folder)
    added = found.perturbation
    if control is not None:
        added = controlled(control, added, found.targets, torch.Generator().manual_seed(seed))
    with progress(f"training {network}") as report:
        images = found.images if control is None else found.originals + added
        learnt = run_learning(network, images.to(place), found.targets, recipe, clean, report)
    if out is not None:
        with writing(out) as temporary:
            save_file(
                {name: value.contiguous() for name, value in learnt.network.module.state_dict().items()}, temporary
            )
    screen = console(json)
    what = "perturbed samples" if control is None else f"samples with the control: {control}"
    screen.print(f"[bold]{network}[/bold] trained on {len(found.targets)} {what}")
    screen.print(f"  the attack succeeds on  {found.summary.success:.1%}")
    for line in lines(learnt, found):
        screen.print(line)
    write_json(
        {
            "network": network,
            "control": control,
            "test": test,
            "recipe": recipe.to_dict(),
            "curve": [each._asdict() for each in learnt.curve],
            "last": learnt.last,
            "best": learnt.best,
            # Under the name of the weights, the file is their card, which must have their hash.
            "sha256": None if out is None else sha256(out),
            "set": asdict(found.summary),
        },
        json,
    )


def lines(learnt: Learnt, found: PerturbedSet) -> list[str]:
    """What was learnt, in lines of text."""
    first = [f"  of its targets          {learnt.curve[-1].training:.1%} are answered in the last epoch"]
    if learnt.last is None or learnt.best is None:
        return first
    guessing = 1 / found.summary.classes
    epoch = next(n for n, each in enumerate(learnt.curve) if each.test == learnt.best)
    return [
        *first,
        f"  clean test images       {learnt.last:.1%} after the last epoch; by guessing {guessing:.1%}",
        f"                          {learnt.best:.1%} after epoch {epoch + 1}, the best, which the test labels choose",
        "  after each epoch        " + " ".join(f"{each.test:.1%}" for each in learnt.curve if each.test is not None),
    ]
