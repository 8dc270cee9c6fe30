"""Norm-saving: rows and claims."""

from __future__ import annotations

from math import pi

import torch

from ..common.intervals import of_mean, of_share
from ..common.victims import ROBUST, runs
from ..experiment import Claim, Row
from ..parts import Kept, Parts
from .found import Found, attacks, called
from .settings import CONTROLS, CUTS, KINDS, NormSaving, part_name

ROUNDINGS = 10
"""Number of ulps of the input by which exact equalities may be off."""

SIGNS = 1 - 2 / pi
"""Share of the energy of sign(g) orthogonal to g, for g of independent Gaussian values."""


def rows(s: NormSaving, done: Parts) -> list[Row]:
    """Attack by attack: share and saving; then attacks confined from the start, and the controls."""
    made = [row for found in attacks(s, done) for row in _rows(found)]
    made += [
        Row(called(name), "harmless share of ‖δ‖²", None, reason=f"the folder BLINDSPACE_MODELS names has no {name}")
        for name, _ in s.plan
        if not runs(name, s.present)
    ]
    return [*made, *_confined_rows(s, done), *_carried_rows(s, done), *_control_rows(s, done)]


def _rows(found: Found) -> list[Row]:
    case, hit, n = f"{called(found.name)}: {found.way.name}", int(found.hit.sum()), len(found.of("l2"))
    kept = int((found.of("rest success") & found.hit).sum())
    words = f"{hit} of {n} succeed, {kept} of these without the harmless part"
    share = "harmless share of ‖δ‖²"
    if not hit:
        return [Row(case, "attack success", 0.0, None, of_share(0, n), form=".1%")]
    made = [Row(case, share, float(found.share.mean()), None, of_mean(found.share), reason=words, form=".3g")]
    if len(found.saved):
        what = "L2 saved at equal outputs" + (", within [0, 1]" if found.in_range else "")
        made.append(Row(case, what, float(found.saved.mean()), None, of_mean(found.saved), form=".2%"))
    if found.way.norm == "linf":
        ratio = (found.of("rest linf") / found.of("linf"))[found.hit]
        made.append(Row(case, "‖δ⊥‖∞ / ‖δ‖∞", float(ratio.mean()), None, of_mean(ratio), form=".3f"))
    return made


def _confined_rows(s: NormSaving, done: Parts) -> list[Row]:
    made = []
    for name, _ in s.confined:
        for kind in KINDS:
            for budget in s.budgets:
                success = done[part_name(name, "confined")].arrays[f"{kind}|{budget}"]
                count, n = int(success.sum()), len(success)
                where = "unconfined" if kind == "unconfined" else f"confined from the start: {kind}"
                case = f"{called(name)}: PGD in L2 of {budget}, {where}"
                control = kind in ("random subspace", "harmless")
                made.append(Row(case, "attack success", count / n, None, of_share(count, n), control, form=".1%"))
    return made


def _carried_rows(s: NormSaving, done: Parts) -> list[Row]:
    made = []
    for name, groups in s.plan:
        for key, value in done[part_name(name, groups[0][0])].arrays.items() if name in CUTS else ():
            what, _, kind = key.partition("|")
            if kind == "carried":
                noise = what == "Gaussian"
                case = f"{called(name)}: what {'Gaussian noise' if noise else 'PGD-20 L∞'} on images becomes there"
                share = "harmless share of ‖δ‖²"
                made.append(Row(case, share, float(value.mean()), None, of_mean(value), noise, form=".3g"))
    return made


def _control_rows(s: NormSaving, done: Parts) -> list[Row]:
    made = []
    for name, groups in s.plan:
        if not runs(name, s.present):
            continue
        facts = done[part_name(name, groups[0][0])].values
        level = facts["dim"] / facts["n"]
        reason = f"dim/n = {facts['dim']}/{facts['n']} = {level:.3g}"
        for kind, values in done[part_name(name, "controls")].arrays.items():
            mean = float(values.mean())
            words = f"(1 − 2/π) dim/n = {SIGNS * level:.3g}" if kind == CONTROLS[2] else reason
            case = f"{called(name)}: {kind}"
            made.append(Row(case, "harmless share of ‖δ‖²", mean, None, of_mean(values), True, words, ".3g"))
    return made


def claims(s: NormSaving, done: Parts) -> list[Claim]:
    """What puts norm into the harmless space, that it can be removed, and that an attack can avoid it altogether."""
    found = list(attacks(s, done))
    confined = [_confined_claim(s, name, done[part_name(name, "confined")]) for name, _ in s.confined]
    return [_gradients(found), _signs(s, found), _exact(found), _labels(found), _cheaper(s, found), *confined]


def _named(found: list[Found], *names: str) -> list[Found]:
    return [each for each in found if each.way.name in names and bool((each.of("l2") > 0).any())]


def _gradients(found: list[Found]) -> Claim:
    bare = _named(found, "gradient steps, unclipped")
    largest = max(float(each.of("share").max()) for each in bare)
    return Claim(
        f"a gradient is Aᵀ times something: steps along it that nothing clips have a harmless share of at most "
        f"{largest:.1e} on {len(bare)} networks and layers, which is rounding (ε² = {_EPS**2:.1e})",
        largest <= 1000 * _EPS**2,
    )


_EPS = torch.finfo(torch.float64).eps


def _signs(s: NormSaving, found: list[Found]) -> Claim:
    def mean(*names: str) -> str:
        each = [float(one.of("share").mean()) for one in _named(found, *names)]
        return f"{min(each):.2%} to {max(each):.2%}" if each else "none"

    signs = [each.of("share") for each in _named(found, "sign steps, unclipped")]
    intervals = [of_mean(share) for share in signs]
    return Claim(
        f"their signs put {mean('sign steps, unclipped')} there without any clipping; clipping alone (PGD-20 L2) "
        f"{mean('PGD-20 L2')}; both (PGD-20 L∞) {mean('PGD-20 L∞')}; a random start (foolbox's L2PGD) "
        f"{mean('foolbox L2PGD')}, {mean('foolbox L2PGD, no random start')} without it",
        None if s.preset == "smoke" else all(each is not None and each[0] > 0 for each in intervals),
    )


def _exact(found: list[Found]) -> Claim:
    double = [each for each in found if each.name != ROBUST]
    change, floor = (max(float(each.of(what).max()) for each in double) for what in ("change", "floor"))
    return Claim(
        f"without the harmless part every attack has the same outputs: no output of {sum(map(_count, double))} "
        f"attacked inputs moves by more than {change:.1e} in float64; one ulp in the input makes {floor:.1e}",
        change <= ROUNDINGS * floor,
    )


def _count(found: Found) -> int:
    return len(found.of("l2"))


def _labels(found: list[Found]) -> Claim:
    n = sum(map(_count, found))
    ours, floor = (
        sum(int((each.of(what) != each.of("success")).sum()) for each in found)
        for what in ("rest success", "ulp success")
    )
    return Claim(
        f"in the models' own precision {ours} of {n} attacks come out differently without it; one ulp in the input "
        f"changes {floor} (those that stop right behind the decision boundary)",
        of_share(ours, n)[0] <= of_share(floor, n)[1],
    )


def _cheaper(s: NormSaving, found: list[Found]) -> Claim:
    ranged = [each for each in found if each.in_range and each.way.moved == "sign" and len(each.saved)]
    means = {f"{each.way.name} on {called(each.name)}": float(each.saved.mean()) for each in ranged}
    least, most = min(means, key=lambda key: means[key]), max(means, key=lambda key: means[key])
    change = max(float(each.of("ranged change").max()) for each in ranged if each.name != ROBUST)
    floor = max(float(each.of("floor").max()) for each in ranged)
    holds = all((interval := of_mean(each.saved)) is not None and interval[0] > 0 for each in ranged)
    return Claim(
        f"so the same attack costs less, and stays in [0, 1]: attacks by sign save from {means[least]:.2%} of their L2 "
        f"norm ({least}) to {means[most]:.2%} ({most}); their outputs stay to {change:.1e}",
        None if s.preset == "smoke" else holds and change <= 100 * ROUNDINGS * floor,
    )


def _confined_claim(s: NormSaving, name: str, kept: Kept) -> Claim:
    found = {kind: torch.stack([kept.arrays[f"{kind}|{b}"].double() for b in s.budgets]) for kind in KINDS}
    means = {kind: ", ".join(f"{float(x):.0%}" for x in values.mean(1)) for kind, values in found.items()}
    lost = (found["effective"] - found["unconfined"]).mean(0)
    interval = of_mean(lost)
    small = s.preset == "smoke" or interval is None
    return Claim(
        f"{called(name)}: PGD in L2 of {', '.join(map(str, s.budgets))} confined from the start to the "
        f"{kept.values['dim']} of {kept.values['n']} dimensions that have an effect succeeds on {means['effective']}, "
        f"unconfined on {means['unconfined']}; in a random subspace of that dimension on {means['random subspace']}, "
        f"in the harmless one on {means['harmless']}",
        None if small or interval is None else interval[1] >= 0 and not bool(found["harmless"].any()),
    )
