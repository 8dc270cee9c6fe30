"""The harmless subspace and the manifold: rows, claims, the verdict and the picture."""

from __future__ import annotations

from pathlib import Path

from ...manifolds import CONTROLS
from ..common.classifier_names import DATASETS
from ..common.intervals import Estimate, median, over_random
from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Kept, Parts
from .settings import Case, DmmHarmless, cases

TANGENT, RANDOM = "autoencoder tangent", "random"

SEEN = ("difference of two images", "what the autoencoder leaves out")
ATTACK = ("L∞ attack", "L∞ attack, its part on", "L∞ attack, its part off")

NEAR = 0.2
"""How far from 1 the ratio of an untrained network may be: its first layer knows nothing of the data."""


def name_of(case: Case) -> str:
    """Data set and network."""
    return f"{DATASETS[case.dataset]}, {case.name}"


def ratio(kept: Kept, name: str = TANGENT) -> Estimate:
    """The harmless share of a subspace of directions over that of random ones of equal dimension."""
    ours, random = kept.arrays[f"{name}/share"][0], kept.arrays[f"{RANDOM}/share"]
    return over_random(ours, random.expand(-1, len(ours)))


def rows(s: DmmHarmless, done: Parts) -> list[Row]:
    """Network by network: dimensions, the share of the tangent spaces, of images and of attacks, and the controls."""
    return [row for case in cases(s) for row in _rows(case, done[case.part])]


def _rows(case: Case, kept: Kept) -> list[Row]:
    name, values = name_of(case), kept.values
    chance = values["dim"] / values["n"]
    words = f"{values['dim']} of {values['n']} dimensions, {values['kind']}"
    made = [Row(name, "share of harmless directions", chance, reason=words, form=".3f"), _main(case, kept)]
    if case.seed:
        return made[1:]  # the other figures are those of the first network of its kind
    share = median(kept.arrays[f"{TANGENT}/share"][0])
    d, n, k = values["dim"], values["n"], values["k"]
    off = (d - share.value * k) / (n - k)
    made.append(Row(name, "harmless share along the manifold", share.value, None, share.interval, form=".3f"))
    made.append(Row(name, "harmless share off the manifold", off, form=".3f"))
    largest = median(kept.arrays[f"{TANGENT}/largest"][0])
    what = "largest harmless share of any direction along the manifold"
    made.append(Row(name, what, largest.value, None, largest.interval, form=".3f"))
    for key in (*SEEN, *ATTACK):
        if key in kept.arrays and kept.arrays[key].numel():
            found = median(kept.arrays[key][0] / chance)
            made.append(Row(name, f"harmless share over chance, {key}", found.value, None, found.interval, form=".3g"))
    for control in CONTROLS:
        if control != RANDOM and f"{control}/share" in kept.arrays:
            found = ratio(kept, control)
            made.append(Row(name, f"over random, {control}", found.value, None, found.interval, True, form=".3g"))
    random = kept.arrays[f"{RANDOM}/share"].flatten() / chance
    interval = (float(random.min()), float(random.max()))
    made.append(
        Row(name, "random over chance", float(random.median()), None, interval, True, "least and largest draw", ".4g")
    )
    return made


def _main(case: Case, kept: Kept) -> Row:
    found = ratio(kept)
    words = "also the share along the manifold of a random harmless direction, over random"
    return Row(
        name_of(case),
        "harmless share along the manifold over random",
        found.value,
        None,
        found.interval,
        False,
        words,
        ".3g",
    )


def claims(s: DmmHarmless, done: Parts) -> list[Claim]:
    """Whether what is harmless avoids the manifold, whether by training, and whether any of it lies along it."""
    every = {case: ratio(done[case.part]) for case in cases(s)}
    small = s.preset == "smoke"
    trained = {name_of(case): found for case, found in every.items() if case.trained}
    untrained = {name_of(case): found for case, found in every.items() if not case.trained}
    made = [
        Claim(
            "harmless directions avoid the manifold: directions along it have a smaller harmless share than random "
            f"ones, {_words(trained)}",
            None if small else all(_below(found) for found in trained.values()),
        ),
        Claim(
            f"the first layer of untrained perceptrons knows nothing of the manifold: over random {_words(untrained)}",
            None if small else all(abs(found.value - 1) <= NEAR for found in untrained.values()),
        ),
    ]
    most = {
        name_of(case): float(done[case.part].arrays[f"{TANGENT}/largest"].max()) for case in cases(s) if case.trained
    }
    where = max(most, key=lambda name: most[name])
    made.append(
        Claim(
            "no direction along the manifold is harmless: the largest harmless share of any at any image is "
            f"{most[where]:.4f} ({where})",
            None if small else most[where] < 1 - 1e-6,
        )
    )
    return made


def _words(found: dict[str, Estimate]) -> str:
    return "; ".join(f"{name} {each}" for name, each in found.items())


def _below(found: Estimate) -> bool:
    return found.interval is not None and found.interval[1] < 1


def verdicts(s: DmmHarmless, done: Parts) -> list[Verdict]:
    """Whether what a network provably cannot notice lies off the manifold."""
    if s.preset == "smoke":
        return [Verdict("harmless-off", None, [])]
    chosen = [case for case in cases(s) if case.trained and case.seed == 0]
    below = [_below(ratio(done[case.part])) for case in chosen]
    said: Answer = "holds" if all(below) else "depends" if any(below) else "does not hold"
    found = sorted(chosen, key=lambda case: ratio(done[case.part]).value)
    shown = [found[0], found[len(found) // 2], found[-1]]
    because = f"{sum(below)} of {len(below)} trained networks; shown are the least, the median and the largest ratio"
    decisive = [_main(case, done[case.part]) for case in shown]
    return [Verdict("harmless-off", said, decisive, "the network" if said == "depends" else "", because)]


def draw(s: DmmHarmless, done: Parts, folder: Path) -> None:
    """The harmless share along the manifold over random, network by network, with three controls."""
    chosen = cases(s)
    figure = new_figure(8, 0.42 * len(chosen) + 1.2)
    axes = plain(figure.subplots(), "harmless share of directions, over random ones", "over random (1 is chance)", "")
    axes.grid(visible=False)
    axes.axvline(1, color=COLOURS["control"], linewidth=1)
    marks = {"another image": "second", "first principal components": "third", "permuted pixels": "gaussian"}
    for place, case in enumerate(chosen):
        found = ratio(done[case.part])
        axes.plot(found.value, -place, "o", color=COLOURS["own"], label=TANGENT if place == 0 else None, zorder=3)
        if found.interval:
            axes.plot(found.interval, [-place, -place], color=INK, linewidth=1.2)
        for control, colour in marks.items():
            label = control if place == 0 else None
            axes.plot(
                ratio(done[case.part], control).value, -place, "|", color=COLOURS[colour], markersize=11, label=label
            )
    axes.set_yticks([-place for place in range(len(chosen))], [name_of(case) for case in chosen])
    axes.set_xlim(left=0)
    figure.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False, fontsize=8)
    save(figure, folder / "harmless.png")
