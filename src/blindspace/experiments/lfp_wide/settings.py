"""Wide two-layer networks: settings, and the cases that are measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..parts import Preset, Settings

GAUSS, MNIST = "shifted Gauss", "MNIST 1 against 2"

ALONE, ON = "alone", "on the samples"
"""What the second network is taught: the perturbations themselves, or the perturbed samples."""


@dataclass(frozen=True)
class Taught:
    """What a second network learns, with random labels.

    Attributes:
        eps: L2 norm of the perturbations; 0 for none.
        base: ``ALONE`` or ``ON``.
        noise: Whether random directions take the place of perturbations.
    """

    eps: float
    base: str = ALONE
    noise: bool = False

    @property
    def name(self) -> str:
        """In words."""
        what = f"noise of norm {self.eps:g}" if self.noise else f"ε {self.eps:g}"
        return f"{what} {self.base}"


@dataclass(frozen=True)
class Case:
    """First networks that are trained alike, over seeds.

    Attributes:
        name: Name of its part.
        data: ``GAUSS`` or ``MNIST``.
        samples: Number of training samples N; of MNIST all if None.
        dim: Dimension d of shifted Gauss.
        width: Number of hidden neurons.
        loss: Loss of both networks.
        rate: Learning rate of both networks.
        times: Numbers of steps after which the cosine is measured; networks that teach, and those that are taught, take
            the last of them.
        taught: What second networks learn.
        seeds: Number of first networks.
    """

    name: str
    data: str = GAUSS
    samples: int | None = 1000
    dim: int = 100
    width: int = 100
    loss: str = "identity"
    rate: float = 0.1
    times: tuple[int, ...] = (100,)
    taught: tuple[Taught, ...] = ()
    seeds: int = 20


@dataclass(frozen=True)
class WideSettings(Settings):
    """Settings of the experiment.

    Attributes:
        cases: What is measured; the names of ``for_preset`` are those that the report looks for.
        points: Number of training samples at which directions are compared.
        tests: Number of fresh samples of shifted Gauss on which networks are compared.
    """

    cases: tuple[Case, ...] = ()
    points: int = 500
    tests: int = 1000

    def case(self, name: str) -> Case:
        """A case by its name."""
        return next(case for case in self.cases if case.name == name)


TIME = {"identity": "time-identity", "logistic": "time-logistic", "exponential": "time-exponential"}
"""Names of the cases over training time, by loss."""

LEARNT = {"identity": "eps-identity", "logistic": "eps-logistic", "exponential": "eps-exponential"}
"""Names of the cases of second networks, by loss."""

WIDTHS = (10, 30, 100, 300)

STEPS = (30, 100)
"""Lengths of training of second networks, beside those of the cases of widths and of sizes."""

EPS = (0.002, 0.004, 0.006, 0.01)

SAMPLES_ON, IMAGES, FEW_IMAGES = "on-samples", "mnist", "mnist-2000"


def width_case(width: int) -> str:
    """Name of the case of a width."""
    return f"width-{width}"


def steps_case(steps: int) -> str:
    """Name of the case of a length of training."""
    return f"steps-{steps}"


def _cases() -> tuple[Case, ...]:
    largest = EPS[-1]
    return (
        *(Case(name, loss=loss, times=(1, 2, 3, 4, 5, 9, 10, 30, 100)) for loss, name in TIME.items()),
        *(Case(width_case(width), width=width, rate=1.0, times=(300,), taught=(Taught(largest),)) for width in WIDTHS),
        *(Case(steps_case(steps), rate=1.0, times=(steps,), taught=(Taught(largest),)) for steps in STEPS),
        Case(
            LEARNT["identity"],
            rate=1.0,
            times=(1000,),
            taught=(*map(Taught, EPS), Taught(largest, noise=True)),
        ),
        *(
            Case(LEARNT[loss], loss=loss, rate=1.0, times=(1000,), taught=(Taught(largest),), seeds=10)
            for loss in ("logistic", "exponential")
        ),
        Case(SAMPLES_ON, dim=500, rate=1.0, taught=(Taught(0.0, ON), Taught(0.22, ON))),
        Case(
            IMAGES,
            MNIST,
            samples=None,
            rate=0.01,
            times=(10, 20, 100),
            taught=(Taught(0.056), Taught(0.14)),
            seeds=3,
        ),
        Case(
            FEW_IMAGES,
            MNIST,
            samples=2000,
            rate=0.01,
            taught=(Taught(0.14), Taught(0.14, noise=True), Taught(0.0, ON), Taught(0.14, ON)),
        ),
    )


def for_preset(preset: Preset, seed: int) -> WideSettings:
    """The settings of a preset; smoke has few samples, seeds and steps, paper 20 seeds throughout."""
    cases = _cases()
    if preset == "smoke":
        small = (
            replace(
                case,
                samples=40,
                dim=min(case.dim, 20),
                times=tuple(sorted({min(time, 40) for time in case.times})),
                seeds=3,
            )
            for case in cases
        )
        return WideSettings(preset, seed, tuple(small), points=20, tests=50)
    if preset == "paper":
        cases = tuple(replace(case, seeds=20) for case in cases)
    return WideSettings(preset, seed, cases)
