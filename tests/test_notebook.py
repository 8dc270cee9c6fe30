"""The notebook of the documentation runs; results and progress show themselves in it."""

from __future__ import annotations

from typing import Any

import nbformat
from nbclient import NotebookClient

import pages


class Watched(NotebookClient):
    """A client that keeps all HTML that was shown, also what was replaced or taken away later."""

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        self.shown = [*getattr(self, "shown", []), msg["content"].get("data", {}).get("text/html", "")]
        return super().process_message(msg, cell, cell_index)


def test_results_and_progress_show_themselves() -> None:
    notebook = nbformat.read(pages.DOCS / "notebooks" / "first-steps.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    client = Watched(notebook, timeout=300)
    client.execute()
    html = "\n".join(client.shown)
    assert "<b>Nullspace</b>" in html
    assert "<b>Affine front of mnist-mlp</b>" in html
    bars = [text for text in client.shown if "<progress" in text]
    assert any(" of " in text and "auditing: " in text for text in bars)
    at_last = [out.get("data", {}).get("text/html", "") for cell in notebook.cells for out in cell.get("outputs", [])]
    assert not any("<progress" in text for text in at_last), "the bar stays after the work"
    assert len([text for text in at_last if text]) == 3
