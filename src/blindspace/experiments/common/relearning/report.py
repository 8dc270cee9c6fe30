"""Learning from mislabelled images: rows, claims and pictures, and the figures that verdicts are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from ....learning.controls import FLIPPED, NOISE, NONE, PERMUTED, SAME_TARGET, SHUFFLED
from ...experiment import Claim, Row
from ...parts import Kept, Parts
from ..learnt import CHANCE, Learners, accuracies, by_class, mean, of_sets, over_epochs
from .settings import (
    ALL_SETS,
    CONTROL_CELLS,
    D_NONE,
    FULL,
    OF_SHUFFLED,
    PAPER,
    PAPER_SUCCESS,
    R_L2,
    STANDARD,
    Perturbed,
    RelearningSettings,
    at_scale,
)

CONTROL = {control: cell for cell, control in CONTROL_CELLS.items()}
"""Names of the controls in tables, by their names in ``learning.controls``."""

NEEDED = {"mnist": 0.85, "fashion-mnist": 0.55, "cifar10": CHANCE}
"""What R-L2 should teach, with narrow networks and few steps."""

PUBLISHED_IMAGES = {"mnist": 60_000, "fashion-mnist": 60_000, "cifar10": 50_000}
PUBLISHED_NOISE, PUBLISHED_NOISE_EPOCHS = 1_200_000, 300
PUBLISHED_EPOCHS = {"mnist": 100, "fashion-mnist": 200, "cifar10": 200}


def found(s: RelearningSettings, done: Parts) -> Learners:
    """The students and sets of every first network."""
    return Learners(s.cases[0], tuple(_merged(done, case.part) for case in s.cases))


def _merged(done: Parts, case: str) -> Kept:
    """All parts of one first network as one."""
    of = [kept for name, kept in done.items() if name.startswith(f"{case}.")]
    values = {
        key: {name: each for kept in of for name, each in kept.values.get(key, {}).items()}
        for key in ("students", "sets")
    }
    network = next(kept.values["network"] for kept in of if "network" in kept.values)
    return Kept({**values, "network": network})


def _published(s: RelearningSettings, made: Perturbed) -> float | None:
    """The paper's accuracy, of attacks of its code; of noise we run ours alone."""
    is_theirs = made.authors or made.targets == "noise"
    return PAPER[s.dataset].get(f"{made.targets}-{made.norm}") if is_theirs else None


def _why(s: RelearningSettings, images: int, epochs: int, is_noise: bool = False) -> str:
    """What differs from the paper."""
    theirs = PUBLISHED_NOISE if is_noise else PUBLISHED_IMAGES[s.dataset]
    passes = PUBLISHED_NOISE_EPOCHS if is_noise else PUBLISHED_EPOCHS[s.dataset]
    network = "WideResNet-28-10" if s.dataset == "cifar10" else "ConvNet of 92 MMAC"
    return (
        f"{images:,} images (theirs {theirs:,}), {epochs} epochs ({passes}), "
        f"{s.steps} steps of attack (100), a small {s.kind} (a {network}), smoothed labels (plain ones), the last "
        "epoch (the best)"
    )


def success_row(s: RelearningSettings, g: Learners, name: str, reference: float | None = None) -> Row:
    """How often the first network sees the target; the remark has each target and the norms."""
    of = g.success(name)
    each = " ".join("–" if share is None else f"{share:.2f}" for share in by_class(g.kept, "sets", name))
    size = " / ".join(f"{float(of_sets(g.kept, name, norm).mean()):.3g}" for norm in ("l0", "l2", "linf"))
    words = f"targets 0 to 9: {each}; median L0 / L2 / L∞ {size}"
    return Row(f"{g.name}, {name}", "success of the attack", of.value, reference, of.interval, False, words, ".3f")


def rows(s: RelearningSettings, done: Parts) -> list[Row]:
    """The first network, then every set with its student, the controls, and the sets of many images."""
    g = found(s, done)
    first = mean(accuracies_of_first(g))
    why = _why(s, s.images, s.epochs)
    made = [
        Row(
            f"{g.name}, first networks", "accuracy on clean test images", first.value, None, first.interval, form=".3f"
        ),
        g.row(STANDARD, PAPER[s.dataset][STANDARD], why),
    ]
    for each in s.sets:
        published = _published(s, each)
        theirs = PAPER_SUCCESS[s.dataset].get(f"{each.targets}-{each.norm}") if each.authors else None
        made.append(success_row(s, g, each.name, theirs))
        differs = _why(s, s.images, s.epochs, each.targets == "noise")
        made.append(g.row(each.name, published, differs if published is not None else ""))
    for each in ALL_SETS:
        if (each.authors or each.targets == "noise") and each not in s.sets:
            published, case = _published(s, each), f"{g.name}, {each.name}"
            what = "accuracy on clean test images"
            made.append(Row(case, what, None, published, reason="only in the preset paper", form=".3f"))
    for each in FULL:
        cell, published = at_scale(each, s), PAPER[s.dataset][f"{each.targets}-{each.norm}"]
        made.append(success_row(s, g, cell, PAPER_SUCCESS[s.dataset].get(f"{each.targets}-{each.norm}")))
        made.append(g.row(cell, published, _why(s, s.full, s.full_epochs)))
    below = "no target is the true class"
    made += [g.row(cell, control=True, reason=below if name == NONE else "") for cell, name in CONTROL_CELLS.items()]
    made.append(success_row(s, g, OF_SHUFFLED))
    made.append(g.row(OF_SHUFFLED, control=True))
    made.append(g.row(D_NONE, control=True, reason="the target is never the true class"))
    made += [effect_row(g, control) for control in (SAME_TARGET, FLIPPED, PERMUTED)]
    return [*made, d_behind_r(g), *(best_row(g, cell) for cell in best_cells(s))]


def accuracies_of_first(g: Learners) -> Tensor:
    """Accuracy of each first network, ``(seeds,)``."""
    return torch.tensor([float(kept.values["network"]["test_accuracy"]) for kept in g.kept])


def effect_row(g: Learners, control: str) -> Row:
    """Which share of what R-L2 teaches is left by a control, above what images without perturbations teach."""
    whole, left, none = (accuracies(g.kept, cell) for cell in (R_L2.name, CONTROL[control], CONTROL[NONE]))
    case, what = f"{g.name}, {CONTROL[control]}", "share of the effect"
    if bool((whole == none).any()):
        return Row(case, what, None, control=True, reason="R-L2 teaches no more than no perturbation")
    of = mean((left - none) / (whole - none))
    words = "(accuracy − that of none) / (that of R-L2 − that of none)"
    return Row(case, what, of.value, None, of.interval, True, words, ".2f")


def _share(row: Row) -> str:
    return "nothing" if row.ours is None else f"{row.ours:.2f}"


def d_behind_r(g: Learners) -> Row:
    """How much less the targets D teach than R."""
    of = g.difference("D-L2", R_L2.name)
    return Row(f"{g.name}, L2", "accuracy, D − R", of.value, None, of.interval, form="+.3f")


def best_cells(s: RelearningSettings) -> list[str]:
    """The students whose best and last epochs are compared: of all published settings."""
    return [each.name for each in s.sets if each.authors or each.targets == "noise"] + [
        at_scale(each, s) for each in FULL
    ]


def best_row(g: Learners, cell: str) -> Row:
    """How much better the best epoch is than the last."""
    of = mean(accuracies(g.kept, cell, "best") - accuracies(g.kept, cell))
    return Row(f"{g.name}, {cell}", "best epoch − last", of.value, None, of.interval, form="+.3f")


def claims(s: RelearningSettings, done: Parts) -> list[Claim]:
    """What mislabelled images teach, and what the controls leave of it."""
    g = found(s, done)
    full, authors = (at_scale(each, s) for each in FULL)
    none, same, permuted = g.accuracy(CONTROL[NONE]), effect_row(g, SAME_TARGET), effect_row(g, PERMUTED)
    behind = g.difference("D-L2", R_L2.name)
    plateau = over_epochs(g.kept, "D-L2")
    made = [
        Claim(
            f"a network that has seen wrong labels only classifies clean images: R-L2 of {s.full:,} images "
            f"{g.accuracy(full)} after the last epoch, at least {NEEDED[s.dataset]} expected",
            g.accuracy(full).value >= NEEDED[s.dataset],
        ),
        Claim(f"without perturbations nothing is learnt: R, none {none}, at most chance", none.value <= CHANCE),
        Claim(
            f"perturbations of other images with the same target teach at least half as much: {_share(same)} of the "
            f"effect, accuracy {g.accuracy(CONTROL[SAME_TARGET])}",
            same.ours is not None and same.ours >= 0.5,
        ),
        Claim(
            "shuffled over all, replaced by noise or made by a network of shuffled labels they teach next to nothing: "
            + ", ".join(str(g.accuracy(cell)) for cell in (CONTROL[SHUFFLED], CONTROL[NOISE], OF_SHUFFLED)),
            all(g.accuracy(cell).value < 1.5 * CHANCE for cell in (CONTROL[SHUFFLED], CONTROL[NOISE], OF_SHUFFLED)),
        ),
        Claim(
            "permuted in their pixels, so that no clean image has their features, they teach less than half as much: "
            f"{_share(permuted)} of the effect, accuracy {g.accuracy(CONTROL[PERMUTED])}; what is left is that a "
            "network that knows which class a perturbation removes adds it back from the image",
            permuted.ours is not None and permuted.ours < 0.5,
        ),
        Claim(
            f"targets that the true class determines teach less, by at least .3: D-L2 − R-L2 {behind}",
            behind.value <= -0.3,
        ),
        Claim(
            f"accuracy starts below chance: D-L2 {float(plateau[:, 0].mean()):.3f} after the first epoch and "
            f"{float(plateau[:, -1].mean()):.3f} after the last; D, none {g.accuracy(D_NONE)}",
            float(plateau[:, 0].mean()) < CHANCE,
        ),
    ]
    if s.dataset == "mnist":
        success, of = g.success(authors), g.accuracy(authors)
        made.append(
            Claim(
                f"R-L∞ by the authors' attack teaches within .05 of .92, {of}, from attacks that succeed in less than "
                f"a tenth of the images, {success}",
                abs(of.value - 0.92) <= 0.05 and success.value < 0.1,
            )
        )
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made
