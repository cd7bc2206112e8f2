"""The one writer of Markdown tables, and how a figure is written in them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, figures to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def error(value: float) -> str:
    """The order of magnitude and one digit."""
    return f"{value:.0e}"


def digits(milliseconds: float) -> str:
    """Three significant digits, and no exponent."""
    if milliseconds >= 100:
        return f"{milliseconds:.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.2f}"


def spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    """Mean (least to greatest); the mean alone where all read the same, a dash for none."""
    if not values:
        return "-"
    mean, low, high = map(form, (statistics.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"
