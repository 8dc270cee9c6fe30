"""Learning from perturbations on and off the image manifold: rows, claims, the verdict and the picture."""

from __future__ import annotations

from pathlib import Path

from ..common.intervals import Estimate, median
from ..common.learnt import CHANCE, Learners, high, low
from ..common.perturbation_parts import OFF, ON
from ..common.pictures import COLOURS, INK, legend_below, named_rows, new_figure, plain, save, share_interval
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .settings import ALONG, BASES, CELLS, IMAGES, NOISE, NONE, WHOLE, OnOffSettings, groups

CONTROLS = (*ALONG.values(), NONE)

RANDOM, PCA, ANOTHER, PERMUTED = (
    ALONG[name] for name in ("random", "first principal components", "another image", "permuted pixels")
)


def found(s: OnOffSettings, done: Parts) -> list[Learners]:
    """All kinds of networks, in the order of tables."""
    return [Learners(cases[0], tuple(done[case.part] for case in cases)) for cases in groups(s)]


def _row(case: str, what: str, of: Estimate, form: str = ".3f", reason: str = "") -> Row:
    return Row(case, what, of.value, None, of.interval, False, reason, form)


def _over(g: Learners, base: str, cell: str, other: str) -> Estimate:
    return g.difference(f"{base}/{cell}", f"{base}/{other}")


def on_over_random(g: Learners, base: str = IMAGES) -> Row:
    """What the part on the manifold teaches beyond a random subspace of equal dimension."""
    what = "accuracy from the part on the manifold − from that in a random subspace"
    return _row(f"{g.name}, {base}", what, _over(g, base, ON, RANDOM), "+.3f")


def off_over_on(g: Learners, base: str = IMAGES) -> Row:
    """Which part teaches more."""
    what = "accuracy from the part off the manifold − from the part on it"
    return _row(f"{g.name}, {base}", what, _over(g, base, OFF, ON), "+.3f")


def rows(s: OnOffSettings, done: Parts) -> list[Row]:
    """Network by network: the perturbations, and every student."""
    made = []
    for g in found(s, done):
        for base in BASES:
            share = median([part.arrays[f"{base}/share"] for part in g.kept])
            words = f"chance {g.kept[0].values['chance']:.3f}; the attack succeeds in {g.success(base).value:.1%}"
            name = f"{g.name}, {base}"
            made.append(_row(f"{name}, d", "share in the tangent space, median", share, reason=words))
            made += [g.row(f"{base}/{cell}", control=cell in CONTROLS, case=f"{name}, {cell}") for cell in CELLS]
            made += [on_over_random(g, base), off_over_on(g, base)]
    return made


def claims(s: OnOffSettings, done: Parts) -> list[Claim]:
    """What each part teaches, and what of it is the manifold's."""
    every = found(s, done)
    made = [
        Claim(
            f"of perturbed images both parts teach above chance at equal norm: on {_table(every, IMAGES, ON)}; off "
            f"{_table(every, IMAGES, OFF)}; the whole {_table(every, IMAGES, WHOLE)}; nothing "
            f"{_table(every, IMAGES, NONE)}",
            all(low(g.accuracy(f"{IMAGES}/{cell}")) > CHANCE for g in every for cell in (ON, OFF)),
        ),
        Claim(
            "the part off the manifold teaches more than the part on it: "
            + ", ".join(f"{g.name} {_over(g, IMAGES, OFF, ON).value:+.3f}" for g in every),
            all(low(_over(g, IMAGES, OFF, ON)) > 0 for g in every),
        ),
        Claim(
            f"the part on the manifold teaches more than those in random subspaces of equal dimension "
            f"({_table(every, IMAGES, RANDOM)}) and along the tangent spaces with permuted pixels "
            f"({_table(every, IMAGES, PERMUTED)})",
            all(low(_over(g, IMAGES, ON, cell)) > 0 for g in every for cell in (RANDOM, PERMUTED)),
        ),
        Claim(
            f"it teaches more than the parts along the first principal components ({_table(every, IMAGES, PCA)}) and "
            f"along the tangent spaces of other images ({_table(every, IMAGES, ANOTHER)})",
            all(low(_over(g, IMAGES, ON, cell)) > 0 for g in every for cell in (PCA, ANOTHER)),
        ),
        Claim(
            f"of perturbed noise the whole teaches above chance ({_table(every, NOISE, WHOLE)}), the part on the "
            f"manifold too ({_table(every, NOISE, ON)}), and the part off it ({_table(every, NOISE, OFF)})",
            all(low(g.accuracy(f"{NOISE}/{cell}")) > CHANCE for g in every for cell in (WHOLE, ON, OFF)),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def _table(every: list[Learners], base: str, cell: str) -> str:
    return ", ".join(f"{g.name} {g.accuracy(f'{base}/{cell}').value:.3f}" for g in every)


def verdicts(s: OnOffSettings, done: Parts) -> list[Verdict]:
    """Whether the part along the manifold is what teaches."""
    if s.preset == "smoke":
        return [Verdict("on-part", None, [])]
    every = found(s, done)
    holds = [
        low(_over(g, IMAGES, ON, RANDOM)) > 0
        and high(_over(g, IMAGES, OFF, ON)) < 0
        and high(g.accuracy(f"{IMAGES}/{OFF}")) <= CHANCE
        for g in every
    ]
    answer: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    because = (
        f"of perturbed images on {_table(every, IMAGES, ON)}, off {_table(every, IMAGES, OFF)}, in a random subspace "
        f"of equal dimension {_table(every, IMAGES, RANDOM)}, along as many principal components "
        f"{_table(every, IMAGES, PCA)}; of perturbed noise on {_table(every, NOISE, ON)}, off "
        f"{_table(every, NOISE, OFF)}"
    )
    on = "the data set and the network" if answer == "depends" else ""
    shown = [row for g in every for row in (on_over_random(g), off_over_on(g))]
    return [Verdict("on-part", answer, shown, on, because)]


def draw(s: OnOffSettings, done: Parts, folder: Path) -> None:
    """Accuracy of every student, from images and from noise."""
    every = found(s, done)
    figure = new_figure(3.2 * len(every) + 2.5, 4.6)
    for axes, g in zip(figure.subplots(1, len(every), squeeze=False, sharey=True)[0], every, strict=True):
        plain(axes, g.name, "accuracy on clean test images")
        for shift, base, colour in ((-0.2, IMAGES, "own"), (0.2, NOISE, "gaussian")):
            for place, cell in enumerate(CELLS):
                of = g.accuracy(f"{base}/{cell}")
                label = f"x is {base}" if place == 0 else None
                axes.barh(place + shift, of.value, 0.36, color=COLOURS[colour], label=label)
                share_interval(axes, of.interval, place + shift)
        axes.axvline(CHANCE, color=INK, linewidth=1, linestyle=":")
        named_rows(axes, CELLS)
        axes.set_xlim(left=0)
    legend_below(figure, 2)
    save(figure, folder / "onoff.png")
