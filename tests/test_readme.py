"""The README names every command, solver, perturbation kind, experiment and extra that there is, and no others."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

from blindspace.cli.commands import NAMES as COMMANDS
from blindspace.experiments.registry import NAMES as EXPERIMENTS
from blindspace.perturbations.registry import kinds
from blindspace.solvers import NAMES as SOLVERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def first_column(head: str) -> list[str]:
    """The code names in the first column of the table under a given head."""
    _, _, below = README.partition(head)
    rows = below.split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def same(found: Iterable[str], there: Iterable[str]) -> bool:
    found, there = list(found), list(there)
    return len(found) == len(set(found)) and set(found) == set(there)


def test_commands() -> None:
    lines = README.split("## The command line")[1].split("```")[1].strip().splitlines()
    assert same((line.split()[1] for line in lines), COMMANDS)


def test_solvers() -> None:
    assert same(first_column("| solver | serves | how |"), SOLVERS)


def test_perturbation_kinds() -> None:
    assert same(first_column("| kind | what it is |"), [kind.name for kind in kinds()])


def test_experiments() -> None:
    assert same(first_column("| name | what |"), EXPERIMENTS)


def test_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    paragraph = README.split("To install the library")[1].split("\n\n")[0]
    assert set(re.findall(r"\[([a-z,]+)\]", paragraph)) - {"plot,report"} == set(extras) - {"dev", "plot", "report"}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert not [link for link in links if link and not (page.parent / link).exists()]
