"""Functions traced into numba's code: plain Python that writes down LLVM's instructions.

numba compiles the loop over tiles. What is done with a tile is traced: it runs once, while numba
compiles, with values that write an instruction for each operation. The body of a `for` over `steps`
or of a `with when(...)` runs once too, and is written once. Compiled by numba, function by
function, all of it would take three times as long.

Left to LLVM's own vectorising, the passes would store and load their sums for every tap, and would
stay scalar for larger windows.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .memory import Array
from .values import Value, Writer, brought_to, index


def steps(start: Any, stop: Any = None, step: Any = 1) -> Iterator[Value]:
    """As `range`."""
    if stop is None:
        start, stop = 0, start
    if Writer.builder is None:
        yield Value(index, None)
        return
    ends = (brought_to(index, end) for end in (start, stop, step))
    with cgutils.for_range_slice(Writer.builder, *ends) as (value, _):
        yield Value(index, value)


def each(count: Any) -> Iterable[Any]:
    """As `range`; with a number that is known now, each body is written by itself."""
    return range(count) if isinstance(count, int) else steps(count)


@contextlib.contextmanager
def when(condition: Value) -> Iterator[None]:
    """As `if`."""
    if Writer.builder is None:
        yield
        return
    with Writer.builder.if_then(condition.value):
        yield


def traced(function: Callable[..., Any]) -> Any:
    """Lets numba's functions call one that computes with values.

    It may take numbers, arrays, None and tuples of them, and gives back a value. It runs for each
    place that it is called from.
    """

    def define(typing_context: Any, *kinds: Any) -> Any:
        result = function(*(_taken_in(None, kind, None) for kind in kinds)).kind

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            Writer.builder = builder
            try:
                taken = (_taken_in(context, *pair) for pair in zip(kinds, arguments, strict=True))
                return function(*taken).value
            finally:
                Writer.builder = None

        return signature(result, *kinds), generate

    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name in ("typing_context", *inspect.signature(function).parameters)
    ]
    define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    define.__name__ = function.__name__
    # A number that numba knows while it compiles comes as Python's.
    return intrinsic(prefer_literal=True)(define)


def _taken_in(context: Any, kind: Any, value: Any) -> Any:
    """What numba has, as a traced function takes it; `context` and `value` are None at first."""
    if isinstance(kind, types.NoneType):
        return None
    if isinstance(kind, types.BaseTuple):
        values = (
            cgutils.unpack_tuple(Writer.builder, value) if Writer.builder else [None] * len(kind)
        )
        items = [_taken_in(context, *pair) for pair in zip(kind, values, strict=True)]
        return (
            kind.instance_class(*items) if isinstance(kind, types.BaseNamedTuple) else tuple(items)
        )
    if isinstance(kind, types.Array):
        start = types.CPointer(kind.dtype)
        if Writer.builder is None:
            return Array(Value(start, None), (Value(index, None),) * kind.ndim)
        array = context.make_array(kind)(context, Writer.builder, value)
        sides = cgutils.unpack_tuple(Writer.builder, array.shape)
        return Array(Value(start, array.data), tuple(Value(index, side) for side in sides))
    if isinstance(kind, types.IntegerLiteral):
        return kind.literal_value
    if isinstance(kind, types.Integer):
        return Value(index, value)
    return Value(kind, value)
