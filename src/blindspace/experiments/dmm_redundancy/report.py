"""Redundant dimensions: rows, claims and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..common.intervals import Estimate, median, ratio_of_medians
from ..common.pictures import COLOURS, INK, Line, new_figure, plain, plot, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .settings import INITS, WORDS, DmmRedundancy, Init, Kind, Reads, kinds, toy_part

THEORY = 0.15
"""Relative error within which the norm of the gradient off the data is to agree with theory."""

MATTERS = 0.8
"""A ratio of norms, or of steps, below which redundant dimensions matter."""


def _toy(done: Parts, init: Init, n: int) -> dict[str, Tensor]:
    return done[toy_part(init, n)].arrays


def _seeds(values: Tensor) -> list[Tensor]:
    return list(values.double())


def _row(case: str, quantity: str, found: Estimate, reason: str = "", control: bool = False) -> Row:
    return Row(case, quantity, found.value, None, found.interval, control, reason, ".3g")


# --- the toy -----------------------------------------------------------------------------------------------


def against_theory(done: Parts, init: Init, n: int) -> Estimate:
    """‖gradient off the data‖ over √(kℓσ²/m), median over points and seeds."""
    found = _toy(done, init, n)
    return ratio_of_medians(_seeds(found["off gradient"]), _seeds(found["theory"]))


def fallen(s: DmmRedundancy, done: Parts, init: Init, n: int, part: str = "plain") -> Estimate:
    """The norm that changes the label in n dimensions over that in k dimensions."""
    return ratio_of_medians(_seeds(_toy(done, init, n)[part]), _seeds(_toy(done, init, s.dims[0])["plain"]))


def predicted(done: Parts, init: Init, n: int) -> float:
    """What the fall is if the gradient's part off the data is that of theory and the boundary is flat."""
    found = _toy(done, init, n)
    return float((1 + (found["theory"] / found["on gradient"]).square()).rsqrt().median())


def rows(s: DmmRedundancy, done: Parts) -> list[Row]:
    """The toy by initial weights and dimension; then networks on MNIST."""
    made = []
    for init in INITS:
        for n in s.dims:
            case, found = f"toy, variance fixed {init}, n = {n}", _toy(done, init, n)
            late = int(found["unfinished"].sum())
            words = f"{late} of {len(found['unfinished'])} networks have no margin of 1 when training ends"
            made.append(_row(case, "smallest norm", median(_seeds(found["plain"])), words * (late > 0)))
            if n == s.manifold:
                continue
            made.append(_row(case, "smallest norm on the data's subspace", median(_seeds(found["on"]))))
            made.append(_row(case, "smallest norm off it", median(_seeds(found["off"]))))
            made.append(_row(case, "‖gradient off it‖ over theory", against_theory(done, init, n)))
            share = found["on gradient"].square() / (found["on gradient"].square() + found["off gradient"].square())
            made.append(_row(case, "share of the gradient on it over chance", median(_seeds(share * n / s.manifold))))
            made += [_fallen(s, done, init, n), _steps(s, done, init, n)]
    return [*made, *(row for kind in kinds(s) for row in _mnist_rows(s, done, kind))]


def _fallen(s: DmmRedundancy, done: Parts, init: Init, n: int) -> Row:
    case, line = (
        f"toy, variance fixed {init}, n = {n}",
        f"predicted from the initial weights: {predicted(done, init, n):.3f}",
    )
    return _row(case, f"smallest norm over that at n = {s.manifold}", fallen(s, done, init, n), line)


def eased(s: DmmRedundancy, done: Parts, init: Init, n: int) -> Estimate:
    """Steps until every margin is 1 in n dimensions over those in k dimensions."""
    return ratio_of_medians(_toy(done, init, n)["steps"], _toy(done, init, s.dims[0])["steps"])


def _steps(s: DmmRedundancy, done: Parts, init: Init, n: int) -> Row:
    words = f"steps of training over those at n = {s.manifold}"
    return _row(f"toy, variance fixed {init}, n = {n}", words, eased(s, done, init, n))


# --- MNIST -------------------------------------------------------------------------------------------------


def norms(done: Parts, kind: Kind, name: str = "plain") -> Tensor:
    """Norms by seed and image ``(S, N)``; 0 where the label was wrong before."""
    return done[kind.part].arrays[f"norms {name}"]


def compared(above: Tensor, below: Tensor) -> Estimate:
    """The ratio of medians over the images that both networks of a seed classify correctly."""
    both = (above > 0) & (below > 0)
    pairs = [(a[right], b[right]) for a, b, right in zip(above, below, both, strict=True) if bool(right.any())]
    return ratio_of_medians([a for a, _ in pairs], [b for _, b in pairs])


def _correct(values: Tensor) -> list[Tensor]:
    return [each[each > 0] for each in values if bool((each > 0).any())]


PIXELS = Kind("pixels", 0)


def _mnist_rows(s: DmmRedundancy, done: Parts, kind: Kind) -> list[Row]:
    case, kept = f"MNIST, {kind.name}", done[kind.part]
    accuracy = kept.arrays["accuracy"]
    spread = f"{float(accuracy.min()):.2%} to {float(accuracy.max()):.2%} over {len(accuracy)} networks"
    made = [
        Row(case, "test accuracy", float(accuracy.mean()), reason=spread, form=".2%"),
        _row(case, "smallest norm", median(_correct(norms(done, kind)))),
    ]
    for k in s.components if kind.reads == "pixels" else ():
        made.append(
            _row(case, f"smallest norm on the first {k} components", median(_correct(norms(done, kind, f"on {k}"))))
        )
        made.append(_row(case, f"smallest norm off them, k = {k}", median(_correct(norms(done, kind, f"off {k}")))))
    if kind.reads != "pixels":
        made.append(_row(case, "smallest norm over that of pixels", compared(norms(done, kind), norms(done, PIXELS))))
        made.append(_owed(done, kind))
    if kind.reads == "projected":
        codes = Kind("codes", kind.components)
        made.append(_row(case, "smallest norm over that of codes", compared(norms(done, kind), norms(done, codes))))
    return made


def owed(done: Parts, kind: Kind) -> Estimate:
    """The norm over that which networks on pixels need within the same components, which reduction should give."""
    return compared(norms(done, kind), norms(done, PIXELS, f"on {kind.components}"))


def _owed(done: Parts, kind: Kind) -> Row:
    words = "smallest norm over that of pixels within the same components"
    return _row(f"MNIST, {kind.name}", words, owed(done, kind), "1 or more if reduction gave what it should")


REDUCED: tuple[Reads, ...] = ("codes", "whitened", "long")


# --- claims ------------------------------------------------------------------------------------------------


def claims(s: DmmRedundancy, done: Parts) -> list[Claim]:
    """The theory of initial weights; whether redundancy makes networks fragile; whether its removal cures them."""
    above = [n for n in s.dims if n > s.manifold]
    errors = {(init, n): against_theory(done, init, n).value - 1 for init in INITS for n in above}
    worst = max(errors, key=lambda key: abs(errors[key]))
    moved = max(float(_toy(done, init, n)["moved off"].max()) for init in INITS for n in above)
    smoke = s.preset == "smoke"
    made = [
        Claim(
            f"the gradient off the data's subspace is √(kℓσ²/m) at every dimension and scale of the initial weights; "
            f"the largest relative error of the median is {errors[worst]:+.1%} (variance fixed {worst[0]}, "
            f"n = {worst[1]})",
            None if smoke else abs(errors[worst]) <= THEORY,
        ),
        Claim(
            f"training never changes the weights off the data's subspace: by at most {moved:.0e} of the largest change",
            moved <= 1e-12,
        ),
    ]
    n = s.dims[-1]
    weight, layer = (fallen(s, done, init, n) for init in ("per weight", "per layer"))
    lines = [predicted(done, init, n) for init in ("per weight", "per layer")]
    made.append(
        Claim(
            f"redundant dimensions make networks fragile if the variance of a weight does not depend on n: from n = "
            f"{s.manifold} to {n} the smallest norm falls to {weight} of itself (predicted {lines[0]:.2f})",
            None if smoke else _below(weight, MATTERS),
        )
    )
    made.append(
        Claim(
            f"with the variance 1/n of usual initial weights they make networks fragile too: it falls to {layer} "
            f"(predicted {lines[1]:.2f})",
            None if smoke else _below(layer, MATTERS),
        )
    )
    for k in s.components:
        gained = {r: compared(norms(done, Kind(r, k)), norms(done, PIXELS)) for r in REDUCED}
        missing = {r: owed(done, Kind(r, k)) for r in REDUCED}
        words = ", ".join(f"{WORDS[r]} {gained[r]} times that of pixels" for r in REDUCED)
        cured = ", ".join(str(missing[r]) for r in REDUCED)
        made.append(
            Claim(
                f"to remove the redundant dimensions cures the fragility: networks on {k} principal components need at "
                f"least the norm that networks on pixels need within these components; the norm is {words}; of "
                f"the norm within the components it is {cured}",
                None if smoke else all(_reaches(each, 1) for each in missing.values()),
            )
        )
    return made


def _below(found: Estimate, limit: float) -> bool:
    return found.interval is not None and found.interval[1] < limit


def _reaches(found: Estimate, limit: float) -> bool:
    return found.interval is not None and found.interval[1] >= limit


def verdicts(s: DmmRedundancy, done: Parts) -> list[Verdict]:
    """Whether redundant dimensions make networks fragile, ease the separation, and whether their removal is a cure."""
    n = s.dims[-1]
    matter = [_below(fallen(s, done, init, n), MATTERS) for init in INITS]
    eases = [_below(eased(s, done, init, n), MATTERS) for init in INITS]
    short = [_below(owed(done, Kind(r, k)), 1) for k in s.components for r in REDUCED]
    small = s.preset == "smoke"
    scale = "the scale of the initial weights"
    return [
        _verdict("redundancy", matter, small, scale, [_fallen(s, done, init, n) for init in INITS]),
        _verdict("extra-dimension", eases, small, scale, [_steps(s, done, init, n) for init in INITS]),
        _verdict(
            "reduction",
            short,
            small,
            "the number and the scale of the codes",
            [_owed(done, Kind(r, s.components[-1])) for r in REDUCED],
        ),
    ]


def _verdict(question: str, holds: list[bool], small: bool, on: str, rows: list[Row]) -> Verdict:
    if small:
        return Verdict(question, None, [])
    said: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    return Verdict(question, said, rows, on if said == "depends" else "")


# --- pictures ----------------------------------------------------------------------------------------------


def draw(s: DmmRedundancy, done: Parts, folder: Path) -> None:
    """Norms and gradients against the dimension; norms of the networks on MNIST."""
    figure = new_figure(13, 4)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(wspace=0.55)
    above = [n for n in s.dims if n > s.manifold]
    for axes, title in ((left, "smallest norm that changes the label"), (right, "gradient off the data")):
        plain(axes, f"{title}, {s.manifold} dimensions of data", "dimension n of the input", "")
        axes.set_xscale("log", base=2)
        axes.set_xticks(s.dims, [str(n) for n in s.dims])
        axes.set_xlim(s.dims[0] * 0.8, s.dims[-1] * 1.2)
    lines, gradients = [], []
    for init, colour in zip(INITS, ("own", "second"), strict=True):
        base = float(_toy(done, init, s.dims[0])["plain"].median())
        found = [median(_seeds(_toy(done, init, n)["plain"])) for n in s.dims]
        lines.append(_line(f"variance fixed {init}", s.dims, found, colour))
        theory = [base, *(base * predicted(done, init, n) for n in above)]
        lines.append(Line("predicted", s.dims, theory, "control", True))
        off = [median(_seeds(_toy(done, init, n)["off gradient"])) for n in above]
        gradients.append(_line(f"variance fixed {init}", above, off, colour))
        line = [float(_toy(done, init, n)["theory"].median()) for n in above]
        gradients.append(Line("√(kℓσ²/m)", above, line, "control", True))
    for axes, drawn in ((left, lines), (right, gradients)):
        axes.set_ylim(0, 1.1 * max(max(line.y) for line in drawn))
        plot(axes, drawn)
    save(figure, folder / "toy.png")
    _bars(s, done, folder)


def _line(label: str, x: Sequence[float], found: list[Estimate], colour: str) -> Line:
    bounds = [each.interval or (each.value, each.value) for each in found]
    return Line(label, x, [f.value for f in found], colour, band=([b[0] for b in bounds], [b[1] for b in bounds]))


def _bars(s: DmmRedundancy, done: Parts, folder: Path) -> None:
    bars = [("pixels", median(_correct(norms(done, PIXELS))), "own")]
    for k in s.components:
        bars.append(
            (f"pixels, on the first {k} components", median(_correct(norms(done, PIXELS, f"on {k}"))), "control")
        )
        bars += [
            (kind.name, median(_correct(norms(done, kind))), "second" if kind.sees_all else "third")
            for kind in kinds(s)
            if kind.components == k
        ]
    figure = new_figure(7, 0.38 * len(bars) + 1)
    axes = plain(figure.subplots(), "smallest norm that changes the label, MNIST", "L2 norm of pixels in [0, 1]", "")
    axes.grid(visible=False)
    for place, (_, found, colour) in enumerate(bars):
        axes.barh(-place, found.value, color=COLOURS[colour], height=0.6)
        if found.interval:
            axes.plot(found.interval, [-place, -place], color=INK, linewidth=1.5)
    axes.set_yticks([-place for place in range(len(bars))], [name for name, *_ in bars])
    save(figure, folder / "mnist.png")
