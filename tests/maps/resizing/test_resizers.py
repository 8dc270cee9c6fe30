"""The registry of resizers: names, matrices, maps, and the preprocessing that names them."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from blindspace import networks
from blindspace.errors import BlindspaceError, ShapeError, UnknownNameError, ValueRangeError
from blindspace.maps import from_module
from blindspace.maps.operations import resize
from blindspace.maps.resizing.registry import LIBRARIES, RESIZERS, Resizer, modes, resizer
from blindspace.networks.sources.preprocessing import parse

each_resizer = pytest.mark.parametrize("each", RESIZERS.values(), ids=RESIZERS.keys())


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@each_resizer
def test_the_name_is_the_library_and_its_mode(each: Resizer) -> None:
    assert resizer(f"{each.library} {each.mode}") is each
    assert each.linear
    assert each.eight_bit
    assert each.bound >= 0


@each_resizer
@pytest.mark.parametrize(
    ("before", "after"), [((12, 17), (5, 7)), ((7, 5), (12, 11)), ((1, 6), (3, 1)), ((9, 9), (9, 3))]
)
def test_map_module_and_preprocessing_are_the_matrices(
    each: Resizer, before: tuple[int, int], after: tuple[int, int]
) -> None:
    vertical, horizontal = each.matrices(before, after)
    assert vertical.dtype == horizontal.dtype == torch.float64
    assert (vertical.shape, horizontal.shape) == ((after[0], before[0]), (after[1], before[1]))
    x = noise(2, 3, *before)
    expected = vertical @ x @ horizontal.T
    assert torch.allclose(each.map((3, *before), after).forward(x), expected, rtol=0, atol=1e-13)
    module = networks.Resize(after, each.mode, convention=each.library)
    height, width = after
    assert torch.allclose(from_module(module, (3, *before)).forward(x), expected, rtol=0, atol=1e-13)
    assert torch.allclose(module(x), expected, rtol=0, atol=1e-13)
    for spec in (
        f"{each.library} resize {height}x{width} {each.mode}",
        f"resize {height}x{width} {each.mode} {each.library}",
    ):
        (step,) = parse(spec)
        assert isinstance(step, networks.Resize)
        assert (step.mode, step.antialias, step.convention) == (module.mode, module.antialias, module.convention)


def test_resizers_travel_to_other_processes() -> None:
    for each in RESIZERS.values():
        (vertical, _), (expected, _) = (
            one.matrices((5, 7), (3, 4)) for one in (pickle.loads(pickle.dumps(each)), each)
        )
        assert torch.equal(vertical, expected)


def test_the_short_names_keep_their_meaning() -> None:
    for spec, expected in (
        ("resize 256", ("bilinear", True, "pil")),
        ("resize 256 bicubic", ("bicubic", True, "pil")),
        ("resize 256 bicubic torch", ("bicubic", True, "torch")),
        ("resize 256 bilinear no-antialias", ("bilinear", False, "torch")),
        ("resize 256 area", ("area", False, "torch")),
    ):
        (step,) = parse(spec)
        assert isinstance(step, networks.Resize)
        assert (step.mode, step.antialias, step.convention) == expected


def test_every_library_has_modes() -> None:
    assert LIBRARIES[:3] == ("pil", "torch", "onnx")
    assert sum(len(modes(library)) for library in LIBRARIES) == len(RESIZERS)


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (lambda: resizer("pil cubic"), UnknownNameError, "pil has no resize mode 'cubic'.*bicubic"),
        (lambda: resizer("gimp cubic"), UnknownNameError, "'gimp cubic'.*pil, torch"),
        (lambda: resizer("pil bicubc"), UnknownNameError, "did you mean pil bicubic"),
        (lambda: resizer("pil box").matrices((0, 4), (2, 2)), ShapeError, r"\(0, 4\)"),
        (lambda: resizer("pil box").map((4,), (2, 2)), ShapeError, r"\(4,\)"),
        (lambda: resize((3, 8, 8), (4, 4), "bilinear", convention="gimp"), UnknownNameError, "gimp.*pil"),
        (lambda: parse("onnx resize 256"), ValueRangeError, "modes of onnx.*linear asymmetric"),
        (lambda: parse("onnx resize 256 bicubic"), UnknownNameError, "onnx has no resize mode 'bicubic'"),
        (lambda: parse("resize 256 cubic"), UnknownNameError, "'cubic'.*bicubic.*onnx"),
        (lambda: parse("resize 256 bicubic torch pil"), ValueRangeError, "one library"),
        (lambda: parse("onnx crop 256"), UnknownNameError, "step"),
    ],
)
def test_refused_in_one_line(make: object, error: type[BlindspaceError], named: str) -> None:
    with pytest.raises(error, match=named) as found:
        make()  # type: ignore[operator]
    assert "\n" not in str(found.value)
