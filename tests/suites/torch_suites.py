"""The databases of operators and modules that torch tests itself with, as networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from judging import Case, mixing
from torch import Tensor, nn
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from blindspace.networks import Network, load

PRECISION = {
    torch.float64: (1e-7, 2.0**-52), torch.float32: (1e-3, 2.0**-23),
    torch.float16: (0.1, 2.0**-10), torch.bfloat16: (0.3, 2.0**-7),
}  # fmt: skip
"""Tolerance and rounding of the floating types."""


class Applied(nn.Module):
    """A function whose one argument is a given tensor plus the input: ``(B, *shape)`` to ``(B, k)``.

    Args:
        function: Called with all arguments.
        leaves: The leaves of its arguments.
        place: Which of them the input is added to.
        unflatten: From leaves to positional and named arguments.
        module: The module that the function calls, if any.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        leaves: list[Any],
        place: int,
        unflatten: Callable[[list[Any]], Any],
        module: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.function, self.leaves, self.place, self.unflatten, self.module = function, leaves, place, unflatten, module
        self.mixing: Tensor | None = None

    def mix(self, outputs: int) -> Applied:
        """Multiply the outputs by random numbers."""
        self.mixing = nn.Parameter(mixing(self.leaves[self.place].numel(), outputs))
        return self

    def flat(self, x: Tensor) -> Tensor:
        """All outputs of one input, ``(m,)`` in float64."""
        torch.default_generator.manual_seed(0)  # what is drawn at random is the same in every run
        leaves = [each.clone() if isinstance(each, Tensor) else each for each in self.leaves]
        leaves[self.place] = leaves[self.place] + x.reshape(leaves[self.place].shape)
        args, kwargs = self.unflatten(leaves)
        parts = [_numbers(leaf) for leaf in tree_leaves(self.function(*args, **kwargs))]
        return torch.cat([part for part in parts if part is not None] or [x.new_zeros(0)])

    def forward(self, x: Tensor) -> Tensor:
        assert self.mixing is not None
        rows = [(self.flat(each) @ self.mixing)[None] for each in (x.split(1) if len(x) > 1 else (x,))]
        return rows[0] if len(rows) == 1 else torch.cat(rows)


def _numbers(leaf: Any) -> Tensor | None:
    """One output of an operator as a vector in float64."""
    if isinstance(leaf, bool | int | float):
        return torch.tensor([float(leaf)], dtype=torch.float64)
    if not isinstance(leaf, Tensor) or leaf.is_nested:
        return None
    dense = leaf.to_dense() if leaf.layout != torch.strided else leaf
    if dense.is_complex():
        dense = torch.view_as_real(dense.resolve_conj())
    return dense.double().reshape(-1)


def _is_place(leaf: Any) -> bool:
    dense = isinstance(leaf, Tensor) and leaf.layout == torch.strided and not leaf.is_nested
    return dense and leaf.is_floating_point() and leaf.numel() > 0


def _case(operator: str, name: str, applied: Applied) -> Case:
    given = applied.leaves[applied.place]
    shape = tuple(given.shape) or (1,)

    def network() -> Network:
        outputs = applied.flat(torch.zeros(1, *shape, dtype=torch.float64))
        return load(applied.mix(len(outputs)), shape, name=name)

    def compute(x: Tensor) -> Tensor:
        return applied.flat(x) if applied.mixing is None else applied.forward(x)[0]

    return Case(operator, name, shape, compute, network, *PRECISION[given.dtype])


def _cases_of_call(
    operator: str, sample: int, function: Callable[..., Any], arguments: Any, module: nn.Module | None = None
) -> Iterator[Case]:
    leaves, spec = tree_flatten(arguments)
    leaves = [each.detach() if isinstance(each, Tensor) else each for each in leaves]
    for place, leaf in enumerate(leaves):
        if _is_place(leaf):
            name = f"{operator} {sample}.{place}"
            yield _case(operator, name, Applied(function, leaves, place, lambda new: tree_unflatten(new, spec), module))


def operators() -> dict[str, Callable[[], Iterator[Case]]]:
    """The cases of every operator, by name; operators with variants are told apart by those."""
    return {_name(info): partial(_operator_cases, info) for info in op_db}


def _name(info: Any) -> str:
    return f"{info.name}.{info.variant_test_name}" if info.variant_test_name else str(info.name)


def _operator_cases(info: Any) -> Iterator[Case]:
    dtype = next((each for each in (torch.float64, torch.float32) if info.supports_dtype(each, "cpu")), None)
    if dtype is None:
        return
    torch.manual_seed(0)
    # Not info.sample_inputs, which looks for a test of torch on the stack for every sample.
    for number, sample in enumerate(info.sample_inputs_func(info, "cpu", dtype, False)):
        arguments = ((sample.input, *sample.args), sample.kwargs)
        yield from _cases_of_call(_name(info), number, info.op, arguments)
        if info.inplace_variant is not None and _is_place(sample.input):
            for case in _cases_of_call(_name(info) + "_", number, info.inplace_variant, arguments):
                if case.name.endswith(".0"):
                    yield case


def modules() -> dict[str, Callable[[], Iterator[Case]]]:
    """The cases of every module, by name."""
    return {str(info.name): partial(_module_cases, info) for info in module_db}


def _module_cases(info: Any) -> Iterator[Case]:
    torch.manual_seed(0)
    inputs = info.module_inputs_func(info, "cpu", torch.float64, requires_grad=False, training=False)
    for number, sample in enumerate(inputs):
        if sample.forward_input is None:
            continue
        torch.manual_seed(0)
        try:
            constructed = tree_map(lambda leaf: leaf, (sample.constructor_input.args, sample.constructor_input.kwargs))
            module = info.module_cls(*constructed[0], **constructed[1]).double().eval()
        except Exception:  # some are made for other devices or types
            continue
        arguments = (tuple(sample.forward_input.args), dict(sample.forward_input.kwargs))
        yield from _cases_of_call(str(info.name), number, module, arguments, module)
