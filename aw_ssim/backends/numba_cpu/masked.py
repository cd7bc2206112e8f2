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
from .loops import load_one, njit, pointer, store_one
from .passes import PIXELS, STRIDE, ZERO, Y
from .scratch import aligned, tile_rows
from .vectors import LANES, formulas, load, multiply_add, store, tap, traced, where_positive

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


@traced
def nothing_seen():
    return 0.0, 0.0, 0.0


def see(seen, share, x, y):
    """Total weight, and sums of both images."""
    total, sum_x, sum_y = seen
    return total + share, multiply_add(share, x, sum_x), multiply_add(share, y, sum_y)


@traced
def see_pixels(seen, taps, j, mask, pixels, at, i):
    share = tap(taps, j) * load(mask.rows, i)
    return see(seen, share, load(pixels, at), load(pixels, at + Y))


@traced
def see_columns(seen, taps, j, mask, columns, at):
    share = tap(taps, j) * load(mask.weights, at)
    return see(seen, share, load(columns, at), load(columns, at + Y))


@traced
def mean_of(seen):
    """The inverse of the total weight, and the weighted means, which are the pivots."""
    total, sum_x, sum_y = seen
    inverse = 1 / where_positive(total, total, 1)
    return inverse, (sum_x * inverse, sum_y * inverse)


@traced
def no_sums():
    return 0.0, 0.0, 0.0, 0.0, 0.0


@traced
def add_pixels(sums, taps, j, mask, pixels, at, i, pivots):
    share = tap(taps, j) * load(mask.rows, i)
    dx, dy = load(pixels, at) - pivots[0], load(pixels, at + Y) - pivots[1]
    return formulas.add(sums, share, (dx, dy, dx * dx, dy * dy, dx * dy))


@traced
def add_columns(sums, taps, j, mask, columns, at, pivots):
    share = tap(taps, j) * load(mask.weights, at)
    return formulas.add(sums, share, formulas.about(passes.load_fields(columns, at), *pivots))


def moments_of(pivots, sums, inverse):
    return formulas.moments_of(*pivots, [total * inverse for total in sums])


@traced
def store_columns(mask, columns, i, seen, inverse, pivots, sums):
    passes.store_fields(columns, i, moments_of(pivots, sums, inverse))
    store(mask.weights, i, seen[0])


@traced
def store_windows(mask, windows, at, i, inverse, pivots, sums):
    passes.store_fields(windows, at, formulas.whole_window(moments_of(pivots, sums, inverse)))
    store(mask.inverses, i, inverse)


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
        seen = nothing_seen()
        for j in range(size):
            at, weight = row + j * PIXELS + i, row // 2 + j * STRIDE + i
            seen = see_pixels(seen, taps, j, mask, pixels, at, weight)
        inverse, pivots = mean_of(seen)
        sums = no_sums()
        for j in range(size):
            at, weight = row + j * PIXELS + i, row // 2 + j * STRIDE + i
            sums = add_pixels(sums, taps, j, mask, pixels, at, weight, pivots)
        store_columns(mask, columns, i, seen, inverse, pivots, sums)


@njit
def window_moments(mask, columns, windows, taps, size, count, first):
    """Also 1 over the windows' total weights."""
    if mask is None:
        passes.window_moments(columns, windows, taps, size, count, first)
    else:
        _window_moments(mask, columns, windows, taps, size, count, first)


@njit
def _window_moments(mask, columns, windows, taps, size, count, first):
    for i in range(0, count, LANES):
        seen = nothing_seen()
        for j in range(size):
            seen = see_columns(seen, taps, j, mask, columns, i + j)
        inverse, pivots = mean_of(seen)
        sums = no_sums()
        for j in range(size):
            sums = add_columns(sums, taps, j, mask, columns, i + j, pivots)
        store_windows(mask, windows, first + i, i, inverse, pivots, sums)


def over_totals(mask, factor, i):
    """`factor` over the windows' total weights."""
    return factor if mask is None else factor * load(mask.inverses, i)


@traced
def weigh_window(mask, each, term, weights, at, centre):
    store(weights, at, tap(each, term) * load(mask.rows, centre))


@njit
def weigh_windows(mask, each, weights, row, size, count):
    """Each window's weights of the terms: by the mask at its centre."""
    centres = row // 2 + size // 2 * STRIDE + size // 2
    for i in range(0, count, LANES):
        for term in range(3):
            weigh_window(mask, each, term, weights, term * STRIDE + i, centres + i)


@traced
def weigh_gradient(mask, gradients, at, seen):
    weight, gradient = load(mask.rows, seen), load(gradients, at)
    store(gradients, at, where_positive(weight, weight * gradient, 0))


@njit
def weigh_gradients(mask, gradients, at, seen, count):
    """By the mask at each pixel, from `seen` on; 0 where one is hidden and its sum not finite."""
    for i in range(0, count, LANES):
        weigh_gradient(mask, gradients, at + i, seen + i)
