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
from .passes import BASE, CROSS, GATHERED, OF_Y, OWN, PIXELS, STRIDE, ZERO, Y
from .vectors import LANES, formulas, load, multiply_add, njit, splat, store, where_positive

ONE = np.float32(1)

Floats = NDArray[np.float32]


class Mask(NamedTuple):
    """The mask, and a thread's rows of it.

    planes: N x H x W, or N C x H x W. rows: a ring of rows as `Scratch.pixels` has. pivots: a ring
    of the columns' pivots, as `Scratch.gathered` has of sums. weights: the columns' totals.
    """

    planes: Floats
    rows: Floats
    pivots: Floats
    weights: Floats


def rows_of(window: int) -> tuple[Floats, Floats, Floats]:
    """Room for `rows`, `pivots` and `weights`."""
    sizes = ((window + window // 2) * STRIDE, window * PIXELS, STRIDE)
    rows, pivots, weights = (np.zeros(size, np.float32) for size in sizes)
    return rows, pivots, weights


@njit
def load_row(row, first, seen, pixels):
    """A row of the mask. Makes hidden pixels 0: a NaN among them must not count."""
    passes.copy_mirrored(row, first, ONE, seen)
    for i in range(seen.size):
        if not seen[i] > ZERO:
            pixels[i] = ZERO
            pixels[Y + i] = ZERO


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
def column_moments(scratch, mask, oldest, taps, count):
    """Also the columns' weights."""
    if mask is None:
        passes.column_moments(scratch, oldest, taps, count)
    else:
        _column_moments(scratch, mask, oldest, taps, count)


@njit
def _column_moments(scratch, mask, oldest, taps, count):
    size, pixels, places = taps.size, scratch.pixels, scratch.pixel_places
    for i in range(0, count, LANES):
        total, sum_x, sum_y = splat(ZERO), splat(ZERO), splat(ZERO)
        for j in range(size):
            at = places[oldest + j]
            share = taps[j] * load(mask.rows, at // 2 + i)
            total = total + share
            sum_x = multiply_add(share, load(pixels, at + i), sum_x)
            sum_y = multiply_add(share, load(pixels, at + Y + i), sum_y)
        inverse = inverse_of(total)
        pivot_x, pivot_y = sum_x * inverse, sum_y * inverse
        sums = passes.no_sums()
        for j in range(size):
            at = places[oldest + j]
            share = taps[j] * load(mask.rows, at // 2 + i)
            dx, dy = load(pixels, at + i) - pivot_x, load(pixels, at + Y + i) - pivot_y
            sums = (
                multiply_add(share, dx, sums[0]),
                multiply_add(share, dy, sums[1]),
                multiply_add(share, dx * dx, sums[2]),
                multiply_add(share, dy * dy, sums[3]),
                multiply_add(share, dx * dy, sums[4]),
            )
        moments = formulas.moments_of(pivot_x, pivot_y, scaled(sums, inverse))
        passes.store_fields(scratch.columns, i, moments)
        store(mask.weights, i, total)


@njit
def window_moments(columns, mask, taps, i):
    """Also 1 over the windows' total weights."""
    if mask is None:
        return passes.window_moments(columns, taps, i), splat(ONE)
    else:
        return _window_moments(columns, mask, taps, i)


@njit
def _window_moments(columns, mask, taps, i):
    size = taps.size
    total, sum_x, sum_y = splat(ZERO), splat(ZERO), splat(ZERO)
    for j in range(size):
        share = taps[j] * load(mask.weights, i + j)
        total = total + share
        sum_x = multiply_add(share, load(columns, i + j), sum_x)
        sum_y = multiply_add(share, load(columns, i + j + Y), sum_y)
    inverse = inverse_of(total)
    pivot_x, pivot_y = sum_x * inverse, sum_y * inverse
    sums = passes.no_sums()
    for j in range(size):
        share = taps[j] * load(mask.weights, i + j)
        entry = passes.load_fields(columns, i + j)
        sums = formulas.add(sums, share, formulas.about(entry, pivot_x, pivot_y))
    moments = formulas.moments_of(pivot_x, pivot_y, scaled(sums, inverse))
    return formulas.whole_window(moments), inverse


@njit
def weigh_windows(mask, centres, terms, weights, count):
    """Each window's weights of the terms: by the mask at its centre."""
    for i in range(0, count, LANES):
        centre = load(mask.rows, centres + i)
        for term in range(terms.size):
            store(weights, term * STRIDE + i, terms[term] * centre)


@njit
def keep_pivots(scratch, mask, row, first, count):
    """The columns' pivots, which are no pixels then, for `gather_down`."""
    if mask is not None:
        out, columns = mask.pivots[row * PIXELS :], scratch.columns[first:]
        for i in range(0, count, LANES):
            store(out, i, load(columns, i))
            store(out, i + Y, load(columns, i + Y))


@njit
def gather_down(scratch, mask, rows, pivot_rows, used, taps, tap, row, first, count, image):
    """By the mask at each pixel."""
    if mask is None:
        passes.gather_down(scratch, rows, pivot_rows, used, taps, tap, row, first, count, image)
    else:
        _gather_down(scratch, mask, rows, used, taps, tap, row, first, count, image)


@njit
def _gather_down(scratch, mask, rows, used, taps, tap, row, first, count, image):
    gathered, pixels, seen = scratch.gathered, scratch.pixels[first:], mask.rows[first:]
    own_pixel, other_pixel = image * Y, Y - image * Y
    base, own = BASE + image * OF_Y, OWN + image * OF_Y
    for i in range(0, count, LANES):
        pixel, other = load(pixels, row + i + own_pixel), load(pixels, row + i + other_pixel)
        total = splat(ZERO)
        for j in range(used):
            at = scratch.gathered_places[rows + j]
            pivot = at // GATHERED * PIXELS + i
            value = formulas.bracket_at(
                load(gathered, at + i + base),
                load(gathered, at + i + own),
                load(gathered, at + i + CROSS),
                pixel - load(mask.pivots, pivot + own_pixel),
                other - load(mask.pivots, pivot + other_pixel),
            )
            total = multiply_add(splat(taps[tap - j]), value, total)
        weight = load(seen, row // 2 + i)
        store(scratch.line, i, where_positive(weight, weight * total, splat(ZERO)))
