"""Resizers: rows, claims, the picture, and the table of the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...maps.resizing.registry import RESIZERS
from ..common.pictures import INK, MUTED, new_figure, plain, save
from ..experiment import Claim, Row
from ..parts import Parts
from .settings import ResizersSettings, Size

REAL = "largest difference in floating point"
GREY = "largest difference of eight bits, nothing clipped, in 1/255"
ALL = "largest difference of eight bits, any image, in 1/255"
COMPARED = ((REAL, "real", ".1e"), (GREY, "grey", ".3f"), (ALL, "all", ".2f"))


def rows(s: ResizersSettings, done: Parts) -> list[Row]:
    """For each resizer the differences from its library, and its properties at each size."""
    made = []
    for kept in done.values():
        version = kept.values["version"]
        for name, found in kept.values["resizers"].items():
            for what, key, form in COMPARED:
                if version is None and key == "real":
                    made.append(Row(name, what, None, reason="the library is not installed"))
                elif found.get(key) is not None:
                    made.append(Row(name, what, found[key], reason=f"{version}, {found['sizes']} sizes", form=form))
            for size, at in zip(s.sizes, found["maps"], strict=True):
                made += _properties(name, _in_words(*size), at)
    return made


def _in_words(before: Size, after: Size) -> str:
    return f"{before[0]}×{before[1]} → {after[0]}×{after[1]}"


def _properties(name: str, size: str, at: Mapping[str, Any]) -> list[Row]:
    low, high = at["sums"]
    return [
        Row(name, f"rank, {size}", at["rank"], reason=f"of {at['outputs']} outputs", form=",.0f"),
        Row(name, f"condition, {size}", at["condition"]),
        Row(name, f"pixels per output, {size}", at["taps"], form=",.0f"),
        Row(name, f"weight sums less 1, {size}", max(1 - low, high - 1), form=".1e"),
        Row(name, f"sum of absolute weights, {size}", at["negative"], form=".3f"),
    ]


def claims(s: ResizersSettings, done: Parts) -> list[Claim]:
    """Maps are the libraries' to the digits of their arithmetic; eight bits stay within the stated bounds."""
    wrong, far, number, bytes_ = [], [], 0, 0
    for kept in done.values():
        for name, found in kept.values["resizers"].items():
            if found.get("real") is not None:
                number += 1
                wrong += [name] if found["real"] > kept.values["digits"] else []
            if found.get("grey") is not None:
                bytes_ += 1
                far += [name] if found["grey"] > RESIZERS[name].bound + 2e-3 else []
    missing = [name for name, kept in done.items() if kept.values["version"] is None]
    also = f"; not installed here: {', '.join(missing)}" if missing else ""
    return [
        Claim(
            f"of {number} resizers that were compared in floating point, {number - len(wrong)} are their maps to the "
            f"digits of the library (1e-6; 2e-6 for ONNX and TensorFlow, 2e-4 for ImageMagick's 16 bits){also}",
            not wrong if number else None,
        ),
        Claim(
            f"of {bytes_} resizers that were compared in eight bits, {bytes_ - len(far)} stay within their stated "
            "bound where nothing is clipped",
            not far if bytes_ else None,
        ),
    ]


def draw(s: ResizersSettings, done: Parts, folder: Path) -> None:
    """What eight bits add: the largest difference of any image beside that where nothing is clipped."""
    every = [
        (name, found["grey"], found["all"])
        for kept in done.values()
        for name, found in kept.values["resizers"].items()
        if found.get("all")
    ]
    figure = new_figure(7, 1 + 0.17 * len(every))
    axes = figure.add_subplot()
    plain(axes)
    for at, (_, grey, full) in enumerate(every):
        axes.plot([grey, full], [at, at], color=MUTED, lw=0.8)
        axes.plot([grey], [at], "o", color=INK, ms=3)
        axes.plot([full], [at], "x", color=INK, ms=4)
    axes.set_yticks(range(len(every)), [name for name, _, _ in every], size=6)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("largest difference from the map, in 1/255:  ● nothing clipped  × any image", size=8)
    save(figure, folder / "resizers.png")


HEADS = ("resizer", "version", "float", "8 bits, unclipped", "8 bits, any", "rank", "condition", "pixels", "sums − 1")


def table(rows: Sequence[Mapping[str, Any]], size: str) -> list[str]:
    """The lines of the documentation's table in Markdown, from the rows of a ``result.json``.

    Args:
        rows: Rows as plain values.
        size: Size at which the properties are told, as the rows write it.
    """
    by_name: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["case"], {})[row["quantity"]] = row
    lines = ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    for name, found in by_name.items():

        def told(quantity: str, found: Mapping[str, Mapping[str, Any]] = found) -> str:
            row = found.get(quantity)
            return "" if row is None or row["ours"] is None else format(row["ours"], row["form"])

        reason = next((row["reason"] for row in found.values() if " sizes" in row["reason"]), "not measured")
        figures = [told(what) for what, _, _ in COMPARED]
        figures += [told(f"{what}, {size}") for what in ("rank", "condition", "pixels per output")]
        figures.append(told(f"weight sums less 1, {size}"))
        lines.append("| " + " | ".join([name, reason.split(",")[0], *figures]) + " |")
    return lines
