"""Results in words and in notebooks: figures as text, and small HTML tables (``_repr_html_``); all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

FEW = 6
"""Number of values of a list that a table shows."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Shown:
    """A result that shows itself in notebooks as a table of what its ``to_dict`` returns."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; every result has its own."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return table(type(self).__name__, flat(self.to_dict()))


def flat(values: Mapping[str, Any]) -> dict[str, object]:
    """Values by their names as the rows of a table: those of nested mappings each by both names, few of long lists."""
    rows: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows |= {f"{name} {inner}": each for inner, each in flat(value).items()}
        elif isinstance(value, list | tuple):
            rows[name] = f"{len(value)} values" if len(value) > FEW or _nested(value) else ", ".join(map(_plain, value))
        else:
            rows[name] = value
    return rows


def _nested(values: Iterable[object]) -> bool:
    return any(isinstance(value, Mapping | list | tuple) for value in values)


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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


def paragraph(text: str, bold: bool = False) -> str:
    """Format a sentence or several as a ``<p>``."""
    shown = f"<b>{_text(text)}</b>" if bold else _text(text)
    return f"<p style='max-width:68ch'>{shown}</p>"


def _caption(title: str) -> str:
    return f"<caption style='text-align:left'><b>{_text(title)}</b></caption>"


def _cell(value: object) -> str:
    return f"<td style='text-align:left'>{_text(value)}</td>"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else escape(str(value))


def number(value: float | None, digits: int = 2) -> str:
    """Format a measured figure with ``digits`` significant digits: 13.4, 0.067, 8.9 × 10⁻¹⁵; a dash for None."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if 0.01 <= abs(value) < 10_000:
        whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
        text = f"{value:.{max(digits - whole, 0)}f}" if whole else f"{value:.{digits}g}"
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{str(int(exponent)).translate(_SUPERSCRIPTS)}".replace(
        "-", "−", 1
    )


def size(value: float) -> str:
    """Format the size of a perturbation to two decimals from 0.1 on and to three below: 0.063, 0.13, 8.03."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}" if value else "0"


def percent(share: float, digits: int = 1) -> str:
    """Format a share in percent, never rounded up to 100: 16.7 %, > 99.9 %."""
    shown = f"{100 * share:.{digits}f}"
    if share < 1 and float(shown) == 100:
        return f">\N{NO-BREAK SPACE}{100 - 10.0**-digits:.{digits}f}\N{NO-BREAK SPACE}%"
    return f"{shown}\N{NO-BREAK SPACE}%"
