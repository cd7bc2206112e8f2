"""What traced functions compute, against numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba", reason="numba is optional: the extra aw_ssim[cpu]")

import numba

from aw_ssim.backends.numba_cpu.loops import pointer
from aw_ssim.backends.numba_cpu.vectors import (
    LANES,
    load,
    multiply_add,
    not_negative,
    sqrt,
    store,
    tap,
    traced,
    where_positive,
)

Floats = NDArray[np.float32]


class Pair(NamedTuple):
    first: Floats
    second: Floats


def numbers(seed: int) -> Floats:
    found = np.random.default_rng(seed).normal(size=2 * LANES).astype(np.float32)
    # Subnormal, negative zero, infinite, none.
    found[:4] = 1e-40, -0.0, np.inf, np.nan
    return found


@traced
def operators(pair, weights, number, out, at):
    a, b = load(pair.first, at), load(pair.second, at)
    values = (
        a + b, a - b, a * b, a / b, -a,
        2 + a, 2 - a, 2 * a, 2 / a, a + 0.1, a - 0.1, a * 0.1, a / 0.1,
        number * a, a * tap(weights, 1),
        not_negative(a), where_positive(a, b, 3), sqrt(b * b),
    )  # fmt: skip
    for row, value in enumerate(values):
        store(out, at + row * 2 * LANES, value)


@numba.njit
def compute(first, second, weights, number, out):
    pair = Pair(pointer(first), pointer(second))
    for at in range(0, first.size, LANES):
        operators(pair, pointer(weights), number, pointer(out), at)


def test_operators_are_those_of_float32() -> None:
    a, b, weights = numbers(0), numbers(1)[::-1].copy(), np.array([5, 0.3], np.float32)
    number, tenth = np.float32(0.7), np.float32(0.1)
    with np.errstate(all="ignore"):
        expected = [
            a + b, a - b, a * b, a / b, 0 - a,
            2 + a, 2 - a, 2 * a, 2 / a, a + tenth, a - tenth, a * tenth, a / tenth,
            number * a, a * weights[1],
            np.where(a < 0, 0, a), np.where(a > 0, b, 3), np.sqrt(b * b),
        ]  # fmt: skip
    out = np.empty((len(expected), 2 * LANES), np.float32)
    compute(a, b, weights, number, out)
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


@traced
def no_sums():
    return 0.0, (0.0,)


@traced
def add_to(sums, row, at, seen):
    assert seen is None
    x = load(row, at)
    return sums[0] + x, (multiply_add(x, x, sums[1][0]),)


@traced
def keep(out, at, sums):
    store(out, at, sums[0])
    store(out, at + LANES, sums[1][0])


@numba.njit
def sums_of(row, out):
    numbers = pointer(row)
    sums = no_sums()
    for at in range(0, row.size, LANES):
        sums = add_to(sums, numbers, at, None)
    keep(pointer(out), 0, sums)


def test_tuples_of_vectors_go_from_one_call_to_the_next() -> None:
    row = np.random.default_rng(0).integers(-8, 8, (5, LANES)).astype(np.float32)
    out = np.empty((2, LANES), np.float32)
    sums_of(row.ravel(), out.ravel())
    np.testing.assert_array_equal(out, np.stack((row.sum(0), (row * row).sum(0))))
