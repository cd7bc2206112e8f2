"""The formulas of one window and one pixel in Triton, as `local_terms` has them.

Moments of a window are a tuple: the pivots of x and y, the shifts of the two means from them, two
variances, the covariance and, with a mask, the total weight.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ..local_terms import EPS as LOCAL_EPS

EPS: tl.constexpr = tl.constexpr(LOCAL_EPS)


@triton.jit
def inverse(total):
    return 1 / tl.where(total > 0, total, 1.0)


@triton.jit
def twice_on_edges(index, size):
    return tl.where((index == 0) | (index == size - 1), 2.0, 1.0)


@triton.jit
def zero_unless(condition, values):
    new = ()
    for i in tl.static_range(len(values)):
        new = new + (tl.where(condition, values[i], 0.0),)
    return new


@triton.jit
def add_tap(sums, weight, dx, dy):
    """Five sums, of dx, dy, dx^2, dy^2 and dx dy, and one more pixel."""
    weighted_x, weighted_y = weight * dx, weight * dy
    return (
        sums[0] + weighted_x,
        sums[1] + weighted_y,
        sums[2] + weighted_x * dx,
        sums[3] + weighted_y * dy,
        sums[4] + weighted_x * dy,
    )


@triton.jit
def add_entry(sums, weight, row, pivot_x, pivot_y):
    """An entry with moments of its own: its mean's distance to the pivot, and what is within."""
    dx, dy = (row[0] - pivot_x) + row[2], (row[1] - pivot_y) + row[3]
    return (
        sums[0] + weight * dx,
        sums[1] + weight * dy,
        sums[2] + weight * (dx * dx + row[4]),
        sums[3] + weight * (dy * dy + row[5]),
        sums[4] + weight * (dx * dy + row[6]),
    )


@triton.jit
def finish(pivot_x, pivot_y, sums, total, MASKED: tl.constexpr):
    """Pivots, shifts, centred moments and the total weight, from sums about the pivots."""
    scale = inverse(total) if MASKED else 1.0
    shift_x, shift_y = sums[0] * scale, sums[1] * scale
    return (
        pivot_x,
        pivot_y,
        shift_x,
        shift_y,
        sums[2] * scale - shift_x * shift_x,
        sums[3] * scale - shift_y * shift_y,
        sums[4] * scale - shift_x * shift_y,
        total,
    )


@triton.jit
def shortfalls(m, c1, c2, PRODUCT: tl.constexpr):
    """1 - l, 1 - c and 1 - s of a window's moments m, or 1 - l c s and zeros."""
    mean_x, mean_y = m[0] + m[2], m[1] + m[3]
    difference = (m[0] - m[1]) + (m[2] - m[3])
    luminance = difference * difference / (mean_x * mean_x + mean_y * mean_y + c1)
    var_sum = m[4] + m[5]
    if PRODUCT:
        rest = (var_sum - 2 * m[6]) / (var_sum + c2)
        zero = tl.zeros_like(rest)
        return luminance + (1 - luminance) * rest, zero, zero
    else:
        root_x, root_y = tl.sqrt_rn(m[4] + EPS), tl.sqrt_rn(m[5] + EPS)
        product = root_x * root_y - EPS
        contrast = (root_x - root_y) * (root_x - root_y) / (var_sum + c2)
        return luminance, contrast, (product - m[6]) / (product + c2 / 2)


@triton.jit
def derivatives(m, c1, c2, a, b, g, PRODUCT: tl.constexpr):
    """Of a (1 - l) + b (1 - c) + g (1 - s), or a (1 - l c s): to means, variances, covariance."""
    mean_x, mean_y = m[0] + m[2], m[1] + m[3]
    difference = (m[0] - m[1]) + (m[2] - m[3])
    over_l = 1 / (mean_x * mean_x + mean_y * mean_y + c1)
    shortfall = difference * difference * over_l
    over_c = 1 / (m[4] + m[5] + c2)
    if PRODUCT:
        contrast_structure = (2 * m[6] + c2) * over_c
        mean_scale = 2 * a * contrast_structure * over_l
        var_x = a * contrast_structure * (1 - shortfall) * over_c
        var_y = var_x
        cov = -2 * a * (1 - shortfall) * over_c
    else:
        mean_scale = 2 * a * over_l
        root_x, root_y = tl.sqrt_rn(m[4] + EPS), tl.sqrt_rn(m[5] + EPS)
        product = root_x * root_y - EPS
        over_s = 1 / (product + c2 / 2)
        half_slope = g * over_s * (m[6] + c2 / 2) * over_s / 2 - b * over_c
        shared = b * (2 * product + c2) * over_c * over_c
        var_x = shared + half_slope * (root_y / root_x)
        var_y = shared + half_slope * (root_x / root_y)
        cov = -g * over_s
    return (
        mean_scale * (difference - shortfall * mean_x),
        -mean_scale * (difference + shortfall * mean_y),
        var_x,
        var_y,
        cov,
    )


@triton.jit
def brackets_of(m, d, scale):
    """A window's part of each pixel's gradient: a constant, and factors of the two pixels."""
    twice_x, twice_y, cov = 2 * d[2] * scale, 2 * d[3] * scale, d[4] * scale
    base_x = d[0] * scale - twice_x * m[2] - cov * m[3]
    base_y = d[1] * scale - twice_y * m[3] - cov * m[2]
    return m[0], m[1], cov, base_x, twice_x, base_y, twice_y


@triton.jit
def add_window(sums, tap, brackets, x, y):
    """A window's brackets, as sums about the pixels x and y: the covariance's first."""
    dx, dy = brackets[0] - x, brackets[1] - y
    cov = sums[0] + tap * brackets[2]
    base_x = sums[1] + tap * (brackets[3] - brackets[4] * dx - brackets[2] * dy)
    new = (cov, base_x, sums[2] + tap * brackets[4])
    if len(sums) == 5:
        base_y = sums[3] + tap * (brackets[5] - brackets[6] * dy - brackets[2] * dx)
        new = new + (base_y, sums[4] + tap * brackets[6])
    return new
