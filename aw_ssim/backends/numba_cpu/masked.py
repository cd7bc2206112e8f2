"""The passes of the CPU kernel with a mask or, where that is None, as `passes` has them; traced.

A pixel counts in a window by its tap times the mask, over the window's total of these. Hidden
pixels are 0 from the start, whatever they hold. The centre of a window may be hidden, so sums are
about the weighted mean of the pixels, or of the columns' pivots.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import passes
from .memory import Kept, load, load_one, store
from .passes import PIXELS, STRIDE, Y, formulas
from .scratch import aligned, tile_rows
from .tracing import each, steps
from .values import LANES, choose, constant, multiply_add

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


def hide(mask, pixels, row, count):
    """Makes the hidden pixels of a row 0: a NaN among them must not count."""
    for i in steps(0, count, LANES):
        seen = load(mask.rows, row // 2 + i) > 0
        for at in (row + i, row + i + Y):
            store(pixels, at, choose(seen, load(pixels, at), 0))


def column_moments(mask, pixels, columns, row, taps, size, count):
    """Also the columns' weights."""
    if mask is None:
        passes.column_moments(pixels, columns, row, taps, size, count)
        return
    for i in steps(0, count, LANES):

        def share_and_pixels(j, i=i):
            at = row + j * PIXELS + i
            share = load_one(taps, j) * load(mask.rows, row // 2 + j * STRIDE + i)
            return share, load(pixels, at), load(pixels, at + Y)

        total, inverse, pivots = seen_through(share_and_pixels, size)
        sums = Kept((constant(0),) * 5)
        for j in each(size):
            share, x, y = share_and_pixels(j)
            dx, dy = x - pivots[0], y - pivots[1]
            sums.now = formulas.add(sums.now, share, (dx, dy, dx * dx, dy * dy, dx * dy))
        passes.store_fields(columns, i, moments_of(pivots, sums.now, inverse))
        store(mask.weights, i, total)


def window_moments(mask, columns, windows, taps, size, count, first):
    """Also 1 over the windows' total weights."""
    if mask is None:
        passes.window_moments(columns, windows, taps, size, count, first)
        return
    for i in steps(0, count, LANES):

        def share_and_pivots(j, i=i):
            share = load_one(taps, j) * load(mask.weights, i + j)
            return share, load(columns, i + j), load(columns, i + j + Y)

        _, inverse, pivots = seen_through(share_and_pivots, size)
        sums = Kept((constant(0),) * 5)
        for j in each(size):
            share = load_one(taps, j) * load(mask.weights, i + j)
            values = formulas.about(passes.load_fields(columns, i + j), *pivots)
            sums.now = formulas.add(sums.now, share, values)
        whole = formulas.whole_window(moments_of(pivots, sums.now, inverse))
        passes.store_fields(windows, first + i, whole)
        store(mask.inverses, i, inverse)


def seen_through(share_and_values, size):
    """The total weight, 1 over it, and the weighted means of both images, which are the pivots."""
    seen = Kept((constant(0),) * 3)
    for j in each(size):
        total, sum_x, sum_y = seen.now
        share, x, y = share_and_values(j)
        seen.now = total + share, multiply_add(share, x, sum_x), multiply_add(share, y, sum_y)
    total, sum_x, sum_y = seen.now
    inverse = 1 / choose(total > 0, total, 1)
    return total, inverse, (sum_x * inverse, sum_y * inverse)


def moments_of(pivots, sums, inverse):
    return formulas.moments_of(*pivots, [total * inverse for total in sums])


def over_totals(mask, factor, i):
    """`factor` over the windows' total weights."""
    return factor if mask is None else factor * load(mask.inverses, i)


def weigh_windows(mask, each, weights, row, size, count):
    """Each window's weights of the terms: by the mask at its centre."""
    centres = row // 2 + size // 2 * STRIDE + size // 2
    for i in steps(0, count, LANES):
        at_centre = load(mask.rows, centres + i)
        for term in range(3):
            store(weights, term * STRIDE + i, load_one(each, term) * at_centre)


def weigh_gradients(mask, gradients, at, seen, count):
    """By the mask at each pixel, from `seen` on; 0 where one is hidden and its sum not finite."""
    for i in steps(0, count, LANES):
        weight, gradient = load(mask.rows, seen + i), load(gradients, at + i)
        store(gradients, at + i, choose(weight > 0, weight * gradient, 0))
