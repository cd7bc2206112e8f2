"""Memory as traced functions have it: arrays to load from and store to, and what a loop changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types
from numba.core import cgutils

from .values import LLVM_TYPES, Value, Writer, brought_to, constant_of, index, vector


class Array(NamedTuple):
    """A contiguous array: a pointer to its first number, and its sides."""

    start: Value
    shape: tuple[Value, ...]


def load(numbers: Value | Array, at: Any) -> Value:
    """A vector: LANES numbers, from an index on."""
    if Writer.builder is None:
        return Value(vector, None)
    return Value(vector, Writer.builder.load(_vector_at(numbers, at), align=4))


def store(numbers: Value | Array, at: Any, value: Any) -> None:
    if Writer.builder is not None:
        Writer.builder.store(brought_to(vector, value), _vector_at(numbers, at), align=4)


def load_one(numbers: Value | Array, at: Any) -> Value:
    kind = _start(numbers).kind.dtype
    return Value(kind, Writer.builder and Writer.builder.load(_address(numbers, at)))


def store_one(numbers: Value | Array, at: Any, value: Any) -> None:
    if Writer.builder is not None:
        kind = _start(numbers).kind.dtype
        Writer.builder.store(brought_to(kind, value), _address(numbers, at))


def take_one(numbers: Value | Array) -> Value:
    """The first number, an index, which is 1 higher afterwards: each is taken once."""
    if Writer.builder is None:
        return Value(index, None)
    one = constant_of(1, index)
    return Value(index, Writer.builder.atomic_rmw("add", _address(numbers, 0), one, "monotonic"))


def _start(numbers: Value | Array) -> Value:
    return numbers.start if isinstance(numbers, Array) else numbers


def _address(numbers: Value | Array, at: Any) -> Any:
    return Writer.builder.gep(_start(numbers).value, [brought_to(index, at)])


def _vector_at(numbers: Value | Array, at: Any) -> Any:
    return Writer.builder.bitcast(_address(numbers, at), LLVM_TYPES[vector].as_pointer())


class Kept:
    """What a loop changes, as it is `now`: a value, or a tuple of them."""

    def __init__(self, values: Any) -> None:
        self._places = _of_each(_place, values)
        self.now = values

    @property
    def now(self) -> Any:
        return _of_each(lambda place: load_one(place, 0), self._places)

    @now.setter
    def now(self, values: Any) -> None:
        _of_each(lambda place, value: store_one(place, 0, value), self._places, values)


def _place(value: Value) -> Value:
    place = Writer.builder and cgutils.alloca_once(Writer.builder, LLVM_TYPES[value.kind])
    return Value(types.CPointer(value.kind), place)


def _of_each(function: Callable[..., Any], values: Any, *others: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(_of_each(function, *each) for each in zip(values, *others, strict=True))
    return function(values, *others)
