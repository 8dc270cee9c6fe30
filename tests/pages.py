"""The README and the pages of docs/ as text: their code, their commands, their tables, their links."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
"""Where they stand in the repository."""


def text(page: str) -> str:
    """The text of a page of the repository."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, language: str = "python") -> list[str]:
    """The blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.DOTALL | re.MULTILINE)


def output_of(page: str) -> str:
    """What the Python code of a page prints, run as a reader would run it: all of it, in order."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n".join(blocks(page)), page, "exec"), {"__name__": "__main__"})
    return printed.getvalue()


def typed(page: str) -> list[list[str]]:
    """The commands of a page that begin with ``blindspace``, each as its words."""
    lines = re.findall(r"^\$ ((?:.*\\\n)*.*)", "\n".join(blocks(page, "console")), re.MULTILINE)
    lines += "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    commands = [part for line in lines for part in re.split(r";|&&|\|| > ", line.replace("\\\n", " "))]
    words = [shlex.split(command, comments=True) for command in commands if "blindspace" in command]
    return [each[1:] for each in words if each[:1] == ["blindspace"]]


def mentioned(page: str) -> list[list[str]]:
    """The commands that the prose of a page names in code, each as its words."""
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.DOTALL | re.MULTILINE)
    return [code.split()[1:] for code in re.findall(r"`(blindspace [^`]+)`", prose)]


def first_column(page: str, head: str) -> list[str]:
    """The code names in the first column of the table of a page under a given head."""
    _, found, below = text(page).partition(head)
    assert found, f"{page} has no table {head}"
    rows = below.split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
