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


@pytest.mark.parametrize("name", MASKED)
def test_masked_windows_keep_their_digits(name: str) -> None:
    case, gpu = MASKED[name], EmulatedGPU()
    assert errors(case, compare(case, gpu)).gradient <= COMPILED_GRADIENT[case.dtype]
    assert gpu.problems == []
