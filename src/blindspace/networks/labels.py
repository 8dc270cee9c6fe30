"""What the label of an input is: decided once per network, for everything that compares, names or attacks labels.

The first rule that applies decides:

1. What the user states (``load(…, labels="argmax")``), or what the source of the network declares, such as a config
   for regression.
2. A label that the network writes itself: whole numbers, one per input, in an output named like one (``label``,
   ``class``, ``prediction``), equal to the label by the rules below on random inputs, or alone.
3. Scores of classes, at least two per input along one axis: the label is the index of the largest. They are the output
   whose last name is ``logits``, else the first with one value per known class, else the first that is not named like
   features (``pooler_output``, ``embedding``) and has not the shape of the input, as that of an autoencoder has.
4. One number per input: class 1 if it is above 0, or above 1/2 if it is a probability; no label if its last operation
   makes a quantity of it, such as a ReLU, or its name says so.
5. Anything else has no label: maps such as segmentations, features, boxes, one number per batch.

A single number that a linear layer writes may be a logit or a quantity. It is taken for a logit; who knows better says
so: ``labels="none"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UnknownNameError, ValueRangeError, shown
from ..maps import Shape
from .outputs import Found, columns, side_by_side

ARGMAX, SIGN, STATED, NONE = "argmax", "sign", "stated", "none"

CHOICES = (ARGMAX, SIGN, NONE)
"""What a user may state."""

SUMS_TO_ONE = 1e-3
"""Scores that are not negative and whose sum is nearer to 1 are probabilities."""

DASH = "—"
"""Stands for a label, or a number of labels, where there is none."""

LABELS = ("label", "class", "predict", "categor", "argmax")
"""Parts of names of outputs that are labels."""

FEATURES = ("hidden_state", "pooler_output", "embed", "feature", "attentions", "latent", "recon")
"""Parts of names of outputs that are no scores of classes."""

PROBABILITIES = ("sigmoid", "softmax", "hardsigmoid")
LINEAR = ("addmm", "mm", "bmm", "mv", "dot", "linear", "convolution", "gemm", "matmul", "conv")
QUANTITIES = ("relu", "logsigmoid", "softplus", "exp", "abs", "sqrt", "norm", "linalgvectornorm", "regressor")
CLIPPED = ("hardtanh", "clamp", "clip", "pow", "max", "maximum", "square")
"""Last operations, in small letters, after which a number is a probability, a logit, a quantity, and a quantity if it
was never negative."""


class Answers(NamedTuple):
    """The outputs of a network that are compared, ``(B, …)``, and its labels, int64 ``(B,)``; None if it has none."""

    outputs: Tensor
    labels: Tensor | None


@dataclass(frozen=True)
class Declared:
    """What a user or the source of a network says of its labels.

    Attributes:
        kind: One of ``CHOICES``; empty if nothing is said.
        reason: Where that is from, for messages.
        binding: Whether it is an error if the outputs have no such label.
    """

    kind: str = ""
    reason: str = ""
    binding: bool = False

    @classmethod
    def by_user(cls, labels: str | None) -> Declared:
        """The argument of ``load``.

        Raises:
            UnknownNameError: It is none of ``CHOICES``.
        """
        if labels is None:
            return cls()
        if labels not in CHOICES:
            raise UnknownNameError(f"labels must be one of {', '.join(CHOICES)}, or left out; got {shown(labels)}")
        return cls(labels, "they are left out, as asked", True)


NOTHING_DECLARED = Declared()


@dataclass(frozen=True)
class Labelling:
    """How labels follow from the outputs of a network.

    Attributes:
        kind: "argmax", "sign", "stated" by an output of the network, or "none".
        words: The rule in words, such as "the largest of 10 outputs", or why there are no labels.
        place: Columns of the outputs, side by side, that are scores; None for all.
        classes: Number of classes; 0 if it is not known.
        threshold: Number above which a single output means class 1.
        output: Name of the output that is the label.
    """

    kind: str
    words: str
    place: slice | None = None
    classes: int = 0
    threshold: float = 0.0
    output: str = ""

    def labels(self, outputs: Tensor, found: Found | None = None) -> Tensor | None:
        """The labels, int64 ``(B,)``; None where there are none.

        Args:
            outputs: The outputs that are compared, ``(B, …)``.
            found: All outputs by name, which a label that the network states is taken from.
        """
        if self.kind == STATED:
            return None if found is None else found.every[self.output].reshape(len(outputs)).long()
        if self.kind == NONE:
            return None
        values = self._values(outputs)
        return values.argmax(1) if self.kind == ARGMAX else (values[:, 0] > self.threshold).long()

    def scores(self, outputs: Tensor) -> Tensor:
        """One score per class, ``(B, K)`` with K ≥ 2, the largest of which is that of the label.

        Args:
            outputs: The outputs that are compared, ``(B, …)``. A single one is that of class 1, and class 0 has 0.

        Raises:
            ValueRangeError: There are no scores.
        """
        if self.kind == NONE or not self.classes:
            there = f"there are no labels: {self.words}" if self.kind == NONE else f"the label is {self.words}"
            raise ValueRangeError(f"scores of two classes or more are needed, but {there}")
        values = self._values(outputs)
        if values.shape[1] > 1:
            return values
        return torch.cat([torch.zeros_like(values), values - self.threshold], 1)

    def probabilities(self, outputs: Tensor) -> Tensor | None:
        """The probability that a network gives each class, float64 ``(B, K)`` with K ≥ 2, from its outputs ``(B, …)``.

        They are the scores themselves where these are probabilities already, and their softmax otherwise. None where
        there are no scores, or a single one that is a probability.
        """
        if self.kind == NONE or not self.classes or self.threshold:
            return None
        scores = self.scores(outputs).double()
        sums = bool((scores.min() >= 0) and ((scores.sum(1) - 1).abs() < SUMS_TO_ONE).all())
        return scores if sums else scores.softmax(1)

    def _values(self, outputs: Tensor) -> Tensor:
        flat = outputs.flatten(1) if outputs.ndim > 1 else outputs[:, None]
        return flat if self.place is None else flat[:, self.place]


@dataclass(frozen=True)
class Facts:
    """What is known of a network beside its outputs.

    Attributes:
        input_shape: Shape of one input.
        classes: Number of classes whose names are known; 0 if none are.
        declared: What the user or the source says.
        last_operation: Determines the operation that makes an output, in small letters; empty if unknown.
        extremes: Determines the outputs, side by side, for some inputs of all sizes.
    """

    input_shape: Shape | None = None
    classes: int = 0
    declared: Declared = NOTHING_DECLARED
    last_operation: Callable[[str], str] | None = None
    extremes: Callable[[], Tensor] | None = None


def decide(outputs: Found, batch: int, facts: Facts | None = None) -> Labelling:
    """Decide what the labels of a network are. The rules are those of this file.

    Args:
        outputs: All outputs by name, for a batch of random inputs.
        batch: Size of that batch.
        facts: What else is known.

    Raises:
        ValueRangeError: The user states a kind of label that these outputs do not have.
    """
    facts = facts or Facts()
    found, numbers = outputs.every, outputs.compared
    declared = facts.declared
    if declared.kind == NONE:
        return Labelling(NONE, declared.reason)
    rest = _of_numbers(numbers, batch, facts)
    if declared.kind in (ARGMAX, SIGN):
        if rest.kind == declared.kind or not declared.binding:
            return rest
        raise ValueRangeError(f"the labels cannot be by {declared.kind}: {_described(found)}; pick one with --output")
    stated = [name for name, x in found.items() if not _real(x) and x.numel() == batch and x.ndim < 3]
    for name in sorted(stated, key=lambda name: not _named(name, LABELS)):
        own = found[name].reshape(batch).long()
        same = _same(rest, numbers, batch, own)
        if same or _named(name, LABELS) or list(numbers) == [name]:
            words = f"written by the network as {name!r}"
            kept = rest if same else replace(rest, place=None, classes=0)
            return replace(kept, kind=STATED, words=words, output=name)
    return rest


def may_state_labels(outputs: Found) -> bool:
    """Whether there are whole numbers or truth values among the outputs, which may be labels."""
    return not all(_real(x) for x in outputs.every.values())


def _of_numbers(numbers: Mapping[str, Tensor], batch: int, facts: Facts) -> Labelling:
    """The label by the outputs that are numbers."""
    name = _candidate(numbers, batch, facts)
    if name is None:
        return Labelling(NONE, _described(numbers))
    values, place = numbers[name], columns(numbers, name, batch)
    count = values.numel() // batch
    whose = "" if len(numbers) == 1 else f" of {name!r}"
    if count > 1:
        return Labelling(ARGMAX, f"the largest of {count} outputs{whose}", place, count)
    threshold = _threshold(name, values, place, facts)
    if threshold is None:
        return Labelling(NONE, f"its one number per input{whose} is a quantity")
    words = "sign of one logit" if threshold == 0 else "whether a probability is above 1/2"
    return Labelling(SIGN, words + whose, place, 2, threshold)


def _candidate(numbers: Mapping[str, Tensor], batch: int, facts: Facts) -> str | None:
    """The output that decides about the label."""
    logits = [name for name in numbers if name.split(".")[-1] == "logits"]
    known = [name for name, x in numbers.items() if facts.classes > 1 and x.numel() == batch * facts.classes]
    stated = facts.declared.kind
    others = [
        name
        for name, x in numbers.items()
        if stated or not (_named(name, FEATURES) or (tuple(x.shape[1:]) == facts.input_shape and x.numel() > batch))
    ]
    several = sum(_single(numbers[name], batch) for name in numbers) > 1
    for name in logits or [*known, *others]:
        x = numbers[name]
        single = (_single(x, batch) and (not several or bool(logits))) or (stated == SIGN and x.numel() == batch)
        if (stated != SIGN and _scored(x, batch)) or (stated != ARGMAX and single):
            return name
    return None


def _single(x: Tensor, batch: int) -> bool:
    """Whether an output is one number per input; a number without axes is one per batch."""
    return x.numel() == batch and x.is_floating_point() and x.ndim > 0


def _scored(x: Tensor, batch: int) -> bool:
    """Whether an output has scores of classes: ``(B, K)``, with further axes of one. Quantised ones may be integers."""
    if x.is_complex():
        return False
    sizes = [n for n in (x.shape[1:] if x.shape[:1] == (batch,) and x.ndim > 1 else x.shape) if n > 1]
    return len(sizes) == 1 and x.numel() == batch * sizes[0]


def _threshold(name: str, values: Tensor, place: slice | None, facts: Facts) -> float | None:
    """The number above which a single output means class 1; None if it is a quantity."""
    if facts.declared.kind != SIGN and _named(name, ("regress", "variable")):
        return None
    last = facts.last_operation(name) if facts.last_operation is not None else ""
    if last in PROBABILITIES:
        return 0.5
    if last in LINEAR or name.endswith("logits"):
        return 0.0
    if last.endswith(QUANTITIES) and facts.declared.kind != SIGN:
        return None
    tried = values if facts.extremes is None else facts.extremes()
    tried = (tried if facts.extremes is None or place is None else tried[:, place]).flatten()
    tried = tried[tried.isfinite()]
    if len(tried) and bool((tried >= 0).all()):
        if last in CLIPPED and bool((tried > 1).any()) and facts.declared.kind != SIGN:
            return None
        if bool((tried <= 1).all()) and bool((tried != tried[0]).any()):
            return 0.5
    return 0.0


def _same(rest: Labelling, numbers: Mapping[str, Tensor], batch: int, own: Tensor) -> bool:
    """Whether whole numbers are the labels that scores give."""
    labels = rest.labels(side_by_side(numbers, batch))
    return labels is not None and bool((labels == own).all())


def _real(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


def _named(name: str, parts: Sequence[str]) -> bool:
    return any(part in name.lower() for part in parts)


def _described(numbers: Mapping[str, Tensor]) -> str:
    """The outputs in words."""
    sizes = (
        f"{name} {' × '.join(map(str, x.shape[1:])) or '1'} per input" if x.ndim else f"{name}, one number per batch"
        for name, x in numbers.items()
    )
    return f"its outputs are {', '.join(sizes)}"


def changed(before: Answers, after: Answers) -> Tensor | None:
    """Whether the label of each input differs, bool ``(B,)``; None where there are no labels."""
    return None if before.labels is None or after.labels is None else before.labels != after.labels


def count_changed(before: Answers, after: Answers) -> int | None:
    """Number of inputs whose label differs; None where there are no labels."""
    found = changed(before, after)
    return None if found is None else int(found.sum())


def share(count: int | None, of: int) -> str:
    """A number of labels in words: "3 of 24", or a dash where there are none."""
    return DASH if count is None else f"{count} of {of}"
