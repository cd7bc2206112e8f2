"""The backends that must give the same numbers."""

from __future__ import annotations

from importlib.util import find_spec

# The first two take everything; the third no volumes, no float64 and no window beyond 33.
COMPLETE_BACKENDS = ("torch", "analytic")
# It is optional, and the `test` extra brings it.
BACKENDS = (*COMPLETE_BACKENDS, *(["numba"] if find_spec("numba") else []))
