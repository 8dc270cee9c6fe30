"""Exact manifold: rows, claims, verdicts and pictures."""

from __future__ import annotations

from math import inf, isfinite, isnan, sqrt
from pathlib import Path

import torch

from ..common.intervals import Estimate, median, of_mean
from ..common.pictures import COLOURS, gallery, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .found import Found, side_of_1
from .settings import ANOTHER, EXACT, LEARNED, PERMUTED, RANDOM, RECONSTRUCTED, SPACES, WAYS, ExactSettings

PUBLISHED = {("standard", EXACT): 0.312, ("adversarial", EXACT): 0.675, ("standard", RANDOM): 0.0962}
"""Norm fractions ‖P g‖/‖g‖ on digits of 32×32, reconstructed from latent variables; published with arXiv 2305.19101."""

ERRORS = {"standard": 0.0103, "adversarial": 0.0218}
"""Published test errors of these networks."""

REASON = "another decoder, classifier and training; the published figure is of one network"

TOLERANCES = {"standard": 0.05, "adversarial": 0.07}
"""How far the fraction may be from the published one to count as reproduced."""

TWICE = 1.5
"""Ratio of shares from which two subspaces count as different."""


def rows(s: ExactSettings, done: Parts) -> list[Row]:
    """For each source of digits: the digits, then each way of training: error, gradient, norms."""
    return [row for source in s.sources for row in _rows(Found(s, done, source))]


def _rows(found: Found) -> list[Row]:
    facts, of = found.digits, found.prefix
    latent = found.s.latent
    made = [
        Row(f"{of}labeller", "accuracy on real test digits", facts["labeller"], form=".4f"),
        Row(f"{of}exact tangent spaces", "least rank", facts["least rank"], form=".0f"),
        Row(f"{of}exact tangent spaces", "σ_k/σ_1, median", facts["condition"], form=".3f"),
        Row(f"{of}learned autoencoder", "mean squared error on test images", facts["learned error"], form=".4f"),
        Row(f"{of}PCA-{latent}", "mean squared error on test images", facts["PCA error"], control=True, form=".4f"),
    ]
    for way in WAYS:
        errors = found.values(f"{way} error")
        published = ERRORS[way] if found.source == RECONSTRUCTED else None
        interval = of_mean(errors)
        made.append(Row(f"{of}{way}", "test error", float(errors.mean()), published, interval, form=".2%"))
        for space in SPACES:
            made += _rows_of(found, way, space)
        size = median(found.all(f"{way}/plain"))
        made.append(Row(f"{of}{way}", "plain norm, median", size.value, interval=size.interval, form=".3f"))
        made += [
            _over_random(found, way, EXACT),
            _ratio(
                found, way, "share over that in a learned tangent space", found.shares((way, EXACT), (way, LEARNED))
            ),
            _ratio(found, way, "share over that in another image's", found.shares((way, EXACT), (way, ANOTHER))),
        ]
    return [*made, _turned(found)]


def _ratio(found: Found, case: str, quantity: str, ratio: Estimate) -> Row:
    return Row(f"{found.prefix}{case}, {EXACT}", quantity, ratio.value, interval=ratio.interval, form=".2f")


def _over_random(found: Found, way: str, space: str) -> Row:
    ratio = found.to_random(way, space)
    case = f"{found.prefix}{way}, {space}"
    return Row(case, "share over random", ratio.value, interval=ratio.interval, form=".1f")


def _turned(found: Found) -> Row:
    return _ratio(found, "adversarial over standard", "share", found.turned)


def _rows_of(found: Found, way: str, space: str) -> list[Row]:
    case, control = f"{found.prefix}{way}, {space}", space not in (EXACT, LEARNED)
    fraction, chance = found.fraction(way, space), found.s.latent / 1024
    published = PUBLISHED.get((way, space)) if found.source == RECONSTRUCTED else None
    logit = found.fraction(way, space, "share of the logit").value
    reason = f"chance {sqrt(chance):.4f}; of the logit's gradient {logit:.3f}"
    reason += f"; {REASON}" if published else ""
    made = [Row(case, "‖P g‖/‖g‖", fraction.value, published, fraction.interval, control, reason, ".3f")]
    if space == EXACT:
        square = median(found.all(f"{way}/{space}/share"))
        squared = published and published**2
        reason = f"chance {chance:.4f}" + ("; the published fraction squared" if squared else "")
        made.append(Row(case, "‖P g‖²/‖g‖²", square.value, squared, square.interval, control, reason, ".3f"))
    if space == PERMUTED:
        return made
    share = float(torch.cat([each.flatten() for each in found.all(f"{way}/{space}/share")]).median())
    for side, law in (("on", 1 / sqrt(share)), ("off", 1 / sqrt(1 - share))):
        ratio = found.norms(way, space, side)
        lost = torch.cat([each.flatten() for each in found.all(f"{way}/{space}/{side}")]).isinf()
        words = f"1/√{'share' if side == 'on' else '(1 − share)'} is {law:.2f}"
        words += f"; {int(lost.sum())} of {len(lost)} attacks fail" if bool(lost.any()) else ""
        if isnan(ratio.value):  # ∞/∞
            ratio, words = Estimate(inf, None), "most attacks fail"
        made.append(Row(case, f"{side} / plain", ratio.value, None, ratio.interval, control, words, ".3f"))
    return made


def claims(s: ExactSettings, done: Parts) -> list[Claim]:
    """What the figures show; those of reconstructed digits are compared with the published ones."""
    small = s.preset == "smoke"
    found = Found(s, done, RECONSTRUCTED)
    ranks = int(found.digits["least rank"])
    made = [Claim(f"the decoder's Jacobian has rank {ranks} of {s.latent} at every image", ranks == s.latent)]
    for way in WAYS:
        fraction, published = found.fraction(way, EXACT), PUBLISHED[way, EXACT]
        near = abs(fraction.value - published) <= TOLERANCES[way]
        made.append(
            Claim(
                f"{way} networks: ‖P g‖/‖g‖ in the exact tangent space is {fraction}, published {published} "
                f"(within {TOLERANCES[way]})",
                None if small else near,
            )
        )
    random, chance = found.fraction("standard", RANDOM).value, sqrt(s.latent / 1024)
    by_chance = None if small else abs(random - chance) <= 0.015
    made.append(Claim(f"in random subspaces it is {random:.4f}, chance {chance:.4f}", by_chance))
    turned = [Found(s, done, source).turned for source in s.sources]
    words = " and ".join(f"{ratio} times ({source})" for ratio, source in zip(turned, s.sources, strict=True))
    raised = all(side_of_1(ratio) > 0 for ratio in turned)
    made.append(
        Claim(f"adversarial training raises the share in the exact tangent space: {words}", None if small else raised)
    )
    on, expected = found.norms("standard", RANDOM, "on"), sqrt(1024 / s.latent)
    measured = on if isfinite(on.value) else "not known, as attacks fail"
    made.append(
        Claim(
            f"on/plain in random subspaces is {measured}; theory √(n/k) = {expected:.2f} (within 10 %)",
            None if small or not isfinite(on.value) else abs(on.value / expected - 1) <= 0.1,
        )
    )
    residual = max(float(Found(s, done, source).values("residual").max()) for source in s.sources)
    made.append(Claim(f"confined attacks leave their subspace by at most {residual:.1e}", residual <= 1e-9))
    return made


def verdicts(s: ExactSettings, done: Parts) -> list[Verdict]:
    """What it says of the critics' claims."""
    names = ("exact-manifold", "aligned")
    if s.preset == "smoke":
        return [Verdict(name, None, []) for name in names]
    every = [Found(s, done, source) for source in s.sources]
    same = all(
        side_of_1(found.to_random(way)) == side_of_1(found.to_random(way, LEARNED)) != 0
        for found in every
        for way in WAYS
    )
    more = [side_of_1(found.to_random(way)) > 0 for found in every for way in WAYS]
    raised = [side_of_1(found.turned) > 0 for found in every]
    aligned: Answer = "holds" if all(more + raised) else "depends" if any(more) else "does not hold"
    apart = {
        f"{found.source}, {way}": found.shares((way, EXACT), (way, LEARNED)).value for found in every for way in WAYS
    }
    close = all(1 / TWICE <= each <= TWICE for each in apart.values())
    main = every[0]
    return [
        Verdict(
            names[0],
            "does not hold" if same else "holds",
            [_over_random(main, way, space) for way in WAYS for space in (EXACT, LEARNED)],
            because="the exact tangent space catches "
            + ("about as much of the gradient as a learned one" if close else "another share than a learned one")
            + ": "
            + ", ".join(f"{value:.2f} times as much ({case})" for case, value in apart.items()),
        ),
        Verdict(
            names[1],
            aligned,
            [*(_over_random(main, way, EXACT) for way in WAYS), *map(_turned, every)],
            "" if aligned != "depends" else "the digits and the training",
        ),
    ]


def draw(s: ExactSettings, done: Parts, folder: Path) -> None:
    """The fraction in each subspace before and after adversarial training; generated digits."""
    figure = new_figure(7, 3.2 * len(s.sources) + 0.4)
    every = [Found(s, done, source) for source in s.sources]
    for found, axes in zip(every, figure.subplots(len(every), 1, squeeze=False)[:, 0], strict=True):
        plain(axes, f"{found.source} digits: ‖P g‖/‖g‖, median, with 95 %", "", "")
        for offset, way, colour in ((-0.2, WAYS[0], "own"), (0.2, WAYS[1], "gaussian")):
            estimates = [found.fraction(way, space) for space in SPACES]
            places = [index + offset for index in range(len(SPACES))]
            heights = [each.value for each in estimates]
            axes.bar(places, heights, 0.36, color=COLOURS[colour], label=way)
            ends = [each.interval or (each.value, each.value) for each in estimates]
            low = [max(height - end[0], 0.0) for height, end in zip(heights, ends, strict=True)]
            high = [max(end[1] - height, 0.0) for height, end in zip(heights, ends, strict=True)]
            axes.errorbar(places, heights, [low, high], fmt="none", ecolor="#16191d", elinewidth=1)
        axes.axhline(sqrt(s.latent / 1024), color=COLOURS["control"], linestyle="--", linewidth=1, label="chance")
        axes.set_xticks(range(len(SPACES)), [space.replace(" ", "\n") for space in SPACES])
        axes.legend(frameon=False, fontsize=9)
    figure.subplots_adjust(hspace=0.5)
    save(figure, folder / "fraction.png")
    shown = [done[f"{source}-digits"].arrays for source in s.sources]
    names = [[str(int(label)) for label in each["labels"]] for each in shown]
    gallery(folder / "digits.png", [list(each["images"]) for each in shown], [""] * len(names[0]), names)
