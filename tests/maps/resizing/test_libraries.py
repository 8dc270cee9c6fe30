"""Each resizer compared with its library, on images of random sizes; libraries that are not installed are skipped."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
import tensorflow_answers
from onnx.reference import ReferenceEvaluator
from PIL import Image

from blindspace.experiments.common.resize_libraries import LIBRARIES, Library, onnx_model
from blindspace.experiments.resizers.measure import left_out
from blindspace.maps.resizing import opencv, pillow
from blindspace.maps.resizing.onnx_standard import ROUNDINGS, onnx_matrix, onnx_nearest
from blindspace.maps.resizing.registry import RESIZERS, Resizer, resizer

Array = np.ndarray
Size = tuple[int, int]

SIZES: list[tuple[Size, Size]] = [
    ((64, 48), (16, 12)),
    ((40, 52), (17, 23)),
    ((9, 14), (23, 8)),
    ((7, 10), (20, 33)),
    ((1, 9), (3, 2)),
    ((9, 1), (2, 1)),
    ((13, 5), (13, 11)),
]
"""Up and down, one axis alone, and single pixels; random ones come on top."""

each_resizer = pytest.mark.parametrize("each", RESIZERS.values(), ids=RESIZERS.keys())


@cache
def library(name: str) -> Library:
    if LIBRARIES[name].version is None:
        pytest.skip(f"{name} is not installed")
    return LIBRARIES[name]


def sizes(number: int, seed: int) -> list[tuple[Size, Size]]:
    draw = np.random.default_rng(seed)
    drawn = draw.integers(1, 40, (number, 4))
    return [*SIZES, *(((int(a), int(b)), (int(c), int(d))) for a, b, c, d in drawn)]


def by_map(each: Resizer, image: Array, size: Size) -> Array:
    vertical, horizontal = each.matrices(image.shape, size)
    return np.asarray(vertical.numpy() @ image @ horizontal.numpy().T)


@each_resizer
def test_the_map_is_the_library_s_own_in_floating_point(each: Resizer) -> None:
    run = library(each.library).real
    if run is None:
        pytest.skip(f"{each.library} has images of eight bits alone")
    draw = np.random.default_rng(0)
    for before, after in sizes(13, 1):
        if left_out(each, before, after):
            continue
        image = draw.uniform(-1, 1, before).astype(np.float32).astype(np.float64)
        gap = np.abs(by_map(each, image, after) - run(each.mode, image, after)).max()
        assert gap <= library(each.library).digits, (before, after)


@each_resizer
def test_eight_bits_stay_within_the_stated_bound(each: Resizer) -> None:
    run = library(each.library).eight_bit
    if run is None or each.eight_bit == "refused by torch":
        pytest.skip(f"{each.name} has no eight-bit images of its own")
    draw = np.random.default_rng(2)
    for before, after in sizes(13, 3):
        if left_out(each, before, after):
            continue
        image = draw.integers(100, 156, before).astype(np.uint8)  # grey enough that no pass is clipped
        gap = np.abs(by_map(each, image.astype(np.float64), after) - run(each.mode, image, after)).max()
        assert gap <= each.bound + 2e-3, (before, after)


# --- options beyond the registry ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", pillow.PIL_FILTERS)
@pytest.mark.parametrize("gap", [None, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("box", [None, (3.25, 2.5, 46.0, 30.75)])
def test_pillow_s_box_and_reducing_gap(
    mode: str, gap: float | None, box: tuple[float, float, float, float] | None
) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (33, 47)).astype(np.float32)
    way = Image.Resampling[mode.upper()]
    for height, width in ((5, 7), (3, 20), (40, 4)):
        expected = np.asarray(Image.fromarray(image).resize((width, height), way, box, gap))
        rows, columns = ((box[1], box[3]), (box[0], box[2])) if box else (None, None)
        vertical = pillow.pil_matrix(33, height, mode, rows, gap).numpy()
        horizontal = pillow.pil_matrix(47, width, mode, columns, gap).numpy()
        assert np.abs(vertical @ image @ horizontal.T - expected).max() <= 1e-6


COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic", *(f"nearest {rounding}" for rounding in ROUNDINGS)])
def test_the_formulas_of_the_standard_are_those_of_its_reference(coordinates: str, mode: str) -> None:
    kind, _, rounding = mode.partition(" ")
    for size, out in ((16, 4), (11, 4), (7, 19), (5, 1), (1, 3), (23, 14)):
        model = onnx_model(f"{kind} {coordinates}" + f" {rounding}" * bool(rounding), (1, out))
        image = np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)
        if coordinates == "pytorch_half_pixel" and out == 1:
            continue  # the reference reads at −1/2, the standard's text and onnxruntime at 0
        (found,) = list(ReferenceEvaluator(model).run(None, {"x": image[None, None, None]}))
        if rounding:
            matrix = onnx_nearest(size, out, out / size, coordinates, rounding)
        else:
            matrix = onnx_matrix(size, out, kind, out / size, coordinates)
        assert np.abs(matrix.numpy() @ image - np.ravel(found)).max() <= 1e-6, (size, out)


def test_onnx_models_are_valid() -> None:
    for each in RESIZERS.values():
        if each.library == "onnx":
            onnx.checker.check_model(onnx_model(each.mode, (3, 4)))


# --- TensorFlow, which is not among the libraries of the tests ---------------------------------------------


@pytest.mark.parametrize("name", tensorflow_answers.NAMES)
def test_tensorflow_s_answers_as_kept(name: str) -> None:
    """The file is written by tensorflow_answers.py, which names the version."""
    answers = np.load(tensorflow_answers.ANSWERS)
    assert len(answers) == len(tensorflow_answers.NAMES)
    found = [
        by_map(resizer(name), tensorflow_answers.image(number), after).ravel()
        for number, (_, after) in enumerate(tensorflow_answers.SIZES)
    ]
    assert np.abs(np.concatenate(found) - answers[tensorflow_answers.NAMES.index(name)]).max() <= 1e-6


# --- what surprises ----------------------------------------------------------------------------------------


def test_opencv_leaves_out_slivers_of_pixels() -> None:
    """By area, parts of a pixel up to 1/1000 are left out, so that a white image is not quite white."""
    (_, horizontal) = opencv.opencv_area((4, 4003), (1, 1001))
    assert 1e-5 < float((1 - horizontal.sum(1)).abs().max()) < 1e-3


def test_chromium_and_libvips_round_positions() -> None:
    for name, phases in (("chromium low", 16), ("libvips linear", None)):
        _, horizontal = resizer(name).matrices((1, 30), (1, 14))
        if phases:
            assert np.array_equal((horizontal * phases).round(), horizontal * phases)
        assert np.allclose(horizontal.sum(1), 1)
