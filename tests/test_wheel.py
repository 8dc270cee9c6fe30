"""The wheel installed alone, in an environment that has what it requires and nothing else; the sdist makes the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

import pytest

import blindspace as bs
from blindspace.cli.first_steps import STEPS

pytestmark = pytest.mark.skipif(find_spec("pip") is None, reason="installs the wheel with pip")

Requirement = pytest.importorskip("packaging.requirements").Requirement

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "CITATION.cff")

LARGEST = 12e6
"""Bytes of a wheel, of which 8 million are weights and images."""


def build(what: str, tree: Path, out: Path) -> Path:
    """A wheel or an sdist of a source tree, by its build backend in this environment."""
    code = f"import sys; from setuptools.build_meta import build_{what}; print(build_{what}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=tree, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("release")


@pytest.fixture(scope="module")
def sdist(place: Path) -> Path:
    tree = place / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tree / "src", ignore=ignored)
    for name in SOURCES:
        shutil.copy(ROOT / name, tree)
    return build("sdist", tree, place)


@pytest.fixture(scope="module")
def wheel(place: Path, sdist: Path) -> Path:
    """The wheel of the sdist."""
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "unpacked", filter="data")
    return build("wheel", next((place / "unpacked").iterdir()), place)


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    package = ROOT / "src/blindspace"
    there = {
        f"blindspace/{path.relative_to(package).as_posix()}": crc32(path.read_bytes())
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {item.filename: item.CRC for item in archive.infolist()}
    assert {name: crc for name, crc in found.items() if ".dist-info/" not in name} == there
    info = {name.split(".dist-info/")[1] for name in found if ".dist-info/" in name}
    assert {"METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE", "licenses/NOTICE"} <= info
    assert wheel.name == f"blindspace-{bs.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < LARGEST


def required(names: list[str]) -> set[str]:
    """The distributions that those of the given requirements need, without extras that nobody asks for."""
    found: dict[str, set[str]] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        known = found.setdefault(name, set())
        extras = {"", *requirement.extras} - known
        known |= extras
        for text in distribution(name).requires or [] if extras else []:
            further = Requirement(text)
            if not further.marker or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    return set(found)


@pytest.fixture(scope="module")
def alone(place: Path, wheel: Path) -> Path:
    """The folder of programs of an environment with the wheel and what it requires."""
    core, environment = place / "core", place / "environment"
    core.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    requirements = re.findall(r"^Requires-Dist: ((?:(?!extra ==).)+)$", metadata, re.MULTILINE)
    for name in required(requirements):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            target = Path(str(distribution(name).locate_file(top)))
            if target.exists() and not (core / top).exists():
                (core / top).symlink_to(target)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=60)
    install = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
    python = environment / "bin/python"
    # Without PYTHONPATH, on which pip could find the package itself and call it installed.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, *install, wheel], env=clean, check=True, timeout=120
    )
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "core.pth").write_text(f"{core}\n")
    return environment / "bin"


def test_audit_perturb_and_verify_of_an_embedded_network(alone: Path, tmp_path: Path) -> None:
    """The first commands that the program says to try, from an empty folder."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(alone), "HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        here = tmp_path / "here"
        here.mkdir(exist_ok=True)
        return subprocess.run(
            words, cwd=here, env={**environment, "LANG": "C.UTF-8"}, capture_output=True, text=True, timeout=120
        )

    audit, perturb, verify, page, *_ = STEPS
    hidden = (
        "import importlib.util as u; print([n for n in ('matplotlib', 'onnx', 'timm', 'pytest') if u.find_spec(n)])"
    )
    assert run("python", "-c", hidden).stdout == "[]\n"
    found = run(*audit.split(), "--no-layers", "--json", "-")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["front"]["dim"] == 528
    made = run(*perturb.split())
    assert (made.returncode, made.stderr) == (0, "")
    assert "200 perturbed images" in made.stdout
    same = run(*verify.split(), "--json", "-")
    assert same.returncode == 0, same.stderr
    assert json.loads(same.stdout)["labels_changed"] == 0
    missing = run(*page.split())
    assert missing.returncode == 2
    assert missing.stderr == "blindspace: a page needs matplotlib: pip install 'blindspace[report]'\n"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["changed.npz"]
