"""What an experiment is: a table or figure of a paper, computed in parts that are kept one by one.

An experiment declares its settings, the parts that its work consists of, the rows and claims that follow from the
finished parts, and how to draw them. Keeping, resuming, tables and the page of results are the runner's work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from math import isinf
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from .parts import Part, Parts, Preset, Settings

PICTURES = {".png": 500_000, ".gif": 500_000, ".html": 3_000_000}
"""Kinds of pictures by the ending of their file names, with the largest size of a file in bytes. A page needs nothing
outside itself."""


@dataclass(frozen=True)
class Row:
    """One figure of a result.

    Attributes:
        case: What is measured on, such as "ResNet-50, harmless, 32ε".
        quantity: What is measured, such as "RMSE of outputs".
        ours: The measured value; None if it was not run. Infinite where most attacks fail at any norm.
        reference: The paper's value, or one that others or earlier measurements found; None if there is none.
        interval: Confidence interval of 95 %; None where nothing is random.
        control: Whether the row is a control rather than a result.
        reason: Why ours differs from the reference, or was not run.
        form: Format specification of the figures, as of ``format``.
    """

    case: str
    quantity: str
    ours: float | None
    reference: float | None = None
    interval: tuple[float, float] | None = None
    control: bool = False
    reason: str = ""
    form: str = ".4g"

    @property
    def difference(self) -> float | None:
        """Our value minus the reference; None where a value is missing or infinite."""
        return None if self.ours is None or self.reference is None or isinf(self.ours) else self.ours - self.reference

    HEADS: ClassVar = ("case", "quantity", "reference", "ours", "95 %", "difference", "reason")

    def to_dict(self) -> dict[str, Any]:
        """The row and its difference as plain values for JSON, which has no number for ∞: it is "Infinity" there."""

        def plain(value: float | None) -> float | str | None:
            return value if value is None or not isinf(value) else "Infinity"

        interval = self.interval and [plain(end) for end in self.interval]
        return {**asdict(self), "ours": plain(self.ours), "interval": interval, "difference": self.difference}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The row that ``to_dict`` was made of."""
        values = {key: value for key, value in values.items() if key != "difference"}
        ours, interval = values.pop("ours"), values.pop("interval")
        return cls(
            **values,
            ours=ours if ours is None else float(ours),
            interval=interval and (float(interval[0]), float(interval[1])),
        )

    def cells(self) -> tuple[str, ...]:
        """The row as written in tables, under ``HEADS``."""

        def written(value: float | None, form: str = self.form) -> str:
            return "" if value is None else f"{value:{form}}".replace("inf", "∞")

        return (
            self.case,
            self.quantity,
            written(self.reference),
            "not run" if self.ours is None else written(self.ours),
            " … ".join(map(written, self.interval or ())),
            written(self.difference, f"+{self.form}"),
            self.reason,
        )


@dataclass(frozen=True)
class Claim:
    """A statement that the result supports or refutes.

    Attributes:
        text: The statement, with the figures that decide it.
        holds: Whether it holds; None if the preset is too small to decide.
    """

    text: str
    holds: bool | None


Answer = Literal["holds", "does not hold", "depends"]


@dataclass(frozen=True)
class Verdict:
    """The answer to a question that ``questions/`` gives to this experiment.

    Attributes:
        question: Name of the question.
        answer: The answer; None if the preset is too small to decide.
        rows: The rows of the result that decide, with their intervals.
        on: What the answer depends on, such as "the data set"; needed for "depends", empty otherwise.
        because: A sentence that qualifies the answer; empty if none is needed.
    """

    question: str
    answer: Answer | None
    rows: list[Row]
    on: str = ""
    because: str = ""

    def __post_init__(self) -> None:
        if (self.answer == "depends") != bool(self.on):
            raise ValueError(f"{self.question}: what the answer depends on belongs to 'depends' alone, got {self}")
        if self.answer is not None and not self.rows:
            raise ValueError(f"{self.question}: an answer needs the rows that decide")


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Experiment(Generic[S]):
    """A table or figure, and how it is computed.

    Attributes:
        name: Name given to ``blindspace reproduce``.
        title: Title in one line.
        source: Table, figure or section of the paper; "beyond the paper" otherwise.
        question: What is asked and how it is answered, for a reader who does not know the paper.
        settings: Maps a preset and a seed to the settings.
        parts: The work, in order; no part depends on a later one.
        rows: What was found, the paper's figures beside ours.
        claims: What follows from it.
        draw: Writes pictures into a folder; ``PICTURES`` has their kinds and sizes.
        extras: Extras of the package that the experiment needs.
        verdicts: The answers to the questions that ``questions/`` gives to this experiment.
    """

    name: str
    title: str
    source: str
    question: str
    settings: Callable[[Preset, int], S]
    parts: Callable[[S], Sequence[Part]]
    rows: Callable[[S, Parts], Sequence[Row]]
    claims: Callable[[S, Parts], Sequence[Claim]]
    draw: Callable[[S, Parts, Path], None]
    extras: tuple[str, ...] = ("plot",)
    verdicts: Callable[[S, Parts], Sequence[Verdict]] = lambda settings, parts: ()

    def settings_on(self, device: str, preset: Preset, seed: int) -> S:
        """The settings of a preset and a seed, for work on a device."""
        return replace(self.settings(preset, seed), device=device)


@dataclass(frozen=True)
class Result:
    """The outcome of an experiment.

    Attributes:
        name: Name of the experiment.
        title: Title of the experiment.
        source: Table, figure or section of the paper.
        question: What is asked and how it is answered.
        settings: All settings as plain values.
        versions: Versions of the libraries that computed it.
        networks: Descriptions of the networks it was computed on (see ``about``).
        rows: What was found.
        claims: What follows from it.
        pictures: File names of the pictures.
        verdicts: Answers to questions about a model, each by rows.
    """

    name: str
    title: str
    source: str
    question: str
    settings: dict[str, Any]
    versions: dict[str, str]
    networks: list[dict[str, Any]]
    rows: list[Row]
    claims: list[Claim]
    pictures: list[str]
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether no claim fails."""
        return all(claim.holds is not False for claim in self.claims)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        verdicts = [{**asdict(each), "rows": [row.to_dict() for row in each.rows]} for each in self.verdicts]
        return {**asdict(self), "rows": [row.to_dict() for row in self.rows], "verdicts": verdicts}

    def _repr_html_(self) -> str:
        """The claims and rows, for notebooks."""
        marks = {True: "✓", False: "✗", None: "?"}
        claims = "".join(f"<li>{marks[claim.holds]} {escape(claim.text)}</li>" for claim in self.claims)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row.cells())}</tr>" for row in self.rows)
        heads = "".join(f"<th>{head}</th>" for head in Row.HEADS)
        return (
            f"<h4>{escape(self.name)}: {escape(self.title)}</h4><ul>{claims}</ul><table><tr>{heads}</tr>{rows}</table>"
        )
