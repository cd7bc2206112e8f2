"""Values that write down LLVM's instructions as one computes with them in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import models, register_model

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
LLVM_TYPES = {
    vector: _VECTOR,
    number: ir.FloatType(),
    double: ir.DoubleType(),
    index: ir.IntType(64),
    truth: ir.IntType(1),
}


class Writer:
    """Where instructions are written: LLVM's builder, or None while the kinds alone are found out.

    One for all, since numba compiles one function at a time.
    """

    builder: Any = None


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
    if Writer.builder is None:
        return Value(kind, None)
    return Value(kind, write(Writer.builder, *(brought_to(kind, operand) for operand in operands)))


def _kind_beside(*operands: Any) -> Any:
    """A vector's beside a number's; Python's numbers are of any kind, and alone indices."""
    kinds = [operand.kind for operand in operands if isinstance(operand, Value)]
    return next((kind for kind in (vector, double) if kind in kinds), (*kinds, index)[0])


def brought_to(kind: Any, operand: Any) -> Any:
    """A number in all lanes, or in float64."""
    if not isinstance(operand, Value):
        return constant_of(operand, kind)
    if kind == vector and operand.kind == number:
        return _in_all_lanes(operand.value)
    if kind == double and operand.kind == number:
        return Writer.builder.fpext(operand.value, LLVM_TYPES[double])
    assert kind == operand.kind, (kind, operand.kind)
    return operand.value


def constant_of(value: float, kind: Any) -> Any:
    if kind == vector:
        return ir.Constant(_VECTOR, [constant_of(value, number)] * LANES)
    return ir.Constant(LLVM_TYPES[kind], float(np.float32(value)) if kind == number else value)


def _in_all_lanes(value: Any) -> Any:
    none, first = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    single = Writer.builder.insert_element(none, value, first)
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    return Writer.builder.shuffle_vector(single, none, lanes)


def choose(condition: Value, value: Any, other: Any) -> Value:
    """`value` where the condition holds, `other` elsewhere."""
    kind = _kind_beside(value, other)
    if Writer.builder is None:
        return Value(kind, None)
    both = (brought_to(kind, one) for one in (value, other))
    return Value(kind, Writer.builder.select(condition.value, *both))


def least(value: Any, other: Any) -> Value:
    return choose(value < other, value, other)


def most(value: Any, other: Any) -> Value:
    return choose(value > other, value, other)


def constant(value: float, kind: Any = vector) -> Value:
    return Value(kind, constant_of(value, kind))


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
