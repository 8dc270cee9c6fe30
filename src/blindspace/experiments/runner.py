"""Running experiments: every finished part is kept at once, so that an interrupted run goes on where it stopped.

Parts are kept in the cache folder under a key made of the experiment, its settings, the versions it was computed with,
and the sources of its work: the file that defines its parts and every file of this package that this one imports. To
edit a report, or another experiment, throws nothing away. After a change elsewhere in the library that is no new
version, give ``fresh``. A resumed run and one that was never interrupted write the same bytes.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import platform
import shutil
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import FileError, MissingExtraError
from ..files import home, unwritable, writing
from ..progress import Progress
from .experiment import PICTURES, Experiment, Result, S
from .parts import Kept, Part, Parts, Preset
from .registry import chosen
from .results import markdown, write_page
from .verdicts import checked

_LIBRARIES = ("blindspace", "torch", "numpy", "scipy", "timm", "foolbox", "pyautoattack", "torchmetrics")

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
) -> list[Result]:
    """Reproduce tables and figures of the papers: what the command ``blindspace reproduce`` does.

    Args:
        names: One name or several, such as ``"table1"``; ``"all"`` stands for all experiments.
        preset: smoke (a minute on embedded images), cpu (under an hour on two cores) or paper (the paper's settings).
        out: Folder for the results; each experiment has its own folder in it, and ``README.md`` shows all of them.
        seed: Seed of all randomness.
        progress: Called with the progress of each experiment in turn.
        fresh: Whether finished parts of earlier runs are computed again.

    Returns:
        One result per experiment; rows, claims and the names of the pictures in ``out``.

    Raises:
        UnknownNameError: No experiment has one of the names.
        FileError: ``out`` cannot be written, or a data set is missing.
        MissingExtraError: A library is not installed.

    Examples:
        >>> import torch, blindspace as bs
        >>> (result,) = bs.reproduce("fig1", "smoke", "results")
        >>> result.name, all(claim.holds for claim in result.claims)
        ('fig1', True)
    """
    experiments = chosen([names] if isinstance(names, str) else names)
    results = [run(experiment, preset, Path(out), seed, progress, fresh) for experiment in experiments]
    write_page(Path(out))
    return results


def run(
    experiment: Experiment[S],
    preset: Preset,
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
    fresh: bool = False,
) -> Result:
    """Run an experiment, or what is left of it, and write ``result.json``, ``table.md`` and its pictures.

    Args:
        experiment: The experiment to run.
        preset: smoke, cpu or paper.
        out: Folder in which the experiment's own folder is made.
        seed: Seed of all randomness.
        progress: Called with the share of the work that is done.
        fresh: Whether finished parts of earlier runs are computed again.

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
    settings = experiment.settings(preset, seed)
    versions = _versions()
    kept = _folder(experiment, settings.to_dict(), versions)
    if fresh:
        shutil.rmtree(kept, ignore_errors=True)
    finished: dict[str, Kept] = {}
    minutes: dict[str, float] = {}
    parts = experiment.parts(settings)
    for index, part in enumerate(parts):
        file = kept / f"{part.name}.safetensors"
        if not file.is_file():
            started = time.monotonic()
            _keep(file, part.run(_share(progress, index, len(parts), part)), started)
        finished[part.name], minutes[part.name] = _read(file)
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
        versions=versions,
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


def _folder(experiment: Experiment[Any], settings: dict[str, Any], versions: dict[str, str]) -> Path:
    work = sources(Path(inspect.getfile(experiment.parts)))
    source = {f"{path.parent.name}/{path.name}": path.read_text(encoding="utf-8") for path in work}
    machine = [platform.machine(), torch.get_num_threads()]
    facts = json.dumps([settings, versions, machine, source], sort_keys=True)
    return home() / "experiments" / f"{experiment.name}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"


def _keep(file: Path, kept: Kept, started: float) -> None:
    # The format does not allow a file without a tensor.
    arrays = {name: array.detach().cpu().contiguous() for name, array in kept.arrays.items()} or {"": torch.zeros(0)}
    values = json.dumps(kept.values, allow_nan=False)
    minutes = round((time.monotonic() - started) / 60, 3)
    with writing(file) as temporary:
        save_file(arrays, temporary, metadata={"values": values, "minutes": str(minutes)})


def _read(file: Path) -> tuple[Kept, float]:
    try:
        with safe_open(file, "pt") as stream:
            facts = stream.metadata()
            arrays = {name: stream.get_tensor(name) for name in stream.keys() if name}  # noqa: SIM118
            return Kept(json.loads(facts["values"]), arrays), float(facts["minutes"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileError(f"{file} is damaged; delete it, or run again with --fresh") from error


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


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def sources(file: Path, root: Path | None = None) -> list[Path]:
    """A file and all files of a package that it imports, directly or through others; nothing is imported to find them.

    Args:
        file: Python file to start from.
        root: Folder whose files count; that of the experiments if None. Only relative imports are followed.

    Returns:
        Paths in alphabetical order.
    """
    root = root or Path(__file__).parent
    found: set[Path] = set()
    waiting = [file.resolve()]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                modules = [base, *(base / alias.name for alias in node.names)]
                files = [file for module in modules for file in (module.with_suffix(".py"), module / "__init__.py")]
                waiting += [file for file in files if file.is_file() and file.is_relative_to(root)]
    return sorted(found)
