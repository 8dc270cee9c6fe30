"""Parser of the plain values in a pickle that never runs it: nothing is imported, nothing is called.

``pickletools.genops`` only names the opcodes. The small stack machine here implements those that build lists, tuples,
dicts, numbers and strings; an object that a pickle would create by a call stays a description of that call.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FileError
from ..files import read_bytes


@dataclass(eq=False)
class Call:
    """A call that a pickle would make: dotted name of the function, its arguments, and the state set afterwards."""

    function: str
    arguments: Any = ()
    state: Any = None


_MARK = object()
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# fmt: off
_PLAIN = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
))
# fmt: on


def read_pickled(path: Path) -> Any:
    """The value in a pickle of any protocol, with every call in it as a ``Call``.

    Python 2 strings become str in Latin-1; the keys of dicts are always str.

    Raises:
        FileError: The file is missing, truncated, not a pickle, or uses opcodes that plain data does not need.
    """
    content = read_bytes(path)
    try:
        return _Machine().run(content)
    except _PARSING as error:
        raise FileError(f"{path} is damaged or not the pickle that was expected ({error})") from error


# Exceptions of the stack machine for damaged or hostile files.
_PARSING = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError)


class _Machine:
    """The stack and memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise ValueError("it has no end")

    def step(self, name: str, argument: Any) -> None:
        push, pop = self.stack.append, self.stack.pop
        if name in _PLAIN:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[int(argument)] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            push(self.memo[int(argument)])
        elif name == "MARK":
            push(_MARK)
        elif name in _TUPLES:
            size = _TUPLES[name]
            push(tuple(self.last(size)))
        elif name == "TUPLE":
            push(tuple(self.to_mark()))
        elif name in ("LIST", "EMPTY_LIST"):
            push(self.to_mark() if name == "LIST" else [])
        elif name in ("DICT", "EMPTY_DICT"):
            push(_pairs(self.to_mark()) if name == "DICT" else {})
        elif name in ("APPEND", "APPENDS"):
            items = [pop()] if name == "APPEND" else self.to_mark()
            _expect(self.stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.last(2) if name == "SETITEM" else self.to_mark()
            _expect(self.stack[-1], dict).update(_pairs(items))
        elif name == "GLOBAL":
            push(Call(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            push(Call(".".join(self.last(2))))
        elif name == "REDUCE":
            arguments = pop()
            push(_reduce(_expect(pop(), Call), arguments))
        elif name == "BUILD":
            state = pop()
            _expect(self.stack[-1], Call).state = state
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"opcode {name}")

    def last(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        if start < 0:
            raise ValueError("its stack runs empty")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _pairs(items: list[Any]) -> dict[str, Any]:
    keys = [key.decode("latin-1") if isinstance(key, bytes) else _expect(key, str) for key in items[::2]]
    return dict(zip(keys, items[1::2], strict=True))


def _reduce(function: Call, arguments: Any) -> Any:
    # The way in which Python 3 writes bytes in protocols without an opcode for them.
    if function.function == "_codecs.encode" and arguments[1:] in (("latin1",), ("latin-1",)):
        return _expect(arguments[0], str).encode("latin-1")
    return Call(function.function, arguments)
