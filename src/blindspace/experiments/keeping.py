"""Finished parts as files, in a folder of the cache that everything that they depend on gives its name.

The name is a hash of the experiment, its settings, the versions it was computed with, the kind of processor and the
number of threads, and the sources of its work: the file that defines its parts and every file of this package that this
one imports. To edit a report, or another experiment, throws nothing away.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import FileError
from ..files import home, writing
from .experiment import Experiment, S
from .parts import Kept

_LIBRARIES = ("blindspace", "torch", "numpy", "scipy", "timm", "foolbox", "pyautoattack", "torchmetrics")

FOLDER = "experiments"
"""Folder of the cache that holds the folders of all experiments."""


def folder_name(experiment: Experiment[S], settings: S) -> str:
    """Name of the folder of an experiment's finished parts, as this process would compute them for these settings."""
    work = sources(Path(inspect.getfile(experiment.parts)))
    source = {f"{path.parent.name}/{path.name}": path.read_text(encoding="utf-8") for path in work}
    machine = [platform.machine(), torch.get_num_threads()]
    facts = json.dumps([settings.to_dict(), versions(), machine, source], sort_keys=True)
    return f"{experiment.name}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"


def folder_of(experiment: Experiment[S], settings: S) -> Path:
    """Folder of an experiment's finished parts."""
    return home() / FOLDER / folder_name(experiment, settings)


def part_file(folder: Path, name: str) -> Path:
    """File of a finished part: it is there once the part is finished."""
    return folder / f"{name}.safetensors"


def keep(file: Path, kept: Kept, started: float) -> None:
    """Write a finished part, which was begun at ``started`` of the monotonic clock."""
    # The format does not allow a file without a tensor.
    arrays = {name: array.detach().cpu().contiguous() for name, array in kept.arrays.items()} or {"": torch.zeros(0)}
    values = json.dumps(kept.values, allow_nan=False)
    minutes = round((time.monotonic() - started) / 60, 3)
    with writing(file) as temporary:
        save_file(arrays, temporary, metadata={"values": values, "minutes": str(minutes)})


def read_part(file: Path) -> tuple[Kept, float]:
    """A finished part, and how many minutes it took.

    Raises:
        FileError: The file is damaged.
    """
    try:
        with safe_open(file, "pt") as stream:
            facts = stream.metadata()
            arrays = {name: stream.get_tensor(name) for name in stream.keys() if name}  # noqa: SIM118
            return Kept(json.loads(facts["values"]), arrays), float(facts["minutes"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileError(f"{file} is damaged; delete it, or run again with --fresh") from error


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries that results depend on, as far as they are installed."""
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
