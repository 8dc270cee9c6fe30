"""``blindspace manifold IMAGES``."""

from __future__ import annotations

import json as text
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.markup import escape
from torch import Tensor

from ..attacks import fgsm, minimal_norm, pgd
from ..data import NAMES, SAMPLES_WORD, load, read_images, write_images
from ..errors import FileError, ShapeError, ValueRangeError
from ..experiments.common.intervals import over_random
from ..manifolds import Manifold, on_off
from ..manifolds import manifold as make
from ..manifolds.choice import FITTED
from ..networks import AUTOENCODERS, Network
from ..progress import Progress
from ..report.on_off import ROWS, Split, draw, sentences, split_of, table
from ..report.picture import check_picture
from ..subspaces import Subspace
from .images import images_of_shape, matched, stack
from .options import (
    ImagesArgument,
    JsonOption,
    MaskOption,
    NetworkOptions,
    SeedOption,
    with_network,
    writable_file,
    writable_folder,
)
from .output import console, progress, write_json
from .perturb import NormName
from .saving import ARRAY_FILES

EPS = {NormName.linf: 8 / 255, NormName.l2: 0.5}
"""Radius of an attack, if not given."""


class AttackName(StrEnum):
    """Attacks whose perturbations can be split."""

    pgd = "pgd"
    fgsm = "fgsm"
    minimal_norm = "minimal-norm"


class Part(StrEnum):
    """Spaces that an attack can be confined to: the tangent spaces, or the normal spaces."""

    on = "on"
    off = "off"


@dataclass(frozen=True)
class Attack:
    """An attack as its options state it."""

    name: AttackName
    eps: float | None
    norm: NormName | None
    confined: Part | None
    unboxed: bool
    mask: str | None

    def __post_init__(self) -> None:
        minimal = self.name is AttackName.minimal_norm
        if minimal and (self.eps is not None or self.norm is NormName.linf):
            raise ValueRangeError("a minimal norm has no --eps, and is measured in L2; leave --eps and --norm out")
        if self.unboxed and not minimal:
            raise ValueRangeError(f"--unboxed belongs to minimal-norm, not to {self.name.value}")

    def run(self, network: Network, x: Tensor, space: Subspace | None, seed: int) -> tuple[Tensor, dict[str, Any]]:
        """Attack the network's own labels; the perturbations, and facts about the attack."""
        facts: dict[str, Any] = {"attack": self.name.value, "confined": self.confined and self.confined.value}
        if self.mask is not None:
            facts["mask"] = self.mask
        labels = network.labels(x)
        if self.name is AttackName.minimal_norm:
            found = minimal_norm(network, x.to(network.dtype), labels, space, boxed=not self.unboxed, mask=self.mask)
            feasible = [value if value < float("inf") else None for value in found.feasible.tolist()]
            facts |= {"unboxed": self.unboxed, "failed": int((~found.success).sum()), "feasible": feasible}
            return found.perturbation, facts | {"residual": found.residual}
        norm = self.norm or NormName.linf
        eps = EPS[norm] if self.eps is None else self.eps
        if self.name is AttackName.pgd:
            draw = torch.Generator().manual_seed(seed)
            made = pgd(network, x, labels, eps, norm=norm.value, subspace=space, generator=draw, mask=self.mask)
        else:
            made = fgsm(network, x, labels, eps, norm=norm.value, subspace=space, mask=self.mask)
        facts |= {"eps": eps, "norm": norm.value, "failed": int((~made.success).sum())}
        return made.perturbation, facts | {"residual": made.residual}


def _arrays(path: Path | None) -> Path | None:
    if path is not None and path.suffix not in ARRAY_FILES:
        raise FileError(f"{path} must end in {' or '.join(ARRAY_FILES)}")
    return writable_file(path)


@with_network
def manifold(
    images: ImagesArgument,
    reader: NetworkOptions,
    kind: Annotated[
        str,
        typer.Option(
            "--manifold",
            metavar="NAME",
            help=f"Split along this manifold: {', '.join(AUTOENCODERS)}; {' or '.join(FITTED)}, fitted to --fit.",
        ),
    ],
    fit: Annotated[
        str | None,
        typer.Option(metavar="IMAGES", help=f"Fit to these images: {', '.join(NAMES)}, a file or a folder."),
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Fit a manifold of this dimension.", min=1)] = None,
    perturbed: Annotated[
        list[str] | None,
        typer.Option(help="Read the same images, perturbed; the perturbation is the difference. May be repeated."),
    ] = None,
    attack: Annotated[
        AttackName | None, typer.Option(help="Attack MODEL instead, away from the labels that it gives.")
    ] = None,
    eps: Annotated[
        float | None,
        typer.Option(
            help="Attack within this radius by pgd and fgsm, in units of the image range; 8/255 in linf and 0.5 "
            "in l2 if not given.",
            min=0,
        ),
    ] = None,
    norm: Annotated[NormName | None, typer.Option(help="Measure the radius in this norm.")] = None,
    confined: Annotated[
        Part | None, typer.Option(help="Confine the attack to the tangent spaces (on) or to their complements (off).")
    ] = None,
    mask: MaskOption = None,
    unboxed: Annotated[bool, typer.Option("--unboxed", help="Let images of minimal-norm leave [0, 1].")] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="Attack this network, or compare its labels."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Write one picture per image to this folder: x, x + d, x + on, x + off, and the perturbations "
            "amplified.",
            callback=writable_folder,
        ),
    ] = None,
    parts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the arrays to this .npz or .safetensors file: images (perturbed), original, on and off.",
            callback=_arrays,
        ),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """How much of a perturbation lies along a manifold of images, and what its parts do; there is no exit code 1."""
    if (perturbed is None) == (attack is None):
        raise ValueRangeError("give --perturbed with the perturbed images, or --attack, one of the two")
    if attack is None and any(given is not None for given in (eps, norm, confined, mask)):
        raise ValueRangeError("--eps, --norm, --confined and --mask belong to an attack; add --attack")
    chosen = None if attack is None else Attack(attack, eps, norm, confined, unboxed, mask)
    if chosen is not None and model is None:
        raise ValueRangeError("an attack needs a network: add --model")
    if out is not None:
        check_picture(out / "x.png")
    surface = _manifold(kind, fit, dim)
    network = None if model is None else reader.load()
    if network is not None and network.input_shape != surface.shape:
        raise ShapeError(f"{network.name} reads {network.input_shape}, {surface.name} is of images {surface.shape}")
    dataset = AUTOENCODERS[kind].recipe.dataset if kind in AUTOENCODERS else fit
    named = images_of_shape(images, surface.name, surface.shape, dataset)
    x, names = stack(named, network), [image.name for image in named]
    facts: dict[str, Any] = {}
    with progress("manifold") as report:
        report(0, 3, "tangent spaces")
        tangents = surface.tangent(x)
        report(1, 3, "perturbations")
        if chosen is None:
            after = matched(named, images_of_shape(perturbed or (), surface.name, surface.shape, dataset, False))
            d = stack(after, network) - x
        else:
            assert network is not None
            space = None if confined is None else tangents if confined is Part.on else tangents.complement
            d, facts = chosen.run(network, x, space, seed)
        report(2, 3, "parts")
        split = split_of(surface, x, on_off(tangents, x, d, network), torch.Generator().manual_seed(seed))
        if out is not None:
            _draw(out, names, split, network, report)
    if parts is not None:
        settings = {"manifold": surface.name, "model": network.name if network else "", "names": text.dumps(names)}
        arrays = {"original": x, "on": split.parts.on, "off": split.parts.off}
        extra = {name: array.cpu().numpy() for name, array in arrays.items()}
        write_images(parts, (x + d).cpu().numpy(), metadata=settings, extra=extra)
    moved = split.moved
    ratio = over_random(split.parts.share[moved], split.random[:, moved], seed) if bool(moved.any()) else None
    screen = console(json)
    screen.print(f"{len(names)} images; {escape(surface.name)}: {surface.dim} of {surface.ambient_dim} dimensions")
    for line in sentences(split, None if confined else str(ratio)):
        screen.print(f"  {line}")
    stuck = int((~moved).sum()) if confined else 0
    if stuck:
        screen.print(
            f"  no room                  for {stuck} of {len(names)} images, pixel range ∩ subspace is nearly {{0}}"
            + ("" if unboxed else "; minimal-norm --unboxed leaves the pixel range")
        )
    if facts.get("failed"):
        screen.print(f"  attack failed            {facts['failed']} of {len(names)} images keep their label")
    screen.print(table(split, names, network.class_name if network else str))
    if len(names) > ROWS:
        screen.print(f"… and {len(names) - ROWS} more; --json has all")
    found = {"manifold": surface.to_dict(), "model": network and network.name, "names": names, **facts}
    found |= {"ranks": tangents.ranks.tolist(), "condition": tangents.condition.tolist(), **split.to_dict()}
    found["over_random"] = None if ratio is None else {"ratio": ratio.value, "interval": ratio.interval}
    write_json(found, json)


def _manifold(kind: str, fit: str | None, dim: int | None) -> Manifold:
    """The manifold that the options state."""
    if kind not in FITTED:
        if fit is not None or dim is not None:
            raise ValueRangeError(f"--fit and --dim belong to {' and '.join(FITTED)}, not to {kind}")
        return make(kind)
    if fit is None or dim is None:
        raise ValueRangeError(f"{kind} is fitted to images: add --fit IMAGES and --dim K")
    if fit in NAMES and not Path(fit).exists():
        return make(kind, images=load(fit, "train").tensor(torch.float32), dim=dim)
    if fit == SAMPLES_WORD and not Path(fit).exists():
        raise ValueRangeError(
            f"--fit {fit} does not say of which data set, and the few images that come with the package are too few to "
            f"fit to; give {', '.join(NAMES)}, a file or a folder"
        )
    shape = read_images([Path(fit)])[0].pixels.shape
    return make(kind, images=stack(images_of_shape([fit], kind, shape, None)), dim=dim)


def _draw(out: Path, names: Sequence[str], split: Split, network: Network | None, report: Progress) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        report(index, len(names), "pictures")
        draw(split, index, network.class_name if network else str, out / f"{name}.png")
