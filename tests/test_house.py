"""The structure of the package: imports run one way, file by file, and nothing runs code that came with data."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import blindspace

ROOT = Path(blindspace.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
DEVELOPMENT = Path(__file__).parents[1] / "docs" / "development.md"

ORDER = (
    "errors",
    "progress",
    "files",
    "extras",
    "_html",
    "maps",
    "data",
    "solvers",
    "subspaces",
    "testing",
    "networks",
    "attacks",
    "invariances",
    "perturbations",
    "evidence",
    "manifolds",
    "report",
    "jobs",
    "collections",
    "learning",
    "experiments",
    "bench",
    "integrations",
    "web",
    "cli",
)
"""The folders and files right under the package. Each may import those before it, and itself."""

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path) -> str:
    return ".".join(["blindspace", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


MODULES = {module_name(path): path for path in FILES}


def top(path: Path) -> str:
    """The folder or file right under the package that a file belongs to; empty for the package's own two files."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if first in ("__init__", "__main__") else first


def imported(path: Path) -> Iterator[str]:
    """Every module or name that a file imports, wherever in the file, by its full name."""
    package = ["blindspace", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            start = [*above, *(node.module or "").split(".")]
            yield from (".".join(filter(None, [*start, alias.name])) for alias in node.names)


def file_of(name: str) -> Path | None:
    """The file that an imported name of the package comes from; None for other packages."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return MODULES.get(name)


def imported_files(path: Path) -> set[Path]:
    """The files of the package that a file imports; a package's ``__init__`` counts where a name comes from it."""
    names = (name for name in imported(path) if name != "blindspace.__version__")
    return {found for name in names if (found := file_of(name)) is not None} - {path}


def cycle(graph: dict[Path, set[Path]]) -> list[str]:
    """The files of one circle of imports, in order; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(path.relative_to(ROOT)) for path in error.args[1]]
    return []


def test_the_order_names_what_is_there() -> None:
    assert {top(path) for path in FILES} - {""} == set(ORDER)


@each_file
def test_imports_run_one_way(path: Path) -> None:
    if not top(path):
        return
    for other in imported_files(path):
        assert top(other), f"{path.name} imports the package's face"
        assert ORDER.index(top(other)) <= ORDER.index(top(path)), f"{path} imports {other}, which comes later in ORDER"


def test_no_files_import_one_another() -> None:
    """No circle between files, imports inside functions included; a package's own ``__init__`` is left out of it."""
    graph = {path: {each for each in imported_files(path) if each.name != "__init__.py"} for path in FILES}
    assert not cycle(graph)


def test_a_circle_is_found() -> None:
    a, b, c = (ROOT / name for name in ("a.py", "b.py", "c.py"))
    assert not cycle({a: {b}, b: {c}, c: set()})
    assert set(cycle({a: {b}, b: {c}, c: {b}})) == {"b.py", "c.py"}


def test_the_development_page_names_every_folder() -> None:
    """docs/development.md has one line for each folder of the package, and none for what is not there."""
    text = DEVELOPMENT.read_text(encoding="utf-8")
    folders = {str(path.parent.relative_to(ROOT)) for path in FILES} - {"."}
    shared = ("experiments/common", "experiments/questions")
    alone = {each for each in folders if each.startswith("experiments/") and not each.startswith(shared)}
    rows = [line.split("`")[1].rstrip("/") for line in text.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(folders - alone | {"experiments/NAME"})
    tops = [name for name in ORDER if (ROOT / name).is_dir()]
    assert [row for row in rows if "/" not in row] == tops, "the table has another order than the imports"


@each_file
def test_no_torchvision(path: Path) -> None:
    assert not [name for name in imported(path) if name.split(".")[0] == "torchvision"]


@each_file
def test_no_function_hides_its_module(path: Path) -> None:
    """A package that exports a function of its module's name would make the module unreachable."""
    if path.name != "__init__.py":
        return
    names = {
        alias.asname or alias.name
        for node in tree(path).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert not {name for name in names if (path.parent / f"{name}.py").exists()}


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
    # The loaders are not imported under another name either.
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


def test_relative_imports_are_followed() -> None:
    names = set(imported(ROOT / "subspaces" / "subspace.py"))
    assert "blindspace.maps.linear_map.as_batch" in names
    assert ROOT / "maps" / "linear_map.py" in imported_files(ROOT / "subspaces" / "subspace.py")


def test_the_face_is_complete_and_light() -> None:
    """Every name promised is there, and none costs anything before it is used."""
    code = "import sys, blindspace as bs; assert 'torch' not in sys.modules; [getattr(bs, name) for name in bs.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'nullspaces'"):
        blindspace.nullspaces  # noqa: B018
    assert set(blindspace.__all__) <= set(dir(blindspace))
    assert not set(blindspace.__all__) & set(dir(builtins))
