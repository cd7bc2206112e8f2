"""The two passes of the analytic backend over a chunk: moments forward, gradients back.

The moments are those of `torch_reference`, one tap at a time instead of one window at a time.

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
    row_pivot_x: Tensor
    row_pivot_y: Tensor
    total: Tensor | None


def moments(x: Tensor, y: Tensor, mask: Tensor | None, taps: list[float]) -> Moments:
    """Statistics of the windows inside planes P x H x W."""
    rows, row_weight = _merge_taps(x, y, None, mask, taps, dim=2)
    stats, total = _merge_taps(rows.pivot_x, rows.pivot_y, rows, row_weight, taps, dim=1)
    stats.var_x.clamp_(min=0)
    stats.var_y.clamp_(min=0)
    return Moments(stats, rows.pivot_x, rows.pivot_y, total)


def _merge_taps(
    x: Tensor,
    y: Tensor,
    within: WindowedStatistics | None,
    weight: Tensor | None,
    taps: list[float],
    dim: int,
) -> tuple[WindowedStatistics, Tensor | None]:
    count, centre = x.shape[dim] - len(taps) + 1, len(taps) // 2
    total = inverse = None
    if weight is None:
        pivot_x, pivot_y = x.narrow(dim, centre, count), y.narrow(dim, centre, count)
    else:
        total = _correlate(weight, taps, dim, count)
        inverse = 1 / torch.where(total > 0, total, 1)
        pivot_x = _correlate(weight * x, taps, dim, count) * inverse
        pivot_y = _correlate(weight * y, taps, dim, count) * inverse

    sums = [torch.zeros_like(pivot_x) for _ in range(5)]
    shift_x, shift_y, var_x, var_y, cov_xy = sums
    for j, tap in enumerate(taps):
        if weight is None and within is None and j == centre:
            continue
        dx, dy = x.narrow(dim, j, count) - pivot_x, y.narrow(dim, j, count) - pivot_y
        share = None if weight is None else weight.narrow(dim, j, count)
        if within is not None:
            dx += within.shift_x.narrow(dim, j, count)
            dy += within.shift_y.narrow(dim, j, count)
            inner = (moment.narrow(dim, j, count) for moment in within[4:])
            for moment, entry in zip((var_x, var_y, cov_xy), inner, strict=True):
                if share is None:
                    moment.add_(entry, alpha=tap)
                else:
                    moment.addcmul_(entry, share, value=tap)
        weighted_x, weighted_y = (dx, dy) if share is None else (dx * share, dy * share)
        shift_x.add_(weighted_x, alpha=tap)
        shift_y.add_(weighted_y, alpha=tap)
        var_x.addcmul_(weighted_x, dx, value=tap)
        var_y.addcmul_(weighted_y, dy, value=tap)
        cov_xy.addcmul_(weighted_x, dy, value=tap)
    if inverse is not None:
        for moment in sums:
            moment.mul_(inverse)
    var_x.addcmul_(shift_x, shift_x, value=-1)
    var_y.addcmul_(shift_y, shift_y, value=-1)
    cov_xy.addcmul_(shift_x, shift_y, value=-1)
    return WindowedStatistics(pivot_x, pivot_y, *sums), total


def _correlate(entries: Tensor, taps: list[float], dim: int, count: int) -> Tensor:
    out = torch.zeros_like(entries.narrow(dim, 0, count))
    for j, tap in enumerate(taps):
        out.add_(entries.narrow(dim, j, count), alpha=tap)
    return out


def gather(
    x: Tensor,
    y: Tensor,
    found: Moments,
    local: LocalGradient,
    taps: list[float],
    out_x: Tensor | None,
    out_y: Tensor | None,
) -> None:
    """Adds each window's derivatives to the pixels it holds, into `out_x` and `out_y`."""
    columns = found.stats.var_x.shape[2]
    pivot_x, pivot_y = found.row_pivot_x, found.row_pivot_y
    base_x, var_x, base_y, var_y, cov = _down_columns(
        found, local, taps, out_x is not None, out_y is not None
    )
    for j, tap in enumerate(taps):
        dx = x.narrow(2, j, columns) - pivot_x
        dy = y.narrow(2, j, columns) - pivot_y
        if out_x is not None:
            target = out_x.narrow(2, j, columns).add_(base_x, alpha=tap)
            target.addcmul_(var_x, dx, value=tap).addcmul_(cov, dy, value=tap)
        if out_y is not None:
            target = out_y.narrow(2, j, columns).add_(base_y, alpha=tap)
            target.addcmul_(var_y, dy, value=tap).addcmul_(cov, dx, value=tap)


def _down_columns(
    found: Moments, local: LocalGradient, taps: list[float], need_x: bool, need_y: bool
) -> list[Tensor]:
    """Per input row: the bracket's constant part and the factors of x - pivot and y - pivot."""
    stats, cov_xy = found.stats, local.cov_xy
    rows = cov_xy.shape[1]
    twice_x, twice_y = 2 * local.var_x, 2 * local.var_y
    own_x = local.mean_x - twice_x * stats.shift_x - cov_xy * stats.shift_y
    own_y = local.mean_y - twice_y * stats.shift_y - cov_xy * stats.shift_x
    sums = [torch.zeros_like(found.row_pivot_x) for _ in range(5)]
    for j, tap in enumerate(taps):
        base_x, var_x, base_y, var_y, cov = (total.narrow(1, j, rows) for total in sums)
        dx = stats.pivot_x - found.row_pivot_x.narrow(1, j, rows)
        dy = stats.pivot_y - found.row_pivot_y.narrow(1, j, rows)
        cov.add_(cov_xy, alpha=tap)
        if need_x:
            var_x.add_(twice_x, alpha=tap)
            base_x.add_(own_x, alpha=tap)
            base_x.addcmul_(twice_x, dx, value=-tap).addcmul_(cov_xy, dy, value=-tap)
        if need_y:
            var_y.add_(twice_y, alpha=tap)
            base_y.add_(own_y, alpha=tap)
            base_y.addcmul_(twice_y, dy, value=-tap).addcmul_(cov_xy, dx, value=-tap)
    return sums
