"""The launch of the fused Triton kernel, and how planes are cut into its tiles.

Imported only where this backend is used: Triton is no dependency on machines without a GPU.
"""

from __future__ import annotations

import contextlib
import functools
import math
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from ...options import Options
from ..interface import Inputs, Outputs
from .kernel import BESIDE as KERNEL_BESIDE
from .kernel import tiles_kernel

# Of a processor.
REGISTERS = 65536
# The widest window of which a lane holds two rows.
LARGEST_PAIRED_WINDOW = 11
BESIDE = int(KERNEL_BESIDE.value)


def run(inputs: Inputs, options: Options, out: Outputs, upstream: Tensor | None) -> None:
    """As `interface.ClosedForm` describes it, for float32 and half images."""
    x, y, taps, mask = inputs
    n, c, h, w = x.shape
    gradients = len(out.gradients)
    processors, lanes_of_warp = _processors(x.device)
    masked = mask is not None
    chosen = layout(options.window_size, masked, gradients, options.same, w, lanes_of_warp)
    registers = registers_of_a_thread(options.window_size, masked, gradients)
    most = programs_at_once(registers, chosen.warps) * processors
    strip = rows_of_a_tile(h, n * c * chosen.blocks, most, options.window_size - 1)
    tiles = n * c * chosen.blocks * triton.cdiv(h, strip)
    programs = min(tiles, most)
    scratch = taps.new_empty(programs * _scratch_size(chosen, masked, gradients))
    sums = taps.new_empty(tiles)
    grad_x, grad_y = (*out.gradients, x, x)[:2]
    a, b, g = (*options.term_weights, 0.0, 0.0)[:3]
    with _on(x.device):
        tiles_kernel[(programs,)](
            x,
            y,
            x if mask is None else mask,
            x if upstream is None else upstream,
            taps,
            scratch,
            sums,
            x if out.maps is None else out.maps,
            grad_x,
            grad_y,
            *x.stride(),
            *y.stride(),
            *((0, 0, 0, 0) if mask is None else mask.stride()),
            c,
            h,
            w,
            n * c,
            tiles,
            chosen.blocks,
            strip,
            1 / options.divisor,
            options.c1,
            options.c2,
            a,
            b,
            g,
            options.l1,
            SIZE=options.window_size,
            SAME=options.same,
            PRODUCT=options.product,
            L1=options.l1 != 0,
            MASKED=masked,
            UPSTREAM=upstream is not None,
            MAPS=out.maps is not None,
            GRADIENTS=gradients,
            LANES=chosen.lanes,
            ROWS=chosen.rows,
            num_warps=chosen.warps,
            num_stages=1,
            # Triton's own default differs between its versions.
            enable_fp_fusion=True,
            **({"maxnreg": registers} if _compiles_for_nvidia(x.device) else {}),
        )
    if out.sums is not None:
        # The tiles of a plane lie side by side.
        torch.sum(sums.view(n, c, -1), dim=2, out=out.sums)


class Layout(NamedTuple):
    """How a plane is cut into tiles; it follows from shapes, options and device alone."""

    warps: int
    lanes: int
    rows: int
    """Of a lane's block of windows."""
    blocks: int
    """Tiles side by side."""


def layouts(
    rows: int, size: int, gradients: int, same: bool, width: int, lanes_of_warp: int = 32
) -> list[Layout]:
    """All that can cut planes of this width, with so many rows in a block."""
    # Neighbouring tiles both compute the columns at their edges; beyond an image's edge there is
    # nothing to compute, unless it is mirrored there.
    shared = (size - 1) * (2 if gradients else 1)
    found = []
    for warps in (1, 2, 4, 8):
        lanes = lanes_of_warp * warps
        own = lanes - shared
        if own > 0:
            blocks = max(1, triton.cdiv(width if same else width - shared, own))
            found.append(Layout(warps, lanes, rows, blocks))
    return found


@functools.lru_cache(maxsize=1024)
def layout(
    size: int, masked: bool, gradients: int, same: bool, width: int, lanes_of_warp: int = 32
) -> Layout:
    """The one that computes fewest columns, of four warps at most.

    Of eight warps all wait where one does: that costs more than the columns they save.
    """
    rows = 1 if masked or not 1 < size <= LARGEST_PAIRED_WINDOW else 2
    found = layouts(rows, size, gradients, same, width, lanes_of_warp)
    few = [one for one in found if one.warps <= 4] or found
    return min(few, key=lambda one: one.blocks * one.lanes)


def registers_of_a_thread(size: int, masked: bool, gradients: int) -> int:
    """As few as it can do with: the fewer, the more warps hide each other's waiting."""
    if size > LARGEST_PAIRED_WINDOW:
        return 255
    if masked:
        return 168 if gradients else 128
    return 128 if gradients else 80


def programs_at_once(registers: int, warps: int) -> int:
    """On one processor."""
    return max(1, REGISTERS // (registers * 32) // warps)


def _scratch_size(chosen: Layout, masked: bool, gradients: int) -> int:
    """One program's floats in the kernel's order: moments of windows, then sums of pixels."""
    fields = 8 if masked or chosen.rows == 1 else 6
    if gradients:
        fields += ((5 if gradients == 2 else 3) + 4 - chosen.rows) // 2 * 2
    return chosen.rows * (fields * (chosen.lanes + BESIDE) + 2 * BESIDE)


@functools.lru_cache(maxsize=1024)
def rows_of_a_tile(height: int, blocks: int, programs: int, overlap: int) -> int:
    """What is done soonest: every tile of a column does its neighbours' `overlap` rows too."""

    def steps_of_a_program(rows: int) -> int:
        tiles = blocks * math.ceil(height / rows)
        return math.ceil(tiles / programs) * (rows + overlap)

    return min(range(512, 7, -4), key=steps_of_a_program)


def _processors(device: torch.device) -> tuple[int, int]:
    """How many a device has, and the lanes of their warps."""
    if device.type == "cpu":
        return 1, 32
    properties = getattr(torch, device.type).get_device_properties(device)
    count = getattr(properties, "multi_processor_count", None)
    # Intel's GPUs count their units by another name.
    return int(count or properties.max_compute_units), getattr(properties, "warp_size", 32)


def _compiles_for_nvidia(device: torch.device) -> bool:
    return device.type == "cuda" and torch.version.hip is None


def _on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Triton launches on the current device and stream."""
    if device.type == "cpu":
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[object] = getattr(torch, device.type).device(device)
    return context
