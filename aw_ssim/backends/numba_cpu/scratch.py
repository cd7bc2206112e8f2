"""A thread's memory for the tile that it works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .passes import MOMENTS, PIXELS, ROWS, STRIDE

Floats = NDArray[np.float32]


class Scratch(NamedTuple):
    """All rows of a tile's pixels and of their gradients; one row of all else."""

    pixels: Floats
    gradients: Floats
    columns: Floats
    windows: Floats
    weights: Floats
    each: Floats
    terms: Floats
    totals: Floats


def scratch(window: int) -> Scratch:
    """Room for windows of a size; `reset` comes before each use."""
    tile = tile_rows(window) * PIXELS
    fields = {"pixels": tile, "gradients": tile, "columns": MOMENTS, "windows": MOMENTS}
    fields |= {"weights": 3 * STRIDE, "each": 3, "terms": 3 * STRIDE, "totals": 2 * STRIDE}
    return Scratch(**{name: aligned(size) for name, size in fields.items()})


def reset(room: Scratch, weights: Sequence[float]) -> None:
    """The `weights` of the terms count for all windows, unless there is an upstream gradient."""
    room.each[:] = [*weights, 0.0, 0.0][:3]
    room.weights.reshape(3, STRIDE)[:] = room.each[:, None]


def tile_rows(window: int) -> int:
    """The most rows that a tile's windows hold, those that reach into it included."""
    return ROWS + 2 * (window - 1)


def aligned(size: int) -> Floats:
    """Zeros that begin with a cache line."""
    numbers = np.zeros(size + 16, np.float32)
    first = -numbers.ctypes.data % 64 // 4
    return numbers[first : first + size]
