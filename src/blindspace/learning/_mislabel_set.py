"""Make a perturbed data set as files, resumable after a kill at any moment."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import BlindspaceError, FileError, UnknownNameError, ValueRangeError, integer, seed_of, shown
from ..files import as_path, writing
from ..jobs import Done, Journal, Report, carry_out
from ..networks import Named, Network
from ..subspaces._mask_argument import as_mask, mask_hash, mask_text
from .perturbed import mislabel
from .rules import rule_named
from .sets import MANIFEST, SetSummary, summarise, tensors_of
from .sources import content_of, source_named
from .targets import any_targets, next_targets, random_targets

VERSION = 1
"""Version of what is made and how; a set of another one is not continued."""

Targets = Literal["random", "next"]
"""The classes that samples carry: another class at random, or the next one; the targets R and D of Kumano et al."""


@dataclass(frozen=True)
class SetSettings:
    """Everything that a perturbed data set depends on.

    Attributes:
        network: The network that is attacked.
        source: What is perturbed, as ``sources.source_named`` takes it: a data set, whose training images are taken,
            ``uniform`` or ``gaussian`` noise, or a file or folder of images. Where no true classes are known, those
            that the network sees stand for them; noise has none.
        count: Number of images, the first ones; all if None.
        targets: ``random`` or ``next``.
        attack: Name of an attack of ``rules.ATTACKS``.
        eps: Its radius, as for ``mislabel``.
        steps: Its number of steps, as for ``mislabel``.
        seed: Seed of targets and noise.
        per_shard: Number of images per shard.
        bfloat16: Whether gradients are computed in bfloat16, as for ``mislabel``.
        mask: A mask outside which nothing changes, as text: the path of a picture that is white inside, or a box of
            pixels ``x0,y0,x1,y1``; None for none.

    Raises:
        UnknownNameError: There is no such attack or kind of targets.
        ValueRangeError: A number is out of range.
        FileError: The mask cannot be read.
    """

    network: Named
    source: str
    count: int | None = None
    targets: Targets = "random"
    attack: str = "l2"
    eps: float | None = None
    steps: int | None = None
    seed: int = 0
    per_shard: int = 1000
    bfloat16: bool = False
    mask: str | None = None

    def __post_init__(self) -> None:
        if self.targets not in get_args(Targets):
            raise UnknownNameError(
                f"no targets are called {shown(self.targets)}; there are {' and '.join(get_args(Targets))}"
            )
        rule_named(self.attack).budget((1,), self.eps, self.steps)
        integer(self.per_shard, "the number of images per shard", 1)
        seed_of(self.seed)
        mask_text(self.mask)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the hashes of the files that are named."""
        files = {**self.network.hashes(), "source": content_of(self.source), **mask_hash(self.mask)}
        return {"version": VERSION, **asdict(self), "files": files}


@dataclass(frozen=True)
class Range:
    """A shard: the samples from ``start`` to ``stop`` − 1."""

    start: int
    stop: int

    @property
    def id(self) -> str:
        """The first of its samples; what the samples are is a matter of the settings."""
        return f"{self.start:09d}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Its file."""
        return (f"samples-{self.id}.safetensors",)

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"samples {self.start} to {self.stop - 1}"


@dataclass(frozen=True)
class SetJob:
    """The work of a set."""

    target: Path
    settings: SetSettings

    def shard(self, fields: dict[str, Any]) -> Range:
        """A shard of its fields."""
        return Range(**fields)

    def done(self, shard: Range) -> Done | None:
        """The record of a finished shard; None if it has none."""
        return Journal(self.target).recorded(shard)

    def worker(self) -> SetWorker:
        """A worker of this process."""
        return SetWorker(self)


class SetWorker:
    """Perturbs shards, one after the other.

    Raises:
        BlindspaceError: The network or the images cannot be loaded.
    """

    def __init__(self, job: SetJob) -> None:
        self.job, s = job, job.settings
        self.journal = Journal(job.target)
        self.network = s.network.load()
        self.source = source_named(s.source, "train", self.network, s.count)
        self.classes = classes_of(self.network)

    def do(self, shard: Range) -> Done:
        """Perturb the samples of a shard, unless it is finished.

        Raises:
            FileError: The result cannot be written.
        """
        known = self.journal.recorded(shard)
        if known is not None:
            return known
        s = self.job.settings
        generator = _generator(s.seed, shard.start)
        images, labels = self.source.portion(shard.start, shard.stop, generator)
        if labels is None and not self.source.is_noise:
            labels = self.network.labels(images)
        targets = self._targets(labels, len(images), generator)
        images = images.to(self.network.device)
        made = mislabel(self.network, images, targets, s.attack, s.eps, s.steps, bfloat16=s.bfloat16, mask=s.mask)
        with self.journal.recording(shard) as record:
            with writing(self.job.target / shard.outputs[0]) as temporary:
                save_file(tensors_of(made, labels), temporary)
            record.add({"start": shard.start, "success": int(made.success.sum())}, items=len(images))
        return self.journal.done(shard)

    def _targets(self, labels: Tensor | None, count: int, generator: torch.Generator) -> Tensor:
        if labels is None:
            return any_targets(count, self.classes, generator)
        if self.job.settings.targets == "next":
            return next_targets(labels, self.classes)
        return random_targets(labels, self.classes, generator)


def mislabel_set(
    settings: SetSettings,
    target: str | Path,
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    report: Report | None = None,
) -> SetSummary:
    """Make a perturbed data set as files; finished shards of an earlier run are kept.

    A sample depends on the settings alone, so the files are the same with any number of workers, on any engine and
    after any interruption. ``read_set`` reads them.

    Args:
        settings: The network, the images, the targets and the attack.
        target: Folder of the set: a new one, or that of an earlier run with the same settings.
        workers: Number of processes, one per core if None; with 0, this process does the work.
        engine: Either ``local`` or ``ray``. On Ray, all nodes must see the folder, and files that are named, under the
            same paths.
        address: Address of a Ray cluster; if None, one is started on this machine.
        report: Called after each shard.

    Raises:
        FileError: The images are missing; the folder is in use, has other content or cannot be written to; the settings
            are not those of the earlier run.
        ValueRangeError: There are fewer images than asked for, noise is to have the next class, or the number of
            workers is negative.
        UnknownNameError: No engine has that name.
        MissingExtraError: A library is not installed.
        BlindspaceError: The network cannot be loaded or attacked.

    Examples:
        >>> import torch, blindspace as bs
        >>> from blindspace.learning import SetSettings
        >>> from blindspace.networks import Named
        >>> settings = SetSettings(Named("mnist-mlp"), "uniform", count=8, steps=2)
        >>> bs.mislabel_set(settings, "perturbed", workers=0).samples
        8
    """
    if not isinstance(settings, SetSettings):
        raise BlindspaceError(f"mislabel_set takes SetSettings, got {shown(settings)}")
    target = as_path(target, "the target").resolve()
    network = settings.network.load()
    source = source_named(settings.source, "train", network, settings.count)
    if source.is_noise and settings.targets == "next":
        raise ValueRangeError("noise has no class that another one would follow; its targets are random")
    if not source.count:
        raise FileError(f"there are no images in {settings.source}")
    classes, shape = classes_of(network), network.input_shape
    if settings.mask is not None:
        as_mask(settings.mask, shape)
    size = settings.per_shard
    shards = [Range(start, min(start + size, source.count)) for start in range(0, source.count, size)]
    written = {**settings.to_dict(), "blindspace": version("blindspace"), "torch": torch.__version__}
    files = [name for shard in shards for name in shard.outputs]
    return carry_out(
        SetJob(target, settings),
        shards,
        written,
        lambda journal, before, speed: summarise(target, files, shape, classes, written, before, speed),
        (MANIFEST,),
        workers=workers,
        engine=engine,
        address=address,
        report=report,
    )


def classes_of(network: Network) -> int:
    """Number of classes of a network, from its scores for an image of zeros.

    Raises:
        ValueRangeError: It has no scores of classes.
    """
    with torch.no_grad():
        scores = network.class_scores(network.outputs(torch.zeros(1, *network.input_shape)))
    return scores.shape[1]


def _generator(seed: int, start: int) -> torch.Generator:
    """The source of randomness of a shard."""
    digest = hashlib.sha256(f"perturbed set {seed} {start}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
