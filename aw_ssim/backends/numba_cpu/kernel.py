"""The fused CPU kernel: windowed statistics, loss and gradient, streamed row by row, in numba.

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
from .loops import load_one, moved, njit, once, pointer, take_number
from .passes import BASE, CROSS, MOMENTS, OF_Y, ONE, OWN, PIXELS, STRIDE, ZERO, Y
from .scratch import Scratch, pointers
from .vectors import LANES, formulas, load, multiply_add, store, traced

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


@njit
def load_row(job, mask, plane, row, first, at, count, scratch):
    """A row of both images' pixels into the tile's row at `at`."""
    tiles.copy_row(job.x, plane, row, first, job.margin, job.scale, scratch.pixels, at, count)
    tiles.copy_row(job.y, plane, row, first, job.margin, job.scale, scratch.pixels, at + Y, count)
    if mask is not None:
        shared = job.x.shape[0] // mask.planes.shape[0]
        tiles.copy_row(
            mask.planes, plane // shared, row, first, job.margin, ONE, mask.rows, at // 2, count
        )
        masked.hide(mask, scratch.pixels, at, count)


@traced
def clear_vector(row, at):
    store(row, at, 0)


@njit
def clear(row, at, count):
    for i in range(0, count, LANES):
        clear_vector(row, at + i)


@njit
def load_weights(upstream, mask, scratch, plane, row, first, count, at, size):
    """Each window's weights of the terms, where all are not the same."""
    if mask is not None:
        masked.weigh_windows(mask, scratch.each, scratch.weights, at, size, count)
    terms, planes, height, width = upstream.shape
    for term in range(terms):
        start = ((term * planes + plane) * height + row) * width + first
        tiles.copy(pointer(upstream), start, scratch.weights, term * STRIDE, count, ONE)


@njit
def store_maps(maps, terms, own, plane, row, first, count):
    kinds, planes, height, width = maps.shape
    for term in range(kinds):
        start = ((term * planes + plane) * height + row) * width + first
        tiles.copy(terms, term * STRIDE + own, pointer(maps), start, count, ONE)


@traced
def compare_by_terms(scratch, c1, c2, at, i, totals):
    """Stores the shortfalls and adds them to `totals`; what the brackets need comes back."""
    m = passes.load_fields(scratch.windows, at)
    found, shared = formulas.terms(m, c1, c2)
    a, b, g = (load(scratch.weights, term * STRIDE + i) for term in range(3))
    for term, shortfall in enumerate(found):
        store(scratch.terms, term * STRIDE + i, shortfall)
    total = multiply_add(g, found[2], multiply_add(b, found[1], a * found[0]))
    store(totals, i, load(totals, i) + total)
    return m, shared


@traced
def bracket_by_terms(scratch, mask, c2, at, i, m, shared):
    weights = [load(scratch.weights, term * STRIDE + i) for term in range(3)]
    weights = [masked.over_totals(mask, weight, i) for weight in weights]
    store_bracket(scratch.windows, at, m, formulas.terms_derivatives(m, c2, shared, weights))


@traced
def compare_by_product(scratch, c1, c2, at, i, totals):
    m = passes.load_fields(scratch.windows, at)
    (shortfall,), shared = formulas.product(m, c1, c2)
    store(scratch.terms, i, shortfall)
    store(totals, i, load(totals, i) + load(scratch.weights, i) * shortfall)
    return m, shared


@traced
def bracket_by_product(scratch, mask, c2, at, i, m, shared):
    weights = [masked.over_totals(mask, load(scratch.weights, i), i)]
    store_bracket(scratch.windows, at, m, formulas.product_derivatives(m, c2, shared, weights))


def store_bracket(windows, at, m, derivatives):
    base_x, own_x, base_y, own_y, cross = formulas.bracket_of(m, derivatives)
    store(windows, at + BASE, base_x)
    store(windows, at + OWN, own_x)
    store(windows, at + BASE + OF_Y, base_y)
    store(windows, at + OWN + OF_Y, own_y)
    store(windows, at + CROSS, cross)


@njit
def compare_row(scratch, mask, c1, c2, product, gradient, count, first, totals):
    """Of a row of windows, what each term falls short of 1, and brackets in place of moments.

    Adds the weighted terms to `totals`. Within `window_moments`, one vector would wait for the
    roots and quotients of the one before.
    """
    for i in range(0, count, LANES):
        if product:
            m, shared = compare_by_product(scratch, c1, c2, first + i, i, totals)
            if gradient:
                bracket_by_product(scratch, mask, c2, first + i, i, m, shared)
        else:
            moments, parts = compare_by_terms(scratch, c1, c2, first + i, i, totals)
            if gradient:
                bracket_by_terms(scratch, mask, c2, first + i, i, moments, parts)
    # Nothing is gathered from where there are no windows.
    for field in range(0, MOMENTS, STRIDE):
        clear_vector(scratch.windows, field + first + count)


@once
def one_tile(job, mask, plane, strip, columns, scratch):
    """The sum over the windows that begin in a tile, and the gradients of the pixels in it."""
    top, _, first, end = strip
    left, right, window_left, window_right = columns
    size, own, count = job.taps.size, left - window_left, window_right - window_left
    width, taps = count + size - 1, pointer(job.taps)
    images = int(job.gradients[0].size > 0) + int(job.gradients[1].size > 0)
    clear(scratch.totals, 0, STRIDE)
    clear(scratch.windows, 0, MOMENTS)
    for newest in range(first, end + size - 1):
        load_row(job, mask, plane, newest, window_left, (newest - first) * PIXELS, width, scratch)
        for image in range(images):
            clear(scratch.gradients, (newest - first) * PIXELS + image * Y + own, right - left)
        row = newest - size + 1
        if row < first:
            continue
        at = (row - first) * PIXELS
        masked.column_moments(mask, scratch.pixels, scratch.columns, at, taps, size, width)
        load_weights(job.upstream, mask, scratch, plane, row, window_left, count, at, size)
        # Windows above the tile are another's, but for their gradients.
        totals = scratch.totals if row >= top else moved(scratch.totals, STRIDE)
        masked.window_moments(
            mask, scratch.columns, scratch.windows, taps, size, count, size - 1 - own
        )
        compare_row(
            scratch, mask, job.c1, job.c2, job.product, images > 0, count, size - 1 - own, totals
        )
        for image in range(images):
            passes.gather_and_spread(
                scratch.pixels,
                scratch.gradients,
                at,
                scratch.columns,
                scratch.windows,
                taps,
                size,
                own,
                right - left,
                image,
            )
        if row >= top:
            store_maps(job.maps, scratch.terms, own, plane, row, left, count - own)
    total = 0.0
    for i in range(own, count):
        total += load_one(scratch.totals, i)
    if job.l1 > ZERO:
        clear(scratch.totals, 0, STRIDE)
        tiles.add_l1(
            scratch.pixels,
            scratch.gradients,
            scratch.totals,
            strip,
            columns,
            job.margin,
            job.x.shape[1],
            job.x.shape[2],
            job.l1,
            images,
        )
        for i in range(right - left):
            total += load_one(scratch.totals, i)
    for image in range(images):
        tiles.copy_gradients(
            scratch.gradients,
            mask,
            job.gradients[image],
            plane,
            strip,
            columns,
            job.margin,
            job.scale,
            image,
        )
    return total


@njit
def row_of(table, i):
    return table[i, 0], table[i, 1], table[i, 2], table[i, 3]


def tile_loop(digest: str) -> Callable[[Job, masked.Mask | None, Scratch], None]:
    """The function to compile, with a digest of all that it is made of.

    numba would keep what it compiled while this file alone is unchanged; a closure's contents
    count too.
    """

    def run_tiles(job, mask, scratch):  # type: ignore[no-untyped-def]
        """Works on one tile after the other until none is left, perhaps beside other threads."""
        digest  # noqa: B018
        rows, seen = pointers(scratch), masked.pointers(mask)
        tiles, across = job.sums.shape[1], job.columns.shape[0]
        while True:
            index = take_number(job.next_tile)
            if index >= job.sums.size:
                return
            plane, tile = index // tiles, index % tiles
            strip = row_of(job.strips, tile // across)
            columns = row_of(job.columns, tile % across)
            job.sums[plane, tile] = one_tile(job, seen, plane, strip, columns, rows)

    return run_tiles
