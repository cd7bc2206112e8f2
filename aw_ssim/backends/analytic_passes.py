"""The two passes of the analytic backend over a chunk: moments forward, gradients back.

The moments are those of `torch_reference`, one tap at a time instead of one window at a time. Both
images lie in one tensor, and so do all sums: few operations on large tensors cost a CPU less than
many on small ones.

The gradient of pixel i gathers, from every window c that holds it with weight w(i - c),

    G_mean_x + 2 G_var_x (x_i - mean_x) + G_cov (y_i - mean_y),

one axis at a time. Between the axes the bracket is kept relative to the pivot of the pixel's row,
so that G_var_x, which is huge on flat windows, only ever multiplies differences of pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..local_terms import LocalGradient, WindowedStatistics


class Moments(NamedTuple):
    """What one pass finds, and what the other needs: with a mask, the windows' total weights."""

    stats: WindowedStatistics
    pivots: Tensor
    row_pivots: Tensor
    total: Tensor | None


def moments(images: Tensor, mask: Tensor | None, taps: list[float]) -> Moments:
    """Statistics of the windows inside both images' planes, 2 x P x H x W."""
    row_pivots, rows, row_weight = _merge_taps(images, None, mask, taps, dim=-1)
    pivots, sums, total = _merge_taps(row_pivots, rows, row_weight, taps, dim=-2)
    sums[2:4].clamp_(min=0)
    return Moments(WindowedStatistics(*pivots, *sums), pivots, row_pivots, total)


def _merge_taps(
    entries: Tensor, within: Tensor | None, weight: Tensor | None, taps: list[float], dim: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Pivots of both images, their five moments about these, and the total weight.

    `entries` may have moments of their own, `within`: shifts, variances and covariance.
    """
    count, centre = entries.shape[dim] - len(taps) + 1, len(taps) // 2
    total = inverse = None
    if weight is None:
        pivots = entries.narrow(dim, centre, count)
    else:
        total = _correlate(weight, taps, dim, count)
        inverse = 1 / torch.where(total > 0, total, 1)
        pivots = _correlate(weight * entries, taps, dim, count) * inverse

    # Without a mask the centre's distance to the pivot is 0, or its own shift; unless it is not
    # finite, which a window of several pixels shows at the others.
    skipped = weight is None and (within is None or len(taps) > 1)
    if skipped and within is not None:
        middle = within.narrow(dim, centre, count)
        sums = middle * taps[centre]
        sums[2:4].addcmul_(middle[:2], middle[:2], value=taps[centre])
        sums[4].addcmul_(middle[0], middle[1], value=taps[centre])
    else:
        sums = entries.new_zeros(5, *pivots.shape[1:])
    shifts, variances, cov_xy = sums[:2], sums[2:4], sums[4]
    for j, tap in enumerate(taps):
        if skipped and j == centre:
            continue
        distance = entries.narrow(dim, j, count) - pivots
        share = None if weight is None else weight.narrow(dim, j, count)
        if within is not None:
            entry = within.narrow(dim, j, count)
            distance += entry[:2]
            if share is None:
                sums[2:].add_(entry[2:], alpha=tap)
            else:
                sums[2:].addcmul_(entry[2:], share, value=tap)
        weighted = distance if share is None else distance * share
        shifts.add_(weighted, alpha=tap)
        variances.addcmul_(weighted, distance, value=tap)
        cov_xy.addcmul_(weighted[0], distance[1], value=tap)
    if inverse is not None:
        sums.mul_(inverse)
    variances.addcmul_(shifts, shifts, value=-1)
    cov_xy.addcmul_(shifts[0], shifts[1], value=-1)
    return pivots, sums, total


def _correlate(entries: Tensor, taps: list[float], dim: int, count: int) -> Tensor:
    out = torch.zeros_like(entries.narrow(dim, 0, count))
    for j, tap in enumerate(taps):
        out.add_(entries.narrow(dim, j, count), alpha=tap)
    return out


def gather(
    images: Tensor,
    found: Moments,
    local: LocalGradient,
    taps: list[float],
    out_x: Tensor | None,
    out_y: Tensor | None,
) -> None:
    """Adds each window's derivatives to the pixels it holds, into `out_x` and `out_y`."""
    stats, cov = found.stats, local.cov_xy
    if out_x is not None:
        twice = 2 * local.var_x
        base = local.mean_x - twice * stats.shift_x - cov * stats.shift_y
        _gather(images, found, torch.stack([base, twice, cov]), taps, 0, out_x)
    if out_y is not None:
        twice = 2 * local.var_y
        base = local.mean_y - twice * stats.shift_y - cov * stats.shift_x
        _gather(images, found, torch.stack([base, twice, cov]), taps, 1, out_y)


def _gather(
    images: Tensor, found: Moments, brackets: Tensor, taps: list[float], own: int, out: Tensor
) -> None:
    """`brackets`, 3 x P x H' x W': a constant, and the factors of the own and the other pixel."""
    other, (rows, columns) = 1 - own, brackets.shape[2:]
    _, factor_own, factor_other = brackets
    # Down the columns: per row of pixels, about the pivots of the windows along it.
    sums = brackets.new_zeros(3, *found.row_pivots.shape[1:])
    for j, tap in enumerate(taps):
        distance = found.pivots - found.row_pivots.narrow(-2, j, rows)
        target = sums.narrow(-2, j, rows).add_(brackets, alpha=tap)[0]
        target.addcmul_(factor_own, distance[own], value=-tap)
        target.addcmul_(factor_other, distance[other], value=-tap)
    base, factor_own, factor_other = sums
    for j, tap in enumerate(taps):
        distance = images.narrow(-1, j, columns) - found.row_pivots
        target = out.narrow(-1, j, columns).add_(base, alpha=tap)
        target.addcmul_(factor_own, distance[own], value=tap)
        target.addcmul_(factor_other, distance[other], value=tap)
