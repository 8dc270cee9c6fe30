"""Running experiments: every finished part is kept at once, so that an interrupted run goes on where it stopped.

Parts are kept in the cache folder (``keeping.py``). After a change elsewhere in the library that is no new version,
give ``fresh``. A resumed run and one that was never interrupted write the same bytes. Parts can be computed by other
processes, on this machine or a Ray cluster (``crew.py``); the runner then finds them kept.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..errors import MissingExtraError
from ..files import unwritable, writing
from ..jobs import check_engine, one_thread
from ..maps.linear_map import as_device
from ..progress import Progress
from .crew import compute
from .experiment import PICTURES, Experiment, Result, S
from .keeping import folder_of, keep, part_file, read_part, versions
from .parts import Kept, Part, Parts, Preset
from .registry import chosen
from .results import markdown, write_page
from .verdicts import checked

_LIBRARIES_OF = {
    "plot": ("matplotlib",),
    "report": ("jinja2", "matplotlib"),
    "timm": ("timm",),
    "attacks": ("foolbox", "pyautoattack"),
    "metrics": ("torchmetrics", "stlpips_pytorch", "skimage"),
    "onnx": ("onnx", "onnxruntime"),
    "manifold": ("skdim",),
}
"""Libraries by the extra that installs them."""

_STEPS = 1000
"""Steps that the progress of one part is divided into."""


def reproduce(
    names: str | Sequence[str],
    preset: Preset = "smoke",
    out: str | os.PathLike[str] = "results",
    seed: int = 0,
    progress: Progress | None = None,
    fresh: bool = False,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    device: str = "cpu",
) -> list[Result]:
    """Reproduce tables and figures of the papers: what the command ``blindspace reproduce`` does.

    Args:
        names: One name or several, such as ``"table1"``; ``"all"`` stands for all experiments.
        preset: smoke (a minute on embedded images), cpu (under an hour on two cores) or paper (the paper's settings).
        out: Folder for the results; each experiment has its own folder in it, and ``README.md`` shows all of them.
        seed: Seed of all randomness.
        progress: Called with the progress of the parts that other processes compute, then with that of each experiment
            in turn.
        fresh: Whether finished parts of earlier runs are computed again.
        workers: Number of processes of one thread each that compute parts, of all experiments at once; None or 0 for
            this process, and on Ray for one per core of the cluster. The results are those of one thread.
        engine: Either ``local`` or ``ray``. On Ray, all nodes must see the cache folder under the same path, and have
            the same libraries.
        address: Address of a Ray cluster; if None, one is started on this machine.
        device: Device of torch that networks, images and subspaces are on, such as cpu or cuda. It is one of the
            settings: finished parts of another device are kept, and not used.

    Returns:
        One result per experiment; rows, claims and the names of the pictures in ``out``.

    Raises:
        UnknownNameError: No experiment or no engine has one of the names.
        ValueRangeError: The number of workers is negative.
        FileError: ``out`` cannot be written, or a data set is missing.
        MissingExtraError: A library is not installed.
        BlindspaceError: There is no such device, no Ray cluster answers, or a worker has other versions of the
            libraries.

    Examples:
        >>> import torch, blindspace as bs
        >>> (result,) = bs.reproduce("fig1", "smoke", "results")
        >>> result.name, all(claim.holds for claim in result.claims)
        ('fig1', True)
    """
    experiments = chosen([names] if isinstance(names, str) else names)

    def shown(_: str) -> AbstractContextManager[Progress | None]:
        return nullcontext(progress)

    results = list(runs(experiments, preset, Path(out), seed, shown, fresh, workers, engine, address, device))
    write_page(Path(out))
    return results


def runs(
    experiments: Sequence[Experiment[Any]],
    preset: Preset,
    out: Path,
    seed: int,
    progress: Callable[[str], AbstractContextManager[Progress | None]],
    fresh: bool,
    workers: int | None,
    engine: str,
    address: str | None,
    device: str,
) -> Iterator[Result]:
    """As ``reproduce``, one result after the other; ``progress`` makes a callback for each experiment by its name.

    Raises:
        BlindspaceError: As ``reproduce``.
    """
    check_engine(engine, workers)
    device = str(as_device(device))
    for experiment in experiments:
        _check(experiment)
    with ExitStack() as stack:
        if workers or engine != "local":
            stack.enter_context(one_thread())
            with progress("parts") as report:
                compute(experiments, preset, seed, fresh, workers, engine, address, device, report)
            fresh = False
        for experiment in experiments:
            with progress(experiment.name) as report:
                result = run(experiment, preset, out, seed, report, fresh, device)
            yield result


def run(
    experiment: Experiment[S],
    preset: Preset,
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
    fresh: bool = False,
    device: str = "cpu",
) -> Result:
    """Run an experiment, or what is left of it, and write ``result.json``, ``table.md`` and its pictures.

    Args:
        experiment: The experiment to run.
        preset: smoke, cpu or paper.
        out: Folder in which the experiment's own folder is made.
        seed: Seed of all randomness.
        progress: Called with the share of the work that is done.
        fresh: Whether finished parts of earlier runs are computed again.
        device: Device of torch that the work is done on.

    Raises:
        FileError: ``out`` cannot be written, or a data set is missing.
        MissingExtraError: A library is not installed.
    """
    _check(experiment)
    folder = out / experiment.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    settings = experiment.settings_on(device, preset, seed)
    kept = folder_of(experiment, settings)
    if fresh:
        shutil.rmtree(kept, ignore_errors=True)
    finished: dict[str, Kept] = {}
    minutes: dict[str, float] = {}
    parts = experiment.parts(settings)
    for index, part in enumerate(parts):
        file = part_file(kept, part.name)
        if not file.is_file():
            started = time.monotonic()
            keep(file, part.run(_share(progress, index, len(parts), part)), started)
        finished[part.name], minutes[part.name] = read_part(file)
    if progress:
        progress(len(parts) * _STEPS, len(parts) * _STEPS, "drawing")
    pictures = _draw(experiment, settings, finished, folder)
    networks = {json.dumps(about): about for part in finished.values() for about in _networks(part)}
    result = Result(
        name=experiment.name,
        title=experiment.title,
        source=experiment.source,
        question=experiment.question,
        settings=settings.to_dict(),
        versions=versions(),
        networks=list(networks.values()),
        rows=list(experiment.rows(settings, finished)),
        claims=list(experiment.claims(settings, finished)),
        pictures=pictures,
        verdicts=checked(experiment.name, experiment.verdicts(settings, finished)),
    )
    _write(folder / "result.json", json.dumps(result.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    _write(folder / "table.md", markdown(result))
    timing = {"minutes": round(sum(minutes.values()), 2), "parts": minutes, "threads": torch.get_num_threads()}
    _write(folder / "run.json", json.dumps(timing, indent=1) + "\n")
    return result


def _check(experiment: Experiment[Any]) -> None:
    """Refuse, before the work, an experiment whose libraries are not installed."""
    missing = [extra for extra in experiment.extras if None in map(find_spec, _LIBRARIES_OF[extra])]
    if missing:
        raise MissingExtraError(f"{experiment.name} needs more: pip install 'blindspace[{','.join(missing)}]'")


def _share(progress: Progress | None, index: int, parts: int, part: Part) -> Progress:
    def report(done: int, total: int, what: str) -> None:
        if progress:
            progress(index * _STEPS + _STEPS * done // max(total, 1), parts * _STEPS, f"{part.name}: {what}")

    report(0, 1, "")
    return report


def _draw(experiment: Experiment[S], settings: S, parts: Parts, folder: Path) -> list[str]:
    """Draw into a temporary folder and move the pictures into place, so that no picture is ever half written."""
    for left in folder.glob(".partial-*"):  # left by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=".partial-", dir=folder) as aside:
        experiment.draw(settings, parts, Path(aside))
        names = sorted(path.name for path in Path(aside).iterdir())
        for name in names:
            (Path(aside) / name).replace(folder / name)
    for path in folder.iterdir():
        if path.suffix in PICTURES and path.name not in names:
            path.unlink()
    return names


def _networks(part: Kept) -> list[dict[str, Any]]:
    one = part.values.get("network")
    return [one] if isinstance(one, dict) else []


def _write(path: Path, text: str) -> None:
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
