"""What is done before a network, compared with the pipelines of transformers, timm and torchvision themselves."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import BlindspaceError, FileError, UnsupportedLayerError
from blindspace.extras import library
from blindspace.networks import _load
from blindspace.networks.preprocessing_modules import FlipChannels, Normalise
from blindspace.networks.sources.pictures import Pipeline, per_pixel, whole
from blindspace.networks.sources.raw_model import RawModel
from processor_cases import (
    PROCESSORS,
    SQUARE,
    TIMM,
    answer,
    apart,
    levels,
    made,
    photograph,
    write_network,
    write_processor,
    write_timm,
)

EXACT = 1e-5
"""Relative difference of the outputs from the library's pipeline on real numbers, in float32."""

IN_BYTES = 0.02
"""The same on a picture in bytes, which the libraries round as they resize."""


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")


@pytest.fixture(autouse=True)
def quiet() -> None:
    if find_spec("transformers") is not None:
        logging = library("transformers", "hf").utils.logging
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()


# --- folders of transformers -------------------------------------------------------------------------------


@needs("transformers")
@needs("torchvision")
@pytest.mark.parametrize("name", PROCESSORS)
def test_every_processor_does_what_the_library_does(name: str, tmp_path: Path) -> None:
    processor = write_processor(tmp_path, name)
    picture = photograph()
    pixels = levels(picture)
    network = bs.load(f"hf:{tmp_path}", tuple(pixels.shape), preprocess="hf")
    found = network.outputs(pixels[None] / 255)
    real = made(processor, pixels, input_data_format="channels_first")
    assert apart(found, answer(tmp_path, real)) <= EXACT
    assert apart(found, answer(tmp_path, made(processor, picture))) <= IN_BYTES
    # Without the resize and the crop, an image of the network's own size.
    network = bs.load(f"hf:{tmp_path}")
    picture = photograph(*network.input_shape[1:])
    moves = [flag for flag in ("do_resize", "do_center_crop", "do_pad") if getattr(processor, flag, None)]
    if name != "Owlv2":  # it cannot leave out the resize
        theirs = made(processor, picture, **dict.fromkeys(moves, False))
        assert apart(network.outputs(levels(picture)[None] / 255), answer(tmp_path, theirs)) <= EXACT


def folder(path: Path, files: dict[str, Any], shape: tuple[int, ...] = (3, 32, 32)) -> Path:
    """A folder with a network and the given files, beside its config.json."""
    write_network(path, shape)
    for name, content in files.items():
        (path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return path


PLAIN: dict[str, Any] = {**SQUARE, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
VIT = {**PLAIN, "image_processor_type": "ViTImageProcessor"}
CLIP = {"size": 32, "crop_size": 32}

FILES: dict[str, dict[str, Any]] = {
    "flags left out": {"preprocessor_config.json": VIT},
    "flags that are null": {"preprocessor_config.json": {**VIT, "do_normalize": None}},
    "resample left out": {"preprocessor_config.json": {**VIT, "do_resize": True, "do_normalize": True}},
    "no type: that of the network": {"preprocessor_config.json": PLAIN},
    "size alone": {"preprocessor_config.json": {"size": 32}},
    "one number": {"preprocessor_config.json": {**VIT, "image_mean": 0.5, "image_std": 0.25}},
    "size as a list": {"preprocessor_config.json": {**VIT, "size": [32, 32]}},
    "fast type": {"preprocessor_config.json": {**VIT, "image_processor_type": "ViTImageProcessorFast"}},
    "old type": {"preprocessor_config.json": {**CLIP, "feature_extractor_type": "CLIPFeatureExtractor"}},
    "type of NumPy": {"preprocessor_config.json": {**VIT, "image_processor_type": "ViTImageProcessorPil"}},
    "unknown keys": {"preprocessor_config.json": {**VIT, "do_something_else": True, "colour": "blue"}},
    "nested": {"processor_config.json": {"image_processor": {**CLIP, "image_processor_type": "CLIPImageProcessor"}}},
    "nested counts": {
        "preprocessor_config.json": {**VIT, "image_mean": 0.1},
        "processor_config.json": {"image_processor": VIT, "processor_class": "CLIPProcessor"},
    },
    "not nested does not count": {"preprocessor_config.json": VIT, "processor_config.json": {"processor_class": "X"}},
    "code that is not run": {"preprocessor_config.json": {**VIT, "auto_map": {"AutoImageProcessor": "evil.Evil"}}},
}


@needs("transformers")
@needs("torchvision")
@pytest.mark.parametrize("case", FILES)
def test_files_mean_what_they_mean_to_the_library(case: str, tmp_path: Path) -> None:
    folder(tmp_path, {**FILES[case], "evil.py": "raise SystemExit"})
    auto = library("transformers", "hf").AutoImageProcessor
    processor = auto.from_pretrained(tmp_path, local_files_only=True, trust_remote_code=False)
    picture = photograph(32, 32)
    theirs = answer(tmp_path, made(processor, picture))
    found = bs.load(f"hf:{tmp_path}").outputs(levels(picture)[None] / 255)
    assert apart(found, theirs) <= EXACT
    picture = photograph()
    pixels = levels(picture)
    shape = tuple(pixels.shape)
    real = answer(tmp_path, made(auto.from_pretrained(tmp_path, backend="torchvision"), pixels))
    for spec in ("hf", str(tmp_path), str(tmp_path / next(iter(FILES[case])))):
        if case in ("nested counts", "type of NumPy") and spec != "hf":
            continue  # of a file that is given, what lies beside it does not count
        network = bs.load(f"hf:{tmp_path}", shape, preprocess=spec)
        assert apart(network.outputs(pixels[None] / 255), real) <= EXACT


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"preprocessor_config.json": "{"}, "is damaged"),
    ({"preprocessor_config.json": "[]"}, "contains no JSON object"),
    ({"preprocessor_config.json": "[" * 100_000}, "is damaged"),
    ({"preprocessor_config.json": {}}, "is no config of an image processor: it states nothing"),
    (
        {"preprocessor_config.json": {"architectures": ["ViT"], "image_size": 32, "model_type": "vit"}},
        "is no config of an image processor: it states architectures, image_size, model_type",
    ),
    ({"processor_config.json": {"image_processor": ["ViT"]}}, "is no config of an image processor"),
    ({"preprocessor_config.json": {**VIT, "image_processor_type": "NoImageProcessor"}}, "states no image processor"),
    ({"preprocessor_config.json": {**VIT, "image_processor_type": 3}}, "states no image processor"),
    ({"preprocessor_config.json": {**VIT, "size": "large"}}, "states no image processor"),
    ({"preprocessor_config.json": {**VIT, "image_mean": [0.5, 0.5]}}, "ViTImageProcessor of"),
    ({"preprocessor_config.json": {**VIT, "image_std": [0.5, 0.5, 0]}}, "ViTImageProcessor of"),
    ({"preprocessor_config.json": {**VIT, "image_mean": None, "image_std": "wide"}}, "ViTImageProcessor of"),
    ({"preprocessor_config.json": {**VIT, "rescale_factor": 0}}, "ViTImageProcessor of"),
    (
        {
            "preprocessor_config.json": {
                **SQUARE,
                "image_processor_type": "ImageGPTImageProcessor",
                "clusters": [[0] * 3],
            }
        },
        "ImageGPTImageProcessor of",
    ),
    (
        {"preprocessor_config.json": {"do_normalize": True, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}},
        "states no image processor",
    ),
    ({"preprocessor_config.json": {"image_processor_type": "Pix2StructImageProcessor"}}, "instead of pixel_values"),
    (
        {"preprocessor_config.json": {"image_processor_type": "Qwen2VLImageProcessor"}},
        "which its network does not read",
    ),
]


@needs("transformers")
@pytest.mark.parametrize(("files", "message"), REFUSED)
def test_folders_that_are_refused(files: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder(tmp_path, files)
    for shape, preprocess in ((None, None), ((3, 40, 50), "hf"), ((3, 40, 50), str(tmp_path))):
        with pytest.raises(FileError) as caught:
            bs.load(f"hf:{tmp_path}", shape, preprocess=preprocess)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "spell the preprocessing out" in str(caught.value)
    # What is spelled out needs no file.
    bs.load(f"hf:{tmp_path}", (3, 32, 32), preprocess="normalise 0.5 0.5 0.5 / 0.5 0.5 0.5")


@needs("transformers")
@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ({}, "none.json", "does not exist; give a preprocessor_config.json"),
        ({}, "", "contains no preprocessor_config.json and no processor_config.json"),
        ({"a.json": PLAIN}, "a.json", "states no image_processor_type, and no config.json beside it says"),
        ({"a.json": {"image_processor": PLAIN}}, "a.json", "states no image_processor_type"),
        ({"a.json": {"name": "value"}}, "a.json", "is no config of an image processor: it states name;"),
        ({"a.json": {**VIT, "resample": 4}}, "a.json", "ViTImageProcessor of"),  # the library cannot, with tensors
        ({"a.json": {**VIT, "do_resize": True, "resample": 99}}, "a.json", "ViTImageProcessor of"),
    ],
)
def test_files_that_are_refused(files: dict[str, Any], given: str, message: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(FileError) as caught:
        bs.load(nn.Flatten(), (3, 40, 50), preprocess=str(tmp_path / given))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@needs("transformers")
@needs("torchvision")
def test_a_file_serves_any_network(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(VIT))
    pixels = levels(photograph())
    network = bs.load(nn.Flatten(), tuple(pixels.shape), preprocess=path)
    processor = library("transformers", "hf").ViTImageProcessor(**PLAIN)
    assert apart(network.outputs(pixels[None] / 255), made(processor, pixels)) <= EXACT
    # What it cannot see is harmless, in bytes as well as in real numbers.
    space = bs.harmless(network)
    assert space.dim == pixels.numel() - 3 * 32 * 32
    moved = pixels + 200 * space.sample(1, torch.Generator().manual_seed(0))[0].float()
    assert apart(made(processor, moved), made(processor, pixels)) <= EXACT


@needs("transformers")
def test_a_network_of_grey_images(tmp_path: Path) -> None:
    config = {**SQUARE, "image_processor_type": "ViTImageProcessor", "image_mean": [0.4], "image_std": [0.3]}
    folder(tmp_path, {"preprocessor_config.json": config}, (1, 32, 32))
    processor = library("transformers", "hf").AutoImageProcessor.from_pretrained(tmp_path)
    for size, preprocess in (((32, 32), None), ((50, 40), "hf")):
        picture = photograph(size[0], size[1], 1)
        network = bs.load(f"hf:{tmp_path}", (1, *size) if preprocess else None, preprocess=preprocess)
        theirs = answer(tmp_path, made(processor, picture))
        assert apart(network.outputs(levels(picture)[None] / 255), theirs) <= IN_BYTES


@needs("transformers")
def test_videos_and_patches_are_normalised_where_their_channels_are(tmp_path: Path) -> None:
    transformers = library("transformers", "hf")
    small = {"hidden_size": 12, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 12}
    statistics = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.2, 0.4, 0.8]}
    mean, std = (torch.tensor(statistics[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    config = transformers.TimesformerConfig(**small, image_size=32, num_frames=3)
    transformers.TimesformerModel(config).save_pretrained(tmp_path / "video")
    model = transformers.TimesformerModel.from_pretrained(tmp_path / "video").eval()
    x = torch.rand(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model((x - mean) / std).last_hidden_state
    transformers.VideoMAEImageProcessor(**statistics).save_pretrained(tmp_path / "video")
    assert apart(bs.load(f"hf:{tmp_path / 'video'}").outputs(x), expected) <= EXACT
    # The processor of videos comes before that of images.
    transformers.VideoMAEImageProcessor().save_pretrained(tmp_path / "video")
    transformers.VideoMAEVideoProcessor(**statistics).save_pretrained(tmp_path / "video")
    network = bs.load(f"hf:{tmp_path / 'video'}")
    assert apart(network.outputs(x), expected) <= EXACT
    with pytest.raises(FileError, match="VideoMAEVideoProcessor of"):
        bs.load(f"hf:{tmp_path / 'video'}", (3, 40, 40), preprocess="hf")
    config = transformers.Siglip2VisionConfig(**small, num_patches=4, patch_size=16)
    transformers.Siglip2VisionModel(config).save_pretrained(tmp_path / "patches")
    transformers.Siglip2ImageProcessor(**statistics, max_num_patches=4).save_pretrained(tmp_path / "patches")
    network = bs.load(f"hf:{tmp_path / 'patches'}")
    (step,) = network.module.get_submodule("preprocessing").children()
    assert isinstance(step, Normalise)
    patches = torch.rand(2, 4, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    expected = (patches - mean.view(3)) / std.view(3)
    assert torch.allclose(step(patches.flatten(2)), expected.flatten(2), atol=1e-5)


class ImageAndMore(nn.Module):
    def forward(self, image: Tensor, more: Tensor) -> Tensor:
        return torch.cat([image.flatten(1).cumsum(1), more.flatten(1).cumsum(1)], 1)


@pytest.mark.parametrize("varied", [["image"], ["more"], ["more", "image"]])
def test_what_was_published_is_done_to_the_image_alone(varied: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the image is held at a value, or varies with others."""
    steps = (Normalise([0.5], [0.25]),)
    source = RawModel("a network", ImageAndMore(), varied=("image",), normalise=lambda: steps)
    monkeypatch.setattr(_load, "_source", lambda *_: source)
    values = {"image": torch.full((1, 2, 2), 0.75), "more": torch.full((3,), 2.0)}
    held = {name: value for name, value in values.items() if name not in varied}
    network = bs.load("a network", vary={name: values[name].shape for name in varied}, fix=held)
    x = values[varied[0]][None] if len(varied) == 1 else torch.cat([values[name].flatten() for name in varied])[None]
    assert network.outputs(x).tolist() == [[1, 2, 3, 4, 2, 4, 6]]


# --- folders and names of timm -----------------------------------------------------------------------------


def theirs_of_timm(network: nn.Module, name: str, picture: Image.Image) -> tuple[Tensor, Tensor]:
    """The outputs of timm's whole pipeline on a picture, and of its last step alone."""
    timm = library("timm", "timm")
    config = timm.data.resolve_data_config({"input_size": (3, 32, 32), **TIMM[name]})
    transform = timm.data.create_transform(**config, is_training=False)
    with torch.no_grad():
        return network(transform(picture)[None]), network(transform.transforms[-1](levels(picture) / 255)[None])


@needs("timm")
@needs("transformers")
@pytest.mark.parametrize("name", TIMM)
def test_every_config_of_timm_does_what_timm_does(name: str, tmp_path: Path) -> None:
    model = write_timm(tmp_path, name)
    channels = TIMM[name].get("input_size", [3])[0]
    picture = photograph(channels=channels)
    pixels = levels(picture)
    network = bs.load(f"timm:{tmp_path}", tuple(pixels.shape), preprocess="timm")
    assert apart(network.outputs(pixels[None] / 255), theirs_of_timm(model, name, picture)[0]) <= IN_BYTES
    # transformers wraps such a folder.
    for source in ("timm", "hf"):
        network = bs.load(f"{source}:{tmp_path}")
        own = photograph(network.input_shape[1], network.input_shape[2], channels)
        assert apart(network.outputs(levels(own)[None] / 255), theirs_of_timm(model, name, own)[1]) <= EXACT


@needs("timm")
def test_other_numbers_of_channels_get_the_average_as_in_timm() -> None:
    timm = library("timm", "timm")
    adapted = library("timm.data.loader", "timm").adapt_to_chs
    network = bs.load("timm:test_resnet[in_chans=1]", random_weights=True)
    assert network.input_shape == (1, 160, 160)
    config = timm.data.resolve_model_data_config(network.module.get_submodule("network"))
    (step,) = network.module.get_submodule("preprocessing").children()
    assert isinstance(step, Normalise)
    assert step.mean.tolist() == pytest.approx(adapted(config["mean"], 1))
    assert step.std.tolist() == pytest.approx(adapted(config["std"], 1))


# --- torchvision -------------------------------------------------------------------------------------------


@needs("torchvision")
def test_videos_and_flow_of_torchvision() -> None:
    models = library("torchvision.models", "torchvision")
    network = bs.load("torchvision:mc3_18", (3, 2, 32, 32), random_weights=True)
    video = torch.rand(1, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs = models.video.MC3_18_Weights.DEFAULT.transforms()
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (theirs.mean, theirs.std))
    module = network.module.get_submodule("network")
    with torch.no_grad():
        assert apart(network.outputs(video), module((video - mean) / std)) <= EXACT
    flow = bs.load("torchvision:raft_small", random_weights=True)
    first, second = torch.rand(2, 1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    raft = next(part for part in flow.module.modules() if type(part).__name__ == "RAFT")
    with torch.no_grad():
        expected = torch.cat([each.flatten(1) for each in raft(2 * first - 1, 2 * second - 1)], 1)
        found = flow.outputs(torch.cat([first.flatten(1), second.flatten(1)], 1))
    assert apart(found, expected) <= 1e-3


# --- exported programs that read bytes ---------------------------------------------------------------------


class Bytes(nn.Module):
    """A network that reads pictures in bytes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x.to(torch.float32) / 255)
        return found


class Wrapping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Bytes beyond 255 begin at 0 again."""
        return (x + x).float().flatten(1)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(300, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.table(x).sum(1)
        return found


def exported(module: nn.Module, x: Tensor, path: Path) -> Path:
    torch.export.save(torch.export.export(module.eval(), (x,)), path)
    return path


def test_bytes_are_read_as_real_numbers_if_that_is_asked_for(tmp_path: Path) -> None:
    module = Bytes()
    path = exported(module, torch.zeros(1, 3, 8, 8, dtype=torch.uint8), tmp_path / "bytes.pt2")
    for given in (path, torch.export.load(path)):
        with pytest.raises(UnsupportedLayerError, match=r"reads uint8 and not .* --preprocess 'scale 255'"):
            bs.load(given)
    network = bs.load(path, (3, 8, 8), preprocess="scale 255")
    levels = torch.randint(0, 256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert apart(network.outputs(levels / 255), module(levels.to(torch.uint8))) <= EXACT
    assert bs.harmless(network).dim == 3 * 64 - 4 * 4


@pytest.mark.parametrize(
    ("module", "example", "message"),
    [
        (Wrapping(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "does something else to uint8 than to real numbers"),
        (Words(), torch.zeros(1, 3, dtype=torch.int64), "reads images (channels, height, width)"),
        (nn.Sequential(nn.Flatten(1), Words()), torch.zeros(1, 1, 2, 2, dtype=torch.int64), "reads int64, and no real"),
    ],
)
def test_integers_that_are_no_real_numbers(module: nn.Module, example: Tensor, message: str, tmp_path: Path) -> None:
    path = exported(module, example, tmp_path / "integers.pt2")
    with pytest.raises(UnsupportedLayerError, match="not floating-point numbers"):
        bs.load(path)
    with pytest.raises(BlindspaceError) as caught:
        bs.load(path, tuple(example.shape[1:]), preprocess="scale 255")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- code of any library -----------------------------------------------------------------------------------


def tensor(picture: Any) -> Tensor:
    return torch.from_numpy(picture.astype("float32")).permute(2, 0, 1)[None] / 255


def test_colours_are_measured() -> None:
    assert per_pixel(Pipeline("code", tensor), 3) == ()
    (step,) = per_pixel(Pipeline("code", lambda p: 4 * tensor(p) - 1), 3)
    assert isinstance(step, Normalise)
    assert torch.allclose(step.mean, torch.full((3,), 0.25))
    assert torch.allclose(step.std, torch.full((3,), 0.25))
    (flip,) = per_pixel(Pipeline("code", lambda p: tensor(p).flip(1)), 3)
    assert isinstance(flip, FlipChannels)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (lambda p: tensor(p).square(), "does more to colours than an affine map"),
        (lambda p: tensor(p).clamp(0.2, 0.8), "does more to colours than an affine map"),
        (lambda p: tensor(p).mean(1, keepdim=True).expand(1, 3, -1, -1), "mixes the channels"),
        (lambda p: tensor(p)[:, [0, 0, 0]], "puts the channels in the order [0, 0, 0]"),
        (lambda p: tensor(p)[:, [1, 2, 0]], "puts the channels in the order [1, 2, 0]"),
        (lambda p: 0 * tensor(p), "mixes the channels of colours, or drops one"),
        (lambda p: tensor(p).flatten(), "makes patches"),
        (lambda p: p.no_such_thing, "cannot be applied"),
        (lambda p: tensor(p) * float("nan"), "does more to colours"),
    ],
)
def test_colours_that_are_refused(code: Any, message: str) -> None:
    with pytest.raises(FileError) as caught:
        per_pixel(Pipeline("code", code), 3)
    assert message in str(caught.value)


def half(x: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(x[None], 2)


@pytest.mark.parametrize(
    ("of_bytes", "of_levels", "message"),
    [
        (lambda p: half(tensor(p)[0]), None, "reads bytes alone"),
        (lambda p: half(tensor(p)[0]), lambda x: half(x / 255).square(), "is not affine"),
        (lambda p: half(tensor(p)[0]), lambda x: half(x / x.max()), "code"),
        (lambda p: half(tensor(p)[0]), lambda x: half(x / 255) * (1 if x.sum() > 9 else 2), "cannot be followed"),
        # Something else is done to bytes: another scale, a shift by one pixel, a flip.
        (lambda p: half(tensor(p)[0]), half, "makes something else of bytes"),
        (lambda p: half(tensor(p)[0].roll(1, -1)), lambda x: half(x / 255), "makes something else of bytes"),
        (lambda p: half(tensor(p)[0].flip(-1)), lambda x: half(x / 255), "makes something else of bytes"),
        (lambda p: half(tensor(p)[0])[0], half, "which its network does not read"),
    ],
)
def test_code_that_is_refused(of_bytes: Any, of_levels: Any, message: str) -> None:
    with pytest.raises(BlindspaceError) as caught:
        whole(Pipeline("code", of_bytes, of_levels), (3, 30, 40))
    assert message in str(caught.value)


def test_rounding_to_bytes_is_allowed() -> None:
    steps = whole(
        Pipeline("code", lambda p: half(tensor(p)[0] * 255).round() / 255, lambda x: half(x / 255)), (3, 30, 40)
    )
    x = torch.rand(2, 3, 30, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.avg_pool2d(x, 2)
    assert torch.allclose(nn.Sequential(*steps).double()(x), expected, atol=1e-6)
