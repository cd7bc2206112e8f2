"""What the emulator needs, or why its tests are skipped."""

from __future__ import annotations

import os

import pytest
from triton_release import require_triton

from .build import compiler


def require_emulator() -> None:
    """Skips the file that calls this, before it imports Triton, where the emulator cannot run."""
    require_triton()
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("the interpreter compiles nothing", allow_module_level=True)
    if compiler() is None:
        reason = "the emulator needs a C++ compiler: install one or set CXX"
        pytest.skip(reason, allow_module_level=True)
