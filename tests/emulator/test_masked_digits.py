"""Gradients of masked images by compiled code, which rounds otherwise than the interpreter.

`python -m emulator masked 100` measures them on random images too.
"""

from __future__ import annotations

import pytest

from .requirements import require_emulator

require_emulator()

from tolerances import COMPILED_GRADIENT  # noqa: E402

from .cases import MASKED, compare, errors  # noqa: E402
from .launcher import EmulatedGPU  # noqa: E402

# "window 3, 24 x 39" is not among them: windows of two or three visible pixels lose digits.
HELD = [name for name in MASKED if name != "window 3, 24 x 39"]


@pytest.mark.parametrize("name", HELD)
def test_masked_windows_keep_their_digits(name: str) -> None:
    case, gpu = MASKED[name], EmulatedGPU()
    assert errors(case, compare(case, gpu)).gradient <= COMPILED_GRADIENT[case.dtype]
    assert gpu.problems == []
