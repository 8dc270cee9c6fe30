"""On and off the manifold: rows, claims and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isinf, sqrt
from pathlib import Path

import torch
from torch import Tensor

from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Claim, Parts, Row
from .found import DATASETS, KINDS, Group, found
from .reference import REASON, REFERENCE, Reference
from .settings import ANOTHER, BOXED, OTHERS, PCA, RANDOM, RANDOM_100, TANGENT, OnOffSettings

WITHIN = 0.10
"""Largest relative error at which a law counts as obeyed."""


def rows(s: OnOffSettings, done: Parts) -> list[Row]:
    """Network by network: plain norms, then each subspace; the attacks within the pixel range at the end."""
    every = found(s, done)
    made = [row for group in every for row in (*_plain(group), *(r for space in group.spaces for r in _on(group, space)))]
    return [*made, *(row for group in every for row in _boxed(group))]


def _plain(group: Group) -> list[Row]:
    of = group.attacked
    images = sum(int(kept.values["images"]) for kept in group.kept)
    total = sum(int(kept.values["of"]) for kept in group.kept)
    accuracy = f"{len(group.kept)} networks, right on {images} of {total} images, which are measured"
    norms = [each.flatten() for each in group.all("plain", of)] if of else []
    made = Row(
        group.name,
        "plain norm, median",
        float(torch.cat(norms).median()) if norms else None,
        reason=accuracy + ("" if len(of) == len(group.kept) else f"; {len(of)} attacked"),
        form=".3f",
    )
    return [made]


def _on(group: Group, space: str) -> list[Row]:
    case = group.case
    given = REFERENCE.get((case.dataset, case.kind, case.adversarial, space), Reference())
    name, control = f"{group.name}, {space}", space != TANGENT
    chance = group.chance(space)
    initial = ""
    if f"{space}/initial share" in group.kept[0].arrays:
        initial = f", at random initialisation {sqrt(group.share(space, 'initial share')):.3f}"
    against = f"chance {sqrt(chance):.3f}{initial}; {group.angle(space):.0f}° to the subspace"
    if space not in (RANDOM, RANDOM_100):
        against += f"; share over random {group.over_random(space)}"
    fraction = group.fraction(space)
    made = [Row(name, "‖P g‖/‖g‖", fraction.value, given.fraction, fraction.interval, control, against, ".3f")]
    if not group.attacked:
        return made
    for way, sign, reference in (("on", "share", given.on), ("off", "(1 − share)", given.off)):
        ratio, law = group.ratio(space, way), group.law(space, way)
        lost = torch.cat([each.flatten() for each in group.all(f"{space}/{way}", group.attacked)]).isinf()
        words = f"{law.value:+.1%} from 1/√{sign}"
        if law.interval and not isinf(law.interval[1]):
            words += f" [{law.interval[0]:+.1%}, {law.interval[1]:+.1%}]"
        if bool(lost.any()):
            words += f"; {int(lost.sum())} of {len(lost)} attacks fail"
        if reference is not None:
            words += f"; {REASON}"
        made.append(Row(name, f"{way} / plain", ratio.value, reference, ratio.interval, control, words, ".3f"))
    return made


def _boxed(group: Group) -> list[Row]:
    arrays, made = group.kept[0].arrays, []
    for space in BOXED:
        for way in ("on", "off"):
            if f"boxed/{space}/{way}" not in arrays:
                continue
            ratio, failed, feasible = boxed(arrays, space, way)
            count = len(arrays["boxed/plain"])
            words = f"{failed} of {count} attacks fail; feasible radius {feasible:.3g}"
            if feasible < 1e-6:
                words += ": pixel range ∩ subspace is {0}, which says nothing about the boundary"
            made.append(
                Row(f"{group.name}, {space}, within the pixel range", f"{way} / plain", ratio, reason=words, form=".3f")
            )
    return made


def boxed(arrays: dict[str, Tensor], space: str, way: str) -> tuple[float, int, float]:
    """Of the attacks within the pixel range: ratio of median norms, number of failures, median feasible radius."""
    confined = arrays[f"boxed/{space}/{way}"]
    # The median of an even number is the mean of the middle two, of which one may be infinite.
    ratio = float(confined.quantile(0.5, interpolation="higher")) / float(
        arrays["boxed/plain"].quantile(0.5, interpolation="higher")
    )
    return ratio, int(confined.isinf().sum()), float(arrays[f"boxed/{space}/{way} feasible"].median())


def claims(s: OnOffSettings, done: Parts) -> list[Claim]:
    """Theory of the random control first, then the networks, the laws, and what they leave of the model."""
    every = found(s, done)
    made = [
        _random(every),
        _mlp(every),
        _cifar(every),
        *_sign(s, every),
        *_laws(every),
        *_another(every),
        *_initial(every),
        *_pixel_range(every),
    ]
    return [Claim(c.text, None) for c in made] if s.preset == "smoke" else made


def _of(every: Sequence[Group], dataset: str, kind: str, adversarial: bool = False) -> Group | None:
    wanted = (dataset, kind, adversarial)
    return next((g for g in every if (g.case.dataset, g.case.kind, g.case.adversarial) == wanted), None)


def _random(every: Sequence[Group]) -> Claim:
    words, right = [], True
    for group in every:
        for space in (RANDOM, RANDOM_100):
            if space in group.spaces and group.attacked and not group.case.adversarial:
                ours, theory = group.ratio(space, "on").value, 1 / sqrt(group.chance(space))
                right &= abs(ours / theory - 1) <= WITHIN
                words.append(f"{group.name}, k = {group.k(space)}: {ours:.2f} ({theory:.2f})")
    return Claim(
        "the random control obeys theory: on/plain in random subspaces is √(n/k), in brackets, within 10 %, without "
        f"the pixel range: {'; '.join(words)}",
        right,
    )


def _mlp(every: Sequence[Group]) -> Claim:
    group = _of(every, "mnist", "mlp")
    if group is None:
        return Claim("MNIST MLP: not run", None)
    bounds = {PCA: ((0.69, 0.79), (1.2, 1.5)), TANGENT: ((0.50, 0.60), (1.6, 2.0)), RANDOM: ((0.13, 0.15), (6.0, 7.0))}
    words, right = [], True
    for space, (shares, norms) in bounds.items():
        fraction, ratio = group.fraction(space), group.ratio(space, "on")
        right &= shares[0] <= fraction.value <= shares[1] and norms[0] <= ratio.value <= norms[1]
        words.append(
            f"{space} {fraction} (expected {shares[0]} to {shares[1]}), on/plain {ratio} ({norms[0]} to {norms[1]})"
        )
    cheaper = group.ratio(RANDOM, "on").value / group.ratio(TANGENT, "on").value
    return Claim(
        f"MNIST MLP, ‖P g‖/‖g‖ and norms: {'; '.join(words)}; attacks along the manifold are {cheaper:.1f} times cheaper "
        "than in random subspaces of equal dimension",
        right,
    )


def _cifar(every: Sequence[Group]) -> Claim:
    words, right = [], None
    for kind in (OTHERS, "resnet20"):
        group = _of(every, "cifar10", kind)
        if group is None or not group.attacked:
            continue
        fraction, ratio = group.fraction(PCA), group.ratio(PCA, "on")
        if right is None:
            right = 0.07 <= fraction.value <= 0.11 and 9 <= ratio.value <= 12
        words.append(
            f"{group.name}: ‖P g‖/‖g‖ in PCA-{group.k(PCA)} {fraction} against chance {sqrt(group.chance(PCA)):.3f}, "
            f"on/plain {ratio} against {group.ratio(RANDOM, 'on').value:.2f} at random"
        )
    return Claim(
        "the opposite sign on CIFAR-10 (expected for the first network: 0.07 to 0.11, and 9 to 12): "
        + ("; ".join(words) or "not run"),
        right,
    )


def _sign(s: OnOffSettings, every: Sequence[Group]) -> list[Claim]:
    """Data against architecture: the sign of the share over chance in the first principal components and tangents."""
    made = []
    for space in (PCA, TANGENT):
        ratios = {
            (dataset, kind): group.share(space) / group.chance(space)
            for dataset in s.datasets
            for kind in s.kinds
            if (group := _of(every, dataset, kind)) is not None
        }
        table = "; ".join(f"{DATASETS[d]} {KINDS[k]} {value:.2f}" for (d, k), value in ratios.items())
        on = {key: value > 1 for key, value in ratios.items()}
        by_data = all(len({on[d, k] for k in s.kinds}) == 1 for d in s.datasets)
        by_kind = all(len({on[d, k] for d in s.datasets}) == 1 for k in s.kinds)
        cause = {
            (True, True): "neither, as all have one sign",
            (True, False): "the data",
            (False, True): "the architecture",
            (False, False): "both",
        }[by_data, by_kind]
        made.append(
            Claim(
                f"what decides whether gradients lie in the manifold more (above 1) or less than chance is {cause}; "
                f"share over chance, {space}: {table}",
                by_data != by_kind,
            )
        )
    return made


def _laws(every: Sequence[Group]) -> list[Claim]:
    made = []
    for adversarial in (False, True):
        groups = [g for g in every if g.case.adversarial == adversarial and g.attacked]
        if not groups:
            continue
        errors = {
            (way, g.name, space): g.excess(space, way) for way in ("on", "off") for g in groups for space in g.spaces
        }
        words = []
        for way, law in (("on", "1/√share"), ("off", "1/√(1 − share)")):
            of = {key: abs(e) for key, e in errors.items() if key[0] == way}
            worst = max(of, key=lambda key: of[key])
            near = sum(e <= WITHIN for e in of.values())
            words.append(
                f"{way}/plain = {law} within 10 % in {near} of {len(of)} cases (median error "
                f"{sorted(of.values())[len(of) // 2]:.1%}, largest {errors[worst]:+.1%}: {worst[1]}, {worst[2]})"
            )
        who = "adversarially trained networks" if adversarial else "standard networks"
        obeyed = all(abs(e) <= WITHIN for e in errors.values())
        made.append(
            Claim(
                f"{who} {'break' if adversarial else 'obey'} the laws: {'; '.join(words)}",
                not obeyed if adversarial else obeyed,
            )
        )
    return made


def _another(every: Sequence[Group]) -> list[Claim]:
    made = []
    for adversarial in (False, True):
        words, right = [], True
        for group in every:
            if group.case.adversarial == adversarial:
                from ..common.intervals import ratio_of_medians

                ratio = ratio_of_medians(group.all(f"{TANGENT}/share"), group.all(f"{ANOTHER}/share"))
                words.append(f"{group.name} {ratio}")
                right &= ratio.value > 1.5 if adversarial else ratio.value < 1.25
        if words:
            who = "adversarially trained networks know" if adversarial else "standard networks do not know"
            limit = "above 1.5" if adversarial else "below 1.25"
            made.append(
                Claim(
                    f"{who} the local manifold: share of the gradient in the tangent space at the image over that at "
                    f"another image, expected {limit}: {'; '.join(words)}",
                    right,
                )
            )
    return made


def _initial(every: Sequence[Group]) -> list[Claim]:
    words, right = [], True
    for group in every:
        if f"{TANGENT}/initial share" in group.kept[0].arrays:
            chance = group.chance(TANGENT)
            before, after = (group.share(TANGENT, what) / chance for what in ("initial share", "share"))
            right &= 0.5 <= before <= 2
            words.append(f"{group.name} {before:.2f} → {after:.2f}")
    return [
        Claim(
            "at random initialisation the share in the tangent space is near chance, within a factor of 2; share over "
            f"chance before → after training: {'; '.join(words)}",
            right,
        )
    ] * bool(words)


def _pixel_range(every: Sequence[Group]) -> list[Claim]:
    key = "residual with the pixel range"
    measured = [g for g in every if key in g.kept[0].values]
    if not measured:
        return []
    residual = max(float(g.kept[0].values[key]) for g in measured)
    words = []
    for group in measured:
        _, failed, feasible = boxed(group.kept[0].arrays, TANGENT, "on")
        words.append(
            f"{group.name} {failed} of {len(group.kept[0].arrays['boxed/plain'])} fail, feasible radius {feasible:.3g}"
        )
    return [
        Claim(
            f"attacks confined to pixel range ∩ subspace leave the subspace by at most {residual:.1e} of their norm; "
            f"within the pixel range ∩ tangent space: {'; '.join(words)}",
            residual <= 1e-9,
        )
    ]


def draw(s: OnOffSettings, done: Parts, folder: Path) -> None:
    """The laws: ratios of norms against the share; and the share over chance of every network."""
    every = found(s, done)
    figure = new_figure(14, 4.6)
    on, off, over = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    figure.subplots_adjust(wspace=0.35)
    for axes, way, law in ((on, "on", "1/√share"), (off, "off", "1/√(1 − share)")):
        plain(axes, f"{way} / plain against {law}", law, f"{way} / plain")
        axes.set_xscale("log")
        axes.set_yscale("log")
        ends = [1.0, 1.0]
        for adversarial, colour in ((False, "own"), (True, "gaussian")):
            points = []
            for group in every:
                for space in group.spaces if group.attacked and group.case.adversarial == adversarial else ():
                    part = group.share(space)
                    predicted = 1 / sqrt(max(part if way == "on" else 1 - part, 1e-12))
                    measured = predicted * (1 + group.excess(space, way))
                    if measured < inf:
                        points.append((predicted, measured))
            if points:
                across, up = zip(*points, strict=True)
                label = "adversarially trained" if adversarial else "standard"
                axes.scatter(across, up, s=14, color=COLOURS[colour], alpha=0.7, label=label)
                ends = [1.0, max(ends[1], *across, *up)]
        axes.plot(ends, ends, "-", color=INK, linewidth=1)
        axes.legend(frameon=False, fontsize=9)
    plain(over, "share of the gradient over chance", "", "")
    names = [group.name for group in every]
    for space, colour in ((TANGENT, "own"), (ANOTHER, "shuffled"), (PCA, "second"), (RANDOM, "control")):
        over.scatter(
            [group.share(space) / group.chance(space) for group in every],
            range(len(every)),
            s=22,
            color=COLOURS[colour],
            label=space,
        )
    over.axvline(1, color=INK, linewidth=1)
    over.set_xscale("log")
    over.set_yticks(range(len(every)), names, fontsize=7)
    over.invert_yaxis()
    over.legend(frameon=False, fontsize=8)
    save(figure, folder / "onoff.png")
