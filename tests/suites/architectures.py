"""What real architectures cannot see: one row each, with random weights, as a table in docs/architectures.md.

``make architectures`` runs it. Each row is appended to docs/architectures.csv as soon as it is known, so that an
interrupted run continues where it stopped. Every architecture runs in a process of its own, within limits of time and
memory.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from multiprocessing.connection import Connection
from pathlib import Path

import torch

import blindspace as bs
from blindspace.errors import BlindspaceError, first_line
from blindspace.extras import library
from blindspace.files import writing
from blindspace.networks import ends
from blindspace.networks.claim import hold

HERE = Path(__file__).parent
NAMES = HERE / "architectures.txt"
"""The architectures, one name a line as ``load`` takes it; at least one of every family of timm."""

DOCS = HERE.parents[1] / "docs"
KEPT, PAGE, WORDS = DOCS / "architectures.csv", DOCS / "architectures.md", HERE / "architectures_words.md"

HEAD = "| family | architecture | reads | cannot see | certificate | claim | front ends at ← read by |"

WARM = ("timm:test_vit", "hf:vit_msn[num_hidden_layers=1]", "torchvision:squeezenet1_1")
"""Small networks; loading them imports what most others need."""

LIMIT = 600.0
"""Seconds after which an architecture is given up."""

MEMORY = 14 * 2**30
"""Bytes that one may take."""


@dataclass(frozen=True)
class Row:
    """What one architecture cannot see.

    Attributes:
        name: Its name as ``load`` takes it.
        family: The module or the type that its library lists it under.
        reads: Shape and meaning of one input.
        inputs: Number of values in one input.
        dim: Dimension of the harmless space; -1 if it is not known.
        certificate: Kind of the certificate of the rank.
        method: How the rank was certified, and by which solver.
        claim: What the network's own runs say about the claim: "holds", or why they say nothing; empty where the space
            is trivial or the network was not run.
        front: The first value at which the front ends, and what reads it.
        refused: Why the architecture was refused; empty if it was followed.
    """

    name: str
    family: str
    reads: str = ""
    inputs: int = 0
    dim: int = -1
    certificate: str = ""
    method: str = ""
    claim: str = ""
    front: str = ""
    refused: str = ""


def measured(name: str, check: bool = True) -> Row:
    """The row of an architecture; ``check`` is whether the claim is measured on the network itself."""
    family = family_of(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = bs.load(name, random_weights=True)
            reads = f"{' × '.join(map(str, network.input_shape))} {network.space}"
            space = bs.harmless(network, check=False)
            evidence = hold(network, space) if check else None
    except BlindspaceError as error:
        return Row(name, family, refused=str(error))
    except MemoryError as error:
        return Row(name, family, refused=f"out of memory: {first_line(error)}")
    first, readers = next(iter(ends(network).items()), ("the input", []))
    return Row(
        name,
        family,
        reads,
        space.ambient_dim,
        space.dim,
        space.certificate.kind,
        f"{space.certificate.method} ({space.solver})",
        "" if evidence is None else evidence.void or "holds",
        f"{first} ← {', '.join(readers[:2])}",
    )


def family_of(name: str) -> str:
    """The module of timm or torchvision, or the type of transformers, that an architecture belongs to."""
    source, _, model = name.partition("[")[0].partition(":")
    if source == "timm":
        return str(library("timm", "timm").models.model_entrypoint(model).__module__.split(".")[-1])
    if source == "torchvision":
        return str(library("torchvision", "torchvision").models.get_model_builder(model).__module__.split(".")[-1])
    return model


def _in_process(name: str, check: bool, answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    answer.send(measured(name, check))


def within_limits(name: str, limit: float, check: bool) -> Row:
    """The row of an architecture, or one that says that it took too long."""
    receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_in_process, args=(name, check, send))
    process.start()
    send.close()
    try:
        if receive.poll(limit):
            row: Row = receive.recv()
            return row
        return Row(name, family_of(name), refused=f"not finished within {limit:g} s")
    except EOFError:
        return Row(name, family_of(name), refused="the process ended without an answer, out of memory or by an error")
    finally:
        process.kill()
        process.join()


def kept() -> dict[str, Row]:
    """The rows of earlier runs by name."""
    if not KEPT.is_file():
        return {}
    with KEPT.open(encoding="utf-8", newline="") as lines:
        return {
            line["name"]: Row(**{**line, "inputs": int(line["inputs"]), "dim": int(line["dim"])})  # type: ignore[arg-type]
            for line in csv.DictReader(lines)
        }


def keep(row: Row) -> None:
    """Append a row to the file."""
    new = not KEPT.is_file()
    with KEPT.open("a", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, [each.name for each in fields(Row)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


def page(rows: Iterable[Row]) -> str:
    """The table as Markdown."""
    ordered = sorted(rows, key=lambda row: (row.name.split(":")[0], row.family, row.name))
    followed = [row for row in ordered if not row.refused]
    lines = [
        WORDS.read_text(encoding="utf-8")
        .format(
            **{"all": len(ordered), "followed": len(followed), "some": sum(row.dim > 0 for row in followed)},
            listed=len(NAMES.read_text(encoding="utf-8").split()),
            exact=sum(row.certificate == "exact" for row in followed),
            dims=defaultdict(lambda: "…", {row.name: f"{row.dim:,} of {row.inputs:,}" for row in followed}),
        )
        .rstrip()
    ]
    for source, title in (("timm", "timm"), ("hf", "transformers"), ("torchvision", "torchvision")):
        own = [row for row in ordered if row.name.startswith(f"{source}:")]
        lines += ["", f"## {title}", "", HEAD, "|---" * (HEAD.count("|") - 1) + "|"]
        lines += [_line(row) for row in own if not row.refused]
        lines += [f"\n`{row.name}` is refused: {row.refused}." for row in own if row.refused]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    share = f" ({row.dim / row.inputs:.0%})" if row.dim else ""
    cells = (
        row.family, f"`{row.name}`", row.reads, f"{row.dim:,}{share}", f"{row.certificate}, {row.method}", row.claim,
        row.front,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is not kept yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures to measure again; all that are not kept if none")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds per architecture")
    parser.add_argument("--unchecked", action="store_true", help="leave the networks' own runs out")
    asked = parser.parse_args(arguments)
    for name in ("timm", "transformers", "torchvision"):
        library(name, name)  # imported once, before the processes are forked
    for name in WARM:
        bs.load(name, random_weights=True)
    names, rows = NAMES.read_text(encoding="utf-8").split(), kept()
    for name in asked.names or [each for each in names if each not in rows]:
        start = time.perf_counter()
        rows[name] = within_limits(name, asked.limit, not asked.unchecked)
        keep(rows[name])
        row = rows[name]
        told = row.refused or f"{row.dim} of {row.inputs}, {row.certificate}"
        print(f"{time.perf_counter() - start:6.1f} s  {name}: {told}", flush=True)
    with writing(PAGE) as temporary:
        temporary.write_text(page(rows[name] for name in names if name in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
