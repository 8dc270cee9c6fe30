"""Values of a network near a point, by differences in float32 from its values there in float64.

Evaluations in float32 are several times as fast as those in float64, but their rounding is a millionth of the values.
That of differences from a point nearby is a millionth of the differences. So a reference point is read once in float64,
and what follows a difference d through the network in float32 is, at each operation, f(z + d) − f(z): the operation
itself where it is linear, (d + min(z, 0)) cut off at −max(z, 0) for a ReLU, which cancels no digits, and else the
difference of two values in float64.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from .features import Recorded

aten = torch.ops.aten


class Base(NamedTuple):
    """What the steps need of the reference point, by the numbers of the nodes.

    Attributes:
        values: Values in float64.
        cuts: min(z, 0) and −max(z, 0) in float32 of what a ReLU reads.
    """

    values: dict[int, Any]
    cuts: dict[int, tuple[Tensor, Tensor]]


Step = Callable[[list[Any], Base], Any]
"""What a node makes of the differences, by the numbers of the nodes, and of the base."""

LINEAR = {
    operator.pos, aten.view.default, aten._unsafe_view.default, aten.clone.default, aten.permute.default,
    aten.transpose.int, aten.t.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default,
    aten.expand.default, aten.slice.Tensor, aten.select.int, aten.neg.default, aten.mean.dim, aten.sum.dim_IntList,
    aten.avg_pool2d.default, aten._adaptive_avg_pool2d.default, aten.mm.default, aten.mul.Tensor,
}  # fmt: skip
"""Operations that are linear in each of their tensors."""

CONTIGUOUS = {aten.view.default: aten.reshape.default, aten._unsafe_view.default: aten.reshape.default}
"""Operations that expect their values in another order in memory than these are in, and what stands for them."""

SUMS = {aten.add.Tensor, aten.sub.Tensor}


class UnfollowedError(Exception):
    """A network whose recordings for one image and for several do not match."""


class Nearby:
    """The values of a network near a point that is given later.

    Args:
        function: Records the values for a batch of a size on a device: a ``fx.GraphModule`` from the images,
            ``(batch, *shape)`` float64, to a tuple of tensors whose first axis is that of the batch.

    Examples:
        >>> import torch
        >>> from torch.fx.experimental.proxy_tensor import make_fx
        >>> def function(batch, device):
        ...     return make_fx(lambda x: (x.relu(),))(torch.zeros(batch, 3, dtype=torch.float64))
        >>> point = torch.tensor([[-1.0, 0.0, 2.0]], dtype=torch.float64)
        >>> Nearby(function).at(point, [1])(torch.tensor([[3.0, -1.0, -5.0]], dtype=torch.float64))
        tensor([[ 2.,  0., -2.]], dtype=torch.float64)
    """

    def __init__(self, function: Recorded) -> None:
        self._function = function
        self._programs: dict[tuple[int, torch.device], _Program] = {}

    def at(self, point: Tensor, sizes: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """Read a reference point a: the function from d to F(a + d) − F(a).

        Args:
            point: The point, float64 ``(1, *shape)``.
            sizes: Sizes of the batches that will be asked for.

        Returns:
            It takes d, float64 ``(B, *shape)`` where B is one of the sizes, and gives float64 ``(B, values)``.

        Raises:
            UnfollowedError: The recordings for one image and for several do not match.
        """
        programs = {size: self._program(size, point.device) for size in sizes}
        alone = self._graph(1, point.device)
        trace = _Trace(alone, set().union(*(program.reads for program in programs.values())))
        with torch.no_grad():
            trace.run(point)
            bases = {size: program.base(trace.kept) for size, program in programs.items()}

        @torch.no_grad()
        def differences(d: Tensor) -> Tensor:
            return programs[len(d)].run(_narrow(d), bases[len(d)])

        return differences

    def _program(self, size: int, device: torch.device) -> _Program:
        if (size, device) not in self._programs:
            made = _Program(self._graph(size, device), self._graph(1, device), size)
            self._programs[size, device] = made
        return self._programs[size, device]

    def _graph(self, size: int, device: torch.device) -> fx.GraphModule:
        found = self._function(size, device)
        assert isinstance(found, fx.GraphModule)
        return found


class _Trace(fx.Interpreter):
    """Runs a function and keeps the values of some nodes by their numbers."""

    def __init__(self, module: fx.GraphModule, wanted: set[int]) -> None:
        super().__init__(module)
        self._numbers, self._wanted = numbered(module), wanted
        self.kept: dict[int, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """As torch's, and keep the value."""
        found = super().run_node(n)
        if self._numbers[n] in self._wanted:
            self.kept[self._numbers[n]] = found
        return found


class _Program:
    """The steps that a batch of differences goes through.

    Attributes:
        reads: Numbers of the nodes whose values at the reference point the steps need.
    """

    def __init__(self, module: fx.GraphModule, alone: fx.GraphModule, size: int) -> None:
        self._number, self._size = numbered(module), size
        nodes = list(self._number)
        if [str(node.target) for node in nodes] != [str(node.target) for node in alone.graph.nodes]:
            raise UnfollowedError("the network does other operations for several images than for one")
        self._constants, self._varying = dict[fx.Node, Any](), set[fx.Node]()
        self._values, self._rectified = dict[int, fx.Node](), set[int]()
        self._steps: list[tuple[int, Step, list[int]]] = []
        last = {node: max((self._number[user] for user in node.users), default=-1) for node in nodes}
        constants = fx.Interpreter(module)
        for k, node in enumerate(nodes):
            if node.op == "output":
                self._outputs = [self._number[value] for value in node.args[0]]  # type: ignore[union-attr, index]
            elif node.op != "placeholder" and not any(arg in self._varying for arg in node.all_input_nodes):
                constants.env = self._constants
                self._constants[node] = constants.run_node(node)
            else:
                self._varying.add(node)
                if node.op != "placeholder":
                    over = [self._number[n] for n in node.all_input_nodes if last[n] == k]
                    self._steps.append((k, self._step(node), over))
        self.reads = self._values.keys() | self._rectified

    def base(self, kept: dict[int, Any]) -> Base:
        """What the steps need of the reference point, of its values alone."""
        cuts = {k: _narrow(kept[k]) for k in self._rectified}
        return Base(
            {k: _spread(kept[k], node.meta["val"].shape, self._size) for k, node in self._values.items()},
            {k: (z.clamp(max=0), -z.clamp(min=0)) for k, z in cuts.items()},
        )

    def run(self, d: Tensor, base: Base) -> Tensor:
        """The differences of the values, ``(size, values)``, of those of the images."""
        env: list[Any] = [d, *[None] * (len(self._number) - 1)]
        for k, step, over in self._steps:
            env[k] = step(env, base)
            for j in over:
                env[j] = None
        return torch.cat([env[k].reshape(len(d), -1) for k in self._outputs], 1).double()

    def _step(self, node: fx.Node) -> Step:
        """The step of a node that varies with the images."""
        args, target = node.args, node.target
        varies = [isinstance(arg, fx.Node) and arg in self._varying for arg in args]
        if node.kwargs or not all(map(_is_floating, (node, *node.all_input_nodes))):
            return self._whole(node)
        if (target in LINEAR and sum(varies) == 1) or (target in SUMS and varies == [True, True]):
            return self._linear(target, args)
        if target is aten.div.Tensor and varies == [True, False]:
            return self._linear(target, args)
        if target is aten.constant_pad_nd.default:
            return self._linear(target, args[:2])
        if target is aten.convolution.default and not any(varies[1:]):
            return self._linear(target, (*args[:2], None, *args[3:]))
        if target is aten.addmm.default and varies == [False, True, False]:
            return self._linear(aten.mm.default, args[1:])
        one = next(arg for arg in args if isinstance(arg, fx.Node) and arg in self._varying)
        j = self._number[one]
        if target in SUMS and one.meta["val"].shape == node.meta["val"].shape:
            sign = -1 if target is aten.sub.Tensor and varies[1] else 1
            return lambda env, base: sign * env[j] if sign < 0 else env[j]
        if target is aten.relu.default:
            self._rectified.add(j)
            return lambda env, base: torch.maximum(env[j] + base.cuts[j][0], base.cuts[j][1])
        return self._whole(node)

    def _linear(self, function: Any, args: Sequence[Any]) -> Step:
        """The operation itself, its constants in float32."""
        function = CONTIGUOUS.get(function, function)
        varying = [arg if isinstance(arg, fx.Node) and arg in self._varying else None for arg in args]
        places = [(i, self._number[arg]) for i, arg in enumerate(varying) if arg is not None]
        values = [self._constants.get(arg, arg) if isinstance(arg, fx.Node) else arg for arg in args]
        values = [_narrow(value) if isinstance(value, Tensor) else value for value in values]

        def step(env: list[Any], base: Base) -> Any:
            given = list(values)
            for i, j in places:
                given[i] = env[j]
            return function(*given)

        return step

    def _whole(self, node: fx.Node) -> Step:
        """The difference of two values in float64; what are no numbers, such as places of maxima, are passed on."""
        number, floating = self._number[node], _is_floating(node)
        read = [n for n in node.all_input_nodes if n in self._varying and _is_floating(n)]
        self._values.update({self._number[n]: n for n in (*read, *([node] if floating else ()))})

        def step(env: list[Any], base: Base) -> Any:
            def value(n: fx.Node) -> Any:
                if n in self._constants:
                    return self._constants[n]
                j = self._number[n]
                return (base.values[j] + env[j].double()).contiguous() if j in base.values else env[j]

            args, kwargs = fx.node.map_arg((node.args, node.kwargs), value)
            found = node.target(*args, **kwargs)  # type: ignore[operator]
            return (found - base.values[number]).to(torch.float32) if floating else found

        return step


def numbered(module: fx.GraphModule) -> dict[fx.Node, int]:
    """The nodes of a function with their numbers."""
    return {node: k for k, node in enumerate(module.graph.nodes)}


def _is_floating(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


def _narrow(value: Tensor) -> Tensor:
    """A value in float32, channels last, which convolutions are quicker with."""
    return value.to(torch.float32, memory_format=torch.channels_last if value.ndim == 4 else torch.preserve_format)


def _spread(value: Tensor, shape: Sequence[int], size: int) -> Tensor:
    """A value of one image as those of a batch of copies of it."""
    for axis, (one, several) in enumerate(zip(value.shape, shape, strict=True)):
        if one != several:
            if one * size != several:
                raise UnfollowedError(f"a value of {tuple(value.shape)} for one image is of {tuple(shape)} for {size}")
            value = value.repeat(*[size if i == axis else 1 for i in range(value.ndim)])
    return value
