"""Luminance, contrast and structure of each window, and their derivatives (eq. 2 to 7).

Everything here acts pixel by pixel on the windowed statistics of images divided by
`data_range`, so that C1, C2 and EPS are plain numbers. What is computed is how far each term
falls short of 1, as a sum of non-negative pieces: near zero loss, `1 - l` has lost its digits.

The paper's sigma_x sigma_y is replaced by one smooth product, used in both c and s,

    p = sqrt(var_x + EPS) sqrt(var_y + EPS) - EPS,

whose gradient is finite on flat windows. For identical images p is the variance itself, p is
never below |cov|, and l * c * s equals standard SSIM whatever EPS is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-12


class WindowedStatistics(NamedTuple):
    """Gaussian-weighted moments of each window of two images.

    A mean is a pivot, the value of a pixel in the window, plus a shift: where the window is nearly
    flat the two are of different size, and differences of means keep the digits of the shifts.
    """

    pivot_x: Tensor
    pivot_y: Tensor
    shift_x: Tensor
    shift_y: Tensor
    var_x: Tensor
    var_y: Tensor
    cov_xy: Tensor


class Constants(NamedTuple):
    """C1 = k1^2 and C2 = k2^2 (eq. 3 with L = 1); C3 = C2 / 2."""

    c1: float
    c2: float


class LocalGradient(NamedTuple):
    """A window's derivatives to its moments; `cov_xy` is shared by both images."""

    mean_x: Tensor
    mean_y: Tensor
    var_x: Tensor
    var_y: Tensor
    cov_xy: Tensor


def means(stats: WindowedStatistics) -> tuple[Tensor, Tensor, Tensor]:
    """mean_x, mean_y, and mean_x - mean_y with the digits of the shifts."""
    difference = (stats.pivot_x - stats.pivot_y) + (stats.shift_x - stats.shift_y)
    return stats.pivot_x + stats.shift_x, stats.pivot_y + stats.shift_y, difference


def luminance_shortfall(stats: WindowedStatistics, constants: Constants) -> Tensor:
    """1 - l, from 0 to 2."""
    mean_x, mean_y, difference = means(stats)
    return difference**2 / (mean_x * mean_x + mean_y * mean_y + constants.c1)


def contrast_shortfall(stats: WindowedStatistics, constants: Constants) -> Tensor:
    """1 - c, from 0 to 1."""
    root_x, root_y = torch.sqrt(stats.var_x + EPS), torch.sqrt(stats.var_y + EPS)
    return (root_x - root_y) ** 2 / (stats.var_x + stats.var_y + constants.c2)


def structure_shortfall(stats: WindowedStatistics, constants: Constants) -> Tensor:
    """1 - s, from 0 to 2."""
    product = torch.sqrt(stats.var_x + EPS) * torch.sqrt(stats.var_y + EPS) - EPS
    return (product - stats.cov_xy) / (product + constants.c2 / 2)


def product_shortfall(stats: WindowedStatistics, constants: Constants) -> Tensor:
    """1 - l c s, standard SSIM (eq. 6 with all exponents 1), in which p cancels."""
    luminance = luminance_shortfall(stats, constants)
    var_sum = stats.var_x + stats.var_y
    rest = (var_sum - 2 * stats.cov_xy) / (var_sum + constants.c2)
    return luminance + (1 - luminance) * rest


def weighted_gradient(
    stats: WindowedStatistics,
    constants: Constants,
    weights: tuple[Tensor | float, Tensor | float, Tensor | float],
) -> tuple[tuple[Tensor, Tensor, Tensor], LocalGradient]:
    """1 - l, 1 - c and 1 - s, and derivatives of ``a (1 - l) + b (1 - c) + g (1 - s)``.

    Weights may differ by window. The terms come with the derivatives, whose roots they share.
    """
    mean_x, mean_y, difference = means(stats)
    var_x, var_y, cov = stats.var_x, stats.var_y, stats.cov_xy
    a, b, g = weights
    over_l = 1 / (mean_x * mean_x + mean_y * mean_y + constants.c1)
    mean_scale = 2 * a * over_l
    shortfall = difference**2 * over_l
    root_x, root_y = torch.sqrt(var_x + EPS), torch.sqrt(var_y + EPS)
    product = root_x * root_y - EPS
    over_c = 1 / (var_x + var_y + constants.c2)
    over_p = 1 / (product + constants.c2 / 2)
    over_s = g * over_p
    contrast = (2 * product + constants.c2) * over_c
    structure = (cov + constants.c2 / 2) * over_p
    found = shortfall, (root_x - root_y) ** 2 * over_c, (product - cov) * over_p
    # dp/dvar_x = root_y / (2 root_x): one factor for c and s together, since near identical
    # images their shares cancel.
    half_slope = over_s * structure / 2 - b * over_c
    shared = b * contrast * over_c
    return found, LocalGradient(
        mean_x=mean_scale * (difference - shortfall * mean_x),
        mean_y=-mean_scale * (difference + shortfall * mean_y),
        var_x=shared + half_slope * (root_y / root_x),
        var_y=shared + half_slope * (root_x / root_y),
        cov_xy=-over_s,
    )


def product_gradient(
    stats: WindowedStatistics, constants: Constants, weight: Tensor | float
) -> tuple[tuple[Tensor], LocalGradient]:
    """1 - l c s, and derivatives of ``weight (1 - l c s)``."""
    mean_x, mean_y, difference = means(stats)
    var_x, var_y, cov = stats.var_x, stats.var_y, stats.cov_xy
    over_l = 1 / (mean_x * mean_x + mean_y * mean_y + constants.c1)
    shortfall = difference**2 * over_l
    luminance = 1 - shortfall
    var_sum = var_x + var_y
    over_v = 1 / (var_sum + constants.c2)
    over_cs = weight * over_v
    contrast_structure = (2 * cov + constants.c2) * over_cs
    found = shortfall + luminance * ((var_sum - 2 * cov) * over_v)
    mean_scale = 2 * contrast_structure * over_l
    var = contrast_structure * luminance * over_v
    return (found,), LocalGradient(
        mean_x=mean_scale * (difference - shortfall * mean_x),
        mean_y=-mean_scale * (difference + shortfall * mean_y),
        var_x=var,
        var_y=var,
        cov_xy=-2 * luminance * over_cs,
    )
