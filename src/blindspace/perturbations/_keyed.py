"""Harmless noise from a key: whoever has the key makes it again and takes it off, nobody else can.

A passphrase is stretched by scrypt (RFC 7914); of each image's name comes a key of its own (HMAC-SHA-256), which
ChaCha20 (RFC 8439), a generator that counts, turns into as many random bits as the image needs. So no image depends on
the others or on their order, and the noise of one tells nothing of another's.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import scipy.special
import torch
from torch import Tensor

from ..errors import BlindspaceError, ShapeError, ValueRangeError, shown
from ..extras import require
from ..maps import Shape
from ..networks.arguments import Space, as_images, as_space
from ..subspaces import Subspace
from ..subspaces._arguments import as_dtype
from ..subspaces._mask_argument import MaskLike
from ..subspaces.box import Norm
from .repeated import Repeated
from .sample import refuse_zero_space, rescale

SCRYPT = {"n": 2**15, "r": 8, "p": 1}
"""Cost of one guess of a passphrase: 32 MiB and about a tenth of a second."""

SHORTEST_SALT = 8


@dataclass(frozen=True)
class Key:
    """A secret of 32 bytes; not shown when printed.

    Raises:
        ValueRangeError: it has another length.

    Examples:
        >>> import torch, blindspace as bs
        >>> key = bs.Key.derive("correct horse battery staple", b"16 random bytes!")
        >>> len(key.secret), key  # not shown
        (32, Key())
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.secret, bytes) or len(self.secret) != 32:
            given = len(self.secret) if isinstance(self.secret, bytes) else f"a {type(self.secret).__name__}"
            raise ValueRangeError(f"a key has 32 bytes, got {given}; make one with Key.derive(passphrase)")

    @classmethod
    def derive(cls, passphrase: str | bytes, salt: bytes) -> Key:
        """The key that a passphrase and a salt stand for, by scrypt.

        Args:
            passphrase: the secret.
            salt: at least 8 bytes, no secret: random ones, kept beside the images, so that no table of guesses made
                before serves.

        Raises:
            ValueRangeError: the passphrase is empty or the salt too short.
        """
        if not passphrase:
            raise ValueRangeError("the passphrase is empty; give a secret one")
        if len(salt) < SHORTEST_SALT:
            raise ValueRangeError(f"a salt has at least {SHORTEST_SALT} bytes, got {len(salt)}; take os.urandom(16)")
        secret = passphrase.encode() if isinstance(passphrase, str) else passphrase
        return cls(hashlib.scrypt(secret, salt=salt, maxmem=64 << 20, dklen=32, **SCRYPT))

    def uniform(self, context: str, count: int) -> np.ndarray:
        """Random numbers strictly between 0 and 1, float64 ``(count,)``.

        Args:
            context: what they are for; another gives others.
            count: how many.

        Raises:
            MissingExtraError: the library that has ChaCha20 is not installed.
        """
        require("cryptography", "keyed", "keyed noise")
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

        own = hmac.new(self.secret, b"blindspace noise 1\0" + context.encode(), hashlib.sha256).digest()
        # A key that serves once needs no nonce: the counter and the nonce start at 0.
        stream = Cipher(ChaCha20(own, bytes(16)), mode=None).encryptor().update(bytes(8 * count))
        return ((np.frombuffer(stream, "<u8") >> np.uint64(11)) + 0.5) * 2.0**-53

    def gaussian(self, context: str, shape: Shape) -> Tensor:
        """Standard normal numbers, float64. As ``uniform``."""
        return torch.from_numpy(scipy.special.ndtri(self.uniform(context, prod(shape)))).reshape(shape)


def keyed(
    space: Space,
    key: Key,
    contexts: Sequence[str],
    size: float,
    norm: Norm = "linf",
    dtype: torch.dtype = torch.float64,
    *,
    input_shape: Sequence[int] | None = None,
    mask: MaskLike | None = None,
) -> Tensor:
    """Compute harmless noise that only the key can compute again, so that subtracting it restores the images.

    Args:
        space: The subspace of the noise, or a network or operator that stands for it.
        key: The secret key.
        contexts: One context per image, such as its name. Two images with one context would get the same noise, and
            their difference would show that of the originals.
        size: Size of the noise of each image, in units of the image range.
        norm: Norm of that size, ``linf`` or ``l2``.
        dtype: Dtype of the result.
        input_shape: Shape of one input of a module.
        mask: A mask outside which there is no noise, as ``Subspace.within`` takes it; None for none. Whoever takes the
            noise off needs it, too.

    Returns:
        ``(len(contexts), *shape)``.

    Raises:
        ValueRangeError: A context is used twice, the size is negative, or it is above 0 and the subspace is {0}.
        MissingExtraError: The library that provides ChaCha20 is not installed.
        BlindspaceError: An argument is of another type.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> key = bs.Key(bytes(32))  # Key.derive makes one of a passphrase
        >>> noise = bs.keyed(network, key, ["a.png", "b.png"], size=0.5)
        >>> torch.equal(noise, bs.keyed(network, key, ["a.png", "b.png"], size=0.5))
        True
    """
    space = as_space(space, input_shape, mask=mask)
    if not isinstance(key, Key):
        raise BlindspaceError(f"keyed noise needs a Key, got {shown(key)}")
    contexts = _checked_contexts(contexts)
    if len(set(contexts)) < len(contexts):
        raise ValueRangeError("two images have one name, and would get the same noise; name each by another")
    refuse_zero_space(space, size)
    noise = [key.gaussian(context, space.shape) for context in contexts]
    drawn = torch.stack(noise) if noise else torch.empty(0, *space.shape, dtype=torch.float64)
    return rescale(Repeated(space).project(drawn), size, norm).to(as_dtype(dtype))


def _checked_contexts(contexts: Sequence[str]) -> Sequence[str]:
    if not isinstance(contexts, Sequence) or isinstance(contexts, str) or not all(isinstance(c, str) for c in contexts):
        raise BlindspaceError(f"keyed noise needs a list of names, got {shown(contexts)}")
    return contexts


def key_score(space: Subspace, key: Key, contexts: Sequence[str], images: Tensor) -> Tensor:
    """Whether images carry the noise of a key: how far their blind parts agree with it, in standard deviations.

    Args:
        space: in which the noise lies.
        key: the secret.
        contexts: of the images, as the noise was made with.
        images: ``(B, *space.shape)``; pixels kept in [0, 1] or rounded to eight bits will do.

    Returns:
        √dim · cosine, float64 ``(B,)``: of an image without that noise about standard normal, of one with it up to
        √dim. 0 where the space is {0} or the image has no blind part.

    Raises:
        ShapeError: the images are of another shape.
    """
    contexts = _checked_contexts(contexts)
    x = as_images(images, space.shape).double()
    if len(x) != len(contexts):
        raise ShapeError(f"there must be one name per image, got {len(contexts)} for {len(x)} images")
    if not len(x):
        return torch.empty(0, dtype=torch.float64)
    blind = space.project(x).flatten(1)
    noise = space.project(torch.stack([key.gaussian(context, space.shape) for context in contexts])).flatten(1)
    cosine: Tensor = torch.nn.functional.cosine_similarity(blind, noise)
    return cosine * math.sqrt(space.dim)
