"""The numba backend: the loss and its gradient by the fused CPU kernel, on threads of its own.

The three functions are those of `analytic`, for float32 and half images without a mask.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from . import numba_kernel
from .analytic import Options
from .numba_kernel import ROWS, Job, Scratch, cut, scratch
from .numba_passes import COLUMNS

_pool: ThreadPoolExecutor
_compiling: threading.Lock
_log = logging.getLogger("aw_ssim")


def dissimilarity_sums(
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: None,
    options: Options,
    need_x: bool,
    need_y: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Each image's summed loss map, N values, and the gradients of these sums."""
    gradients = _gradients(x, need_x, need_y)
    sums = _run(x, y, taps, options, gradients=gradients)
    return sums.view(x.shape[0], -1).sum(1).to(taps.dtype), *gradients


def local_terms(x: Tensor, y: Tensor, taps: Tensor, mask: None, options: Options) -> Tensor:
    """The maps 1 - l, 1 - c, 1 - s, or 1 - l c s alone: K x N x C x H' x W'."""
    n, c, h, w = x.shape
    margin = 0 if options.same else taps.shape[0] - 1
    count = 1 if options.weights is None else 3
    maps = taps.new_empty(count, n * c, h - margin, w - margin)
    _run(x, y, taps, options, maps=maps)
    return maps.view(count, n, c, h - margin, w - margin)


def local_terms_backward(
    upstream: Tensor,
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    mask: None,
    options: Options,
    need_x: bool,
    need_y: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of `local_terms` under any upstream gradient; the moments are formed anew."""
    gradients = _gradients(x, need_x, need_y)
    _run(x, y, taps, options, upstream=upstream.flatten(1, 2), gradients=gradients)
    return gradients


def _gradients(x: Tensor, need_x: bool, need_y: bool) -> tuple[Tensor | None, Tensor | None]:
    grad_x, grad_y = (
        torch.empty(x.shape, dtype=torch.float32) if need else None for need in (need_x, need_y)
    )
    return grad_x, grad_y


def _run(
    x: Tensor,
    y: Tensor,
    taps: Tensor,
    options: Options,
    *,
    upstream: Tensor | None = None,
    maps: Tensor | None = None,
    gradients: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Tensor:
    """Fills `maps` and `gradients`; returns the sum over each plane, in float64."""
    n, c, h, w = x.shape
    window, planes = taps.shape[0], n * c
    margin = window // 2 if options.same else 0
    needed = any(gradient is not None for gradient in gradients)
    strips = cut(h, ROWS, margin, window, needed)
    columns = cut(w, COLUMNS, margin, window, needed)
    sums = torch.empty(planes, len(strips) * len(columns), dtype=torch.float64)
    job = Job(
        x=_array(x.flatten(0, 1), 3),
        y=_array(y.flatten(0, 1), 3),
        taps=_array(taps, 1),
        c1=np.float32(options.constants.c1),
        c2=np.float32(options.constants.c2),
        data_range=np.float32(options.data_range),
        product=options.weights is None,
        margin=margin,
        strips=strips,
        columns=columns,
        upstream=_array(upstream, 4),
        maps=_array(maps, 4),
        sums=sums.numpy(),
        gradients=(_planes(gradients[0]), _planes(gradients[1])),
    )
    threads = min(torch.get_num_threads(), sums.numel())
    weights = options.weights or (1.0,)
    rooms = [scratch(window, weights) for _ in range(threads)]
    if not _run_tiles.signatures:
        _compile(job._replace(sums=np.empty((0, 1))), rooms[0])
    others = [_pool.submit(_run_tiles, job, rooms[i], i, threads) for i in range(1, threads)]
    _run_tiles(job, rooms[0], 0, threads)
    for other in others:
        other.result()
    return sums.sum(1)


def _planes(gradient: Tensor | None) -> Any:
    return _array(None if gradient is None else gradient.flatten(0, 1), 3)


def _array(tensor: Tensor | None, dimensions: int) -> Any:
    """The tensor's own memory where it is float32 and contiguous; None as an empty array."""
    if tensor is None:
        return np.empty([0] * dimensions, np.float32)
    return tensor.detach().to(torch.float32).contiguous().numpy()


def _cached(digest: str) -> Any:
    """The kernel, kept on disk once it is compiled.

    numba would keep it while this file alone is unchanged; a closure's contents count too.
    """

    def run_tiles(job, scratch, first, step):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        numba_kernel.run_tiles(job, scratch, first, step)

    try:
        return numba.njit(run_tiles, nogil=True, cache=True)
    except RuntimeError as error:
        _log.warning("aw_ssim compiles its CPU kernel anew in each process: %s", error)
        return numba.njit(run_tiles, nogil=True)


def _digest_of_sources() -> str:
    sources = sorted(Path(__file__).parent.glob("numba_*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _compile(job: Job, room: Scratch) -> None:
    """Compiles, or reads from the disk, and says how long it took; `job` has no tiles."""
    with _compiling:
        if _run_tiles.signatures:
            return
        start = time.perf_counter()
        _run_tiles(job, room, 0, 1)
        if not _run_tiles.stats.cache_hits:
            _log.warning(
                "aw_ssim compiled its CPU kernel in %.0f s; it is kept in %s.",
                time.perf_counter() - start,
                _run_tiles.stats.cache_path,
            )


def _begin() -> None:
    """At the import, and in each forked process, in which its parent's threads are not."""
    global _pool, _compiling
    # Threads start when they are first needed.
    _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="aw_ssim")
    _compiling = threading.Lock()


_begin()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)
_run_tiles = _cached(_digest_of_sources())
