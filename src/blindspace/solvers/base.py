"""What a solver is: it knows the rank of a linear map and applies the orthogonal projector onto its nullspace.

A solver is one class in one file. It declares its ``name``, its ``scope`` and ``how`` it works, which maps it
``serves`` and at which ``cost``, and registers itself with ``@register``. ``choose`` only asks the registry.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import KeysView, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from ..errors import UnknownNameError, UnsupportedLayerError, did_you_mean
from ..maps import LinearMap
from .rank.certificate import Certificate

ON_REQUEST = math.inf  # Preference of a solver that is only used when it is asked for
MEMORY_LIMIT = 8 << 30  # Bytes that a solver may take at its peak, unless it is given another limit


class Cost(NamedTuple):
    """What it costs a solver to serve a map.

    Attributes:
        memory: Bytes taken at the peak, estimated.
        preference: Rank of preference: of all solvers that serve a map, the one with the lowest is tried first. The
            structural ones have 10 to 40, blockwise and local 45, fourier 50, dense 60 and krylov 90; ``ON_REQUEST`` to
            wait to be asked.
    """

    memory: int
    preference: float


class Solver(ABC):
    """Applies P = I − A⁺A, the orthogonal projector onto the nullspace of a linear map.

    Args:
        operator: The linear map A.

    Attributes:
        name: Name by which the solver can be asked for.
        scope: Which maps the solver serves, in words.
        how: How the solver works, in words.
        operator: The linear map A.
        certificate: What is known of the rank of A.
        reason: Why this solver serves the map, in one line for the audit.
    """

    name: str
    scope: ClassVar[str]
    how: ClassVar[str]
    operator: LinearMap
    certificate: Certificate
    reason: str = ""

    def __init__(self, operator: LinearMap) -> None:
        self.operator = operator

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the solver can be asked to serve a map; every map unless the class says otherwise."""
        return True

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """What it costs to serve a map that ``serves`` accepts; by default the solver waits to be asked for."""
        return Cost(0, ON_REQUEST)

    @classmethod
    def build(cls, operator: LinearMap, **options: Any) -> Solver:
        """The solver of a map that ``serves`` accepts, with arguments of the constructor, when it is asked for.

        Raises:
            UnsupportedLayerError: The map turns out not to be served.
            TooLargeError: The solver would take too much memory.
        """
        return cls(operator, **options)

    @classmethod
    def build_automatically(cls, operator: LinearMap) -> Solver:
        """The solver of a map when ``choose`` tries it; raises as ``build`` does to leave the map to the next one."""
        return cls.build(operator)

    @classmethod
    def with_options(cls, **options: Any) -> BoundSolver:
        """The solver class with options bound, to be given as ``solver=``.

        Args:
            options: Arguments of the constructor besides the map, such as ``tolerance=1e-10``.

        Raises:
            UnknownNameError: The constructor takes no argument of that name.
        """
        known = [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "operator")]
        for name in options:
            if name not in known:
                there = f"its options are: {', '.join(known)}" if known else "it has none"
                raise UnknownNameError(f"the {cls.name} solver has no option {name!r}; {there}")
        return BoundSolver(cls, options)

    @abstractmethod
    def _project(self, x: Tensor) -> Tensor: ...

    def project(self, x: Tensor) -> Tensor:
        """P x, in the shape, dtype and on the device of x.

        P = 0 where the nullspace is known to be trivial, and P = I where the map is 0: nothing is computed then.

        Args:
            x: Perturbations ``(B, *in_shape)``, floating point. Half precision is computed in float32.
        """
        if self.dim in (0, self.operator.in_dim) and self.certificate.kind != "undecided":
            return x.clone() if self.dim else torch.zeros_like(x)
        if x.dtype in (torch.float16, torch.bfloat16):
            return self._project(x.float()).to(x.dtype)
        return self._project(x)

    def diagonal(self) -> Tensor | None:
        """The diagonal of P, float64 ``in_shape``, where the structure of the map gives it exactly; None elsewhere.

        It takes no more than a few projections.
        """
        if self.dim in (0, self.operator.in_dim) and self.certificate.kind != "undecided":
            return torch.full(self.operator.in_shape, float(self.dim > 0), dtype=torch.float64)
        found = self._diagonal()
        return None if found is None else found.reshape(self.operator.in_shape).clamp(0, 1)

    def _diagonal(self) -> Tensor | None:
        return None

    def gram_inverse(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b, in the shape of b, if A has full row rank and the solver can apply the inverse.

        Args:
            b: Right-hand sides ``(B, *out_shape)``, float64.

        Raises:
            UnsupportedLayerError: A does not have full row rank, or is too ill-conditioned for the solver to invert
                A Aᵀ, or the solver has no way to.
        """
        return self._gram_inverse(b)

    def _gram_inverse(self, b: Tensor) -> Tensor:
        raise UnsupportedLayerError(f"the {self.name} solver of {self.operator} has no inverse of A Aᵀ")

    def rough_gram_inverse(self, b: Tensor) -> Tensor:
        """``gram_inverse`` to a few digits, as a preconditioner needs it, in the dtype of b, floating point.

        It is symmetric and positive definite up to these digits. Raises what ``gram_inverse`` raises.
        """
        return self.gram_inverse(b.double()).to(b.dtype)

    @property
    def dim(self) -> int:
        """Dimension of the nullspace."""
        return self.operator.in_dim - self.certificate.rank


@dataclass(frozen=True)
class BoundSolver:
    """A solver class with options bound; made by ``Solver.with_options``."""

    solver: type[Solver]
    options: Mapping[str, Any] = field(default_factory=dict)


SolverChoice: TypeAlias = str | type[Solver] | BoundSolver | None
"""What ``solver=`` takes: the name of a registered solver, a solver class, a class with options bound
(``KrylovSolver.with_options(tolerance=1e-10)``), or None to choose by structure, size and memory."""


REGISTRY: dict[str, type[Solver]] = {}  # All registered solver classes by their names
NAMES: KeysView[str] = REGISTRY.keys()  # Names of all registered solvers, those registered later included

S = TypeVar("S", bound=type[Solver])


def register(solver: S) -> S:
    """Class decorator that makes a solver take part in ``choose``, ``solver=NAME`` and ``table``.

    A class of the same module and name, as when a notebook cell runs again, is replaced.

    Raises:
        UnknownNameError: The class lacks ``name``, ``scope`` or ``how``, or another class has taken the name.
    """
    for attribute in ("name", "scope", "how"):
        if not isinstance(getattr(solver, attribute, None), str):
            raise UnknownNameError(f"the solver class {solver.__name__} needs a string {attribute!r} to be registered")
    taken = REGISTRY.get(solver.name, solver)
    if (taken.__module__, taken.__qualname__) != (solver.__module__, solver.__qualname__):
        raise UnknownNameError(f"a solver is called {solver.name!r} already; give {solver.__name__} another name")
    REGISTRY[solver.name] = solver
    return solver


class Described(NamedTuple):
    """A registered solver in words: its name, which maps it serves and how it works."""

    name: str
    serves: str
    how: str


def table() -> list[Described]:
    """All registered solvers in words, in the order in which they were registered."""
    return [Described(name, solver.scope, solver.how) for name, solver in REGISTRY.items()]


def resolve(choice: SolverChoice) -> BoundSolver | None:
    """A choice of ``solver=`` as a class with options; None if the choice is automatic.

    Raises:
        UnknownNameError: No solver has that name, or the choice is neither a name nor a solver class.
    """
    if choice is None or isinstance(choice, BoundSolver):
        return choice
    if isinstance(choice, str):
        if choice not in REGISTRY:
            near = did_you_mean(choice, NAMES)
            raise UnknownNameError(f"no solver is called {choice!r}{near}; the solvers are: {', '.join(NAMES)}")
        return BoundSolver(REGISTRY[choice])
    if isinstance(choice, type) and issubclass(choice, Solver):
        return BoundSolver(choice)
    raise UnknownNameError(
        "solver must be a name, a solver class or a class with options such as "
        f"KrylovSolver.with_options(tolerance=1e-10), got {type(choice).__name__}"
    )
