"""Run registries on the CPU and on another device, and print as JSON what differs: ``"NAME and NAME" DEVICE``."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import blindspace as bs
import second_device
from blindspace.cli.main import run
from blindspace.data import write_png
from blindspace.experiments.keeping import folder_of, read_part
from blindspace.experiments.registry import experiment
from blindspace.experiments.runner import run as reproduce
from cases import CASES, Case
from makers import MAKERS, SHAPE, pictures
from measurements import MEASUREMENTS

OF_A_SPACE = ("harmless_noise", "keyed", "least_harmful", "PGDAdversary")
"""Makers that are given no image, so that what they make lies where the space does, and one that its test moves."""

AGAIN = (
    "perturb largest",
    "perturb noise",
    "perturb keyed",
    "perturb parallel",
    "perturb family",
    "decoy",
    "perturb largest in range",
)
"""Makers that run in another form too, whose turn on a slow device is saved."""

ON_CUDA_ALONE = ("foolbox", "on_off of an autoencoder", "bench")
"""What cannot run on the second device: foolbox knows torch's own tensors alone, forward derivatives of a module pass
through tensors without values, and the bytes that a solver holds are those of storages, which that device lacks."""

FILES = ("leakage", "level_set", "harmless_polyhedron")
"""What gives its images on the CPU: those of a report, a path in a file, and a set that SciPy solves for."""

CLOSE = 1e-6


def same(here: Any, there: Any, path: str, device: torch.device | None) -> Iterator[str]:
    """What differs of two results, and images that do not lie on the device."""
    if isinstance(here, Tensor):
        if device is not None and here.shape[1:] == SHAPE and there.device != device:
            yield f"{path} lies on {there.device}"
        if not torch.allclose(here.double(), there.cpu().double(), rtol=0, atol=CLOSE, equal_nan=True):
            yield f"{path} differs"
    elif isinstance(here, float):
        if abs(here - there) > CLOSE:
            yield f"{path}: {here} and {there}"
    elif is_dataclass(here):
        for each in fields(here):
            yield from same(getattr(here, each.name), getattr(there, each.name), f"{path}.{each.name}", device)
    elif isinstance(here, list | tuple):
        for number, (one, other) in enumerate(zip(here, there, strict=True)):
            yield from same(one, other, f"{path}[{number}]", device)
    elif isinstance(here, dict):
        for name in here:
            yield from same(here[name], there[name], f"{path}[{name}]", device)
    elif isinstance(here, int | str) and here != there:
        yield f"{path}: {here} and {there}"


def of_map(case: Case) -> Callable[[Tensor], Any]:
    """The products with a map and the projections onto its nullspace, of a batch of its inputs."""
    module, shape = case.make()
    operator, space = bs.from_module(module, shape), bs.nullspace(module, shape)

    def compute(x: Tensor) -> Any:
        v = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x)
        found = operator.forward(v), operator.adjoint(operator.forward(v)), space.project(v), space.reject(v)
        assert {each.device for each in found} == {x.device}
        return found

    return compute


def of_command(words: str) -> Callable[[Tensor], Any]:
    """The exit code of a command and the arrays that it writes."""

    def compute(x: Tensor) -> Any:
        Path("out.npz").unlink(missing_ok=True)
        for made in ("set", "protected", "inspected") if words.startswith(("mislabel", "protect", "inspect")) else ():
            shutil.rmtree(made, ignore_errors=True)
        code = run([*words.split(), "--device", str(x.device)])
        assert code in (0, 1), "refused"  # on both devices alike, which would compare nothing
        written = dict(np.load("out.npz")) if Path("out.npz").is_file() else {}
        return [code, {name: torch.from_numpy(array) for name, array in written.items() if array.dtype.kind == "f"}]

    return compute


COMMANDS = (
    "perturb digits.npz -m mnist-mlp -o out.npz",
    "perturb digits.npz -m mnist-mlp -o out.npz --kind parallel --mask 2,1,27,20",
    "verify digits.npz brighter.npz -m mnist-mlp",
    "audit mnist-mlp",
    "local mnist-mlp digits.npz -k 2 -o out.npz",
    "units mnist-mlp digits.npz",
    "identify mnist-mlp --among mnist-mlp",
    "inspect digits.npz -m mnist-mlp",
    "inspect digits -m mnist-mlp --out inspected --reference usual --workers 0 --false-positives 0.1",
    "leakage digits.npz digits.npz -m mnist-mlp",
    "manifold digits.npz --manifold pca --fit digits.npz --dim 2 --perturbed digits.npz",
    "mislabel mnist-mlp mnist:samples -o set --count 8 --steps 2 --workers 0",
    "learn set -n mlp@mnist --epochs 1",
    "protect digits protected -m mnist-mlp --workers 0",
)


EXPERIMENTS = ("dmm-ilyas", "fig4", "lfp-boundary", "lfp-few", "lfp-onoff", "lfp-success")
"""Experiments of a few seconds: attacks, subspaces, tangent spaces, training, exact solutions."""

PRODUCTS = ("aten.addmm.default", "aten.convolution.default", "aten.mm.default", "aten.bmm.default")
"""What networks and subspaces consist of."""


def of_experiment(name: str, exact: bool) -> Callable[[Tensor], Any]:
    """What the parts of an experiment keep, or the shapes of it on a device that rounds in a way of its own."""

    def compute(x: Tensor) -> Any:
        made, place, before = experiment(name), str(x.device), second_device.ran.copy()
        reproduced = reproduce(made, "smoke", Path("results"), device=place, fresh=True)
        assert reproduced.settings["device"] == place
        if place.startswith(second_device.NAME):
            assert any(str(op) in PRODUCTS for op in second_device.ran - before), "nothing ran on the device"
        files = sorted(folder_of(made, made.settings_on(place, "smoke", 0)).iterdir())
        kept = {file.stem: read_part(file)[0] for file in files}
        if not exact:
            return {part: {key: list(array.shape) for key, array in each.arrays.items()} for part, each in kept.items()}
        return {part: [each.values | {"network": None}, each.arrays] for part, each in kept.items()}

    return compute


def registry(name: str, device: torch.device) -> dict[str, Callable[[Tensor], Any]]:
    """The functions of a registry, by name."""
    if name == "maps":
        return {case.id: of_map(case) for case in CASES}
    if name == "commands":
        digits = bs.data.samples("mnist").tensor(torch.float64)[:3].numpy()
        np.savez("digits.npz", images=digits)
        np.savez("brighter.npz", images=(digits + 0.1).clip(0, 1))
        for number, image in enumerate(bs.data.samples("mnist").tensor()[:2]):
            write_png(Path(f"digits/{number}.png"), image.numpy())
        for number, image in enumerate(bs.data.samples("mnist").tensor()[100:125]):
            write_png(Path(f"usual/{number}.png"), image.numpy())
        return {words: of_command(words) for words in COMMANDS}
    exact = device.type == second_device.NAME
    if name == "experiments":
        return {each: of_experiment(each, exact) for each in EXPERIMENTS}
    if name == "tabs":
        import app_tabs  # which needs Gradio

        return {"tabs": app_tabs.of_tabs(exact)}
    every: dict[str, Callable[[Tensor], Any]] = {**MAKERS} if name == "makers" else MEASUREMENTS
    left = ON_CUDA_ALONE * (device.type == second_device.NAME)
    return {key: function for key, function in every.items() if key not in AGAIN and not key.startswith(left)}


def main(names: str, device: torch.device) -> dict[str, Any]:
    """What differs, by the name of the function; and how many were compared."""
    wrong: dict[str, list[str]] = {}
    every = [(name, *entry) for name in names.split(" and ") for entry in registry(name, device).items()]
    for name, key, function in every:
        results: list[Any] = []
        for place in (torch.device("cpu"), device):
            torch.manual_seed(0)
            try:
                results.append(function(pictures().to(place)))
            except Exception as error:  # of any kind is a finding
                wrong[key] = [f"on {place}: {type(error).__name__}: {str(error)[:200]}"]
                break
        else:
            must = None if key.split()[0] in (*OF_A_SPACE, *FILES) or name not in ("makers", "measurements") else device
            here, there = results
            found = list(same(here, there, "", must))
            wrong.update({key: found} if found else {})
    return {"compared": len(every), "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], torch.empty(0, device=sys.argv[2]).device)))
    sys.stdout.flush()
    os._exit(0)  # the threads of derivatives on the second device do not end by themselves
