"""Mutated files before every reader: each is read, or refused in one line, and no original passes as protected.

``make suites`` runs it whole and writes ``docs/fuzz.md``; the tests run a part. The readers run in a process of their
own, which may crash, or hang, for all that is known beforehand.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from fuzz_corpus import SETTINGS, SHAPE, WHOLE, telling_parts, write
from mutations import mutated

from blindspace.collections import check, protect
from blindspace.data import read_images
from blindspace.errors import BlindspaceError, first_line
from blindspace.files import writing
from blindspace.learning import read_set
from blindspace.networks import harmless, load

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fuzz.md"

COUNTS = {
    "pictures": 400, "arrays": 200, "tables": 250, "archives": 200, "weights": 200, "ONNX": 200,
    "ONNX with data": 50, "programs": 100, "configs": 200, "keys": 50, "folders": 100, "results": 50,
    "perturbed sets": 50,
}  # fmt: skip
"""Number of mutated files of each kind, 2,050 in all."""

PATIENCE = 120.0
"""Seconds after which a reader counts as hung; each needs less than one."""

MEMORY = 6 << 30
"""Bytes that the readers may take beyond what they begin with."""

GOOD = ("read", "refused")
WRONG = ("uncaught", "passed on", "half-written", "crashed", "hung")


@dataclass(frozen=True)
class Outcome:
    """What came of one mutated file.

    Attributes:
        word: One of ``GOOD`` or ``WRONG``.
        detail: The message.
    """

    word: str
    detail: str = ""


def make(corpora: Path, kind: str, number: int, folder: Path) -> Path:
    """Write the mutated file of a number into an empty folder, beside its companions if it has some.

    Args:
        corpora: Folder of the valid files.
        kind: Name of a corpus.
        number: Seed of the file and of its mutation.
        folder: Folder to write to.
    """
    rng = random.Random(f"{kind} {number}")
    files = sorted(path for path in (corpora / kind).rglob("*") if path.is_file())
    chosen = files[number % len(files)]
    if kind in WHOLE:
        shutil.copytree(corpora / kind, folder, dirs_exist_ok=True)
    made = folder / chosen.relative_to(corpora / kind)
    made.write_bytes(mutated(chosen.read_bytes(), rng, chosen.suffix))
    return made


def _protect(path: Path, out: Path) -> None:
    """Protect a folder with the file in it, and look for originals in the result."""
    try:
        protect(path.parent, out, SETTINGS, workers=0)
        if not check(out).good:
            raise MisdeedError("half-written", f"{check(out).wrong}")
    finally:
        there = look_for_originals(out)
        if there and not (out / "manifest.json").is_file():
            raise MisdeedError("half-written", f"{there} without a manifest")


def look_for_originals(out: Path) -> list[str]:
    """The files below a folder, the journal apart; none may hold a part of an original picture."""
    there = [found for found in out.rglob("*") if found.is_file() and found.parent.name != ".blindspace"]
    for found in there:
        content = found.read_bytes()
        if any(part in content for part in _parts()):
            raise MisdeedError("passed on", f"{found.relative_to(out)} holds a part of an original")
    return [found.name for found in there]


@cache
def _parts() -> tuple[bytes, ...]:
    return tuple(telling_parts())


class MisdeedError(Exception):
    """An outcome that must not be, beside exceptions: a word of ``WRONG``, and the reason."""


def _pictures(path: Path, out: Path) -> None:
    try:
        read_images([path])
    finally:
        _protect(path, out)


def _key(path: Path, out: Path) -> None:
    from blindspace.cli.secrets import read_key

    read_key(path, "00" * 16)


def _claim(model: str | Path, **options: Any) -> None:
    network = load(model, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        harmless(network)


def _result(path: Path, out: Path) -> None:
    """Check a result; a picture or a line that has changed must be found."""
    is_journal = path.parent.name == ".blindspace"
    found = check(path.parents[1] if is_journal else path.parent)
    if found.good and path.suffix in (".png", ".jsonl") and not is_journal:
        raise MisdeedError("passed on", f"{path.name} is not what it was, and passes")


def _set(path: Path, out: Path) -> None:
    """Read a perturbed data set; a file of samples that has changed must be found."""
    read_set(path.parent)
    if path.suffix == ".safetensors":
        raise MisdeedError("passed on", f"{path.name} is not what it was, and passes")


READERS: dict[str, Callable[[Path, Path], Any]] = {
    "pictures": _pictures,
    "arrays": lambda path, out: read_images([path]),
    "tables": _protect,
    "archives": _protect,
    "weights": lambda path, out: _claim("fuzz_corpus:network", input_shape=SHAPE, weights=path),
    "ONNX": lambda path, out: _claim(path),
    "ONNX with data": lambda path, out: _claim(path.with_suffix("") if path.suffix == ".data" else path),
    "programs": lambda path, out: _claim(path),
    "configs": lambda path, out: _claim(
        "fuzz_corpus:network", input_shape=(3, 20, 28), random_weights=True, preprocess=path
    ),
    "keys": _key,
    "folders": lambda path, out: _claim(f"hf:{path.parent}"),
    "results": _result,
    "perturbed sets": _set,
}


def outcome(corpora: Path, kind: str, number: int) -> Outcome:
    """Give one mutated file to its reader."""
    with TemporaryDirectory() as place:
        folder = Path(place) / "in"
        folder.mkdir()
        path = make(corpora, kind, number, folder)
        before = _digests(folder)
        try:
            READERS[kind](path, Path(place) / "out")
        except BlindspaceError as error:
            if "\n" in str(error) or not str(error):
                return Outcome("uncaught", f"a message of several lines: {error!r}")
            found = Outcome("refused", str(error).replace(place, ""))
        except MisdeedError as error:
            return Outcome(*error.args)
        except (Exception, SystemExit) as error:
            return Outcome("uncaught", f"{type(error).__name__}: {first_line(error)}")
        else:
            found = Outcome("read")
        if _digests(folder) != before:
            return Outcome("half-written", "the input has changed, or something was left beside it")
        return found


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- the process of the readers ------------------------------------------------------------------------------


def _serve(corpora: Path, connection: Connection) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (_size() + MEMORY, resource.RLIM_INFINITY))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # what libraries write
    os.dup2(nothing, 2)
    while True:
        connection.send(outcome(corpora, *connection.recv()))


def _size() -> int:
    """Bytes of address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


class Readers:
    """The process in which mutated files are read, begun anew after a crash.

    Args:
        corpora: Folder of the valid files.
        patience: Seconds after which a reader counts as hung.
    """

    def __init__(self, corpora: Path, patience: float = PATIENCE) -> None:
        self.corpora = corpora
        self.patience = patience
        self.process: Any = None

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, kind: str, number: int) -> Outcome:
        """The outcome of one mutated file."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=_serve, args=(self.corpora, theirs), daemon=True)
            self.process.start()
            theirs.close()
        self.connection.send((kind, number))
        try:
            if self.connection.poll(self.patience):
                found: Outcome = self.connection.recv()
                return found
            self._end()
            return Outcome("hung", f"no answer within {self.patience:g} s")
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            self._end()
            return Outcome("crashed", f"exit code {code}")

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None


# --- the whole run -------------------------------------------------------------------------------------------

ABOUT = """\
`make suites` mutates small valid files of every kind that Blindspace reads, from fixed seeds: bits are flipped, parts
cut, removed, inserted and repeated, numbers replaced by extreme ones, values of JSON and fields of ONNX replaced by
others. It gives each to its reader, in a process of its own: pictures, tables and archives to `protect`, networks to
`load` and `harmless`, results to `protect --check`, perturbed data sets to `read_set`. Each must be read, or refused in
one line. No other exception, crash or hang may come of it; nothing may be left half-written, and no part of an
original picture may be in a result."""


def page(found: dict[str, list[Outcome]]) -> str:
    """The page: one row per kind of file."""
    words = (*GOOD, *WRONG)
    lines = ["# Mutated files", "", ABOUT, "", "| kind | files | " + " | ".join(words) + " |"]
    lines.append("|---|" + "---:|" * (1 + len(words)))
    totals: Counter[str] = Counter()
    for kind, each in found.items():
        counts = Counter(one.word for one in each)
        totals += counts
        lines.append(f"| {kind} | {len(each)} | " + " | ".join(str(counts[word]) for word in words) + " |")
    lines.append(f"| all | {totals.total()} | " + " | ".join(str(totals[word]) for word in words) + " |")
    return "\n".join(lines) + "\n"


def main(text: Path = PAGE, counts: dict[str, int] = COUNTS) -> int:
    """Run all; returns 1 if an outcome occurred that must not."""
    found: dict[str, list[Outcome]] = {}
    with TemporaryDirectory() as place:
        write(Path(place))
        with Readers(Path(place)) as readers:
            for kind, count in counts.items():
                found[kind] = []
                for number in range(count):
                    one = readers.read(kind, number)
                    found[kind].append(one)
                    if one.word in WRONG:
                        print(f"{kind} {number}: {one.word}: {one.detail}", file=sys.stderr)
                print(f"{kind}: {dict(Counter(each.word for each in found[kind]))}", file=sys.stderr)
    if counts is COUNTS:
        with writing(text) as partial:
            partial.write_text(page(found))
    return int(any(one.word in WRONG for each in found.values() for one in each))


if __name__ == "__main__":
    chosen = {kind: COUNTS[kind] for kind in sys.argv[1:]} or COUNTS
    raise SystemExit(main(counts=chosen))
