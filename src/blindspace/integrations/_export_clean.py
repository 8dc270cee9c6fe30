"""The clean operator as an ONNX graph, alone or in front of a model, measured in onnxruntime before it is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from .. import __version__
from .._html import Shown
from ..errors import CheckFailedError, FileError, TooLargeError, UnsupportedLayerError, first_line, integer
from ..evidence.prior import Prior
from ..files import as_path, writing
from ..networks import Network
from ..networks.arguments import Space, as_space
from ..networks.claim import hold
from ..networks.onnx.network import OnnxNetwork, load_onnx
from ..networks.onnx.session import require, session
from ..subspaces import Subspace
from ._clean import LIMIT, affine, with_something_to_clean
from .onnx_front import in_front
from .onnx_graph import OLDEST, OPSET, Graph
from .onnx_iteration import Iterated
from .onnx_visible import Otherwise, visible, without_structure

if TYPE_CHECKING:
    from onnx import ModelProto

Emit = Callable[[Graph, str, str], None]
"""Adds the nodes from one name to another, both batches ``(B, *shape)``."""

Form = Literal["matrices", "structure", "iteration"]
"""How the operator is written down: as two matrices, by its structure, or as rounds of an iteration."""

PROBES = 8
"""Number of random images that a graph is measured with."""

EXACT = 1e-4
"""Largest residual and remainder with which a graph is written, relative to the image; rounding makes about 1e-6."""

INPUT, OUTPUT = "image", "clean"
"""Names of the input and the output of a graph that stands alone."""


@dataclass(frozen=True)
class ExportedClean(Shown):
    """What was written, and what was measured of it in onnxruntime.

    Attributes:
        path: The file.
        network: Name of the network; empty for a subspace.
        shape: Shape of one image.
        dim: Dimension of what is taken out.
        plain: Whether the result is the visible component alone, and not the conditional mean.
        form: ``matrices``, ``structure`` or ``iteration``.
        opset: ONNX operator set of the graph.
        size: Bytes of the file.
        residual: Largest ‖(I − P)(clean x − x)‖ / ‖x‖: what the network could notice.
        remainder: Largest ‖clean(x + h) − clean x‖ / ‖h‖ for h in the nullspace: what is left of something hidden.
        error: Largest difference from the operator in float64, relative to the largest value.
        attached: File of the model that the graph stands in front of; empty if it stands alone.
        output_change: Largest change of an output of that model, relative to the largest output; 0 if it stands alone.
    """

    path: Path
    network: str
    shape: tuple[int, ...]
    dim: int
    plain: bool
    form: Form
    opset: int
    size: int
    residual: float
    remainder: float
    error: float
    attached: str = ""
    output_change: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values for JSON."""
        return {**vars(self), "path": str(self.path), "shape": list(self.shape)}


def export_clean(
    network: Space,
    path: str | os.PathLike[str],
    attach: str | os.PathLike[str] | None = None,
    plain: bool = False,
    input_shape: Sequence[int] | None = None,
    prior: Prior | None = None,
    opset: int | None = None,
    limit: int = LIMIT,
) -> ExportedClean:
    """Write an ONNX graph that takes out of an image what a network cannot see, to be put in front of the network.

    The graph computes in float32, reads batches of any size under the name ``image`` and writes ``clean``. The result
    is the conditional mean, the most natural image with the same visible component, as ``inspect --clean`` computes it,
    but not confined to [0, 1]. Before it is written it runs in onnxruntime, and what is measured there stands in its
    metadata.

    Args:
        network: The network, or its harmless subspace; or whatever ``nullspace`` takes.
        path: The file to be written, ending in ``.onnx``.
        attach: An ONNX model that reads the same images; the file is then that model behind the clean operator, with
            the model's own inputs, outputs and operator set. None for the operator alone.
        plain: Whether to return the visible component (I − P) x alone: for inputs that are no images, and large ones.
        input_shape: Shape of one input, which a torch module needs.
        prior: The prior of the conditional mean; ``Prior.of`` the shape if None.
        opset: Operator set of a graph that stands alone, at least 7; 17 if None.
        limit: Bytes that the two matrices may take together, in float32, where there is no structure to be written.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
        FileError: The path does not end in ``.onnx`` or cannot be written; the model to be attached cannot be read.
        ShapeError: No prior serves the shape, or the attached model reads another shape.
        TooLargeError: The operator has no form in ONNX within the limit.
        ValueRangeError: The network sees all of its input, or nothing of it.
        WithdrawnError: The outputs of the attached model change by more than rounding.
        CheckFailedError: The graph does not compute the operator in onnxruntime.

    Examples:
        >>> import blindspace as bs
        >>> bs.export_clean(bs.load("mnist-mlp"), "clean.onnx").dim
        528
    """
    target = as_path(path, "the path of the exported graph")
    if target.suffix != ".onnx":
        raise FileError(f"{target} must end in .onnx")
    require("onnxruntime")
    version = integer(OPSET if opset is None else opset, "the operator set", OLDEST)
    space = with_something_to_clean(as_space(network, input_shape))
    behind = None if attach is None else load_onnx(as_path(attach, "the model to be attached"), input_shape=space.shape)
    if behind is not None:
        hold(behind, space)
    plan = _plan(space, None if plain else Prior.of(space.shape) if prior is None else prior, limit)
    model = _alone(plan, space, version)
    measured = _measured(model, plan, space)
    name = network.name if isinstance(network, Network) else ""
    found = ExportedClean(target, name, space.shape, space.dim, plain, plan.form, version, 0, *measured)
    if found.residual > EXACT or found.remainder > EXACT or found.error > EXACT:
        raise CheckFailedError(
            f"in float32 the exported graph changes what the network sees by {found.residual:.1e}, leaves "
            f"{found.remainder:.1e} of what is hidden and is {found.error:.1e} off, of which at most {EXACT:.0e} is "
            "allowed; nothing was written"
        )
    if behind is not None and attach is not None:
        model = in_front(plan.emit, behind.model, behind.input_shape)
        found = replace(
            found,
            attached=Path(attach).name,
            opset=next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx")),
            output_change=_output_change(model, behind),
        )
    for key, value in found.to_dict().items():
        if key not in ("path", "size"):
            entry = model.metadata_props.add()
            entry.key, entry.value = f"blindspace.{key}", str(value)
    content = _checked(model).SerializeToString()
    with writing(target) as temporary:
        temporary.write_bytes(content)
    return replace(found, size=len(content))


@dataclass(frozen=True)
class Plan:
    """How a clean operator is written down, and what it computes, in float64."""

    form: Form
    emit: Emit
    reference: Callable[[Tensor], Tensor]


def _plan(space: Subspace, prior: Prior | None, limit: int) -> Plan:
    """The form of the clean operator; with None for the prior, of the visible component.

    Raises:
        TooLargeError: There is no form within the limit.
    """

    def by_structure(otherwise: Otherwise, graph: Graph, x: str, output: str) -> None:
        graph.add("Identity", visible(graph, x, space, otherwise), output=output)

    if prior is None:
        with suppress(UnsupportedLayerError):
            by_structure(without_structure, Graph(), INPUT, OUTPUT)
            return Plan("structure", partial(by_structure, without_structure), space.reject)
    try:
        map_ = affine(space, prior, limit)
    except TooLargeError as error:
        if prior is not None:
            raise
        rounds = Iterated()
        try:
            by_structure(rounds, Graph(), INPUT, OUTPUT)
        except UnsupportedLayerError as refusal:
            raise TooLargeError(f"{refusal}, and {error}") from error
        return Plan("iteration", partial(by_structure, rounds), space.reject)

    def by_matrices(graph: Graph, x: str, output: str) -> None:
        flat = graph.reshape(x, [space.ambient_dim])
        inner = graph.add("Add", graph.product(flat, map_.read), graph.constant(map_.bias))
        found = graph.add("Add", graph.product(inner, map_.write), graph.constant(map_.offset))
        found = graph.add("Add", flat, found) if map_.keeps else found
        graph.add("Reshape", found, graph.constant([-1, *space.shape], "shape"), output=output)

    return Plan("matrices", by_matrices, lambda x: map_(x.flatten(1)).reshape(x.shape))


def _alone(plan: Plan, space: Subspace, opset: int) -> ModelProto:
    """The clean operator as a model of its own, which reads and writes batches of any size."""
    helper, kind = require("onnx").helper, require("onnx").TensorProto.FLOAT
    graph = Graph()
    plan.emit(graph, INPUT, OUTPUT)
    ends = [helper.make_tensor_value_info(name, kind, ["batch", *space.shape]) for name in (INPUT, OUTPUT)]
    made = helper.make_graph(graph.nodes, "clean", ends[:1], ends[1:], list(graph.weights.values()))
    return _checked(
        helper.make_model(
            made,
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=max(helper.VERSION_TABLE[-1][1] if opset > 20 else 8, 8),
            producer_name="blindspace",
            producer_version=__version__,
        )
    )


def _checked(model: ModelProto) -> ModelProto:
    try:
        require("onnx").checker.check_model(model)
    except Exception as error:  # the checker raises errors of its own
        raise CheckFailedError(f"the exported graph is not valid: {first_line(error)}") from error
    return model


def _measured(model: ModelProto, plan: Plan, space: Subspace) -> tuple[float, float, float]:
    """Residual, remainder and error of a graph in onnxruntime, on random images and what is hidden in them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(PROBES, *space.shape, generator=generator, dtype=torch.float64)
    hidden = space.sample(PROBES, generator)
    hidden = hidden * (_lengths(x) / _lengths(hidden)).reshape(-1, *[1] * len(space.shape))
    opened = session(model)

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(opened.run(None, {INPUT: images.float().numpy()})[0]).double()

    x, moved = x.float().double(), (x + hidden).float().double()
    clean, same, expected = run(x), run(moved), plan.reference(x)
    residual = _lengths(space.reject(clean - x)) / _lengths(x)
    remainder = _lengths(same - clean) / _lengths(hidden)
    error = (clean - expected).abs().max() / expected.abs().max()
    return float(residual.max()), float(remainder.max()), float(error)


def _output_change(model: ModelProto, network: OnnxNetwork) -> float:
    """Largest change of an output by the operator in front, relative to the largest output."""
    x = torch.rand(PROBES, *network.input_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before, after = (
        network.outputs(x).double(),
        replace(network, model=model).in_session(network.session).outputs(x).double(),
    )
    return float((after - before).abs().max() / before.abs().max())


def _lengths(batch: Tensor) -> Tensor:
    lengths: Tensor = batch.flatten(1).norm(dim=1)
    return lengths
