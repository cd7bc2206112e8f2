"""The numba kernel's pointers, whose ends nothing checks: it stays within a thread's memory."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is optional: the extra aw_ssim[cpu]")

from numba_cases import images, value_and_gradients
from numpy.typing import NDArray

from aw_ssim.backends.numba_cpu import masked, run, scratch
from aw_ssim.backends.numba_cpu.passes import COLUMNS, ROWS

GUARD, UNTOUCHED = 8192, 12345.0


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("window_size", [3, 33])
@pytest.mark.parametrize("shape", [(34, 3 * COLUMNS), (3 * ROWS, 35)], ids=["wide", "high"])
def test_what_lies_around_its_memory_stays(
    shape: tuple[int, int],
    window_size: int,
    masks: bool,
    padding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tiles of the largest size, between neighbours on both sides."""
    guarded = []

    def room(size: int) -> NDArray[np.float32]:
        numbers = np.full(size + 2 * GUARD, UNTOUCHED, np.float32)
        guarded.append(numbers)
        numbers[GUARD:-GUARD] = 0
        return numbers[GUARD:-GUARD]

    monkeypatch.setattr(scratch, "aligned", room)
    monkeypatch.setattr(masked, "aligned", room)
    # Buffers of earlier calls are kept there.
    monkeypatch.setattr(run, "_thread", threading.local())
    x, y = images((1, 1, *shape))
    mask = (x > 0.4).float() if masks else None
    options = {"window_size": window_size, "padding": padding, "backend": "numba"}
    results = value_and_gradients(x, y, mask=mask, **options)
    assert all(result.isfinite().all() for result in results)
    assert len(guarded) >= len(scratch.Scratch._fields)
    for numbers in guarded:
        assert (numbers[:GUARD] == UNTOUCHED).all()
        assert (numbers[-GUARD:] == UNTOUCHED).all()


def test_rows_begin_with_a_cache_line() -> None:
    """Else every second vector would lie on two."""
    for name, numbers in zip(scratch.Scratch._fields, scratch.scratch(11), strict=True):
        assert numbers.ctypes.data % 64 == 0, name
    assert scratch.STRIDE * 4 % 64 == 0
