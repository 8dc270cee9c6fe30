"""Weights of .safetensors files, whole or in parts, put into a module."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...errors import FileError, first_line

SUFFIX, INDEX = ".safetensors", ".safetensors.index.json"
"""Endings of a file of weights, and of one that lists in which files the weights lie."""

WRAPPERS = ("module", "_orig_mod")
"""Names that torch.nn.DataParallel and torch.compile put before those of weights."""

SPELLINGS = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
"""Names of the two parts of a weight norm, newer and older."""

COUNTER = "num_batches_tracked"
"""The counter of a batch norm, which only training reads and old files do not have."""

LISTED = 3
"""Number of names of weights in a message."""


def load_weights(module: nn.Module, path: Path, name: str, remedy: str = "") -> None:
    """Load weights into a module; they must be all of the module's weights and no others.

    Names may differ by what ``DataParallel``, ``torch.compile`` or a class around the network put before them. Of
    weights that the module or the file ties together, one is enough. Numbers are converted to the module's dtype.

    Args:
        module: Module that receives the weights.
        path: A ``.safetensors`` file, a ``.safetensors.index.json`` beside the files that it lists, or their folder.
        name: Name of the network.
        remedy: Advice in the message about a missing file.

    Raises:
        FileError: A file is missing, damaged or belongs to another network; the message names weights that differ.
    """
    state = _read(path, name, remedy)
    own = module.state_dict(keep_vars=True)
    spelled = _matched(list(state), list(own))
    fitting = {spelled.get(key, key): value for key, value in state.items()}
    known = {key: value for key, value in fitting.items() if key in own}
    there = {id(own[key]): value for key, value in known.items()}
    shapes = [
        f"{key} {tuple(x.shape)} for {tuple(own[key].shape)}" for key, x in known.items() if x.shape != own[key].shape
    ]
    kinds = [f"{key} {x.dtype} for {own[key].dtype}" for key, x in known.items() if _kind(x) != _kind(own[key])]
    apart = [
        key for key, x in known.items() if x.shape == there[id(own[key])].shape and not _equal(x, there[id(own[key])])
    ]
    for what, differ in (
        ("of another shape", shapes),
        ("of another type", kinds),
        ("tied to others but not equal", apart),
    ):
        if differ:
            raise FileError(f"{path} is damaged or not of {name} ({_some(what, differ)})")
    missing = [key for key, tensor in own.items() if not key.endswith(COUNTER) and id(tensor) not in there]
    unknown = [key for key in fitting if key not in own and not key.endswith(COUNTER)]
    adapters = [key for key in unknown if "lora_" in key]
    if adapters:
        raise FileError(
            f"{path} is an adapter ({_some('of its weights', adapters)}) and no network; merge it into the network "
            "and save all weights"
        )
    try:
        found = module.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        raise FileError(f"{path} is damaged or not of {name} ({first_line(error)})") from error
    missing = [key for key in missing if key in found.missing_keys]  # hooks of torch know further spellings
    unknown = [key for key in unknown if key in found.unexpected_keys]
    if missing or unknown:
        reasons = "; ".join(filter(None, [_some("missing", missing), _some("not known to it", unknown)]))
        raise FileError(f"{path} is damaged or not of {name} ({reasons})")


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    """Whether numbers are real, and whether they are complex; whole ones are neither."""
    return tensor.is_floating_point(), tensor.is_complex()


def _equal(tensor: Tensor, other: Tensor) -> bool:
    return tensor is other or bool(((tensor == other) | (tensor.isnan() & other.isnan())).all())


# --- files -----------------------------------------------------------------------------------------------------


def _read(path: Path, name: str, remedy: str) -> dict[str, Tensor]:
    """The weights of one file, or of those that an index lists."""
    if path.is_dir():
        path = _in_folder(path)
    if path.name.endswith(INDEX):
        return _parts(path)
    if path.suffix != SUFFIX:
        raise FileError(
            f"{path} is not a .safetensors file{remedy or '; save the weights with safetensors.torch.save_file'}"
        )
    if not path.is_file():
        raise FileError(f"{path} does not exist{remedy or '; give the .safetensors file of ' + name}")
    return _tensors(path, name)


def _in_folder(folder: Path) -> Path:
    """The index in a folder, or else its only file of weights."""
    found = sorted(folder.glob(f"*{INDEX}")) or sorted(folder.glob(f"*{SUFFIX}"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found[:LISTED]) or "none"
        raise FileError(f"{folder} holds {len(found)} files of weights ({names}); name one .safetensors file")
    return found[0]


def _parts(index: Path) -> dict[str, Tensor]:
    """The weights in the files that an index lists; they stand beside it."""
    try:
        places = json.loads(index.read_text("utf-8"))["weight_map"]
        if not isinstance(places, dict) or not all(isinstance(each, str) for each in places.values()):
            raise TypeError("its weight_map is no mapping from names to files")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"{index} lists no files of weights ({first_line(error)})") from error
    state: dict[str, Tensor] = {}
    for file in dict.fromkeys(places.values()):
        path = index.parent / file
        if Path(file).name != file or path.suffix != SUFFIX:
            raise FileError(f"{index} lists {file!r}, which is no .safetensors file beside it")
        if not path.is_file():
            raise FileError(f"{index} lists {file}, which is missing; put it into {index.parent}")
        state |= _tensors(path, index.name)
    lacking = [key for key in places if key not in state]
    if lacking:
        raise FileError(f"the files that {index} lists lack {_some('of its weights', lacking)}")
    return state


def _tensors(path: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a file; what its header calls another name of one that is kept has that one's numbers."""
    try:
        with safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
            aliases = file.metadata() or {}
    except (SafetensorError, RuntimeError, OSError) as error:
        raise FileError(f"{path} is damaged or not of {name} ({first_line(error)})") from error
    return {alias: state[kept] for alias, kept in aliases.items() if kept in state and alias not in state} | state


# --- names -----------------------------------------------------------------------------------------------------


def _matched(given: list[str], own: list[str]) -> dict[str, str]:
    """The name in a module of each weight in a file that has one."""
    plain, theirs = _by_plain_name(own), _by_plain_name(given)
    best: dict[str, str] = {}
    for ours in (plain, _within(plain)):
        for found in (theirs, _within(theirs)):
            both = {name: ours[key] for key, name in found.items() if key in ours}
            if len(both) > len(best):
                best = both
    return best


def _by_plain_name(names: Iterable[str]) -> dict[str, str]:
    """Names by their plain forms, without wrappers and in one spelling."""
    found: dict[str, str] = {}
    for name in names:
        plain = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        for newer, older in SPELLINGS.items():
            plain = plain.removesuffix(newer) + older if plain.endswith(newer) else plain
        found.setdefault(plain, name)
    return found


def _within(names: Mapping[str, str]) -> dict[str, str]:
    """Plain names without the first part, if it is the same for all: an attribute that holds the whole network."""
    firsts = {plain.partition(".")[0] for plain in names}
    return {plain.partition(".")[2]: name for plain, name in names.items()} if len(firsts) == 1 else dict(names)


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} {what}: {', '.join(names[:LISTED])}{', …' * (len(names) > LISTED)}"
