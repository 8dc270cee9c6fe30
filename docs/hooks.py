"""Pages of the site that come from elsewhere: the command line, the results, the changelog; and the links to them.

mkdocs calls the functions ``on_…``. Pages of ``docs/`` link to files of the repository as they lie there, so that they
can be read there too; here those links are turned to where the files stand in the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
EXPERIMENT = re.compile(r"^## ([a-z0-9-]+): ", re.MULTILINE)
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)")
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Files of the repository's root, and their pages."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the pictures of the results."""

    def add(uri: str, text: str) -> None:
        files.append(File.generated(config, uri, content=text))

    add("commands.md", commands())
    for name, text in results().items():
        add(f"results/{name}/README.md" if name else "results/README.md", text)
    for path in sorted(ROOT.glob("results/*/*")):
        if path.suffix in (".png", ".html"):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for name, uri in OUTSIDE.items():
        if name != "README.md" and (ROOT / name).is_file():
            add(uri, (ROOT / name).read_text("utf-8"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages."""
    uri = page.file.src_uri
    origin = next((name for name, made in OUTSIDE.items() if made == uri and name != "README.md"), f"docs/{uri}")
    if uri.startswith("results/"):
        origin = "results/README.md"
    names = results_names()

    def turned(found: re.Match[str]) -> str:
        text, path, anchor = found[1], found[2], found[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path)) if path else origin
        if target == "results/README.md":
            name = max((n for n in names if anchor[1:].startswith(f"{n}-")), key=len, default="")
            target, anchor = (f"results/{name}/README.md", "") if name else (target, anchor)
        elif not path:
            return found[0]
        target = OUTSIDE.get(target, target).removeprefix("docs/")
        if files.get_file_from_path(target) is None and (ROOT / target).exists():
            return text  # a file of the repository that the site does not have
        return f"[{text}]({posixpath.relpath(target, posixpath.dirname(uri) or '.')}{anchor})"

    return LINK.sub(turned, markdown)


def commands() -> str:
    """The reference of the command line, by Typer from the program itself."""
    import typer
    from typer.cli import get_docs_for_click

    from blindspace.cli.commands import NAMES, load_command

    parts = ["# The command line\n\nThis page is what `blindspace COMMAND --help` says, for every command.\n"]
    for name in NAMES:
        command, whole = load_command(name), f"blindspace {name}"
        text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name=whole), name=whole)
        parts.append(re.sub(r"^(#+ )`(.*)`$", r"#\1\2", text.strip(), flags=re.MULTILINE))
    return "\n\n".join(parts) + "\n"


def results() -> dict[str, str]:
    """The page of the results by experiment, with all figures; what precedes the first one has no name."""
    text = (ROOT / "results" / "README.md").read_text("utf-8")
    heads = [*EXPERIMENT.finditer(text)]
    bounds = [head.start() for head in heads] + [len(text)]
    parts = zip(heads, bounds, bounds[1:], strict=False)
    pages = {head[1]: with_figures(head[1], text[start:end]) for head, start, end in parts}
    # The search finds experiments by the first page, which has a line for each.
    return {"": text[: bounds[0]]} | {
        name: f"---\nsearch:\n  exclude: true\n---\n\n{page}" for name, page in pages.items()
    }


def with_figures(name: str, section: str) -> str:
    """The section of an experiment as a page, the link to its figures replaced by the figures themselves."""
    before, after = section[1:].split(f"- [all figures]({name}/table.md)\n")
    return before + (ROOT / "results" / name / "table.md").read_text("utf-8").removeprefix(before) + after


def results_names() -> list[str]:
    """The experiments that have results."""
    return EXPERIMENT.findall((ROOT / "results" / "README.md").read_text("utf-8"))
