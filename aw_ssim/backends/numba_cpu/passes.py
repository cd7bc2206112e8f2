"""The passes of the CPU kernel over rows of pixels and of windows, in numba.

A row buffer is a flat array of fields, STRIDE apart. All sums are about a pixel of the window, as
in `analytic.passes`. The axis across rows comes first on the way to the windows and last on the
way back: what lies between are single rows, which stay in the cache.
"""

from __future__ import annotations

import numpy as np

from ...availability import LARGEST_NUMBA_WINDOW
from .vectors import LANES, formulas, load, load_one, multiply_add, njit, splat, store

# Python's numbers would make numba compute in float64.
ZERO, ONE = np.float32(0), np.float32(1)

# The most rows and columns of a tile.
ROWS = 256
COLUMNS = 512
# Room for the tile, the neighbours under its windows on both sides and a vector's overhang; an
# odd number of cache lines, so that fields do not compete for the same ones.
STRIDE = COLUMNS + 2 * (LARGEST_NUMBA_WINDOW - 1) + 16
assert STRIDE >= COLUMNS + 2 * (LARGEST_NUMBA_WINDOW - 1) + LANES

# Fields of a row of pixels, or of their gradients: x, y.
PIXELS = 2 * STRIDE
# Of moments of columns or windows: pivots, shifts, variances, covariance.
MOMENTS = 7 * STRIDE
Y, SHIFT_X, SHIFT_Y, VAR_X, VAR_Y, COV = (STRIDE * i for i in range(1, 7))
# What takes the moments' place in windows' brackets, behind the pivots: what `bracket_of` gives.
BASE, OWN, CROSS = 2 * STRIDE, 3 * STRIDE, 6 * STRIDE
# From the bracket of x to that of y.
OF_Y = 2 * STRIDE


@njit
def tap(taps, j):
    return splat(load_one(taps, j))


@njit
def no_sums():
    return splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)


@njit
def centre_sums(pivot_x, pivot_y):
    """Sums of the pivots' own pixels: 0, or NaN where one is not finite."""
    x, y = pivot_x - pivot_x, pivot_y - pivot_y
    return x, y, x, y, x + y


@njit
def add_pair(sums, weight, dx, dy, ex, ey):
    """Sums of dx, dy, dx^2, dy^2 and dx dy, and two more pixels of one tap.

    Not (weight * dx) * dy: results do not depend on the images' order.
    """
    return (
        multiply_add(weight, dx + ex, sums[0]),
        multiply_add(weight, dy + ey, sums[1]),
        multiply_add(weight, multiply_add(ex, ex, dx * dx), sums[2]),
        multiply_add(weight, multiply_add(ey, ey, dy * dy), sums[3]),
        multiply_add(weight, multiply_add(ex, ey, dx * dy), sums[4]),
    )


@njit
def column_moments(pixels, columns, row, taps, size, count):
    """Moments of windows down the columns, K x 1, from K rows of pixels, the first at `row`."""
    for i in range(0, count, LANES):
        centre = row + size // 2 * PIXELS + i
        pivot_x, pivot_y = load(pixels, centre), load(pixels, centre + Y)
        sums = centre_sums(pivot_x, pivot_y)
        for j in range(size // 2):
            above, below = row + j * PIXELS + i, row + (size - 1 - j) * PIXELS + i
            sums = add_pair(
                sums,
                tap(taps, j),
                load(pixels, above) - pivot_x,
                load(pixels, above + Y) - pivot_y,
                load(pixels, below) - pivot_x,
                load(pixels, below + Y) - pivot_y,
            )
        store_fields(columns, i, formulas.moments_of(pivot_x, pivot_y, sums))


@njit
def window_moments(columns, windows, taps, size, count, first):
    """Moments of a row of windows, K x K, from those of K columns; kept from `first` on."""
    for i in range(0, count, LANES):
        centre = load_fields(columns, i + size // 2)
        pivot_x, pivot_y = centre[0], centre[1]
        values = formulas.about(centre, pivot_x, pivot_y)
        sums = formulas.add(no_sums(), tap(taps, size // 2), values)
        for j in range(size // 2):
            left = formulas.about(load_fields(columns, i + j), pivot_x, pivot_y)
            right = formulas.about(load_fields(columns, i + size - 1 - j), pivot_x, pivot_y)
            sums = formulas.add(sums, tap(taps, j), both(left, right))
        m = formulas.whole_window(formulas.moments_of(pivot_x, pivot_y, sums))
        store_fields(windows, first + i, m)


@njit
def both(left, right):
    return (
        left[0] + right[0],
        left[1] + right[1],
        left[2] + right[2],
        left[3] + right[3],
        left[4] + right[4],
    )


@njit
def load_fields(row, i):
    return (
        load(row, i),
        load(row, i + Y),
        load(row, i + SHIFT_X),
        load(row, i + SHIFT_Y),
        load(row, i + VAR_X),
        load(row, i + VAR_Y),
        load(row, i + COV),
    )


@njit
def store_fields(row, i, fields):
    store(row, i, fields[0])
    store(row, i + Y, fields[1])
    store(row, i + SHIFT_X, fields[2])
    store(row, i + SHIFT_Y, fields[3])
    store(row, i + VAR_X, fields[4])
    store(row, i + VAR_Y, fields[5])
    store(row, i + COV, fields[6])


@njit
def bracket_about(windows, at, image, pivot, other):
    """A window's bracket, moved from its own pivots to others: base, own and cross factor."""
    own = load(windows, at + OWN + image * OF_Y)
    cross = load(windows, at + CROSS)
    base = formulas.bracket_at(
        load(windows, at + BASE + image * OF_Y),
        own,
        cross,
        pivot - load(windows, at + image * Y),
        other - load(windows, at + Y - image * Y),
    )
    return base, own, cross


@njit
def gather_and_spread(pixels, gradients, row, columns, windows, taps, size, first, count, image):
    """Adds the brackets of a row of windows to the gradients of the pixels that they hold.

    They are gathered along the row about each column's pivots, and then spread down the column
    over K rows of pixels, the first at `row`. The columns begin at `first`; `image` is x, 0, or
    y, 1.
    """
    own_image, other_image = image * Y, Y - image * Y
    for i in range(0, count, LANES):
        pivot, other = load(columns, first + i + own_image), load(columns, first + i + other_image)
        weight = tap(taps, size // 2)
        base, own, cross = bracket_about(windows, i + size // 2, image, pivot, other)
        base, own, cross = base * weight, own * weight, cross * weight
        for j in range(size // 2):
            weight = tap(taps, j)
            left = bracket_about(windows, i + j, image, pivot, other)
            right = bracket_about(windows, i + size - 1 - j, image, pivot, other)
            base = multiply_add(weight, left[0] + right[0], base)
            own = multiply_add(weight, left[1] + right[1], own)
            cross = multiply_add(weight, left[2] + right[2], cross)
        for j in range(size):
            at = row + j * PIXELS + first + i
            value = formulas.bracket_at(
                base,
                own,
                cross,
                load(pixels, at + own_image) - pivot,
                load(pixels, at + other_image) - other,
            )
            gradient = load(gradients, at + own_image)
            store(gradients, at + own_image, multiply_add(tap(taps, j), value, gradient))
