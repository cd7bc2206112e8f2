"""The three functions of a backend, as launches of the fused Triton kernel.

Imported only where this backend is used: Triton is no dependency on machines without a GPU.
"""

from __future__ import annotations

import contextlib

import torch
import triton
from torch import Tensor

from .analytic import Options
from .triton_kernels import nothing_kernel, tiles_kernel

# Windows side by side in a program, and rows that share their loads.
BLOCK, ROWS = 128, 2
WARPS = 4
# Each program's scratch, up to 100 KiB, is to stay in the cache of its processor.
PROGRAMS_PER_PROCESSOR = 4
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
    columns = BLOCK - (taps.shape[0] - 1) if gradients else BLOCK
    most = PROGRAMS_PER_PROCESSOR * _processors(x.device)
    blocks = n * c * triton.cdiv(w, columns)
    strip = _rows_of_a_tile(h, blocks, most)
    tiles = blocks * triton.cdiv(h, strip)
    programs = min(tiles, most)
    scratch = taps.new_empty(programs * _scratch_size(taps.shape[0], mask is not None, gradients))
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
            BLOCK=BLOCK,
            ROWS=ROWS,
            num_warps=WARPS,
            num_stages=1,
            # Triton's own default differs between its versions.
            enable_fp_fusion=True,
        )
    return sums, (grads[0], grads[1])


def _scratch_size(size: int, masked: bool, gradients: int) -> int:
    """One program's floats in the kernel's order: rings of rows and windows, sums, pixels."""
    ring = size - 1 + ROWS
    rows = ring * (8 if masked else 7)
    if gradients:
        rows += ring * (7 if gradients == 2 else 5) + ROWS * (5 if gradients == 2 else 3)
    return rows * BLOCK + ROWS * (3 if masked else 2) * (BLOCK + size - 1)


def _rows_of_a_tile(height: int, blocks: int, programs: int) -> int:
    """As many as leave every program some tiles: the warm-up above a tile is work done twice.

    Multiples of 16: Triton compiles anew for other numbers.
    """
    for rows in (256, 128, 64):
        if blocks * triton.cdiv(height, rows) >= 4 * programs:
            return rows
    return 32


def _processors(device: torch.device) -> int:
    if device.type == "cpu":
        return 1
    properties = getattr(torch, device.type).get_device_properties(device)
    count = getattr(properties, "multi_processor_count", None)
    # Intel's GPUs count their units by another name.
    return int(count or properties.max_compute_units)


def _on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Triton launches on the current device and stream."""
    if device.type == "cpu":
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[object] = getattr(torch, device.type).device(device)
    return context
