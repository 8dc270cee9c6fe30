"""The answers to the claims of ``questions/``, and the tables that say which of them hold.

Each claim belongs to one experiment, which answers it by rows of its own result. Nothing that an experiment's work is
made of imports this file, so that a change of a claim's words throws no finished part away.
"""

from __future__ import annotations

from collections.abc import Sequence

from .experiment import Row, Verdict
from .questions.dimpled_manifold import DIMPLED_MANIFOLD
from .questions.learning import LEARNING
from .questions.lemma import LEMMA
from .questions.question import Question

TABLES = {
    "The dimpled manifold model: what holds": DIMPLED_MANIFOLD,
    "Learning from adversarial perturbations: what holds": LEARNING,
    "Beyond the affine front: what holds": LEMMA,
}
"""The claims of each table, by its title."""

QUESTIONS: dict[str, Question] = {name: question for table in TABLES.values() for name, question in table.items()}
"""All claims by name."""


def checked(experiment: str, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of an experiment, in the order of ``QUESTIONS``.

    Raises:
        ValueError: They do not answer exactly the questions that belong to it.
    """
    asked = [name for name, question in QUESTIONS.items() if question.experiment == experiment]
    answered = {verdict.question: verdict for verdict in verdicts}
    if sorted(answered) != sorted(asked) or len(verdicts) != len(asked):
        raise ValueError(f"{experiment} must answer {asked}, each once; it answers {[v.question for v in verdicts]}")
    return [answered[name] for name in asked]


def answer(verdict: Verdict) -> str:
    """The answer in words."""
    if verdict.answer is None:
        return "too small to decide"
    return f"depends on {verdict.on}" if verdict.answer == "depends" else verdict.answer


def tables_of_verdicts(found: Sequence[tuple[str, Verdict]]) -> list[str]:
    """The tables of all claims, with the figures that decide each.

    Args:
        found: Verdicts, each with a link to the experiment that it comes from.

    Returns:
        Lines of Markdown; those tables alone that have a verdict.
    """
    by_question = {verdict.question: (link, verdict) for link, verdict in found}
    lines: list[str] = []
    for title, questions in TABLES.items():
        if not by_question.keys() & questions.keys():
            continue
        lines += [f"## {title}", ""]
        lines += ["| claim | of | verdict | what decides, with 95 % intervals | from |", "|---|---|---|---|---|"]
        for name, question in questions.items():
            link, verdict = by_question.get(name, (question.experiment, None))
            said = "not run" if verdict is None else f"**{answer(verdict)}**"
            cells = (question.claim, question.whose, said, "" if verdict is None else figures(verdict), link)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("")
    return lines


def figures(verdict: Verdict) -> str:
    """The figures that decide, in words."""
    because = [verdict.because] if verdict.because else []
    return ". ".join(["; ".join(map(_figure, verdict.rows)), *because])


def _figure(row: Row) -> str:
    if row.ours is None:
        return f"{row.case}, {row.quantity}: not run"
    interval = " (" + " … ".join(f"{end:{row.form}}" for end in row.interval) + ")" if row.interval else ""
    reference = f", reference {row.reference:{row.form}}" if row.reference is not None else ""
    return f"{row.case}, {row.quantity}: {row.ours:{row.form}}{interval}{reference}"
