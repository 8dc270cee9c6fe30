"""Verdicts: every claim has one experiment, which answers all of its claims; the table shows what decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blindspace.experiments import verdicts
from blindspace.experiments.experiment import Claim, Experiment, Row, Verdict
from blindspace.experiments.parts import Kept, Part, Settings
from blindspace.experiments.questions.question import BEYOND, Question
from blindspace.experiments.registry import NAMES
from blindspace.experiments.results import markdown, read, write_page
from blindspace.experiments.runner import run
from blindspace.experiments.verdicts import QUESTIONS, TABLES, answer, checked, figures

ROW = Row("an MLP", "share", 0.25, reference=0.5, interval=(0.2, 0.3), form=".2f")
ASKED = {
    "round": Question("Dice are round.", BEYOND, "dice"),
    "fair": Question("Dice are fair | not.", BEYOND, "dice"),
    "loaded": Question("Coins are loaded.", BEYOND, "coins"),
}


@pytest.fixture(autouse=True)
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "committed" not in request.node.name:
        for name in list(QUESTIONS):
            monkeypatch.delitem(QUESTIONS, name)
        for name, question in ASKED.items():
            monkeypatch.setitem(QUESTIONS, name, question)
        monkeypatch.setattr(verdicts, "TABLES", {"Coins": {"loaded": ASKED["loaded"]}, "Dice": ASKED})


def dice(*given: Verdict) -> Experiment[Settings]:
    return Experiment(
        "dice",
        "some dice",
        "beyond the paper",
        "How do dice fall?",
        Settings,
        lambda s: [Part("all", lambda report: Kept({}))],
        lambda s, done: [ROW],
        lambda s, done: [Claim("dice fall", True)],
        lambda s, done, folder: None,
        extras=(),
        verdicts=lambda s, done: list(given),
    )


FAIR = Verdict("fair", "depends", [ROW, Row("a coin", "share", None)], on="the die", because="Seen by eye.")
ROUND = Verdict("round", "does not hold", [ROW])


def test_verdicts_are_kept_and_stand_in_the_table_of_their_model(tmp_path: Path) -> None:
    result = run(dice(FAIR, ROUND), "smoke", tmp_path)
    assert result.verdicts == [ROUND, FAIR]  # in the order of the questions
    assert read(tmp_path / "dice" / "result.json") == result
    assert "- Dice are round. **does not hold**" in markdown(result).splitlines()
    lines = write_page(tmp_path, ("dice", "coins")).read_text().splitlines()
    assert "## Coins" not in lines  # none of its claims has been answered
    start = lines.index("## Dice")
    assert start < lines.index("| | | | claims that hold |")
    shown = "an MLP, share: 0.25 (0.20 … 0.30), reference 0.50"
    assert lines[start + 4 : start + 7] == [
        f"| Dice are round. | {BEYOND} | **does not hold** | {shown} | [dice](#dice-some-dice) |",
        f"| Dice are fair \\| not. | {BEYOND} | **depends on the die** | {shown}; a coin, share: not run. Seen by eye. "
        "| [dice](#dice-some-dice) |",
        f"| Coins are loaded. | {BEYOND} | not run |  | coins |",
    ]


def test_without_a_verdict_there_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ASKED:
        monkeypatch.delitem(QUESTIONS, name)
    run(dice(), "smoke", tmp_path)
    assert "| verdict |" not in write_page(tmp_path, ("dice",)).read_text()


def test_a_verdict_on_a_question_that_is_gone_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(dice(FAIR, ROUND), "smoke", tmp_path)
    monkeypatch.delitem(QUESTIONS, "fair")
    assert read(tmp_path / "dice" / "result.json").verdicts == [ROUND]


@pytest.mark.parametrize("given", [[], [FAIR], [FAIR, ROUND, ROUND], [FAIR, Verdict("loaded", "holds", [ROW])]])
def test_an_experiment_answers_its_own_questions_once(given: list[Verdict]) -> None:
    with pytest.raises(ValueError, match=r"dice must answer \['round', 'fair'\]"):
        checked("dice", given)


def test_what_a_verdict_needs() -> None:
    assert answer(Verdict("fair", None, [])) == "too small to decide"
    assert figures(ROUND).startswith("an MLP")
    wrong: list[dict[str, Any]] = [{"answer": "depends"}, {"answer": "holds", "on": "luck"}]
    for case in wrong:
        with pytest.raises(ValueError, match="belongs to 'depends' alone"):
            Verdict("fair", rows=[ROW], **case)
    with pytest.raises(ValueError, match="needs the rows that decide"):
        Verdict("fair", "holds", [])


def test_every_committed_question_belongs_to_an_experiment() -> None:
    assert {question.experiment for question in QUESTIONS.values()} <= set(NAMES)
    claims = [question.claim for question in QUESTIONS.values()]
    assert len(set(claims)) == len(claims)
    assert all(claim.endswith(".") for claim in claims)


COMMITTED = Path(__file__).parents[2] / "results"


DECIDING = sorted({question.experiment for question in QUESTIONS.values()})


@pytest.mark.parametrize("name", [name for name in DECIDING if (COMMITTED / name / "result.json").is_file()])
def test_committed_results_answer_every_question(name: str) -> None:
    result = read(COMMITTED / name / "result.json")
    assert [each.question for each in result.verdicts] == [k for k, q in QUESTIONS.items() if q.experiment == name]
    assert all(each.answer is not None for each in result.verdicts)
    for verdict in result.verdicts:
        assert any(row.interval for row in verdict.rows), f"no interval decides {verdict.question}"


def test_no_two_committed_claims_have_one_name() -> None:
    assert len(QUESTIONS) == sum(map(len, TABLES.values()))
