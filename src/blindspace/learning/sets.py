"""Perturbed data sets as files: what is in them, and reading them.

A set is a folder of shards, safetensors files of samples with what is known of each, and ``manifest.json`` with the
settings, success and distances by target class, and the hash of every shard.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .._html import Shown
from ..errors import FileError, ValueRangeError, first_line, integer, real
from ..files import as_path, read_bytes, sha256, writing
from ..jobs.journal import inside
from .perturbed import Mislabelled, OfTarget, by_target

MANIFEST = "manifest.json"

KINDS = {
    "images": torch.float32,
    "perturbation": torch.float32,
    "targets": torch.int64,
    "labels": torch.int64,
    "success": torch.bool,
    "l0": torch.int64,
    "l2": torch.float32,
    "linf": torch.float32,
}
"""The tensors of a shard: perturbed images, what was added, and per sample the target, the true class (−1 where none is
known), whether the attacked network sees the target, and the norms of the perturbation."""


@dataclass(frozen=True)
class SetSummary(Shown):
    """What a perturbed data set is.

    Attributes:
        samples: Number of samples.
        shape: Shape of one sample.
        classes: Number of classes of the attacked network.
        success: Share of samples in which the attacked network sees the target.
        by_target: The same with distances for each target class.
        settings: The settings that it was made with.
        shards: Number of shards.
        done_before: Number of shards that an earlier run had finished.
        images_per_second: Speed of this run; 0 if nothing was left to do.
    """

    samples: int
    shape: tuple[int, ...]
    classes: int
    success: float
    by_target: tuple[OfTarget, ...]
    settings: dict[str, Any]
    shards: int
    done_before: int = 0
    images_per_second: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class PerturbedSet:
    """A perturbed data set, read.

    Attributes:
        images: float32 ``(N, *shape)`` in [0, 1].
        perturbation: What was added to the images, float32 ``(N, *shape)``.
        targets: The labels that the samples carry, int64 ``(N,)``.
        labels: True classes, int64 ``(N,)``, −1 where none is known: of noise.
        success: Whether the attacked network sees the target, bool ``(N,)``.
        summary: What the set is.
    """

    images: Tensor
    perturbation: Tensor
    targets: Tensor
    labels: Tensor
    success: Tensor
    summary: SetSummary

    @property
    def originals(self) -> Tensor:
        """The images before they were perturbed, float32 ``(N, *shape)``, up to rounding."""
        return self.images - self.perturbation


def tensors_of(made: Mislabelled, labels: Tensor | None) -> dict[str, Tensor]:
    """The tensors of a shard, by the names and dtypes of ``KINDS``."""
    known = torch.full_like(made.targets, -1) if labels is None else labels
    found = {name: getattr(made, name) for name in KINDS if name != "labels"} | {"labels": known}
    return {name: found[name].to("cpu", kind).contiguous() for name, kind in KINDS.items()}


def summarise(
    folder: Path,
    shards: Sequence[str],
    shape: tuple[int, ...],
    classes: int,
    settings: dict[str, Any],
    done_before: int,
    speed: float,
) -> SetSummary:
    """Write the manifest of a set whose shards are all there."""
    read = [_shard(folder / name, ("targets", "success", "l0", "l2", "linf")) for name in shards]
    targets, success, *distances = (torch.cat([each[name] for each in read]) for name in read[0])
    summary = SetSummary(
        samples=len(targets),
        shape=shape,
        classes=classes,
        success=float(success.double().mean()),
        by_target=by_target(targets, success, *distances),
        settings=settings,
        shards=len(shards),
        done_before=done_before,
        images_per_second=speed,
    )
    told = {name: value for name, value in summary.to_dict().items() if name not in _OF_A_RUN}
    whole = {**told, "files": {name: sha256(folder / name) for name in shards}}
    with writing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return summary


_OF_A_RUN = ("done_before", "images_per_second")


def read_set(folder: str | Path) -> PerturbedSet:
    """Read a perturbed data set that ``mislabel_set`` made.

    Args:
        folder: Its folder.

    Raises:
        FileError: The set is missing, unfinished, or a file of it is damaged or not the one that its manifest names.

    Examples:
        >>> import torch, blindspace as bs
        >>> from blindspace.learning import SetSettings
        >>> from blindspace.networks import Named
        >>> settings = SetSettings(Named("mnist-mlp"), "mnist:samples", attack="l0", steps=2)
        >>> _ = bs.mislabel_set(settings, "perturbed", workers=0)
        >>> bs.read_set("perturbed").images.shape
        torch.Size([200, 1, 28, 28])
    """
    folder = as_path(folder, "the folder of a perturbed data set")
    path = folder / MANIFEST
    if not path.is_file():
        raise FileError(f"{folder} is no finished perturbed data set: {path} is missing; make it with mislabel")
    try:
        told = json.loads(read_bytes(path))
        files = {str(name): str(digest) for name, digest in told.pop("files").items()}
        summary = _summary(told)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ValueRangeError) as error:
        raise FileError(f"{path} is no manifest of a perturbed data set, or is damaged; make the set again") from error
    for name, digest in files.items():
        if not inside(name) or not (folder / name).is_file() or sha256(folder / name) != digest:
            raise FileError(f"{folder / name} is missing, or not the file that {path} names; make the set again")
    if not files:
        raise FileError(f"{path} names no shards; make the set again")
    names = ("images", "perturbation", "targets", "labels", "success")
    read = [_shard(folder / name, names) for name in files]
    count, shapes = sum(len(each["images"]) for each in read), {each["images"].shape[1:] for each in read}
    if count != summary.samples or shapes != {summary.shape}:
        raise FileError(f"the files of {folder} are not the {summary.samples} samples of {path}; make the set again")
    whole = {name: torch.cat([each[name] for each in read]) for name in names}
    if not bool(((whole["targets"] >= 0) & (whole["targets"] < summary.classes)).all()):
        raise FileError(f"a target in {folder} is none of its {summary.classes} classes; make the set again")
    return PerturbedSet(**whole, summary=summary)


def _summary(told: dict[str, Any]) -> SetSummary:
    """The summary in a manifest, checked.

    Raises:
        ValueRangeError, ValueError, KeyError, TypeError, AttributeError: It is none.
    """
    if set(told) != {each.name for each in fields(SetSummary)} - {*_OF_A_RUN} or not isinstance(told["settings"], dict):
        raise ValueError("other entries")
    return SetSummary(
        samples=integer(told["samples"], "samples", 1),
        shape=tuple(integer(size, "a size", 1) for size in told["shape"]),
        classes=integer(told["classes"], "classes", 2),
        success=real(told["success"], "success"),
        by_target=tuple(
            OfTarget(
                integer(each["target"], "a target", 0),
                integer(each["count"], "a count", 1),
                *(real(each[name], name) for name in ("success", "l0", "l2", "linf")),
            )
            for each in told["by_target"]
        ),
        settings=told["settings"],
        shards=integer(told["shards"], "shards", 1),
    )


def _shard(path: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """Some tensors of a shard, checked.

    Raises:
        FileError: It is damaged, or no shard.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise FileError(f"{path} is no shard of a perturbed data set, or damaged ({first_line(error)})") from error
    shapes = {len(tensor.shape) and len(tensor) for tensor in found.values()}
    alike = found.get("images", torch.empty(0)).shape == found.get("perturbation", torch.empty(0)).shape
    if any(tensor.dtype != KINDS[name] for name, tensor in found.items()) or len(shapes) != 1 or not alike:
        raise FileError(f"{path} is no shard of a perturbed data set; make the set again")
    return found
