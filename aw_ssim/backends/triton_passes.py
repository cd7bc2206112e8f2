"""The kernel's four passes: along the rows and down the columns, for windows and for gradients.

Every sum is taken about a pixel of its window, as in `analytic_passes`. Down the columns, ROWS
windows one below the other share the loads of the rows they have in common.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_formulas import add_entry, add_tap, finish, inverse, seen


@triton.jit
def inside(index, size):
    """An index mirrored into the image; farther out, where nothing counts, the nearest pixel."""
    mirrored = tl.where(index < 0, -index, index)
    mirrored = tl.where(mirrored >= size, 2 * size - 2 - mirrored, mirrored)
    return tl.minimum(tl.maximum(mirrored, 0), size - 1)


@triton.jit
def load_pixels(pointer, offset, scale):
    return tl.load(pointer + offset).to(tl.float32) * scale


@triton.jit
def twice_on_edges(index, size):
    return tl.where((index == 0) | (index == size - 1), 2.0, 1.0)


@triton.jit
def stage_row(
    pixels, x, y, mask, at, at_rest, lanes, strides, scale, SIZE: tl.constexpr, MASKED: tl.constexpr
):
    """Copies the pixels that the windows of a row see, those of a lane at `at`, into the scratch.

    The mirroring, the strides and the conversion are then done once and not for each tap.
    """
    WIDTH: tl.constexpr = lanes.shape[0] + SIZE - 1
    rest = lanes < SIZE - 1
    pixel_x, pixel_y = (
        load_pixels(x, at * strides[0], scale),
        load_pixels(y, at * strides[1], scale),
    )
    rest_x = load_pixels(x, at_rest * strides[0], scale)
    rest_y = load_pixels(y, at_rest * strides[1], scale)
    if MASKED:
        share = tl.load(mask + at * strides[2])
        rest_share = tl.load(mask + at_rest * strides[2], mask=rest, other=0)
        tl.store(pixels + 2 * WIDTH + lanes, share)
        tl.store(pixels + 2 * WIDTH + lanes.shape[0] + lanes, rest_share, mask=rest)
        pixel_x, pixel_y = seen(pixel_x, share), seen(pixel_y, share)
        rest_x, rest_y = seen(rest_x, rest_share), seen(rest_y, rest_share)
    tl.store(pixels + lanes, pixel_x)
    tl.store(pixels + lanes.shape[0] + lanes, rest_x, mask=rest)
    tl.store(pixels + WIDTH + lanes, pixel_y)
    tl.store(pixels + WIDTH + lanes.shape[0] + lanes, rest_y, mask=rest)


@triton.jit
def row_moments(pixels, taps, lanes, SIZE: tl.constexpr, MASKED: tl.constexpr):
    """Moments of SIZE pixels in a row, for each lane, from a row in the scratch."""
    WIDTH: tl.constexpr = lanes.shape[0] + SIZE - 1
    x = pixels + lanes
    y = x + WIDTH
    mask = y + WIDTH
    pivot_x, pivot_y = tl.load(x + SIZE // 2), tl.load(y + SIZE // 2)
    zero = tl.zeros_like(pivot_x)
    total = zero
    if MASKED:
        pivot_x, pivot_y = zero, zero
        for j in range(SIZE):
            weight = tl.load(taps + j) * tl.load(mask + j)
            total += weight
            pivot_x += weight * tl.load(x + j)
            pivot_y += weight * tl.load(y + j)
        pivot_x, pivot_y = pivot_x * inverse(total), pivot_y * inverse(total)
    sums = (zero, zero, zero, zero, zero)
    for j in range(SIZE):
        weight = tl.load(taps + j)
        if MASKED:
            weight *= tl.load(mask + j)
        sums = add_tap(sums, weight, tl.load(x + j) - pivot_x, tl.load(y + j) - pivot_y)
    return finish(pivot_x, pivot_y, sums, total, MASKED)


@triton.jit
def wrapped(slot, RING: tl.constexpr):
    """A slot below 2 RING, in the ring."""
    return tl.where(slot >= RING, slot - RING, slot)


@triton.jit
def store_row(ring, slot, lanes, values, FIELDS: tl.constexpr, BLOCK: tl.constexpr):
    for field in tl.static_range(FIELDS):
        tl.store(ring + (slot * FIELDS + field) * BLOCK + lanes, values[field])


@triton.jit
def load_row(ring, slot, lanes, FIELDS: tl.constexpr, BLOCK: tl.constexpr):
    values = ()
    for field in tl.static_range(FIELDS):
        values = values + (tl.load(ring + (slot * FIELDS + field) * BLOCK + lanes),)
    return values


@triton.jit
def _add_to_pivots(pivots, row, taps, j, FIRST: tl.constexpr, END: tl.constexpr):
    """Row j, counted from the first window's first, added to windows FIRST up to END."""
    new = ()
    for k in tl.static_range(len(pivots)):
        old = pivots[k]
        if k >= FIRST and k < END:
            weight = tl.load(taps + (j - k)) * row[7]
            old = (old[0] + weight * row[0], old[1] + weight * row[1], old[2] + weight)
        new = new + (old,)
    return new


@triton.jit
def _add_to_windows(
    sums, row, pivots, taps, j, FIRST: tl.constexpr, END: tl.constexpr, MASKED: tl.constexpr
):
    new = ()
    for k in tl.static_range(len(sums)):
        old = sums[k]
        if k >= FIRST and k < END:
            weight = tl.load(taps + (j - k))
            if MASKED:
                weight *= row[7]
            old = add_entry(old, weight, row, pivots[k][0], pivots[k][1])
        new = new + (old,)
    return new


@triton.jit
def window_moments(
    rows,
    newest,
    lanes,
    taps,
    FIELDS: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    RING: tl.constexpr,
    BLOCK: tl.constexpr,
    MASKED: tl.constexpr,
):
    """The moments of ROWS windows, one below the other, that end with rows `newest` and on."""
    oldest = (newest - (SIZE - 1)) % RING
    zero = tl.zeros([BLOCK], tl.float32)
    pivots, sums = (), ()
    for k in tl.static_range(ROWS):
        sums = sums + ((zero, zero, zero, zero, zero),)
        if MASKED:
            pivots = pivots + ((zero, zero, zero),)
        else:
            centre = rows + wrapped(oldest + k + SIZE // 2, RING) * FIELDS * BLOCK
            pivots = pivots + (load_row(centre, 0, lanes, 2, BLOCK) + (zero,),)
    if MASKED:
        for j in tl.static_range(ROWS - 1):
            row = load_row(rows, wrapped(oldest + j, RING), lanes, FIELDS, BLOCK)
            pivots = _add_to_pivots(pivots, row, taps, j, 0, j + 1)
        for j in range(ROWS - 1, SIZE):
            row = load_row(rows, wrapped(oldest + j, RING), lanes, FIELDS, BLOCK)
            pivots = _add_to_pivots(pivots, row, taps, j, 0, ROWS)
        for j in tl.static_range(SIZE, SIZE + ROWS - 1):
            row = load_row(rows, wrapped(oldest + j, RING), lanes, FIELDS, BLOCK)
            pivots = _add_to_pivots(pivots, row, taps, j, j - SIZE + 1, ROWS)
        new = ()
        for k in tl.static_range(ROWS):
            scale = inverse(pivots[k][2])
            new = new + ((pivots[k][0] * scale, pivots[k][1] * scale, pivots[k][2]),)
        pivots = new
    for j in tl.static_range(ROWS - 1):
        row = load_row(rows, wrapped(oldest + j, RING), lanes, FIELDS, BLOCK)
        sums = _add_to_windows(sums, row, pivots, taps, j, 0, j + 1, MASKED)
    for j in range(ROWS - 1, SIZE):
        row = load_row(rows, wrapped(oldest + j, RING), lanes, FIELDS, BLOCK)
        sums = _add_to_windows(sums, row, pivots, taps, j, 0, ROWS, MASKED)
    for j in tl.static_range(SIZE, SIZE + ROWS - 1):
        row = load_row(rows, wrapped(oldest + j, RING), lanes, FIELDS, BLOCK)
        sums = _add_to_windows(sums, row, pivots, taps, j, j - SIZE + 1, ROWS, MASKED)
    found = ()
    for k in tl.static_range(ROWS):
        found = found + (finish(pivots[k][0], pivots[k][1], sums[k], pivots[k][2], MASKED),)
    return found


@triton.jit
def _add_to_pixels(
    sums,
    window,
    pivots,
    taps,
    j,
    FIRST: tl.constexpr,
    END: tl.constexpr,
    FIELDS: tl.constexpr,
):
    new = ()
    for k in tl.static_range(len(sums)):
        old = sums[k]
        if k >= FIRST and k < END:
            tap = tl.load(taps + (j - k))
            dx, dy = window[0] - pivots[k][0], window[1] - pivots[k][1]
            cov = old[0] + tap * window[2]
            base_x = old[1] + tap * (window[3] - window[4] * dx - window[2] * dy)
            old = (cov, base_x, old[2] + tap * window[4], old[3], old[4])
            if FIELDS == 7:
                base_y = old[3] + tap * (window[5] - window[6] * dy - window[2] * dx)
                old = (old[0], old[1], old[2], base_y, old[4] + tap * window[6])
        new = new + (old,)
    return new


@triton.jit
def sum_down(
    windows,
    newest,
    pivots,
    lanes,
    taps,
    FIELDS: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    RING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """For ROWS pixel rows, the brackets of the windows in each column about the row's pivots."""
    oldest = (newest - (SIZE - 1)) % RING
    zero = tl.zeros([BLOCK], tl.float32)
    sums = ()
    for k in tl.static_range(ROWS):
        sums = sums + ((zero, zero, zero, zero, zero),)
    for j in tl.static_range(ROWS - 1):
        window = load_row(windows, wrapped(oldest + j, RING), lanes, FIELDS, BLOCK)
        sums = _add_to_pixels(sums, window, pivots, taps, j, 0, j + 1, FIELDS)
    for j in range(ROWS - 1, SIZE):
        window = load_row(windows, wrapped(oldest + j, RING), lanes, FIELDS, BLOCK)
        sums = _add_to_pixels(sums, window, pivots, taps, j, 0, ROWS, FIELDS)
    for j in tl.static_range(SIZE, SIZE + ROWS - 1):
        window = load_row(windows, wrapped(oldest + j, RING), lanes, FIELDS, BLOCK)
        sums = _add_to_pixels(sums, window, pivots, taps, j, j - SIZE + 1, ROWS, FIELDS)
    return sums


@triton.jit
def sum_along(
    columns,
    rows,
    pixel_x,
    pixel_y,
    lanes,
    taps,
    FIELDS: tl.constexpr,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradients of one pixel row, from its summed brackets and its pivots."""
    grad_x = tl.zeros([BLOCK], tl.float32)
    grad_y = grad_x
    for j in range(SIZE):
        # Lanes near the end have no gradient to gather, and must not read beyond their row.
        lane = tl.minimum(lanes + j, BLOCK - 1)
        sums = load_row(columns, 0, lane, FIELDS, BLOCK)
        pivots = load_row(rows, 0, lane, 2, BLOCK)
        dx, dy = pixel_x - pivots[0], pixel_y - pivots[1]
        tap = tl.load(taps + j)
        grad_x += tap * (sums[1] + sums[2] * dx + sums[0] * dy)
        if FIELDS == 5:
            grad_y += tap * (sums[3] + sums[4] * dy + sums[0] * dx)
    return grad_x, grad_y
