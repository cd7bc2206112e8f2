"""The passes of the CPU kernel over rows of pixels and of windows, traced.

A row buffer is a flat array of fields, STRIDE apart. All sums are about a pixel of the window, as
in `analytic.passes`. The axis across rows comes first on the way to the windows and last on the
way back: what lies between are single rows, which stay in the cache.

Each pass goes along a row, LANES columns at a time.
"""

from __future__ import annotations

from typing import Any

from ...availability import LARGEST_NUMBA_WINDOW
from ...formulas import EPS, compiled
from .memory import Kept, load, load_one, store
from .tracing import each, steps
from .values import LANES, Value, choose, multiply_add, sqrt

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


def not_negative(value: Value) -> Value:
    """0 instead of negative numbers; NaN remains."""
    return choose(value < 0, 0, value)


# The formulas of one window and one pixel, for vectors of them.
formulas: Any = compiled(
    lambda formula: formula,
    EPS=EPS,
    sqrt=sqrt,
    multiply_add=multiply_add,
    not_negative=not_negative,
)


def load_fields(row, at):
    return tuple(load(row, at + field) for field in FIELDS)


def store_fields(row, at, values):
    for field, value in zip(FIELDS, values, strict=True):
        store(row, at + field, value)


def column_moments(pixels, columns, row, taps, size, count):
    """Moments of windows down the columns, K x 1, from K rows of pixels, the first at `row`."""
    half = size // 2
    for i in steps(0, count, LANES):
        centre = row + half * PIXELS + i
        pivots = load(pixels, centre), load(pixels, centre + Y)
        # The pivots' own sums: 0, or NaN where one is not finite.
        x, y = pivots[0] - pivots[0], pivots[1] - pivots[1]
        sums = Kept((x, y, x, y, x + y))
        for j in each(half):
            above, below = row + j * PIXELS + i, row + (size - 1 - j) * PIXELS + i
            sums.now = add_pixels(sums.now, load_one(taps, j), pixels, above, below, pivots)
        store_fields(columns, i, formulas.moments_of(*pivots, sums.now))


def add_pixels(sums, weight, pixels, above, below, pivots):
    """Sums of dx, dy, dx^2, dy^2 and dx dy, and two more pixels of one tap.

    Not (weight * dx) * dy: results do not depend on the images' order.
    """
    dx, dy = load(pixels, above) - pivots[0], load(pixels, above + Y) - pivots[1]
    ex, ey = load(pixels, below) - pivots[0], load(pixels, below + Y) - pivots[1]
    return (
        multiply_add(weight, dx + ex, sums[0]),
        multiply_add(weight, dy + ey, sums[1]),
        multiply_add(weight, multiply_add(ex, ex, dx * dx), sums[2]),
        multiply_add(weight, multiply_add(ey, ey, dy * dy), sums[3]),
        multiply_add(weight, multiply_add(ex, ey, dx * dy), sums[4]),
    )


def window_moments(columns, windows, taps, size, count, first):
    """Moments of a row of windows, K x K, from those of K columns; kept from `first` on."""
    half = size // 2
    for i in steps(0, count, LANES):
        centre, weight = load_fields(columns, i + half), load_one(taps, half)
        pivots = centre[:2]
        sums = Kept(tuple(weight * value for value in formulas.about(centre, *pivots)))
        for j in each(half):
            left = formulas.about(load_fields(columns, i + j), *pivots)
            right = formulas.about(load_fields(columns, i + size - 1 - j), *pivots)
            both = tuple(a + b for a, b in zip(left, right, strict=True))
            sums.now = formulas.add(sums.now, load_one(taps, j), both)
        whole = formulas.whole_window(formulas.moments_of(*pivots, sums.now))
        store_fields(windows, first + i, whole)


def gather_and_spread(pixels, gradients, row, columns, windows, taps, size, first, count, image):
    """Adds the brackets of a row of windows to the gradients of the pixels that they hold.

    They are gathered along the row about each column's pivots, and then spread down the column
    over K rows of pixels, the first at `row`. The columns begin at `first`; `image` is x, 0, or
    y, 1.
    """
    half = size // 2
    for i in steps(0, count, LANES):
        pivots = tuple(load(columns, first + i + field) for field in (image * Y, Y - image * Y))
        centre, weight = bracket_about(windows, i + half, image, pivots), load_one(taps, half)
        bracket = Kept(tuple(part * weight for part in centre))
        for j in each(half):
            left = bracket_about(windows, i + j, image, pivots)
            right = bracket_about(windows, i + size - 1 - j, image, pivots)
            bracket.now = tuple(
                multiply_add(load_one(taps, j), a + b, total)
                for a, b, total in zip(left, right, bracket.now, strict=True)
            )
        gathered = bracket.now
        for j in each(size):
            at, weight = row + j * PIXELS + first + i, load_one(taps, j)
            spread(gathered, weight, pixels, gradients, at, image, pivots)


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


def spread(bracket, weight, pixels, gradients, at, image, pivots):
    """What a bracket adds to the gradients of one row of pixels."""
    own, other = at + image * Y, at + Y - image * Y
    distances = load(pixels, own) - pivots[0], load(pixels, other) - pivots[1]
    value = formulas.bracket_at(*bracket, *distances)
    store(gradients, own, multiply_add(weight, value, load(gradients, own)))
