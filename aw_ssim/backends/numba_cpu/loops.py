"""How numba compiles the CPU kernel's loops, and what they do with single numbers.

Numbers are loaded and stored through pointers, whose ends are not checked: what arrays bring with
them (counts of references, looking for negative indices) would take a third of the kernel's time.
"""

from __future__ import annotations

import functools

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# For functions that only the kernel calls: a way in from Python costs as much to compile as what
# they do.
njit = functools.partial(
    numba.njit, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
)
# For one that is called in one place: not compiled on its own first. numba takes as long to copy a
# small one in.
once = functools.partial(numba.njit, inline="always")


@intrinsic
def pointer(context, array):
    """To the first number of a contiguous array of float32; `moved` leads on from there."""

    def generate(context, builder, signature, arguments):
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(types.float32)(array), generate


@intrinsic
def moved(context, numbers, offset):
    def generate(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return numbers(numbers, types.intp), generate


@intrinsic
def load_one(context, numbers, index):
    def generate(context, builder, signature, arguments):
        return builder.load(builder.gep(arguments[0], [arguments[1]]))

    return types.float32(numbers, types.intp), generate


@intrinsic
def store_one(context, numbers, index, number):
    def generate(context, builder, signature, arguments):
        builder.store(arguments[2], builder.gep(arguments[0], [arguments[1]]))
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.float32), generate


@intrinsic
def take_number(context, counter):
    """The only entry of an array of int64, which is 1 higher afterwards: each is taken once."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate
