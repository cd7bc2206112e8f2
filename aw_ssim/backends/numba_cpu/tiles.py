"""The tiles of the CPU kernel: how planes are cut, pixels copied in, gradients copied out; traced.

Rows and columns are counted in the plane padded by the margin, in which mirror images lie beyond
the image's edges.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import masked
from .memory import load, load_one, store, store_one
from .passes import PIXELS, STRIDE, Y
from .tracing import steps, when
from .values import LANES, Value, choose, least, most


def cut(size: int, limit: int, margin: int, window: int, gradient: bool) -> NDArray[np.int64]:
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


class Part(NamedTuple):
    """A row of `cut`."""

    begin: Value
    end: Value
    first: Value
    stop: Value


def part_of(cuts, number):
    return Part(*(load_one(cuts, number * 4 + i) for i in range(4)))


class Tile(NamedTuple):
    """What all that is done with a tile may read."""

    job: Any
    mask: Any
    scratch: Any
    plane: Value
    strip: Part
    columns: Part
    window: int | None

    @property
    def size(self):
        """Of the window; a number where the kernel is for it alone."""
        return self.window or self.job.taps.shape[0]

    @property
    def windows(self):
        """In a row."""
        return self.columns.stop - self.columns.first

    @property
    def own(self):
        """Where the tile's own pixels begin, right of those that only windows hold."""
        return self.columns.begin - self.columns.first

    @property
    def own_pixels(self):
        """In a row."""
        return self.columns.end - self.columns.begin

    @property
    def images(self):
        """How many a gradient is wanted to."""
        to_x, to_y = (gradient.shape[0] for gradient in self.job.gradients)
        return least(to_x, 1) + least(to_y, 1)

    @property
    def inside(self):
        """Rows and columns that are the tile's own and no mirror images: begin and end of each."""
        (_, height, width), margin = self.job.x.shape, self.job.margin
        return [
            (most(part.begin, margin), least(part.end, side + margin))
            for part, side in ((self.strip, height), (self.columns, width))
        ]


def mirrored(index, size):
    """Where what lies beyond an edge comes from."""
    inside = choose(index < 0, -index, index)
    return choose(inside < size, inside, 2 * size - 2 - inside)


def load_row(tile, row, at):
    """A row of both images' pixels, and of the mask, into the tile's row at `at`."""
    job, mask, pixels = tile.job, tile.mask, tile.scratch.pixels
    count = tile.windows + tile.size - 1
    for image, planes in enumerate((job.x, job.y)):
        copy_row(tile, planes, tile.plane, row, job.scale, pixels, at + image * Y, count)
    if mask is not None:
        shared = job.x.shape[0] // mask.planes.shape[0]
        copy_row(tile, mask.planes, tile.plane // shared, row, 1, mask.rows, at // 2, count)
        masked.hide(mask, pixels, at, count)


def copy_row(tile, planes, plane, row, scale, out, at, count):
    """As many as `count` pixels by `scale`."""
    _, height, width = planes.shape
    margin = tile.job.margin
    start = (plane * height + mirrored(row - margin, height)) * width
    first = tile.columns.first - margin
    low, high = most(-first, 0), least(count, width - first)
    copy(planes, start + first + low, out, at + low, high - low, scale)
    for beyond in (steps(low), steps(high, count)):
        for i in beyond:
            pixel = load_one(planes, start + mirrored(first + i, width))
            store_one(out, at + i, pixel * scale)


def copy(source, start, target, at, count, scale):
    """`count` numbers by `scale`, a vector at a time while there are enough."""
    whole = count // LANES * LANES
    for i in steps(0, whole, LANES):
        store(target, at + i, load(source, start + i) * scale)
    for i in steps(whole, count):
        store_one(target, at + i, load_one(source, start + i) * scale)


def add_l1(tile):
    """Each own pixel's |x - y| by `Job.l1`: by column into the totals, and the derivatives."""
    l1, pixels, totals = tile.job.l1, tile.scratch.pixels, tile.scratch.totals
    gradients = tile.scratch.gradients
    rows, (left, right) = tile.inside
    for row in steps(*rows):
        at = (row - tile.strip.first) * PIXELS + left - tile.columns.first
        for i in steps(right - left):
            apart = load_one(pixels, at + i) - load_one(pixels, at + Y + i)
            slope = choose(apart > 0, l1, choose(apart < 0, -l1, 0))
            store_one(totals, i, load_one(totals, i) + apart * slope)
            with when(tile.images > 0):
                store_one(gradients, at + i, load_one(gradients, at + i) + slope)
            with when(tile.images > 1):
                store_one(gradients, at + Y + i, load_one(gradients, at + Y + i) - slope)


def store_gradients(tile, image):
    """A tile's gradients to an image, x, 0, or y, 1, by `Job.scale` into their plane."""
    job, strip, columns, gradients = tile.job, tile.strip, tile.columns, tile.scratch.gradients
    _, height, width = job.x.shape
    if tile.mask is not None:
        for row in steps(strip.begin - strip.first, strip.end - strip.first):
            at, seen = row * PIXELS + image * Y + tile.own, row * STRIDE + tile.own
            masked.weigh_gradients(tile.mask, gradients, at, seen, tile.own_pixels)
    first = (strip.begin - strip.first) * PIXELS + image * Y + tile.own
    add_mirrored_rows(tile, first)
    to_x, to_y = (gradient.start for gradient in job.gradients)
    target = choose(image > 0, to_y, to_x)
    rows, (left, right) = tile.inside
    for row in steps(*rows):
        at = first + (row - strip.begin) * PIXELS
        add_mirrored_columns(tile, at)
        start = (tile.plane * height + row - job.margin) * width + left - job.margin
        copy(gradients, at + left - columns.begin, target, start, right - left, job.scale)


def add_mirrored_rows(tile, first):
    """Adds rows beyond the image's edges to those they mirror; the tile's first is at `first`."""
    strip, margin, gradients = tile.strip, tile.job.margin, tile.scratch.gradients
    for row in steps(strip.begin, strip.end):
        inside = mirrored(row - margin, tile.job.x.shape[1]) + margin
        with when(inside != row):
            source, target = (first + (place - strip.begin) * PIXELS for place in (row, inside))
            for i in steps(0, tile.own_pixels, LANES):
                total = load(gradients, target + i) + load(gradients, source + i)
                store(gradients, target + i, total)


def add_mirrored_columns(tile, at):
    """Likewise, in the row at `at`."""
    columns, margin, gradients = tile.columns, tile.job.margin, tile.scratch.gradients
    width = tile.job.x.shape[2]
    for beyond in (steps(columns.begin, margin), steps(width + margin, columns.end)):
        for column in beyond:
            inside = mirrored(column - margin, width) + margin
            source, target = (at + place - columns.begin for place in (column, inside))
            total = load_one(gradients, target) + load_one(gradients, source)
            store_one(gradients, target, total)
