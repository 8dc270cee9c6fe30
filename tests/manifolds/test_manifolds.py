"""Manifolds behind one interface: tangents by finite differences, projections by dense algebra, both parts exact."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from blindspace.data import PrincipalComponents
from blindspace.errors import (
    BlindspaceError,
    BlindspaceWarning,
    ShapeError,
    UnknownNameError,
    UnsupportedLayerError,
    ValueRangeError,
)
from blindspace.manifolds import (
    PCA,
    Autoencoder,
    LocalPCA,
    Manifold,
    generate,
    jacobian,
    manifold,
    on_off,
    tangent_products,
)
from blindspace.manifolds.tangent_products import TangentProducts
from blindspace.networks import Network

SHAPE, K, N = (3, 4, 4), 5, 48


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def modules(latent: tuple[int, ...] = (K,), rank: int = K) -> tuple[nn.Module, nn.Module]:
    """An encoder and a decoder with what makes images of a batch depend on one another while training."""
    torch.manual_seed(0)
    k = int(torch.tensor(latent).prod())
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(N, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Linear(16, k))
    narrow = nn.Linear(k, rank, bias=False)
    decoder = nn.Sequential(
        nn.Flatten(), narrow, nn.Linear(rank, 20), nn.BatchNorm1d(20), nn.Tanh(), nn.Dropout(0.5), nn.Linear(20, N)
    )
    for part in (encoder, decoder):
        part(torch.randn(30, *(SHAPE if part is encoder else latent)))  # statistics other than 0 and 1
    return nn.Sequential(encoder, nn.Unflatten(1, latent)), nn.Sequential(decoder, nn.Unflatten(1, SHAPE))


def learned(**options: Any) -> Autoencoder:
    return Autoencoder(*modules(), SHAPE, **options)


CASES: dict[str, Callable[[], Manifold]] = {
    "autoencoder": learned,
    "autoencoder without bases": lambda: learned(limit=10.0),
    "latent picture": lambda: Autoencoder(*modules((2, 2, 1)), SHAPE),
    "deficient": lambda: Autoencoder(*modules(rank=3), SHAPE),
    "deficient without bases": lambda: Autoencoder(*modules(rank=3), SHAPE, limit=10.0),
    "PCA": lambda: PCA.fit(seeded(60, *SHAPE), K),
    "PCA of few images": lambda: PCA.fit(seeded(9, *SHAPE), K),
    "local PCA": lambda: LocalPCA(seeded(60, *SHAPE), K, 12),
}
each = pytest.mark.parametrize("name", CASES)


def differences(made: Manifold, z: Tensor) -> Tensor:
    """The Jacobian at one image's latent coordinates by central differences, ``(n, k)``."""
    columns = []
    z = z.double()
    for i in range(z.numel()):
        step = torch.zeros(z.numel(), dtype=torch.float64)
        step[i] = 1e-5
        step = step.view(z.shape)
        if isinstance(made, LocalPCA) and i == 0:
            continue  # the number of the piece
        decode = made.decode if not isinstance(made, Autoencoder) else lambda q: made._images(made._exact, q)  # type: ignore[arg-type]
        columns.append((decode((z + step)[None]) - decode((z - step)[None])).flatten() / 2e-5)
    return torch.stack(columns, 1)


@each
def test_tangents_are_those_of_finite_differences(name: str) -> None:
    made, x = CASES[name](), seeded(7, *SHAPE, seed=1)
    space, v = made.tangent(x), torch.randn(7, *SHAPE, generator=torch.Generator().manual_seed(2)).double()
    found, z = space.project(v).flatten(1), made.encode(x)
    for i in range(7):
        j = differences(made, z[i])
        want = j @ torch.linalg.pinv(j, rtol=1e-6) @ v[i].flatten()
        torch.testing.assert_close(found[i], want, atol=1e-6, rtol=0)
    assert space.split(v).residual < 1e-9
    assert torch.equal(space.points, x)
    rank = 3 if "deficient" in name else made.dim
    assert [round(float(b.square().sum())) for b in space.basis()] == [rank] * 7
    if isinstance(space, TangentProducts):
        assert bool(space.condition.isnan().all())
        torch.testing.assert_close(space.at(torch.tensor([4, 1])).project(v[[4, 1]]).flatten(1), found[[4, 1]])
    else:
        assert space.ranks.tolist() == [rank] * 7
        assert bool((space.condition < 1e-12).all()) == ("deficient" in name)


@each
def test_the_interface(name: str) -> None:
    made, x = CASES[name](), seeded(4, *SHAPE, seed=1)
    z = made.encode(x)
    assert z.shape == (4, *made.latent_shape)
    assert made.dim == K if name != "latent picture" else 4
    assert made.project(x).dtype == z.dtype == torch.float32
    assert made.project(x.double()).dtype == torch.float64
    torch.testing.assert_close(made.project(x), made.decode(z))
    want = torch.stack([(made.project(x)[i] - x[i]).square().mean() for i in range(4)])
    torch.testing.assert_close(made.reconstruction_error(x), want)
    torch.testing.assert_close(made.project(x)[1:2], made.project(x[1:2]))  # no image depends on the others
    assert made.tangent(x[:0]).project(x[:0]).shape == (0, *SHAPE)
    assert made.to_dict()["dim"] == made.dim
    with pytest.raises(ShapeError, match="images must have shape"):
        made.tangent(x[:, :2])
    with pytest.raises(ShapeError, match="latent coordinates must have shape"):
        made.decode(z[:, :1])


def test_a_pass_carries_so_many_columns_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the blocks of images and columns are, the tangent spaces are the same."""
    made, x = learned(), seeded(9, *SHAPE, seed=1)
    whole = made.tangent(x)
    for memory in (1, 5000, 40_000):
        monkeypatch.setattr(jacobian, "WORKING_MEMORY", memory)
        monkeypatch.setattr("blindspace.manifolds.autoencoder.BLOCK", memory)
        torch.testing.assert_close(made.tangent(x).project(x), whole.project(x))


def test_a_pass_is_measured_by_the_largest_activation() -> None:
    """Not by the images: a decoder that is wide inside takes as many passes more."""
    passes = 0

    def decode(z: Tensor, width: int) -> Tensor:
        nonlocal passes
        passes += 1
        return torch.tanh(z[:, :1].expand(len(z), width)).mean(1, keepdim=True)

    z, counted = seeded(256, 2).double(), []
    for width in (2**10, 2**12):
        passes = 0
        jacobian.columns(lambda z, width=width: decode(z, width), z)  # type: ignore[misc]
        counted.append(passes - 1)
    assert counted == [1, 4]


def test_the_number_of_decoder_passes() -> None:
    """One per latent coordinate for the whole batch, and one more per pass for the images themselves."""
    counted = 0

    class Counted(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            nonlocal counted
            counted += 1
            return torch.tanh(z @ torch.ones(K, N, dtype=z.dtype)).view(-1, *SHAPE)

    made = Autoencoder(modules()[0], Counted(), SHAPE)
    counted = 0
    made.tangent(seeded(64, *SHAPE))
    assert counted <= 3  # size, values, and one pass whose tangents are vectorised


def test_what_has_not_converged_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tangent_products, "STEPS", 1)
    with pytest.warns(BlindspaceWarning, match="not converged after 1 steps"):
        learned(limit=10.0).tangent(seeded(3, *SHAPE)).project(seeded(3, *SHAPE, seed=1))


def test_pca_is_the_nearest_affine_subspace() -> None:
    x = seeded(80, *SHAPE)
    found = PrincipalComponents.of(x)
    assert found.error(x, 4) == pytest.approx(float(PCA(found, 4).reconstruction_error(x.double()).mean()))
    assert found.error(x, 4) * 79 / 80 == pytest.approx(float(found.variances[4:].sum()) / N * 79 / 80 * 79 / 80)
    with pytest.raises(ValueRangeError, match="from 1 to 48"):
        PCA(found, 49)


def test_large_images_have_as_many_components_as_images(monkeypatch: pytest.MonkeyPatch) -> None:
    x = seeded(9, *SHAPE)
    whole = PrincipalComponents.of(x)
    monkeypatch.setattr("blindspace.data.principal_components.WHOLE", 10)
    found = PrincipalComponents.of(x)
    assert len(found.components) == 9
    assert found.rank == whole.rank == 8
    torch.testing.assert_close(found.variances[:8], whole.variances[:8])
    torch.testing.assert_close(found.components[:8], whole.components[:8], atol=1e-8, rtol=0)
    gram = found.components.flatten(1) @ found.components.flatten(1).T
    torch.testing.assert_close(gram, torch.eye(9).double(), atol=1e-10, rtol=0)


def test_local_pca_fits_the_neighbours_of_the_nearest_image() -> None:
    images, x = seeded(60, *SHAPE), seeded(5, *SHAPE, seed=1)
    found = LocalPCA(images, K, 12)
    rows = images.double().flatten(1)
    for i in range(5):
        centre = (rows - x[i].double().flatten()).norm(dim=1).argmin()
        near = rows[(rows - rows[centre]).norm(dim=1).argsort()[:12]]
        axes = torch.linalg.svd(near - near.mean(0), full_matrices=False).Vh[:K]
        want = near.mean(0) + (x[i].double().flatten() - near.mean(0)) @ axes.T @ axes
        torch.testing.assert_close(found.project(x[i : i + 1]).double().flatten(), want, atol=1e-5, rtol=0)
    with pytest.raises(ValueRangeError, match="number of a piece"):
        found.decode(torch.full((1, K + 1), 60.0))
    with pytest.raises(ValueRangeError, match="5 components need more neighbours"):
        LocalPCA(images, 5, 5)


# --- both parts of a perturbation --------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(1e-30, 1e30), eight_bit=st.booleans())
def test_both_parts_sum_to_the_perturbation_exactly(seed: int, scale: float, eight_bit: bool) -> None:
    x, made = seeded(3, *SHAPE, seed=1), PCA.fit(seeded(60, *SHAPE), K)
    d = (seeded(3, *SHAPE, seed=seed) - 0.5) * scale
    d = (d / scale * 20).round() / 255 if eight_bit else d
    found = on_off(made, x, d)
    assert found.error == 0
    assert torch.equal(found.on + found.off, d.double())
    torch.testing.assert_close(found.on, made.tangent(x).project(d.double()), atol=1e-15 * scale, rtol=1e-12)
    assert found.residual < 1e-12


@each
def test_shares_and_labels(name: str) -> None:
    torch.manual_seed(1)
    network = Network("net", nn.Sequential(nn.Flatten(), nn.Linear(N, 4)).eval(), SHAPE)
    made, x = CASES[name](), seeded(6, *SHAPE, seed=1)
    d = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(3))
    found = on_off(made, x, d, network)
    rank = 3 if "deficient" in name and "without" not in name else made.dim
    assert found.chance == pytest.approx(rank / N)
    parts: dict[str, Tensor] = {"plain": torch.zeros(()), "whole": d, "on": found.on, "off": found.off}
    for part, value in parts.items():
        assert torch.equal(found.labels[part], network.labels(x.double() + value))
    assert found.to_dict()["changed"]["whole"] == int((found.labels["whole"] != found.labels["plain"]).sum())
    square = (d.double() ** 2).flatten(1).sum(1)
    torch.testing.assert_close(found.share, (found.on**2).flatten(1).sum(1) / square, atol=1e-9, rtol=0)
    assert "On and off" in found._repr_html_()


# --- where manifolds come from ------------------------------------------------------------------------------


def test_generated_images_lie_on_the_manifold() -> None:
    made, like = learned(), seeded(200, *SHAPE)
    drawn = generate(made, like, 400, torch.Generator().manual_seed(0))
    z, own = drawn.latents.double(), made.encode(like).double()
    torch.testing.assert_close(z.mean(0), own.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(z.T.cov(), own.T.cov(), atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.images[3:5], made.decode(drawn.latents[3:5]))
    j = differences(made, drawn.latents[7])
    v = seeded(1, *SHAPE, seed=5).double()
    want = j @ torch.linalg.pinv(j) @ v.flatten()
    torch.testing.assert_close(drawn.tangent(slice(7, 8)).project(v).flatten(), want, atol=1e-6, rtol=0)


class Normal:
    def __init__(self, mean: Tensor) -> None:
        self.mean = mean

    def mode(self) -> Tensor:
        return self.mean


class OfDiffusers(nn.Module):
    """The interface of AutoencoderKL: distributions and samples as attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = modules((2, 2, 1))

    def encode(self, x: Tensor) -> Any:
        return SimpleNamespace(latent_dist=Normal(self.encoder(x)))

    def decode(self, z: Tensor) -> Any:
        return SimpleNamespace(sample=self.decoder(z))


class Named(nn.Module):
    def __init__(self, part: nn.Module, name: str) -> None:
        super().__init__()
        self.part, self.name = part, name

    def forward(self, x: Tensor) -> Any:
        return SimpleNamespace(**{self.name: self.part(x)})


class OfPythae(nn.Module):
    """The interface of pythae: parts whose outputs have a tensor by name."""

    def __init__(self) -> None:
        super().__init__()
        encoder, decoder = modules()
        self.encoder, self.decoder = Named(encoder, "embedding"), Named(decoder, "reconstruction")


@pytest.mark.parametrize("source", [OfDiffusers, OfPythae])
def test_autoencoders_of_others(source: type[nn.Module]) -> None:
    made, x = manifold(source(), input_shape=SHAPE), seeded(3, *SHAPE)
    plain = Autoencoder(*modules((2, 2, 1) if source is OfDiffusers else (K,)), SHAPE)
    torch.testing.assert_close(made.project(x), plain.project(x))
    torch.testing.assert_close(made.tangent(x).project(x), plain.tangent(x).project(x), atol=1e-5, rtol=0)


def test_the_range_of_pixels() -> None:
    encoder, decoder = modules()
    made = manifold(encoder, decoder, SHAPE, pixel_range=(-1, 1))
    x = seeded(3, *SHAPE)
    want = (decoder.eval()(encoder.eval()(2 * x - 1)) + 1) / 2
    torch.testing.assert_close(made.project(x), want)


def test_attention_has_forward_derivatives() -> None:
    class Attends(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            q = z.view(len(z), 1, K, 1).expand(-1, -1, -1, 4)
            return nn.functional.scaled_dot_product_attention(q, q, q).flatten(1).repeat(1, 3)[:, :N].view(-1, *SHAPE)

    assert Autoencoder(modules()[0], Attends(), SHAPE).tangent(seeded(2, *SHAPE)).dim >= 1


def test_names_and_refusals() -> None:
    x = seeded(40, *SHAPE)
    assert manifold("pca", images=x, dim=3).dim == 3
    assert manifold("local-pca", images=x, dim=3, neighbours=9).name == "local PCA-3 of 9 neighbours"
    made = learned()
    assert manifold(made) is made
    with pytest.raises(UnknownNameError, match="did you mean pca"):
        manifold("pcaa")
    with pytest.raises(BlindspaceError, match="give images"):
        manifold("pca", dim=3)
    with pytest.raises(ShapeError, match="input_shape"):
        manifold(*modules())
    with pytest.raises(BlindspaceError, match="neither encode and decode"):
        manifold(3, input_shape=SHAPE)
    with pytest.raises(UnsupportedLayerError, match="encoder cannot run"):
        manifold(*modules(), (5, 5))
    with pytest.raises(ShapeError, match="the decoder returns"):
        manifold(modules()[0], nn.Linear(K, 3), SHAPE)
    with pytest.raises(ValueRangeError, match="black below white"):
        manifold(*modules(), SHAPE, pixel_range=(1, 0))
    with pytest.raises(UnsupportedLayerError, match="returns a dict"):
        manifold(modules()[0], lambda z: {"x": z}, SHAPE)
