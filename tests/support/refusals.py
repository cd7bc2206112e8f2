"""What a backend does not take, it must refuse; which tests of all backends have to know."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def refuses(backend: str, call: Callable[[], object], *, double: bool) -> bool:
    """Whether the backend takes no such call: it must then say so."""
    if backend != "numba" or not double:
        return False
    with pytest.raises(ValueError, match=r"'numba' cannot compute this: .*float64"):
        call()
    return True
