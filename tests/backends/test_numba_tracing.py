"""What traced functions compute, against numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba", reason="numba is optional: the extra aw_ssim[cpu]")

import numba

from aw_ssim.backends.numba_cpu.memory import Kept, load, load_one, store, store_one, take_one
from aw_ssim.backends.numba_cpu.passes import not_negative
from aw_ssim.backends.numba_cpu.tracing import steps, traced, when
from aw_ssim.backends.numba_cpu.values import (
    LANES,
    choose,
    constant,
    double,
    index,
    least,
    most,
    multiply_add,
    sqrt,
)

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class Pair(NamedTuple):
    first: Floats
    second: Floats


def numbers(seed: int) -> Floats:
    found = np.random.default_rng(seed).normal(size=2 * LANES).astype(np.float32)
    # Subnormal, negative zero, infinite, none.
    found[:4] = 1e-40, -0.0, np.inf, np.nan
    return found


@traced
def operators(pair, nothing, weights, number, out):
    assert nothing is None
    for at in steps(0, pair.first.shape[0], LANES):
        a, b = load(pair.first, at), load(pair.second, at)
        values = (
            a + b, a - b, a * b, a / b, -a,
            2 + a, 2 - a, 2 * a, 2 / a, a + 0.1, a - 0.1, a * 0.1, a / 0.1,
            number * a, a * load_one(weights, 1), number / 2 + a,
            not_negative(a), choose(a > 0, b, 3), sqrt(b * b),
        )  # fmt: skip
        for row, value in enumerate(values):
            store(out, at + row * 2 * LANES, value)
    return constant(0, index)


def test_operators_are_those_of_float32() -> None:
    @numba.njit
    def compute(pair, weights, number, out):
        operators(pair, None, weights, number, out)

    a, b, weights = numbers(0), numbers(1)[::-1].copy(), np.array([5, 0.3], np.float32)
    number, tenth = np.float32(0.7), np.float32(0.1)
    with np.errstate(all="ignore"):
        expected = [
            a + b, a - b, a * b, a / b, 0 - a,
            2 + a, 2 - a, 2 * a, 2 / a, a + tenth, a - tenth, a * tenth, a / tenth,
            number * a, a * weights[1], number / np.float32(2) + a,
            np.where(a < 0, 0, a), np.where(a > 0, b, 3), np.sqrt(b * b),
        ]  # fmt: skip
    out = np.empty((len(expected), 2 * LANES), np.float32)
    compute(Pair(a, b), weights, number, out.ravel())
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


@traced
def sums_in_float64(rows, out):
    """Of rows 1, 3, ... and their squares by column; the sum of all of these comes back."""
    count, columns = rows.shape
    for i in steps(0, columns, LANES):
        sums = Kept((constant(0), constant(0)))
        for row in steps(1, count, 2):
            x = load(rows, row * columns + i)
            sums.now = sums.now[0] + x, multiply_add(x, x, sums.now[1])
        for row, total in enumerate(sums.now):
            store(out, row * columns + i, total)
    total = Kept(constant(0, double))
    for i in steps(2 * columns):
        total.now = total.now + load_one(out, i)
    return total.now


def test_loops_keep_what_they_change() -> None:
    @numba.njit
    def compute(rows, out):
        return sums_in_float64(rows, out)

    rows = np.random.default_rng(0).integers(-8, 8, (6, 2 * LANES)).astype(np.float32)
    out = np.empty((2, 2 * LANES), np.float32)
    total = compute(rows, out)
    expected = np.stack((rows[1::2].sum(0), (rows[1::2] ** 2).sum(0)))
    np.testing.assert_array_equal(out, expected)
    assert total == expected.sum(dtype=np.float64)


@traced
def decisions(counts, out, yes):
    a, b = load_one(counts, 0), load_one(counts, 1)
    found = (least(a, b), most(a, b), choose(a >= b, 10, 20), b // 3, 0 - a)
    for place, value in enumerate(found):
        store_one(out, place, value)
    for place, condition in enumerate((a < b, a == b, a != b, yes, ~yes), start=len(found)):
        store_one(out, place, 0)
        with when(condition):
            store_one(out, place, 1)
    return take_one(counts)


@pytest.mark.parametrize(("a", "b"), [(4, 7), (7, 4), (5, 5), (-2, 9)])
@pytest.mark.parametrize("yes", [False, True])
def test_indices_and_conditions_are_those_of_python(a: int, b: int, yes: bool) -> None:
    @numba.njit
    def compute(counts, out, yes):
        return decisions(counts, out, yes)

    counts, out = np.array([a, b]), np.empty(10, np.int64)
    taken = compute(counts, out, yes)
    expected = [min(a, b), max(a, b), 10 if a >= b else 20, b // 3, -a]
    expected += [a < b, a == b, a != b, yes, not yes]
    assert out.tolist() == expected
    assert taken == a
    assert counts.tolist() == [a + 1, b]


@traced
def asks(count):
    return count if count > 0 else -count


def test_python_is_not_asked_what_is_known_later() -> None:
    @numba.njit
    def compute(count):
        return asks(count)

    with pytest.raises(TypeError, match="use when or choose"):
        compute(3)
