"""The type by which long computations report their progress."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with the number of steps done, the number of steps in all, and what comes next."""
