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
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.core.typing.templates import signature
from numba.extending import intrinsic, models, register_model

# A register's worth on the processor that numba compiles for; part of its key to what it keeps.
_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
LANES = 16 if "+avx512f" in _FEATURES else 8


class _VectorType(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = _VectorType()
index, number, double, truth = types.intp, types.float32, types.float64, types.boolean
# What comparing vectors gives; it stays within a traced function.
truths = types.Opaque("truths")
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_LLVM = {
    vector: _VECTOR,
    number: ir.FloatType(),
    double: ir.DoubleType(),
    index: ir.IntType(64),
    truth: ir.IntType(1),
}

# Where instructions are written; None while the kinds alone are found out. numba compiles one
# function at a time.
_builder: Any = None


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


class Value:
    """What a traced function computes with: a vector, a number, an index, a truth, a pointer."""

    def __init__(self, kind: Any, value: Any) -> None:
        self.kind = kind
        self.value = value

    def __add__(self, other: Any) -> Value:
        return _operation("add", self, other)

    def __radd__(self, other: Any) -> Value:
        return _operation("add", other, self)

    def __sub__(self, other: Any) -> Value:
        return _operation("sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return _operation("sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return _operation("mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return _operation("mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return _operation("div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return _operation("div", other, self)

    def __floordiv__(self, other: Any) -> Value:
        """Of an index that is not below 0."""
        return _operation("udiv", self, other)

    def __neg__(self) -> Value:
        return _operation("sub", 0, self)

    def __lt__(self, other: Any) -> Value:
        return _comparison("<", self, other)

    def __gt__(self, other: Any) -> Value:
        return _comparison(">", self, other)

    def __ge__(self, other: Any) -> Value:
        return _comparison(">=", self, other)

    def __eq__(self, other: Any) -> Value:
        return _comparison("==", self, other)

    def __ne__(self, other: Any) -> Value:
        return _comparison("!=", self, other)

    def __invert__(self) -> Value:
        """Of a truth."""
        return _written(self.kind, lambda builder, value: builder.not_(value), self)

    def __bool__(self) -> bool:
        raise TypeError("known when the kernel runs, not while it is traced: use when or choose")


class Array(NamedTuple):
    """A contiguous array: a pointer to its first number, and its sides."""

    start: Value
    shape: tuple[Value, ...]


def _operation(instruction: str, left: Any, right: Any) -> Value:
    kind = _kind_beside(left, right)
    name = instruction if kind == index else f"f{instruction}"
    return _written(kind, lambda builder, *both: getattr(builder, name)(*both), left, right)


def _comparison(sign: str, left: Any, right: Any) -> Value:
    kind = _kind_beside(left, right)
    name = "icmp_signed" if kind == index else "fcmp_ordered"
    found = _written(kind, lambda builder, *both: getattr(builder, name)(sign, *both), left, right)
    return Value(truths if kind == vector else truth, found.value)


def _written(kind: Any, write: Callable[..., Any], *operands: Any) -> Value:
    """What `write` makes of the operands, brought to one kind."""
    if _builder is None:
        return Value(kind, None)
    return Value(kind, write(_builder, *(_brought_to(kind, operand) for operand in operands)))


def _kind_beside(*operands: Any) -> Any:
    """A vector's beside a number's; Python's numbers are of any kind, and alone indices."""
    kinds = [operand.kind for operand in operands if isinstance(operand, Value)]
    return next((kind for kind in (vector, double) if kind in kinds), (*kinds, index)[0])


def _brought_to(kind: Any, operand: Any) -> Any:
    """A number in all lanes, or in float64."""
    if not isinstance(operand, Value):
        return _constant(operand, kind)
    if kind == vector and operand.kind == number:
        return _in_all_lanes(operand.value)
    if kind == double and operand.kind == number:
        return _builder.fpext(operand.value, _LLVM[double])
    assert kind == operand.kind, (kind, operand.kind)
    return operand.value


def _constant(value: float, kind: Any) -> Any:
    if kind == vector:
        return ir.Constant(_VECTOR, [_constant(value, number)] * LANES)
    return ir.Constant(_LLVM[kind], float(np.float32(value)) if kind == number else value)


def _in_all_lanes(value: Any) -> Any:
    none, first = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    single = _builder.insert_element(none, value, first)
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    return _builder.shuffle_vector(single, none, lanes)


def steps(start: Any, stop: Any = None, step: Any = 1) -> Iterator[Value]:
    """As `range`."""
    if stop is None:
        start, stop = 0, start
    if _builder is None:
        yield Value(index, None)
        return
    ends = (_brought_to(index, end) for end in (start, stop, step))
    with cgutils.for_range_slice(_builder, *ends) as (value, _):
        yield Value(index, value)


def each(count: Any) -> Iterable[Any]:
    """As `range`; with a number that is known now, each body is written by itself."""
    return range(count) if isinstance(count, int) else steps(count)


@contextlib.contextmanager
def when(condition: Value) -> Iterator[None]:
    """As `if`."""
    if _builder is None:
        yield
        return
    with _builder.if_then(condition.value):
        yield


def choose(condition: Value, value: Any, other: Any) -> Value:
    """`value` where the condition holds, `other` elsewhere."""
    kind = _kind_beside(value, other)
    if _builder is None:
        return Value(kind, None)
    both = (_brought_to(kind, one) for one in (value, other))
    return Value(kind, _builder.select(condition.value, *both))


def least(value: Any, other: Any) -> Value:
    return choose(value < other, value, other)


def most(value: Any, other: Any) -> Value:
    return choose(value > other, value, other)


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
    place = _builder and cgutils.alloca_once(_builder, _LLVM[value.kind])
    return Value(types.CPointer(value.kind), place)


def _of_each(function: Callable[..., Any], values: Any, *others: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(_of_each(function, *each) for each in zip(values, *others, strict=True))
    return function(values, *others)


def constant(value: float, kind: Any = vector) -> Value:
    return Value(kind, _constant(value, kind))


def load(numbers: Value | Array, at: Any) -> Value:
    """A vector: LANES numbers, from an index on."""
    if _builder is None:
        return Value(vector, None)
    return Value(vector, _builder.load(_vector_at(numbers, at), align=4))


def store(numbers: Value | Array, at: Any, value: Any) -> None:
    if _builder is not None:
        _builder.store(_brought_to(vector, value), _vector_at(numbers, at), align=4)


def load_one(numbers: Value | Array, at: Any) -> Value:
    kind = _start(numbers).kind.dtype
    return Value(kind, _builder and _builder.load(_address(numbers, at)))


def store_one(numbers: Value | Array, at: Any, value: Any) -> None:
    if _builder is not None:
        kind = _start(numbers).kind.dtype
        _builder.store(_brought_to(kind, value), _address(numbers, at))


def take_one(numbers: Value | Array) -> Value:
    """The first number, an index, which is 1 higher afterwards: each is taken once."""
    if _builder is None:
        return Value(index, None)
    one = _constant(1, index)
    return Value(index, _builder.atomic_rmw("add", _address(numbers, 0), one, "monotonic"))


def _start(numbers: Value | Array) -> Value:
    return numbers.start if isinstance(numbers, Array) else numbers


def _address(numbers: Value | Array, at: Any) -> Any:
    return _builder.gep(_start(numbers).value, [_brought_to(index, at)])


def _vector_at(numbers: Value | Array, at: Any) -> Any:
    return _builder.bitcast(_address(numbers, at), _VECTOR.as_pointer())


def sqrt(value: Value) -> Value:
    return _function("sqrt", value)


def multiply_add(left: Any, right: Any, addend: Any) -> Value:
    """left * right + addend, rounded once where the processor can."""
    return _function("fmuladd", left, right, addend)


def _function(name: str, *operands: Any) -> Value:
    """One of LLVM's own, of vectors."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(operands))

    def write(builder: Any, *values: Any) -> Any:
        name_in_full = f"llvm.{name}.v{LANES}f32"
        function = cgutils.get_or_insert_function(builder.module, kind, name_in_full)
        return builder.call(function, values)

    return _written(vector, write, *operands)


def traced(function: Callable[..., Any]) -> Any:
    """Lets numba's functions call one that computes with values.

    It may take numbers, arrays, None and tuples of them, and gives back a value. It runs for each
    place that it is called from.
    """

    def define(typing_context: Any, *kinds: Any) -> Any:
        result = function(*(_taken_in(None, kind, None) for kind in kinds)).kind

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            global _builder
            _builder = builder
            try:
                taken = (_taken_in(context, *pair) for pair in zip(kinds, arguments, strict=True))
                return function(*taken).value
            finally:
                _builder = None

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
        values = cgutils.unpack_tuple(_builder, value) if _builder else [None] * len(kind)
        items = [_taken_in(context, *pair) for pair in zip(kind, values, strict=True)]
        return (
            kind.instance_class(*items) if isinstance(kind, types.BaseNamedTuple) else tuple(items)
        )
    if isinstance(kind, types.Array):
        start = types.CPointer(kind.dtype)
        if _builder is None:
            return Array(Value(start, None), (Value(index, None),) * kind.ndim)
        array = context.make_array(kind)(context, _builder, value)
        sides = cgutils.unpack_tuple(_builder, array.shape)
        return Array(Value(start, array.data), tuple(Value(index, side) for side in sides))
    if isinstance(kind, types.IntegerLiteral):
        return kind.literal_value
    if isinstance(kind, types.Integer):
        return Value(index, value)
    return Value(kind, value)
