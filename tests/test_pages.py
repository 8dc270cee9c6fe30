"""The pages of docs/ and the README say what is so: their code runs, their commands parse, their links lead on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

import blindspace as bs
import pages
from blindspace.cli.commands import NAMES as COMMANDS
from blindspace.cli.commands import Runnable, load_command
from blindspace.experiments.registry import NAMES as EXPERIMENTS
from blindspace.learning import ATTACKS, CONTROLS
from blindspace.perturbations.registry import kinds
from blindspace.solvers import NAMES as SOLVERS

MADE = {"docs/commands.md", "docs/changelog.md", "docs/contributing.md", "docs/security.md"}
"""Pages that exist in the site only; docs/hooks.py makes them."""

WITH_CODE = [page for page in pages.NAMES if pages.blocks(page) and page != "docs/extending.md"]
"""Pages whose code runs in this process; that of extending.md registers what it defines (test_extending.py)."""

each_page = pytest.mark.parametrize("page", pages.NAMES)


# --- code -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    pages.output_of(page)


@each_page
def test_commands_have_the_options_that_are_typed(page: str) -> None:
    for words in pages.typed(page):
        name = words[0] if words and words[0] in COMMANDS else None
        if name is None:
            assert words in ([], ["--version"], ["--help"]) or words[0].startswith("-"), words
            continue
        _parse(load_command(name), words[1:])


def _parse(command: Any, words: list[str]) -> None:
    """Let the parser of a command, or of the command of a group that is named, read words; nothing runs."""
    if isinstance(command, typer.core.TyperGroup):
        _parse(command.commands[words[0]], words[1:])
        return
    context = typer.Context(command)
    values, left, _ = command.make_parser(context).parse_args(args=list(words))
    assert not left, f"{command.name} does not take {left}"
    missing = [one.name for one in command.params if one.required and values.get(one.name) in (None, (), [])]
    assert not missing, f"{command.name} {' '.join(words)} lacks {missing}"


@each_page
def test_commands_have_the_options_that_are_named(page: str) -> None:
    for words in pages.mentioned(page):
        if not re.fullmatch(r"[a-z-]+", words[0]) or words[0].startswith("-"):
            continue  # COMMAND
        assert words[0] in COMMANDS, words
        options = {word.split("=")[0] for word in words[1:] if word.startswith("--")}
        assert options <= _options(load_command(words[0])) | {"--help", "--debug"}, words


def _options(command: Runnable) -> set[str]:
    commands: list[Any] = [*getattr(command, "commands", {}).values()] or [command]
    return {name for one in commands for option in one.params for name in (*option.opts, *option.secondary_opts)}


# --- names ------------------------------------------------------------------------------------------------


def same(found: Iterable[str], there: Iterable[str]) -> bool:
    found, there = list(found), list(there)
    return len(found) == len(set(found)) and set(found) == set(there)


def test_every_solver_kind_and_experiment_is_in_its_table() -> None:
    assert same(pages.first_column("docs/solvers.md", "| solver | serves | how |"), SOLVERS)
    assert same(pages.first_column("docs/perturbing.md", "| kind | what it is |"), [kind.name for kind in kinds()])
    assert same(pages.first_column("docs/reproducing.md", "| name | what |"), EXPERIMENTS)


def test_every_extra_is_in_its_table() -> None:
    there = tomllib.loads(pages.text("pyproject.toml"))["project"]["optional-dependencies"]
    assert same((name.strip("[]") for name in pages.first_column("docs/index.md", "| extra | for |")), there)


def test_every_attack_and_control_of_perturbed_data_sets_is_named() -> None:
    text = pages.text("docs/learning.md")
    for name, rule in ATTACKS.items():
        assert f"| `{name}` |" in text
        assert f"{rule.grey:g}, {rule.colour:g}" in text
    assert all(f"`{name}`" in text for name in CONTROLS)


def test_every_public_name_is_on_one_page_of_the_reference() -> None:
    found = [name for page in pages.NAMES for name in re.findall(r"^::: blindspace\.(\w+)$", pages.text(page), re.M)]
    assert sorted(found) == sorted(bs.__all__)


def test_every_statement_of_the_theory_has_its_test() -> None:
    rows = [row.split(" | ") for row in pages.text("docs/theory.md").splitlines() if row.startswith("| ")]
    rows = [row for row in rows if len(row) == 4 and row[0] != "| statement"]
    assert len(rows) > 25
    theorems = pages.text("tests/subspaces/test_theorems.py")
    for statement, *_, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py|test_\w+)`", tests)
        assert named, statement
        assert all((pages.ROOT / name).exists() if "/" in name else f"def {name}(" in theorems for name in named), named


# --- links ------------------------------------------------------------------------------------------------


@each_page
def test_links_lead_somewhere(page: str) -> None:
    here = (pages.ROOT / page).parent
    text = re.sub(r"^```.*?^```", "", pages.text(page), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (here / path).resolve() if path else pages.ROOT / page
        name = target.relative_to(pages.ROOT).as_posix()
        assert target.exists() or name in MADE, f"{page}: {link}"
        if anchor and name.endswith(".md") and name not in MADE:
            assert anchor in _anchors(name), f"{page}: {link}"


def _anchors(page: str) -> set[str]:
    """The anchors of a page: its headings, and the names that the reference puts there."""
    text = re.sub(r"^```.*?^```", "", pages.text(page), flags=re.DOTALL | re.MULTILINE)
    heads = [re.sub(r"[`*]", "", head).strip().lower() for head in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    slugs = {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in heads}
    return slugs | set(re.findall(r"^::: (blindspace\.[\w.]+)$", text, re.MULTILINE))


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"[ :-] ([\w/-]+\.md)$", pages.text("mkdocs.yml"), re.MULTILINE)
    there = {name.removeprefix("docs/") for name in [*pages.NAMES[1:], *MADE]}
    assert len(listed) == len(set(listed))
    assert set(listed) - {"results/README.md"} - {name.removeprefix("docs/") for name in MADE} <= there
    assert there - {name.removeprefix("docs/") for name in MADE} <= set(listed)
