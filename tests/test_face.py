"""The face of the package: its names, what its functions accept, and one line of error for everything else."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.attacks.foreign import autoattack, foolbox
from blindspace.cli.commands import NAMES
from blindspace.learning import SetSettings
from blindspace.maps import as_linear_map
from blindspace.networks import Named, Recipe
from blindspace.subspaces import Subspace, nearest, norms

SHAPE = (1, 4, 4)


# --- names ------------------------------------------------------------------------------------------------


def test_nothing_is_imported_before_it_is_used() -> None:
    code = "import sys, blindspace as bs; assert 'torch' not in sys.modules; [getattr(bs, name) for name in bs.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_names_are_the_same_for_type_checkers_and_at_run_time() -> None:
    tree = ast.parse(Path(bs.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == sorted(bs.__all__) == list(bs.__all__)
    assert {*bs.__all__, "__version__"} == set(dir(bs))
    with pytest.raises(AttributeError, match="no attribute 'nullspaces'"):
        bs.nullspaces  # noqa: B018


@pytest.mark.parametrize("command", NAMES)
def test_every_command_is_a_function_of_the_same_name(command: str) -> None:
    found = getattr(bs, command.replace("-", "_"))
    # The functions of these are ``bench.run.bench`` and ``data.fetch``. ``bs.manifold`` makes the manifold by which the
    # command of that name splits perturbations, and ``bs.on_off`` splits them.
    packages = {"bench": bs.bench, "data": bs.data}
    assert inspect.isfunction(found) or found is packages[command]


@pytest.mark.parametrize("name", bs.__all__)
def test_every_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(bs, name))


# --- what stands for an operator --------------------------------------------------------------------------

CONV = nn.Conv2d(1, 2, 3).requires_grad_(False)
MODEL: Any = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).requires_grad_(False)
SPACE = bs.nullspace(CONV, SHAPE)
X = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
Y = torch.zeros(2, dtype=torch.int64)
BOX = torch.ones_like(X)
SET = SetSettings(Named("mnist-mlp"), "uniform", count=1, steps=1)
RELU = nn.ReLU()
LEARNER: Any = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
ONCE = Recipe("mnist", 1, 2)


@pytest.mark.parametrize("verb", [bs.nullspace, bs.rowspace, bs.soft_dimension, bs.spectrum, bs.harmless, bs.front])
def test_everything_that_stands_for_an_operator_is_accepted(verb: Callable[..., Any]) -> None:
    network = bs.load(CONV, SHAPE)
    given = (network, SPACE, as_linear_map(CONV, SHAPE))
    found = [verb(CONV, input_shape=SHAPE), *(verb(each) for each in given)]
    shown = [each.dim if isinstance(each, Subspace) else str(each) for each in found]
    assert len(set(shown)) == 1


def test_attacks_take_networks_and_whatever_stands_for_a_subspace() -> None:
    network = bs.load(MODEL, SHAPE)
    attacks: list[Callable[..., Any]] = [
        bs.fgsm,
        partial(bs.pgd, steps=3),
        partial(bs.simba, queries=20),
        partial(bs.nes, queries=20, pairs=3),
    ]
    for x in (X, X.double()):
        module = network.module if x.dtype == torch.float32 else network.double
        for attack in attacks:
            torch.manual_seed(0)
            expected = attack(module, x, Y, 0.1, subspace=SPACE)
            torch.manual_seed(0)
            found = attack(network, x, Y, 0.1, subspace=SPACE.annihilator())
            assert found.images.dtype == x.dtype
            assert torch.equal(found.images, expected.images)


# --- what is refused --------------------------------------------------------------------------------------

WRONG: dict[str, Any] = {
    "None": None,
    "number": 3,
    "negative": -1.5,
    "NaN": float("nan"),
    "text": "text",
    "list": [1.0, 2.0],
    "tuple": (2,),
    "dictionary": {},
    "array": np.zeros((2, 3)),
    "integers": torch.zeros(2, 3, dtype=torch.int64),
    "scalar": torch.tensor(1.0),
    "shape": torch.zeros(5, 7),
    "module": nn.Linear(16, 2),
    "class": nn.Linear,
    "space": SPACE,
}


def _no_path(wrong: Any) -> Any:
    """A wrong argument in the place of a path; text would be one."""
    return 3 if isinstance(wrong, str) else wrong


NUMBER, COUNT = ("number", "scalar"), ("number",)

CALLS: dict[str, tuple[Callable[[Any], object], tuple[str, ...]]] = {
    "nullspace": (bs.nullspace, ("space",)),
    "nullspace-shape": (lambda w: bs.nullspace(CONV, w), ()),
    "rowspace": (bs.rowspace, ("space",)),
    "span": (bs.span, ("shape",)),
    "soft_dimension": (bs.soft_dimension, ("space",)),
    "soft_dimension-shape": (lambda w: bs.soft_dimension(CONV, w), ()),
    "soft_dimension-thresholds": (lambda w: bs.soft_dimension(SPACE, thresholds=w), ("list", "tuple")),
    "pixel_energy": (bs.pixel_energy, ("space",)),
    "pixel_energy-probes": (lambda w: bs.pixel_energy(SPACE, w), COUNT),
    "smallest_window": (bs.smallest_window, ("space",)),
    "smallest_window-values": (lambda w: bs.smallest_window(SPACE, w), COUNT),
    "spectrum": (bs.spectrum, ("space",)),
    "spectrum-points": (lambda w: bs.spectrum(SPACE, points=w), COUNT),
    "harmless": (bs.harmless, ("space",)),
    "front": (bs.front, ("space",)),
    "from_module": (lambda w: bs.from_module(w, (16,)), ("module",)),
    "from_module-shape": (lambda w: bs.from_module(CONV, w), ()),
    "project": (SPACE.project, ()),
    "call": (SPACE, ()),
    "reject": (SPACE.reject, ()),
    "split": (SPACE.split, ()),
    "residual": (SPACE.residual, ()),
    "energy": (SPACE.energy, ()),
    "contains": (SPACE.contains, ()),
    "contains-tol": (lambda w: SPACE.contains(X, w), ("None", *NUMBER)),
    "sample": (SPACE.sample, COUNT),
    "sample-generator": (lambda w: SPACE.sample(2, w), ("None",)),
    "sample-dtype": (lambda w: SPACE.sample(2, None, w), ()),
    "basis": (lambda w: SPACE.basis(w), ()),
    "to": (SPACE.to, ()),
    "and": (lambda w: SPACE & w, ("space",)),
    "add": (lambda w: SPACE + w, ("space",)),
    "nearest": (lambda w: nearest(w, SPACE, -BOX, BOX), ()),
    "nearest-subspace": (lambda w: nearest(X, w, -BOX, BOX), ("None", "space")),
    "nearest-low": (lambda w: nearest(X, SPACE, w, BOX), ()),
    "nearest-radius": (lambda w: nearest(X, SPACE, -BOX, BOX, w), NUMBER),
    "nearest-norm": (lambda w: nearest(X, SPACE, -BOX, BOX, 1.0, w), ()),
    "nearest-tolerance": (lambda w: nearest(X, SPACE, -BOX, BOX, tolerance=w), NUMBER),
    "nearest-iterations": (lambda w: nearest(X, SPACE, -BOX, BOX, iterations=w), COUNT),
    "nearest-memory": (lambda w: nearest(X, SPACE, -BOX, BOX, memory=w), COUNT),
    "norms": (lambda w: norms(w, "l2"), ("shape",)),
    "pgd-steps": (lambda w: bs.pgd(MODEL, X, Y, steps=w), COUNT),
    "pgd-random-start": (lambda w: bs.pgd(MODEL, X, Y, random_start=w), NUMBER),
    "nes-queries": (lambda w: bs.nes(MODEL, X, Y, queries=w), COUNT),
    "nes-pairs": (lambda w: bs.nes(MODEL, X, Y, queries=20, pairs=w), COUNT),
    "nes-sigma": (lambda w: bs.nes(MODEL, X, Y, queries=60, sigma=w), NUMBER),
    "simba-queries": (lambda w: bs.simba(MODEL, X, Y, queries=w), COUNT),
    "simba-directions": (
        lambda w: bs.simba(MODEL, X, Y, queries=5, directions=w),
        ("None", "module", "class", "space"),
    ),
    "sparse-model": (lambda w: bs.sparse(w, X, Y, 2), ("module", "space")),
    "sparse-images": (lambda w: bs.sparse(MODEL, w, Y, 2), ()),
    "sparse-labels": (lambda w: bs.sparse(MODEL, X, w, 2), ()),
    "sparse-count": (lambda w: bs.sparse(MODEL, X, Y, w), COUNT),
    "sparse-steps": (lambda w: bs.sparse(MODEL, X, Y, 2, w), ("None", *COUNT)),
    "sparse-step-size": (lambda w: bs.sparse(MODEL, X, Y, 2, step_size=w), NUMBER),
    "mislabel-model": (lambda w: bs.mislabel(w, X, Y, steps=1), ("module", "space")),
    "mislabel-images": (lambda w: bs.mislabel(MODEL, w, Y), ()),
    "mislabel-targets": (lambda w: bs.mislabel(MODEL, X, w), ()),
    "mislabel-attack": (lambda w: bs.mislabel(MODEL, X, Y, w), ()),
    "mislabel-eps": (lambda w: bs.mislabel(MODEL, X, Y, eps=w), ("None", *NUMBER)),
    "mislabel-steps": (lambda w: bs.mislabel(MODEL, X, Y, steps=w), ("None", *COUNT)),
    "mislabel_set": (lambda w: bs.mislabel_set(w, "nowhere"), ()),
    "mislabel_set-target": (lambda w: bs.mislabel_set(SET, _no_path(w), workers=0), ()),
    "mislabel_set-workers": (lambda w: bs.mislabel_set(SET, Path(__file__), workers=w), ()),
    "mislabel_set-engine": (lambda w: bs.mislabel_set(SET, Path(__file__), engine=w), ()),
    "read_set": (bs.read_set, ()),
    "learn-network": (lambda w: bs.learn(w, X, Y, ONCE), ()),
    "learn-images": (lambda w: bs.learn(LEARNER, w, Y, ONCE), ()),
    "learn-targets": (lambda w: bs.learn(LEARNER, X, w, ONCE), ()),
    "learn-recipe": (lambda w: bs.learn(LEARNER, X, Y, w), ()),
    "learn-test": (lambda w: bs.learn(LEARNER, X, Y, ONCE, w), ("None",)),
    "harmless_set": (lambda w: bs.harmless_set(w, X), ()),
    "harmless_set-values": (lambda w: bs.harmless_set(RELU, w), ("array", "shape")),
    "harmless_set-tol": (lambda w: bs.harmless_set(RELU, X, w), NUMBER),
    "harmless_set-project": (bs.harmless_set(RELU, X).project, ()),
    "harmless_polyhedron": (lambda w: bs.harmless_polyhedron(w, X[0]), ()),
    "harmless_polyhedron-image": (lambda w: bs.harmless_polyhedron(MODEL, w), ()),
    "nonlinearities": (bs.nonlinearities, ()),
    "units": (lambda w: bs.units(w, X), ()),
    "units-images": (lambda w: bs.units(MODEL, w), ()),
    "units-batch-size": (lambda w: bs.units(MODEL, X, batch_size=w), COUNT),
    "foolbox": (lambda w: foolbox("LinfPGD", MODEL, w, Y, 0.1), ()),
    "autoattack": (lambda w: autoattack("fab", MODEL, w, Y, 0.1), ()),
}
"""Calls with an argument left open, each with those of the wrong arguments that are right for it."""


def _attack_calls(attack: Any, **few: int) -> None:
    """Add the calls of an attack, with few steps or queries."""
    run = partial(attack, **few)

    def add(name: str, call: Callable[[Any], object], *right: str) -> None:
        CALLS[f"{attack.__name__}-{name}"] = (call, right)

    add("model", lambda w: run(w, X, Y), "module", "space")
    add("images", lambda w: run(MODEL, w, Y))
    add("labels", lambda w: run(MODEL, X, w))
    add("eps", lambda w: run(MODEL, X, Y, w), *NUMBER)
    add("norm", lambda w: run(MODEL, X, Y, norm=w))
    add("subspace", lambda w: run(MODEL, X, Y, subspace=w), "None", "space")
    if attack is not bs.fgsm:
        default = () if attack is bs.simba else ("None",)
        add("generator", lambda w: run(MODEL, X, Y, generator=w), "None")
        add("step-size", lambda w: run(MODEL, X, Y, step_size=w), *default, *NUMBER)


_attack_calls(bs.fgsm)
_attack_calls(bs.pgd, steps=2)
_attack_calls(bs.nes, queries=20, pairs=2)
_attack_calls(bs.simba, queries=5)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_wrong_arguments_are_refused_in_one_line(name: str) -> None:
    call, right = CALLS[name]
    for kind, wrong in WRONG.items():
        if kind in right:
            continue
        with pytest.raises(bs.BlindspaceError) as error:
            call(wrong)
        assert len(str(error.value).splitlines()) == 1, f"{kind}: {error.value}"


@pytest.mark.parametrize("name", CALLS)
def test_right_arguments_are_not(name: str) -> None:
    call, right = CALLS[name]
    for kind in right:
        if not name.endswith(("-model", "-directions")):  # callable, but no model of these images
            call(WRONG[kind])


# --- in notebooks -----------------------------------------------------------------------------------------


class Cells(HTMLParser):
    """The text of every cell, in order; every element that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag in ("td", "th", "caption", "p"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells[-1] += data


def shown(result: Any) -> list[str]:
    return Cells(result._repr_html_()).cells


def test_results_show_themselves_in_notebooks() -> None:
    cells = shown(SPACE)
    assert cells[0] == "Nullspace"
    assert "8 of 16 (50.0%)" in cells
    assert str(SPACE.certificate) in cells
    cells = shown(SPACE.certificate)
    assert (cells[0], cells[cells.index("rank") + 1]) == ("Certificate", "8")
    assert cells[cells.index("sigma below") + 1] == "–"
    network = bs.load(nn.Sequential(CONV, nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)), SHAPE)
    cells = shown(bs.verify(network, X, X))
    assert (cells[0], cells[cells.index("labels changed") + 1]) == ("Evidence", "0")
    found = dataclasses.replace(bs.audit(network), model="<script>alert(1)</script>")
    assert "<script>" not in found._repr_html_()
    cells = shown(found)
    assert (
        cells[0]
        == "<script>alert(1)</script> cannot see 50\N{NO-BREAK SPACE}% of what you feed it: certified for every input."
    )
    assert cells[1].startswith("Of the 16 independent ways to change ")
    assert "Affine front of <script>alert(1)</script>" in cells
    assert "8 of 16" in cells
    assert {"Conv2d", "Linear"} <= set(cells)


def returned(function: Callable[..., Any]) -> Any:
    """The class that a function says it returns; None of one that only type checkers import."""
    written = SimpleNamespace(__annotations__={"return": function.__annotations__.get("return")})
    try:
        return get_type_hints(written, inspect.unwrap(function).__globals__)["return"]
    except NameError:
        return None


def results() -> dict[str, type]:
    """Every class of the face, or that a function of the face returns, whose results have ``to_dict``."""
    found: dict[str, type] = {}
    for name in bs.__all__:
        thing = getattr(bs, name)
        made = returned(thing) if inspect.isfunction(thing) else thing
        for each in [made, *getattr(made, "__args__", ())]:
            if inspect.isclass(each) and hasattr(each, "to_dict"):
                found[each.__name__] = each
    return found


NO_RESULTS = {"SetSettings", "Recipe"}
"""What functions take, and some return as well."""


def test_every_result_shows_itself() -> None:
    found = results()
    assert len(found) > 20
    assert not [name for name, each in found.items() if not hasattr(each, "_repr_html_") and name not in NO_RESULTS]


def test_results_without_a_table_of_their_own() -> None:
    cells = shown(bs.pixel_energy(SPACE))
    assert cells[0] == "PixelEnergy"
    assert cells[cells.index("kind") + 1] == "exact"
    assert cells[cells.index("shape") + 1] == "1, 4, 4"
    cells = shown(bs.spectrum(SPACE))
    assert any(cell.endswith(" values") for cell in cells)
    cells = shown(bs.smallest_window(SPACE))
    assert cells[cells.index("certificate kind") + 1] == "exact"
