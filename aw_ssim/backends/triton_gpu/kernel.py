"""The fused kernel: windowed statistics, loss and gradient of a tile of one plane.

A program takes tile after tile and goes down it, ROWS rows at a time. A lane has one column; the
windows about its pixels in these rows are its block. It holds the pixels that they see in its
column in registers, and the gradients of those pixels whose windows are not all known. A block
goes through four passes:

1. `column_moments`: of the SIZE pixels about each row, down the column;
2. `window_moments`: along the rows, from those of the columns beside;
3. `gather_along`: the windows' brackets, which are their derivatives, back along the rows;
4. `spread`: down the column, onto the gradients of the pixels.

Lanes tell each other of moments and brackets through the program's scratch, a few rows that stay
in the cache; a barrier stands between every write and read of it. Every sum is taken about a pivot
of the column or of the window, the mean of the block's centres, which all of its windows see.

With padding "same" the windows beyond the image's edge are computed too, as mirror images of
those within. A pixel then gathers from them what its own mirror images would have collected;
counting the windows on the edge twice and the pixels on it half makes this exact.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .exchange import load_maps, store_block, store_maps, together
from .passes import (
    column_moments,
    differences,
    formulas,
    gather_along,
    pivots_of,
    spread,
    window_moments,
)
from .rows import (
    inside,
    inverse,
    load_rows,
    load_taps,
    part,
    times,
    twice_on_edges,
    zeros,
)

# Lanes of zeros beside the program's own in the scratch.
BESIDE: tl.constexpr = tl.constexpr(32)


# Triton would compile anew for sizes and strides that are multiples of 16, or 1, and no code gains
# by it. It always does for those in a tuple, so that strides come one by one.
SIZES = ("channels", "height", "width", "planes", "tiles", "blocks", "strip")
STRIDES = tuple(f"{image}_{axis}" for image in ("x", "y", "mask") for axis in "nchw")


@triton.jit(do_not_specialize=SIZES + STRIDES)
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
    x_n,
    x_c,
    x_h,
    x_w,
    y_n,
    y_c,
    y_h,
    y_w,
    mask_n,
    mask_c,
    mask_h,
    mask_w,
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
    l1,
    SIZE: tl.constexpr,
    SAME: tl.constexpr,
    PRODUCT: tl.constexpr,
    L1: tl.constexpr,
    MASKED: tl.constexpr,
    UPSTREAM: tl.constexpr,
    MAPS: tl.constexpr,
    GRADIENTS: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Tiles of `strip` rows of N x C planes; a block has ROWS windows.

    Args:
        x, y, mask: N x C x H x W with any strides, x_n and so on; mask if MASKED.
        blocks: tiles side by side, enough for the width.
        upstream: K x N x C x H' x W', of the maps, if UPSTREAM; a, b and g are then not read.
        sums: (tiles,), the weighted loss map summed over each tile.
        maps: K x N x C x H' x W', written if MAPS; K is 1 if PRODUCT, else 3.
        grad_x, grad_y: N x C x H x W, written if GRADIENTS is 1 (x alone) or 2.
        scale: 1 / data_range.
        l1: what a pixel's |x - y| adds to the loss, if L1; it comes with no mask.
    """
    HALF: tl.constexpr = SIZE // 2
    # Columns and rows at a tile's edge whose windows, or pixels, lack some of what they see.
    EDGE: tl.constexpr = 2 * HALF if GRADIENTS else HALF
    OWN: tl.constexpr = LANES - 2 * EDGE
    HELD: tl.constexpr = SIZE + ROWS - 1
    # Of a bracket.
    PARTS: tl.constexpr = 5 if GRADIENTS == 2 else 3
    # Fields of a block in the scratch, always an even number, of ROWS values for each lane.
    PITCH: tl.constexpr = (LANES + BESIDE) * ROWS
    MOMENTS: tl.constexpr = 8 if MASKED or ROWS == 1 else 6
    FIELDS: tl.constexpr = MOMENTS + ((PARTS + 4 - ROWS) // 2 * 2 if GRADIENTS else 0)

    lanes = tl.arange(0, LANES)
    # Of a block.
    rows = tl.arange(0, ROWS)[None, :]
    held_taps = load_taps(taps, SIZE)
    own_scratch = scratch + tl.program_id(0).to(tl.int64) * (FIELDS * PITCH + 2 * BESIDE * ROWS)
    # What windows on the tile's edge read: the derivatives of windows beyond an image's are 0.
    for i in range(0, FIELDS * PITCH + 2 * BESIDE * ROWS, LANES):
        place = i + lanes
        tl.store(own_scratch + place, 0.0, mask=place < FIELDS * PITCH + 2 * BESIDE * ROWS)
    tl.debug_barrier()
    own_place = (lanes + BESIDE)[:, None] * 2 * ROWS + tl.arange(0, 2 * ROWS)[None, :]
    at_moments = own_scratch + own_place
    at_brackets = at_moments + MOMENTS * PITCH
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
            own_to = tl.where(block == blocks - 1, LANES, EDGE + OWN)
            first = tl.maximum(first, 0)
        column = (left + lanes)[:, None]
        own_column = ((lanes >= own_from) & (lanes < own_to))[:, None]
        at_column = inside(left + lanes, width).to(tl.int64)
        source = (
            (
                x + n * x_n + c * x_c + at_column * x_w,
                y + n * y_n + c * y_c + at_column * y_w,
                mask + n * mask_n + c * mask_c + at_column * mask_w,
            ),
            (x_h, y_h, mask_h),
            height,
            scale,
        )
        held_x, held_y, held_shares = load_rows(source, first, HELD - ROWS, MASKED)
        held_gradients = zeros((HELD - ROWS) * GRADIENTS, LANES)
        loss = tl.zeros([LANES, ROWS], tl.float32)

        # The oldest of the rows that are held: its pixels, and those of the ROWS - 1 below, are
        # complete. Their numbers and those of the windows' centres, HALF below, are the image's.
        for oldest in range(first, bottom if GRADIENTS or L1 else bottom - HALF, ROWS):
            new = load_rows(source, oldest + HELD - ROWS, ROWS, MASKED)
            held_x, held_y = held_x + new[0], held_y + new[1]
            held_shares = held_shares + new[2]
            pivots = pivots_of(held_x, held_y, held_shares, held_taps, ROWS, MASKED)
            moments = column_moments(held_x, held_y, held_shares, held_taps, pivots, MASKED)
            moments = moments + together(pivots[0][:, None], pivots[1][:, None], ROWS)
            store_block(at_moments, moments, PITCH)
            tl.debug_barrier()

            m = window_moments(at_moments, taps, SIZE, ROWS, PITCH, MASKED)
            row = oldest + HALF + rows
            is_window = (row >= border) & (row < height - border)
            is_window &= (column >= border) & (column < width - border)
            own = is_window & own_column & (row >= top) & (row < bottom)
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
                weights = load_maps(upstream + at_map, len(shortfalls), map_size)
            elif MAPS:
                at_map = (plane * map_height + row - border) * map_width + column - border
                store_maps(maps + at_map, shortfalls, map_size, own)
            else:
                if MASKED:
                    weights = times(weights, held_shares[HALF][:, None])
                total = weights[0] * shortfalls[0]
                for k in tl.static_range(1, len(shortfalls)):
                    total += weights[k] * shortfalls[k]
                loss += tl.where(own, total, 0.0)
            if GRADIENTS:
                share = inverse(m[7]) if MASKED else 1.0
                if SAME:
                    share *= twice_on_edges(row, height) * twice_on_edges(column, width)
                else:
                    share = tl.where(is_window, share, 0.0)
                weights = times(weights, share)
                if PRODUCT:
                    derivatives = formulas.product_derivatives(m, c2, shared, weights)
                else:
                    derivatives = formulas.terms_derivatives(m, c2, shared, weights)
                base_x, own_x, base_y, own_y, cross = formulas.bracket_of(m, derivatives)
                brackets = part((cross, base_x, own_x, base_y, own_y), 0, PARTS)
                store_block(at_brackets, brackets + together(m[0], m[1], ROWS), PITCH)
            # Also before the next rows' moments take the place of these.
            tl.debug_barrier()
            done_row = oldest + rows
            done = own_column & (column < width) & (done_row >= top) & (done_row < bottom)
            if L1:
                apart = differences(held_x, held_y, ROWS)
                loss += tl.where(done, l1 * tl.abs(apart), 0.0)
            if GRADIENTS:
                brackets = gather_along(at_brackets, pivots, taps, SIZE, ROWS, PARTS, PITCH)
                gradients, held_gradients = spread(
                    held_gradients, brackets, pivots, held_x, held_y, held_taps
                )
                factor = scale
                if SAME:
                    factor /= twice_on_edges(done_row, height)
                    factor /= twice_on_edges(column, width)
                for image in tl.static_range(GRADIENTS):
                    gradient = gradients[image] * factor
                    if MASKED:
                        done_share = held_shares[0][:, None]
                        # Also 0 where the gathered sum is not finite.
                        gradient = tl.where(done_share > 0, gradient * done_share, 0.0)
                    if L1:
                        up = l1 * scale * (1 - 2 * image)
                        gradient += tl.where(apart > 0, up, tl.where(apart < 0, -up, 0.0))
                    to = (grad_y if image else grad_x) + (plane * height + done_row) * width
                    tl.store(to + column, gradient, mask=done)
            held_x, held_y = part(held_x, ROWS, HELD - ROWS), part(held_y, ROWS, HELD - ROWS)
            held_shares = part(held_shares, ROWS, HELD - ROWS if MASKED else 0)
        tl.store(sums + tile, tl.sum(loss))
