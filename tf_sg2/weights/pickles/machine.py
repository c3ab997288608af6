"""The stack machine of pickles. Names become descriptions; no function of a file is ever called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tf_sg2.weights.pickles.errors import DamagedError, UnreadableError
from tf_sg2.weights.pickles.instructions import PUSHING, Reader, instructions


class Name(NamedTuple):
    """A module and a name in it, as they stand in the file."""

    module: str
    name: str


class Buildable:
    """A description that takes the state which the file gives it."""

    def build(self, state: Any) -> None:
        """Takes the state of the instruction BUILD."""
        raise NotImplementedError


# Exact name -> what describes a call of it; None for names that are values only.
AllowList = Mapping[Name, Callable[..., Any] | None]

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,  # Sets are lists here: to hash unknown items could take forever.
}
LARGEST_KEY = 1 << 32  # Larger numbers could be chosen so that a dictionary slows down.


class Machine:
    """Runs pickles. Time and memory are proportional to the length of the file.

    Args:
        known: the names that a file may hold.
        persistent: describes a persistent id; None refuses all.
    """

    def __init__(self, known: AllowList, persistent: Callable[[Any], Any] | None = None):
        self.known, self.persistent = known, persistent
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # The stacks below the marks.
        self.memo: dict[int, Any] = {}

    def run(self, reader: Reader) -> Any:
        """Returns what one pickle describes. The reader then stands behind it.

        Raises:
            UnreadableError: if it holds anything outside the lists, or is damaged.
        """
        self.stack, self.marked, self.memo = [], [], {}
        for name, argument in instructions(reader):
            try:
                self._step(name, argument)
            except (IndexError, KeyError) as error:
                raise DamagedError(f"the instruction {name} lacks a value") from error
        return self.stack.pop() if self.stack else None

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in PUSHING:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            if argument >= LARGEST_KEY:
                raise DamagedError("it numbers a value too high")
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name == "MARK":
            self.marked.append(stack)
            self.stack = []
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            if len(stack) < count:
                raise IndexError
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST", "FROZENSET", "DICT"):
            items = self._since_mark()
            made: Any = items if name in ("LIST", "FROZENSET") else tuple(items)
            self.stack.append(_filled({}, items) if name == "DICT" else made)
        elif name in ("SETITEM", "SETITEMS", "APPEND", "APPENDS", "ADDITEMS"):
            self._fill(name)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._name(argument)
        elif name in ("REDUCE", "NEWOBJ"):
            self._call()
        elif name == "BUILD":
            state = stack.pop()
            # Attributes of a dictionary, such as `_metadata`, mean nothing here.
            if isinstance(stack[-1], Buildable):
                stack[-1].build(state)
            elif not isinstance(stack[-1], dict):
                raise UnreadableError("it gives a state to a value that has none")
        elif name == "BINPERSID":
            if self.persistent is None:
                raise UnreadableError("it refers to something outside the file")
            stack.append(self.persistent(stack.pop()))
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP_MARK" or (name == "POP" and not stack):
            self._since_mark()
        elif name == "POP":
            stack.pop()

    def _since_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def _fill(self, name: str) -> None:
        if name.endswith("S"):
            items = self._since_mark()
        else:
            count = 2 if name == "SETITEM" else 1
            if len(self.stack) < count:
                raise IndexError
            items = self.stack[-count:]
            del self.stack[-count:]
        target: Any = self.stack[-1]
        wanted: type = dict if name.startswith("SETITEM") else list
        if type(target) is not wanted:
            raise DamagedError(f"the instruction {name} meets a value that is no {wanted.__name__}")
        if isinstance(target, dict):
            _filled(target, items)
        elif isinstance(target, list):
            target.extend(items)

    def _name(self, argument: tuple[str, str] | None) -> None:
        if argument is None:
            last, first = self.stack.pop(), self.stack.pop()
            if not isinstance(last, str) or not isinstance(first, str):
                raise DamagedError("a name is no text")
            argument = first, last
        name = Name(*argument)
        if name not in self.known:
            text = f"{name.module}.{name.name}"
            raise UnreadableError(f"it names {text[:80]!r}")
        self.stack.append(name)

    def _call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        # A tuple of a file can never be a Name, so nothing but a checked name gets here.
        describe = self.known.get(function) if type(function) is Name else None
        if describe is None:
            raise UnreadableError("it calls a value that is no function")
        if type(arguments) is not tuple:
            raise DamagedError("the arguments of a call are no tuple")
        self.stack.append(describe(*arguments))


def _filled(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise DamagedError("a key has no value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        usable = type(key) is str or (type(key) is int and 0 <= key < LARGEST_KEY)
        if not usable and key is not None:
            raise DamagedError("a dictionary has a key that is no text or small number")
        target[key] = value
    return target
