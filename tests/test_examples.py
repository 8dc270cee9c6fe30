"""Every public name has an example in its docstring, and it runs and prints what it says."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest
import torch

import blindspace as bs

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of all examples, which share factorisations."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("name", bs.__all__)
def test_the_example_of_a_name_runs(name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some write files
    monkeypatch.setenv("BLINDSPACE_HOME", str(home))
    torch.manual_seed(0)
    _, _, example = (inspect.getdoc(getattr(bs, name)) or "").partition("Examples:\n")
    test = doctest.DocTestParser().get_doctest(example, {}, name, None, None)
    assert test.examples, f"the docstring of bs.{name} has no section Examples"
    assert not any(doctest.SKIP in each.options for each in test.examples)
    printed: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=printed.append, clear_globs=False)
    assert not printed, "".join(printed)
