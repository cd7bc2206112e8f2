"""What the kernel's lanes hold in registers and how it gets there: taps and rows of pixels.

A lane has one column. What it holds of it is a tuple, from the oldest row on.
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
def load_rows(source, first, COUNT: tl.constexpr, MASKED: tl.constexpr):
    """COUNT rows of both images and the mask, mirrored at the image's edges.

    Args:
        source: this lane's first pixels of both images and the mask, the strides down, the height
            and the scale.
    """
    images, downs, height, scale = source
    rows_x, rows_y, rows_of_mask = (), (), ()
    for i in tl.static_range(COUNT):
        row = inside(first + i, height).to(tl.int64)
        x = tl.load(images[0] + row * downs[0]).to(tl.float32) * scale
        y = tl.load(images[1] + row * downs[1]).to(tl.float32) * scale
        if MASKED:
            share = tl.load(images[2] + row * downs[2])
            # Multiplying would let a hidden NaN through.
            x, y = tl.where(share > 0, x, 0.0), tl.where(share > 0, y, 0.0)
            rows_of_mask = rows_of_mask + (share,)
        rows_x, rows_y = rows_x + (x,), rows_y + (y,)
    return rows_x, rows_y, rows_of_mask


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
