"""The first minutes: what to try, what a mistyped word was meant to be, completion, help for every option."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import blindspace as bs
from blindspace.cli.commands import NAMES, PURPOSES, load_command
from blindspace.cli.completion import FILE, REQUEST, outlines, stand_in
from blindspace.cli.first_steps import STEPS, first_steps
from blindspace.cli.main import run

Capture = pytest.CaptureFixture[str]

SOURCE = str(Path(bs.__file__).parent.parent)


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A command and its name, or those of a group."""
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from commands(each, f"{path} {name}")
    else:
        yield path, command


COMMANDS = dict(each for name in NAMES for each in commands(load_command(name), name))


# --- what to try ------------------------------------------------------------------------------------------


def test_the_program_alone_says_what_to_try(capsys: Capture) -> None:
    assert run([]) == 0
    out = capsys.readouterr().out
    assert out == first_steps() + "\n"
    assert all(command in out for command in STEPS)
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("command", STEPS)
def test_what_is_said_to_be_tried_can_be(command: str) -> None:
    program, name, *words = command.split()
    assert program == "blindspace"
    stand_in(name).make_context(name, words)


def test_help_groups_the_commands_by_purpose(capsys: Capture) -> None:
    assert run(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [index for purpose in PURPOSES for index, line in enumerate(lines) if purpose in line]
    assert len(heads) == len(PURPOSES)
    for start, end, names in zip(heads, [*heads[1:], len(lines)], PURPOSES.values(), strict=True):
        found = [line.split()[1] for line in lines[start:end] if line[2:3].isalpha() and line.startswith("│")]
        assert tuple(found) == names


# --- mistyped words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("adit mnist-mlp", "audit"),
        ("levelset x", "level-set"),
        ("audit mnist-mlp --jsn x", "--json"),
        ("audit mnist-mlp --nolayers", "--no-layers"),
        ("--verison", "--version"),
        ("data gt mnist", "get"),
        ("audit mnist-mpl", "mnist-mlp"),
        ("audit mnist-mlp --solver furier", "fourier"),
        ("perturb samples -o x.npz --kind decoi", "decoy"),
        ("perturb samples -o x --format pngg", "png"),
        ("reproduce tabel1", "table1"),
        ("train mnist-mlq", "mnist-mlp"),
        ("data get cifar-10", "cifar10"),
        ("manifold samples --manifold pcaa --attack pgd -m mnist-mlp", "pca"),
    ],
)
def test_a_mistyped_word_is_told_what_was_meant(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(words.split()) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"(did you mean {meant}?)" in err or f"Did you mean '{meant}'?" in err
    assert not list(tmp_path.iterdir())


# --- help -------------------------------------------------------------------------------------------------

UNITS = (
    *("number", "seconds", "share", "image range", "seed", "dimension", "steps", "rate", "norm", "radius", "samples"),
    *("times", "images", "output", "values"),
)
"""Words that say of what a numeric option is a number."""

VERBS = """
Accept Add Allow Ask Attack Audit Bind Change Choose Compare Compute Confine Count Cut Decide Determine Do
Draw End Export Fetch Find Fit Flag Follow Give Hide Hold Include Judge Keep Label Lead Leave Let Limit List
Listen Load Look Make Measure Name Offer Open Perturb Preprocess Print Protect Put Read Refuse Remove Reproduce Run
Save Search Serve Set Show Skip Solve Spend Split Start State Stop Take Train Use Validate Vary Work Write
"""
# What an explanation may begin with; one that begins with a noun is no sentence.

PARAMETERS = {f"{path} {'/'.join(each.opts)}": each for path, command in COMMANDS.items() for each in command.params}


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_is_explained(name: str) -> None:
    parameter = PARAMETERS[name]
    told = parameter.help or ""
    assert told.split(" ")[0] in VERBS.split()
    assert told.endswith(".")
    assert not told.endswith("..")
    if parameter.default not in (None, False, [], "") and not getattr(parameter, "is_flag", False):
        assert parameter.show_default
    if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool):
        assert any(unit in told.lower() for unit in UNITS), told


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_explained(name: str) -> None:
    told = (COMMANDS[name].help or "").split("\n\n")[0]
    assert told[0].isupper()
    assert told.rstrip().endswith(".")


# --- completion -------------------------------------------------------------------------------------------


def request(words: str, shell: str = "bash") -> dict[str, str]:
    """The variables by which a shell asks; the last word is the one to be completed."""
    return {
        REQUEST: f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }


Complete = Callable[..., list[str]]


@pytest.fixture
def completed(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """What the program answers a shell."""

    def complete(words: str, shell: str = "bash") -> list[str]:
        for name, value in request(words, shell).items():
            monkeypatch.setenv(name, value)
        assert run([]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return str(out).split()

    return complete


def test_completion_does_not_import_torch() -> None:
    code = (
        "import sys; from blindspace.cli.main import run; code = run([]); "
        "assert not {'torch', 'numpy', 'scipy', 'PIL'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **request("blindspace perturb samples --kind "), "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "least-harmful" in done.stdout.split()


def test_the_file_for_completion_is_that_of_the_commands() -> None:
    kept = json.loads(FILE.read_text(encoding="utf-8"))
    assert kept == json.loads(json.dumps(outlines())), "run: python -m blindspace.cli.completion"


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_has_the_options_of_the_command(name: str) -> None:
    there, kept = (dict(commands(each, name)) for each in (load_command(name), stand_in(name)))
    assert there.keys() == kept.keys()
    for path, command in there.items():
        expected, found = ([(each.opts, each.secondary_opts) for each in c.params] for c in (command, kept[path]))
        assert [pair for pair in found if pair[0][0].startswith("-")] == [
            pair for pair in expected if pair[0][0].startswith("-")
        ]


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ("blindspace au", {"audit"}),
        ("blindspace audit mni", {"mnist-mlp", "mnist-autoencoder"}),
        ("blindspace audit mnist-mlp --s", {"--solver", "--soft", "--spectrum", "--seed", "--session"}),
        ("blindspace perturb samples --kind le", {"least-harmful"}),
        ("blindspace reproduce table", {"table1", "table2"}),
    ],
)
def test_words_are_completed(completed: Complete, words: str, some: set[str]) -> None:
    assert set(completed(words)) == some


def test_a_file_is_left_to_the_shell(completed: Complete) -> None:
    assert completed("blindspace verify ") == []
    assert completed("blindspace verify s") == ["samples"]


@pytest.mark.parametrize(("shell", "answer"), [("zsh", "level-set"), ("fish", "level-set")])
def test_other_shells_are_answered_in_their_own_way(completed: Complete, shell: str, answer: str) -> None:
    assert answer in " ".join(completed("blindspace lev", shell))


@pytest.mark.skipif(shutil.which("bash") is None, reason="runs bash")
def test_a_real_bash_completes(tmp_path: Path) -> None:
    program = tmp_path / "blindspace"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m blindspace "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(blindspace --show-completion bash)"; complete -p blindspace; COMP_WORDS=(blindspace audit cifar-r); '
        'COMP_CWORD=2; _blindspace_completion blindspace; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", script],
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("_TYPER")},
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PYTHONPATH": SOURCE,
            "HOME": str(tmp_path),
            "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "complete -o default -F _blindspace_completion blindspace",
        "cifar-resnet",
    ]
