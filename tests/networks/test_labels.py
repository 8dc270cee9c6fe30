"""What the label of an input is, for networks of every form of output, compared with the rule spelled out by hand."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import BlindspaceError, UnknownNameError, ValueRangeError
from blindspace.extras import library
from blindspace.networks.labels import Answers, count_changed, decide, share
from blindspace.networks.outputs import ALONE, Found

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """A small network with a number of scores, in the form that is given."""

    def __init__(self, scores: int, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(16, scores)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.head(self.body(x)))


class HouseRegressor(Net):
    """One number that is a quantity, by the name of its class."""


def made(scores: int, form: Callable[[Tensor], Any], kind: type[Net] = Net) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = kind(scores, form).eval()
        images = torch.rand(64, *SHAPE)
    with torch.no_grad():  # about half of the images of a batch lie on either side
        network.head.bias.add_(0.01 - network.head(network.body(images)).median(0).values)
    return network


def first(y: Tensor) -> Tensor:
    return y.argmax(1)


def sign(y: Tensor) -> Tensor:
    return (y[:, 0] > 0).long()


def none(y: Tensor) -> None:
    return None


FORMS: dict[str, tuple[int, Callable[[Tensor], Any], Callable[[Tensor], Tensor | None]]] = {
    "logits": (5, lambda y: y, first),
    "two logits": (2, lambda y: y, first),
    "a list of one": (5, lambda y: [y], first),
    "further axes of one": (5, lambda y: y[..., None, None], first),
    "without axes of one": (5, lambda y: y.squeeze(), first),
    "logits and a map": (5, lambda y: (y, y[:, :, None, None].expand(-1, -1, 2, 3)), first),
    "a map and logits": (5, lambda y: (y[:, :, None, None].expand(-1, -1, 2, 3), y), first),
    "features by name": (5, lambda y: {"features": -y.repeat(1, 3), "out": y}, first),
    "the pooler by name": (5, lambda y: {"pooler_output": -y, "last_hidden_state": y[:, None], "out": y}, first),
    "logits by name": (5, lambda y: {"a": -y, "logits": y}, first),
    "log-probabilities": (5, lambda y: y.log_softmax(1), first),
    "one logit": (1, lambda y: y, sign),
    "one flat logit": (1, lambda y: y[:, 0], sign),
    "one logit without axes of one": (1, lambda y: y.squeeze(), sign),
    "one logit scaled": (1, lambda y: y * 0.25, sign),
    "one logit and a map": (1, lambda y: (y[:, 0], y[:, :, None, None].expand(-1, 3, 4, 4)), sign),
    "one logit in tanh": (1, torch.tanh, sign),
    "a probability": (1, torch.sigmoid, sign),
    "a flat probability": (1, lambda y: y.sigmoid()[:, 0], sign),
    "the probability of one class": (1, lambda y: torch.cat([-y, y], 1).softmax(1)[:, 1], sign),
    "the probability of the other": (1, lambda y: 1 - (-y).sigmoid(), sign),
    "a label first": (5, lambda y: (y.argmax(1), y.softmax(1)), first),
    "a label last": (5, lambda y: (y.softmax(1), y.argmax(1)), first),
    "a label with an axis": (5, lambda y: (y.softmax(1), y.argmax(1, keepdim=True)), first),
    "a label alone": (5, lambda y: y.argmax(1), first),
    "a label of int32": (5, lambda y: {"label": y.argmax(1).int(), "p": y}, first),
    "a label that is true or false": (1, lambda y: (y, y[:, 0] > 0), sign),
    "a label by a rule of its own": (2, lambda y: {"p": y, "label": (y[:, 1] > 0.03).long()}, lambda y: y[:, 1] > 0.03),
    "a count beside logits": (5, lambda y: (y, (y > 0).sum(1)), first),
    "one number per batch": (5, lambda y: y.mean(), none),
    "a number that is not negative": (1, torch.relu, none),
    "a positive number": (1, nn.Softplus(), none),
    "a number between bounds": (1, lambda y: (10 * y).clamp(0, 6), none),
    "an average of what is not negative": (4, lambda y: y.relu().mean(1), none),
    "an average of logits": (4, lambda y: y.mean(1, keepdim=True), lambda y: (y.mean(1) > 0).long()),
    "a logarithm of a probability": (1, nn.LogSigmoid(), none),
    "two numbers": (2, lambda y: (y[:, :1], y[:, 1:]), none),
    "a map of classes": (5, lambda y: y[:, :, None, None].expand(-1, -1, 2, 3), none),
    "boxes": (8, lambda y: {"boxes": y.view(-1, 2, 4), "labels": y.view(-1, 2, 4).argmax(2)}, none),
    "features alone": (5, lambda y: {"last_hidden_state": y[:, None].expand(-1, 3, -1), "pooler_output": y}, none),
    "a picture": (192, lambda y: y.view(-1, *SHAPE), none),
    "complex numbers": (5, lambda y: torch.complex(y, y), none),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_label_of_every_form_of_output(name: str) -> None:
    scores, form, rule = FORMS[name]
    module = made(scores, form)
    network = bs.load(module, SHAPE)
    images = torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = rule(module.head(module.body(images)))
    answers = network.answers(images)
    assert torch.equal(answers.outputs, network.outputs(images))
    assert network.answers(images[:0]).outputs.shape == (0, *answers.outputs.shape[1:])
    if expected is None:
        assert answers.labels is None
        with pytest.raises(ValueRangeError, match="gives no labels: "):
            network.labels(images)
        evidence = bs.verify(network, images, images.flip(0))
        assert (evidence.labels_changed, evidence.labels()) == (None, "—")
        return
    assert len(expected.unique()) > 1, "the case decides nothing"
    assert torch.equal(network.labels(images), expected.long())
    assert torch.equal(network.labels(images[:1]), expected[:1].long())
    evidence = bs.verify(network, images, images.flip(0))
    assert evidence.labels_changed == int((expected != expected.flip(0)).sum())


def test_a_whole_number_beside_others_is_no_output_that_moves() -> None:
    network = bs.load(made(5, lambda y: (y.argmax(1), y)), SHAPE)
    images = torch.rand(20, *SHAPE)
    evidence = bs.verify(network, images, images.flip(0))
    assert evidence.labels_changed
    assert evidence.max_output_change < 1
    assert network.labelling.words == "written by the network as '0'"


def test_scores_follow_the_label() -> None:
    images = torch.rand(20, *SHAPE)
    for name in (
        "logits and a map",
        "one flat logit",
        "a probability",
        "a label first",
        "a label that is true or false",
    ):
        network = bs.load(made(*FORMS[name][:2]), SHAPE)
        scores = network.class_scores(network.outputs(images))
        assert scores.shape[1] >= 2
        assert torch.equal(scores.argmax(1), network.labels(images)), name
    for name in ("a label alone", "a map of classes", "a label by a rule of its own"):
        network = bs.load(made(*FORMS[name][:2]), SHAPE)
        with pytest.raises(ValueRangeError, match="scores of two classes or more are needed, but "):
            network.class_scores(network.outputs(images))


def test_what_the_user_states() -> None:
    images = torch.rand(4, *SHAPE)
    one, many = made(1, lambda y: y), made(5, lambda y: y)
    assert bs.load(one, SHAPE, labels="none").answers(images).labels is None
    assert bs.load(made(1, torch.relu), SHAPE, labels="sign").answers(images).labels is not None
    assert bs.load(bs.load(many, SHAPE), labels="none").answers(images).labels is None
    assert bs.load(made(*FORMS["features alone"][:2]), SHAPE, labels="argmax").labels(images).shape == (4,)
    with pytest.raises(ValueRangeError, match="the labels cannot be by argmax: its outputs are output 1 per input"):
        bs.load(one, SHAPE, labels="argmax")
    with pytest.raises(ValueRangeError, match="cannot be by sign"):
        bs.load(many, SHAPE, labels="sign")
    with pytest.raises(UnknownNameError, match="labels must be one of argmax, sign, none, or left out; got 'max'"):
        bs.load(many, SHAPE, labels="max")


def test_what_names_state() -> None:
    images = torch.rand(4, *SHAPE)
    house = bs.load(made(1, lambda y: y, HouseRegressor), SHAPE)
    assert house.answers(images).labels is None
    assert house.labelling.words == "it is called HouseRegressor"
    assert bs.load(made(1, lambda y: {"variable": y}), SHAPE).answers(images).labels is None
    decided = decide(Found({ALONE: torch.rand(3, 7)}), 3)
    assert (decided.kind, decided.words) == ("argmax", "the largest of 7 outputs")


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"num_labels": 3}, "argmax"),
        ({"num_labels": 1}, "none"),
        ({"num_labels": 3, "problem_type": "regression"}, "none"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, "none"),
        (None, "none"),
    ],
)
def test_what_a_config_states(given: dict[str, Any] | None, kind: str, tmp_path: Path) -> None:
    transformers = library("transformers", "hf")
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.ViTConfig(**size, image_size=8, patch_size=4, **(given or {}))
    make = transformers.ViTModel if given is None else transformers.ViTForImageClassification
    make(config).save_pretrained(tmp_path)
    network = bs.load(f"hf:{tmp_path}")
    assert network.labelling.kind == kind
    assert (network.answers(torch.rand(2, *SHAPE)).labels is None) == (kind == "none")


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
def test_timm_networks_without_classifier() -> None:
    images = torch.rand(2, 3, 224, 224)
    with_classes = bs.load("timm:test_vit3[img_size=224,num_classes=4]", random_weights=True)
    assert with_classes.labels(images).shape == (2,)
    without = bs.load("timm:test_vit3[img_size=224,num_classes=0]", random_weights=True)
    assert without.labelling.words == "it has no classifier"


SOFTMAX: list[Any] = [("Softmax", "y", "p", {"axis": 1}), ("ArgMax", "y", "label", {"axis": 1, "keepdims": 0})]
HEAD: list[Any] = [("Flatten", "x", "f", {}), ("MatMul", "f w", "y", {})]


def onnx_file(path: Path, nodes: list[Any], outputs: str, classes: int = 5) -> Path:
    onnx = pytest.importorskip("onnx")
    from onnx_cases import build

    weights = np.random.default_rng(0).standard_normal((192, classes)).astype(np.float32)
    onnx.save(build([*HEAD, *nodes], ["b", *SHAPE], {"w": weights - weights.mean(0)}, outputs), path)
    return path


@pytest.mark.parametrize("outputs", ["y", "p", "label p", "p label", "label", "label y p"])
def test_the_label_of_onnx_files_is_the_same_in_any_order(outputs: str, tmp_path: Path) -> None:
    images = torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(1))
    expected = bs.load(onnx_file(tmp_path / "y.onnx", [], "y")).outputs(images).argmax(1)
    assert len(expected.unique()) > 2
    network = bs.load(onnx_file(tmp_path / "other.onnx", SOFTMAX, outputs))
    assert torch.equal(network.labels(images), expected)
    if outputs != "label":
        assert network.outputs(images).shape == (20, 10 if "y p" in outputs else 5), "the label is no output that moves"
        assert torch.equal(network.class_scores(network.outputs(images)).argmax(1), expected)
    both = bs.load(tmp_path / "other.onnx", output=outputs.split())
    assert both.outputs(images).shape[1] == sum({"y": 5, "p": 5, "label": 1}[name] for name in outputs.split())
    assert torch.equal(both.labels(images), expected)


@pytest.mark.parametrize(
    ("op", "kind", "threshold"),
    [("Identity", "sign", 0.0), ("Sigmoid", "sign", 0.5), ("Relu", "none", 0.0), ("Exp", "none", 0.0)],
)
def test_one_number_of_an_onnx_file(op: str, kind: str, threshold: float, tmp_path: Path) -> None:
    nodes: list[Any] = [(op, "y", "z", {}), ("Flatten", "z", "out", {})]
    labelling = bs.load(onnx_file(tmp_path / "one.onnx", nodes, "out", 1)).labelling
    assert (labelling.kind, labelling.threshold) == (kind, threshold)


def test_counts_in_words() -> None:
    some = Answers(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    other = Answers(torch.zeros(3, 2), torch.tensor([0, 0, 0]))
    assert count_changed(some, other) == 2
    assert count_changed(some, Answers(torch.zeros(3, 2), None)) is None
    assert (share(2, 3), share(None, 3), share(0, 3)) == ("2 of 3", "—", "0 of 3")
    assert issubclass(ValueRangeError, BlindspaceError)


def test_few_inputs_decide_unless_the_network_may_state_labels() -> None:
    seen: list[int] = []

    def counted(form: Callable[[Tensor], Any]) -> bs.Network:
        def count(y: Tensor) -> Any:
            seen.append(len(y))
            return form(y)

        network = bs.load(made(5, count), SHAPE)
        assert network.takes_batches
        seen.clear()
        return network

    assert counted(lambda y: y).labelling.kind == "argmax"
    assert not seen  # the two inputs that showed whether it takes batches
    assert counted(lambda y: (y, y.argmax(1))).labelling.kind == "stated"
    assert max(seen) == 8


def test_functions_that_answer_with_one_number() -> None:
    network = bs.load(made(1, lambda y: y), SHAPE)
    images = torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(1))
    asked = bs.identify(lambda x: network.outputs(x), [network], images, size=0.3)
    assert asked.labels_changed == bs.identify(network, [network], images, size=0.3).labels_changed == (0,)
    assert asked.control_labels_changed == bs.identify(network, [network], images, size=0.3).control_labels_changed
    small = bs.identify(lambda x: network.outputs(x)[:, 0] / 40, [network], images, size=0.3)
    assert small.control_labels_changed == asked.control_labels_changed, "values in [0, 1] are no probabilities"
