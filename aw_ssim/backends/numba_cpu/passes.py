"""The passes of the CPU kernel over rows of pixels and of windows, in numba.

A row buffer is a flat array of fields, STRIDE apart. All sums are about a pixel of the window, as
in `analytic.passes`. The axis across rows comes first on the way to the windows and last on the
way back: what lies between are single rows, which stay in the cache.

Each pass is a loop; above it stands what it does with vectors, LANES columns at a time.
"""

from __future__ import annotations

import numpy as np

from ...availability import LARGEST_NUMBA_WINDOW
from .loops import njit
from .vectors import LANES, formulas, load, multiply_add, store, tap, traced

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
FIELDS = tuple(range(0, MOMENTS, STRIDE))
Y = STRIDE
# What takes the moments' place in windows' brackets, behind the pivots: what `bracket_of` gives.
BASE, OWN, CROSS = 2 * STRIDE, 3 * STRIDE, 6 * STRIDE
# From the bracket of x to that of y.
OF_Y = 2 * STRIDE


@traced
def centre_pixels(pixels, at):
    """The windows' pivots, and their own sums: 0, or NaN where one is not finite."""
    pivots = load(pixels, at), load(pixels, at + Y)
    x, y = pivots[0] - pivots[0], pivots[1] - pivots[1]
    return pivots, (x, y, x, y, x + y)


@traced
def add_pixels(sums, taps, j, pixels, above, below, pivots):
    """Sums of dx, dy, dx^2, dy^2 and dx dy, and two more pixels of one tap.

    Not (weight * dx) * dy: results do not depend on the images' order.
    """
    weight = tap(taps, j)
    dx, dy = load(pixels, above) - pivots[0], load(pixels, above + Y) - pivots[1]
    ex, ey = load(pixels, below) - pivots[0], load(pixels, below + Y) - pivots[1]
    return (
        multiply_add(weight, dx + ex, sums[0]),
        multiply_add(weight, dy + ey, sums[1]),
        multiply_add(weight, multiply_add(ex, ex, dx * dx), sums[2]),
        multiply_add(weight, multiply_add(ey, ey, dy * dy), sums[3]),
        multiply_add(weight, multiply_add(ex, ey, dx * dy), sums[4]),
    )


@traced
def store_columns(columns, i, pivots, sums):
    store_fields(columns, i, formulas.moments_of(*pivots, sums))


@njit
def column_moments(pixels, columns, row, taps, size, count):
    """Moments of windows down the columns, K x 1, from K rows of pixels, the first at `row`."""
    half = size // 2
    for i in range(0, count, LANES):
        pivots, sums = centre_pixels(pixels, row + half * PIXELS + i)
        for j in range(half):
            above, below = row + j * PIXELS + i, row + (size - 1 - j) * PIXELS + i
            sums = add_pixels(sums, taps, j, pixels, above, below, pivots)
        store_columns(columns, i, pivots, sums)


def load_fields(row, i):
    return tuple(load(row, i + field) for field in FIELDS)


def store_fields(row, i, values):
    for field, value in zip(FIELDS, values, strict=True):
        store(row, i + field, value)


@traced
def centre_column(columns, at, taps, j):
    """The windows' pivots, and sums of the pivots' own columns."""
    centre = load_fields(columns, at)
    weight = tap(taps, j)
    values = formulas.about(centre, *centre[:2])
    return centre[:2], tuple(weight * value for value in values)


@traced
def add_columns(sums, taps, j, columns, left, right, pivots):
    """Two more columns of one tap."""
    on_the_left = formulas.about(load_fields(columns, left), *pivots)
    on_the_right = formulas.about(load_fields(columns, right), *pivots)
    both = tuple(a + b for a, b in zip(on_the_left, on_the_right, strict=True))
    return formulas.add(sums, tap(taps, j), both)


@traced
def store_windows(windows, at, pivots, sums):
    store_fields(windows, at, formulas.whole_window(formulas.moments_of(*pivots, sums)))


@njit
def window_moments(columns, windows, taps, size, count, first):
    """Moments of a row of windows, K x K, from those of K columns; kept from `first` on."""
    half = size // 2
    for i in range(0, count, LANES):
        pivots, sums = centre_column(columns, i + half, taps, half)
        for j in range(half):
            sums = add_columns(sums, taps, j, columns, i + j, i + size - 1 - j, pivots)
        store_windows(windows, first + i, pivots, sums)


@traced
def pivots_of(columns, at, image):
    """Of columns: the image's own, and the other's."""
    return load(columns, at + image * Y), load(columns, at + Y - image * Y)


def bracket_about(windows, at, image, pivots):
    """A window's bracket, moved from its own pivots to others: base, own and cross factor."""
    own, cross = load(windows, at + OWN + image * OF_Y), load(windows, at + CROSS)
    base = formulas.bracket_at(
        load(windows, at + BASE + image * OF_Y),
        own,
        cross,
        pivots[0] - load(windows, at + image * Y),
        pivots[1] - load(windows, at + Y - image * Y),
    )
    return base, own, cross


@traced
def centre_bracket(windows, at, image, pivots, taps, j):
    weight = tap(taps, j)
    return tuple(part * weight for part in bracket_about(windows, at, image, pivots))


@traced
def add_brackets(sums, taps, j, windows, left, right, image, pivots):
    """Two more windows of one tap."""
    weight = tap(taps, j)
    on_the_left = bracket_about(windows, left, image, pivots)
    on_the_right = bracket_about(windows, right, image, pivots)
    return tuple(
        multiply_add(weight, a + b, total)
        for a, b, total in zip(on_the_left, on_the_right, sums, strict=True)
    )


@traced
def spread(bracket, taps, j, pixels, gradients, at, image, pivots):
    """What a bracket adds to the gradients of one row of pixels."""
    own, other = at + image * Y, at + Y - image * Y
    distances = load(pixels, own) - pivots[0], load(pixels, other) - pivots[1]
    value = formulas.bracket_at(*bracket, *distances)
    store(gradients, own, multiply_add(tap(taps, j), value, load(gradients, own)))


@njit
def gather_and_spread(pixels, gradients, row, columns, windows, taps, size, first, count, image):
    """Adds the brackets of a row of windows to the gradients of the pixels that they hold.

    They are gathered along the row about each column's pivots, and then spread down the column
    over K rows of pixels, the first at `row`. The columns begin at `first`; `image` is x, 0, or
    y, 1.
    """
    half = size // 2
    for i in range(0, count, LANES):
        pivots = pivots_of(columns, first + i, image)
        bracket = centre_bracket(windows, i + half, image, pivots, taps, half)
        for j in range(half):
            left, right = i + j, i + size - 1 - j
            bracket = add_brackets(bracket, taps, j, windows, left, right, image, pivots)
        for j in range(size):
            at = row + j * PIXELS + first + i
            spread(bracket, taps, j, pixels, gradients, at, image, pivots)
