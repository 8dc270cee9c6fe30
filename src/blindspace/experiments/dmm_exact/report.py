"""Exact manifold: rows, claims, verdicts and pictures."""

from __future__ import annotations

from math import inf, isfinite, isnan, sqrt
from pathlib import Path

import torch
from torch import Tensor

from ..common.intervals import Estimate, median, of_mean, over_random, ratio_of_medians
from ..common.pictures import COLOURS, gallery, new_figure, plain, save
from ..experiment import Answer, Claim, Parts, Row, Verdict
from .settings import ANOTHER, EXACT, LEARNED, PERMUTED, RANDOM, SPACES, WAYS, ExactSettings

PUBLISHED = {("standard", EXACT): 0.312, ("adversarial", EXACT): 0.675, ("standard", RANDOM): 0.0962}
"""Norm fractions ‖P g‖/‖g‖ on generated digits of 32×32 with ten latent variables; published in arXiv 2305.19101."""

ERRORS = {"standard": 0.0103, "adversarial": 0.0218}
"""Published test errors of these networks."""

REASON = "another decoder, classifier and training; the published figure is of one network"

TOLERANCES = {"standard": 0.05, "adversarial": 0.07}
"""How far the fraction may be from the published one to count as reproduced."""

TWICE = 1.5
"""Ratio of shares from which two subspaces count as different."""


def _all(s: ExactSettings, done: Parts, what: str) -> list[Tensor]:
    """A measurement of every pair of networks."""
    return [done[f"seed-{seed}"].arrays[what] for seed in range(s.seeds)]


def fraction(s: ExactSettings, done: Parts, way: str, space: str, what: str = "share") -> Estimate:
    """Median ‖P g‖/‖g‖."""
    return median([each.sqrt() for each in _all(s, done, f"{way}/{space}/{what}")])


def shares(s: ExactSettings, done: Parts, above: tuple[str, str], below: tuple[str, str]) -> Estimate:
    """The ratio of two median shares, each of a way of training and a subspace."""
    (way, space), (other_way, other) = above, below
    return ratio_of_medians(_all(s, done, f"{way}/{space}/share"), _all(s, done, f"{other_way}/{other}/share"))


def to_random(s: ExactSettings, done: Parts, way: str, space: str = EXACT) -> Estimate:
    """Median share over that in random subspaces of equal dimension."""
    return over_random(_all(s, done, f"{way}/{space}/share"), _all(s, done, f"{way}/{RANDOM}/share"))


def norms(s: ExactSettings, done: Parts, way: str, space: str, side: str) -> Estimate:
    """Median norm in the subspace (on) or in its complement (off) over the plain one."""
    return ratio_of_medians(_all(s, done, f"{way}/{space}/{side}"), _all(s, done, f"{way}/plain"))


def rows(s: ExactSettings, done: Parts) -> list[Row]:
    """The images, then each way of training: error, gradient, norms."""
    digits = done["digits"].values
    made = [
        Row("labeller", "accuracy on real test digits", digits["labeller"], form=".4f"),
        Row("exact tangent spaces", "least rank", digits["least rank"], form=".0f"),
        Row("exact tangent spaces", "σ_k/σ_1, median", digits["condition"], form=".3f"),
        Row("learned autoencoder", "mean squared error on test images", digits["learned error"], form=".4f"),
        Row(f"PCA-{s.latent}", "mean squared error on test images", digits["PCA error"], control=True, form=".4f"),
    ]
    for way in WAYS:
        errors = torch.tensor([done[f"seed-{seed}"].values[f"{way} error"] for seed in range(s.seeds)])
        made.append(
            Row(way, "test error", float(errors.mean()), ERRORS[way], of_mean(errors), reason=REASON, form=".2%")
        )
        for space in SPACES:
            made += _rows_of(s, done, way, space)
        size = median(_all(s, done, f"{way}/plain"))
        made.append(Row(way, "plain norm, median", size.value, interval=size.interval, form=".3f"))
    for way in WAYS:
        made += [
            _ratio(way, "share over random", to_random(s, done, way)),
            _ratio(way, "share over that in a learned tangent space", shares(s, done, (way, EXACT), (way, LEARNED))),
            _ratio(way, "share over that in another image's", shares(s, done, (way, EXACT), (way, ANOTHER))),
        ]
    trained = shares(s, done, ("adversarial", EXACT), ("standard", EXACT))
    return [*made, _ratio("adversarial over standard", "share", trained)]


def _ratio(case: str, quantity: str, found: Estimate) -> Row:
    return Row(f"{case}, {EXACT}", quantity, found.value, interval=found.interval, form=".2f")


def _rows_of(s: ExactSettings, done: Parts, way: str, space: str) -> list[Row]:
    found, case, control = fraction(s, done, way, space), f"{way}, {space}", space not in (EXACT, LEARNED)
    published = PUBLISHED.get((way, space))
    logit = fraction(s, done, way, space, "share of the logit").value
    reason = f"chance {sqrt(s.latent / 1024):.4f}; of the logit's gradient {logit:.3f}"
    reason += f"; {REASON}" if published else ""
    made = [Row(case, "‖P g‖/‖g‖", found.value, published, found.interval, control, reason, ".3f")]
    if space == EXACT:
        square = median(_all(s, done, f"{way}/{space}/share"))
        squared = published and published**2
        reason = f"chance {s.latent / 1024:.4f}; the square of the published fraction" if squared else ""
        made.append(Row(case, "‖P g‖²/‖g‖²", square.value, squared, square.interval, control, reason, ".3f"))
    if space == PERMUTED:
        return made
    share = float(torch.cat([each.flatten() for each in _all(s, done, f"{way}/{space}/share")]).median())
    for side, law in (("on", 1 / sqrt(share)), ("off", 1 / sqrt(1 - share))):
        ratio = norms(s, done, way, space, side)
        lost = torch.cat([each.flatten() for each in _all(s, done, f"{way}/{space}/{side}")]).isinf()
        words = f"1/√{'share' if side == 'on' else '(1 − share)'} is {law:.2f}"
        words += f"; {int(lost.sum())} of {len(lost)} attacks fail" if bool(lost.any()) else ""
        if isnan(ratio.value):  # ∞/∞
            ratio, words = Estimate(inf, None), "most attacks fail"
        made.append(Row(case, f"{side} / plain", ratio.value, None, ratio.interval, control, words, ".3f"))
    return made


def _near(value: float, expected: float, by: float) -> bool:
    return abs(value - expected) <= by


def claims(s: ExactSettings, done: Parts) -> list[Claim]:
    """What the figures show."""
    small = s.preset == "smoke"
    ranks = int(done["digits"].values["least rank"])
    made = [Claim(f"the decoder's Jacobian has rank {ranks} of {s.latent} at every image", ranks == s.latent)]
    for way in WAYS:
        found, published = fraction(s, done, way, EXACT), PUBLISHED[way, EXACT]
        near = _near(found.value, published, TOLERANCES[way])
        made.append(
            Claim(
                f"{way} networks: ‖P g‖/‖g‖ in the exact tangent space is {found}, published {published} "
                f"(within {TOLERANCES[way]})",
                None if small else near,
            )
        )
    random, chance = fraction(s, done, "standard", RANDOM).value, sqrt(s.latent / 1024)
    made.append(Claim(f"in random subspaces it is {random:.4f}, chance {chance:.4f}", _near(random, chance, 0.015)))
    turned = shares(s, done, ("adversarial", EXACT), ("standard", EXACT))
    right = turned.interval is not None and turned.interval[0] > 1
    made.append(
        Claim(
            f"adversarial training raises the share in the exact tangent space {turned} times", None if small else right
        )
    )
    on = norms(s, done, "standard", RANDOM, "on")
    expected = sqrt(1024 / s.latent)
    made.append(
        Claim(
            f"on/plain in random subspaces is {on}; theory √(n/k) = {expected:.2f} (within 10 %)",
            None if small or not isfinite(on.value) else _near(on.value / expected, 1, 0.1),
        )
    )
    residual = max(float(done[f"seed-{seed}"].values["residual"]) for seed in range(s.seeds))
    made.append(Claim(f"confined attacks leave their subspace by at most {residual:.1e}", residual <= 1e-9))
    return made


def verdicts(s: ExactSettings, done: Parts) -> list[Verdict]:
    """What it says of the critics' claims."""
    names = ("exact-manifold", "aligned")
    if s.preset == "smoke":
        return [Verdict(name, None, []) for name in names]
    over = {way: to_random(s, done, way) for way in WAYS}
    learned = {way: to_random(s, done, way, LEARNED) for way in WAYS}
    turned = shares(s, done, ("adversarial", EXACT), ("standard", EXACT))
    same = all(_side(over[way]) == _side(learned[way]) != 0 for way in WAYS)
    apart = [shares(s, done, (way, EXACT), (way, LEARNED)).value for way in WAYS]
    exact: Answer = "does not hold" if same else "holds"
    more = [_side(over[way]) > 0 for way in WAYS]
    aligned: Answer = "holds" if all(more) and _side(turned) > 0 else "depends" if any(more) else "does not hold"
    close = all(1 / TWICE <= each <= TWICE for each in apart)
    return [
        Verdict(
            names[0],
            exact,
            [
                _ratio(f"{way} networks", what, found)
                for way in WAYS
                for what, found in (("share over random", over[way]),)
            ]
            + [
                Row(
                    f"{way} networks, {LEARNED}",
                    "share over random",
                    learned[way].value,
                    interval=learned[way].interval,
                    form=".2f",
                )
                for way in WAYS
            ],
            because="the exact and a learned tangent space catch "
            + ("about as much of the gradient" if close else "different shares of the gradient")
            + f": {apart[0]:.2f} times as much, after adversarial training {apart[1]:.2f} times",
        ),
        Verdict(
            names[1],
            aligned,
            [
                *(_ratio(f"{way} networks", "share over random", over[way]) for way in WAYS),
                _ratio("adversarial over standard", "share", turned),
            ],
            "" if aligned != "depends" else "the training",
        ),
    ]


def _side(ratio: Estimate) -> int:
    """1 where a ratio is above 1 with its interval, −1 where it is below, 0 where its interval holds 1."""
    low, high = ratio.interval or (0.0, float("inf"))
    return (low > 1) - (high < 1)


def draw(s: ExactSettings, done: Parts, folder: Path) -> None:
    """The fraction in each subspace before and after adversarial training; generated digits."""
    figure = new_figure(7, 3.4)
    axes = plain(figure.subplots(), "‖P g‖/‖g‖, median over images and seeds, with 95 %", "", "")
    chance = sqrt(s.latent / 1024)
    for offset, way, colour in ((-0.2, WAYS[0], "own"), (0.2, WAYS[1], "gaussian")):
        found = [fraction(s, done, way, space) for space in SPACES]
        places = [index + offset for index in range(len(SPACES))]
        axes.bar(places, [each.value for each in found], 0.36, color=COLOURS[colour], label=way)
        ends = [each.interval or (each.value, each.value) for each in found]
        low = [max(each.value - end[0], 0.0) for each, end in zip(found, ends, strict=True)]
        high = [max(end[1] - each.value, 0.0) for each, end in zip(found, ends, strict=True)]
        axes.errorbar(places, [each.value for each in found], [low, high], fmt="none", ecolor="#16191d", elinewidth=1)
    axes.axhline(chance, color=COLOURS["control"], linestyle="--", linewidth=1, label="chance")
    axes.set_xticks(range(len(SPACES)), [space.replace(" ", "\n", 1) for space in SPACES])
    axes.legend(frameon=False, fontsize=9)
    save(figure, folder / "fraction.png")
    shown = done["digits"].arrays
    names = [str(int(label)) for label in shown["labels"]]
    gallery(folder / "digits.png", [list(shown["images"])], [""] * len(names), [names])
