"""Fields of a block: put together from its rows, and on their way between lanes and memory."""

from __future__ import annotations

import triton.language as tl

from .rows import jit, part


@jit
def stack(rows):
    """Fields of LANES x ROWS, from a tuple of fields of LANES for each of one or two rows."""
    fields = ()
    for k in tl.static_range(len(rows[0])):
        if len(rows) == 2:
            field = tl.join(rows[0][k], rows[1][k])
        else:
            field = rows[0][k][:, None]
        fields = fields + (field,)
    return fields


@jit
def unstack(fields, ROWS: tl.constexpr):
    """A tuple of fields of LANES for each row, from fields of LANES x ROWS."""
    first, second = (), ()
    for k in tl.static_range(len(fields)):
        if ROWS == 2:
            a, b = fields[k].split()
            second = second + (b,)
        else:
            a = fields[k].reshape([fields[k].shape[0]])
        first = first + (a,)
    return (first, second)


@jit
def together(pivot_x, pivot_y, ROWS: tl.constexpr):
    """Pivots, LANES x 1, as fields of LANES x ROWS: both are one where there are two rows."""
    if ROWS == 2:
        return (tl.join(pivot_x, pivot_y).reshape([pivot_x.shape[0], 2]),)
    else:
        return pivot_x, pivot_y


@jit
def store_block(at, fields, PITCH: tl.constexpr):
    """The fields of all lanes into the scratch, two at a time; see `load_block`."""
    for k in tl.static_range(0, len(fields), 2):
        # Where there is no other, twice the same.
        other = fields[k + 1] if k + 1 < len(fields) else fields[k]
        tl.store(at + k * PITCH, tl.join(fields[k], other).reshape(at.shape))


@jit
def load_block(at, COUNT: tl.constexpr, ROWS: tl.constexpr, PITCH: tl.constexpr):
    """The pivots of each lane's block, LANES x 1, and COUNT other fields, LANES x ROWS.

    Args:
        at: LANES x (2 ROWS) pointers to the first two fields; they lie side by side, so that one
            instruction moves them, and the next two of all lanes 2 PITCH behind.
    """
    FIELDS: tl.constexpr = COUNT + 3 - ROWS
    found = ()
    for k in tl.static_range(0, FIELDS, 2):
        pair = tl.load(at + k * PITCH).reshape([at.shape[0], ROWS, 2])
        first, second = pair.split()
        found = found + (first, second)
    if ROWS == 2:
        pivot_x, pivot_y = found[COUNT].split()
        return (pivot_x[:, None], pivot_y[:, None]) + part(found, 0, COUNT)
    else:
        return part(found, COUNT, 2) + part(found, 0, COUNT)


@jit
def store_maps(at, values, size, where):
    for k in tl.static_range(len(values)):
        tl.store(at + k * size, values[k], mask=where)


@jit
def load_maps(at, COUNT: tl.constexpr, size):
    values = ()
    for k in tl.static_range(COUNT):
        values = values + (tl.load(at + k * size),)
    return values
