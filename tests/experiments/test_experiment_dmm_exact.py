"""dmm-exact: tangent spaces are those of finite differences, shares those of numpy; verdicts follow from the parts."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from math import log, sqrt

import pytest
import torch
from torch import Tensor, nn

from blindspace.experiments.dmm_exact import EXPERIMENT
from blindspace.experiments.dmm_exact.generated_digits import (
    Digits,
    Means,
    Training,
    _latents,
    classifier,
    digits,
    padded,
    read,
)
from blindspace.experiments.dmm_exact.measure import _logit_slopes
from blindspace.experiments.dmm_exact.report import claims, rows, verdicts
from blindspace.experiments.dmm_exact.settings import (
    EXACT,
    LEARNED,
    RANDOM,
    RECONSTRUCTED,
    SAMPLED,
    SPACES,
    WAYS,
    ExactSettings,
    for_preset,
)
from blindspace.experiments.parts import Kept, Parts
from blindspace.networks import load

SMALL = replace(for_preset("smoke", 3), digits=60, generated=40, count=12, decoder_epochs=1, epochs=1)


@pytest.fixture(scope="module")
def made() -> Digits:
    return digits(SMALL, SAMPLED, lambda done, total, what: None)


def test_images_lie_on_the_manifold_and_tangents_are_finite_differences(made: Digits) -> None:
    test, manifold = made.test, made.test.manifold
    assert test.images.shape == (12, 1, 32, 32)
    torch.testing.assert_close(manifold.decode(test.latents), test.images)
    tangent = test.tangent(slice(3))
    z = test.latents[:3].double()
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = deepcopy(manifold.decoder).double()  # type: ignore[attr-defined]
    with torch.no_grad():
        along = (exact(z + 1e-5 * direction) - exact(z - 1e-5 * direction)) / 2e-5
    outside = (along - tangent.project(along)).flatten(1).norm(dim=1) / along.flatten(1).norm(dim=1)
    assert float(outside.max()) < 1e-6
    assert (tangent.dim, made.learned.dim) == (10, 10)
    assert made.components.components.shape[0] >= 10


def test_reconstructed_digits_are_decoded_from_what_the_encoder_draws() -> None:
    found = digits(SMALL, RECONSTRUCTED, lambda done, total, what: None)
    assert len(found.train) == 40
    torch.testing.assert_close(found.train.manifold.decode(found.train.latents), found.train.images)
    x = torch.rand(3000, 2, generator=torch.Generator().manual_seed(0))
    spread = nn.Linear(2, 4).requires_grad_(False)
    spread.weight.copy_(torch.eye(4, 2))  # the means are x
    spread.bias.copy_(torch.tensor([0, 0, -40, 2 * log(3)]))
    drawn = _latents(spread, x, torch.Generator().manual_seed(1)) - x
    assert float(drawn[:, 0].abs().max()) < 1e-6
    assert float(drawn[:, 1].std()) == pytest.approx(3, rel=0.1)


def test_digits_are_made_once_and_follow_from_the_settings(made: Digits) -> None:
    again = digits(SMALL, SAMPLED, lambda done, total, what: None)
    assert digits(SMALL, SAMPLED, lambda done, total, what: None) is again
    assert torch.equal(again.test.images, made.test.images)
    other = digits(replace(SMALL, seed=4), SAMPLED, lambda done, total, what: None)
    assert not torch.equal(other.test.images, made.test.images)


def test_padding_is_black_and_centred() -> None:
    x = torch.ones(2, 1, 28, 28)
    assert padded(x).shape == (2, 1, 32, 32)
    assert float(padded(x).sum()) == float(x.sum())
    assert torch.equal(padded(x)[:, :, 2:30, 2:30], x)


def test_the_encoder_gives_means() -> None:
    x = torch.arange(8.0).view(2, 4)
    assert torch.equal(Means(nn.Identity())(x), x[:, :2])


def test_training_follows_from_its_generator_and_adversaries_differ() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(16, 1, 32, 32, generator=draw)
    y = (x.mean((1, 2, 3)) > 0.5).long()

    def trained(eps: float) -> nn.Module:
        how = Training(2, 8, torch.Generator().manual_seed(1), lambda done, total, what: None, "a test")
        return classifier(x, y, how, eps)

    first, again, other = (next(trained(eps).parameters()) for eps in (0.0, 0.0, 0.5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert read(nn.Sequential(nn.Flatten(), nn.Linear(1024, 3)), x).shape == (16,)


def test_the_logits_gradient_is_autograds() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(1024, 8), nn.Tanh(), nn.Linear(8, 10))
    x, y = torch.rand(3, 1, 32, 32), torch.tensor([1, 5, 9])
    found = _logit_slopes(load(module, (1, 32, 32)), x, y).flatten(1)
    at = x.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(module(at).gather(1, y[:, None]).sum(), at)
    cosine = torch.cosine_similarity(found, expected.double().flatten(1))
    assert float(cosine.abs().min()) == pytest.approx(1, abs=1e-6)


# --- verdicts ----------------------------------------------------------------------------------------------


def parts(s: ExactSettings, share: dict[tuple[str, str], float]) -> Parts:
    """Finished parts whose shares scatter by 2 % around given values, 1/1024·10 elsewhere."""
    found: dict[str, Kept] = {}
    for source in s.sources:
        facts = {"labeller": 0.98, "least rank": 10, "condition": 0.1, "learned error": 0.002, "PCA error": 0.02}
        found[f"{source}-digits"] = Kept(facts)
        for seed in range(s.seeds):
            arrays: dict[str, Tensor] = {}
            scatter = 1 + 0.02 * torch.linspace(-1, 1, 30, dtype=torch.float64)
            for way in WAYS:
                arrays[f"{way}/plain"] = scatter
                for space in SPACES:
                    value = share.get((way, space), 10 / 1024)
                    count = s.draws if space == RANDOM else 1
                    for what in ("share", "share of the logit"):
                        arrays[f"{way}/{space}/{what}"] = (value * scatter).expand(count, -1).clone()
                    arrays[f"{way}/{space}/on"] = (scatter / sqrt(value))[None]
                    arrays[f"{way}/{space}/off"] = (scatter / sqrt(1 - value))[None]
            values = {f"{way} error": 0.01 for way in WAYS} | {"residual": 1e-15, "images": 30}
            found[f"{source}-{seed}"] = Kept(values, arrays)
    return found


AS_PUBLISHED = {
    ("standard", EXACT): 0.312**2,
    ("standard", LEARNED): 0.09,
    ("adversarial", EXACT): 0.675**2,
    ("adversarial", LEARNED): 0.3,
}


def answers(share: dict[tuple[str, str], float]) -> dict[str, str | None]:
    s = replace(ExactSettings("cpu"), seeds=2)
    return {each.question: each.answer for each in verdicts(s, parts(s, share))}


def test_verdicts_follow_from_the_shares() -> None:
    assert answers(AS_PUBLISHED) == {"exact-manifold": "does not hold", "aligned": "holds"}
    shunned = {**AS_PUBLISHED, ("standard", EXACT): 0.001}
    assert answers(shunned) == {"exact-manifold": "holds", "aligned": "depends"}
    assert answers(dict.fromkeys(AS_PUBLISHED, 0.001))["aligned"] == "does not hold"
    turned_away = {**AS_PUBLISHED, ("adversarial", EXACT): 0.05}
    assert answers(turned_away)["aligned"] == "depends"


def test_rows_and_claims() -> None:
    s = replace(ExactSettings("cpu"), seeds=2)
    done = parts(s, AS_PUBLISHED)
    assert all(claim.holds for claim in claims(s, done))
    found = {(row.case, row.quantity): row for row in rows(s, done)}
    assert found["standard, exact tangent space", "‖P g‖/‖g‖"].ours == pytest.approx(0.312, rel=1e-3)
    assert found["adversarial, exact tangent space", "‖P g‖²/‖g‖²"].reference == pytest.approx(0.675**2)
    assert found["standard, exact tangent space", "on / plain"].ours == pytest.approx(1 / 0.312, rel=1e-6)
    assert found["standard, random", "‖P g‖/‖g‖"].control
    far = parts(s, {**AS_PUBLISHED, ("standard", EXACT): 0.2**2})
    assert [claim.holds for claim in claims(s, far)].count(False) == 1
    assert found["sampled digits, standard, exact tangent space", "‖P g‖/‖g‖"].reference is None
    assert EXPERIMENT.verdicts is verdicts
