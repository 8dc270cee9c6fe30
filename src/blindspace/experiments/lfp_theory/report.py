"""Reach of the theory: rows, claims, verdicts and the picture."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from ..common.binary_samples import ORTHOGONAL
from ..common.intervals import Estimate
from ..common.pictures import COLOURS, MUTED, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .found import again, agreement, cells, expected, mean, named, share, violated
from .measure import DEFAULT, SMALL
from .settings import KINDS, NAMED, TheorySettings

EARLIER_CONDITION = dict(zip(NAMED[1:], (72 / 30, 0.21 / 31), strict=True))
EARLIER_DEFAULT = dict.fromkeys(NAMED, 0.998)
"""Earlier measurements of the named cases: both sides of the condition, and the agreement from default weights."""

CLOSE = 0.99
"""Agreement from which two boundaries count as one."""


def _row(
    case: str, what: str, of: Estimate, form: str = ".4f", reference: float | None = None, reason: str = ""
) -> Row:
    return Row(case, what, of.value, reference, of.interval, False, reason, form)


def _named_rows(s: TheorySettings, done: Parts, index: int) -> list[Row]:
    case, runs = s.named[index], named(s, done, index)
    of = case.name
    margins = [run["condition"] for run in runs]
    inside = sum(run["within exact"] and run[SMALL]["within"] for run in runs)
    bounds, span = runs[0]["bounds"], runs[0]["multipliers"]
    words = f"first seed: λ from {span[0]:.3g} to {span[1]:.3g}, bounds {bounds[0]:.3g} and {bounds[1]:.3g}"
    made = [
        Row(
            *(of, "condition, left side / right side, median", median(margins), EARLIER_CONDITION.get(case)),
            reason="p_max is 0 up to rounding" if min(margins) > 1e6 else "another draw; above 1 it holds",
            form=".3g",
        ),
        Row(
            of,
            "draws in which the programme's solution is one of the network",
            sum(r["exact"] for r in runs) / len(runs),
        ),
        Row(of, "draws with all λ within the bounds, by both methods", inside / len(runs), 1.0, reason=words),
    ]
    for start, before in ((SMALL, 1.0), (DEFAULT, EARLIER_DEFAULT.get(case))):
        least = min(run[start]["cosine"] for run in runs)
        made += [
            Row(
                *(of, f"cosine of programme and descent, {start} start, least", least),
                reference=0.99999 if start == SMALL else None,
                reason="at least the reference is asked for" if start == SMALL else "",
                form=".7f",
            ),
            small_agreement(s, done, index)
            if start == SMALL
            else _row(
                of,
                f"agreement of programme and descent, {start} start",
                agreement(r[start] for r in runs),
                reference=before,
                reason=f"{s.long} steps; earlier 3000 steps of a fixed size, which gave 0.9965 to 0.999",
            ),
        ]
    return made


def small_agreement(s: TheorySettings, done: Parts, index: int) -> Row:
    """Agreement of the programme and of descent from a small start."""
    found = agreement(run[SMALL] for run in named(s, done, index))
    return _row(s.named[index].name, f"agreement of programme and descent, {SMALL} start", found, reference=1.0)


def _second(s: TheorySettings, index: int, ratio: float, wrong: bool) -> str:
    targets = "wrong for all" if wrong else "random"
    return f"{s.named[index].name}, second network, ρ {ratio:g}, targets {targets}"


def as_predicted(s: TheorySettings, done: Parts, index: int, ratio: float, wrong: bool = False) -> Row:
    """How the second network agrees with the boundary that is predicted for it."""
    runs = again(s, done, index, ratio, wrong)
    points = sum(run[SMALL]["points"] for run in named(s, done, index))
    words = f"exact solution in {sum(run['exact'] for run in runs)} of {len(runs)} draws"
    found = share(sum(run["predicted"] for run in runs), points)
    return _row(_second(s, index, ratio, wrong), "agreement with the predicted boundary", found, reason=words)


def where_predicted(s: TheorySettings, done: Parts, exact: bool) -> Estimate:
    """Agreement with the predicted boundary over all second networks for which its solution is exact, or is not."""
    count = of = 0
    for index in range(len(s.named)):
        for values in named(s, done, index):
            runs = [run for run in values["again"] if run["exact"] == exact]
            count += sum(run["predicted"] for run in runs)
            of += len(runs) * values[SMALL]["points"]
    return share(count, of)


def as_first(s: TheorySettings, done: Parts, index: int, ratio: float, wrong: bool = False) -> Row:
    """How the second network agrees with the first."""
    runs = again(s, done, index, ratio, wrong)
    points = sum(run[SMALL]["points"] for run in named(s, done, index))
    words = f"natural samples {mean(run['natural'] for run in runs).value:.3f}"
    if not wrong:
        words = f"with equal multipliers {expected(ratio):.4f}; {words}"
    found = share(sum(run["first"] for run in runs), points)
    return _row(_second(s, index, ratio, wrong), "agreement with the first network", found, reason=words)


def _region_rows(s: TheorySettings, done: Parts, index: int, ratio: float) -> list[Row]:
    runs = again(s, done, index, ratio, False)
    points = sum(run[SMALL]["points"] for run in named(s, done, index))
    region, sure = (sum(run[key] for run in runs) for key in ("dominated", "guaranteed"))
    of = _second(s, index, ratio, False)
    words = f"bounds alone, whatever the multipliers are: {sure / points:.4f}"
    if max(run["condition"] for run in runs) <= 1:
        words += ", not a proof, as the perturbed samples violate the condition"
    inside = share(sum(run["agree in it"] for run in runs), region)
    return [
        _row(of, "points in the region of predicted agreement", share(region, points), reason=words),
        _row(of, "agreement with the first network in that region", inside),
    ]


def _grid_rows(s: TheorySettings, done: Parts) -> list[Row]:
    made, every = [], cells(s, done)
    for kind in KINDS:
        for slope in s.slopes:
            some = [cell for cell in every if cell.case.kind == kind and cell.case.slope == slope]
            held = [cell for cell in some if cell.exact]
            rest = [cell for cell in some if cell.values["solved"] and not cell.exact]
            of = f"grid, {kind}, γ {slope:g}"
            margins = [cell.condition for cell in some]
            words = f"condition holds in {sum(each > 1 for each in margins)}; median margin {median(margins):.2g}"
            made.append(
                _row(
                    of,
                    "cases whose exact solution is one of the network",
                    share(len(held), len(some)),
                    ".3f",
                    None,
                    words,
                )
            )
            for group, what in ((held, "such cases"), (rest, "the other cases with a solution")):
                if group:
                    least = min(cell.share for cell in group)
                    found = agreement(cell.values for cell in group)
                    made.append(
                        _row(of, f"agreement of programme and descent in {what}", found, reason=f"least {least:.4f}")
                    )
    return made


def beyond(s: TheorySettings, done: Parts) -> list[Row]:
    """What remains of the guarantee where the condition is violated."""
    some = violated(s, done)
    held, rest = [cell for cell in some if cell.exact], [cell for cell in some if not cell.exact]
    of = "grid, condition violated"
    made = [_row(of, "cases whose exact solution is one of the network", share(len(held), len(some)), ".3f")]
    if held:
        least = min(held, key=lambda cell: cell.condition)
        words = f"largest violation: {1 / least.condition:.2g}-fold ({least.case.name}), agreement {least.share:.4f}"
        made.append(
            _row(
                of, "agreement of programme and descent in such cases", agreement(c.values for c in held), reason=words
            )
        )
    if rest:
        made.append(_row(of, "agreement of programme and descent in the others", agreement(c.values for c in rest)))
    return made


def rows(s: TheorySettings, done: Parts) -> list[Row]:
    """The named cases, the networks that learn from perturbed samples, and the grid."""
    made = []
    for index in range(len(s.named)):
        made += _named_rows(s, done, index)
    for index in range(len(s.named)):
        for ratio in s.ratios:
            made += [as_predicted(s, done, index, ratio), as_first(s, done, index, ratio)]
            made += _region_rows(s, done, index, ratio)
            made += [as_predicted(s, done, index, ratio, True), as_first(s, done, index, ratio, True)]
    return [*made, *_grid_rows(s, done), *beyond(s, done)]


def claims(s: TheorySettings, done: Parts) -> list[Claim]:
    """Agreement of both methods, and of the second network with the prediction."""
    every = [run for index in range(len(s.named)) for run in named(s, done, index)]
    default = [run[DEFAULT]["agree"] / run[DEFAULT]["points"] for run in every]
    region = [run for values in every for run in values["again"] if run["exact"] and not run["wrong"]]
    inside, agree = sum(run["dominated"] for run in region), sum(run["agree in it"] for run in region)
    made = [
        Claim(
            "programme and descent from a small start have one direction in the named cases: least cosine "
            f"{min(run[SMALL]['cosine'] for run in every):.7f}",
            all(run[SMALL]["cosine"] >= 0.99999 for run in every),
        ),
        Claim(
            "and one sign at every point: "
            f"{sum(run[SMALL]['agree'] for run in every)} of {sum(run[SMALL]['points'] for run in every)}",
            all(run[SMALL]["agree"] == run[SMALL]["points"] for run in every),
        ),
        Claim(
            "all multipliers of both lie within the bounds, also where the condition is violated",
            all(run["within exact"] and run[SMALL]["within"] for run in every),
        ),
        Claim(
            f"from default weights they agree less: on {min(default):.4f} to {max(default):.4f} of the points",
            sum(run[DEFAULT]["agree"] for run in every) < sum(run[SMALL]["agree"] for run in every),
        ),
        Claim(
            "in the region of predicted agreement, where the perturbations outweigh the samples, the second network "
            f"agrees with the first: {agree} of {inside} points",
            inside > 0 and agree >= CLOSE * inside,
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def verdicts(s: TheorySettings, done: Parts) -> list[Verdict]:
    """Whether the boundary is found again, and whether the guarantee reaches beyond its condition."""
    if s.preset == "smoke":
        return [Verdict("boundary-again", None, []), Verdict("tails", None, [])]
    cases, least, most = range(len(s.named)), min(s.ratios), max(s.ratios)
    held, rest = (where_predicted(s, done, exact) for exact in (True, False))
    first = {ratio: [as_first(s, done, i, ratio) for i in cases] for ratio in s.ratios}
    foreseen = held.interval is not None and held.interval[0] > CLOSE
    again_at_most = all((row.ours or 0) > 0.9 for row in first[most])
    again_at_least = all((row.ours or 0) > 0.9 for row in first[least])
    answer: Answer = "does not hold"
    if foreseen and again_at_most:
        answer = "holds" if again_at_least else "depends"
    last = len(s.named) - 1
    shown = [as_predicted(s, done, last, ratio) for ratio in (least, most)]
    shown += [as_first(s, done, last, ratio) for ratio in (least, most)]
    shown.append(as_first(s, done, last, least, True))
    because = (
        f"The prediction is right on {held.value:.4f} of the points where its solution is one of the network, on "
        f"{rest.value:.4f} elsewhere; with equal multipliers the first boundary would return on a share "
        "1 − arctan(1/ρ)/π of random points"
    )
    found = beyond(s, done)
    cases_held = [cell for cell in violated(s, done) if cell.exact]
    reaches = bool(cases_held) and found[1].interval is not None and found[1].interval[0] > CLOSE
    reaches = reaches and min(cell.condition for cell in cases_held) < 0.1
    other = [cell.case.name for cell in cases_held if cell.share < CLOSE]
    on = "the size of the perturbations" if answer == "depends" else ""
    return [
        Verdict("boundary-again", answer, shown, on, because),
        Verdict(
            "tails",
            "holds" if reaches else "does not hold",
            found,
            because=(
                "Where all samples have the activation pattern of their labels, the boundary is that of the theory, "
                f"whatever the condition says: in {len(cases_held) - len(other)} of {len(cases_held)} such cases "
                f"descent agrees on more than {CLOSE:.0%} of the points"
                + (f"; in {', '.join(dict.fromkeys(other))} it ends at another solution" if other else "")
                + ". Where they do not, descent ends elsewhere"
            ),
        ),
    ]


def draw(s: TheorySettings, done: Parts, folder: Path) -> None:
    """Agreement against the condition's margin, without orthogonal samples, and against the size of perturbations."""
    figure = new_figure(10.5, 4)
    left, right = figure.subplots(1, 2)
    plain(
        left, "programme and descent", "condition, left side / right side (it holds above 1)", "disagreement + 0.0001"
    )
    solved = [cell for cell in cells(s, done) if cell.values["solved"] and cell.case.kind != ORTHOGONAL]
    for exact, colour, label in ((False, "gaussian", "another activation pattern"), (True, "own", "the assumed one")):
        some = [cell for cell in solved if cell.exact == exact]
        left.scatter(
            [cell.condition for cell in some],
            [1.0001 - cell.share for cell in some],
            s=13,
            color=COLOURS[colour],
            alpha=0.6,
            linewidths=0,
            label=label,
        )
    left.axvline(1, color=MUTED, linewidth=1, linestyle=":")
    left.set_xscale("log")
    left.set_yscale("log")
    left.legend(frameon=False, fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 0.06))
    plain(right, "second network and first, random targets", "size ρ of the perturbations", "agreement")
    for index, colour in zip(range(len(s.named)), ("own", "second", "third"), strict=False):
        values = [as_first(s, done, index, ratio).ours or 0 for ratio in s.ratios]
        right.plot(s.ratios, values, "o", color=COLOURS[colour], markersize=5, label=s.named[index].name)
    low, high = min(s.ratios), max(s.ratios)
    fine = [low * (high / low) ** (i / 50) for i in range(51)]
    right.plot(fine, [expected(ratio) for ratio in fine], "--", color=MUTED, linewidth=1, label="1 − arctan(1/ρ)/π")
    right.set_xscale("log")
    right.set_xticks(list(s.ratios), [f"{ratio:g}" for ratio in s.ratios])
    right.minorticks_off()
    right.legend(frameon=False, fontsize=8.5, loc="lower right")
    figure.tight_layout()
    save(figure, folder / "theory.png")
