"""The files around the package: one version, files that parse, workflows that call what there is to make."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import blindspace as bs

yaml = pytest.importorskip("yaml", reason="the documentation's tools bring PyYAML")

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "blindspace"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in parsed(workflow)["jobs"].values() for step in job["steps"]]


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "blindspace.__version__"}
    done = subprocess.run(
        [sys.executable, "-c", "from blindspace.cli.main import run; run(['--version'])"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"blindspace {bs.__version__}\n"
    assert parsed(ROOT / "CITATION.cff")["version"] == bs.__version__
    assert f"\n## [{bs.__version__}] - " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_citation_names_what_the_library_is_built_on() -> None:
    citation = parsed(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "version", "license", "references"} <= citation.keys()
    assert citation["license"] == PROJECT["project"]["license"]
    source = "\n".join(path.read_text("utf-8") for path in (*PACKAGE.rglob("*.py"), *(ROOT / "docs").glob("*.md")))
    for paper in citation["references"]:
        assert paper["title"]
        assert all(author["family-names"] for author in paper["authors"])
        (known,) = paper["identifiers"]
        assert known["value"].replace(":", " ") in source


def test_the_changelog_is_one() -> None:
    heads = re.findall(r"^##+ (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    versions = [head for head in heads if head.startswith("[")]
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", head) for head in versions[1:])
    assert set(heads) - set(versions) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_there_is_to_make(workflow: Path) -> None:
    there = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    called = [target for step in steps(workflow) for target in re.findall(r"make (\S+)", step.get("run", ""))]
    assert called
    assert set(called) <= there
    assert parsed(workflow)["permissions"]  # the least that it needs
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps(workflow) if "uses" in step)


def test_every_check_is_called_by_a_workflow() -> None:
    runs = {step.get("run") for workflow in WORKFLOWS for step in steps(workflow)}
    assert {"make demo", "make test", "make docs", "make dist"} <= runs


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_templates_have_what_a_form_needs(template: Path) -> None:
    form = parsed(template)
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_hooks_are_those_of_the_environment() -> None:
    (repository,) = parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert all(hook["language"] == "system" for hook in repository["hooks"])
    assert all(hook["entry"].startswith(".venv/bin/") for hook in repository["hooks"])


def test_every_embedded_file_is_in_the_notice() -> None:
    notice = (ROOT / "NOTICE").read_text("utf-8")
    named: list[str] = []
    for head in re.findall(r"^(src/\S+(?:, \S+)*)$", notice, re.MULTILINE):
        first, *others = head.split(", ")
        named += [first, *(f"{Path(first).parent}/{other}" for other in others)]
    embedded = [
        str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if path.suffix in (".npz", ".safetensors", ".onnx")
    ]
    assert len(embedded) >= 7
    assert [file for file in embedded if not any(fnmatch(file, pattern) for pattern in named)] == []
    assert [pattern for pattern in named if not any(fnmatch(file, pattern) for file in embedded)] == []
    assert PROJECT["project"]["license-files"] == ["LICENSE", "NOTICE"]


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text("utf-8"))
    assert not [link for link in links if not link.startswith("http") and not (ROOT / link).exists()]
