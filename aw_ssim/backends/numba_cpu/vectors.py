"""Vectors of LANES float32 for numba, as LLVM has them, and a counter that threads share.

They are loaded and stored through pointers, whose ends are not checked: what arrays bring with them
(counts of references, looking for negative indices) would take a third of the kernel's time.

Left to LLVM's own vectorising, the passes would store and load their sums for
every tap, and would stay scalar for larger windows.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from ...formulas import EPS, compiled

# For functions that only the kernel calls: a way in from Python costs as much to compile as what
# they do.
njit = functools.partial(
    numba.njit, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
)
# A register's worth on the processor that numba compiles for; part of its key to what it keeps.
_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
LANES = 16 if "+avx512f" in _FEATURES else 8
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_ZERO = ir.Constant(_VECTOR, [ir.Constant(ir.FloatType(), 0.0)] * LANES)


class _VectorType(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = _VectorType()


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


@intrinsic
def pointer(context, array):
    """To the first number of a contiguous array of float32; `moved` leads on from there."""

    def generate(context, builder, signature, arguments):
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(types.float32)(array), generate


@intrinsic
def moved(context, numbers, offset):
    def generate(context, builder, signature, arguments):
        return _address(builder, arguments)

    return numbers(numbers, types.intp), generate


@intrinsic
def load(context, numbers, index):
    """LANES numbers, from an index on."""

    def generate(context, builder, signature, arguments):
        address = _address(builder, arguments)
        return builder.load(builder.bitcast(address, _VECTOR.as_pointer()), align=4)

    return vector(numbers, types.intp), generate


@intrinsic
def store(context, numbers, index, value):
    def generate(context, builder, signature, arguments):
        address = _address(builder, arguments)
        builder.store(arguments[2], builder.bitcast(address, _VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(numbers, types.intp, vector), generate


@intrinsic
def load_one(context, numbers, index):
    def generate(context, builder, signature, arguments):
        return builder.load(_address(builder, arguments))

    return types.float32(numbers, types.intp), generate


@intrinsic
def store_one(context, numbers, index, number):
    def generate(context, builder, signature, arguments):
        builder.store(arguments[2], _address(builder, arguments))
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.float32), generate


def _address(builder: Any, arguments: Any) -> Any:
    return builder.gep(arguments[0], [arguments[1]])


@intrinsic
def splat(context, number):
    """A number in all lanes."""

    def generate(context, builder, signature, arguments):
        return _in_all_lanes(builder, arguments[0])

    return vector(types.float32), generate


@intrinsic
def sqrt(context, value):
    def generate(context, builder, signature, arguments):
        return _call(builder, "sqrt", arguments)

    return vector(vector), generate


@intrinsic
def multiply_add(context, left, right, addend):
    """left * right + addend, rounded once where the processor can."""

    def generate(context, builder, signature, arguments):
        return _call(builder, "fmuladd", arguments)

    return vector(vector, vector, vector), generate


@intrinsic
def not_negative(context, value):
    """0 instead of negative numbers; NaN remains."""

    def generate(context, builder, signature, arguments):
        return builder.select(builder.fcmp_ordered("<", arguments[0], _ZERO), _ZERO, arguments[0])

    return vector(vector), generate


@intrinsic
def where_positive(context, condition, value, otherwise):
    """`value` where `condition` is above 0, `otherwise` elsewhere."""

    def generate(context, builder, signature, arguments):
        condition, value, otherwise = arguments
        return builder.select(builder.fcmp_ordered(">", condition, _ZERO), value, otherwise)

    return vector(vector, vector, vector), generate


@intrinsic
def take_number(context, counter):
    """The only entry of an array of int64, which is 1 higher afterwards: each is taken once."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate


def _call(builder: Any, name: str, arguments: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(arguments))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")
    return builder.call(function, arguments)


def _in_all_lanes(builder: Any, number: Any) -> Any:
    lane = ir.IntType(32)
    single = builder.insert_element(_ZERO, number, lane(0))
    return builder.shuffle_vector(single, _ZERO, ir.Constant(ir.VectorType(lane, LANES), None))


def _define(symbol: Callable[[Any, Any], Any], instruction: str) -> None:
    """An operator of two vectors, or of a vector and a number, which then is a float32.

    As numba's own operators are defined: functions in Python (`overload`) would be compiled anew
    for each use, and make up half of the time to compile the kernel.
    """

    @infer_global(symbol)
    class Operator(AbstractTemplate):  # type: ignore[misc]
        def generic(self, arguments: Any, keywords: Any) -> Any:
            kinds = [
                kind if kind == vector else types.float32
                for kind in arguments
                if kind == vector or isinstance(kind, types.Number)
            ]
            if vector in kinds and len(kinds) == 2:
                return signature(vector, *kinds)
            return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        operands = [
            argument if kind == vector else _in_all_lanes(builder, argument)
            for kind, argument in zip(signature.args, arguments, strict=True)
        ]
        return getattr(builder, instruction)(*operands)

    for kinds in ((vector, vector), (types.float32, vector), (vector, types.float32)):
        lower_builtin(symbol, *kinds)(generate)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define(_symbol, _instruction)


@infer_global(operator.neg)
class _Negation(AbstractTemplate):  # type: ignore[misc]
    def generic(self, arguments: Any, keywords: Any) -> Any:
        return signature(vector, vector) if arguments == (vector,) else None


@lower_builtin(operator.neg, vector)
def _negative(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.fsub(_ZERO, arguments[0])


# The formulas of one window and one pixel, for vectors of them.
formulas = compiled(
    njit, EPS=np.float32(EPS), sqrt=sqrt, multiply_add=multiply_add, not_negative=not_negative
)
