"""Depth of the dimples: rows, claims and the picture."""

from __future__ import annotations

from pathlib import Path

from ..common.intervals import Estimate
from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Claim, Row
from ..parts import Parts
from .found import Group, found
from .settings import ADVERSARIAL, ANOTHER, PCA, RANDOM, SPACES, STANDARD, TANGENT, WAYS, DepthSettings

SHARES = {
    ("mnist", STANDARD, TANGENT): 0.157,
    ("mnist", STANDARD, ANOTHER): 0.133,
    ("mnist", STANDARD, PCA): 0.32,
    ("mnist", ADVERSARIAL, TANGENT): 0.485,
    ("mnist", ADVERSARIAL, ANOTHER): 0.152,
    ("mnist", ADVERSARIAL, PCA): 0.395,
    ("fashion-mnist", STANDARD, TANGENT): 0.126,
    ("fashion-mnist", STANDARD, ANOTHER): 0.132,
    ("fashion-mnist", STANDARD, PCA): 0.25,
    ("fashion-mnist", ADVERSARIAL, TANGENT): 0.48,
    ("fashion-mnist", ADVERSARIAL, ANOTHER): 0.16,
}
"""Earlier measurements of small ConvNets, middles of their ranges: share of the gradient."""

NORMS = {
    ("mnist", STANDARD, TANGENT): (2.45, 1.09),
    ("mnist", STANDARD, ANOTHER): (2.40, 1.08),
    ("mnist", STANDARD, PCA): (1.65, 1.22),
    ("mnist", ADVERSARIAL, TANGENT): (1.84, 1.12),
    ("mnist", ADVERSARIAL, ANOTHER): (1.81, 1.09),
    ("mnist", ADVERSARIAL, PCA): (1.27, 1.255),
    ("fashion-mnist", STANDARD, TANGENT): (2.75, 1.075),
    ("fashion-mnist", STANDARD, ANOTHER): (2.73, 1.07),
    ("fashion-mnist", STANDARD, PCA): (1.97, 1.17),
    ("fashion-mnist", ADVERSARIAL, TANGENT): (1.575, 1.20),
    ("fashion-mnist", ADVERSARIAL, ANOTHER): (2.03, 1.09),
}
"""The same of on/plain and off/plain."""

REASON = "earlier measurement of another small ConvNet, with another autoencoder and adversary"


def _row(case: str, what: str, of: Estimate, form: str = ".3f", reason: str = "", control: bool = False) -> Row:
    return Row(case, what, of.value, None, of.interval, control, reason, form)


def accuracy(g: Group) -> Row:
    """How much accuracy adversarial training costs."""
    means = ", ".join(f"{way} {g.mean(way, 'test').value:.2%}" for way in WAYS)
    under = ", ".join(f"{way} {g.mean(way, 'attacked').value:.1%}" for way in WAYS)
    eps = g.kept[0].values["eps"]
    words = f"{means}; under PGD of L2 norm {eps}: {under}; same images, epochs and initial weights"
    return _row(g.name, "test accuracy, adversarial − standard", g.difference("test"), "+.4f", words)


def gap(g: Group) -> Row:
    """How much the gap of generalisation widens."""
    words = ", ".join(f"{way} {g.gap(way).value:+.4f}" for way in WAYS)
    what = "gap between training and test accuracy, adversarial − standard"
    return _row(g.name, what, g.widening(), "+.4f", words)


def realism(g: Group) -> Row:
    """How much of the perturbations lies in the tangent spaces, against standard networks."""
    before, after = (g.norm(way, "share of PGD").value for way in WAYS)
    what = "share of PGD perturbations in the tangent space, adversarial / standard"
    words = f"{before:.3f} → {after:.3f}; chance {g.chance:.3f}"
    return _row(g.name, what, g.growth("share of PGD"), reason=words)


def local(g: Group, way: str) -> Row:
    """Share at the image over share at another image."""
    return _row(f"{g.name}, {way}", "share in the tangent space over that in another image's", g.local(way))


def deepening(g: Group, space: str = TANGENT) -> Row:
    """Growth off over growth on."""
    off, on = (g.growth(f"{space}/{side}") for side in ("off", "on"))
    plain_growth = g.growth("plain")
    words = f"off the subspace the boundary recedes {off} times, on it {on} times, in all directions {plain_growth}"
    what = "growth of the norm off over growth of the norm on"
    return _row(f"{g.name}, {space}", what, g.deepening(space), reason=words, control=space != TANGENT)


def _space(g: Group, way: str, space: str) -> list[Row]:
    name, control = f"{g.name}, {way}, {space}", space != TANGENT
    key = (g.case.dataset, way, space)
    here = g.case.kind == "convnet"
    share, over = g.share(way, space), g.share_over_random(way, space)
    given = SHARES.get(key) if here else None
    words = "; ".join(filter(None, [f"chance {g.chance:.3f}; over random {over}", REASON if given else ""]))
    rows = [Row(name, "share of the gradient", share.value, given, share.interval, control, words, ".3f")]
    for side, norm in zip(("on", "off"), NORMS.get(key, (None, None)) if here else (None, None), strict=True):
        ratio = g.over_plain(way, space, side)
        rows.append(
            Row(name, f"{side} / plain", ratio.value, norm, ratio.interval, control, REASON if norm else "", ".3f")
        )
    return rows


def rows(s: DepthSettings, done: Parts) -> list[Row]:
    """Pair by pair: accuracy, norms and shares before and after adversarial training."""
    made = []
    for g in found(s, done):
        seen, of = g.images
        made += [accuracy(g), gap(g), realism(g)]
        for way in WAYS:
            words = f"{len(g.kept)} seeds; {seen} of {of} images, which both networks classify correctly"
            made.append(_row(f"{g.name}, {way}", "plain norm, median", g.norm(way), reason=words))
            for space in SPACES:
                made += _space(g, way, space)
            made.append(local(g, way))
        made += [deepening(g, space) for space in SPACES]
    return made


def claims(s: DepthSettings, done: Parts) -> list[Claim]:
    """What adversarial training does to gradients, norms and accuracy."""
    every = found(s, done)
    residual = max(float(kept.values["residual"]) for g in every for kept in g.kept)
    made = [
        _turned(every),
        Claim(
            "adversarially trained networks know the local manifold and standard ones do not: share of the gradient in "
            "the tangent space over that in another image's, standard → adversarial: "
            + "; ".join(f"{g.name} {g.local(STANDARD)} → {g.local(ADVERSARIAL)}" for g in every),
            all(g.local(STANDARD).value < 1.25 and g.local(ADVERSARIAL).value > 1.5 for g in every),
        ),
        Claim(
            "the boundary recedes in every direction, off the manifold more than along it: growth off / growth on: "
            + "; ".join(f"{g.name} {g.deepening()}" for g in every),
            all(_above(g.deepening(), 1) for g in every),
        ),
        Claim(
            "adversarial training costs clean accuracy at equal images and epochs: "
            + "; ".join(f"{g.name} {g.difference('test').value:+.2%}" for g in every),
            all(_below(g.difference("test"), 0) for g in every),
        ),
    ]
    made = [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made
    exact = f"attacks leave their subspace by at most {residual:.1e} of their norm"
    return [*made, Claim(exact, residual <= 1e-9)]


def _turned(every: list[Group]) -> Claim:
    words = [f"{g.name} {g.share(STANDARD, TANGENT)} → {g.share(ADVERSARIAL, TANGENT)}" for g in every]
    return Claim(
        "adversarial training turns gradients onto the manifold: median share in the tangent space, standard → "
        f"adversarial: {'; '.join(words)}; chance {every[0].chance:.3f}",
        all(_disjoint_above(g.share(ADVERSARIAL, TANGENT), g.share(STANDARD, TANGENT)) for g in every),
    )


def _above(of: Estimate, limit: float) -> bool:
    return of.interval is not None and of.interval[0] > limit


def _below(of: Estimate, limit: float) -> bool:
    return of.interval is not None and of.interval[1] < limit


def _disjoint_above(of: Estimate, other: Estimate) -> bool:
    return of.interval is not None and other.interval is not None and of.interval[0] > other.interval[1]


def draw(s: DepthSettings, done: Parts, folder: Path) -> None:
    """Shares of the gradient and norms, before and after."""
    every = found(s, done)
    figure = new_figure(12, 1.6 + 0.9 * len(every))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(wspace=0.12)
    plain(left, "share of the gradient, standard → adversarial", "share of ‖g‖²")
    plain(right, "median norm of the smallest perturbation, standard → adversarial", "L2 norm")
    for index, g in enumerate(every):
        marks = ((TANGENT, "own"), (ANOTHER, "shuffled"), (PCA, "second"), (RANDOM, "control"))
        for place, (space, colour) in enumerate(marks):
            _arrow(left, [g.share(way, space).value for way in WAYS], index - 0.24 + 0.16 * place, colour, space)
        for place, (what, colour) in enumerate(
            (("plain", "control"), (f"{TANGENT}/on", "own"), (f"{TANGENT}/off", "gaussian"))
        ):
            name = what.split("/")[-1]
            _arrow(right, [g.norm(way, what).value for way in WAYS], index - 0.2 + 0.2 * place, colour, name)
    for axes in (left, right):
        axes.set_yticks(range(len(every)), [g.name for g in every] if axes is left else [""] * len(every))
        axes.set_ylim(len(every) - 0.5, -1)
        axes.grid(axis="x")
        axes.set_xscale("log")
        ticks = (0.02, 0.05, 0.1, 0.2, 0.5, 1) if axes is left else (0.5, 1, 2, 4)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True))
        axes.legend(
            named.values(), named.keys(), frameon=False, fontsize=8, loc="upper left" if axes is left else "upper right"
        )
    save(figure, folder / "depth.png")


def _arrow(axes: object, ends: list[float], height: float, colour: str, label: str) -> None:
    axes.plot(ends, [height, height], "-", color=COLOURS[colour], linewidth=1.5, label=label)  # type: ignore[attr-defined]
    axes.plot(ends[:1], [height], "o", color="white", markeredgecolor=COLOURS[colour], markersize=5)  # type: ignore[attr-defined]
    axes.plot(ends[1:], [height], "o", color=COLOURS[colour], markeredgecolor=INK, markersize=6)  # type: ignore[attr-defined]
