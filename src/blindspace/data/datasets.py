"""Loading of the known data sets from any of their usual file layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import BlindspaceError, FileError, UnknownNameError, did_you_mean
from ..files import home
from .cifar import read_binaries, read_pickles, read_sheets
from .classes import CLASSES
from .idx import read_idx
from .imageset import Bytes, ImageSet, Labels
from .svhn import read_svhn

Split = Literal["train", "test"]
Layout = tuple[list[Path], Callable[[], tuple[Bytes, Labels]]]
"""The files of a layout, and the function that reads images and labels from them."""

NAMES: tuple[str, ...] = tuple(CLASSES)
_BY_HAND = {
    "cifar100": "put its folder cifar-100-python or cifar-100-binary there by hand",
    "svhn": "put train_32x32.mat and test_32x32.mat there by hand",
}


def load(name: str, split: Split, root: Path | None = None) -> ImageSet:
    """Load one split of a data set from its folder; nothing is downloaded and no pickle is run.

    Args:
        name: One of ``NAMES``.
        split: ``train`` or ``test``.
        root: Folder that contains the files, directly or in the subfolders that torchvision makes;
            ``home()/"data"/name``, the folder of ``fetch``, if None.

    Returns:
        The images, uint8 ``(N, C, H, W)``, and labels, int64 ``(N,)``, in the order of the files.

    Raises:
        UnknownNameError: There is no such data set or split.
        FileError: The files are missing, incomplete or damaged.
    """
    if name not in CLASSES:
        raise UnknownNameError(
            f"no data set is called {name!r}{did_you_mean(name, NAMES)}; known are {', '.join(NAMES)}"
        )
    if split not in ("train", "test"):
        raise UnknownNameError(f"no split is called {split!r}; known are train, test")
    folder = home() / "data" / name if root is None else Path(root)
    for files, read in _layouts(name, folder, split):
        missing = [path for path in files if not path.is_file()]
        if len(missing) == len(files):
            continue
        if missing:
            raise FileError(f"{missing[0]} is missing, though {name}'s other files are there; put it back")
        images, labels = read()
        try:
            return ImageSet(name, images, labels, CLASSES[name])
        except BlindspaceError as error:
            raise FileError(f"{files[0].parent} is damaged: {error}") from error
    remedy = _BY_HAND.get(name, f"run: blindspace data get {name}")
    raise FileError(f"no {name} {split} files in {folder} or its usual subfolders; {remedy}")


def _layouts(name: str, root: Path, split: str) -> list[Layout]:
    """The layouts of a data set, in the order in which they are looked for."""
    match name:
        case "cifar10":
            batches = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
            sheets = [root / f"{batch}.png" for batch in batches]
            labels = root / f"{split}_lables.json"  # the spelling of the package
            layouts: list[Layout] = [([*sheets, labels], lambda: read_sheets(sheets, labels))]
            for folder in (root, root / "cifar-10-batches-py"):
                layouts.append(_pickles([folder / batch for batch in batches], "labels"))
            for folder in (root, root / "cifar-10-batches-bin"):
                layouts.append(_binaries([folder / f"{batch}.bin" for batch in batches], 1))
            return layouts
        case "cifar100":
            pickles = [_pickles([folder / split], "fine_labels") for folder in (root, root / "cifar-100-python")]
            return pickles + [_binaries([folder / f"{split}.bin"], 2) for folder in (root, root / "cifar-100-binary")]
        case "svhn":
            file = root / f"{split}_32x32.mat"
            return [([file], lambda: read_svhn(file))]
    parts = ("", "raw", "MNIST/raw" if name == "mnist" else "FashionMNIST/raw")
    return [_ubytes(root / part, split, suffix) for part in parts for suffix in ("", ".gz")]


def _pickles(files: list[Path], key: str) -> Layout:
    return files, lambda: read_pickles(files, key)


def _binaries(files: list[Path], label_bytes: int) -> Layout:
    return files, lambda: read_binaries(files, label_bytes)


def _ubytes(folder: Path, split: str, suffix: str) -> Layout:
    stem = "train" if split == "train" else "t10k"
    pictures, targets = folder / f"{stem}-images-idx3-ubyte{suffix}", folder / f"{stem}-labels-idx1-ubyte{suffix}"
    return [pictures, targets], lambda: (read_idx(pictures, 3)[:, None], read_idx(targets, 1).astype(np.int64))
