"""What the kernel's lanes hold in registers and how it gets there: taps and rows of pixels.

A lane has COLUMNS neighbouring columns. What it holds of them is a flat tuple: the rows of its
first column from the oldest on, then those of the next.
"""

from __future__ import annotations

import triton
import triton.language as tl


def jit(function):
    """As `triton.jit`; but Triton's interpreter is twice as fast with Python's own calls."""
    compiled = triton.jit(function)
    return compiled if isinstance(compiled, triton.runtime.JITFunction) else function


@jit
def inside(index, size):
    """An index mirrored into the image; farther out, where nothing counts, the nearest pixel."""
    mirrored = tl.where(index < 0, -index, index)
    mirrored = tl.where(mirrored >= size, 2 * size - 2 - mirrored, mirrored)
    return tl.minimum(tl.maximum(mirrored, 0), size - 1)


@jit
def load_taps(taps, SIZE: tl.constexpr):
    """All taps of a symmetric window, in half as many registers."""
    held = ()
    for j in tl.static_range(SIZE // 2 + 1):
        held = held + (tl.load(taps + j),)
    for j in tl.static_range(SIZE // 2):
        held = held + (held[SIZE // 2 - 1 - j],)
    return held


@jit
def load_some_taps(taps, lane, COLUMNS: tl.constexpr, SIZE: tl.constexpr):
    """The taps for one lane's columns, `lane` lanes from the first that a window reaches.

    As the windows of COLUMNS columns see them, the last window's first. Beyond a window they are 0.
    """
    some = ()
    for i in tl.static_range(2 * COLUMNS - 1):
        number = (lane - 1) * COLUMNS + 1 + i
        some = some + (tl.load(taps + number, mask=(number >= 0) & (number < SIZE), other=0.0),)
    return some


@jit
def load_row(image, columns, scale):
    """A row's values at each of a lane's columns."""
    values = ()
    for q in tl.static_range(len(columns)):
        values = values + (tl.load(image + columns[q]).to(tl.float32) * scale,)
    return values


@jit
def load_rows(source, hidden, first, COUNT: tl.constexpr, MASKED: tl.constexpr):
    """COUNT rows of both images and the mask, mirrored at the image's edges.

    Args:
        source: the images' first pixels and the mask's, their strides down and along a lane's
            columns, the height and the scale.
        hidden: what both images' hidden pixels are replaced by, of each of a lane's columns.
    """
    images, downs, alongs, height, scale = source
    COLUMNS: tl.constexpr = len(alongs[0])
    rows_x, rows_y, rows_of_mask = (), (), ()
    for i in tl.static_range(COUNT):
        row = inside(first + i, height).to(tl.int64)
        x = load_row(images[0] + row * downs[0], alongs[0], scale)
        y = load_row(images[1] + row * downs[1], alongs[1], scale)
        if MASKED:
            shares = load_row(images[2] + row * downs[2], alongs[2], 1.0)
            x, y = where_seen(shares, x, hidden[0]), where_seen(shares, y, hidden[1])
            rows_of_mask = append(rows_of_mask, shares, COLUMNS)
        rows_x, rows_y = append(rows_x, x, COLUMNS), append(rows_y, y, COLUMNS)
    return rows_x, rows_y, rows_of_mask


@jit
def last_visible(source, first, end):
    """Of each column and image, the last pixel of some rows that is seen and finite, else 0."""
    images, downs, alongs, height, scale = source
    COLUMNS: tl.constexpr = len(alongs[0])
    LANES: tl.constexpr = alongs[0][0].shape[0]
    found_x, found_y = zeros(COLUMNS, LANES), zeros(COLUMNS, LANES)
    for i in range(first, end):
        row = inside(i, height).to(tl.int64)
        shares = load_row(images[2] + row * downs[2], alongs[2], 1.0)
        x = load_row(images[0] + row * downs[0], alongs[0], scale)
        y = load_row(images[1] + row * downs[1], alongs[1], scale)
        more_x, more_y = (), ()
        for q in tl.static_range(COLUMNS):
            # The difference is NaN where the pixel is not finite.
            good_x = (shares[q] > 0) & (x[q] - x[q] == 0)
            good_y = (shares[q] > 0) & (y[q] - y[q] == 0)
            more_x = more_x + (tl.where(good_x, x[q], found_x[q]),)
            more_y = more_y + (tl.where(good_y, y[q], found_y[q]),)
        found_x, found_y = more_x, more_y
    return found_x, found_y


@jit
def where_seen(shares, values, others):
    """The values where the mask is not 0. Multiplying would let a hidden NaN through."""
    new = ()
    for i in tl.static_range(len(values)):
        new = new + (tl.where(shares[i] > 0, values[i], others[i]),)
    return new


@jit
def inverse(total):
    return 1 / tl.where(total > 0, total, 1.0)


@jit
def twice_on_edges(index, size):
    return tl.where((index == 0) | (index == size - 1), 2.0, 1.0)


@jit
def times(values, factor):
    new = ()
    for i in tl.static_range(len(values)):
        new = new + (values[i] * factor,)
    return new


@jit
def zero_unless(condition, values):
    new = ()
    for i in tl.static_range(len(values)):
        new = new + (tl.where(condition, values[i], 0.0),)
    return new


@jit
def zeros(COUNT: tl.constexpr, LANES: tl.constexpr):
    new = ()
    for _ in tl.static_range(COUNT):
        new = new + (tl.zeros([LANES], tl.float32),)
    return new


@jit
def part(held, first: tl.constexpr, COUNT: tl.constexpr):
    new = ()
    for i in tl.static_range(COUNT):
        new = new + (held[first + i],)
    return new


@jit
def row_of(held, k: tl.constexpr, COLUMNS: tl.constexpr):
    """The k-th entry of each column."""
    row = ()
    for q in tl.static_range(COLUMNS):
        row = row + (held[q * (len(held) // COLUMNS) + k],)
    return row


@jit
def append(held, more, COLUMNS: tl.constexpr):
    """What is held of each column, and more of it."""
    new = ()
    for q in tl.static_range(COLUMNS):
        new = new + part(held, q * (len(held) // COLUMNS), len(held) // COLUMNS)
        new = new + part(more, q * (len(more) // COLUMNS), len(more) // COLUMNS)
    return new


@jit
def without_oldest(held, COUNT: tl.constexpr, COLUMNS: tl.constexpr):
    """What is held of each column, less its COUNT oldest entries."""
    new = ()
    for q in tl.static_range(COLUMNS):
        new = new + part(held, q * (len(held) // COLUMNS) + COUNT, len(held) // COLUMNS - COUNT)
    return new
