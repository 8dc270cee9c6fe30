"""Parts computed by other processes, of this machine or of a Ray cluster; the runner then finds them kept.

Parts do not depend on one another, so those of all experiments are one job. Every worker has one thread, whatever
machine it is on, and keeps a part where a run of one thread would: what it computes is the same to the last bit. All
workers see the cache folder under the same path; it holds data sets and trained networks too. Workers that need the
same network at once may each train it: it comes out the same.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BlindspaceError
from ..files import home
from ..jobs import Done, work
from ..maps.linear_map import as_device
from ..progress import Progress
from .experiment import Experiment
from .keeping import FOLDER, folder_name, folder_of, keep, part_file
from .parts import Part, Preset
from .registry import experiment as experiment_named

VARIABLES = ("BLINDSPACE_HOME", "BLINDSPACE_MODELS")
"""Environment variables that parts depend on; workers get those of this process."""


@dataclass(frozen=True)
class OnePart:
    """A shard: one part of an experiment.

    Attributes:
        experiment: Name of the experiment.
        part: Name of the part.
        folder: Name of the folder where it is kept.
    """

    experiment: str
    part: str
    folder: str

    @property
    def id(self) -> str:
        """The names of both."""
        return f"{self.experiment}.{self.part}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Its file."""
        return (str(part_file(Path(self.folder), self.part)),)

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.part} of {self.experiment}"


@dataclass(frozen=True)
class PartsJob:
    """The parts of experiments under one preset and seed.

    Attributes:
        target: Folder of the cache that holds what is kept of all experiments.
        preset: smoke, cpu or paper.
        seed: Seed of all randomness.
        environment: Values of ``VARIABLES``, as far as they are set.
        device: Device of torch that the work is done on.
    """

    target: Path
    preset: Preset
    seed: int
    environment: dict[str, str]
    device: str = "cpu"

    def shard(self, fields: dict[str, Any]) -> OnePart:
        """A shard of its fields."""
        return OnePart(**fields)

    def done(self, shard: OnePart) -> Done | None:
        """A part is finished when its file is there, which is renamed into place."""
        return Done(shard.id, 1, {}) if (self.target / shard.outputs[0]).is_file() else None

    def worker(self) -> PartsWorker:
        """A worker of this process."""
        return PartsWorker(self)


class PartsWorker:
    """Computes parts, one after the other.

    Raises:
        BlindspaceError: The device of the job is not there.
    """

    def __init__(self, job: PartsJob) -> None:
        self.job = job
        self._planned: dict[str, tuple[str, dict[str, Part]]] = {}
        os.environ.update(job.environment)
        as_device(job.device)

    def do(self, shard: OnePart) -> Done:
        """Compute a part, unless it is finished.

        Raises:
            BlindspaceError: The versions or the processor here are not those of the process that asks.
        """
        known = self.job.done(shard)
        if known is not None:
            return known
        folder, parts = self._plan(shard.experiment)
        if folder != shard.folder:
            raise BlindspaceError(
                f"a worker on {os.uname().nodename} would compute {shard.experiment} with other versions of this "
                "package or its libraries, or on another kind of processor; install the same on all nodes"
            )
        started = time.monotonic()
        keep(self.job.target / shard.outputs[0], parts[shard.part].run(lambda *_: None), started)
        return Done(shard.id, 1, {})

    def _plan(self, name: str) -> tuple[str, dict[str, Part]]:
        """Where an experiment's parts are kept, and its parts by name."""
        if name not in self._planned:
            experiment = experiment_named(name)
            settings = experiment.settings_on(self.job.device, self.job.preset, self.job.seed)
            parts = {part.name: part for part in experiment.parts(settings)}
            self._planned[name] = folder_name(experiment, settings), parts
        return self._planned[name]


def compute(
    experiments: Sequence[Experiment[Any]],
    preset: Preset,
    seed: int,
    fresh: bool = False,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> None:
    """Compute the parts of experiments that are not kept yet; to be called within ``one_thread``.

    Args:
        experiments: Experiments of the registry.
        preset: smoke, cpu or paper.
        seed: Seed of all randomness.
        fresh: Whether finished parts of earlier runs are computed again.
        workers: Number of processes of one thread each; one per core if None.
        engine: One of ``jobs.ENGINES``.
        address: Address of a Ray cluster; if None, one is started on this machine.
        device: Device of torch that the work is done on, which every worker must have.
        progress: Called with the number of finished parts after each of them.

    Raises:
        FileError: A data set is missing, or the cache folder cannot be written.
        MissingExtraError: A library is not installed.
        BlindspaceError: No cluster answers, or a worker has other versions or no such device.
    """
    environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    environment["BLINDSPACE_HOME"] = str(home().absolute())
    job = PartsJob(home().absolute() / FOLDER, preset, seed, environment, device)
    shards: list[OnePart] = []
    for experiment in experiments:
        settings = experiment.settings_on(device, preset, seed)
        folder = folder_of(experiment, settings)
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        shards += [OnePart(experiment.name, part.name, folder.name) for part in experiment.parts(settings)]
    todo = [shard for shard in shards if job.done(shard) is None]
    done = len(shards) - len(todo)

    def tell(result: Done) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, len(shards), result.shard)

    if todo:
        if progress:
            progress(done, len(shards), "starting")
        work(job, todo, tell, workers=workers, engine=engine, address=address)
