"""A network as the rest of the package sees it: a module in eval, its input shape and its metadata."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BlindspaceError, PrecisionError, ShapeError, ValueRangeError, shown
from ..maps import LinearMap, Shape
from ..maps.floating import as_floating
from .affine_graph import Recording, front_map
from .builtin import BUILTIN
from .devices import CPU, on_device
from .following.recorder import record_module
from .following.trace import first_difference
from .labels import NOTHING_DECLARED, STATED, Answers, Declared, Facts, Labelling, decide, may_state_labels
from .last_operation import last_operation
from .one_tensor import found
from .outputs import Found, side_by_side
from .precisions import computed_in, in_float64, parameter_dtype

ALIKE = 1e-3
"""Relative difference up to which outputs count as the same, other than by rounding."""

STATED_INPUTS = 8
"""Number of random inputs on which whole numbers are compared with the labels that scores give."""

SIZES = (1.0, 1e2, 1e4)
"""Sizes of random inputs that tell a probability from a logit."""


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network.

    The work is done where the images lie: on another device by a copy of the module there.

    Attributes:
        name: Name in reports.
        module: The module in eval; it takes ``(B, *input_shape)`` as a user has them, with normalisation inside.
        input_shape: Shape of one input, without the batch.
        classes: Names of the outputs, if known.
        card: Accuracy, recipe and hash of a built-in network, if known.
        space: Meaning of the input, such as "pixels", "samples", "token embeddings" or "features"; derived from the
            input shape if empty.
        declared: What the user or the source says of labels (``labels.py`` has the rule).
        deployed: The network as it is deployed, if this one leaves out the roundings of a quantised network.
        reads: Precision of the images that the module reads, if it is not that of its parameters.
        device: Device of the images that are made or read for the network, where none are given.

    Examples:
        >>> import torch, blindspace as bs
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> network = bs.load(module, (1, 4, 4))
        >>> network.input_shape, network.space
        ((1, 4, 4), 'pixels')
        >>> network.labels(torch.rand(5, 1, 4, 4)).shape
        torch.Size([5])
    """

    name: str
    module: nn.Module
    input_shape: Shape
    classes: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)
    space: str = ""
    declared: Declared = NOTHING_DECLARED
    deployed: Network | None = field(default=None, kw_only=True, repr=False)
    reads: torch.dtype | None = field(default=None, kw_only=True)
    device: torch.device = field(default=CPU, kw_only=True)

    def __post_init__(self) -> None:
        module: object = self.module
        if not isinstance(module, nn.Module):
            given = type(module).__name__
            raise BlindspaceError(f"a Network is made of a torch module and its input shape, got a {given}; see load")
        if not self.space:
            # (C, H, W), or for a video (C, T, H, W) or (T, C, H, W)
            image = len(self.input_shape) in (3, 4) and any(n in (1, 3) for n in self.input_shape[:-2])
            object.__setattr__(self, "space", "pixels" if image else "features")

    @cached_property
    def dtype(self) -> torch.dtype:
        """The precision of the images that the module reads: ``reads``, or that of its parameters."""
        return self.reads or parameter_dtype(self.module)

    @cached_property
    def precision(self) -> torch.dtype:
        """The coarsest precision in which the module multiplies, which decides how its outputs are rounded."""
        try:
            return computed_in(self.module, self._random_inputs(1).to(self.dtype))
        except Exception:  # code of others may raise anything
            return self.dtype

    @property
    def dataset(self) -> str | None:
        """Name of the data set that the network was trained on; None if its card does not say."""
        stated = self.card.get("dataset")
        if stated is None and self.name in BUILTIN:
            return BUILTIN[self.name].recipe.dataset
        return stated if isinstance(stated, str) else None

    @property
    def runs_in_float64(self) -> bool:
        """Whether the network can run in float64, besides its own precision: code may insist on its own."""
        return self._double is not None

    @property
    def double(self) -> nn.Module:
        """A copy in float64, for the mathematics. What nothing can copy, such as a lock, it shares with the module.

        Raises:
            PrecisionError: The code insists on its own precision, or does not let itself be copied.
        """
        if self._double is None:
            own = str(self.dtype).removeprefix("torch.")
            raise PrecisionError(f"{self.name} runs in its own {own} only, not in float64; choose that precision")
        return self._double

    @cached_property
    @torch.inference_mode(False)
    def _double(self) -> nn.Module | None:
        try:
            found = in_float64(self.module)
            return found if computed_in(found, self._random_inputs(1)) == torch.float64 else None
        except Exception:  # code of others may raise anything
            return None

    def record(self) -> Recording:
        """The network followed from its input; it runs once, however often the recording is asked for.

        Raises:
            UnsupportedLayerError: The network cannot be followed; the message names the operation and the reason.
        """
        return self._recording

    @cached_property
    @torch.inference_mode(False)
    def _recording(self) -> Recording:
        if "_double" not in vars(self):
            # Most networks can be followed in float64, which then shows that they run in it: one run instead of two.
            with suppress(Exception):  # code of others may raise anything
                double = in_float64(self.module)
                found = record_module(double, self.input_shape, torch.float64, self.name, self.precision)
                if found.precision == torch.float64:
                    vars(self)["_double"] = double
                    return found
        if self.runs_in_float64:
            # Weights that the code computes while it runs are then as exact as the others.
            return record_module(self.double, self.input_shape, torch.float64, self.name, self.precision)
        return record_module(self.module, self.input_shape, self.dtype, self.name, self.precision)

    @cached_property
    def front(self) -> LinearMap:
        """The linear part of the affine front: one map from the input, computed once.

        It is the identity if the network begins with an operation that is not affine.

        Raises:
            UnsupportedLayerError: The network cannot be followed.
        """
        return front_map(self.record().graph)

    def parts_at(self, x: Tensor, y: Tensor) -> str:
        """The first operation that answers two inputs differently, of those that end the front or lie beyond it.

        Args:
            x: One input, ``input_shape``.
            y: Another one.

        Returns:
            The operation and its place; empty if there is none.
        """
        module, dtype = (self.double, torch.float64) if self.runs_in_float64 else (self.module, self.dtype)
        return first_difference(module, x.to(dtype), y.to(dtype))

    def remedies(self) -> Iterator[tuple[str, Network]]:
        """The same network run in other ways, in which its outputs may be those that its code states.

        Returns:
            For each way, the option as users type it, and the network; nothing where the code is run as it is written.
        """
        return iter(())

    def linear_map(self) -> LinearMap:
        """The affine front, so that a network is accepted wherever a linear map is. As ``front``."""
        return self.front

    def check(self, images: Tensor, name: str = "") -> Tensor:
        """The images as a batch that the network can read.

        Args:
            images: ``(B, *input_shape)`` or one image: a tensor, a NumPy array or a list of either.
            name: Name of the images in the message.

        Raises:
            ShapeError: The images are no floating-point numbers or have another shape; the message repeats both shapes.
        """
        axes = ", ".join(map(str, self.input_shape))
        found = as_floating(images, "images", f"(B, {axes})")
        found = found[None] if found.ndim == len(self.input_shape) else found
        if found.shape[1:] != self.input_shape:
            place = f" in {name}" if name else ""
            needed = f"{self.name} reads images of shape {self.input_shape}"
            raise ShapeError(f"{needed}, got {tuple(found.shape[1:])}{place}; resize or convert them first")
        return found

    @torch.no_grad()
    def outputs(self, images: Tensor, dtype: torch.dtype | None = None, batch_size: int = 256) -> Tensor:
        """The network's outputs; a network that lets the images of a batch mix reads them one by one.

        Args:
            images: ``(B, *input_shape)``, of any floating dtype.
            dtype: Precision of the run: float64, or the model's own if None.
            batch_size: Number of images per batch.

        Returns:
            ``(B, …)`` in that precision, on the device of the images; several outputs are flattened and side by side,
            ``(B, total)``.

        Raises:
            ShapeError: The images have another shape.
            PrecisionError: The network does not run in that precision.
            UnsupportedLayerError: The network does not let itself be copied to the device of the images.
        """
        images, dtype = self.check(images), self._own_or_float64(dtype)
        return torch.cat([self.run(part, dtype) for part in self._batches(images, batch_size)])[: len(images)]

    @torch.no_grad()
    def answers(self, images: Tensor, dtype: torch.dtype | None = None, batch_size: int = 256) -> Answers:
        """The network's outputs and labels, of the same run. As ``outputs``."""
        images, dtype = self.check(images), self._own_or_float64(dtype)
        parts = [alone for part in self._batches(images, batch_size) for alone in self._readable(part)]
        runs = [self._answers(part, dtype) for part in parts]
        labels = [run.labels for run in runs if run.labels is not None]
        outputs = torch.cat([run.outputs for run in runs])
        return Answers(outputs[: len(images)], torch.cat(labels)[: len(images)] if labels else None)

    def run(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """The outputs of one batch in a precision, with gradients. As ``outputs``."""
        return torch.cat([self._run(part, dtype) for part in self._readable(images)])

    @property
    def finest_dtype(self) -> torch.dtype:
        """The finest precision in which ``differentiable`` computes: float64 where the network runs in it."""
        return torch.float64 if self.runs_in_float64 else self.dtype

    def differentiable(self, dtype: torch.dtype | None = None, device: torch.device = CPU) -> nn.Module:
        """The module in a precision, in code that torch can differentiate.

        Args:
            dtype: float64, or the model's own precision; ``finest_dtype`` if None.
            device: Device of the images that it is to read.

        Raises:
            PrecisionError: The network does not run in that precision.
        """
        return self._module(self._own_or_float64(dtype or self.finest_dtype), device)

    def _own_or_float64(self, dtype: torch.dtype | None) -> torch.dtype:
        if dtype not in (None, self.dtype, torch.float64):
            raise PrecisionError(f"{self.name} runs in its own {self.dtype} or in torch.float64, not in {shown(dtype)}")
        return dtype or self.dtype

    def _batches(self, images: Tensor, batch_size: int) -> tuple[Tensor, ...]:
        """The images in batches; an image of zeros stands for none."""
        if not len(images):
            return (images.new_zeros(1, *self.input_shape),)
        return tuple(images.split(batch_size))

    def _readable(self, images: Tensor) -> tuple[Tensor, ...]:
        """A batch in parts that the network reads at once."""
        return tuple(images.split(1)) if len(images) > 1 and not self.takes_batches else (images,)

    def _run(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        outputs: Tensor = self._module(dtype, images.device)(images.to(dtype))
        return outputs

    def _answers(self, images: Tensor, dtype: torch.dtype) -> Answers:
        if self.labelling.kind != STATED:
            outputs = self._run(images, dtype)
            return Answers(outputs, self.labelling.labels(outputs))
        every = found(self._module(dtype, images.device), images.to(dtype))
        outputs = side_by_side(every.compared, len(images))
        return Answers(outputs, self.labelling.labels(outputs, every))

    def _module(self, dtype: torch.dtype, device: torch.device) -> nn.Module:
        module = self.double if dtype == torch.float64 and self.dtype != torch.float64 else self.module
        return on_device(module, device, self.name)

    def _random_inputs(self, count: int) -> Tensor:
        return torch.rand(count, *self.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    @cached_property
    @torch.no_grad()
    def takes_batches(self) -> bool:
        """Whether the outputs for an image are the same in a batch as alone, up to rounding."""
        try:
            both = side_by_side(self._two.compared, 2)
            alone = self._run(self._random_inputs(2)[1:], self.dtype)
        except Exception:  # code made for one image may raise anything
            return False
        return both.shape == (2, *alone.shape[1:]) and alike(both[1:], alone)

    @cached_property
    @torch.no_grad()
    def _two(self) -> Found:
        """The outputs for two random inputs at once; raises whatever the code raises."""
        return found(self.module, self._random_inputs(2).to(self.dtype))

    @cached_property
    def is_random(self) -> bool:
        """Whether two runs on one input differ, so that the network draws numbers: its outputs are no evidence."""
        image = self._random_inputs(1)
        return not alike(self.outputs(image), self.outputs(image))

    @cached_property
    @torch.no_grad()
    def labelling(self) -> Labelling:
        """How labels follow from the outputs, determined once, by the rule of ``labels.py``.

        Raises:
            ValueRangeError: The user states a kind of label that the outputs do not have.
        """
        count = 2 if self.takes_batches else 1
        outputs = self._two if count > 1 else found(self.module, self._random_inputs(1).to(self.dtype))
        if count > 1 and may_state_labels(outputs):  # more of them, as two may agree by chance
            count = STATED_INPUTS
            outputs = found(self.module, self._random_inputs(count).to(self.dtype))
        facts = Facts(self.input_shape, len(self.classes), self.declared, self.last_operation, self._extremes)
        return decide(outputs, count, facts)

    def last_operation(self, output: str) -> str:
        """The operation that makes the numbers of an output, in small letters; empty if it is not known."""
        with torch.enable_grad(), suppress(Exception):  # code of others may refuse gradients
            return last_operation(
                found(self.module, self._random_inputs(1).to(self.dtype).requires_grad_()).every[output]
            )
        return ""

    def _extremes(self) -> Tensor:
        """The outputs for random inputs of all sizes."""
        inputs = torch.cat([self._random_inputs(4) * 2 - 1] * 3)
        return self.outputs(inputs * torch.tensor(SIZES).repeat_interleave(4).reshape(-1, *[1] * len(self.input_shape)))

    def class_scores(self, outputs: Tensor) -> Tensor:
        """One score per class, ``(B, K)`` with K ≥ 2, from outputs ``(B, …)`` of the module.

        Raises:
            ValueRangeError: The network has no labels that follow from scores.
        """
        return self.labelling.scores(outputs)

    def labels(self, images: Tensor) -> Tensor:
        """The labels in the model's own precision, int64 ``(B,)``; ``answers`` has them with the outputs.

        Raises:
            ValueRangeError: The network has no labels; the message says why.
            ShapeError: As ``outputs``.
        """
        labels = self.answers(images).labels
        if labels is None:
            raise ValueRangeError(f"{self.name} gives no labels: {self.labelling.words}")
        return labels

    def class_name(self, label: int) -> str:
        """The name of a class; its number if the names are not known."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)


def alike(outputs: Tensor, others: Tensor) -> bool:
    """Whether outputs are equal up to a relative difference of ``ALIKE``."""
    return bool((outputs - others).abs().max() <= ALIKE * others.abs().max()) if outputs.numel() else True
