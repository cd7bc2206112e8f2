"""The three functions of a backend, as launches of the fused Triton kernel.

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

from .analytic import Options
from .triton_kernels import BESIDE as KERNEL_BESIDE
from .triton_kernels import nothing_kernel, tiles_kernel

# All registers of a processor go to so many warps, if each of their threads has 255.
WARPS_PER_PROCESSOR = 8
BESIDE = int(KERNEL_BESIDE.value)
INTERPRETED = not isinstance(tiles_kernel, triton.runtime.JITFunction)


def dissimilarity_sums(
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: Tensor | None,
    options: Options,
    need_x: bool,
    need_y: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Each image's summed loss map, N values, and the gradients of these sums."""
    sums, gradients = _launch(x, y, taps, mask, options, need_x, need_y)
    return sums.view(x.shape[0], -1).sum(1), *gradients


def local_terms(
    x: Tensor, y: Tensor, taps: Tensor, mask: Tensor | None, options: Options
) -> Tensor:
    """The maps 1 - l, 1 - c, 1 - s, or 1 - l c s alone: K x N x C x H' x W'."""
    n, c, h, w = x.shape
    margin = 0 if options.same else taps.shape[0] - 1
    count = 1 if options.weights is None else 3
    maps = taps.new_empty(count, n, c, h - margin, w - margin)
    _launch(x, y, taps, mask, options, maps=maps)
    return maps


def local_terms_backward(
    upstream: Tensor,
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: Tensor | None,
    options: Options,
    need_x: bool,
    need_y: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of `local_terms` under any upstream gradient; the moments are formed anew."""
    upstream = upstream.contiguous()
    return _launch(x, y, taps, mask, options, need_x, need_y, upstream=upstream)[1]


def trial(device: torch.device) -> None:
    """Builds and launches an empty kernel."""
    with _on(device):
        nothing_kernel[(1,)]()


class Layout(NamedTuple):
    """How a plane is cut into tiles; it follows from shapes, options and device alone."""

    warps: int
    lanes: int
    columns: int
    """Of a lane."""
    blocks: int
    """Tiles side by side."""


def layouts(
    columns: int, size: int, gradients: int, same: bool, width: int, lanes_of_warp: int = 32
) -> list[Layout]:
    """All that can cut planes of this width, with so many columns in a lane."""
    # Neighbouring tiles both compute the columns at their edges; beyond an image's edge there is
    # nothing to compute, unless it is mirrored there.
    shared = (size - 1) * (2 if gradients else 1)
    found = []
    for warps in (1, 2, 4, 8):
        lanes = lanes_of_warp * warps
        own = lanes * columns - shared
        if own > 0:
            blocks = max(1, triton.cdiv(width if same else width - shared, own))
            found.append(Layout(warps, lanes, columns, blocks))
    return found


@functools.lru_cache(maxsize=1024)
def layout(
    size: int, masked: bool, gradients: int, same: bool, width: int, lanes_of_warp: int = 32
) -> Layout:
    """The one that computes fewest columns.

    Two columns in a lane halve what lanes tell each other, but must fit into its registers.
    """
    columns = 2 if size <= 11 and not masked else 1
    found = layouts(columns, size, gradients, same, width, lanes_of_warp)
    return min(found, key=lambda one: one.blocks * one.lanes)


def _launch(
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: Tensor | None,
    options: Options,
    need_x: bool = False,
    need_y: bool = False,
    upstream: Tensor | None = None,
    maps: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor | None, Tensor | None]]:
    """Sums of the tiles, those of an image side by side, and the gradients asked for."""
    if need_y and not need_x:
        # The loss is symmetric, and the kernel knows the gradient of the first image, or of both.
        sums, (grad_y, _) = _launch(y, x, taps, mask, options, True, False, upstream, maps)
        return sums, (None, grad_y)
    n, c, h, w = x.shape
    gradients = need_x + need_y
    processors, lanes_of_warp = _processors(x.device)
    chosen = layout(taps.shape[0], mask is not None, gradients, options.same, w, lanes_of_warp)
    most = WARPS_PER_PROCESSOR // chosen.warps * processors
    strip = rows_of_a_tile(h, n * c * chosen.blocks, most, taps.shape[0] - 1)
    tiles = n * c * chosen.blocks * triton.cdiv(h, strip)
    programs = min(tiles, most)
    scratch = taps.new_empty(programs * _scratch_size(chosen, mask is not None, gradients))
    sums = taps.new_empty(tiles)
    grads = [taps.new_empty(x.shape) if need else None for need in (need_x, need_y)]
    a, b, g = options.weights or (1.0, 0.0, 0.0)
    seen = None if mask is None else mask.expand(x.shape)
    with _on(x.device):
        tiles_kernel[(programs,)](
            x,
            y,
            x if seen is None else seen,
            x if upstream is None else upstream,
            taps,
            scratch,
            sums,
            x if maps is None else maps,
            *(x if grad is None else grad for grad in grads),
            x.stride(),
            y.stride(),
            (0, 0, 0, 0) if seen is None else seen.stride(),
            c,
            h,
            w,
            n * c,
            tiles,
            chosen.blocks,
            strip,
            1 / options.data_range,
            *options.constants,
            a,
            b,
            g,
            SIZE=taps.shape[0],
            SAME=options.same,
            PRODUCT=options.weights is None,
            MASKED=mask is not None,
            UPSTREAM=upstream is not None,
            MAPS=maps is not None,
            GRADIENTS=gradients,
            LANES=chosen.lanes,
            COLUMNS=chosen.columns,
            num_warps=chosen.warps,
            num_stages=1,
            # Triton's own default differs between its versions.
            enable_fp_fusion=True,
        )
    return sums, (grads[0], grads[1])


def _scratch_size(chosen: Layout, masked: bool, gradients: int) -> int:
    """One program's floats in the kernel's order: moments of columns, then sums for pixels."""
    fields = 8 if masked else 7
    if gradients:
        fields += 7 if gradients == 2 else 5
    return BESIDE + chosen.columns * fields * (chosen.lanes + BESIDE)


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


def _on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Triton launches on the current device and stream."""
    if device.type == "cpu":
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[object] = getattr(torch, device.type).device(device)
    return context
