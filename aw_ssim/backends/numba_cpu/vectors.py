"""Vectors of LANES float32 for numba, as LLVM has them, and functions traced into its code.

numba compiles the loops. What a loop does with vectors is `traced`: plain Python, run while numba
compiles with values that write down LLVM's instructions as one computes with them. Compiled by
numba, each small function would take as long as a loop, and all of them half of the time.

Left to LLVM's own vectorising, the passes would store and load their sums for every tap, and would
stay scalar for larger windows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.core.typing.templates import signature
from numba.extending import intrinsic, models, register_model

from ...formulas import EPS, compiled

# A register's worth on the processor that numba compiles for; part of its key to what it keeps.
_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
LANES = 16 if "+avx512f" in _FEATURES else 8
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.IntType(64)


class _VectorType(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = _VectorType()


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


class Value:
    """What a traced function computes with: a vector, an index or a pointer.

    Without a builder nothing is written down, and only the kinds are found out.
    """

    def __init__(self, kind: Any, builder: Any, value: Any) -> None:
        self.kind = kind
        self.builder = builder
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

    def __neg__(self) -> Value:
        return _operation("sub", 0, self)


def _operation(instruction: str, left: Any, right: Any) -> Value:
    kind = left.kind if isinstance(left, Value) else right.kind
    name = f"f{instruction}" if kind == vector else instruction
    return _written(kind, lambda builder, *operands: getattr(builder, name)(*operands), left, right)


def _written(kind: Any, write: Callable[..., Any], first: Any, *others: Any) -> Value:
    """What `write` makes of the operands; Python's numbers become constants beside them."""
    operands = (first, *others)
    (builder, beside), *_ = ((one.builder, one.kind) for one in operands if isinstance(one, Value))
    if builder is None:
        return Value(kind, None, None)
    values = [one.value if isinstance(one, Value) else _constant(one, beside) for one in operands]
    return Value(kind, builder, write(builder, *values))


def _constant(number: float, kind: Any) -> Any:
    if kind != vector:
        return ir.Constant(_INDEX, number)
    return ir.Constant(_VECTOR, [ir.Constant(ir.FloatType(), float(np.float32(number)))] * LANES)


def _vector_at(builder: Any, numbers: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(numbers, [index]), _VECTOR.as_pointer())


def load(numbers: Value, index: Value) -> Value:
    """LANES numbers, from an index on."""

    def write(builder: Any, *place: Any) -> Any:
        return builder.load(_vector_at(builder, *place), align=4)

    return _written(vector, write, numbers, index)


def store(numbers: Value, index: Value, value: Value | float) -> None:
    def write(builder: Any, *place: Any) -> Any:
        stored = value.value if isinstance(value, Value) else _constant(value, vector)
        return builder.store(stored, _vector_at(builder, *place), align=4)

    _written(types.none, write, numbers, index)


def tap(taps: Value, j: Value) -> Value:
    """One number in all lanes."""

    def write(builder: Any, numbers: Any, index: Any) -> Any:
        return _in_all_lanes(builder, builder.load(builder.gep(numbers, [index])))

    return _written(vector, write, taps, j)


def _in_all_lanes(builder: Any, number: Any) -> Any:
    none = ir.Constant(_VECTOR, ir.Undefined)
    single = builder.insert_element(none, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        single, none, ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    )


def sqrt(value: Value) -> Value:
    return _call("sqrt", value)


def multiply_add(left: Value, right: Value, addend: Value) -> Value:
    """left * right + addend, rounded once where the processor can."""
    return _call("fmuladd", left, right, addend)


def _call(name: str, *arguments: Value) -> Value:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(arguments))

    def write(builder: Any, *values: Any) -> Any:
        name_in_full = f"llvm.{name}.v{LANES}f32"
        function = cgutils.get_or_insert_function(builder.module, kind, name_in_full)
        return builder.call(function, values)

    return _written(vector, write, *arguments)


def not_negative(value: Value) -> Value:
    """0 instead of negative numbers; NaN remains."""

    def write(builder: Any, value: Any, zero: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", value, zero), zero, value)

    return _written(vector, write, value, 0)


def where_positive(condition: Value, value: Value | float, otherwise: Value | float) -> Value:
    """`value` where `condition` is above 0, `otherwise` elsewhere."""

    def write(builder: Any, condition: Any, value: Any, otherwise: Any, zero: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", condition, zero), value, otherwise)

    return _written(vector, write, condition, value, otherwise, 0)


# The formulas of one window and one pixel, for values of vectors.
formulas = compiled(
    lambda formula: formula,
    EPS=EPS,
    sqrt=sqrt,
    multiply_add=multiply_add,
    not_negative=not_negative,
)


def traced(function: Callable[..., Any]) -> Any:
    """Lets numba's functions call one that computes with values.

    It may take vectors, float32 (then in all lanes), integers, pointers, None and tuples of them,
    and give back vectors, numbers (then in all lanes) and tuples of them. It runs for each place
    that it is called from.
    """

    def define(typing_context: Any, *kinds: Any) -> Any:
        result = _kind_of(function(*(_taken_in(None, None, kind, None) for kind in kinds)))

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            values = [
                _taken_in(context, builder, *pair) for pair in zip(kinds, arguments, strict=True)
            ]
            return _given_back(context, builder, result, function(*values))

        return signature(result, *kinds), generate

    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name in ("typing_context", *inspect.signature(function).parameters)
    ]
    define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    define.__name__ = function.__name__
    return intrinsic(define)


def _taken_in(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.NoneType):
        return None
    if isinstance(kind, types.Optional):
        # Of what may be None; it is not where it is used.
        value = builder and cgutils.create_struct_proxy(kind)(context, builder, value).data
        return _taken_in(context, builder, kind.type, value)
    if isinstance(kind, types.BaseTuple):
        values = cgutils.unpack_tuple(builder, value) if builder else [None] * len(kind)
        items = [_taken_in(context, builder, *pair) for pair in zip(kind, values, strict=True)]
        return (
            kind.instance_class(*items) if isinstance(kind, types.BaseNamedTuple) else tuple(items)
        )
    if kind == types.float32:
        return Value(vector, builder, builder and _in_all_lanes(builder, value))
    return Value(kind, builder, value)


def _kind_of(result: Any) -> Any:
    if isinstance(result, tuple):
        return types.BaseTuple.from_types([_kind_of(item) for item in result])
    if isinstance(result, Value):
        return result.kind
    return types.none if result is None else vector


def _given_back(context: Any, builder: Any, kind: Any, result: Any) -> Any:
    if result is None:
        return context.get_dummy_value()
    if isinstance(result, tuple):
        items = [_given_back(context, builder, k, v) for k, v in zip(kind, result, strict=True)]
        return context.make_tuple(builder, kind, items)
    return result.value if isinstance(result, Value) else _constant(result, vector)
