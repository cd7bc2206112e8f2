"""The fused kernel: windowed statistics, loss and gradient of a tile of one plane.

A program takes tile after tile and goes down it row by row. Its lanes hold the last SIZE rows of
pixels in registers, and the sums of the pixels whose windows are not all known. A new row goes
through four passes:

1. `column_moments`: of the SIZE pixels in each column;
2. `window_moments`: along the row, from those of the columns beside;
3. `spread`: derivatives of the windows, added to the sums of the pixels they see in their column;
4. `sum_along`: the sums of the oldest row, along it, which is the gradient.

Lanes tell each other of passes 1 and 3 through the program's scratch, a few rows that stay in the
cache; a barrier stands between every write and read of it. Every sum is taken about a pixel of the
window, as in `analytic.passes`.

With padding "same" the windows beyond the image's edge are computed too, as mirror images of
those within. A pixel then gathers from them what its own mirror images would have collected;
counting the windows on the edge twice and the pixels on it half makes this exact.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .passes import (
    column_moments,
    formulas,
    load_fields,
    spread,
    store_fields,
    sum_along,
    window_moments,
)
from .rows import (
    append,
    inside,
    inverse,
    last_visible,
    load_rows,
    load_taps,
    part,
    row_of,
    times,
    twice_on_edges,
    without_oldest,
    zero_unless,
    zeros,
)

# Zeros beside the lanes' values in the scratch.
BESIDE: tl.constexpr = tl.constexpr(32)


# Triton would compile anew for sizes that are multiples of 16, or 1, and no code gains by it.
SIZES = ("channels", "height", "width", "planes", "tiles", "blocks", "strip")


@triton.jit(do_not_specialize=SIZES)
def tiles_kernel(
    x,
    y,
    mask,
    upstream,
    taps,
    scratch,
    sums,
    maps,
    grad_x,
    grad_y,
    strides_x,
    strides_y,
    strides_mask,
    channels,
    height,
    width,
    planes,
    tiles,
    blocks,
    strip,
    scale,
    c1,
    c2,
    a,
    b,
    g,
    SIZE: tl.constexpr,
    SAME: tl.constexpr,
    PRODUCT: tl.constexpr,
    MASKED: tl.constexpr,
    UPSTREAM: tl.constexpr,
    MAPS: tl.constexpr,
    GRADIENTS: tl.constexpr,
    LANES: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Tiles of `strip` rows of N x C planes; a lane has COLUMNS neighbouring columns.

    Args:
        x, y, mask: N x C x H x W with any strides, in strides_x and so on; mask if MASKED.
        blocks: tiles side by side, enough for the width.
        upstream: K x N x C x H' x W', of the maps, if UPSTREAM; a, b and g are then not read.
        sums: (tiles,), the weighted loss map summed over each tile.
        maps: K x N x C x H' x W', written if MAPS; K is 1 if PRODUCT, else 3.
        grad_x, grad_y: N x C x H x W, written if GRADIENTS is 1 (x alone) or 2.
        scale: 1 / data_range.
    """
    HALF: tl.constexpr = SIZE // 2
    # Columns and rows at a tile's edge whose windows, or pixels, lack some of what they see.
    EDGE: tl.constexpr = 2 * HALF if GRADIENTS else HALF
    OWN: tl.constexpr = LANES * COLUMNS - 2 * EDGE
    PITCH: tl.constexpr = LANES + BESIDE
    MOMENTS: tl.constexpr = 8 if MASKED else 7
    # Sums of a pixel, and in the scratch also the pixel of each image.
    SUMS: tl.constexpr = 5 if GRADIENTS == 2 else (3 if GRADIENTS else 0)
    FIELDS: tl.constexpr = SUMS + 2
    SCRATCH_ROWS: tl.constexpr = COLUMNS * (MOMENTS + (FIELDS if GRADIENTS else 0))

    lanes = tl.arange(0, LANES)
    held_taps = load_taps(taps, SIZE)
    own_scratch = scratch + tl.program_id(0).to(tl.int64) * (BESIDE + SCRATCH_ROWS * PITCH)
    at_moments = own_scratch + BESIDE + lanes
    at_sums = at_moments + COLUMNS * MOMENTS * PITCH
    # What windows on the tile's edge read: the derivatives of windows beyond an image's are 0.
    for line in tl.static_range(SCRATCH_ROWS + 1):
        beside = own_scratch + line * PITCH + tl.arange(0, BESIDE)
        tl.store(beside, tl.zeros([BESIDE], tl.float32))
    border = 0 if SAME else HALF
    map_height, map_width = height - 2 * border, width - 2 * border
    map_size = tl.cast(planes, tl.int64) * map_height * map_width
    strips = tl.cdiv(height, strip)

    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        plane = tl.cast(tile // (strips * blocks), tl.int64)
        top = tile // blocks % strips * strip
        bottom = tl.minimum(top + strip, height)
        block = tile % blocks
        n, c = plane // channels, plane % channels
        left = block * OWN
        own_from, own_to = EDGE, EDGE + OWN
        first = top - EDGE
        if SAME:
            left -= EDGE
        else:
            # No window beyond the image's edge, and so none that a tile could lack there.
            own_from = tl.where(block == 0, 0, EDGE)
            own_to = tl.where(block == blocks - 1, LANES * COLUMNS, EDGE + OWN)
            first = tl.maximum(first, 0)
        columns, own_columns, at_x, at_y, at_mask = (), (), (), (), ()
        for q in tl.static_range(COLUMNS):
            place = lanes * COLUMNS + q
            column = left + place
            at_column = inside(column, width).to(tl.int64)
            columns = columns + (column,)
            own_columns = own_columns + ((place >= own_from) & (place < own_to),)
            at_x = at_x + (at_column * strides_x[3],)
            at_y = at_y + (at_column * strides_y[3],)
            at_mask = at_mask + (at_column * strides_mask[3],)
        source = (
            (
                x + n * strides_x[0] + c * strides_x[1],
                y + n * strides_y[0] + c * strides_y[1],
                mask + n * strides_mask[0] + c * strides_mask[1],
            ),
            (strides_x[2], strides_y[2], strides_mask[2]),
            (at_x, at_y, at_mask),
            height,
            scale,
        )
        hidden = ((), ())
        if MASKED:
            hidden = last_visible(source, first, first + SIZE - 1)
        held_x, held_y, held_shares = load_rows(source, hidden, first, SIZE - 1, MASKED)
        held_sums = zeros((SIZE - 1) * COLUMNS * SUMS, LANES)
        loss = tl.zeros([LANES], tl.float32)

        # The oldest of the SIZE rows that are held: the one whose pixels are complete. Its number
        # and that of the windows' centres, HALF below it, are the image's.
        for oldest in range(first, bottom if GRADIENTS else bottom - HALF):
            row_x, row_y, row_shares = load_rows(source, hidden, oldest + SIZE - 1, 1, MASKED)
            held_x, held_y = append(held_x, row_x, COLUMNS), append(held_y, row_y, COLUMNS)
            held_shares = append(held_shares, row_shares, COLUMNS)
            held_sums = append(held_sums, zeros(COLUMNS * SUMS, LANES), COLUMNS)
            for q in tl.static_range(COLUMNS):
                moments = column_moments(held_x, held_y, held_shares, q * SIZE, held_taps, MASKED)
                store_fields(at_moments + q * MOMENTS * PITCH, moments, PITCH)
            tl.debug_barrier()

            row = oldest + HALF
            is_own = (row >= tl.maximum(top, border)) & (row < bottom)
            # Scalars and vectors of bool mix badly under Triton's interpreter.
            own_end = tl.where(is_own & (row < height - border), width - border, 0)
            window_end = tl.where((row >= border) & (row < height - border), width - border, 0)
            found = window_moments(at_moments, taps, SIZE, COLUMNS, MOMENTS, PITCH, MASKED)
            for q in tl.static_range(COLUMNS):
                m = found[q]
                column = columns[q]
                own = own_columns[q] & (column >= border) & (column < own_end)
                if PRODUCT:
                    shortfalls, shared = formulas.product(m, c1, c2)
                    weights = (a,)
                else:
                    shortfalls, shared = formulas.terms(m, c1, c2)
                    weights = (a, b, g)
                if UPSTREAM:
                    # Mirrored like the windows; of no account where there is no window.
                    up_row = tl.maximum(inside(row, height) - border, 0)
                    up_column = tl.maximum(inside(column, width) - border, 0)
                    at_map = plane * map_height + tl.minimum(up_row, map_height - 1)
                    at_map = at_map * map_width + tl.minimum(up_column, map_width - 1)
                    weights = load_fields(upstream + at_map, len(shortfalls), map_size)
                elif MAPS:
                    at_map = (plane * map_height + row - border) * map_width + column - border
                    store_fields(maps + at_map, shortfalls, map_size, own)
                else:
                    if MASKED:
                        weights = times(weights, held_shares[q * SIZE + HALF])
                    total = weights[0] * shortfalls[0]
                    for k in tl.static_range(1, len(shortfalls)):
                        total += weights[k] * shortfalls[k]
                    loss += tl.where(own, total, 0.0)
                if GRADIENTS:
                    share = inverse(m[7]) if MASKED else 1.0
                    if SAME:
                        share *= twice_on_edges(row, height) * twice_on_edges(column, width)
                    weights = times(weights, share)
                    if PRODUCT:
                        derivatives = formulas.product_derivatives(m, c2, shared, weights)
                    else:
                        derivatives = formulas.terms_derivatives(m, c2, shared, weights)
                    window = (m[0], m[1]) + formulas.bracket_of(m, derivatives)
                    if not SAME:
                        is_window = (column >= border) & (column < window_end)
                        window = zero_unless(is_window, window)
                    held_sums = spread(held_sums, window, held_x, held_y, held_taps, q)

            pixels_x, pixels_y = row_of(held_x, 0, COLUMNS), row_of(held_y, 0, COLUMNS)
            if GRADIENTS:
                for q in tl.static_range(COLUMNS):
                    done = part(held_sums, q * SIZE * SUMS, SUMS)
                    own_sums = at_sums + q * FIELDS * PITCH
                    store_fields(own_sums, (pixels_x[q], pixels_y[q]) + done, PITCH)
            # Also before the next row's moments take the place of these.
            tl.debug_barrier()
            done_row = row - HALF
            # Triton 3.3 cannot join a constant and a number by "and".
            if GRADIENTS:  # noqa: SIM102
                if done_row >= top:
                    gradients = sum_along(at_sums, pixels_x, pixels_y, taps, SIZE, FIELDS, PITCH)
                    for q in tl.static_range(COLUMNS):
                        factor = scale
                        if SAME:
                            factor /= twice_on_edges(done_row, height)
                            factor /= twice_on_edges(columns[q], width)
                        own = own_columns[q] & (columns[q] < width)
                        for image in tl.static_range(GRADIENTS):
                            gradient = gradients[q][image] * factor
                            if MASKED:
                                share = held_shares[q * SIZE]
                                # Also 0 where the gathered sum is not finite.
                                gradient = tl.where(share > 0, gradient * share, 0.0)
                            to = (grad_y if image else grad_x) + (plane * height + done_row) * width
                            tl.store(to + columns[q], gradient, mask=own)
            held_sums = without_oldest(held_sums, SUMS, COLUMNS)
            held_x = without_oldest(held_x, 1, COLUMNS)
            held_y = without_oldest(held_y, 1, COLUMNS)
            held_shares = without_oldest(held_shares, 1, COLUMNS)
        tl.store(sums + tile, tl.sum(loss))
