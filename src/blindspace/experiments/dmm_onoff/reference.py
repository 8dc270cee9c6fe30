"""Figures of an earlier measurement with other trainings, of one or a few seeds; nobody has published any."""

from __future__ import annotations

from typing import NamedTuple

from .settings import ANOTHER, LOCAL, OTHERS, PCA, RANDOM, RANDOM_100, TANGENT

REASON = "reference: an earlier measurement with other trainings and without refinement"


class Reference(NamedTuple):
    """Median ‖P g‖/‖g‖, and the ratios of median norms."""

    fraction: float | None = None
    on: float | None = None
    off: float | None = None


LAST, VARYING = "last principal components", "last varying components"

REFERENCE: dict[tuple[str, str, bool, str], Reference] = {
    ("mnist", "mlp", False, PCA): Reference(0.744, 1.31, 1.51),
    ("mnist", "mlp", False, TANGENT): Reference(0.554, 1.75, 1.18),
    ("mnist", "mlp", False, LOCAL): Reference(0.428, 2.17, 1.10),
    ("mnist", "mlp", False, RANDOM): Reference(0.140, 6.64, 1.01),
    ("mnist", "mlp", False, VARYING): Reference(0.042, 23.0, 1.00),
    ("mnist", "mlp", False, RANDOM_100): Reference(0.356, 2.73, 1.07),
    ("mnist", "convnet", False, TANGENT): Reference(0.395, 2.45, 1.09),
    ("mnist", "convnet", False, ANOTHER): Reference(0.364, 2.40, 1.08),
    ("mnist", "convnet", False, PCA): Reference(0.566, 1.65, 1.22),
    ("mnist", "convnet", False, RANDOM): Reference(0.138, 6.6, 1.01),
    ("mnist", "convnet", True, TANGENT): Reference(0.696, 1.84, 1.12),
    ("mnist", "convnet", True, ANOTHER): Reference(0.389, 1.81, 1.09),
    ("mnist", "convnet", True, PCA): Reference(0.628, 1.27, 1.25),
    ("fashion-mnist", "convnet", False, TANGENT): Reference(0.355, 2.75, 1.07),
    ("fashion-mnist", "convnet", False, ANOTHER): Reference(0.363, 2.73, 1.07),
    ("fashion-mnist", "convnet", False, PCA): Reference(0.50, 1.97, 1.17),
    ("fashion-mnist", "convnet", True, TANGENT): Reference(0.693, 1.57, 1.20),
    ("fashion-mnist", "convnet", True, ANOTHER): Reference(0.40, 2.03, 1.09),
    ("cifar10", OTHERS, False, PCA): Reference(0.092, 10.5, 1.005),
    ("cifar10", OTHERS, False, RANDOM): Reference(0.207, 5.05, 1.022),
    ("cifar10", OTHERS, False, LAST): Reference(0.049, 20.9, None),
}
