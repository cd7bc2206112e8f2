"""Keep freed memory inside the process: fresh pages cost a CPU run as much as its arithmetic."""

from __future__ import annotations

import ctypes
import platform

# Parameters of mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Tell glibc not to hand freed blocks back to the system; elsewhere do nothing.

    The same as the environment variables MALLOC_MMAP_MAX_=0, MALLOC_TRIM_THRESHOLD_ and
    MALLOC_TOP_PAD_, which must be set before the process starts.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(M_TOP_PAD, 2**28)
