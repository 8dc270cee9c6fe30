"""On and off the manifold: what theory, the earlier measurements and the model predict, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, sqrt

from ..common.intervals import Estimate
from ..experiment import Claim
from ..parts import Parts
from .found import DATASETS, KINDS, Group, found
from .report import boxed
from .settings import OTHERS, PCA, RANDOM, RANDOM_100, TANGENT, OnOffSettings

WITHIN = 0.10
"""Largest relative error at which a law counts as obeyed."""

CLOSE = 3.0
"""Ratio to the plain norm up to which the boundary is near enough for a linear view of the network."""

LOCAL_SHARE = 1.25
"""Share at the image over that at another image from which on a network knows the local manifold."""


def claims(s: OnOffSettings, done: Parts) -> list[Claim]:
    """Theory of the random control first, then the networks, the laws, and what they leave of the model."""
    every = found(s, done)
    made = [
        *_random(every),
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


def _random(every: Sequence[Group]) -> list[Claim]:
    """Theory holds for linear margins: for the cases that validate the attack, and perhaps for the others."""
    named: list[tuple[bool, str]] = []
    others: list[tuple[bool, str]] = []
    for group in every:
        for space in (RANDOM, RANDOM_100):
            if space in group.spaces and not group.case.adversarial:
                ours, theory = group.ratio(space, "on").value, 1 / sqrt(group.chance(space))
                near = abs(ours / theory - 1) <= WITHIN
                words = f"{group.name}, k = {group.k(space)}: {ours:.2f} ({theory:.2f})"
                validates = group.case.dataset == "cifar10" or (group.case.dataset, group.case.kind) == ("mnist", "mlp")
                (named if validates else others).append((near, words))
    made = []
    for cases, which in ((named, "the random control obeys theory"), (others, "and in the other networks")):
        if cases:
            listed = "; ".join(words for _, words in cases)
            made.append(
                Claim(
                    f"{which}: on/plain in random subspaces is √(n/k), in brackets, within 10 %, without the pixel "
                    f"range: {listed}",
                    all(near for near, _ in cases),
                )
            )
    return made


def _mlp(every: Sequence[Group]) -> Claim:
    group = _of(every, "mnist", "mlp")
    if group is None:
        return Claim("MNIST MLP: not run", None)
    bounds = {PCA: ((0.69, 0.79), (1.2, 1.5)), TANGENT: ((0.50, 0.60), (1.6, 2.0)), RANDOM: ((0.13, 0.15), (6.0, 7.0))}
    words, right = [], True
    for space, (shares, norms) in bounds.items():
        fraction, ratio = group.fraction(space), group.ratio(space, "on")
        right &= _expected(fraction, shares) and _expected(ratio, norms)
        words.append(
            f"{space} {fraction} (expected {shares[0]} to {shares[1]}), on/plain {ratio} ({norms[0]} to {norms[1]})"
        )
    cheaper = group.ratio(RANDOM, "on").value / group.ratio(TANGENT, "on").value
    return Claim(
        "MNIST MLP, ‖P g‖/‖g‖ and norms: "
        f"{'; '.join(words)}; attacks along the manifold are {cheaper:.1f} times cheaper than in random subspaces of "
        "equal dimension",
        right,
    )


def _expected(found: Estimate, expected: tuple[float, float]) -> bool:
    """Whether an estimate lies where it was expected."""
    return expected[0] <= found.value <= expected[1]


def _cifar(every: Sequence[Group]) -> Claim:
    words, right = [], None
    for kind in (OTHERS, "resnet20"):
        group = _of(every, "cifar10", kind)
        if group is None:
            continue
        fraction, ratio = group.fraction(PCA), group.ratio(PCA, "on")
        if right is None:
            right = _expected(fraction, (0.07, 0.11)) and _expected(ratio, (9.0, 12.0))
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
        ratios, cause = sign(s, every, space)
        table = "; ".join(f"{DATASETS[d]} {KINDS[k]} {value:.2f}" for (d, k), value in ratios.items())
        made.append(
            Claim(
                f"what decides whether gradients lie in the manifold more (above 1) or less than chance is {cause}; "
                f"share over chance, {space}: {table}{by_training(every, space)}",
                cause in (DATA, ARCHITECTURE),
            )
        )
    return made


DATA, ARCHITECTURE, BOTH, NEITHER = "the data set", "the architecture", "both", "neither, as all have one sign"


def sign(s: OnOffSettings, every: Sequence[Group], space: str) -> tuple[dict[tuple[str, str], float], str]:
    """Share over chance by data set and kind of network, and what decides whether it is above 1."""
    ratios = {
        (dataset, kind): group.share(space) / group.chance(space)
        for dataset in s.datasets
        for kind in s.kinds
        if (group := _of(every, dataset, kind)) is not None
    }
    on = {key: value > 1 for key, value in ratios.items()}
    by_data = all(len({on[d, k] for k in s.kinds}) == 1 for d in s.datasets)
    by_kind = all(len({on[d, k] for d in s.datasets}) == 1 for k in s.kinds)
    cause = {(True, True): NEITHER, (True, False): DATA, (False, True): ARCHITECTURE, (False, False): BOTH}
    return ratios, cause[by_data, by_kind]


def by_training(every: Sequence[Group], space: str = PCA) -> str:
    """What more training of one architecture on one data set does to the sign, in words; empty if nothing."""
    groups = [g for g in every if g.case.dataset == "cifar10" and g.case.kind in ("resnet20", OTHERS)]
    groups = [g for g in groups if not g.case.adversarial]
    ratios = [g.share(space) / g.chance(space) for g in groups]
    if all(ratio > 1 for ratio in ratios) or not any(ratio > 1 for ratio in ratios):
        return ""
    listed = "; ".join(
        f"{ratio:.2f} {'trained by others' if group.case.kind == OTHERS else group.case.training or 'usually'}, test "
        f"accuracy {group.accuracy:.1%}"
        for group, ratio in zip(groups, ratios, strict=True)
    )
    return f"; of ResNet-20 on CIFAR-10 it depends on the training: {listed}"


def _laws(every: Sequence[Group]) -> list[Claim]:
    made = []
    for adversarial in (False, True):
        groups = [g for g in every if g.case.adversarial == adversarial]
        if not groups:
            continue
        cases = [(way, g, space) for way in ("on", "off") for g in groups for space in g.spaces]
        errors = {(way, g.name, space): g.excess(space, way) for way, g, space in cases}
        ratios = {(way, g.name, space): g.ratio(space, way).value for way, g, space in cases}
        words = []
        for way, law in (("on", "1/√share"), ("off", "1/√(1 − share)")):
            of = {key: abs(e) for key, e in errors.items() if key[0] == way}
            worst = max(of, key=lambda key: of[key])
            near = sum(e <= WITHIN for e in of.values())
            close = [abs(errors[key]) for key in of if ratios[key] <= CLOSE]
            words.append(
                f"{way}/plain = {law} within 10 % in {near} of {len(of)} cases (median error "
                f"{sorted(of.values())[len(of) // 2]:.1%}, largest {_signed(errors[worst])}: {worst[1]}, {worst[2]}), "
                f"of those with a ratio of at most {CLOSE:g} in {sum(e <= WITHIN for e in close)} of {len(close)}"
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


def _signed(error: float) -> str:
    return "∞" if isinf(error) else f"{error:+.1%}"


def _another(every: Sequence[Group]) -> list[Claim]:
    made = []
    for adversarial in (False, True):
        words, right = [], True
        for group in every:
            if group.case.adversarial == adversarial:
                ratio = group.here_over_elsewhere
                words.append(f"{group.name} {ratio}")
                right &= ratio.value > 1.5 if adversarial else ratio.value < LOCAL_SHARE
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
