"""Compression onto the manifold: rows, claims, verdicts and the picture."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...evidence.roc import Roc, roc
from ..common.classifier_cases import Case
from ..common.classifier_names import DATASETS, KINDS
from ..common.intervals import Estimate, median, of_share, ratio_of_medians
from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .settings import ATTACKS, AUTOENCODER, LOW, PCA, RANDOM, SCORES, WAYS, DmmCompress, groups

Group = tuple[Case, ...]

LOSSLESS = 0.99
"""Share of correctly classified images that must remain so for a compression to lose nothing that matters."""

DETECTED = 0.8
"""Area under the curve from which a detector detects."""

NONE = Estimate(0.0, None)
"""The norm of attacks through a compression after which no image is classified correctly."""

ERROR, LENGTH = SCORES[0], SCORES[-1]


def name_of(group: Group) -> str:
    """Data set and kind of the classifiers."""
    return f"{DATASETS[group[0].dataset]}, {KINDS[group[0].kind]}"


def _arrays(done: Parts, group: Group, key: str) -> list[Tensor]:
    return [done[case.part].arrays[key] for case in group]


def rows(s: DmmCompress, done: Parts) -> list[Row]:
    """Data set by data set: errors and outliers; then its classifiers: accuracy, norms and attacks."""
    made: list[Row] = []
    for dataset in s.datasets:
        made += _of_images(dataset, done)
        for group in groups(s):
            if group[0].dataset == dataset:
                made += _of_networks(done, group)
    return made


# --- images ------------------------------------------------------------------------------------------------


def _of_images(dataset: str, done: Parts) -> list[Row]:
    kept, name = done[f"{dataset}.images"], DATASETS[dataset]
    values, made = kept.values, []
    for way in WAYS:
        error, words = values[f"{way}/test"], f"k = {values['k']} of {values['n']}"
        control = way in (LOW, RANDOM)
        what = f"mean squared error of test images, {way}"
        trained = f"{words}; {values[f'{way}/train']:.4f} on training images"
        made.append(Row(name, what, error, control=control, reason=trained, form=".4f"))
        made.append(
            Row(name, f"share of the variance that is lost, {way}", error / values["variance"], control=control)
        )
    for kind in values["kinds"]:
        if kind == "clean":
            continue
        for score in SCORES:
            made.append(_auc(name, kind, score, [roc(kept.arrays[f"clean/{score}"], kept.arrays[f"{kind}/{score}"])]))
    return made


def _auc(case: str, kind: str, score: str, found: list[Roc]) -> Row:
    """The mean area over networks, with the interval of the first."""
    area = sum(each.auc for each in found) / len(found)
    control = score == LENGTH or kind.startswith("noise like")
    reason = "" if len(found) == 1 else f"mean of {len(found)} networks; the interval is the first one's"
    return Row(
        case, f"area under the ROC, {kind}, {score}", area, None, (found[0].low, found[0].high), control, reason, ".3f"
    )


# --- networks ----------------------------------------------------------------------------------------------


def remains(done: Parts, group: Group, way: str) -> tuple[float, tuple[float, float]]:
    """The share of correctly classified images that remain so after a compression; the interval is one network's."""
    before, after = (torch.stack(_arrays(done, group, key)) for key in ("accuracy", f"accuracy/{way}"))
    kept = (before * after).sum() / before.sum()
    of = int(before[0].sum())
    return float(kept), of_share(round(float(kept) * of), of)


def _finite(values: list[Tensor]) -> list[Tensor]:
    return [each.double() for each in values]


def norms(done: Parts, group: Group, name: str) -> list[Tensor]:
    """Smallest norms, one tensor per network."""
    return _finite(_arrays(done, group, f"norms/{name}"))


def gained(done: Parts, group: Group, way: str, over: str = "plain") -> Estimate:
    """The norm of attacks through a compression over that without it, on images that both classify correctly."""
    pairs = []
    for above, below in zip(norms(done, group, f"through {way}"), norms(done, group, over), strict=True):
        both = (above > 0) & (below > 0)
        if bool(both.any()):
            pairs.append((above[both], below[both]))
    if not pairs:
        return NONE
    return ratio_of_medians([a for a, _ in pairs], [b for _, b in pairs])


def _of_networks(done: Parts, group: Group) -> list[Row]:
    case, made = name_of(group), []
    accuracy = torch.stack(_arrays(done, group, "accuracy")).mean()
    made.append(Row(case, "accuracy", float(accuracy), form=".1%"))
    for way in WAYS:
        control = way in (LOW, RANDOM)
        after = float(torch.stack(_arrays(done, group, f"accuracy/{way}")).mean())
        made.append(Row(case, f"accuracy after compression, {way}", after, control=control, form=".1%"))
        made.append(_remains(done, group, way))
    for attack in ATTACKS:
        made.append(_estimate(case, f"smallest norm, {attack}", median(norms(done, group, attack))))
    for way in WAYS:
        made.append(_gained(done, group, way))
    made.append(_owed(done, group))
    for attack in ATTACKS:
        for way in WAYS:
            made += _recovered(done, group, attack, way)
        for kind in (attack, f"noise like {attack}"):
            for score in SCORES:
                found = _rocs(done, group, kind, score)
                made += [_auc(case, kind, score, found)] if found else []
    return made


def _rocs(done: Parts, group: Group, kind: str, score: str) -> list[Roc]:
    kept = [done[each.part].arrays for each in group]
    return [roc(a[f"clean/{score}"], a[f"{kind}/{score}"]) for a in kept if f"{kind}/{score}" in a]


def _estimate(case: str, quantity: str, found: Estimate, control: bool = False, reason: str = "") -> Row:
    return Row(case, quantity, found.value, None, found.interval, control, reason, ".3g")


def _remains(done: Parts, group: Group, way: str) -> Row:
    share, interval = remains(done, group, way)
    what = f"correctly classified images that remain so, {way}"
    return Row(name_of(group), what, share, None, interval, way in (LOW, RANDOM), form=".1%")


def _gained(done: Parts, group: Group, way: str) -> Row:
    what = f"norm of attacks through the compression over that without it, {way}"
    found, control = gained(done, group, way), way in (LOW, RANDOM)
    if found is NONE:
        words = "no image is classified correctly after it"
        return Row(name_of(group), what, None, control=control, reason=words)
    return _estimate(name_of(group), what, found, control)


def _owed(done: Parts, group: Group) -> Row:
    words = "1 or more if nothing but attacks along the manifold were left"
    what = "norm of attacks through the autoencoder over that of attacks in the tangent space"
    return _estimate(name_of(group), what, gained(done, group, AUTOENCODER, "on"), reason=words)


def _recovered(done: Parts, group: Group, attack: str, way: str) -> list[Row]:
    found = torch.cat(_arrays(done, group, f"recovered/{attack}/{way}"))
    if not len(found):
        return []
    right = int(found.sum())
    what = f"labels restored by compression after the attack, {attack}, {way}"
    words = "the attack does not know of the compression"
    interval = of_share(right, len(found))
    return [Row(name_of(group), what, right / len(found), None, interval, way in (LOW, RANDOM), words, ".1%")]


# --- claims and verdicts -----------------------------------------------------------------------------------


def _reaches(found: Estimate, limit: float) -> bool:
    return found.interval is not None and found.interval[1] >= limit


def claims(s: DmmCompress, done: Parts) -> list[Claim]:
    """What compression loses, gains and shows."""
    every, small = groups(s), s.preset == "smoke"
    errors = {d: [done[f"{d}.images"].values[f"{way}/test"] for way in (AUTOENCODER, PCA)] for d in s.datasets}
    better = ", ".join(f"{DATASETS[d]} {ours:.4f} against {linear:.4f}" for d, (ours, linear) in errors.items())
    kept = {name_of(group): remains(done, group, AUTOENCODER)[0] for group in every}
    made = [
        Claim(
            f"autoencoders compress better than as many principal components, mean squared errors: {better}",
            None if small else all(ours < linear for ours, linear in errors.values()),
        ),
        Claim(
            f"{LOSSLESS:.0%} of the correctly classified images remain so after compression by the autoencoder: "
            + ", ".join(f"{name} {share:.1%}" for name, share in kept.items()),
            None if small else all(share >= LOSSLESS for share in kept.values()),
        ),
    ]
    owed = {name_of(group): gained(done, group, AUTOENCODER, "on") for group in every}
    plain = ", ".join(f"{name_of(group)} {gained(done, group, AUTOENCODER)}" for group in every)
    made.append(
        Claim(
            "an attack that knows of the compression needs what attacks along the manifold need: over those in the "
            f"tangent space {', '.join(f'{name} {found}' for name, found in owed.items())}; over unconfined attacks "
            f"on the same network without compression {plain}",
            None if small else all(_reaches(found, 1) for found in owed.values()),
        )
    )
    for way in (PCA, LOW):
        words = [(gained(done, group, AUTOENCODER), gained(done, group, way), name_of(group)) for group in every]
        made.append(
            Claim(
                f"compression by the autoencoder defends better than by as many {way}: "
                + ", ".join(f"{name} {ours.value:.2f} against {theirs.value:.2f}" for ours, theirs, name in words),
                None if small else all(ours.value > theirs.value for ours, theirs, _ in words),
            )
        )
    outliers, attacks = _detected(s, done)
    for what, found in (("images of other data sets, blur and noise", outliers), ("smallest perturbations", attacks)):
        least = min(found, key=lambda row: row.ours or 0.0)
        made.append(
            Claim(
                f"the distance from the manifold detects {what} (areas above {DETECTED}): the least is "
                f"{least.ours:.3f}, {least.case}, {least.quantity.split(', ')[1]}",
                None if small else (least.ours or 0.0) > DETECTED,
            )
        )
    return made


def _detected(s: DmmCompress, done: Parts) -> tuple[list[Row], list[Row]]:
    """The rows of the autoencoder's error: images of other kinds, and unconfined attacks."""
    every = [row for row in rows(s, done) if row.quantity.endswith(ERROR) and row.quantity.startswith("area")]
    attacks = [row for row in every if ", plain, " in row.quantity]
    return [row for row in every if row.case in DATASETS.values()], attacks


def verdicts(s: DmmCompress, done: Parts) -> list[Verdict]:
    """Whether images are compressible, and whether compression defends and detects."""
    names = ("compressible", "compression-defends", "compression-detects")
    if s.preset == "smoke":
        return [Verdict(name, None, []) for name in names]
    every = groups(s)
    kept = [remains(done, group, AUTOENCODER)[0] >= LOSSLESS for group in every]
    robust = [_reaches(gained(done, group, AUTOENCODER, "on"), 1) for group in every]
    outliers, attacks = _detected(s, done)
    seen = [(row.ours or 0.0) > DETECTED for row in (*outliers, *attacks)]
    first = [next(group for group in every if group[0].dataset == dataset) for dataset in s.datasets]
    worst = [min(found, key=lambda row: row.ours or 0.0) for found in (outliers, attacks)]
    over = ", ".join(f"{name_of(group)} {gained(done, group, AUTOENCODER)}" for group in first)
    return [
        _verdict(names[0], kept, "the data set", [_remains(done, group, AUTOENCODER) for group in first]),
        _verdict(
            names[1],
            robust,
            "the data set and the network",
            [_owed(done, group) for group in first],
            "Where an interval reaches 1 the claim is not refuted. Over an unconfined attack without compression: "
            + over,
        ),
        _verdict(names[2], seen, "what is to be detected", [max(outliers, key=lambda row: row.ours or 0.0), *worst]),
    ]


def _verdict(question: str, holds: list[bool], on: str, decisive: list[Row], because: str = "") -> Verdict:
    said: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    return Verdict(question, said, decisive, on if said == "depends" else "", because)


# --- picture -----------------------------------------------------------------------------------------------


def draw(s: DmmCompress, done: Parts, folder: Path) -> None:
    """Norms through each compression, and the areas under the curve of the autoencoder's error and of the control."""
    every = groups(s)
    figure = new_figure(13, 0.85 * max(len(every), len(s.datasets)) + 1.6)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(wspace=0.6)
    plain(left, "norm of attacks through a compression", "over that without compression", "").grid(visible=False)
    left.axvline(1, color=COLOURS["control"], linewidth=1)
    for way, colour in zip(WAYS, ("own", "second", "third", "control"), strict=True):
        for place, group in enumerate(every):
            found, at = gained(done, group, way), -place - 0.17 * (WAYS.index(way) - 1.5)
            at_all = [] if found is NONE else [found.value]
            left.plot(
                at_all, [at] * len(at_all), "o", color=COLOURS[colour], markersize=5, label=None if place else way
            )
            if found.interval:
                left.plot(found.interval, [at, at], color=COLOURS[colour], linewidth=1.2)
    left.set_yticks([-place for place in range(len(every))], [name_of(group) for group in every])
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2, frameon=False, fontsize=8)
    plain(right, "detection", "area under the ROC (0.5 is chance)", "").grid(visible=False)
    bars = []
    for dataset in s.datasets:
        group = next(group for group in every if group[0].dataset == dataset)
        for kind in (*done[f"{dataset}.images"].values["kinds"][1:], *ATTACKS):
            name = DATASETS[dataset] if kind not in ATTACKS else name_of(group)
            bars.append((name, kind, [_area(done, dataset, group, kind, score) for score in (ERROR, LENGTH)]))
    for place, (_, _, areas) in enumerate(bars):
        for area, colour in zip(areas, ("own", "control"), strict=True):
            if area is not None:
                right.plot(area, -place, "o", color=COLOURS[colour], markersize=5)
    right.axvline(0.5, color=INK, linewidth=0.6)
    right.set_yticks([-place for place in range(len(bars))], [f"{name}, {kind}" for name, kind, _ in bars], fontsize=7)
    save(figure, folder / "compression.png")


def _area(done: Parts, dataset: str, group: Group, kind: str, score: str) -> float | None:
    if kind in ATTACKS:
        found = _rocs(done, group, kind, score)
        return sum(each.auc for each in found) / len(found) if found else None
    kept = done[f"{dataset}.images"].arrays
    return roc(kept[f"clean/{score}"], kept[f"{kind}/{score}"]).auc
