"""Tests of the kernel are for the Triton that it needs; older torch brings an older one."""

from __future__ import annotations

from types import ModuleType

import pytest

from aw_ssim import availability


def require_triton() -> ModuleType:
    """Triton, or a skip of the test or the file that calls this."""
    oldest = ".".join(map(str, availability.OLDEST_TRITON))
    reason = f"the kernel needs Triton {oldest}, which torch brings from 2.7 on, on Linux"
    return pytest.importorskip("triton", minversion=oldest, reason=reason)
