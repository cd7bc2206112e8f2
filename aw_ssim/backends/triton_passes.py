"""The kernel's four passes: moments down the columns and along the rows, then gradients likewise.

Passes down the columns work on what a lane holds (`triton_rows`). Those along the rows read what
the lanes beside have written into the scratch: of each of a lane's columns some fields, and of a
field the values of all lanes, PITCH apart; so the windows of a lane share their loads. Every sum
is taken about a pixel of its window, as in `analytic_passes`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_formulas import add_entry, add_tap, add_window, finish, inverse
from .triton_rows import load_some_taps, part


@triton.jit
def column_moments(x, y, shares, oldest: tl.constexpr, taps, MASKED: tl.constexpr):
    """Moments of a column's pixels from the one held at `oldest` on, as many as there are taps."""
    SIZE: tl.constexpr = len(taps)
    pivot_x, pivot_y = x[oldest + SIZE // 2], y[oldest + SIZE // 2]
    zero = tl.zeros_like(pivot_x)
    total = zero
    if MASKED:
        pivot_x, pivot_y = zero, zero
        for j in tl.static_range(SIZE):
            weight = taps[j] * shares[oldest + j]
            total += weight
            pivot_x += weight * x[oldest + j]
            pivot_y += weight * y[oldest + j]
        pivot_x, pivot_y = pivot_x * inverse(total), pivot_y * inverse(total)
    sums = (zero, zero, zero, zero, zero)
    for j in tl.static_range(SIZE):
        weight = taps[j]
        if MASKED:
            weight *= shares[oldest + j]
        sums = add_tap(sums, weight, x[oldest + j] - pivot_x, y[oldest + j] - pivot_y)
    moments = finish(pivot_x, pivot_y, sums, total, MASKED)
    return moments if MASKED else moments[:7]


@triton.jit
def window_moments(
    at,
    taps,
    SIZE: tl.constexpr,
    COLUMNS: tl.constexpr,
    FIELDS: tl.constexpr,
    PITCH: tl.constexpr,
    MASKED: tl.constexpr,
):
    """Moments of the windows about each of a lane's columns, from those of the columns beside.

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
            place = at + lane + beside(i - SIZE // 2, COLUMNS, FIELDS * PITCH)
            entry = load_fields(place, FIELDS, PITCH)
            more = ()
            for q in tl.static_range(COLUMNS):
                weight = some[COLUMNS - 1 + i - q]
                if MASKED:
                    weight *= entry[7]
                more = more + (add_entry(sums[q], weight, entry, pivots[q][0], pivots[q][1]),)
            sums = more
    found = ()
    for q in tl.static_range(COLUMNS):
        found = found + (finish(pivots[q][0], pivots[q][1], sums[q], pivots[q][2], MASKED),)
    return found


@triton.jit
def _weighted_pivots(
    at, pivots, taps, SIZE: tl.constexpr, FIELDS: tl.constexpr, PITCH: tl.constexpr
):
    """Of each window, the mean of its columns' pivots, and its total weight."""
    COLUMNS: tl.constexpr = len(pivots)
    for lane in range(tl.cdiv(SIZE - 1 + COLUMNS, COLUMNS)):
        some = load_some_taps(taps, lane, COLUMNS, SIZE)
        for i in tl.static_range(COLUMNS):
            place = at + lane + beside(i - SIZE // 2, COLUMNS, FIELDS * PITCH)
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


@triton.jit
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
            old = add_window(old, taps[place % SIZE], window, x[place], y[place])
        new = new + old
    return new


@triton.jit
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
            place = at + lane + beside(i - SIZE // 2, COLUMNS, FIELDS * PITCH)
            entry = load_fields(place, FIELDS, PITCH)
            more = ()
            for q in tl.static_range(COLUMNS):
                tap = some[COLUMNS - 1 + i - q]
                dx, dy = pixels_x[q] - entry[0], pixels_y[q] - entry[1]
                grad_x = gradients[q][0] + tap * (entry[3] + entry[4] * dx + entry[2] * dy)
                grad_y = gradients[q][1]
                if FIELDS == 7:
                    grad_y += tap * (entry[5] + entry[6] * dy + entry[2] * dx)
                more = more + ((grad_x, grad_y),)
            gradients = more
    return gradients


@triton.jit
def beside(offset: tl.constexpr, COLUMNS: tl.constexpr, COLUMN_PITCH: tl.constexpr):
    """How far from a lane's first column, in the scratch, that of the offset lies."""
    return offset // COLUMNS + offset % COLUMNS * COLUMN_PITCH


@triton.jit
def store_fields(at, values, PITCH: tl.constexpr):
    for field in tl.static_range(len(values)):
        tl.store(at + field * PITCH, values[field])


@triton.jit
def load_fields(at, FIELDS: tl.constexpr, PITCH: tl.constexpr):
    values = ()
    for field in tl.static_range(FIELDS):
        values = values + (tl.load(at + field * PITCH),)
    return values
