"""The fused CPU kernel: windowed statistics, loss and gradient, streamed row by row.

A thread takes tile after tile, at most ROWS rows and COLUMNS columns of one plane. It copies the
tile's pixels and goes down them. Each row of windows takes

1. `column_moments`: moments down the columns;
2. `window_moments`: from these along the row, those of the windows;
3. `compare_row`: the windows' loss and their brackets, which are derivatives;
4. `gather_and_spread`: the brackets along the row and down the columns, onto the gradients of all
   pixels that the windows hold.

With padding "same", pixels beyond the edge are mirror images, and their gradients are added to the
pixels they mirror.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import masked, passes, tiles
from .memory import Kept, load, load_one, store, take_one
from .passes import BASE, CROSS, MOMENTS, OF_Y, OWN, PIXELS, STRIDE, Y, formulas
from .scratch import Scratch
from .tiles import Tile
from .tracing import steps, traced, when
from .values import LANES, choose, constant, double, multiply_add

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class Job(NamedTuple):
    """What all tiles share; arrays that are not wanted are empty.

    x, y, and the gradients to them: planes P x H x W. scale: 1 / data range. l1: what a
    pixel's |x - y| adds. upstream, maps: T x P x H' x W', with T = 1 for the product. sums:
    P x tiles. strips, columns: rows of `cut`. next_tile: a counter.
    """

    x: Floats
    y: Floats
    taps: Floats
    c1: np.float32
    c2: np.float32
    scale: np.float32
    l1: np.float32
    product: bool
    margin: int
    strips: Integers
    columns: Integers
    upstream: Floats
    maps: Floats
    sums: NDArray[np.float64]
    next_tile: Integers
    gradients: tuple[Floats, Floats]


@traced
def one_tile(job, mask, plane, strip, columns, scratch, window):
    """The sum over the windows that begin in a tile, and the gradients of the pixels in it."""
    strip, columns = tiles.part_of(job.strips, strip), tiles.part_of(job.columns, columns)
    tile = Tile(job, mask, scratch, plane, strip, columns, window)
    clear(scratch.totals, 0, STRIDE)
    clear(scratch.windows, 0, MOMENTS)
    for newest in steps(strip.first, strip.stop + tile.size - 1):
        at = (newest - strip.first) * PIXELS
        tiles.load_row(tile, newest, at)
        for image in steps(tile.images):
            clear(scratch.gradients, at + image * Y + tile.own, tile.own_pixels)
        row = newest - tile.size + 1
        with when(row >= strip.first):
            row_of_windows(tile, row, (row - strip.first) * PIXELS)
    total = Kept(constant(0, double))
    add_totals(total, scratch, tile.own, tile.windows)
    with when(job.l1 > 0):
        clear(scratch.totals, 0, STRIDE)
        tiles.add_l1(tile)
        add_totals(total, scratch, 0, tile.own_pixels)
    for image in steps(tile.images):
        tiles.store_gradients(tile, image)
    return total.now


def clear(row, at, count):
    for i in steps(0, count, LANES):
        store(row, at + i, 0)


def add_totals(total, scratch, start, stop):
    for i in steps(start, stop):
        total.now = total.now + load_one(scratch.totals, i)


def row_of_windows(tile, row, at):
    """Those that begin in a row, whose pixels begin at `at`."""
    mask, scratch, size, taps = tile.mask, tile.scratch, tile.size, tile.job.taps
    first = size - 1 - tile.own
    masked.column_moments(
        mask, scratch.pixels, scratch.columns, at, taps, size, tile.windows + size - 1
    )
    load_weights(tile, row, at)
    masked.window_moments(mask, scratch.columns, scratch.windows, taps, size, tile.windows, first)
    # Windows above the tile are another's, but for their gradients.
    compare_row(tile, first, choose(row >= tile.strip.begin, 0, STRIDE))
    for image in steps(tile.images):
        passes.gather_and_spread(
            scratch.pixels,
            scratch.gradients,
            at,
            scratch.columns,
            scratch.windows,
            taps,
            size,
            tile.own,
            tile.own_pixels,
            image,
        )
    with when(row >= tile.strip.begin):
        store_maps(tile, row)


def load_weights(tile, row, at):
    """Each window's weights of the terms, where all are not the same."""
    upstream, weights, count = tile.job.upstream, tile.scratch.weights, tile.windows
    if tile.mask is not None:
        masked.weigh_windows(tile.mask, tile.scratch.each, weights, at, tile.size, count)
    for term in steps(upstream.shape[0]):
        start = place_in(upstream, term, tile.plane, row, tile.columns.first)
        tiles.copy(upstream, start, weights, term * STRIDE, count, 1)


def store_maps(tile, row):
    maps, own = tile.job.maps, tile.own
    for term in steps(maps.shape[0]):
        start = place_in(maps, term, tile.plane, row, tile.columns.begin)
        tiles.copy(tile.scratch.terms, term * STRIDE + own, maps, start, tile.windows - own, 1)


def place_in(maps, term, plane, row, column):
    _, planes, height, width = maps.shape
    return ((term * planes + plane) * height + row) * width + column


def compare_row(tile, first, totals_at):
    """Of a row of windows, what each term falls short of 1, and brackets in place of moments.

    Adds the weighted terms to the totals. Within `window_moments`, one vector would wait for the
    roots and quotients of the one before.
    """
    windows = tile.scratch.windows
    product = tile.job.product
    for i in steps(0, tile.windows, LANES):
        for compare, asked_for in ((by_product, product), (by_terms, ~product)):
            with when(asked_for):
                bracket = compare(tile, passes.load_fields(windows, first + i), i, totals_at + i)
                with when(tile.images > 0):
                    store_bracket(windows, first + i, bracket())
    # Nothing is gathered from where there are no windows.
    for field in range(0, MOMENTS, STRIDE):
        store(windows, first + tile.windows + field, 0)


def by_terms(tile, m, i, total_at):
    """Stores the shortfalls, adds them to the totals, and gives what makes the bracket of them."""
    mask, scratch, c2 = tile.mask, tile.scratch, tile.job.c2
    found, shared = formulas.terms(m, tile.job.c1, c2)
    weights = [load(scratch.weights, term * STRIDE + i) for term in range(3)]
    a, b, g = weights
    for term, shortfall in enumerate(found):
        store(scratch.terms, term * STRIDE + i, shortfall)
    total = multiply_add(g, found[2], multiply_add(b, found[1], a * found[0]))
    store(scratch.totals, total_at, load(scratch.totals, total_at) + total)

    def bracket():
        over = [masked.over_totals(mask, weight, i) for weight in weights]
        return formulas.bracket_of(m, formulas.terms_derivatives(m, c2, shared, over))

    return bracket


def by_product(tile, m, i, total_at):
    mask, scratch, c2 = tile.mask, tile.scratch, tile.job.c2
    (shortfall,), shared = formulas.product(m, tile.job.c1, c2)
    weight = load(scratch.weights, i)
    store(scratch.terms, i, shortfall)
    store(scratch.totals, total_at, load(scratch.totals, total_at) + weight * shortfall)

    def bracket():
        over = [masked.over_totals(mask, weight, i)]
        return formulas.bracket_of(m, formulas.product_derivatives(m, c2, shared, over))

    return bracket


def store_bracket(windows, at, bracket):
    base_x, own_x, base_y, own_y, cross = bracket
    store(windows, at + BASE, base_x)
    store(windows, at + OWN, own_x)
    store(windows, at + BASE + OF_Y, base_y)
    store(windows, at + OWN + OF_Y, own_y)
    store(windows, at + CROSS, cross)


@traced
def take_number(counter):
    return take_one(counter)


def tile_loop(
    digest: str, window: int | None
) -> Callable[[Job, masked.Mask | None, Scratch], None]:
    """The function to compile, for windows of a size or of any, with a digest of its sources.

    numba would keep what it compiled while this file alone is unchanged; a closure's contents
    count too.
    """

    def run_tiles(job, mask, scratch):  # type: ignore[no-untyped-def]
        """Works on one tile after the other until none is left, perhaps beside other threads."""
        digest  # noqa: B018
        tiles, across = job.sums.shape[1], job.columns.shape[0]
        while True:
            index = take_number(job.next_tile)
            if index >= job.sums.size:
                return
            plane, tile = index // tiles, index % tiles
            job.sums[plane, tile] = one_tile(
                job, mask, plane, tile // across, tile % across, scratch, window
            )

    return run_tiles
