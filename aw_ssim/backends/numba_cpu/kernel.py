"""The fused CPU kernel: windowed statistics, loss and gradient, streamed row by row, in numba.

A thread takes tile after tile, at most ROWS rows and COLUMNS columns of one plane. Each new row of
pixels passes through

1. `column_moments`: moments down the columns;
2. `window_row`: along the row, the windows that it completes, their loss and derivatives;
3. `gather_along` and `gather_down`: the derivatives of all windows over a row of pixels, summed.

The last rows of pixels and of sums for pixels are kept in rings. With padding "same", pixels
beyond the edge are mirror images, and their gradients are added to the pixels they mirror.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import masked, passes
from .passes import BRACKETS, GATHERED, MOMENTS, PIXELS, STRIDE, ZERO, Y
from .vectors import LANES, formulas, load, njit, splat, store, take_number

# The most rows of a tile.
ROWS = 256

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class Job(NamedTuple):
    """What all tiles share; arrays that are not wanted are empty.

    x, y, and the gradients to them: planes P x H x W. upstream, maps: T x P x H' x W', with T = 1
    for the product. sums: P x tiles. strips, columns: rows of `cut`. next_tile: a counter.
    """

    x: Floats
    y: Floats
    taps: Floats
    c1: np.float32
    c2: np.float32
    data_range: np.float32
    product: bool
    margin: int
    strips: Integers
    columns: Integers
    upstream: Floats
    maps: Floats
    sums: NDArray[np.float64]
    next_tile: Integers
    gradients: tuple[Floats, Floats]


class Scratch(NamedTuple):
    """A thread's rings of rows, single rows, and where the rings' rows lie, two rounds of each."""

    pixels: Floats
    gathered: Floats
    columns: Floats
    brackets: Floats
    weights: Floats
    each: Floats
    terms: Floats
    line: Floats
    totals: Floats
    pixel_places: Integers
    gathered_places: Integers


def scratch(window: int) -> Scratch:
    """Room for windows of a size; `reset` comes before each use."""
    ring = window + window // 2
    fields = {"pixels": ring * PIXELS, "gathered": window * GATHERED, "columns": MOMENTS}
    fields |= {"brackets": BRACKETS, "weights": 3 * STRIDE, "each": 3, "terms": 3 * STRIDE}
    fields |= {"line": STRIDE, "totals": STRIDE}
    return Scratch(
        **{name: np.zeros(size, np.float32) for name, size in fields.items()},
        pixel_places=np.tile(np.arange(ring) * PIXELS, 2),
        gathered_places=np.tile(np.arange(window) * GATHERED, 2),
    )


def reset(room: Scratch, weights: Sequence[float]) -> None:
    """The `weights` of the terms count for all windows, unless there is an upstream gradient."""
    room.each[:] = [*weights, 0.0, 0.0][:3]
    room.weights.reshape(3, STRIDE)[:] = room.each[:, None]
    # Of a term that is not computed the weight alone is 0, and 0 times NaN is NaN.
    room.terms[:] = 0


def cut(size: int, limit: int, margin: int, window: int, gradient: bool) -> Integers:
    """A dimension in parts of at most `limit` pixels, with the margins at its ends.

    Of each part: its first pixel and end, counted in the padded plane, and the first and end of
    the windows worked on: those that begin in it, and for a gradient all that reach into it.
    """
    count, windows = -(-size // limit), size + 2 * margin - window + 1
    edges = [margin + size * i // count for i in range(count + 1)]
    edges[0], edges[-1] = 0, size + 2 * margin
    reach = window - 1 if gradient else 0
    parts = itertools.pairwise(edges)
    return np.array([(a, b, max(0, a - reach), min(b, windows)) for a, b in parts])


@njit
def load_row(job, mask, plane, row, first, count, place, pixels):
    """A row of pixels, counted in the padded plane, into the ring's `place`."""
    at = passes.mirrored(row - job.margin, job.x.shape[1])
    pixels = pixels[place * PIXELS :]
    passes.copy_mirrored(job.x[plane, at], first, job.data_range, pixels[:count])
    passes.copy_mirrored(job.y[plane, at], first, job.data_range, pixels[Y : Y + count])
    if mask is not None:
        shared = job.x.shape[0] // mask.planes.shape[0]
        seen = mask.rows[place * STRIDE : place * STRIDE + count]
        masked.load_row(mask.planes[plane // shared, at], first, seen, pixels)


@njit
def load_weights(job, mask, plane, row, first, end, scratch):
    """Each window's weights of the terms, where all are not the same."""
    weights = scratch.weights
    if mask is not None:
        ring, half = scratch.pixel_places.size // 2, job.taps.size // 2
        centres = (row + half) % ring * STRIDE + half
        masked.weigh_windows(mask, centres, scratch.each, weights, end - first)
    for term in range(job.upstream.shape[0]):
        upstream = job.upstream[term, plane, row, first:end]
        for i in range(upstream.size):
            weights[term * STRIDE + i] = upstream[i]


@njit
def store_bracket(brackets, at, m, derivatives):
    passes.store_fields(brackets, at, (m[0], m[1], *formulas.bracket_of(m, derivatives)))


@njit
def window_row(job, mask, scratch, gradient, count, first):
    """A row of windows: what each term falls short of 1, and from `first` on the brackets."""
    c1, c2 = splat(job.c1), splat(job.c2)
    weights, terms = scratch.weights, scratch.terms
    for i in range(0, count, LANES):
        m, inverse = masked.window_moments(scratch.columns, mask, job.taps, i)
        if job.product:
            found, shared = formulas.product(m, c1, c2)
            store(terms, i, found[0])
            if gradient:
                each = (load(weights, i) * inverse,)
                derivatives = formulas.product_derivatives(m, c2, shared, each)
                store_bracket(scratch.brackets, first + i, m, derivatives)
        else:
            found, shared = formulas.terms(m, c1, c2)
            store(terms, i, found[0])
            store(terms, STRIDE + i, found[1])
            store(terms, 2 * STRIDE + i, found[2])
            if gradient:
                each = (
                    load(weights, i) * inverse,
                    load(weights, STRIDE + i) * inverse,
                    load(weights, 2 * STRIDE + i) * inverse,
                )
                derivatives = formulas.terms_derivatives(m, c2, shared, each)
                store_bracket(scratch.brackets, first + i, m, derivatives)
    if gradient:
        # Nothing is gathered from where there are no windows.
        for field in range(0, BRACKETS, STRIDE):
            store(scratch.brackets, field + first + count, splat(ZERO))


@njit
def add_terms(terms, weights, count, totals):
    for i in range(0, count, LANES):
        total = load(totals, i)
        for field in range(0, 3 * STRIDE, STRIDE):
            total = total + load(weights, field + i) * load(terms, field + i)
        store(totals, i, total)


@njit
def store_maps(job, plane, row, columns, terms):
    own = columns[0] - columns[2]
    for term in range(job.maps.shape[0]):
        target = job.maps[term, plane, row, columns[0] : columns[3]]
        for i in range(target.size):
            target[i] = terms[term * STRIDE + own + i]


@njit
def clear(gradient, margin, strip, columns):
    """Makes a tile's part of a plane's gradient 0."""
    for row in range(max(0, strip[0] - margin), min(gradient.shape[0], strip[1] - margin)):
        line = gradient[row]
        for i in range(max(0, columns[0] - margin), min(line.size, columns[1] - margin)):
            line[i] = ZERO


@njit
def add_gradient(job, mask, plane, row, strip, columns, scratch, image):
    """The gradient of a row of pixels, from the rows of windows that hold it."""
    size = job.taps.size
    ring = size + size // 2
    oldest, newest = max(strip[2], row - size + 1), min(strip[3] - 1, row)
    width, own = columns[1] - columns[0], columns[0] - columns[2]
    rows, pivots, used = oldest % size, (oldest + size // 2) % ring, newest - oldest + 1
    tap, at = row - oldest, row % ring * PIXELS
    masked.gather_down(scratch, mask, rows, pivots, used, job.taps, tap, at, own, width, image)
    at = passes.mirrored(row - job.margin, job.x.shape[1])
    line, target = scratch.line[:width], job.gradients[image][plane, at]
    if job.margin:
        passes.add_mirrored(line, columns[0] - job.margin, job.data_range, target)
    else:
        passes.copy_back(line, columns[0], job.data_range, target)


@njit(inline="always")
def one_tile(job, mask, plane, strip, columns, scratch):
    """The sum over the windows that begin in a tile, and the gradients of the pixels in it."""
    top, bottom, first, end = strip
    left, right, window_left, window_right = columns
    size, own, count = job.taps.size, left - window_left, window_right - window_left
    ring = size + size // 2
    gradient = False
    for image in range(2):
        if job.gradients[image].size > 0:
            gradient = True
            if job.margin:
                clear(job.gradients[image][plane], job.margin, strip, columns)
    scratch.totals[:] = ZERO
    scratch.brackets[:] = ZERO
    for newest in range(first, (bottom if gradient else end) + size - 1):
        row = newest - size + 1
        if newest < end + size - 1:
            width = count + size - 1
            at = newest % ring
            load_row(job, mask, plane, newest, window_left - job.margin, width, at, scratch.pixels)
        if first <= row < end:
            masked.column_moments(scratch, mask, row % ring, job.taps, count + size - 1)
            load_weights(job, mask, plane, row, window_left, window_right, scratch)
            window_row(job, mask, scratch, gradient, count, size - 1 - own)
            masked.keep_pivots(scratch, mask, row % size, own, right - left)
            for image in range(2):
                if job.gradients[image].size > 0:
                    passes.gather_along(scratch, row % size, job.taps, own, right - left, image)
        if top <= row < end:
            add_terms(scratch.terms, scratch.weights, count, scratch.totals)
            store_maps(job, plane, row, columns, scratch.terms)
        if top <= row:
            for image in range(2):
                if job.gradients[image].size > 0:
                    add_gradient(job, mask, plane, row, strip, columns, scratch, image)
    total = 0.0
    for i in range(own, count):
        total += scratch.totals[i]
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
        tiles, across = job.sums.shape[1], job.columns.shape[0]
        while True:
            index = take_number(job.next_tile)
            if index >= job.sums.size:
                return
            plane, tile = index // tiles, index % tiles
            strip = row_of(job.strips, tile // across)
            columns = row_of(job.columns, tile % across)
            job.sums[plane, tile] = one_tile(job, mask, plane, strip, columns, scratch)

    return run_tiles
