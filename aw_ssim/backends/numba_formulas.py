"""The formulas of one window and one pixel in numba, as `local_terms` has them.

Each works on vectors of windows or pixels. Moments of a window are a tuple: the pivots of x and
y, the shifts of the two means from them, two variances and the covariance.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..local_terms import EPS as LOCAL_EPS
from .numba_vectors import multiply_add, not_negative, splat, sqrt

# Python's numbers would make numba compute in float64.
ZERO, HALF, ONE, TWO, EPS = (np.float32(value) for value in (0, 0.5, 1, 2, LOCAL_EPS))


@njit
def add_tap(sums, tap, dx, dy):
    """Sums of dx, dy, dx^2, dy^2 and dx dy, and one more entry."""
    x, y, xx, yy, xy = sums
    weighted_x, weighted_y = tap * dx, tap * dy
    return (
        x + weighted_x,
        y + weighted_y,
        multiply_add(weighted_x, dx, xx),
        multiply_add(weighted_y, dy, yy),
        multiply_add(weighted_x, dy, xy),
    )


@njit
def add_entry(sums, tap, entry, pivot_x, pivot_y):
    """An entry with moments of its own: its mean's distance to the pivot, and what is within."""
    x, y, xx, yy, xy = sums
    sums = (
        x,
        y,
        multiply_add(tap, entry[4], xx),
        multiply_add(tap, entry[5], yy),
        multiply_add(tap, entry[6], xy),
    )
    return add_tap(sums, tap, (entry[0] - pivot_x) + entry[2], (entry[1] - pivot_y) + entry[3])


@njit
def finish(pivot_x, pivot_y, sums):
    """Moments, from sums about the pivots."""
    x, y, xx, yy, xy = sums
    return pivot_x, pivot_y, x, y, xx - x * x, yy - y * y, xy - x * y


@njit
def whole_window(moments):
    """Rounding can leave a variance a little below 0."""
    pivot_x, pivot_y, shift_x, shift_y, var_x, var_y, cov = moments
    return pivot_x, pivot_y, shift_x, shift_y, not_negative(var_x), not_negative(var_y), cov


@njit
def luminance(m, c1):
    """1 - l, the two means, their difference, and 1 / (mean_x^2 + mean_y^2 + C1)."""
    mean_x, mean_y = m[0] + m[2], m[1] + m[3]
    difference = (m[0] - m[1]) + (m[2] - m[3])
    over_l = ONE / (mean_x * mean_x + mean_y * mean_y + c1)
    return difference * difference * over_l, mean_x, mean_y, difference, over_l


@njit
def roots(m):
    """sqrt(var_x + EPS), sqrt(var_y + EPS), and the smooth product of the deviations."""
    root_x, root_y = sqrt(m[4] + EPS), sqrt(m[5] + EPS)
    return root_x, root_y, root_x * root_y - EPS


@njit
def weighted_shortfalls(m, c1, c2):
    """1 - l, 1 - c and 1 - s."""
    root_x, root_y, product = roots(m)
    difference = root_x - root_y
    contrast = difference * difference * (ONE / (m[4] + m[5] + c2))
    structure = (product - m[6]) * (ONE / (product + c2 * HALF))
    return luminance(m, c1)[0], contrast, structure


@njit
def weighted_derivatives(m, c1, c2, a, b, g):
    """Of a (1 - l) + b (1 - c) + g (1 - s): to means, variances and covariance."""
    shortfall, mean_x, mean_y, difference, over_l = luminance(m, c1)
    root_x, root_y, product = roots(m)
    over_c, over_s = ONE / (m[4] + m[5] + c2), ONE / (product + c2 * HALF)
    mean_scale = TWO * a * over_l
    shared = b * (TWO * product + c2) * over_c * over_c
    half_slope = g * over_s * ((m[6] + c2 * HALF) * over_s) * HALF - b * over_c
    # root_y / root_x and its inverse by one division.
    slope = half_slope * (ONE / (root_x * root_y))
    return (
        mean_scale * (difference - shortfall * mean_x),
        ZERO - mean_scale * (difference + shortfall * mean_y),
        shared + slope * (root_y * root_y),
        shared + slope * (root_x * root_x),
        ZERO - g * over_s,
    )


@njit
def product_shortfalls(m, c1, c2):
    """1 - l c s, and zeros."""
    shortfall = luminance(m, c1)[0]
    var_sum = m[4] + m[5]
    rest = (var_sum - TWO * m[6]) * (ONE / (var_sum + c2))
    return shortfall + (ONE - shortfall) * rest, splat(ZERO), splat(ZERO)


@njit
def product_derivatives(m, c1, c2, a):
    """Of a (1 - l c s): to means, variances and covariance."""
    shortfall, mean_x, mean_y, difference, over_l = luminance(m, c1)
    over_cs = ONE / (m[4] + m[5] + c2)
    contrast_structure = (TWO * m[6] + c2) * over_cs * a
    mean_scale = TWO * contrast_structure * over_l
    var = contrast_structure * (ONE - shortfall) * over_cs
    return (
        mean_scale * (difference - shortfall * mean_x),
        ZERO - mean_scale * (difference + shortfall * mean_y),
        var,
        var,
        ZERO - TWO * (ONE - shortfall) * over_cs * a,
    )


@njit
def bracket_of(m, d):
    """A window's part of each pixel's gradient: a constant, and factors of the two pixels.

    Of x and of y, each a base and the factor of the own pixel; of both, the factor of the other.
    """
    twice_x, twice_y, cov = TWO * d[2], TWO * d[3], d[4]
    base_x = d[0] - twice_x * m[2] - cov * m[3]
    base_y = d[1] - twice_y * m[3] - cov * m[2]
    return base_x, twice_x, base_y, twice_y, cov
