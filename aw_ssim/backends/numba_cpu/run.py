"""The launch of the numba kernel, and what is kept of its compilation."""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from ...options import Options
from ..interface import Inputs, Outputs
from . import kernel
from .kernel import Job
from .masked import Mask, rows_of
from .passes import COLUMNS, ROWS
from .scratch import Scratch, reset, scratch
from .threads import run_in_threads
from .tiles import cut

_compiling: threading.Lock
# For each thread that calls, buffers of the threads that work for it, and what they are for.
_thread = threading.local()
_EMPTY = {dimensions: np.empty([0] * dimensions, np.float32) for dimensions in (3, 4)}
_log = logging.getLogger("aw_ssim")
# Reading a kept kernel takes less.
NOTICE_AFTER = 1.0
COMPILING = "aw_ssim is compiling its CPU kernel, once for this machine: some seconds of computing."
# The usual window, whose taps a kernel of its own has written out.
USUAL_WINDOW = 11


class Kind(NamedTuple):
    """What a kernel is for; who needs one does not wait for the others."""

    masked: bool
    window: int | None
    """None for all but the usual one."""


def run(inputs: Inputs, options: Options, out: Outputs, upstream: Tensor | None) -> None:
    """As `interface.ClosedForm` describes it, for float32 and half images."""
    n, c, h, w = inputs.x.shape
    window = options.window_size
    margin = window // 2 if options.same else 0
    strips = cut(h, ROWS, margin, window, bool(out.gradients))
    columns = cut(w, COLUMNS, margin, window, bool(out.gradients))
    sums = torch.empty(n * c, len(strips) * len(columns), dtype=torch.float64)
    gradients = [_planes(gradient) for gradient in (*out.gradients, None, None)]
    job = Job(
        x=_planes(inputs.x),
        y=_planes(inputs.y),
        taps=_array(inputs.taps),
        c1=np.float32(options.c1),
        c2=np.float32(options.c2),
        scale=np.float32(1 / options.divisor),
        l1=np.float32(options.l1),
        product=options.product,
        margin=margin,
        strips=strips,
        columns=columns,
        upstream=_planes(upstream, 4),
        maps=_planes(out.maps, 4),
        sums=sums.numpy(),
        next_tile=np.zeros(1, np.int64),
        gradients=(gradients[0], gradients[1]),
    )
    mask = _mask_planes(inputs.mask)
    kind = Kind(mask is not None, window if window == USUAL_WINDOW else None)
    if not _kernels[kind].overloads:
        _compile(kind, job._replace(sums=np.empty((0, 1)), next_tile=np.zeros(1, np.int64)), mask)
    threads = min(torch.get_num_threads(), sums.numel())
    rooms = _rooms(threads, window, mask is not None)

    def work(thread: int) -> None:
        room, rows = rooms[thread]
        reset(room, options.term_weights)
        _kernels[kind](job, None if mask is None else Mask(mask, *rows), room)

    run_in_threads(threads, work)
    if out.sums is not None:
        out.sums.copy_(sums.sum(1).view(n, c))


def _rooms(count: int, window: int, masked: bool) -> list[Any]:
    """Buffers for so many threads, kept for the next call."""
    kind = window, masked
    if getattr(_thread, "kind", None) != kind:
        _thread.rooms, _thread.kind = [], kind
    rooms: list[Any] = _thread.rooms
    rooms.extend(_room(*kind) for _ in range(count - len(rooms)))
    return rooms


def _room(window: int, masked: bool) -> tuple[Scratch, tuple[Any, ...]]:
    return scratch(window), rows_of(window) if masked else ()


def _mask_planes(mask: Tensor | None) -> Any:
    """One plane for each image, where its channels share it, or one for each channel."""
    if mask is None:
        return None
    return _planes(mask[:, :1] if mask.stride(1) == 0 else mask)


def _array(tensor: Tensor) -> Any:
    """The tensor's own memory where it is float32 and contiguous."""
    return tensor.detach().to(torch.float32).contiguous().numpy()


def _planes(tensor: Tensor | None, dimensions: int = 3) -> Any:
    """Images and channels as one dimension; None as an empty array."""
    if tensor is None:
        return _EMPTY[dimensions]
    return _array(tensor.contiguous().flatten(-4, -3))


def _dispatcher(kind: Kind, *, kept: bool = True) -> Any:
    """The kernel, kept on disk once it is compiled."""
    run_tiles = kernel.tile_loop(_digest_of_sources(), kind.window)
    try:
        return numba.njit(run_tiles, nogil=True, cache=kept)
    except RuntimeError as error:
        _warn_not_kept(error)
        return numba.njit(run_tiles, nogil=True)


def _warn_not_kept(error: Exception, folder: str = "") -> None:
    _log.warning(
        "aw_ssim compiles its CPU kernel anew in each process: %s%s: %s. Set NUMBA_CACHE_DIR to a "
        "folder that can be written.",
        f"numba cannot use its cache in {folder}: " if folder else "",
        type(error).__name__,
        error,
    )


def _sources() -> list[Path]:
    """Every file that the kernel is made of."""
    folder, library = Path(__file__).parent, Path(__file__).parents[2]
    others = [library / "formulas.py", library / "availability.py"]
    return [*sorted(folder.glob("*.py")), *others]


@functools.cache
def _digest_of_sources() -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in _sources())).hexdigest()


def _compile(kind: Kind, job: Job, mask: Any) -> None:
    """Compiles, or reads from the disk, and says what takes long; `job` has no tiles."""
    with _compiling:
        if _kernels[kind].overloads:
            return
        room, rows = _room(job.taps.size, kind.masked)
        arguments = job, Mask(mask, *rows) if kind.masked else None, room
        start = time.perf_counter()
        notice = threading.Timer(NOTICE_AFTER, _log.warning, [COMPILING])
        notice.daemon = True
        notice.start()
        stats = _kernels[kind].stats
        try:
            _kernels[kind](*arguments)
        # A full disk, a file cut short, another program's file: errors of any kind.
        except Exception as error:
            _warn_not_kept(error, stats.cache_path)
            if not _kernels[kind].overloads:
                _kernels[kind] = _dispatcher(kind, kept=False)
                _kernels[kind](*arguments)
            return
        finally:
            notice.cancel()
        if stats.cache_path and not stats.cache_hits:
            purposes = ["masks"] * kind.masked + ["other windows"] * (kind.window is None)
            _log.warning(
                "aw_ssim compiled its CPU kernel%s in %.0f s; it is kept in %s.",
                f" for {' and '.join(purposes)}" if purposes else "",
                time.perf_counter() - start,
                stats.cache_path,
            )


def _begin() -> None:
    """At the import, and in each forked process, whose parent may be compiling."""
    global _compiling
    _compiling = threading.Lock()


_begin()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)
_kernels = {
    kind: _dispatcher(kind)
    for kind in itertools.starmap(Kind, itertools.product((False, True), (USUAL_WINDOW, None)))
}
