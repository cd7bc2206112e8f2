"""What a backend does not take, it must refuse; which tests of all backends have to know."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def refuses(
    backend: str, call: Callable[[], object], *, masked: bool = False, double: bool = False
) -> bool:
    """Whether the backend takes no such call: it must then say so."""
    if backend != "numba" or not (masked or double):
        return False
    with pytest.raises(ValueError, match=r"'numba' cannot compute this: .*(mask|float64)"):
        call()
    return True
