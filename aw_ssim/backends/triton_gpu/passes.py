"""The kernel's four passes: moments down the column and along the rows, then gradients likewise.

Passes down the column work on tuples of rows, which a lane holds (`rows`). Those along the rows
work on tensors of LANES x ROWS, of which a lane has its block, and read what the lanes beside have
written into the scratch. Every sum is taken about the pivot of a block.
"""

from __future__ import annotations

import triton.language as tl

from ...formulas import EPS, compiled
from .exchange import load_block, stack, unstack
from .rows import inverse, jit, part, times, zeros


@jit
def _sqrt(value):
    return tl.sqrt(value)


@jit
def _multiply_add(left, right, addend):
    return left * right + addend


@jit
def _not_negative(value):
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


# The formulas of one window and one pixel, for lanes of them.
formulas = compiled(
    jit,
    EPS=tl.constexpr(EPS),
    sqrt=_sqrt,
    multiply_add=_multiply_add,
    not_negative=_not_negative,
)


@jit
def pivots_of(x, y, shares, taps, ROWS: tl.constexpr, MASKED: tl.constexpr):
    """A column's pivots, which all windows of the block see: the mean of the centres; with a mask
    the weighted mean, and the column's weight."""
    total = tl.zeros_like(x[0])
    if MASKED:
        pivot_x, pivot_y = total, total
        for j in tl.static_range(len(taps)):
            weight = taps[j] * shares[j]
            pivot_x, pivot_y = pivot_x + weight * x[j], pivot_y + weight * y[j]
            total += weight
        pivot_x, pivot_y = quotient(pivot_x, total), quotient(pivot_y, total)
    else:
        pivot_x, pivot_y = mean_of(x, len(taps) // 2, ROWS), mean_of(y, len(taps) // 2, ROWS)
    return pivot_x, pivot_y, total


@jit
def column_moments(x, y, shares, taps, pivots, MASKED: tl.constexpr):
    """A block's moments about its column's pivots, and with a mask the column's weight."""
    SIZE: tl.constexpr = len(taps)
    ROWS: tl.constexpr = len(x) - SIZE + 1
    zero = tl.zeros_like(x[0])
    sums = ()
    for _ in tl.static_range(ROWS):
        sums = sums + ((zero, zero, zero, zero, zero),)
    for j in tl.static_range(len(x)):
        dx, dy = x[j] - pivots[0], y[j] - pivots[1]
        values = (dx, dy, dx * dx, dy * dy, dx * dy)
        more = ()
        for r in tl.static_range(ROWS):
            one = sums[r]
            if j >= r and j - r < SIZE:
                weight = taps[j - r]
                if MASKED:
                    weight *= shares[j]
                one = formulas.add(one, weight, values)
            more = more + (one,)
        sums = more
    stacked = stack(sums)
    if MASKED:
        stacked = times(stacked, inverse(pivots[2])[:, None])
    moments = part(formulas.moments_of(0.0, 0.0, stacked), 2, 5)
    if MASKED:
        moments = moments + (pivots[2][:, None],)
    return moments


@jit
def quotient(total, weight):
    """total / weight, rounded once and for all.

    The compiler joins a product with the sum that it goes into; then a pivot would be one number
    where it is subtracted and another where it is stored. It cannot join a fused multiply-add.
    """
    return tl.fma(total, inverse(weight), 0.0)


@jit
def mean_of(held, first: tl.constexpr, ROWS: tl.constexpr):
    """Of one or two rows. A product with 0.5 is exact, joined or not."""
    if ROWS == 2:
        return (held[first] + held[first + 1]) * 0.5
    else:
        return held[first]


@jit
def window_moments(
    at, taps, SIZE: tl.constexpr, ROWS: tl.constexpr, PITCH: tl.constexpr, MASKED: tl.constexpr
):
    """Moments of the block's windows, from those of the columns around; last, a mask's weight.

    Args:
        at: where this lane has written what `column_moments` found.
    """
    MOMENTS: tl.constexpr = 6 if MASKED else 5
    total = tl.zeros([at.shape[0], 1], tl.float32)
    if MASKED:
        pivot_x, pivot_y, total = _weighted_pivots(at, taps, SIZE, PITCH)
    else:
        own = load_block(at, MOMENTS, ROWS, PITCH)
        pivot_x, pivot_y = own[0], own[1]
    zero = tl.zeros([at.shape[0], ROWS], tl.float32)
    sums = (zero, zero, zero, zero, zero)
    # A loop that the compiler unrolls: unrolled here, it takes Triton a minute.
    for j in range(SIZE):
        entry = load_block(at + (j - SIZE // 2) * 2 * ROWS, MOMENTS, ROWS, PITCH)
        weight = tl.load(taps + j)
        if MASKED:
            weight = weight * entry[7]
        sums = formulas.add(sums, weight, formulas.about(entry, pivot_x, pivot_y))
    if MASKED:
        sums = times(sums, inverse(total))
    return formulas.whole_window(formulas.moments_of(pivot_x, pivot_y, sums)) + (total,)


@jit
def _weighted_pivots(at, taps, SIZE: tl.constexpr, PITCH: tl.constexpr):
    """Of a masked window, the mean of its columns' pivots, and its total weight."""
    zero = tl.zeros([at.shape[0], 1], tl.float32)
    pivot_x, pivot_y, total = zero, zero, zero
    for j in range(SIZE):
        entry = load_block(at + (j - SIZE // 2) * 2, 6, 1, PITCH)
        weight = tl.load(taps + j) * entry[7]
        pivot_x, pivot_y = pivot_x + weight * entry[0], pivot_y + weight * entry[1]
        total += weight
    return quotient(pivot_x, total), quotient(pivot_y, total), total


@jit
def gather_along(
    at,
    pivots,
    taps,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    SUMS: tl.constexpr,
    PITCH: tl.constexpr,
):
    """The windows' brackets along the rows, summed about the column's pivots.

    Args:
        at: where this lane has written the brackets of its own windows.
    """
    pivot_x, pivot_y = pivots[0][:, None], pivots[1][:, None]
    zero = tl.zeros([at.shape[0], ROWS], tl.float32)
    cross, base_x, own_x, base_y, own_y = zero, zero, zero, zero, zero
    for j in range(SIZE):
        entry = load_block(at + (j - SIZE // 2) * 2 * ROWS, SUMS, ROWS, PITCH)
        tap = tl.load(taps + j)
        dx, dy = pivot_x - entry[0], pivot_y - entry[1]
        cross += tap * entry[2]
        base_x += tap * formulas.bracket_at(entry[3], entry[4], entry[2], dx, dy)
        own_x += tap * entry[4]
        if SUMS == 5:
            base_y += tap * formulas.bracket_at(entry[5], entry[6], entry[2], dy, dx)
            own_y += tap * entry[6]
    return part((cross, base_x, own_x, base_y, own_y), 0, SUMS)


@jit
def spread(held, brackets, pivots, x, y, taps):
    """Adds a block's brackets to the gradients of the pixels that it sees in its column.

    Args:
        held: of all rows but the ROWS newest, those of both images side by side.

    Returns:
        The gradients of the ROWS oldest rows, LANES x ROWS, which are complete; those of the rest.
    """
    ROWS: tl.constexpr = len(x) - len(taps) + 1
    OLDER: tl.constexpr = len(taps) - 1
    IMAGES: tl.constexpr = len(brackets) // 2
    windows = unstack(brackets, ROWS)
    done, rest = (), ()
    for place in tl.static_range(len(x)):
        if place < OLDER:
            one = part(held, place * IMAGES, IMAGES)
        else:
            one = zeros(IMAGES, x[0].shape[0])
        dx, dy = x[place] - pivots[0], y[place] - pivots[1]
        for r in tl.static_range(ROWS):
            if place >= r and place - r < len(taps):
                one = _add_bracket(one, taps[place - r], windows[r], dx, dy)
        if place < ROWS:
            done = done + (one,)
        else:
            rest = rest + one
    return stack(done), rest


@jit
def _add_bracket(gradients, tap, bracket, dx, dy):
    """A bracket by its tap, dx and dy from its pivots; its cross factor comes first."""
    x = formulas.bracket_at(bracket[1], bracket[2], bracket[0], dx, dy)
    new = (gradients[0] + tap * x,)
    if len(gradients) == 2:
        y = formulas.bracket_at(bracket[3], bracket[4], bracket[0], dy, dx)
        new = new + (gradients[1] + tap * y,)
    return new


@jit
def differences(x, y, ROWS: tl.constexpr):
    """Of the ROWS oldest rows of pixels, as LANES x ROWS."""
    apart = ()
    for r in tl.static_range(ROWS):
        apart = apart + ((x[r] - y[r],),)
    return stack(apart)[0]
