"""Every extra is named, in one line, by the command or function that misses one of its libraries."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import blindspace as bs
from blindspace.attacks.foreign import autoattack, foolbox
from blindspace.cli.main import run
from blindspace.collections import columns
from blindspace.errors import MissingExtraError
from blindspace.evidence import perceptual
from blindspace.extras import library, require
from blindspace.manifolds import intrinsic_dimension
from blindspace.networks.sources.pictures import Pipeline, whole

EXTRAS: dict[str, list[str]] = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]

MODULES = {
    "adversarial-robustness-toolbox": "art",
    "pypng": "png",
    "scikit-dimension": "skdim",
    "scikit-image": "skimage",
    "stlpips-pytorch": "stlpips_pytorch",
}
"""What a distribution is imported as, where that is not its name."""

LAZY = ("captum", "mkdocs-material", "mkdocstrings", "opencv-python-headless", "pyvips", "pyvips-binary")
"""Distributions that nothing asks for: attributions of captum, and resizes of OpenCV and libvips, are compared where
they are installed, and ``make docs`` runs the others."""

CASE = (bs.load(torch.nn.Flatten(), (1, 4, 4)).module, torch.rand(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))


def distributions(extra: str) -> list[str]:
    """Those of an extra itself, without those of the extras that it names."""
    found = [re.match(r"[\w-]+", requirement) for requirement in EXTRAS[extra]]
    return [match[0] for match in found if match and match[0] != "blindspace"]


NEEDED: dict[tuple[str, str], str | Callable[[], object]] = {
    ("plot", "matplotlib"): "audit mnist-mlp --no-layers --spectrum x.png",
    ("report", "jinja2"): "audit mnist-mlp --report page",
    ("report", "matplotlib"): "demo --out page",
    ("timm", "timm"): "audit timm:resnet18 --random-weights",
    ("hf", "transformers"): "audit hf:dinov2 --random-weights",
    # Without transformers, which once imported remembers for the process that there was no torchvision.
    ("hf", "torchvision"): lambda: whole(Pipeline("a processor of torchvision", lambda _: CASE[1]), (3, 40, 40)),
    ("torchvision", "torchvision"): "audit torchvision:resnet18 --random-weights",
    ("onnx", "onnx"): "audit network.onnx",
    ("onnx", "onnxruntime"): "audit network.onnx",
    ("keyed", "cryptography"): "perturb picture.png -o x.npz --kind keyed --key-file key",
    ("formats", "png"): "perturb picture.png --in-range -o new --format png16",
    ("formats", "tifffile"): "perturb picture.png --in-range -o new --format tiff",
    ("metrics", "torchmetrics"): "leakage picture.png picture.png",
    ("metrics", "stlpips_pytorch"): "leakage picture.png picture.png",
    ("metrics", "skimage"): "leakage picture.png picture.png",
    ("attacks", "foolbox"): lambda: foolbox("LinfPGD", *CASE, 0.1),
    ("attacks", "pyautoattack"): lambda: autoattack("apgd-ce", *CASE, 0.1),
    ("peers", "plenoptic"): "bench --directions",
    ("art", "art"): lambda: bs.clean_preprocessor(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)), (1, 4, 4)
    ),
    ("collections", "pyarrow"): "protect table.parquet out --workers 0",
    ("manifold", "skdim"): lambda: intrinsic_dimension(torch.rand(50, 9), "mle"),
    ("app", "gradio"): "app",
    ("ray", "ray"): "protect pictures out --engine ray",
}
"""What needs a library: words of the command line, or a call."""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    Path("key").write_text("a passphrase\n")
    Path("network.onnx").write_bytes(b"\x08\x08")
    Path("table.parquet").write_bytes(b"PAR1" + bytes(64) + b"PAR1")
    Path("pictures").mkdir()
    for name in ("picture.png", "pictures/picture.png"):
        Image.fromarray(np.full((32, 32, 3), 100, np.uint8)).save(name)
    caches: tuple[Any, ...] = (columns.arrow, perceptual._weights)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def written() -> set[Path]:
    """The files there are, but for the records by which a collection is resumed."""
    return {path for path in Path().rglob("*") if path.is_file() and ".blindspace" not in path.parts}


def hide(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a module, and what it consists of, as if it were not installed, here and in processes to come."""
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    # Processes that are started import anew, on the same path.
    Path("absent").mkdir()
    Path(f"absent/{module}.py").write_text("raise ImportError('not installed')")
    monkeypatch.syspath_prepend(Path("absent").absolute())


def test_every_library_of_every_extra_is_here() -> None:
    own = {
        (extra, MODULES.get(name, name))
        for extra in EXTRAS
        if extra != "dev"
        for name in distributions(extra)
        if name not in LAZY
    }
    assert own == set(NEEDED)


@pytest.mark.parametrize(("extra", "module"), NEEDED, ids=lambda each: each)
def test_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, extra: str, module: str
) -> None:
    hide(module, monkeypatch)
    before = written()
    needs = NEEDED[extra, module]
    if callable(needs):
        with pytest.raises(MissingExtraError) as caught:
            needs()
        message = str(caught.value)
    else:
        code = run(needs.split())
        message = capsys.readouterr().err.removesuffix("\n")
        assert code == 2, message
    assert message.endswith(f"pip install 'blindspace[{extra}]'")
    assert module.split(".")[0] in message
    assert "\n" not in message
    assert written() == before


def test_the_check_and_the_import_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (require, library):
        with pytest.raises(MissingExtraError, match=r"^a page needs no_such\.part: pip install 'blindspace\[plot\]'$"):
            each("no_such.part", "plot", "a page")
    require("torch.nn", "plot")
    assert library("torch.nn", "plot") is torch.nn


def test_libraries_are_imported_without_the_compiler_which_works_afterwards() -> None:
    _run("""
        library("timm", "timm")
        assert not [name for name in sys.modules if name.startswith("torch._dynamo")]
        from timm.models.naflexvit import NaFlexRopeIterator
        supported = sys.modules["torchvision.ops.roi_align"].is_compile_supported
        found = supported("cpu")
        import torch._dynamo.utils
        assert found == torch._dynamo.utils.is_compile_supported("cpu")
        assert not supported("meta")
        iterator = NaFlexRopeIterator.__new__(NaFlexRopeIterator)
        iterator._depth_idx = iterator.depth = 0
        assert list(iterator) == []  # by a method that is not to be compiled
    """)


def test_what_else_libraries_ask_of_the_compiler_they_find() -> None:
    _run("""
        with _compiler_postponed():
            from torch._dynamo.utils import counters, is_compile_supported
            assert sys.modules["torch._dynamo.utils"].counters is counters
            disabled = torch.compiler.disable(recursive=False)(lambda x: x + 1)
        import torch._dynamo
        assert torch._dynamo.utils.counters is counters
        assert is_compile_supported("cpu") == torch._dynamo.utils.is_compile_supported("cpu")
        assert disabled(1) == 2
    """)


def test_an_audit_imports_neither_the_compiler_nor_symbolic_algebra() -> None:
    """Normalisation, values added to a token each, and layers over so many tokens that torch is not run on them."""
    _run("""
        import blindspace as bs
        from torch import nn

        class Tokens(nn.Module):
            def __init__(self):
                super().__init__()
                self.at, self.layer = nn.Parameter(torch.rand(1, 1, 64)), nn.Linear(64, 2)

            def forward(self, x):
                return self.layer(x.reshape(1, -1, 64) + self.at).relu()

        from blindspace.networks.preprocessing_modules import Normalise
        pixels = nn.Sequential(Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)), nn.Conv2d(3, 8, 4, 4), nn.ReLU())
        assert bs.audit(pixels, (3, 8, 8)).space.dim == 160
        assert len(bs.networks.layers(bs.load(Tokens(), (17000, 64)))) == 1
        loaded = [name for name in ("torch._dynamo", "sympy", "torch.distributed.tensor") if name in sys.modules]
        assert not loaded, loaded
    """)


def _run(code: str) -> None:
    """Run code in a process of its own, at whose end torch's compiler has to work."""
    before = """
        import sys, torch
        from blindspace.extras import _compiler_postponed, library
        disable = torch.compiler.disable
    """
    after = """
        assert torch.compiler.disable is disable
        assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
    """
    subprocess.run([sys.executable, "-c", "\n".join(map(dedent, (before, code, after)))], check=True)
