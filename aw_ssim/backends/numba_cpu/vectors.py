"""The formulas of one window and one pixel, for vectors of them."""

from __future__ import annotations

from typing import Any

from ...formulas import EPS, compiled
from .tracing import Value, choose, multiply_add, sqrt


def not_negative(value: Value) -> Value:
    """0 instead of negative numbers; NaN remains."""
    return choose(value < 0, 0, value)


formulas: Any = compiled(
    lambda formula: formula,
    EPS=EPS,
    sqrt=sqrt,
    multiply_add=multiply_add,
    not_negative=not_negative,
)
