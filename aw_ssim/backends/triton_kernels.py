"""The fused kernel: windowed statistics, loss and gradient of a tile of one plane.

A program takes tile after tile, each `strip` rows of BLOCK windows, and streams its rows, ROWS at
a time, through four passes:

1. `stage_row`, `row_moments`: each new row's pixels, and their moments along the row;
2. `window_moments`: down the columns, the moments of the windows these rows complete;
3. `sum_down`: the windows' derivatives, summed for the pixel rows that all their windows reach;
4. `sum_along`: the same along the rows, which is the gradient.

Between the passes a few rows lie in the program's scratch, which stays in the cache; a barrier
stands between every write and read of it. The formulas are those of `local_terms`, the moments
and the gathering those of `analytic_passes`: every sum is taken about a pixel of the window.

With padding "same" the windows beyond the image's edge are computed too, as mirror images of
those within. A pixel then gathers from them what its own mirror images would have collected;
counting the windows on the edge twice and the pixels on it half makes this exact.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_formulas import brackets_of, derivatives, inverse, seen, shortfalls
from .triton_passes import (
    inside,
    load_pixels,
    load_row,
    row_moments,
    stage_row,
    store_row,
    sum_along,
    sum_down,
    twice_on_edges,
    window_moments,
)


@triton.jit
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
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Tiles of `strip` rows, as many columns as BLOCK windows allow, of N x C planes.

    Args:
        x, y, mask: N x C x H x W with any strides, in strides_x and so on; mask if MASKED.
        upstream: K x N x C x H' x W', of the maps, if UPSTREAM; a, b and g are then not read.
        sums: (tiles,), the weighted loss map summed over each tile.
        maps: K x N x C x H' x W', written if MAPS; K is 1 if PRODUCT, else 3.
        grad_x, grad_y: N x C x H x W, written if GRADIENTS is 1 (x alone) or 2.
        scale: 1 / data_range.
    """
    HALF: tl.constexpr = SIZE // 2
    # Rows to stream before windows are complete, and windows before pixels are.
    LEAD: tl.constexpr = (SIZE - 1 + ROWS - 1) // ROWS * ROWS
    RING: tl.constexpr = SIZE - 1 + ROWS
    ROW_FIELDS: tl.constexpr = 8 if MASKED else 7
    WINDOW_FIELDS: tl.constexpr = 7 if GRADIENTS == 2 else 5
    SUM_FIELDS: tl.constexpr = 5 if GRADIENTS == 2 else 3
    COLUMNS: tl.constexpr = BLOCK - (SIZE - 1) if GRADIENTS else BLOCK
    MARGIN: tl.constexpr = HALF if GRADIENTS else 0
    WARM_UP: tl.constexpr = (2 * LEAD if GRADIENTS else LEAD) // ROWS
    PIXELS: tl.constexpr = (3 if MASKED else 2) * (BLOCK + SIZE - 1)
    SCRATCH: tl.constexpr = ROWS * PIXELS + BLOCK * (
        RING * ROW_FIELDS + RING * WINDOW_FIELDS + ROWS * SUM_FIELDS
        if GRADIENTS
        else RING * ROW_FIELDS
    )

    lanes = tl.arange(0, BLOCK)
    row_ring = scratch + tl.program_id(0).to(tl.int64) * SCRATCH
    window_ring = row_ring + RING * ROW_FIELDS * BLOCK
    pixel_rows = row_ring + SCRATCH - ROWS * PIXELS
    sum_rows = window_ring + RING * WINDOW_FIELDS * BLOCK
    border = 0 if SAME else HALF
    map_height, map_width = height - 2 * border, width - 2 * border
    map_size = tl.cast(planes, tl.int64) * map_height * map_width
    strips, blocks = tl.cdiv(height, strip), tl.cdiv(width, COLUMNS)

    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        plane = tl.cast(tile // (strips * blocks), tl.int64)
        top = tile // blocks % strips * strip
        left = tile % blocks * COLUMNS
        bottom = tl.minimum(top + strip, height)
        n, c = plane // channels, plane % channels
        x_plane = x + n * strides_x[0] + c * strides_x[1]
        y_plane = y + n * strides_y[0] + c * strides_y[1]
        mask_plane = mask
        if MASKED:
            mask_plane = mask + n * strides_mask[0] + c * strides_mask[1]
        # Of the windows' centres, and whether the tile owns their loss.
        columns = left - MARGIN + lanes
        column_is_window = (columns >= border) & (columns < width - border)
        column_is_own = (lanes >= MARGIN) & (lanes < MARGIN + COLUMNS) & column_is_window
        at_column = inside(columns, width).to(tl.int64)
        at_staged = inside(columns - HALF, width).to(tl.int64)
        at_rest = inside(columns - HALF + BLOCK, width).to(tl.int64)
        pixel_columns = left + lanes
        at_pixel = inside(pixel_columns, width).to(tl.int64)
        # The image row of the first row streamed.
        first = top - LEAD + HALF
        if GRADIENTS:
            first = top - 2 * LEAD + 2 * HALF
        loss = tl.zeros([BLOCK], tl.float32)

        for step in range(WARM_UP + tl.cdiv(bottom - top, ROWS)):
            newest = step * ROWS
            tl.debug_barrier()
            for arrival in range(ROWS):
                row = inside(first + newest + arrival, height).to(tl.int64)
                mask_row = mask_plane
                if MASKED:
                    mask_row = mask_plane + row * strides_mask[2]
                stage_row(
                    pixel_rows + arrival * PIXELS,
                    x_plane + row * strides_x[2],
                    y_plane + row * strides_y[2],
                    mask_row,
                    at_staged,
                    at_rest,
                    lanes,
                    (strides_x[3], strides_y[3], strides_mask[3]),
                    scale,
                    SIZE,
                    MASKED,
                )
            tl.debug_barrier()
            for arrival in range(ROWS):
                pixels = pixel_rows + arrival * PIXELS
                moments = row_moments(pixels, taps, lanes, SIZE, MASKED)
                store_row(row_ring, (newest + arrival) % RING, lanes, moments, ROW_FIELDS, BLOCK)
            tl.debug_barrier()

            if newest >= LEAD:
                found = window_moments(
                    row_ring, newest, lanes, taps, ROW_FIELDS, SIZE, ROWS, RING, BLOCK, MASKED
                )
                for k in tl.static_range(ROWS):
                    m = found[k]
                    var_x, var_y = tl.where(m[4] < 0, 0.0, m[4]), tl.where(m[5] < 0, 0.0, m[5])
                    m = (m[0], m[1], m[2], m[3], var_x, var_y, m[6], m[7])
                    row = first + newest + k - HALF
                    is_own = (row >= tl.maximum(top, border)) & (row < bottom)
                    # Scalars and vectors of bool mix badly under Triton's interpreter.
                    end = tl.where(is_own & (row < height - border), width, 0)
                    own = column_is_own & (columns < end)
                    at_row = inside(row, height).to(tl.int64)
                    weight_l, weight_c, weight_s = a, b, g
                    if UPSTREAM:
                        # Mirrored like the windows; of no account where there is no window.
                        up_row = tl.minimum(tl.maximum(at_row - border, 0), map_height - 1)
                        up_column = tl.minimum(tl.maximum(at_column - border, 0), map_width - 1)
                        at_map = (plane * map_height + up_row) * map_width + up_column
                        weight_l = tl.load(upstream + at_map)
                        if not PRODUCT:
                            weight_c = tl.load(upstream + map_size + at_map)
                            weight_s = tl.load(upstream + 2 * map_size + at_map)
                    else:
                        luminance, contrast, structure = shortfalls(m, c1, c2, PRODUCT)
                        if MAPS:
                            at_map = (plane * map_height + row - border) * map_width
                            at_map += columns - border
                            tl.store(maps + at_map, luminance, mask=own)
                            if not PRODUCT:
                                tl.store(maps + map_size + at_map, contrast, mask=own)
                                tl.store(maps + 2 * map_size + at_map, structure, mask=own)
                        else:
                            total = a * luminance + b * contrast + g * structure
                            if MASKED:
                                centre = mask_plane + at_row * strides_mask[2]
                                centre = tl.load(centre + at_column * strides_mask[3])
                                total *= centre
                                weight_l, weight_c, weight_s = a * centre, b * centre, g * centre
                            loss += tl.where(own, total, 0.0)
                    if GRADIENTS:
                        d = derivatives(m, c1, c2, weight_l, weight_c, weight_s, PRODUCT)
                        share = inverse(m[7]) if MASKED else 1.0
                        if SAME:
                            edge = twice_on_edges(row, height) * twice_on_edges(columns, width)
                            share *= edge
                        brackets = brackets_of(m, d, share)
                        end = tl.where((row >= border) & (row < height - border), width, 0)
                        counted = column_is_window & (columns < end)
                        kept = ()
                        for field in tl.static_range(WINDOW_FIELDS):
                            value = brackets[field]
                            if not SAME:
                                value = tl.where(counted, value, 0.0)
                            kept = kept + (value,)
                        slot = (newest + k) % RING
                        store_row(window_ring, slot, lanes, kept, WINDOW_FIELDS, BLOCK)

            if GRADIENTS:
                tl.debug_barrier()
                if newest >= 2 * LEAD:
                    pivots = ()
                    for k in tl.static_range(ROWS):
                        slot = (newest + k - 2 * HALF) % RING * ROW_FIELDS
                        pivots = pivots + (load_row(row_ring + slot * BLOCK, 0, lanes, 2, BLOCK),)
                    summed = sum_down(
                        window_ring,
                        newest,
                        pivots,
                        lanes,
                        taps,
                        WINDOW_FIELDS,
                        SIZE,
                        ROWS,
                        RING,
                        BLOCK,
                    )
                    for k in tl.static_range(ROWS):
                        store_row(sum_rows, k, lanes, summed[k], SUM_FIELDS, BLOCK)
                    tl.debug_barrier()
                    for finished in range(ROWS):
                        row = first + newest + finished - 2 * HALF
                        at_row = inside(row, height).to(tl.int64)
                        to_x = x_plane + at_row * strides_x[2]
                        to_y = y_plane + at_row * strides_y[2]
                        pixel_x = load_pixels(to_x, at_pixel * strides_x[3], scale)
                        pixel_y = load_pixels(to_y, at_pixel * strides_y[3], scale)
                        weight = 1.0
                        if MASKED:
                            weight = mask_plane + at_row * strides_mask[2]
                            weight = tl.load(weight + at_pixel * strides_mask[3])
                            pixel_x, pixel_y = seen(pixel_x, weight), seen(pixel_y, weight)
                        gradients = sum_along(
                            sum_rows + finished * SUM_FIELDS * BLOCK,
                            row_ring + (newest + finished - 2 * HALF) % RING * ROW_FIELDS * BLOCK,
                            pixel_x,
                            pixel_y,
                            lanes,
                            taps,
                            SUM_FIELDS,
                            SIZE,
                            BLOCK,
                        )
                        factor = scale * weight
                        if SAME:
                            edge = twice_on_edges(row, height)
                            factor /= edge * twice_on_edges(pixel_columns, width)
                        end = tl.where((row >= top) & (row < bottom), width, 0)
                        own = (lanes < COLUMNS) & (pixel_columns < end)
                        at = (plane * height + row) * width + pixel_columns
                        for image in tl.static_range(GRADIENTS):
                            gradient = gradients[image] * factor
                            if MASKED:
                                # Also 0 where the gathered sum is not finite.
                                gradient = seen(gradient, weight)
                            tl.store((grad_y if image else grad_x) + at, gradient, mask=own)
        tl.store(sums + tile, tl.sum(loss))


@triton.jit
def nothing_kernel():
    pass
