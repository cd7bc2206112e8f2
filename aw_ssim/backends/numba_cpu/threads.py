"""The threads that the CPU kernel runs in: torch's own where they can be had.

torch's threads stay awake after each of its operations and look for the next, for some
milliseconds. Others would have to share the processor's cores with them all that time.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import torch

_Region = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_openmp: ctypes.CDLL | None
_pool: ThreadPoolExecutor


def run_in_threads(count: int, work: Callable[[int], None]) -> None:
    """Calls `work` with numbers below `count`, each in another thread; 0 in the caller's.

    Some numbers may be left out, where the system gives fewer threads. Raises what one raised.
    """
    if count == 1:
        work(0)
    # Fewer would end torch's others, and its next operation would start them again.
    elif _openmp is not None and count == torch.get_num_threads():
        _run_in_openmp(_openmp, count, work)
    else:
        others = [_pool.submit(work, number) for number in range(1, count)]
        try:
            work(0)
        finally:
            wait(others)
        for other in others:
            other.result()


def _run_in_openmp(openmp: ctypes.CDLL, count: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def region(_: int | None) -> None:
        try:
            work(openmp.omp_get_thread_num())
        except BaseException as error:
            errors.append(error)

    openmp.GOMP_parallel(_Region(region), None, count, 0)
    if errors:
        raise errors[0]


def _find_openmp() -> ctypes.CDLL | None:
    """GNU's OpenMP, or one that answers to its name, where torch has loaded it for all to see."""
    try:
        openmp = ctypes.CDLL(None)
        openmp.GOMP_parallel.argtypes = [_Region, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        openmp.GOMP_parallel.restype = None
        openmp.omp_get_thread_num.restype = ctypes.c_int
    # On Windows there is no library without a name.
    except (AttributeError, OSError, TypeError):
        return None
    return openmp


def _begin(openmp: ctypes.CDLL | None = None) -> None:
    """At the import, and in each forked process.

    Its parent's threads are not in it. OpenMP takes them for its own still, and would wait for
    them for ever.
    """
    global _openmp, _pool
    _openmp = openmp
    # Threads start when they are first needed.
    _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="aw_ssim")


_begin(_find_openmp())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)
