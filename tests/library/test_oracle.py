"""The oracle's two forms against each other, and its gradient against finite differences."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
import torch
from cases import PAIRS, noise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"padding": "same", "sigma": 2.5},
    {"window_size": 5, "data_range": 2.0, "k1": 0.02, "k2": 0.05},
    {"mask": (noise(9, torch.empty(1, 1, 40, 48)) > 0).double(), "padding": "same"},
    {"mask": noise(9, torch.empty(1, 1, 40, 48)).abs()},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "default")
def test_loops_equal_windows(options: dict[str, Any]) -> None:
    x, y = PAIRS["clipped"]
    expected = oracle.loops(x, y, **options)
    actual = oracle.windows(x, y, **options)
    inside = expected.centre > 0
    for left, right in zip(actual, expected, strict=True):
        torch.testing.assert_close(
            left[inside], torch.from_numpy(right[inside]), atol=1e-12, rtol=0
        )


def test_gradient_equals_finite_differences_of_the_loops() -> None:
    x, y = (image.double() for image in PAIRS["noisy"])
    weights = (0.2, 0.3, 0.5)
    gradient, _ = oracle.gradients(x, y, 1.0, weights)
    step = 1e-6
    for row, column in ((0, 0), (3, 17), (20, 24), (39, 47)):
        shifted = []
        for sign in (step, -step):
            moved = x.clone()
            moved[0, 0, row, column] += sign
            shifted.append(oracle.loops(moved, y).similarity(weights).sum())
        slope = (shifted[0] - shifted[1]) / (2 * step)
        assert slope == pytest.approx(float(gradient[0, 0, row, column]), rel=1e-5, abs=1e-7)


def test_gaussian_matches_tabulated_taps() -> None:
    # exp(-t^2 / 2) for t = 0, 1 at sigma 1: the taps of a window of three
    taps = oracle.gaussian(3, 1.0)
    side = 0.6065306597126334
    assert taps == pytest.approx([side / (1 + 2 * side), 1 / (1 + 2 * side), side / (1 + 2 * side)])
