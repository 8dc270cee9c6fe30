"""The house: imports run downwards, and nothing runs code that came with data."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import blindspace

ROOT = Path(blindspace.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

FLOORS: list[list[str]] = [
    ["errors", "files", "extras", "progress", "_html"],
    ["maps", "data"],
    ["solvers"],
    ["subspaces"],
    ["networks"],
    ["attacks"],
    ["perturbations"],
    ["evidence"],
    ["manifold", "learning", "collections"],
    ["experiments"],
    ["report", "bench", "app", "cli", "testing"],
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

NEXT_DOOR = {
    "files": {"errors"},
    "extras": {"errors"},
    "bench": {"report"},
    "app": {"report"},
    "cli": {"report", "bench", "app"},
}
"""On the lowest and the highest floor alone: who may import whom of the same floor."""

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def room(path: Path) -> str:
    """The folder or file right under the package that a file belongs to; empty for the package's face."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return {"__init__": "", "__main__": "cli"}.get(first, first)


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file, by its full name."""
    package = ["blindspace", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            start = [*above, *(node.module or "").split(".")]
            yield from (".".join(filter(None, [*start, alias.name])) for alias in node.names)


def may_import(importer: str, other: str) -> bool:
    return importer in ("", other) or FLOOR_OF[other] < FLOOR_OF[importer] or other in NEXT_DOOR.get(importer, set())


@each_file
def test_imports_run_downwards(path: Path) -> None:
    assert room(path) in FLOOR_OF or room(path) == "", f"{room(path)} stands on no floor"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "blindspace" or len(parts) == 1:
            continue
        if parts[1] not in FLOOR_OF:
            # A name of the package's face, such as its version.
            assert not (ROOT / parts[1]).exists(), f"{name} stands on no floor"
            assert parts[1].startswith("__"), f"{path.name} imports {name} from the package's face"
            continue
        assert may_import(room(path), parts[1]), f"{room(path)} imports {name} from above"


@each_file
def test_no_torchvision(path: Path) -> None:
    assert not [name for name in imported(path) if name.split(".")[0] == "torchvision"]


PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def runs_what_it_reads(call: ast.Call) -> bool:
    """Whether a call executes code held in data: eval, exec, pickles, torch and NumPy files read without a guard."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}

    def is_given(name: str, value: bool) -> bool:
        return isinstance(given.get(name), ast.Constant) and given[name].value is value  # type: ignore[attr-defined]

    match call.func:
        case ast.Name(id="eval" | "exec"):
            return True
        case ast.Attribute(value=ast.Name(id=module), attr="load" | "loads") if module in PICKLES:
            return True
        case ast.Attribute(value=ast.Name(id="torch"), attr="load"):
            return not is_given("weights_only", True)
        case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="load"):
            return "allow_pickle" in given and not is_given("allow_pickle", False)
    return False


@each_file
def test_no_data_is_run_as_code(path: Path) -> None:
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert not [ast.unparse(call) for call in calls if runs_what_it_reads(call)]
    # … nor under another name.
    names = {name.rsplit(".", 1)[-1]: name for name in imported(path) if name.split(".")[0] in {*PICKLES, "torch"}}
    assert not {"load", "loads"} & names.keys()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("eval('1')", True),
        ("exec(text)", True),
        ("model.eval()", False),
        ("pickle.load(f)", True),
        ("pickle.loads(b)", True),
        ("json.loads(b)", False),
        ("torch.load(p)", True),
        ("torch.load(p, weights_only=False)", True),
        ("torch.load(p, weights_only=True)", False),
        ("np.load(p, allow_pickle=True)", True),
        ("np.load(p, allow_pickle=False)", False),
    ],
)
def test_the_search_itself(code: str, found: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert runs_what_it_reads(call) == found


@pytest.mark.parametrize(
    ("importer", "other", "allowed"),
    [
        ("subspaces", "maps", True),
        ("maps", "subspaces", False),
        ("maps", "data", False),
        ("maps", "maps", True),
        ("cli", "report", True),
        ("report", "cli", False),
        ("", "cli", True),
        ("errors", "files", False),
        ("files", "errors", True),
    ],
)
def test_the_floors_themselves(importer: str, other: str, allowed: bool) -> None:
    assert may_import(importer, other) == allowed


def test_relative_imports_are_followed() -> None:
    names = set(imported(ROOT / "subspaces" / "subspace.py"))
    assert {"blindspace.errors.ShapeError", "blindspace.maps.linear_map.as_batch"} <= names


def test_the_face_is_complete_and_light() -> None:
    """Every name promised is there, and none costs anything before it is used."""
    code = "import sys, blindspace as bs; assert 'torch' not in sys.modules; [getattr(bs, name) for name in bs.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'nullspaces'"):
        blindspace.nullspaces  # noqa: B018
    assert set(blindspace.__all__) <= set(dir(blindspace))
