"""Luminance, contrast and structure of one window, and their derivatives (eq. 2 to 7).

The whole mathematics of the losses, once. It is plain arithmetic: torch runs it as it stands here,
and `compiled` hands the same source to the CPU kernel's vectors and to Triton's compiler. So there
are no branches and no keyword arguments, and beside operators only EPS and the three functions
below are used.

Images are divided by `data_range` first, so C1 = k1^2, C2 = k2^2 and C3 = C2 / 2 are plain numbers.
What is computed is the shortfall of each term, how far it lies below 1, as a sum of non-negative
pieces: near zero loss `1 - l` would have lost its digits.

The paper's sigma_x sigma_y is replaced by one smooth deviation, used in both c and s,

    p = sqrt(var_x + EPS) sqrt(var_y + EPS) - EPS,

whose gradient is finite on flat windows. For identical images p is the variance itself, p is never
below |cov|, and l c s is standard SSIM whatever EPS is.

The moments `m` of a window are seven numbers, or tensors of them: the pivots of x and y, which lie
among its pixels; the shifts of the two means from their pivots; the variances of x and y; the
covariance. Where a window is nearly flat, pivot and shift are of different size, and differences of
means keep the digits of the shifts.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch

EPS = 1e-12


sqrt = torch.sqrt


def multiply_add(left, right, addend):
    """left * right + addend; the compilers round it once where the processor can."""
    return left * right + addend


def not_negative(value):
    """0 in place of what rounding left below it; NaN stays, and so does the gradient."""
    return torch.where(value < 0, value - value.detach(), value)


def about(m, pivot_x, pivot_y):
    """The means of dx, dy, dx^2, dy^2 and dx dy about other pivots (law of total variance)."""
    dx, dy = (m[0] - pivot_x) + m[2], (m[1] - pivot_y) + m[3]
    return (
        dx,
        dy,
        multiply_add(dx, dx, m[4]),
        multiply_add(dy, dy, m[5]),
        multiply_add(dx, dy, m[6]),
    )


def add(sums, tap, values):
    """One more pixel, row or column: its five values by its tap."""
    return (
        multiply_add(tap, values[0], sums[0]),
        multiply_add(tap, values[1], sums[1]),
        multiply_add(tap, values[2], sums[2]),
        multiply_add(tap, values[3], sums[3]),
        multiply_add(tap, values[4], sums[4]),
    )


def moments_of(pivot_x, pivot_y, sums):
    """Moments from sums about the pivots, whose taps add up to 1."""
    x, y, xx, yy, xy = sums
    return pivot_x, pivot_y, x, y, xx - x * x, yy - y * y, xy - x * y


def whole_window(m):
    """Rounding can leave a variance a little below 0."""
    return m[0], m[1], m[2], m[3], not_negative(m[4]), not_negative(m[5]), m[6]


def luminance_parts(m, c1):
    """The means, their difference, and 1 / (mean_x^2 + mean_y^2 + C1)."""
    mean_x, mean_y = m[0] + m[2], m[1] + m[3]
    difference = (m[0] - m[1]) + (m[2] - m[3])
    return mean_x, mean_y, difference, 1 / (mean_x * mean_x + mean_y * mean_y + c1)


def terms(m, c1, c2):
    """1 - l, 1 - c and 1 - s; and what `terms_derivatives` shares with them."""
    mean_x, mean_y, difference, over_l = luminance_parts(m, c1)
    root_x, root_y = sqrt(m[4] + EPS), sqrt(m[5] + EPS)
    p, apart = root_x * root_y - EPS, root_x - root_y
    over_c, over_s = 1 / (m[4] + m[5] + c2), 1 / (p + c2 / 2)
    luminance = difference * difference * over_l
    shared = luminance, mean_x, mean_y, difference, over_l, root_x, root_y, p, over_c, over_s
    return (luminance, apart * apart * over_c, not_negative(p - m[6]) * over_s), shared


def terms_derivatives(m, c2, shared, weights):
    """Of a (1 - l) + b (1 - c) + g (1 - s): to means, variances and covariance."""
    luminance, mean_x, mean_y, difference, over_l, root_x, root_y, p, over_c, over_s = shared
    a, b, g = weights
    scale = 2 * a * over_l
    # dp/dvar_x = root_y / (2 root_x). One factor serves c and s together: near identical images
    # their shares cancel.
    both = b * (2 * p + c2) * over_c * over_c
    slope = (g * over_s * ((m[6] + c2 / 2) * over_s) / 2 - b * over_c) * (1 / (root_x * root_y))
    return (
        scale * (difference - luminance * mean_x),
        -scale * (difference + luminance * mean_y),
        both + slope * (root_y * root_y),
        both + slope * (root_x * root_x),
        -g * over_s,
    )


def product(m, c1, c2):
    """1 - l c s, standard SSIM (eq. 6, exponents 1), in which p cancels; and what is shared."""
    mean_x, mean_y, difference, over_l = luminance_parts(m, c1)
    over_cs = 1 / (m[4] + m[5] + c2)
    luminance = difference * difference * over_l
    loss = luminance + (1 - luminance) * (not_negative(m[4] + m[5] - 2 * m[6]) * over_cs)
    return (loss,), (luminance, mean_x, mean_y, difference, over_l, over_cs)


def product_derivatives(m, c2, shared, weights):
    """Of a (1 - l c s): to means, variances and covariance."""
    luminance, mean_x, mean_y, difference, over_l, over_cs = shared
    cs = (2 * m[6] + c2) * over_cs * weights[0]
    scale, var = 2 * cs * over_l, cs * (1 - luminance) * over_cs
    return (
        scale * (difference - luminance * mean_x),
        -scale * (difference + luminance * mean_y),
        var,
        var,
        -2 * (1 - luminance) * over_cs * weights[0],
    )


def bracket_of(m, d):
    """A window's part of the gradient of each pixel that it holds, from its derivatives `d`.

    With the pixels' distances dx and dy to the window's pivots it is, times the tap,

        base_x + own_x dx + cross dy    for x,    base_y + own_y dy + cross dx    for y.
    """
    own_x, own_y, cross = 2 * d[2], 2 * d[3], d[4]
    base_x = d[0] - own_x * m[2] - cross * m[3]
    base_y = d[1] - own_y * m[3] - cross * m[2]
    return base_x, own_x, base_y, own_y, cross


def bracket_at(base, own, cross, d_own, d_cross):
    """A bracket at a pixel, or at another pivot: from there on it counts as the base."""
    return multiply_add(cross, d_cross, multiply_add(own, d_own, base))


FORMULAS = (
    about,
    add,
    moments_of,
    whole_window,
    luminance_parts,
    terms,
    terms_derivatives,
    product,
    product_derivatives,
    bracket_of,
    bracket_at,
)


def compiled(compiler: Callable[[Any], Any], **primitives: Any) -> types.ModuleType:
    """The formulas as a module of another compiler's functions, with its own primitives."""
    module = types.ModuleType(f"{__name__} by {compiler.__module__}")
    scope = {"__name__": __name__, **primitives}
    for formula in FORMULAS:
        # A copy that looks its names up among the primitives and the functions compiled so far.
        copy = types.FunctionType(formula.__code__, scope, formula.__name__)
        scope[formula.__name__] = compiler(copy)
        setattr(module, formula.__name__, scope[formula.__name__])
    return module
