"""Networks saved by torch.export (.pt2), read without executing code from the file.

``torch.export.load`` can execute code of a file: it unpickles, evaluates formulas of sizes as Python, and imports what
tree specs name. So it is not called. The graph is JSON and the weights are plain bytes; both are read as such, every
operation is looked up in a list of allowed ones, and pickled parts are refused unread.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import FileError, ShapeError, UnsupportedLayerError, first_line
from ...maps import Shape
from .batches import Batch, takes_any
from .raw_model import RawModel
from .torch_export_graph import DTYPES, Exported, named

_FOLDERS = {"parameter": "weights", "buffer": "weights", "tensor_constant": "constants"}


def from_torch_export(path: Path) -> RawModel:
    """A network from a .pt2 file.

    Args:
        path: Path of a file written by ``torch.export.save`` of torch 2.8 or newer.
    """
    if not path.is_file():
        raise FileError(f"{path} does not exist; torch.export.save writes one")
    try:
        with zipfile.ZipFile(path) as file:
            return _read(path, _Archive(path, file))
    except (
        zipfile.BadZipFile,
        LookupError,
        TypeError,
        ValueError,
        StopIteration,
        RuntimeError,
        OSError,
        EOFError,
    ) as error:
        reason = first_line(error) if not isinstance(error, KeyError) else f"it lacks {error}"
        raise FileError(f"{path} cannot be read as a .pt2 file of torch.export ({reason})") from error


class _Archive:
    """The files inside a .pt2 file.

    Raises:
        FileError: A part is compressed, which torch never does and which might unpack to any size.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self._file = file
        infos = file.infolist()
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise FileError(f"{path} holds compressed parts, which torch.export does not write; export it again")
        self.names = [info.filename for info in infos]
        models = [name for name in self.names if "/models/" in name and name.endswith(".json")]
        if len(models) != 1:
            raise FileError(f"{path} holds {len(models)} exported programs where one is needed; export that one alone")
        self._top, self.model = models[0].split("/models/")[0], models[0].split("/")[-1].removesuffix(".json")

    def bytes(self, name: str) -> bytearray:
        """Content of one file."""
        return bytearray(self._file.read(f"{self._top}/{name}"))

    def json(self, name: str) -> Any:
        """Content of one JSON file."""
        return json.loads(self.bytes(name))


def _read(path: Path, archive: _Archive) -> RawModel:
    if bytes(archive.bytes("byteorder")).strip() != b"little":
        raise FileError(f"{path} was written on a machine with another byte order; export it again")
    graph_module = archive.json(f"models/{archive.model}.json")["graph_module"]
    graph, signature = graph_module["graph"], graph_module["signature"]
    weights = {
        folder: archive.json(f"data/{folder}/{archive.model}_{folder}_config.json")["config"]
        for folder in ("weights", "constants")
    }
    tensors: dict[str, Tensor] = {}
    inputs: list[str] = []
    for spec in signature["input_specs"]:
        kind, given = next(iter(spec.items()))
        if kind == "user_input":
            inputs.append(named(given["arg"]))
        elif kind in _FOLDERS:
            folder, key = _FOLDERS[kind], given[f"{kind}_name"]
            folder = "constants" if key not in weights[folder] else folder  # non-persistent buffers
            tensors[str(given["arg"]["name"])] = _tensor(path, archive, folder, key, weights[folder][key])
        else:
            raise UnsupportedLayerError(
                f"{path} has an input of the kind {kind}, which is not supported; export without it"
            )
    outputs = []
    for spec in signature["output_specs"]:
        kind, given = next(iter(spec.items()))
        if kind != "user_output":
            raise UnsupportedLayerError(f"{path} changes its own state as it runs ({kind}); export the module in eval")
        if "as_tensor" in given["arg"]:
            outputs.append(named(given["arg"]))
    if not inputs or not outputs:
        raise ShapeError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs that are tensors; export one of each at least"
        )
    read = {name: graph["tensor_values"][name] for name in inputs}
    sizes = {name: meta["sizes"] for name, meta in read.items()}
    fixed = {batch["as_int"] for batch, *_ in sizes.values() if "as_int" in batch}
    if len(fixed) > 1:
        raise ShapeError(
            f"{path} reads inputs in batches of {', '.join(map(str, sorted(fixed)))}; export it for one number"
        )
    batch = fixed.pop() if fixed else 0
    dtypes = {name: DTYPES[meta["dtype"]] for name, meta in read.items()}
    module = Exported(graph["nodes"], tensors, inputs, outputs, dtypes[inputs[0]])
    shapes = {name: _shape(size[1:]) for name, size in sizes.items()}
    _try(path, module, {name: torch.zeros(batch or 1, *shape, dtype=dtypes[name]) for name, shape in shapes.items()})
    for multiples in (False, True) if batch else ():
        free = Exported(graph["nodes"], tensors, inputs, outputs, dtypes[inputs[0]], Batch(batch, multiples))
        if takes_any(partial(_by_name, module), partial(_by_name, free), shapes, dtypes, batch):
            module, batch = free, 0
            break
    integers = {name: dtype for name, dtype in dtypes.items() if not dtype.is_floating_point}
    named_inputs = dict.fromkeys(inputs, True)
    return RawModel(path.name, module, arguments=named_inputs, shapes=shapes, integers=integers, batch=batch)


def _by_name(module: Exported, inputs: Mapping[str, Tensor]) -> Any:
    return module(**inputs)


def _try(path: Path, module: Exported, zeros: Mapping[str, Tensor]) -> None:
    """Refuse a module that cannot read its own inputs, or that writes into its weights and so has a state."""
    held = [*module.parameters(), *module.buffers()]
    before = [tensor._version for tensor in held]
    try:
        with torch.no_grad():
            module(**zeros)
    except Exception as error:  # Operations of torch may raise anything.
        shapes = ", ".join(str(tuple(x.shape[1:])) for x in zeros.values())
        raise ShapeError(f"{path} cannot read an input of shape {shapes}, its own: {first_line(error)}") from error
    if before != [tensor._version for tensor in held]:
        raise UnsupportedLayerError(f"{path} changes its own state as it runs; export the module in eval")


def _tensor(path: Path, archive: _Archive, folder: str, key: str, given: Mapping[str, Any]) -> Tensor:
    """A tensor from its bytes."""
    if given["use_pickle"] or not given["path_name"].startswith(("weight_", "tensor_")):
        raise FileError(f"{path} holds {key} as a pickle, which can run code; export it with plain weights")
    meta = given["tensor_meta"]
    content = archive.bytes(f"data/{folder}/{given['path_name']}")
    sizes, strides = _shape(meta["sizes"]), _shape(meta["strides"])
    if not content:
        return torch.zeros(sizes, dtype=DTYPES[meta["dtype"]])
    flat = torch.frombuffer(content, dtype=DTYPES[meta["dtype"]])
    # torch refuses a view beyond these bytes.
    return flat.as_strided(sizes, strides, int(meta["storage_offset"]["as_int"])).clone()


def _shape(sizes: Any) -> Shape:
    """Sizes as numbers; a symbolic size becomes that of the example input of the export."""
    return tuple(int(size["as_int"] if "as_int" in size else size["as_expr"]["hint"]["as_int"]) for size in sizes)
