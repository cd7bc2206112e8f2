"""The passes of the CPU kernel with a mask or, where that is None, as `passes` has them.

numba leaves out the branch that is not taken before it compiles.

A pixel counts in a window by its tap times the mask, over the window's total of these. Hidden
pixels are 0 from the start, whatever they hold. The centre of a window may be hidden, so sums are
about the weighted mean of the pixels, or of the columns' pivots.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import passes
from .passes import ONE, PIXELS, STRIDE, ZERO, Y
from .scratch import aligned, tile_rows
from .vectors import (
    LANES,
    formulas,
    load,
    load_one,
    multiply_add,
    njit,
    pointer,
    splat,
    store,
    store_one,
    where_positive,
)

Floats = NDArray[np.float32]


class Mask(NamedTuple):
    """The mask, and a thread's rows of it.

    planes: N x H x W, or N C x H x W. rows: a tile's rows, a field each. weights: the columns'
    totals. inverses: 1 over those of windows.
    """

    planes: Floats
    rows: Floats
    weights: Floats
    inverses: Floats


def rows_of(window: int) -> tuple[Floats, Floats, Floats]:
    """Room for `rows`, `weights` and `inverses`."""
    return aligned(tile_rows(window) * STRIDE), aligned(STRIDE), aligned(STRIDE)


@njit
def pointers(mask):
    if mask is None:
        return None
    else:
        return Mask(mask.planes, pointer(mask.rows), pointer(mask.weights), pointer(mask.inverses))


@njit
def hide(mask, pixels, row, count):
    """Makes the hidden pixels of a row 0: a NaN among them must not count."""
    for i in range(count):
        if not load_one(mask.rows, row // 2 + i) > ZERO:
            store_one(pixels, row + i, ZERO)
            store_one(pixels, row + i + Y, ZERO)


@njit
def inverse_of(total):
    return ONE / where_positive(total, total, splat(ONE))


@njit
def scaled(sums, factor):
    return (
        sums[0] * factor,
        sums[1] * factor,
        sums[2] * factor,
        sums[3] * factor,
        sums[4] * factor,
    )


@njit
def column_moments(mask, pixels, columns, row, taps, size, count):
    """Also the columns' weights."""
    if mask is None:
        passes.column_moments(pixels, columns, row, taps, size, count)
    else:
        _column_moments(mask, pixels, columns, row, taps, size, count)


@njit
def _column_moments(mask, pixels, columns, row, taps, size, count):
    for i in range(0, count, LANES):
        total, sum_x, sum_y = splat(ZERO), splat(ZERO), splat(ZERO)
        for j in range(size):
            at = row + j * PIXELS + i
            share = passes.tap(taps, j) * load(mask.rows, row // 2 + j * STRIDE + i)
            total = total + share
            sum_x = multiply_add(share, load(pixels, at), sum_x)
            sum_y = multiply_add(share, load(pixels, at + Y), sum_y)
        inverse = inverse_of(total)
        pivot_x, pivot_y = sum_x * inverse, sum_y * inverse
        sums = passes.no_sums()
        for j in range(size):
            at = row + j * PIXELS + i
            share = passes.tap(taps, j) * load(mask.rows, row // 2 + j * STRIDE + i)
            dx, dy = load(pixels, at) - pivot_x, load(pixels, at + Y) - pivot_y
            sums = formulas.add(sums, share, (dx, dy, dx * dx, dy * dy, dx * dy))
        moments = formulas.moments_of(pivot_x, pivot_y, scaled(sums, inverse))
        passes.store_fields(columns, i, moments)
        store(mask.weights, i, total)


@njit
def window_moments(mask, columns, windows, taps, size, count, first):
    """Also 1 over the windows' total weights."""
    if mask is None:
        passes.window_moments(columns, windows, taps, size, count, first)
    else:
        for i in range(0, count, LANES):
            _window_moments(mask, columns, windows, taps, size, i, first)


@njit
def _window_moments(mask, columns, windows, taps, size, i, first):
    total, sum_x, sum_y = splat(ZERO), splat(ZERO), splat(ZERO)
    for j in range(size):
        share = passes.tap(taps, j) * load(mask.weights, i + j)
        total = total + share
        sum_x = multiply_add(share, load(columns, i + j), sum_x)
        sum_y = multiply_add(share, load(columns, i + j + Y), sum_y)
    inverse = inverse_of(total)
    pivot_x, pivot_y = sum_x * inverse, sum_y * inverse
    sums = passes.no_sums()
    for j in range(size):
        share = passes.tap(taps, j) * load(mask.weights, i + j)
        entry = passes.load_fields(columns, i + j)
        sums = formulas.add(sums, share, formulas.about(entry, pivot_x, pivot_y))
    moments = formulas.moments_of(pivot_x, pivot_y, scaled(sums, inverse))
    passes.store_fields(windows, first + i, formulas.whole_window(moments))
    store(mask.inverses, i, inverse)


@njit
def over_totals(mask, factor, i):
    """`factor` over the windows' total weights."""
    if mask is None:
        return factor
    else:
        return factor * load(mask.inverses, i)


@njit
def weigh_windows(mask, each, weights, row, size, count):
    """Each window's weights of the terms: by the mask at its centre."""
    centres = row // 2 + size // 2 * STRIDE + size // 2
    for i in range(0, count, LANES):
        centre = load(mask.rows, centres + i)
        for term in range(3):
            store(weights, term * STRIDE + i, splat(load_one(each, term)) * centre)


@njit
def weigh_gradients(mask, gradients, at, seen, count):
    """By the mask at each pixel, from `seen` on; 0 where one is hidden and its sum not finite."""
    for i in range(0, count, LANES):
        weight, gradient = load(mask.rows, seen + i), load(gradients, at + i)
        store(gradients, at + i, where_positive(weight, weight * gradient, splat(ZERO)))
