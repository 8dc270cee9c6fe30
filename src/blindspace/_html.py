"""Small HTML tables by which results show themselves in notebooks (``_repr_html_``); all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def table(title: str, rows: Mapping[str, object]) -> str:
    """Format values by their names, whose underscores become spaces, as a ``<table>`` of two columns."""
    body = (
        f"<tr><th style='text-align:left'>{_text(name.replace('_', ' '))}</th>{_cell(value)}</tr>"
        for name, value in rows.items()
    )
    return f"<table>{_caption(title)}<tbody>{''.join(body)}</tbody></table>"


def grid(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format records, each as long as ``heads``, as a ``<table>`` with a head."""
    head = "".join(f"<th style='text-align:left'>{_text(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{_caption(title)}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _caption(title: str) -> str:
    return f"<caption style='text-align:left'><b>{_text(title)}</b></caption>"


def _cell(value: object) -> str:
    return f"<td style='text-align:left'>{_text(value)}</td>"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else escape(str(value))
