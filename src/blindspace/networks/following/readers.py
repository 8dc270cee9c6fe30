"""Who reads each value of a network: what makes a layer's nullspace harmless for the network or not."""

from __future__ import annotations

from ..affine_graph import Value


class Readers:
    """The readers of values, each known by the modules that were running."""

    def __init__(self) -> None:
        self._scopes: dict[Value, list[tuple[object, ...]]] = {}
        self._passed_on: dict[Value, Value] = {}

    def add(self, value: Value, scope: list[object]) -> None:
        """An operation reads a value while those modules run, outermost first."""
        self._scopes.setdefault(value, []).append(tuple(scope))

    def same(self, value: Value, earlier: Value) -> None:
        """A value holds the same numbers as an earlier one: it is passed on, or a view."""
        self._passed_on[value] = earlier

    def alone(self, value: Value, module: object) -> bool:
        """Whether nothing outside a module reads a value, nor another one of the same numbers."""
        scopes = [scope for each in self._of_the_same(value) for scope in self._scopes.get(each, [])]
        return all(module in scope for scope in scopes)

    def _of_the_same(self, value: Value) -> list[Value]:
        while value in self._passed_on:
            value = self._passed_on[value]
        found = {value: None}
        for later, earlier in self._passed_on.items():  # in the order they were made
            if earlier in found:
                found[later] = None
        return list(found)
