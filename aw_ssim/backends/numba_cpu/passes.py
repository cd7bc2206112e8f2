"""The passes of the CPU kernel over rows of pixels and of windows, in numba.

A row buffer is a flat array of fields, STRIDE apart. All sums are about a pixel of the window, as
in `analytic.passes`. The axis across rows comes first on the way to the windows and last on the
way back: the rings of rows then hold pixels and sums for pixels alone, and stay in the cache.
"""

from __future__ import annotations

import numpy as np

from ...availability import LARGEST_NUMBA_WINDOW
from .vectors import LANES, formulas, load, multiply_add, njit, splat, store

# Python's numbers would make numba compute in float64.
ZERO = np.float32(0)

# The most columns of a tile.
COLUMNS = 512
# Room for the tile, the neighbours under its windows on both sides and a vector's overhang; an
# odd number of cache lines, so that fields do not compete for the same ones.
STRIDE = COLUMNS + 2 * (LARGEST_NUMBA_WINDOW - 1) + 16
assert STRIDE >= COLUMNS + 2 * (LARGEST_NUMBA_WINDOW - 1) + LANES

# Fields of a row of pixels: x, y.
PIXELS = 2 * STRIDE
# Of moments of columns: pivots, shifts, variances, covariance.
MOMENTS = 7 * STRIDE
Y, SHIFT_X, SHIFT_Y, VAR_X, VAR_Y, COV = (STRIDE * i for i in range(1, 7))
# Of brackets: of windows, the pivots and what `bracket_of` gives; of pixels, the latter alone.
BRACKETS, GATHERED = 7 * STRIDE, 5 * STRIDE
PIVOTS = 2 * STRIDE
BASE, OWN, CROSS = 0, STRIDE, 4 * STRIDE
# From the bracket of x to that of y.
OF_Y = 2 * STRIDE


@njit
def mirrored(index, size):
    if index < 0:
        return -index
    return index if index < size else 2 * size - 2 - index


@njit
def copy_mirrored(row, first, data_range, out):
    """Pixels of a row from `first` on, as many as `out` holds, divided by the data range."""
    low, high = max(0, -first), min(out.size, row.size - first)
    inner, target = row[first + low : first + high], out[low:high]
    for i in range(target.size):
        target[i] = inner[i] / data_range
    for i in range(low):
        out[i] = row[mirrored(first + i, row.size)] / data_range
    for i in range(high, out.size):
        out[i] = row[mirrored(first + i, row.size)] / data_range


@njit
def copy_back(line, first, data_range, row):
    target = row[first : first + line.size]
    for i in range(line.size):
        target[i] = line[i] / data_range


@njit
def add_mirrored(line, first, data_range, row):
    """The reverse of `copy_mirrored`."""
    low, high = max(0, -first), min(line.size, row.size - first)
    inner, target = line[low:high], row[first + low : first + high]
    for i in range(target.size):
        target[i] += inner[i] / data_range
    for i in range(low):
        row[mirrored(first + i, row.size)] += line[i] / data_range
    for i in range(high, line.size):
        row[mirrored(first + i, row.size)] += line[i] / data_range


@njit
def no_sums():
    return splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)


@njit
def centre_sums(pivot_x, pivot_y):
    """Sums of the pivots' own pixels: 0, or NaN where one is not finite."""
    x, y = pivot_x - pivot_x, pivot_y - pivot_y
    return x, y, x, y, x + y


@njit
def add_pair(sums, tap, dx, dy, ex, ey):
    """Sums of dx, dy, dx^2, dy^2 and dx dy, and two more pixels of one tap.

    Not (tap * dx) * dy: results do not depend on the images' order.
    """
    return (
        multiply_add(tap, dx + ex, sums[0]),
        multiply_add(tap, dy + ey, sums[1]),
        multiply_add(tap, multiply_add(ex, ex, dx * dx), sums[2]),
        multiply_add(tap, multiply_add(ey, ey, dy * dy), sums[3]),
        multiply_add(tap, multiply_add(ex, ey, dx * dy), sums[4]),
    )


@njit
def column_moments(scratch, oldest, taps, count):
    """Moments of windows down the columns, K x 1, from K rows of pixels, the `oldest` first."""
    size, pixels, places = taps.size, scratch.pixels, scratch.pixel_places
    centre = places[oldest + size // 2]
    for i in range(0, count, LANES):
        pivot_x, pivot_y = load(pixels, centre + i), load(pixels, centre + Y + i)
        sums = centre_sums(pivot_x, pivot_y)
        for j in range(size // 2):
            above, below = places[oldest + j] + i, places[oldest + size - 1 - j] + i
            sums = add_pair(
                sums,
                splat(taps[j]),
                load(pixels, above) - pivot_x,
                load(pixels, above + Y) - pivot_y,
                load(pixels, below) - pivot_x,
                load(pixels, below + Y) - pivot_y,
            )
        store_fields(scratch.columns, i, formulas.moments_of(pivot_x, pivot_y, sums))


@njit
def window_moments(columns, taps, i):
    """Moments of the windows, K x K, whose first columns are `i` and the following."""
    size = taps.size
    pivot_x, pivot_y = load(columns, i + size // 2), load(columns, i + size // 2 + Y)
    sums = no_sums()
    for j in range(size):
        entry = load_fields(columns, i + j)
        sums = formulas.add(sums, splat(taps[j]), formulas.about(entry, pivot_x, pivot_y))
    return formulas.whole_window(formulas.moments_of(pivot_x, pivot_y, sums))


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
def gather_along(scratch, row, taps, first, count, image):
    """Brackets of the K windows of a row that hold each pixel column, summed about its pivots.

    Of the windows whose place is `row`; the pixel columns begin at `first` of `columns`; `image`
    is x, 0, or y, 1.
    """
    size, brackets = taps.size, scratch.brackets
    columns, out = scratch.columns[first:], scratch.gathered[scratch.gathered_places[row] :]
    own_pivot, other_pivot = image * Y, Y - image * Y
    base, own = PIVOTS + BASE + image * OF_Y, PIVOTS + OWN + image * OF_Y
    for i in range(0, count, LANES):
        pivot, other = load(columns, i + own_pivot), load(columns, i + other_pivot)
        sum_base, sum_own, sum_cross = splat(ZERO), splat(ZERO), splat(ZERO)
        for j in range(size):
            at, tap = i + j, splat(taps[size - 1 - j])
            factor_own, factor_cross = load(brackets, at + own), load(brackets, at + PIVOTS + CROSS)
            # A window's bracket, moved from its own pivots to those of the column.
            value = formulas.bracket_at(
                load(brackets, at + base),
                factor_own,
                factor_cross,
                pivot - load(brackets, at + own_pivot),
                other - load(brackets, at + other_pivot),
            )
            sum_base = multiply_add(tap, value, sum_base)
            sum_own = multiply_add(tap, factor_own, sum_own)
            sum_cross = multiply_add(tap, factor_cross, sum_cross)
        store(out, i + BASE + image * OF_Y, sum_base)
        store(out, i + OWN + image * OF_Y, sum_own)
        store(out, i + CROSS, sum_cross)


@njit
def gather_down(scratch, rows, pivot_rows, used, taps, tap, row, first, count, image):
    """The gradient of a row of pixels, from the `used` rows of windows that hold it, in `line`.

    The oldest of these is number `rows` of the places in `gathered`, its pivots' row number
    `pivot_rows` of those in `pixels`, and it weighs the pixels with tap number `tap`; the pixels
    themselves lie at `row`, from entry `first` on.
    """
    gathered, pixels = scratch.gathered, scratch.pixels[first:]
    own_pixel, other_pixel = image * Y, Y - image * Y
    base, own = BASE + image * OF_Y, OWN + image * OF_Y
    for i in range(0, count, LANES):
        pixel, other = load(pixels, row + i + own_pixel), load(pixels, row + i + other_pixel)
        total = splat(ZERO)
        for j in range(used):
            at = scratch.gathered_places[rows + j] + i
            pivot = scratch.pixel_places[pivot_rows + j] + i
            value = formulas.bracket_at(
                load(gathered, at + base),
                load(gathered, at + own),
                load(gathered, at + CROSS),
                pixel - load(pixels, pivot + own_pixel),
                other - load(pixels, pivot + other_pixel),
            )
            total = multiply_add(splat(taps[tap - j]), value, total)
        store(scratch.line, i, total)
