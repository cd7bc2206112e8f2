"""The tiles of the CPU kernel: how planes are cut, pixels copied in, gradients copied out.

Rows and columns are counted in the plane padded by the margin, in which mirror images lie beyond
the image's edges.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from . import masked
from .loops import load_one, njit, pointer, store_one
from .passes import PIXELS, STRIDE, ZERO, Y
from .vectors import LANES, load, store, traced


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


@njit
def mirrored(index, size):
    if index < 0:
        return -index
    return index if index < size else 2 * size - 2 - index


@traced
def copy_vector(source, start, target, at, scale):
    store(target, at, load(source, start) * scale)


@njit
def copy(source, start, target, at, count, scale):
    """`count` numbers by `scale`, a vector at a time while there are enough."""
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        copy_vector(source, start + i, target, at + i, scale)
    for i in range(whole, count):
        store_one(target, at + i, load_one(source, start + i) * scale)


@njit
def copy_row(planes, plane, row, first, margin, scale, out, at, count):
    """A row of pixels by `scale`, from column `first` on, as many as `count`."""
    height, width = planes.shape[1], planes.shape[2]
    source, start = pointer(planes), (plane * height + mirrored(row - margin, height)) * width
    first -= margin
    low, high = max(0, -first), min(count, width - first)
    copy(source, start + first + low, out, at + low, high - low, scale)
    for i in range(low):
        store_one(out, at + i, load_one(source, start + mirrored(first + i, width)) * scale)
    for i in range(high, count):
        store_one(out, at + i, load_one(source, start + mirrored(first + i, width)) * scale)


@traced
def add_vector(row, source, target):
    store(row, target, load(row, target) + load(row, source))


@njit
def add_mirrored_rows(gradients, at, strip, margin, height, count):
    """Adds rows beyond the image's edges to those they mirror; the strip's first row is `at`."""
    for row in range(strip[0], strip[1]):
        inside = mirrored(row - margin, height) + margin
        if inside != row:
            source, target = at + (row - strip[0]) * PIXELS, at + (inside - strip[0]) * PIXELS
            for i in range(0, count, LANES):
                add_vector(gradients, source + i, target + i)


@njit
def add_mirrored_columns(gradients, at, columns, margin, width):
    """Likewise, in a row whose first own column is `at`."""
    for column in range(columns[0], margin):
        add_one(gradients, at, column - columns[0], 2 * margin - column - columns[0])
    for column in range(width + margin, columns[1]):
        inside = mirrored(column - margin, width) + margin
        add_one(gradients, at, column - columns[0], inside - columns[0])


@njit
def add_one(row, at, source, target):
    total = load_one(row, at + target) + load_one(row, at + source)
    store_one(row, at + target, total)


@njit
def add_l1(pixels, gradients, totals, strip, columns, margin, height, width, l1, images):
    """Each own pixel's |x - y| by `l1`: by column into `totals`, and the derivatives."""
    left, right = max(columns[0], margin), min(columns[1], width + margin)
    for row in range(max(strip[0], margin), min(strip[1], height + margin)):
        at = (row - strip[2]) * PIXELS + left - columns[2]
        for i in range(right - left):
            apart = load_one(pixels, at + i) - load_one(pixels, at + Y + i)
            slope = l1 if apart > ZERO else (-l1 if apart < ZERO else ZERO)
            store_one(totals, i, load_one(totals, i) + apart * slope)
            if images > 0:
                store_one(gradients, at + i, load_one(gradients, at + i) + slope)
            if images > 1:
                store_one(gradients, at + Y + i, load_one(gradients, at + Y + i) - slope)


@njit
def copy_gradients(gradients, mask, target, plane, strip, columns, margin, scale, image):
    """A tile's gradients to an image, x, 0, or y, 1, by `scale` into their plane."""
    height, width = target.shape[1], target.shape[2]
    own, count = columns[0] - columns[2], columns[1] - columns[0]
    at = (strip[0] - strip[2]) * PIXELS + image * Y + own
    if mask is not None:
        for row in range(strip[0] - strip[2], strip[1] - strip[2]):
            place = row * PIXELS + image * Y + own
            masked.weigh_gradients(mask, gradients, place, row * STRIDE + own, count)
    add_mirrored_rows(gradients, at, strip, margin, height, count)
    left, right = max(columns[0], margin), min(columns[1], width + margin)
    for row in range(max(strip[0], margin), min(strip[1], height + margin)):
        line = at + (row - strip[0]) * PIXELS
        add_mirrored_columns(gradients, line, columns, margin, width)
        start = (plane * height + row - margin) * width + left - margin
        copy(gradients, line + left - columns[0], pointer(target), start, right - left, scale)
