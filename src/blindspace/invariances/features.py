"""The values that a layer reads, as a differentiable function of the network's input."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import ShapeError, integer
from ..maps import Shape
from ..maps.floating import as_floating
from ..networks import Network
from ..networks.devices import on_device
from ..networks.graph import graph_of

if TYPE_CHECKING:
    from torch import fx

    from ..networks.graph import NetworkGraph

OUTPUTS = "outputs"
"""The name that stands for the outputs of the network instead of what a layer reads."""

Choose = Callable[["NetworkGraph"], Sequence["fx.Node"]]

Recorded = Callable[[int, torch.device], nn.Module]
"""From the number of images and a device to recorded operations, a ``fx.GraphModule``."""


ALIKE = 1e-4
"""Relative difference between an image alone and in a batch up to which the batch is taken as such."""

SIDE_BY_SIDE = 16
"""Number of reverse passes at once."""


class Values:
    """Some values of a network as one differentiable function of its input, flattened and side by side.

    Images are differentiated independently of one another; a network that lets the images of a batch mix reads them one
    by one.

    Args:
        network: The network.
        choose: The nodes of a graph of the network whose values count.
        dtype: Precision of the run: float64, or the model's own; float64 if None and the network runs in it.
        alone: Whether images are read one by one in any case.

    Attributes:
        dim: Number of values per image.
        sizes: Number of values per node.
    """

    def __init__(self, network: Network, choose: Choose, dtype: torch.dtype | None = None, alone: bool = False) -> None:
        self.network, self.dtype = network, dtype or network.finest_dtype
        self._choose = choose
        self._functions: dict[int, fx.GraphModule] = {}
        with torch.no_grad():
            x = torch.rand(2, *network.input_shape, generator=torch.Generator().manual_seed(0)).to(self.dtype)
            self.sizes = tuple(value.numel() for value in self._function(x[:1])(x[:1]))
            self.dim = sum(self.sizes)
            self._alone = alone or not network.takes_batches
            if self.dim and not self._alone:  # the first axis of a value need not be that of the batch
                one, both = self._flat(x[1:]), self._flat(x)[1:]
                differs = one.shape != both.shape or bool((one - both).abs().max() > ALIKE * one.abs().max())
                self._alone = differs

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The values, ``(B, dim)``, for images ``(B, *input_shape)``."""
        return torch.cat([self._flat(part) for part in self._parts(x)])

    @torch.no_grad()
    @torch.inference_mode(False)
    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        """Compute J(x) v of each image, ``(B, dim)``, for v ``(B, *input_shape)``."""
        pairs = zip(self._parts(x), self._parts(v), strict=True)
        return torch.cat([torch.func.jvp(self._flat, (part,), (along,))[1] for part, along in pairs])

    def vjp(self, x: Tensor, w: Tensor) -> Tensor:
        """Compute J(x)ᵀ w of each image, ``(B, *input_shape)``, for w ``(B, dim)``."""
        return self.pull(x)(w)

    def pull(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Prepare the product w to J(x)ᵀ w at some images, for which the network runs once."""
        with torch.inference_mode(False), torch.no_grad():
            pulls = [torch.func.vjp(self._flat, part)[1] for part in self._parts(x)]

        @torch.no_grad()
        @torch.inference_mode(False)
        def product(w: Tensor) -> Tensor:
            return torch.cat([pull(part)[0] for pull, part in zip(pulls, self._parts(w), strict=True)])

        return product

    def push(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Prepare the product v to J(x) v at some images, as ``pull`` does for the transpose.

        What the network computes at the images is recorded once: each product then costs a third of ``jvp``.
        """
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the recording complains of names that it makes itself
            pushes = [torch.func.linearize(self._flat, part)[1] for part in self._parts(x)]

        @torch.no_grad()
        @torch.inference_mode(False)
        def product(v: Tensor) -> Tensor:
            return torch.cat([push(part) for push, part in zip(pushes, self._parts(v), strict=True)])

        return product

    def jacobian(self, x: Tensor) -> Tensor:
        """Compute J(x) of each image, ``(B, dim, *input_shape)``, by one reverse pass per value."""
        pull = self.pull(x)
        found = x.new_zeros(len(x), self.dim, *x.shape[1:], dtype=self.dtype)
        for i in range(self.dim):
            w = x.new_zeros(len(x), self.dim, dtype=self.dtype)
            w[:, i] = 1
            found[:, i] = pull(w)
        return found

    def rows(self, x: Tensor) -> Tensor:
        """Compute J(x) of one image, ``(dim, *input_shape)``, by reverse passes side by side."""
        part = self._parts(x[None])[0]

        @torch.inference_mode(False)
        def rows() -> Tensor:
            pull = torch.func.vjp(self._flat, part)[1]
            unit = torch.eye(self.dim, dtype=self.dtype, device=part.device)[:, None]
            found: Tensor = torch.func.vmap(lambda w: pull(w)[0][0], chunk_size=SIDE_BY_SIDE)(unit)
            return found

        with torch.no_grad():
            return rows()

    @property
    def function(self) -> Recorded | None:
        """The operations for a batch of a size on a device; None where images cannot be read in batches."""
        return None if self._alone else self._recorded

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """A batch in the parts that the network reads at once, each recorded: inside of a derivative it cannot be."""
        x = x.detach().to(self.dtype)
        parts = tuple(x.split(1)) if self._alone and len(x) else (x,)
        self._function(parts[0])
        return parts

    def _flat(self, x: Tensor) -> Tensor:
        return torch.cat([value.reshape(len(x), -1) for value in self._function(x)(x)], 1)

    def _function(self, x: Tensor) -> nn.Module:
        return self._recorded(len(x), x.device)

    def _recorded(self, batch: int, device: torch.device) -> nn.Module:
        if batch not in self._functions:
            graph = graph_of(self.network, self.dtype, batch)
            self._functions[batch] = graph.function(self._choose(graph))
        return on_device(self._functions[batch], device, self.network.name)


class Features:
    """The values z that a layer reads, as a differentiable function of the network's input x.

    Args:
        network: The network.
        layer: Name of a layer as ``networks.layers`` lists it, or ``outputs`` for the outputs of the network.
        call: Which call of a layer of that name, counted from 0.
        dtype: Precision of the run: float64, or the model's own; float64 if None and the network runs in it.

    Attributes:
        shape: Shape of z for one image: that which the layer's linear map reads.
        dim: Number of its values.
        dtype: Precision of the run and of the results.

    Raises:
        UnknownNameError: There is no such layer, or it is not called so often; the message lists those that are.
        UnsupportedLayerError: The network cannot be recorded as differentiable operations.
        PrecisionError: The network does not run in that precision.
    """

    def __init__(self, network: Network, layer: str = OUTPUTS, call: int = 0, dtype: torch.dtype | None = None) -> None:
        call = integer(call, "the call of the layer", 0)
        outputs = layer == OUTPUTS
        self.network, self.layer = network, layer
        self._values = Values(network, lambda g: [g.output if outputs else g.place(layer, call).read], dtype)
        self.dtype, self.dim = self._values.dtype, self._values.dim
        graph = graph_of(network, self.dtype, 1)
        own = graph.output.meta["val"].shape[1:] if outputs else graph.place(layer, call).layer.operator.in_shape
        self.shape: Shape = tuple(own)

    def __call__(self, x: Tensor) -> Tensor:
        """Compute z, ``(B, *shape)``, for images ``(B, *input_shape)``."""
        return self._shaped(self._values(self._images(x, "images")))

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        """Compute J(x) v of each image, ``(B, *shape)``, for images and v ``(B, *input_shape)``."""
        return self._shaped(self._values.jvp(self._images(x, "images"), self._images(v, "directions")))

    def pull(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Prepare the product w ``(B, *shape)`` to J(x)ᵀ w ``(B, *input_shape)``, for many w at the same images."""
        product = self._values.pull(self._images(x, "images"))

        def shaped(w: Tensor) -> Tensor:
            if w.shape != (len(x), *self.shape):
                needed = (len(x), *self.shape)
                raise ShapeError(f"the product with the transposed Jacobian takes {needed}, got {tuple(w.shape)}")
            return product(w.reshape(len(w), -1))

        return shaped

    def vjp(self, x: Tensor, w: Tensor) -> Tensor:
        """Compute J(x)ᵀ w of each image, ``(B, *input_shape)``, for w ``(B, *shape)``."""
        return self.pull(x)(w)

    def jacobian(self, x: Tensor) -> Tensor:
        """Compute J(x) of each image, ``(B, dim, *input_shape)``: one row per value of z, flattened."""
        return self._values.jacobian(self._images(x, "images"))

    def rows(self, x: Tensor) -> Tensor:
        """Compute J(x) of one image ``input_shape``, as ``jacobian`` does: ``(dim, *input_shape)``; faster."""
        return self._values.rows(self._images(x[None], "images")[0])

    @property
    def function(self) -> Recorded | None:
        """The operations for a batch of a size on a device; None where images cannot be read in batches."""
        return self._values.function

    def _images(self, x: Tensor, name: str) -> Tensor:
        found = as_floating(x, name, "(B, *input_shape)")
        if found.shape[1:] != self.network.input_shape:
            shape = ", ".join(map(str, ("B", *self.network.input_shape)))
            raise ShapeError(f"{name} for {self.network.name} have the shape ({shape}), got {tuple(x.shape)}")
        return found

    def _shaped(self, z: Tensor) -> Tensor:
        return z.reshape(len(z), *self.shape)
