"""What the experiments on learning from perturbations share: kept figures of sets and students, and their estimates."""

from __future__ import annotations

import pytest
import torch

from blindspace.experiments.common.classifier_cases import by_seed
from blindspace.experiments.common.classifiers import classifier
from blindspace.experiments.common.learning import (
    kept_set,
    kept_student,
    labelled_images,
    shares,
    student_recipe,
)
from blindspace.experiments.common.learnt import Learners, accuracies, by_class, null, over_epochs
from blindspace.experiments.parts import Kept, Settings
from blindspace.learning.perturbed import mislabel
from blindspace.learning.targets import random_targets
from blindspace.learning.training import learn

S = Settings("smoke", 0)


def test_shares() -> None:
    right = torch.tensor([True, False, True, True])
    assert shares(right, torch.tensor([0, 0, 3, 3])) == [0.5, None, None, 1.0, *[None] * 6]


def test_recipes_share_no_seed_with_first_networks() -> None:
    recipe = student_recipe(S, "mlp", "mnist", 3, 16, "mnist.mlp.0", "none")
    assert (recipe.epochs, recipe.batch_size, recipe.optimiser) == (3, 16, "adam")
    assert recipe.seed > 1000
    assert recipe.seed != student_recipe(S, "mlp", "mnist", 3, 16, "mnist.mlp.1", "none").seed
    assert not student_recipe(S, "convnet", "cifar10", 3, 16).flip


def test_kept_figures(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    x, y = labelled_images("mnist", Settings("smoke"), 60, "train")
    test = labelled_images("mnist", Settings("smoke"), 50)
    targets = random_targets(y, 10, torch.Generator().manual_seed(0))
    maker = classifier("mlp", "mnist", 0, Settings("smoke"))
    made = mislabel(maker, x, targets, "l2", 2.0, 3)
    of = kept_set(made)
    assert of["success"] == pytest.approx(float((maker.labels(made.images) == targets).double().mean()))
    assert of["l2"] <= 2.0001
    counts = [int((targets == each).sum()) for each in range(10)]
    total = sum(share * count for share, count in zip(of["by target"], counts, strict=True) if share is not None)
    assert total / 60 == pytest.approx(of["success"])
    learnt = learn("mlp@mnist", made.images, targets, student_recipe(S, "mlp", "mnist", 2, 20), test)
    kept = kept_student(learnt, test)
    right = learnt.network.labels(test[0]) == test[1]
    assert kept["test"][-1] == pytest.approx(float(right.double().mean()))
    assert kept["by class"] == shares(right, test[1])
    assert len(kept["loss"]) == len(kept["training"]) == 2


def group() -> Learners:
    curves = ([0.2, 0.9, 0.5], [0.1, 0.2, 0.7])
    kept = tuple(
        Kept(
            {
                "students": {"a": {"test": curve, "by class": [None, 0.2]}, "b": {"test": [0.1], "by class": []}},
                "sets": {"a": {"success": 0.3 + seed, "by target": [0.0, seed]}},
            }
        )
        for seed, curve in enumerate(curves)
    )
    return Learners(by_seed("mnist", "mlp", 2)[0], kept)


def test_estimates_over_seeds() -> None:
    g = group()
    assert g.accuracy("a").value == pytest.approx(0.6)
    assert g.accuracy("a", "best").value == pytest.approx(0.8)
    assert g.accuracy("a").interval is not None
    assert g.difference("a", "b").value == pytest.approx(0.5)
    assert g.success("a").value == pytest.approx(0.8)
    assert accuracies(g.kept, "a").tolist() == [0.5, 0.7]
    assert over_epochs(g.kept, "a").shape == (2, 3)
    assert by_class(g.kept, "students", "a") == [None, pytest.approx(0.2)]
    assert by_class(g.kept, "sets", "a") == [0.0, 0.5]
    row = g.row("a", reference=0.65, reason="few images")
    assert row.case == "MNIST MLP, a"
    assert row.reason == "seeds 0.500, 0.700; best epoch 0.800; few images"
    assert row.difference == pytest.approx(-0.05)


def test_null_is_the_range_of_single_values() -> None:
    values = torch.cat([torch.zeros(10), torch.ones(10)])
    assert null(values).value == 0.5
    assert null(values).interval == (0.0, 1.0)
