"""Files of torch.save without torch: tensors, numbers, strings, lists, tuples and dicts, nothing else.

The pickle is not unpickled: a small stack machine goes through its opcodes and knows only those that plain
data needs. A name of Python's is looked up in a table of ours, so nothing is imported and nothing is run.
Source: the Python standard library's ``pickletools``, which documents the opcodes; ``torch/_utils.py`` for
the arguments of ``_rebuild_tensor_v2``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.trace.importers.limits import brief
from simulator.trace.importers.torch_storage import STORAGES, Storage, read_storage, view
from simulator.trace.importers.torch_zip import TorchZip

REBUILD, ORDERED_DICT = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
NAMES = {REBUILD, ORDERED_DICT, *STORAGES}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# What an opcode does wrong on a made-up stack.
FAULTS = (IndexError, KeyError, TypeError, ValueError, OverflowError)


def load(path: Path) -> Any:
    """Return what a .pt holds, tensors as numpy arrays that must not be written to.

    The same object may be at several places, and in itself. Errors: InputError (not such a file, a class
    or an opcode that plain tensors do not need, a tensor outside its storage, more than an import may be).
    """
    with TorchZip(path) as file:
        machine = _Machine(file)
        try:
            for opcode, argument, _ in pickletools.genops(file.pickle()):
                if opcode.name not in OPCODES:
                    what = f"its pickle has the opcode {opcode.name}"
                    raise InputError(file.where, what, "only what tensors and plain containers need is read")
                OPCODES[opcode.name](machine, argument)
            return machine.stack.pop()
        except FAULTS as error:
            raise file.damaged(error) from error


@dataclass(frozen=True, slots=True)
class _Name:
    """A class or function that the pickle names, one of ``NAMES``."""

    name: str


class _Machine:
    """The stack, the stacks below its marks, and the memo of a pickle."""

    def __init__(self, file: TorchZip) -> None:
        self.file = file
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def top(self, n: int) -> tuple[Any, ...]:
        if len(self.stack) < n:
            raise IndexError("a tuple of more than there is")
        items = tuple(self.stack[-n:])
        del self.stack[-n:]
        return items

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("an item of no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        keys = items[::2]
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise TypeError("a key of no dict")
        # Hashing a tuple recurses as deep as the tuple, and only strings and numbers are needed.
        if not all(type(key) in (str, int) for key in keys):
            raise TypeError("a key that is no string or number")
        self.stack[-1].update(zip(keys, items[1::2], strict=True))

    def name(self, name: str) -> None:
        if name not in NAMES:
            what = f"its pickle names {brief(name.replace(' ', '.'))}"
            raise InputError(self.file.where, what, "only tensors and plain containers are read")
        self.stack.append(_Name(name))

    def storage(self, _: Any) -> None:
        match self.stack.pop():
            case ("storage", _Name(name), str(key), _, int(n_items)) if name in STORAGES:
                if key not in self.storages:
                    self.storages[key] = read_storage(self.file, name, key, n_items)
                self.stack.append(self.storages[key])
            case _:
                raise ValueError("a persistent id of no storage")

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        match function, arguments:
            case _Name(name), () if name == ORDERED_DICT:
                self.stack.append({})
            case _Name(name), (Storage() as storage, offset, size, stride, *_) if name == REBUILD:
                self.stack.append(view(storage, offset, size, stride))
            case _:
                raise ValueError("a call of no tensor")


def _constant(value: object) -> Operation:
    """Return the operation that pushes a value."""
    return lambda machine, _: machine.push(value)


Operation = Callable[[_Machine, Any], None]
OPCODES: dict[str, Operation] = {
    **dict.fromkeys(("PROTO", "STOP"), lambda _, __: None),
    "MARK": _Machine.mark,
    "GLOBAL": _Machine.name,
    "BINPERSID": _Machine.storage,
    "REDUCE": _Machine.reduce,
    **{name: _constant(value) for name, value in CONSTANTS.items()},
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"),
        _Machine.push,
    ),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.push(machine.top(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.top(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.top(3)),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items(list(machine.top(2))),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
}
