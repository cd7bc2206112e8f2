"""The kernel's four passes: moments down the columns and along the rows, then gradients likewise.

Passes down the columns work on what a lane holds (`rows`). Those along the rows read what the lanes
beside have written into the scratch: of each of a lane's columns some fields, and of a field the
values of all lanes, PITCH apart; so the windows of a lane share their loads. Every sum is taken
about a pixel of its window, as in `analytic.passes`.
"""

from __future__ import annotations

import triton.language as tl

from ...formulas import EPS, compiled
from .rows import inverse, jit, load_some_taps, part, times


@jit
def _sqrt(value):
    return tl.sqrt_rn(value)


@jit
def _multiply_add(left, right, addend):
    return left * right + addend


@jit
def _not_negative(value):
    return tl.where(value < 0, 0.0, value)


# The formulas of one window and one pixel, for lanes of them.
formulas = compiled(
    jit,
    EPS=tl.constexpr(EPS),
    sqrt=_sqrt,
    multiply_add=_multiply_add,
    not_negative=_not_negative,
)


@jit
def _add_tap(sums, tap, dx, dy):
    """One more pixel, `dx` and `dy` from the pivots: sums of dx, dy, dx^2, dy^2 and dx dy."""
    weighted_x, weighted_y = tap * dx, tap * dy
    return (
        sums[0] + weighted_x,
        sums[1] + weighted_y,
        sums[2] + weighted_x * dx,
        sums[3] + weighted_y * dy,
        sums[4] + weighted_x * dy,
    )


@jit
def column_moments(x, y, shares, oldest: tl.constexpr, taps, MASKED: tl.constexpr):
    """Moments of a column's pixels from the one held at `oldest` on, as many as there are taps."""
    SIZE: tl.constexpr = len(taps)
    zero = tl.zeros_like(x[oldest])
    sums = (zero, zero, zero, zero, zero)
    if MASKED:
        total, pivot_x, pivot_y = zero, zero, zero
        for j in tl.static_range(SIZE):
            weight = taps[j] * shares[oldest + j]
            total += weight
            pivot_x += weight * x[oldest + j]
            pivot_y += weight * y[oldest + j]
        pivot_x, pivot_y = pivot_x * inverse(total), pivot_y * inverse(total)
        for j in tl.static_range(SIZE):
            weight = taps[j] * shares[oldest + j]
            sums = _add_tap(sums, weight, x[oldest + j] - pivot_x, y[oldest + j] - pivot_y)
        sums = times(sums, inverse(total))
        return formulas.moments_of(pivot_x, pivot_y, sums) + (total,)
    else:
        pivot_x, pivot_y = x[oldest + SIZE // 2], y[oldest + SIZE // 2]
        for j in tl.static_range(SIZE):
            # The middle pixel lies at 0 and may be left out, but wide windows then spill.
            if j != SIZE // 2 or SIZE == 1 or SIZE > 11:
                dx, dy = x[oldest + j] - pivot_x, y[oldest + j] - pivot_y
                sums = _add_tap(sums, taps[j], dx, dy)
        return formulas.moments_of(pivot_x, pivot_y, sums)


@jit
def window_moments(
    at,
    taps,
    SIZE: tl.constexpr,
    COLUMNS: tl.constexpr,
    FIELDS: tl.constexpr,
    PITCH: tl.constexpr,
    MASKED: tl.constexpr,
):
    """Moments of the windows about each of a lane's columns, from those of the columns around.

    Args:
        at: where this lane has written its first column's moments.
    """
    zero = tl.zeros(at.shape, tl.float32)
    pivots, sums = (), ()
    for q in tl.static_range(COLUMNS):
        sums = sums + ((zero, zero, zero, zero, zero),)
        if MASKED:
            pivots = pivots + ((zero, zero, zero),)
        else:
            pivots = pivots + (load_fields(at + q * FIELDS * PITCH, 2, PITCH) + (zero,),)
    if MASKED:
        pivots = _weighted_pivots(at, pivots, taps, SIZE, FIELDS, PITCH)
    # A loop that the compiler unrolls: unrolled here, it takes Triton a minute.
    for lane in range(tl.cdiv(SIZE - 1 + COLUMNS, COLUMNS)):
        some = load_some_taps(taps, lane, COLUMNS, SIZE)
        for i in tl.static_range(COLUMNS):
            place = at + lane + offset_of(i - SIZE // 2, COLUMNS, FIELDS * PITCH)
            entry = load_fields(place, FIELDS, PITCH)
            more = ()
            for q in tl.static_range(COLUMNS):
                weight = some[COLUMNS - 1 + i - q]
                if MASKED:
                    weight *= entry[7]
                more = more + (
                    formulas.add_entry(sums[q], weight, entry, pivots[q][0], pivots[q][1]),
                )
            sums = more
    found = ()
    for q in tl.static_range(COLUMNS):
        about = times(sums[q], inverse(pivots[q][2])) if MASKED else sums[q]
        m = formulas.moments_of(pivots[q][0], pivots[q][1], about)
        found = found + (formulas.whole_window(m) + (pivots[q][2],),)
    return found


@jit
def _weighted_pivots(
    at, pivots, taps, SIZE: tl.constexpr, FIELDS: tl.constexpr, PITCH: tl.constexpr
):
    """Of each window, the mean of its columns' pivots, and its total weight."""
    COLUMNS: tl.constexpr = len(pivots)
    for lane in range(tl.cdiv(SIZE - 1 + COLUMNS, COLUMNS)):
        some = load_some_taps(taps, lane, COLUMNS, SIZE)
        for i in tl.static_range(COLUMNS):
            place = at + lane + offset_of(i - SIZE // 2, COLUMNS, FIELDS * PITCH)
            x, y, total = tl.load(place), tl.load(place + PITCH), tl.load(place + 7 * PITCH)
            more = ()
            for q in tl.static_range(COLUMNS):
                weight = some[COLUMNS - 1 + i - q] * total
                old = pivots[q]
                more = more + ((old[0] + weight * x, old[1] + weight * y, old[2] + weight),)
            pivots = more
    means = ()
    for q in tl.static_range(COLUMNS):
        scale = inverse(pivots[q][2])
        means = means + ((pivots[q][0] * scale, pivots[q][1] * scale, pivots[q][2]),)
    return means


@jit
def spread(sums, window, x, y, taps, q: tl.constexpr):
    """Adds the brackets of the window in column q to the sums of the pixels it sees there.

    The sums of a pixel are taken about the pixel itself.
    """
    SIZE: tl.constexpr = len(taps)
    FIELDS: tl.constexpr = len(sums) // len(x)
    new = ()
    for place in tl.static_range(len(x)):
        old = part(sums, place * FIELDS, FIELDS)
        if place // SIZE == q:
            old = _add_window(old, taps[place % SIZE], window, x[place], y[place])
        new = new + old
    return new


@jit
def _add_window(sums, tap, window, x, y):
    """A window's bracket, moved from its pivots to the pixels x and y: the cross factor first."""
    pivot_x, pivot_y, base_x, own_x, base_y, own_y, cross = window
    dx, dy = x - pivot_x, y - pivot_y
    base = formulas.bracket_at(base_x, own_x, cross, dx, dy)
    new = (sums[0] + tap * cross, sums[1] + tap * base, sums[2] + tap * own_x)
    if len(sums) == 5:
        base = formulas.bracket_at(base_y, own_y, cross, dy, dx)
        new = new + (sums[3] + tap * base, sums[4] + tap * own_y)
    return new


@jit
def sum_along(
    at, pixels_x, pixels_y, taps, SIZE: tl.constexpr, FIELDS: tl.constexpr, PITCH: tl.constexpr
):
    """The gradients of a lane's pixels in one row, from the sums and the pixels beside them."""
    COLUMNS: tl.constexpr = len(pixels_x)
    zero = tl.zeros(at.shape, tl.float32)
    gradients = ()
    for _ in tl.static_range(COLUMNS):
        gradients = gradients + ((zero, zero),)
    for lane in range(tl.cdiv(SIZE - 1 + COLUMNS, COLUMNS)):
        some = load_some_taps(taps, lane, COLUMNS, SIZE)
        for i in tl.static_range(COLUMNS):
            place = at + lane + offset_of(i - SIZE // 2, COLUMNS, FIELDS * PITCH)
            entry = load_fields(place, FIELDS, PITCH)
            more = ()
            for q in tl.static_range(COLUMNS):
                tap = some[COLUMNS - 1 + i - q]
                dx, dy = pixels_x[q] - entry[0], pixels_y[q] - entry[1]
                grad_x = gradients[q][0]
                grad_x += tap * formulas.bracket_at(entry[3], entry[4], entry[2], dx, dy)
                grad_y = gradients[q][1]
                if FIELDS == 7:
                    grad_y += tap * formulas.bracket_at(entry[5], entry[6], entry[2], dy, dx)
                more = more + ((grad_x, grad_y),)
            gradients = more
    return gradients


@jit
def offset_of(distance: tl.constexpr, COLUMNS: tl.constexpr, COLUMN_PITCH: tl.constexpr):
    """Offset in the scratch of the column so many columns away from a lane's first one."""
    return distance // COLUMNS + distance % COLUMNS * COLUMN_PITCH


@jit
def store_fields(at, values, pitch, where=None):
    for field in tl.static_range(len(values)):
        tl.store(at + field * pitch, values[field], mask=where)


@jit
def load_fields(at, FIELDS: tl.constexpr, pitch):
    values = ()
    for field in tl.static_range(FIELDS):
        values = values + (tl.load(at + field * pitch),)
    return values
